"""Draw scores and depth on a given axis; each function returns the drawn rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from skyduel.evaluation.scoring.metrics import metric
from skyduel.reports.figures.plot_helpers import (
    LOW_COUNT,
    annotate_empty,
    bars,
    dodge,
    draws,
    errorbar_points,
    group_order,
    styles_of,
)
from skyduel.reports.style import POINT_FILLS, Style, shorten
from skyduel.reports.svg.backend import plot_style
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "STRIP_FLOOR",
    "bin_rows",
    "draw_strip",
    "magnitude_axis",
    "plot_groups",
    "plot_precision_recall",
    "plot_score",
]

#: Label of the magnitude axis, by the axis of a metric.
_MAGNITUDE_LABELS: Final[Mapping[str, str]] = {
    "true": "true magnitude [mag]",
    "measured": "measured magnitude [mag]",
    "joined": "magnitude [mag] (joins two axes: true and measured)",
}
#: The strip of counts lies between this and 0 on the axis of a score.
STRIP_FLOOR: Final = -0.30
_STRIP_TOP: Final = -0.06


def bin_rows(
    scores: pd.DataFrame, quantity: str, *, group: str = ALL_GROUPS, point: str = DEFAULT_POINT
) -> pd.DataFrame:
    """Return the rows of `scores` that a curve against magnitude draws.

    Parameters
    ----------
    scores : DataFrame
        The run folder's `scores`.
    quantity : str
        The name of a metric.
    group, point : str
        Which frames, and at which operating point.

    Returns
    -------
    DataFrame
        Bins with two edges only, in order, with `mag`, the bin's centre
        [mag], and `thin`, whether its denominator is below `LOW_COUNT` (for a joined
        metric such as F1: that of completeness or of purity).

    Raises
    ------
    BadInputError
        If the quantity is unknown.
    """
    # A joined metric is no better founded than the weaker of the two scores it joins.
    joined = metric(quantity).axis == "joined"
    founded_on = ("completeness", "purity") if joined else (quantity,)
    lo, hi = scores["bin_lo"].astype(float), scores["bin_hi"].astype(float)
    rows = scores[
        (scores["group"] == group)
        & (scores["point"] == point)
        & (scores["bin"] >= 0)
        & np.isfinite(lo)
        & np.isfinite(hi)
    ]
    few = rows[(rows["n"] < LOW_COUNT) & rows["quantity"].isin(founded_on)]
    thin = pd.MultiIndex.from_frame(few[["detector", "bin"]])
    rows = rows[rows["quantity"] == quantity]
    rows = rows.sort_values(["bin"], kind="stable").reset_index(drop=True)
    columns = ["detector", "point", "group", "quantity", "bin", "bin_lo", "bin_hi"]
    return rows[columns].assign(
        mag=(rows["bin_lo"] + rows["bin_hi"]) / 2,
        value=rows["value"],
        lo=rows["lo"],
        hi=rows["hi"],
        n=rows["n"],
        thin=pd.MultiIndex.from_frame(rows[["detector", "bin"]]).isin(thin),
    )


@draws(scores="scores")
def plot_score(
    ax: Axes,
    scores: pd.DataFrame,
    quantity: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw one score against magnitude for every detector; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    scores : DataFrame
        The run folder's `scores`.
    quantity : str
        The name of a metric.
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        Style of each detector, in the order of drawing; by default `detector_styles`
        of those in the table.

    Returns
    -------
    DataFrame
        As `bin_rows`, with `x`, where the marker stands [mag]: detectors are
        set apart sideways, so that none hides another.

    Notes
    -----
    Bars are the table's intervals. Bins with fewer than `LOW_COUNT` are hollow and
    pale. The strip below zero holds the denominators.
    """
    styles = styles_of(scores, styles)
    with plot_style():
        drawn = bin_rows(scores, quantity, group=group, point=point)
        width = float((drawn["bin_hi"] - drawn["bin_lo"]).min()) if len(drawn) else 1.0
        parts, undefined = [], []
        for i, (detector, style) in enumerate(styles.items()):
            rows = drawn[drawn["detector"] == detector]
            rows = rows.assign(x=rows["mag"] + dodge(i, len(styles), width))
            errorbar_points(
                ax,
                rows["x"],
                rows["value"],
                style,
                lo=rows["lo"],
                hi=rows["hi"],
                low_count=rows["thin"],
            )
            if len(rows) and rows["value"].isna().all():
                undefined.append(shorten(detector))
            parts.append(rows)
        drawn = pd.concat(parts, ignore_index=True) if parts else drawn.assign(x=drawn["mag"])
        ax.set_ylim(STRIP_FLOOR, 1.04)
        ax.set_yticks(np.linspace(0, 1, 6))
        ax.axhline(0, color="#444444", linewidth=0.6)
        ax.grid(True, axis="y")
        ax.set_ylabel(metric(quantity).label)
        ax.set_xlabel(_MAGNITUDE_LABELS[metric(quantity).axis])
        if len(drawn):
            magnitude_axis(ax, drawn)
            draw_strip(ax, drawn, styles, metric(quantity).counted)
        else:
            annotate_empty(ax, "no such scores in this run")
        if undefined:
            ax.text(
                0.99,
                0.99,
                "undefined in every bin: " + ", ".join(undefined),
                transform=ax.transAxes,
                ha="right",
                va="top",
                fontsize=7,
            )
    return drawn


@draws(sweep="sweep", scores="scores")
def plot_precision_recall(
    ax: Axes,
    sweep: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw purity against completeness as the score threshold is swept; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    sweep, scores : DataFrame
        The run folder's tables; the operating points come from `scores`.
    group : str
        Which frames.
    styles : mapping of str to Style, optional
        As for `plot_score`.

    Returns
    -------
    DataFrame
        `detector`, `group`, `point` (empty on the curve), `threshold`,
        `completeness`, `purity` and, at the points, their intervals.
    """
    styles = styles_of(scores, styles)
    parts: list[pd.DataFrame] = []
    with plot_style():
        _draw_equal_f1(ax)
        for detector, style in styles.items():
            curve = sweep[(sweep["detector"] == detector) & (sweep["group"] == group)]
            curve = curve.sort_values("threshold", kind="stable")
            ax.plot(curve["completeness"], curve["purity"], color=style.color, linewidth=1.4)
            columns = ["detector", "group", "threshold", "completeness", "purity"]
            parts.append(curve[columns].assign(point=""))
        for detector, style in styles.items():
            marks = _operating_points(scores, detector, group)
            for mark in marks.to_dict("records"):
                ax.errorbar(
                    mark["completeness"],
                    mark["purity"],
                    xerr=_bars(mark, "completeness"),
                    yerr=_bars(mark, "purity"),
                    color=style.color,
                    marker=style.marker,
                    fillstyle=POINT_FILLS.get(str(mark["point"]), "right"),
                    markersize=8,
                    markeredgewidth=1.4,
                    markerfacecoloralt="white",
                    elinewidth=1.0,
                    linestyle="none",
                    zorder=4,
                )
            parts.append(marks)
        ax.set_xlim(0, 1.03)
        ax.set_ylim(0, 1.03)
        ax.grid(True)
        ax.set_xlabel(metric("completeness").label)
        ax.set_ylabel(metric("purity").label)
    parts = [p for p in parts if len(p)]
    columns = ["detector", "group", "point", "threshold"]
    columns += ["completeness", "completeness_lo", "completeness_hi"]
    columns += ["purity", "purity_lo", "purity_hi"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def plot_groups(
    ax: Axes, table: pd.DataFrame, label: str, styles: Mapping[str, Style]
) -> pd.DataFrame:
    """Draw one dot and interval a group and detector; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    table : DataFrame
        `detector`, `group`, `value`, `lo`, `hi`.
    label : str
        The value's name and unit.
    styles : mapping of str to Style
        As for `plot_score`.
    """
    groups = group_order(table["group"])
    rows_by_key = {(str(r["group"]), str(r["detector"])): r for r in table.to_dict("records")}
    step = min(0.2, 0.7 / max(len(styles), 1))
    with plot_style():
        for g, group in enumerate(groups):
            if g % 2:
                ax.axhspan(g - 0.5, g + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
            for i, (detector, style) in enumerate(styles.items()):
                row = rows_by_key.get((group, detector))
                if row is None:
                    continue
                y = g + (i - (len(styles) - 1) / 2) * step
                if not np.isfinite(row["value"]):
                    ax.text(
                        0.005,
                        y,
                        f"{shorten(detector)}: undefined",
                        transform=ax.get_yaxis_transform(),
                        color=style.color,
                        fontsize=7,
                        va="center",
                    )
                    continue
                ax.errorbar(
                    row["value"],
                    y,
                    xerr=bars(row["value"], row["lo"], row["hi"]),
                    color=style.color,
                    marker=style.marker,
                    markersize=6,
                    elinewidth=1.2,
                    linestyle="none",
                    zorder=3,
                )
        ax.set_yticks(range(len(groups)), [shorten(g) for g in groups])
        ax.set_ylim(max(len(groups), 1) - 0.5, -0.5)
        ax.set_xlabel(label)
        ax.grid(True, axis="x")
        if not np.isfinite(table["value"].astype(float)).any():
            ax.set_xticks([])
    return table


def _bars(mark: Mapping[Any, Any], quantity: str) -> Any:
    return bars(mark[quantity], mark[f"{quantity}_lo"], mark[f"{quantity}_hi"])


def magnitude_axis(ax: Axes, drawn: pd.DataFrame) -> None:
    """Put ticks at the edges of the bins."""
    edges = np.unique(np.concatenate([drawn["bin_lo"], drawn["bin_hi"]]).astype(float))
    ax.set_xlim(edges[0], edges[-1])
    every = -(-len(edges) // 13)
    ax.set_xticks(edges[::every], [f"{e:g}" for e in edges[::every]])


def draw_strip(ax: Axes, drawn: pd.DataFrame, styles: Mapping[str, Style], counted: str) -> None:
    """Draw the denominators below zero: one histogram if all detectors share it, else one each."""
    top = float(drawn["n"].max())
    if not top > 0:
        return
    depth = _STRIP_TOP - STRIP_FLOOR
    by_bin = drawn.groupby("bin")["n"]
    shared = bool((by_bin.min() == by_bin.max()).all())
    first = drawn.drop_duplicates("bin").sort_values("bin")
    if shared:
        bars = first["n"].to_numpy(dtype=float) / top * depth * 0.6
        ax.bar(
            first["mag"],
            bars,
            bottom=STRIP_FLOOR,
            width=(first["bin_hi"] - first["bin_lo"]) * 0.96,
            color="#cfcfcf",
            linewidth=0,
            zorder=1,
        )
        if len(first) <= 14:
            for mag, n, height in zip(first["mag"], first["n"], bars, strict=True):
                ax.text(
                    mag,
                    STRIP_FLOOR + height,
                    f"{n:g}",
                    fontsize=6.5,
                    color="#444444",
                    ha="center",
                    va="bottom",
                )
    else:
        for detector, style in styles.items():
            rows = drawn[drawn["detector"] == detector]
            if len(rows):
                edges = [*rows["bin_lo"], rows["bin_hi"].iloc[-1]]
                steps = rows["n"].to_numpy(dtype=float) / top * depth * 0.6 + STRIP_FLOOR
                ax.stairs(
                    steps, edges, baseline=STRIP_FLOOR, color=style.color, linewidth=0.9, zorder=1
                )
    ax.text(
        0.006,
        _STRIP_TOP + 0.045,
        f"n: {counted}" + ("" if shared and len(first) <= 14 else f", up to {top:g} a bin"),
        transform=ax.get_yaxis_transform(),
        fontsize=6.5,
        color="#444444",
        va="top",
    )


def _draw_equal_f1(ax: Axes) -> None:
    """Draw faint lines of equal F1."""
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(f1 / (2 - f1), 1.0, 60)
        ax.plot(
            recall, f1 * recall / (2 * recall - f1), color="#bbbbbb", linewidth=0.7, linestyle=":"
        )
        ax.text(1.0, f1 / (2 - f1) + 0.005, f"F1 {f1:g}", fontsize=6.5, color="#777777", ha="right")


def _operating_points(scores: pd.DataFrame, detector: str, group: str) -> pd.DataFrame:
    """Return completeness and purity at each operating point, with intervals."""
    rows = scores[
        (scores["detector"] == detector)
        & (scores["group"] == group)
        & (scores["bin"] == ALL_BINS)
        & scores["quantity"].isin(["completeness", "purity"])
    ]
    marks: list[dict[str, Any]] = []
    for point in rows["point"].drop_duplicates():
        mark: dict[str, Any] = {"detector": detector, "group": group, "point": point}
        for quantity in ("completeness", "purity"):
            row = rows[(rows["point"] == point) & (rows["quantity"] == quantity)]
            values = [row[c].iloc[0] if len(row) else np.nan for c in ("value", "lo", "hi")]
            mark |= dict(zip((quantity, f"{quantity}_lo", f"{quantity}_hi"), values, strict=True))
        marks.append(mark)
    return pd.DataFrame(marks)
