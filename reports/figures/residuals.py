"""Figures of the residuals of found sources: position and magnitude minus the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from skyduel.reports.figures.binned_scores import edge_axis
from skyduel.reports.figures.plot_helpers import (
    LOW_COUNT,
    annotate_empty,
    bin_numbers,
    dodge,
    draws,
    errorbar_points,
    group_title,
    handles,
    legend,
    low_count_handle,
    panels,
    styles_of,
)
from skyduel.reports.style import Style, point_name
from skyduel.reports.svg.backend import plot_style
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_residuals", "residuals"]

_QUANTITIES: Final[Mapping[str, tuple[str, str]]] = {
    "x": ("snr", "x [px]"),
    "y": ("snr", "y [px]"),
    "mag": ("mag", "magnitude [mag]"),
}
_AXES: Final = {"snr": "ideal S/N", "mag": "true magnitude [mag]"}
_STATISTICS: Final = {
    "scatter": "scatter (1.48 MAD)",
    "bias": "bias (median)",
    "rms": "rms",
}


@draws(astrometry="astrometry")
def plot_residuals(
    ax: Axes,
    astrometry: pd.DataFrame,
    quantity: str,
    statistic: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw the bias or scatter of a measurement against S/N or magnitude; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    astrometry : DataFrame
        The run folder's `analyses/astrometry`.
    quantity, statistic : str
        ``x``, ``y`` or ``mag``; ``scatter``, ``bias`` or ``rms``.
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        The rows with an edge, with `x_drawn`, `value` (the statistic) and
        `thin`. Bins are drawn equally wide, with their edges between them.
    """
    styles = styles_of(astrometry, styles)
    by, name = _QUANTITIES[quantity]
    a = astrometry
    rows = a[
        (a["quantity"] == quantity)
        & (a["by"] == by)
        & (a["group"] == group)
        & (a["point"] == point)
        & (a["bin"] != ALL_BINS)
        & (np.isfinite(a["bin_lo"]) | np.isfinite(a["bin_hi"]))
    ].sort_values("bin", kind="stable")
    held = rows.loc[rows["n"] > 0, "bin"]
    rows = rows[rows["bin"].between(held.min(), held.max())] if len(held) else rows.iloc[:0]
    parts = []
    with plot_style():
        for i, (detector, style) in enumerate(styles.items()):
            part = rows[rows["detector"] == detector]
            part = part.assign(
                x_drawn=part["bin"].astype(float) + dodge(i, len(styles), 1.0),
                value=part[statistic],
                thin=part["n"] < LOW_COUNT,
            )
            errorbar_points(
                ax, part["x_drawn"], part["value"], style, low_count=part["thin"], size=4
            )
            parts.append(part)
        drawn: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else rows
        ax.axhline(0, color="#444444", linewidth=0.7)
        ax.grid(True, axis="y")
        ax.set_ylabel(f"{_STATISTICS[statistic]} of {name}")
        ax.set_xlabel(_AXES[by])
        if len(drawn):
            edge_axis(ax, drawn)
            low, high = ax.get_ylim()
            ax.set_ylim(low - 0.24 * (high - low), high)  # room for the numbers
            bin_numbers(ax, drawn)
        else:
            annotate_empty(ax, "no such sources in this run")
    return drawn


def residuals(
    astrometry: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of scatter and bias of x, y and magnitude, and its numbers."""
    styles = styles_of(astrometry, styles)
    with plot_style():
        figure, axes = panels(6, width=3.7, height=2.9)
        shown = [(s, q) for s in ("scatter", "bias") for q in _QUANTITIES]
        drawn = []
        for ax, (statistic, quantity) in zip(axes, shown, strict=True):
            part = plot_residuals(
                ax, astrometry, quantity, statistic, group=group, point=point, styles=styles
            )
            drawn.append(part.assign(statistic=statistic))
        figure.suptitle(
            f"Found point sources, measured minus true: {group_title(group)}, operating point: "
            f"{point_name(point)}"
        )
        legend(figure, [*handles(styles), low_count_handle()])
    columns = "detector point group quantity unit by bin bin_lo bin_hi n statistic value thin"
    table = pd.concat(drawn, ignore_index=True)
    return figure, table.reindex(columns=columns.split())
