"""Figures of depth: completeness beside the ideal observer, and its fitted curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.scoring.metrics import metric
from skyduel.reports.figures.plot_helpers import (
    LOW_COUNT,
    annotate_empty,
    dodge,
    draws,
    errorbar_points,
    group_title,
    handles,
    legend,
    low_count_handle,
    panels,
    shown_groups,
    styles_of,
)
from skyduel.reports.figures.score_axes import STRIP_FLOOR, bin_rows, draw_strip, magnitude_axis
from skyduel.reports.figures.scores import dots_by_group
from skyduel.reports.style import Style, point_name
from skyduel.reports.svg.backend import entry, plot_style
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "completeness_and_ideal",
    "completeness_curves",
    "fitted_completeness",
    "ideal_distance",
    "plot_completeness_curve",
    "plot_ideal",
]

#: The quantity in which the ideal observer equals the detector, as in the figure's legend.
_MATCHED: Final = {
    "false_rate": "as many false detections per Mpix as the detector",
    "purity": "the detector’s purity",
}


@draws(ideal="ideal")
def plot_ideal(
    ax: Axes,
    ideal: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    match: str = "false_rate",
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw completeness of point sources and of the ideal observer; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    ideal : DataFrame
        The run folder's `analyses/ideal`.
    group, point, match : str
        Which frames, at which operating point, and the quantity in which the
        ideal observer equals the detector: ``false_rate`` or ``purity``.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        The table's rows with two finite edges, with `mag` (the bin's centre),
        `x` (where the marker stands) and `thin`. The ideal observer's curve is
        dashed, in the detector's colour, at `mag`.
    """
    styles = styles_of(ideal, styles)
    with plot_style():
        rows = ideal[
            (ideal["group"] == group)
            & (ideal["point"] == point)
            & (ideal["match"] == match)
            & (ideal["bin"] >= 0)
            & np.isfinite(ideal["bin_lo"])
            & np.isfinite(ideal["bin_hi"])
        ].sort_values("bin", kind="stable")
        rows = rows.assign(mag=(rows["bin_lo"] + rows["bin_hi"]) / 2, thin=rows["n"] < LOW_COUNT)
        width = float((rows["bin_hi"] - rows["bin_lo"]).min()) if len(rows) else 1.0
        parts = []
        for i, (detector, style) in enumerate(styles.items()):
            part = rows[rows["detector"] == detector]
            part = part.assign(x=part["mag"] + dodge(i, len(styles), width))
            ax.plot(
                part["mag"],
                part["ideal"],
                color=style.color,
                linestyle=(0, (5, 2)),
                linewidth=1.2,
                zorder=2.5,
            )
            errorbar_points(
                ax,
                part["x"],
                part["found"],
                style,
                lo=part["found_lo"],
                hi=part["found_hi"],
                low_count=part["thin"],
                line="",
            )
            parts.append(part)
        drawn: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else rows
        _score_axis(ax)
        if len(drawn):
            magnitude_axis(ax, drawn)
            draw_strip(ax, drawn, styles, "point sources")
        else:
            annotate_empty(ax, "no ideal observer here")
    return drawn


def completeness_and_ideal(
    ideal: pd.DataFrame,
    *,
    point: str = DEFAULT_POINT,
    match: str = "false_rate",
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of completeness and the ideal observer's, one panel a group; its numbers."""
    styles = styles_of(ideal, styles)
    groups = shown_groups(ideal)
    with plot_style():
        figure, axes = panels(len(groups), sharex=True, sharey=True)
        drawn = []
        for ax, group in zip(axes, groups, strict=False):
            drawn.append(
                plot_ideal(ax, ideal, group=group, point=point, match=match, styles=styles)
            )
            ax.set_title(group_title(group))
            ax.label_outer()
        figure.suptitle(
            f"Point sources found, and the most that could be, operating point: {point_name(point)}"
        )
        dashed = entry(color="#555555", linestyle=(0, (5, 2)), label=f"ideal: {_MATCHED[match]}")
        legend(figure, [*handles(styles), dashed, low_count_handle()])
    keep = "detector point group match bin bin_lo bin_hi mag x found found_lo found_hi n thin ideal"
    columns = [*keep.split(), "threshold"]
    if not drawn:
        return figure, pd.DataFrame(columns=columns)
    return figure, pd.concat(drawn, ignore_index=True).reindex(columns=columns)


def ideal_distance(
    ideal: pd.DataFrame,
    *,
    match: str = "false_rate",
    points: Sequence[str] | None = None,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of each detector's distance from the ideal observer [mag]; its numbers."""
    table = ideal[(ideal["bin"] == ALL_BINS) & (ideal["match"] == match)].rename(
        columns={"distance_mag": "value", "distance_lo": "lo", "distance_hi": "hi"}
    )
    figure, drawn = dots_by_group(
        table,
        points,
        styles_of(ideal, styles),
        "behind the ideal at half completeness [mag] (less is better)",
        f"Distance from the ideal observer with {_MATCHED[match]}",
        zero=True,
    )
    return figure, drawn.rename(
        columns={"value": "distance_mag", "lo": "distance_lo", "hi": "distance_hi"}
    )


def fitted_completeness(
    mag: npt.ArrayLike, m50: float, width_mag: float, floor: float, ceiling: float
) -> npt.NDArray[np.float64]:
    """Return a limit's fitted curve at magnitudes, shape of `mag`; NaN without a fit.

    The curve is ``floor + (ceiling - floor) / (1 + exp((mag - middle) / width))``,
    with the middle placed so that the curve is one half at the `m50` of `limits`.
    """
    mag = np.asarray(mag, dtype=np.float64)
    if not (np.isfinite([m50, width_mag, floor, ceiling]).all() and floor < 0.5 < ceiling):
        return np.full(mag.shape, np.nan)
    middle = m50 - width_mag * np.log((ceiling - 0.5) / (0.5 - floor))
    return np.asarray(floor + (ceiling - floor) / (1 + np.exp((mag - middle) / width_mag)))


@draws(scores="scores", limits="limits")
def plot_completeness_curve(
    ax: Axes,
    scores: pd.DataFrame,
    limits: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw binned completeness, the fitted curve, and where it is 0.5 and 0.9.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    scores, limits : DataFrame
        The run folder's tables.
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        `what` is ``bin`` (`mag`, `value`, `lo`, `hi` of completeness, `n`,
        `thin`), ``m50`` or ``m90`` (`mag`, its interval `lo` and `hi`, and the
        curve's `width_mag`, `floor` and `ceiling`). The curve is fitted to the
        sources one by one and to points alone, so bins that hold streaks may
        lie off it.
    """
    styles = styles_of(scores, styles)
    with plot_style():
        rows = bin_rows(scores, "completeness", group=group, point=point)
        fits = limits[(limits["group"] == group) & (limits["point"] == point)]
        parts = []
        width = float((rows["bin_hi"] - rows["bin_lo"]).min()) if len(rows) else 1.0
        for i, (detector, style) in enumerate(styles.items()):
            part = rows[rows["detector"] == detector]
            part = part.assign(what="bin", x=part["mag"] + dodge(i, len(styles), width))
            errorbar_points(
                ax,
                part["x"],
                part["value"],
                style,
                lo=part["lo"],
                hi=part["hi"],
                low_count=part["thin"],
                line="",
                size=4,
            )
            parts.append(part)
            fit = fits[fits["detector"] == detector]
            if len(fit) and len(rows):
                parts.append(_draw_fit(ax, fit.iloc[0], rows, style, i - (len(styles) - 1) / 2))
        drawn = pd.concat([p for p in parts if len(p)] or [rows], ignore_index=True)
        ax.axhline(0.5, color="#888888", linewidth=0.7, linestyle=":")
        _score_axis(ax, floor=0.0)
        if len(rows):
            magnitude_axis(ax, rows)
        else:
            annotate_empty(ax, "no such scores in this run")
    return drawn


def completeness_curves(
    scores: pd.DataFrame,
    limits: pd.DataFrame,
    *,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the fitted completeness curves, a panel a group, and its numbers."""
    styles = styles_of(scores, styles)
    groups = shown_groups(scores)
    with plot_style():
        figure, axes = panels(len(groups), sharex=True, sharey=True)
        drawn = []
        for ax, group in zip(axes, groups, strict=False):
            drawn.append(
                plot_completeness_curve(ax, scores, limits, group=group, point=point, styles=styles)
            )
            ax.set_title(group_title(group))
            ax.label_outer()
        figure.suptitle(f"Completeness and its fitted curve, operating point: {point_name(point)}")
        marks = [
            entry(color="#555555", marker="|", markersize=9, linestyle="none", label=label)
            for label in ("m50 and m90, with intervals",)
        ]
        legend(figure, [*handles(styles), *marks, low_count_handle()])
    columns = [
        "what", "detector", "point", "group", "bin", "bin_lo", "bin_hi", "mag", "value", "lo",
        "hi", "n", "thin", "width_mag", "floor", "ceiling",
    ]  # fmt: skip
    if not drawn:
        return figure, pd.DataFrame(columns=columns)
    return figure, pd.concat(drawn, ignore_index=True).reindex(columns=columns)


def _draw_fit(
    ax: Axes, fit: pd.Series, rows: pd.DataFrame, style: Style, place: float
) -> pd.DataFrame:
    """Draw one fitted curve and its marks of m50 and m90, shifted vertically by `place` steps."""
    grid = np.linspace(rows["bin_lo"].min(), rows["bin_hi"].max(), 160)
    shape = {c: float(fit[c]) for c in ("m50", "width_mag", "floor", "ceiling")}
    ax.plot(grid, fitted_completeness(grid, **shape), color=style.color, linewidth=1.2, zorder=2)
    marks = []
    for what, height in (("m50", 0.5), ("m90", 0.9)):
        value, lo, hi = (float(fit[c]) for c in (what, f"{what}_lo", f"{what}_hi"))
        if np.isfinite(value):
            y = height - 0.024 * place
            ax.plot([value], [y], color=style.color, marker="|", markersize=7, zorder=4)
            if np.isfinite([lo, hi]).all():
                ax.plot([lo, hi], [y, y], color=style.color, linewidth=1.4, alpha=0.6)
        marks.append({"what": what, "mag": value, "lo": lo, "hi": hi, "value": height})
    return pd.DataFrame(marks).assign(
        detector=fit["detector"],
        point=fit["point"],
        group=fit["group"],
        **{c: shape[c] for c in ("width_mag", "floor", "ceiling")},
    )


def _score_axis(ax: Axes, floor: float = STRIP_FLOOR) -> None:
    ax.set_ylim(floor - (0.02 if floor == 0 else 0), 1.04)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.axhline(0, color="#444444", linewidth=0.6)
    ax.grid(True, axis="y")
    ax.set_ylabel(metric("completeness").label)
    ax.set_xlabel("true magnitude [mag]")
