"""The figure of Jia et al. (2020) in its own layout, and the same run by sound rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from skyduel.reports.figures.plot_helpers import (
    annotate_empty,
    draws,
    group_title,
    handles,
    legend,
    styles_of,
)
from skyduel.reports.figures.score_axes import bin_rows
from skyduel.reports.style import Style, point_name
from skyduel.reports.svg.backend import entry, new_figure, plot_style
from skyduel.run_folder.schema import ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FAULTS", "jia2020_layout", "plot_jia2020"]

#: Faults of the rules of that paper, as the page states them.
FAULTS: Final = (
    "its pairing (a box of ±1.5 px) is not one to one; its precision is recall times a ratio of "
    "totals, cut at 1; an empty bin counts as 1; frames are averaged, not counted together; a bin "
    "is drawn at its upper edge"
)
_PAIRS: Final = (("recall", "precision"), ("f1", "f2"))
_SOUND: Final = {"recall": "completeness", "precision": "purity", "f1": "f1", "f2": "f2"}
_LINES: Final = {"recall": "-", "f1": "-", "precision": "--", "f2": "--"}
_NAMES: Final = {
    "recall": "recall (completeness)",
    "precision": "precision (purity)",
    "f1": "F1",
    "f2": "F2",
}
_PUBLISHED: Final = {
    "network": ("published network", "*"),
    "sextractor": ("published SExtractor", "P"),
}


@draws(jia2020="jia2020")
def plot_jia2020(
    ax: Axes,
    jia2020: pd.DataFrame,
    pair: tuple[str, str] = ("f1", "f2"),
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw two quantities of that paper in one panel, as the paper does; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    jia2020 : DataFrame
        The run folder's `analyses/jia2020`.
    pair : tuple of str
        ``("recall", "precision")`` or ``("f1", "f2")``: solid and dashed.
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        The rows drawn, at `mag_plotted`. Published values stand as black marks
        (full: the first of the pair; hollow: the second) where a bin has the
        same edges.
    """
    styles = styles_of(jia2020, styles)
    j = jia2020
    rows = j[j["quantity"].isin(pair) & (j["group"] == group) & (j["point"] == point)]
    rows = rows[np.isfinite(rows["mag_plotted"].astype(float))]
    rows = rows.sort_values(["quantity", "mag_plotted"], kind="stable")
    parts = []
    with plot_style():
        for quantity in pair:
            mine = rows[rows["quantity"] == quantity]
            for detector, style in styles.items():
                part = mine[mine["detector"] == detector]
                _line(ax, part["mag_plotted"], part["value"], style, quantity)
                parts.append(part)
            published = mine.drop_duplicates("mag_plotted")
            for column, (_, marker) in _PUBLISHED.items():
                ax.plot(
                    published["mag_plotted"],
                    published[column].astype(float),
                    color="#222222",
                    marker=marker,
                    markersize=8,
                    markerfacecolor="#222222" if _LINES[quantity] == "-" else "white",
                    linestyle="none",
                    zorder=4,
                )
        _axis(ax, pair, "magnitude [mag], at the upper edge of its bin")
        if not len(rows):
            annotate_empty(ax, "not in this run")
    return pd.concat([p for p in parts if len(p)] or [rows], ignore_index=True)


def jia2020_layout(
    jia2020: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return the paper's figure above the same layout with this program's scores; its numbers.

    Returns
    -------
    figure : Figure
        Two panels by the paper's rules, and two from `scores`.
    data : DataFrame
        `measure` (``jia2020`` or ``sound``), `detector`, `point`, `group`,
        `quantity`, `bin`, `bin_lo`, `bin_hi`, `mag` (where it stands),
        `value`, and the paper's `network` and `sextractor`.
    """
    styles = styles_of(jia2020, styles)
    drawn = []
    with plot_style():
        figure = new_figure(10.4, 8.4)
        axes = figure.subplots(2, 2)
        for ax, pair in zip(axes[0], _PAIRS, strict=True):
            part = plot_jia2020(ax, jia2020, pair, group=group, point=point, styles=styles)
            drawn.append(part.rename(columns={"mag_plotted": "mag"}).assign(measure="jia2020"))
            ax.set_title("By the rules of Jia et al. (2020)", fontsize=9.5)
        for ax, pair in zip(axes[1], _PAIRS, strict=True):
            for quantity in pair:
                rows = bin_rows(scores, _SOUND[quantity], group=group, point=point)
                for detector, style in styles.items():
                    part = rows[rows["detector"] == detector]
                    _line(ax, part["mag"], part["value"], style, quantity)
                    drawn.append(part.assign(measure="sound"))
            _axis(ax, pair, "true and measured magnitude [mag], at the middle of the bin")
            ax.set_title("The same frames by this program’s rules", fontsize=9.5)
        edges = [ax.get_xlim() for ax in axes.ravel()]
        for ax in axes.ravel():
            ax.set_xlim(min(e[0] for e in edges), max(e[1] for e in edges))
        figure.suptitle(
            f"In the layout of Jia et al. (2020): {group_title(group)}, operating point: "
            f"{point_name(point)}\nIts rules are unsound (see the caption): compare with its "
            "figure only, not between detectors",
            fontsize=10,
        )
        entries = [
            *handles(styles),
            entry(color="#555555", label="solid: recall, F1"),
            entry(color="#555555", linestyle="--", label="dashed: precision, F2"),
        ]
        if jia2020[list(_PUBLISHED)].notna().any(axis=None):
            entries += [
                entry(
                    color="#222222",
                    marker=marker,
                    markersize=8,
                    linestyle="none",
                    label=f"{label} (hollow: F2)",
                )
                for label, marker in _PUBLISHED.values()
            ]
        legend(figure, entries)
    columns = "measure detector point group quantity bin bin_lo bin_hi mag value network sextractor"
    parts = [p for p in drawn if len(p)]
    if not parts:
        return figure, pd.DataFrame(columns=columns.split())
    return figure, pd.concat(parts, ignore_index=True).reindex(columns=columns.split())


def _line(ax: Axes, x: pd.Series, y: pd.Series, style: Style, quantity: str) -> None:
    dashed = _LINES[quantity] != "-"
    ax.plot(
        x,
        y,
        color=style.color,
        linestyle=_LINES[quantity],
        linewidth=1.2,
        marker=style.marker,
        markersize=4.5,
        markerfacecolor="white" if dashed else style.color,
    )


def _axis(ax: Axes, pair: tuple[str, str], label: str) -> None:
    ax.set_ylim(-0.02, 1.04)
    ax.grid(True, axis="y")
    ax.set_xlabel(label)
    ax.set_ylabel(" and ".join(_NAMES[q] for q in pair))
