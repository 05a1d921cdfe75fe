"""Whole figures of scores and limits, each returned with the numbers it draws.

What goes on one axis is in `reports.axes`. Nothing here computes a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from reports.axes import (
    THIN,
    group_order,
    looks_of,
    plot_groups,
    plot_precision_recall,
    plot_score,
    say,
)
from reports.folder import ALL_BINS
from reports.style import POINT_FILLS, QUANTITY_NAMES, Style, drawing, point_name, shorten

__all__ = ["limits_by_group", "precision_recall", "scores_by_group", "scores_by_magnitude"]

_WIDE: Final = 8.0
_OVERVIEW: Final = ("completeness", "purity", "f1", "f2")


def scores_by_magnitude(
    scores: pd.DataFrame,
    *,
    group: str = "all",
    point: str = "default",
    looks: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of completeness, purity, F1 and F2 against magnitude, and its numbers."""
    looks = looks_of(scores, looks)
    with drawing():
        figure = Figure(figsize=(10, 7.4), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True).ravel()
        drawn = [
            plot_score(ax, scores, quantity, group=group, point=point, looks=looks)
            for ax, quantity in zip(axes, _OVERVIEW, strict=True)
        ]
        for ax in axes:  # which magnitude it is differs between the panels
            ax.tick_params(labelbottom=True)
        frames = scores.loc[(scores["group"] == group) & (scores["point"] == point), "n_frames"]
        n_frames = int(frames.max()) if len(frames) and frames.notna().any() else 0
        which = "all groups" if group == "all" else f"group {shorten(group)}"
        figure.suptitle(
            f"Scores by magnitude: {which}, operating point: {point_name(point)}, "
            f"{n_frames} frame{'' if n_frames == 1 else 's'}"
        )
        handles = [_handle(look, shorten(name)) for name, look in looks.items()]
        handles.append(
            Line2D(
                [],
                [],
                color="#777777",
                marker="o",
                markerfacecolor="white",
                linestyle="none",
                label=f"hollow: n < {THIN}",
            )
        )
        _legend(figure, handles)
    return figure, pd.concat(drawn, ignore_index=True)


def precision_recall(
    sweep: pd.DataFrame, scores: pd.DataFrame, *, looks: Mapping[str, Style] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of purity against completeness, one panel a group, and its numbers."""
    looks = looks_of(scores, looks)
    groups = group_order(scores["group"])
    if len(groups) == 2:  # "all" and its only group say the same
        groups = groups[:1]
    columns = min(2, max(len(groups), 1))
    rows = -(-max(len(groups), 1) // columns)
    with drawing():
        figure = Figure(figsize=(4.9 * columns, 4.5 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        drawn = []
        for ax, group in zip(axes, groups, strict=False):
            drawn.append(plot_precision_recall(ax, sweep, scores, group=group, looks=looks))
            ax.set_title("all groups" if group == "all" else shorten(group))
        for ax in axes[len(groups) :]:
            ax.remove()
        figure.suptitle("Purity against completeness as the score threshold is swept")
        points = [str(p) for p in scores["point"].drop_duplicates()]
        handles = [_handle(look, shorten(name)) for name, look in looks.items()]
        handles += [
            Line2D(
                [],
                [],
                color="#555555",
                marker="o",
                markersize=8,
                fillstyle=POINT_FILLS.get(p, "right"),  # type: ignore[arg-type]
                markerfacecoloralt="white",
                linestyle="none",
                label=point_name(p),
            )
            for p in points
        ]
        _legend(figure, handles)
    return figure, pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()


def limits_by_group(
    limits: pd.DataFrame,
    *,
    points: Sequence[str] | None = None,
    looks: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the S/N of half completeness per group, and its numbers."""
    table = limits.rename(columns={"snr50": "value", "snr50_lo": "lo", "snr50_hi": "hi"})
    figure, drawn = _panels(
        table,
        points,
        looks_of(limits, looks),
        "S/N at completeness (recall) 0.5 (lower is better)",
        "Signal-to-noise at which half of the sources are found",
        wide=True,
    )
    return figure, drawn.rename(columns={"value": "snr50", "lo": "snr50_lo", "hi": "snr50_hi"})


def scores_by_group(
    scores: pd.DataFrame,
    quantity: str = "f1",
    *,
    points: Sequence[str] | None = None,
    looks: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of one score over all bins per group, and its numbers."""
    table = scores[(scores["quantity"] == quantity) & (scores["bin"] == ALL_BINS)]
    name = QUANTITY_NAMES[quantity]
    return _panels(
        table,
        points,
        looks_of(scores, looks),
        f"{name} (higher is better)",
        f"{name} over all bins",
    )


def _panels(
    table: pd.DataFrame,
    points: Sequence[str] | None,
    looks: Mapping[str, Style],
    label: str,
    title: str,
    *,
    wide: bool = False,
) -> tuple[Figure, pd.DataFrame]:
    """Return one panel of dots for each operating point, sharing their axes.

    With `wide`, values that span more than a factor `_WIDE` stand on a logarithmic axis.
    """
    if points is None:
        points = [str(p) for p in table["point"].drop_duplicates()]
    table = table[table["point"].isin(list(points))].reset_index(drop=True)
    n_groups = max(table["group"].nunique(), 1)
    with drawing():
        height = 1.7 + n_groups * max(0.45, 0.17 * len(looks))
        panels = max(len(points), 1)
        figure = Figure(figsize=(3.4 * panels + 1.2, height), layout="constrained")
        axes = figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False).ravel()
        for ax, point in zip(axes, points, strict=False):
            plot_groups(ax, table[table["point"] == point], "", looks)
            ax.set_title(point_name(point))
        if not len(table):
            say(axes[0], "nothing of this in the run")
        shown = table["value"].to_numpy(dtype=float)
        shown = shown[np.isfinite(shown)]
        if wide and len(shown) and shown.min() > 0 and shown.max() > _WIDE * shown.min():
            # One far value would press all others together.
            axes[0].set_xscale("log")
            axes[0].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes[0].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes[0].xaxis.set_minor_formatter(NullFormatter())
        axes[len(axes) // 2].set_xlabel(label)
        figure.suptitle(title)
        _legend(figure, [_handle(look, shorten(name)) for name, look in looks.items()])
    keep = ["detector", "point", "group", "value", "lo", "hi"]
    extra = [c for c in ("n", "n_truths", "n_frames") if c in table.columns]
    return figure, table[keep + extra]


def _handle(look: Style, label: str) -> Line2D:
    return Line2D([], [], color=look.color, marker=look.marker, markersize=5, label=label)


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    lengths = [len(str(h.get_label())) + 7 for h in handles]
    room = figure.get_figwidth() * 13  # about as many characters as a line holds
    columns = len(handles)
    while columns > 1 and sum(max(lengths[i::columns]) for i in range(columns)) > room:
        columns -= 1
    figure.legend(handles=handles, loc="outside lower center", ncols=max(columns, 1), frameon=False)
