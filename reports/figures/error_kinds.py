"""Figures of the kinds of error of missed sources and false detections, in one fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skyduel.reports.error_kinds import ERROR_KINDS, SIDES, error_kind
from skyduel.reports.figures.plot_helpers import (
    annotate_empty,
    draws,
    group_order,
    group_title,
    legend,
)
from skyduel.reports.style import point_name, shorten
from skyduel.reports.svg.backend import new_figure, patch, plot_style
from skyduel.run_folder.read_run import bin_label
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "error_kinds_by_group",
    "error_kinds_by_magnitude",
    "plot_error_kinds",
    "plot_error_kinds_by_magnitude",
]


@draws(mistakes="mistakes")
def plot_error_kinds(
    ax: Axes, mistakes: pd.DataFrame, side: str, *, point: str = DEFAULT_POINT
) -> pd.DataFrame:
    """Draw the shares of the kinds as stacked bars, one a group and detector.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    mistakes : DataFrame
        The run folder's `analyses/mistakes`.
    side : str
        ``missed`` or ``false``.
    point : str
        The operating point.

    Returns
    -------
    DataFrame
        The rows of all bins together, in the order of drawing, with `y`, the
        bar, counted from the top, and `left`, where the piece begins. The number
        of errors in a bar stands at its right.
    """
    rows = mistakes[
        (mistakes["bin"] == ALL_BINS)
        & (mistakes["side"] == side)
        & (mistakes["point"] == point)
        & (mistakes["n"] > 0)
    ]
    every = mistakes[mistakes["point"] == point]
    groups = group_order(every["group"])
    if len(groups) == 2:
        groups = groups[:1]
    detectors = list(dict.fromkeys(every["detector"].astype(str)))
    lines = {(g, d): i for i, (g, d) in enumerate((g, d) for g in groups for d in detectors)}
    rows = _ordered(rows[rows["group"].isin(groups)])
    y = [lines[str(g), str(d)] for g, d in zip(rows["group"], rows["detector"], strict=True)]
    rows = rows.assign(y=y)
    rows = rows.assign(left=rows.groupby("y")["share"].cumsum() - rows["share"])
    with plot_style():
        for i in range(1, len(groups), 2):
            ax.axhspan(
                i * len(detectors) - 0.5,
                (i + 1) * len(detectors) - 0.5,
                color="#f3f3f3",
                linewidth=0,
            )
        for kind, part in rows.groupby("kind", sort=False):
            style = error_kind(str(kind))
            ax.barh(
                part["y"],
                part["share"],
                left=part["left"],
                height=0.74,
                color=style.color,
                hatch=style.hatch,
                edgecolor="white",
                linewidth=0.4,
                zorder=2,
            )
        totals = rows.groupby("y")["n"].sum()
        for line, n in zip(totals.index, totals, strict=True):
            ax.text(1.01, float(line), f"{n:g}", fontsize=7, va="center", clip_on=False)
        for line in sorted(set(lines.values()) - set(rows["y"])):
            ax.text(0.01, line, "none", fontsize=7, va="center", color="#555555")
        ax.text(1.01, -0.8, "n", fontsize=7, va="center", clip_on=False, fontweight="bold")
        ax.set_xlim(0, 1)
        ax.set_ylim(max(len(lines), 1) - 0.5, -0.5)
        ax.set_yticks(
            range(len(lines)),
            [
                (f"{group_title(g)}:  " if i % len(detectors) == 0 else "") + shorten(d, 22)
                for i, (g, d) in enumerate(lines)
            ],
            fontsize=8,
        )
        ax.set_xlabel("share")
        ax.set_title(SIDES[side])
        if not lines:
            annotate_empty(ax, "no kinds of mistake in this run")
    return rows.reset_index(drop=True)


def error_kinds_by_group(
    mistakes: pd.DataFrame, *, point: str = DEFAULT_POINT
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the kinds of error per group and detector, and its numbers."""
    n_lines = mistakes.loc[mistakes["point"] == point, ["group", "detector"]].drop_duplicates()
    with plot_style():
        figure = new_figure(11, 1.9 + 0.2 * max(len(n_lines), 3))
        axes = figure.subplots(1, 2, sharey=True)
        drawn = [
            plot_error_kinds(ax, mistakes, side, point=point)
            for ax, side in zip(axes, SIDES, strict=True)
        ]
        axes[1].tick_params(labelleft=False)
        figure.suptitle(f"Kinds of mistake, operating point: {point_name(point)}")
        table = pd.concat(drawn, ignore_index=True)
        legend(figure, _patches(table))
    columns = ["detector", "point", "group", "side", "kind", "n", "share", "lo", "hi", "left"]
    return figure, table[columns]


@draws(mistakes="mistakes")
def plot_error_kinds_by_magnitude(
    ax: Axes,
    mistakes: pd.DataFrame,
    detector: str,
    side: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
) -> pd.DataFrame:
    """Draw the numbers of each kind of error in each magnitude bin, stacked.

    Returns
    -------
    DataFrame
        The rows drawn, with `x`, the bar, and `bottom`, where the piece begins.
    """
    here = mistakes[
        (mistakes["side"] == side)
        & (mistakes["group"] == group)
        & (mistakes["point"] == point)
        & (mistakes["bin"] != ALL_BINS)
    ]
    edges = here.drop_duplicates("bin").sort_values("bin")
    finite = np.isfinite(edges["bin_lo"]) & np.isfinite(edges["bin_hi"]) & (edges["bin"] >= 0)
    fainter = edges.loc[np.isfinite(edges["bin_lo"]) & ~np.isfinite(edges["bin_hi"]), "bin"]
    n_bins = int(edges.loc[finite, "bin"].max()) + 1 if finite.any() else 0
    n_bins = int(fainter.iloc[0]) if len(fainter) else n_bins
    first = int(edges["bin"].min()) if len(edges) else 0
    last = int(edges["bin"].max()) if len(edges) else 0
    of = {int(r["bin"]): r for r in edges.to_dict("records")}
    rows = _ordered(here[here["detector"] == detector])
    rows = rows.assign(x=rows["bin"].astype(float))
    rows = rows.assign(bottom=rows.groupby("x")["n"].cumsum() - rows["n"])
    with plot_style():
        for kind, part in rows.groupby("kind", sort=False):
            style = error_kind(str(kind))
            ax.bar(
                part["x"],
                part["n"],
                bottom=part["bottom"],
                width=0.84,
                color=style.color,
                hatch=style.hatch,
                edgecolor="white",
                linewidth=0.4,
                zorder=2,
            )
        ticks = [b for b in range(first, last + 1) if b in of]
        ax.set_xticks(
            ticks,
            [bin_label(b, of[b]["bin_lo"], of[b]["bin_hi"], n_bins) for b in ticks],
            rotation=90,
            fontsize=7.5,
        )
        ax.set_xlim(first - 0.6, last + 0.6)
        ax.grid(True, axis="y")
        ax.set_ylabel("number")
        ax.set_xlabel(("true" if side == "missed" else "measured") + " magnitude [mag]")
        if not len(rows):
            annotate_empty(ax, "none")
    return rows.reset_index(drop=True)


def error_kinds_by_magnitude(
    mistakes: pd.DataFrame, *, group: str = ALL_GROUPS, point: str = DEFAULT_POINT
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the kinds of error against magnitude, and its numbers."""
    detectors = list(dict.fromkeys(mistakes["detector"].astype(str)))
    columns = max(min(4, len(detectors)), 1)
    rows = -(-max(len(detectors), 1) // columns)
    with plot_style():
        figure = new_figure(3.1 * columns + 1.0, 5.6 * rows + 1.0)
        axes = figure.subplots(2 * rows, columns, squeeze=False, sharey=False)
        drawn = []
        for s, side in enumerate(SIDES):
            mine = []
            for i, detector in enumerate(detectors):
                ax = axes[s * rows + i // columns][i % columns]
                mine.append(ax)
                drawn.append(
                    plot_error_kinds_by_magnitude(
                        ax, mistakes, detector, side, group=group, point=point
                    )
                )
                ax.set_title(f"{shorten(detector, 24)}: {SIDES[side].lower()}", fontsize=9)
            top = max((ax.get_ylim()[1] for ax in mine), default=1)
            for i, ax in enumerate(mine):  # the same scale, so that heights compare
                ax.set_ylim(0, top)
                if i % columns:
                    ax.set_ylabel("")
            for i in range(len(detectors), rows * columns):
                axes[s * rows + i // columns][i % columns].remove()
        figure.suptitle(
            f"Kinds of mistake by magnitude: {group_title(group)}, operating point: "
            f"{point_name(point)}"
        )
        keep = [
            "detector", "point", "group", "side", "kind", "bin", "bin_lo", "bin_hi", "n",
            "share", "lo", "hi", "bottom",
        ]  # fmt: skip
        table = pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame(columns=keep)
        legend(figure, _patches(table))
    return figure, table[keep]


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the order in which kinds are stacked."""
    order = {kind: i for i, kind in enumerate(ERROR_KINDS)}
    rank = rows["kind"].map(lambda k: order.get(str(k), len(order)))
    return rows.assign(_rank=rank).sort_values("_rank", kind="stable").drop(columns="_rank")


def _patches(table: pd.DataFrame) -> list[Any]:
    """Return the legend: every kind that is drawn, and no other."""
    there = set(table["kind"].astype(str)) if "kind" in table else set()
    kinds = [k for k in ERROR_KINDS if k in there] + sorted(there - set(ERROR_KINDS))
    return [patch(error_kind(k).label, error_kind(k).color, error_kind(k).hatch) for k in kinds]
