"""Figure of the completeness of galaxies over half-light radius and magnitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from skyduel.reports.figures.binned_scores import edge_axis
from skyduel.reports.figures.plot_helpers import (
    LOW_COUNT,
    annotate_empty,
    draws,
    group_title,
    panels,
    shade,
)
from skyduel.reports.style import point_name, shorten
from skyduel.reports.svg.backend import plot_style
from skyduel.run_folder.read_run import size_label
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["galaxy_completeness", "plot_galaxies"]

#: From this completeness on the shade is so dark that numbers on it are white.
_DARK: Final = 0.4
#: Shade of a completeness of 0, to be told from a cell without sources.
_PALEST: Final = 0.08
#: Distance between the sizes and the rows of all galaxies and of points.
_GAP: Final = 0.35


@draws(galaxies="galaxies")
def plot_galaxies(
    ax: Axes,
    galaxies: pd.DataFrame,
    detector: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
) -> pd.DataFrame:
    """Draw completeness over half-light radius and magnitude; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    galaxies : DataFrame
        The run folder's `analyses/galaxies`.
    detector, group, point : str
        Which detector, on which frames, at which operating point.

    Returns
    -------
    DataFrame
        The detector's rows with a magnitude, with `row`, the height at which a cell is drawn.
        The shade is the completeness, from 0 (pale) to 1 (dark); the small number is that of
        the truths, and bins of few are written paler. Points and all galaxies stand in rows of
        their own.
    """
    here = galaxies[(galaxies["group"] == group) & (galaxies["point"] == point)]
    here = here[np.isfinite(here["bin_lo"]) | np.isfinite(here["bin_hi"])]
    sizes = here[(here["kind"] == "galaxy") & (here["size_bin"] != ALL_BINS)]
    sizes = sizes.drop_duplicates("size_bin").sort_values("size_bin")
    names = [size_label(*edges) for edges in zip(sizes["size_lo"], sizes["size_hi"], strict=True)]
    rows = {number: float(at) for at, number in enumerate(sizes["size_bin"])}
    top, bottom = len(rows) + _GAP, -1 - _GAP
    own = here[here["detector"] == detector].reset_index(drop=True)
    height = own["size_bin"].map({**rows, ALL_BINS: top})
    mine: pd.DataFrame = own.assign(row=height.where(own["kind"] == "galaxy", bottom))
    with plot_style():
        ax.set_title(shorten(detector), fontsize=9)
        if not len(mine):
            annotate_empty(ax, "no galaxy with a magnitude")
            return mine
        ax.bar(
            mine["bin"],
            np.ones(len(mine)),
            bottom=mine["row"] - 0.5,
            width=1.0,
            color=[shade(_PALEST + (1 - _PALEST) * v) for v in mine["value"]],
            linewidth=0,
        )
        for row in mine.to_dict("records"):
            few = row["n"] < LOW_COUNT
            dark, light = ("#777777", "#d5dfeb") if few else ("#222222", "white")
            ink = light if row["value"] > _DARK else dark
            for text, above, size in ((f"{row['value']:.2f}", 0.14, 6.5), (row["n"], -0.26, 5)):
                ax.text(
                    row["bin"],
                    row["row"] + above,
                    str(text),
                    fontsize=size,
                    ha="center",
                    va="center",
                    color=ink,
                )
        edge_axis(ax, here)
        ax.set_yticks([bottom, *rows.values(), top], ["points", *names, "all galaxies"], fontsize=7)
        ax.set_ylim(bottom - 0.5, top + 0.5)
        ax.set_xlabel("true magnitude [mag]")
        ax.set_ylabel("half-light radius [px]")
    return mine


def galaxy_completeness(
    galaxies: pd.DataFrame, *, group: str = ALL_GROUPS, point: str = DEFAULT_POINT
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the completeness over size and magnitude, a panel a detector."""
    detectors = list(dict.fromkeys(galaxies["detector"].astype(str)))
    with plot_style():
        figure, axes = panels(len(detectors), columns=2, width=4.9, height=3.9, extra=0.5)
        drawn = []
        for i, (ax, detector) in enumerate(zip(axes, detectors, strict=True)):
            drawn.append(plot_galaxies(ax, galaxies, detector, group=group, point=point))
            if i % 2:
                ax.set_ylabel("")
        figure.suptitle(
            f"Completeness of galaxies: {group_title(group)}, operating point: {point_name(point)}"
        )
    return figure, pd.concat(drawn, ignore_index=True) if drawn else galaxies
