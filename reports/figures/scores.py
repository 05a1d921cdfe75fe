"""Figures of scores and depth, each returned with the numbers that it draws.

The functions that draw on one axis are in `skyduel.reports.figures.score_axes`. Nothing here
computes a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from skyduel.evaluation.scoring.metrics import HEADLINE, listed, metric
from skyduel.reports.figures.plot_helpers import (
    annotate_empty,
    count_frames,
    group_title,
    handles,
    legend,
    low_count_handle,
    panels,
    shown_groups,
    styles_of,
)
from skyduel.reports.figures.score_axes import plot_groups, plot_precision_recall, plot_score
from skyduel.reports.style import POINT_FILLS, Style, point_name, shorten
from skyduel.reports.svg.backend import entry, new_figure, plot_style
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "completeness_and_purity",
    "dots_by_group",
    "limits_by_group",
    "precision_recall",
    "scores_by_group",
    "scores_by_magnitude",
]

_WIDE: Final = 8.0


def scores_by_magnitude(
    scores: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the main scores against magnitude, and its numbers."""
    styles, shown = styles_of(scores, styles), listed("overview")
    with plot_style():
        lines = -(-len(shown) // 2)
        figure = new_figure(10, 3.7 * lines)
        axes = figure.subplots(lines, 2, sharex=True).ravel()
        drawn = [
            plot_score(ax, scores, m.name, group=group, point=point, styles=styles)
            for ax, m in zip(axes, shown, strict=False)
        ]
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        for ax in axes:  # which magnitude it is differs between the panels
            ax.tick_params(labelbottom=True)
        frames = scores.loc[(scores["group"] == group) & (scores["point"] == point), "n_frames"]
        n_frames = int(frames.max()) if len(frames) and frames.notna().any() else 0
        which = "all groups" if group == ALL_GROUPS else f"group {shorten(group)}"
        figure.suptitle(
            f"Scores by magnitude: {which}, operating point: {point_name(point)}, "
            f"{count_frames(n_frames)}"
        )
        legend(figure, [*handles(styles), low_count_handle()])
    return figure, pd.concat(drawn, ignore_index=True)


def completeness_and_purity(
    scores: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of completeness and purity against magnitude, and its numbers."""
    styles = styles_of(scores, styles)
    with plot_style():
        figure, axes = panels(2, columns=2, width=4.7, height=2.7, extra=0.35)
        drawn = [
            plot_score(ax, scores, quantity, group=group, point=point, styles=styles)
            for ax, quantity in zip(axes, ("completeness", "purity"), strict=True)
        ]
        legend(figure, [*handles(styles), low_count_handle()])
    return figure, pd.concat(drawn, ignore_index=True)


def precision_recall(
    sweep: pd.DataFrame, scores: pd.DataFrame, *, styles: Mapping[str, Style] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of purity against completeness, one panel a group, and its numbers."""
    styles = styles_of(scores, styles)
    groups = shown_groups(scores)
    with plot_style():
        figure, axes = panels(len(groups), width=3.7, height=3.5, sharex=True, sharey=True)
        drawn = []
        for ax, group in zip(axes, groups, strict=False):
            drawn.append(plot_precision_recall(ax, sweep, scores, group=group, styles=styles))
            ax.set_title(group_title(group))
            ax.label_outer()
        figure.suptitle("Purity against completeness as the score threshold is swept")
        points = [str(p) for p in scores["point"].drop_duplicates()]
        entries = handles(styles) + [
            entry(
                color="#555555",
                marker="o",
                markersize=8,
                fillstyle=POINT_FILLS.get(p, "right"),
                markerfacecoloralt="white",
                linestyle="none",
                label=point_name(p),
            )
            for p in points
        ]
        legend(figure, entries)
    return figure, pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()


def limits_by_group(
    limits: pd.DataFrame,
    *,
    points: Sequence[str] | None = None,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the S/N of half completeness per group, and its numbers."""
    table = limits.rename(columns={"snr50": "value", "snr50_lo": "lo", "snr50_hi": "hi"})
    figure, drawn = dots_by_group(
        table,
        points,
        styles_of(limits, styles),
        "S/N at completeness (recall) 0.5 (lower is better)",
        "Signal-to-noise at which half of the sources are found",
        wide=True,
    )
    return figure, drawn.rename(columns={"value": "snr50", "lo": "snr50_lo", "hi": "snr50_hi"})


def scores_by_group(
    scores: pd.DataFrame,
    quantity: str = HEADLINE,
    *,
    points: Sequence[str] | None = None,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of one score over all bins per group, and its numbers."""
    table = scores[(scores["quantity"] == quantity) & (scores["bin"] == ALL_BINS)]
    name = metric(quantity).label
    return dots_by_group(
        table,
        points,
        styles_of(scores, styles),
        f"{name} (higher is better)",
        f"{name} over all bins",
    )


def dots_by_group(
    table: pd.DataFrame,
    points: Sequence[str] | None,
    styles: Mapping[str, Style],
    label: str,
    title: str,
    *,
    wide: bool = False,
    zero: bool = False,
) -> tuple[Figure, pd.DataFrame]:
    """Return one panel of dots for each operating point, sharing their axes; and its numbers.

    Parameters
    ----------
    table : DataFrame
        `detector`, `point`, `group`, `value`, `lo`, `hi`.
    points : sequence of str, optional
        Which operating points; all of the table's by default.
    styles : mapping of str to Style
        As for `skyduel.reports.figures.score_axes.plot_score`.
    label, title : str
        The value's name and unit, and what the figure shows.
    wide : bool
        Whether values that span more than a factor 8 stand on a logarithmic axis.
    zero : bool
        Whether zero is marked, and far values are drawn nearer (a symmetric
        logarithm) where they would press the others together.
    """
    if points is None:
        points = [str(p) for p in table["point"].drop_duplicates()]
    table = table[table["point"].isin(list(points))].reset_index(drop=True)
    n_groups = max(table["group"].nunique(), 1)
    with plot_style():
        height = 1.7 + n_groups * max(0.45, 0.17 * len(styles))
        panels = max(len(points), 1)
        figure = new_figure(3.4 * panels + 1.2, height)
        axes = figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False).ravel()
        for ax, point in zip(axes, points, strict=False):
            plot_groups(ax, table[table["point"] == point], "", styles)
            ax.set_title(point_name(point))
        if not len(table):
            annotate_empty(axes[0], "no such values in this run")
        shown = table["value"].to_numpy(dtype=float)
        shown = shown[np.isfinite(shown)]
        if wide and len(shown) and shown.min() > 0 and shown.max() > _WIDE * shown.min():
            # One far value would press all others together.
            axes[0].set_xscale("log")
            tens = range(int(np.floor(np.log10(shown.min()))), int(np.log10(shown.max())) + 1)
            ticks = [f * 10.0**ten for ten in tens for f in (1, 2, 5)]
            ticks = [t for t in ticks if 0.8 * shown.min() < t < 1.25 * shown.max()]
            axes[0].set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes[0].minorticks_off()
        if zero:
            for ax in axes:
                ax.axvline(0, color="#444444", linewidth=0.8)
            if len(shown) and np.abs(shown).max() > _WIDE * max(np.median(np.abs(shown)), 0.1):
                axes[0].set_xscale("symlog", linthresh=1.0)
                ticks = [x for x in (-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8) if x < shown.max() * 1.6]
                ticks = [x for x in ticks if x > min(shown.min(), 0) * 1.6 - 0.3]
                axes[0].set_xticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks])
                axes[0].minorticks_off()
        axes[len(axes) // 2].set_xlabel(label)
        figure.suptitle(title)
        legend(figure, handles(styles))
    keep = ["detector", "point", "group", "value", "lo", "hi"]
    extra = [c for c in ("n", "n_truths", "n_frames") if c in table.columns]
    return figure, table[keep + extra]
