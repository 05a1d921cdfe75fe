"""Figures of scores binned by S/N, density, place and other axes; ignore limit; bin migration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from skyduel.evaluation.scoring.metrics import listed, metric
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
    shade,
    styles_of,
)
from skyduel.reports.style import Style, point_name, shorten
from skyduel.reports.svg.backend import plot_style
from skyduel.run_folder.read_run import bin_label
from skyduel.run_folder.schema import ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FACETS",
    "binned_scores_overview",
    "edge_axis",
    "ignore_limits",
    "migrations",
    "plot_binned_scores",
    "plot_ignore_limit",
    "plot_migration",
]

#: Each panel of `binned_scores_overview`: facet of the table, quantity, label of the axis.
FACETS: Final[tuple[tuple[str, str, str], ...]] = (
    ("snr", "completeness", "ideal S/N"),
    ("density", "completeness", "sources per 1000 px² around"),
    ("neighbour", "completeness", "distance to the nearest source [FWHM]"),
    ("radius", "completeness", "distance from the frame’s centre [half diagonals]"),
    ("kind", "completeness", "kind of source"),
    ("measured_snr", "purity", "measured S/N"),
    ("radius", "purity", "distance from the frame’s centre [half diagonals]"),
    ("kind", "purity", "kind of detection"),
    ("score", "purity", "tenth of the detector’s own detections, by score"),
)
#: A migration matrix with more bins than this has no counts written in it.
_WRITTEN: Final = 16
#: The number of sources whose shade would be the palest.
_PALEST: Final = 0.7


def edge_axis(ax: Axes, rows: pd.DataFrame) -> None:
    """Label the edges of bins that are drawn at 0, 1, 2 ..., whatever their widths."""
    edges = rows.drop_duplicates("bin").sort_values("bin")
    at = [float(b) - 0.5 for b in edges["bin"]] + [float(edges["bin"].iloc[-1]) + 0.5]
    values = [*edges["bin_lo"].astype(float), float(edges["bin_hi"].iloc[-1])]
    labels = ["∞" if np.isposinf(v) else "−∞" if np.isneginf(v) else f"{v:.3g}" for v in values]
    ax.set_xticks(at, labels, fontsize=7.5, rotation=45 if len(labels) > 9 else 0)
    ax.set_xlim(at[0] - 0.1, at[-1] + 0.1)


@draws(facets="facets")
def plot_binned_scores(
    ax: Axes,
    facets: pd.DataFrame,
    facet: str,
    quantity: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw completeness or purity along another axis; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    facets : DataFrame
        The run folder's `analyses/facets`.
    facet, quantity : str
        Which of its facets, and ``completeness`` or ``purity``.
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        The rows between the first and last bin that hold any source, with `x`
        and `thin`. Bins are drawn at 0, 1, 2 ... with their edges between
        them. Sources without a value are drawn under ``unknown``, if any.
    """
    styles = styles_of(facets, styles)
    rows = facets[
        (facets["facet"] == facet)
        & (facets["quantity"] == quantity)
        & (facets["group"] == group)
        & (facets["point"] == point)
    ].sort_values("bin", kind="stable")
    unknown = rows["label"].astype(str) == "unknown"
    rows = _trimmed(rows[~unknown | (rows["n"] > 0)])
    parts = []
    with plot_style():
        for i, (detector, style) in enumerate(styles.items()):
            part = rows[rows["detector"] == detector]
            part = part.assign(
                x=part["bin"].astype(float) + dodge(i, len(styles), 1.0), thin=part["n"] < LOW_COUNT
            )
            known = part["label"].astype(str) != "unknown"
            for piece, line in ((part[known], "" if facet == "kind" else "-"), (part[~known], "")):
                errorbar_points(
                    ax,
                    piece["x"],
                    piece["value"],
                    style,
                    lo=piece["lo"],
                    hi=piece["hi"],
                    low_count=piece["thin"],
                    line=line,
                    size=4,
                )
            parts.append(part)
        drawn = pd.concat(parts, ignore_index=True) if parts else rows.assign(x=[], thin=[])
        _strip_axis(ax)
        ax.set_ylabel(metric(quantity).label)
        if not len(drawn):
            annotate_empty(ax, "no such sources in this run")
            ax.set_xticks([])
            return drawn
        _bin_axis(ax, drawn, facet, sorted(set(facets.loc[facets["facet"] == facet, "bin"])))
        bin_numbers(ax, drawn)
    return drawn


def binned_scores_overview(
    facets: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    which: Sequence[tuple[str, str, str]] = FACETS,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the scores along all other axes, one panel each, and its numbers."""
    styles = styles_of(facets, styles)
    with plot_style():
        figure, axes = panels(len(which), width=3.7, height=2.75)
        drawn = []
        for ax, (facet, quantity, label) in zip(axes, which, strict=True):
            drawn.append(
                plot_binned_scores(
                    ax, facets, facet, quantity, group=group, point=point, styles=styles
                )
            )
            ax.set_xlabel(label)
        figure.suptitle(
            f"Completeness and purity along other axes: {group_title(group)}, operating point: "
            f"{point_name(point)}"
        )
        legend(figure, [*handles(styles), low_count_handle()])
    columns = "detector point group facet quantity bin bin_lo bin_hi label unit value lo hi n k"
    return figure, pd.concat(drawn, ignore_index=True)[[*columns.split(), "thin", "x"]]


@draws(limits="ignore_limit")
def plot_ignore_limit(
    ax: Axes,
    limits: pd.DataFrame,
    quantity: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw a score against the ignore limit; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    limits : DataFrame
        The run folder's `analyses/ignore_limit`.
    quantity : str
        The name of one of the main scores (use ``brief``).
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.
    """
    styles = styles_of(limits, styles)
    rows = limits[(limits["group"] == group) & (limits["point"] == point)]
    rows = rows.sort_values("min_snr", kind="stable")
    parts = []
    with plot_style():
        for detector, style in styles.items():
            part = rows[rows["detector"] == detector]
            errorbar_points(ax, part["min_snr"], part[quantity], style)
            parts.append(part)
        _strip_axis(ax)
        ax.set_ylabel(metric(quantity).label)
        ax.set_xlabel("truths below this ideal S/N are ignored")
        if not len(rows):
            annotate_empty(ax, "no truth states its S/N")
        elif metric(quantity).axis != "joined":
            counted = metric(quantity).counted
            bin_numbers(ax, rows.assign(bin=rows["min_snr"], n=rows[counted]))
            ax.text(0.005, 0.2, f"n: {counted}", transform=ax.transAxes, fontsize=6, va="bottom")
    return pd.concat(parts, ignore_index=True) if parts else rows


def ignore_limits(
    limits: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the main scores against the ignore limit, and its numbers."""
    styles, shown = styles_of(limits, styles), [m.name for m in listed("brief")]
    with plot_style():
        figure, axes = panels(len(shown), width=3.6, height=3.0)
        drawn = [
            plot_ignore_limit(ax, limits, q, group=group, point=point, styles=styles)
            for ax, q in zip(axes, shown, strict=False)
        ]
        figure.suptitle(
            f"Scores against the ignore limit: {group_title(group)}, operating point: "
            f"{point_name(point)}"
        )
        legend(figure, handles(styles))
    counts = "truths truths_found truths_ignored detections detections_right detections_ignored"
    columns = ["detector", "point", "group", "min_snr", *shown, *counts.split()]
    return figure, drawn[0][columns]


@draws(migration="migration")
def plot_migration(
    ax: Axes,
    migration: pd.DataFrame,
    detector: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
) -> pd.DataFrame:
    """Draw the matrix of found sources by true and measured bin; return the drawn rows.

    Returns
    -------
    DataFrame
        The detector's rows of `analyses/migration`. The shade is the number
        on a logarithmic scale; on the outlined diagonal true and measured
        magnitude share a bin.
    """
    here = migration[(migration["group"] == group) & (migration["point"] == point)]
    rows = here[here["detector"] == detector].reset_index(drop=True)
    with plot_style():
        ax.set_title(f"{shorten(detector)}: {int(rows['n'].sum())} found", fontsize=9)
        if not len(rows):
            annotate_empty(ax, "nothing found")
            return rows
        of_true, of_measured = _named(here, "true"), _named(here, "measured")
        first, last = min(of_true | of_measured), max(of_true | of_measured)
        held = rows[rows["n"] > 0]
        most = np.log(max(float(here["n"].max()), 2.0) / _PALEST)
        ax.bar(
            held["measured_bin"],
            np.ones(len(held)),
            bottom=held["true_bin"] - 0.5,
            width=1.0,
            color=[shade(np.log(float(n) / _PALEST) / most) for n in held["n"]],
            linewidth=0,
        )
        ax.set_xlim(first - 0.5, last + 0.5)
        ax.set_ylim(last + 0.5, first - 0.5)
        ax.set_aspect("equal")
        names = of_true | of_measured
        for number in names:
            ax.plot(
                number + np.array([-0.5, 0.5, 0.5, -0.5, -0.5]),
                number + np.array([-0.5, -0.5, 0.5, 0.5, -0.5]),
                color="#777777",
                linewidth=0.5,
            )
        if len(names) <= _WRITTEN:
            dark = float(here["n"].max()) ** 0.55
            for row in rows.to_dict("records"):
                ax.text(
                    row["measured_bin"],
                    row["true_bin"],
                    f"{row['n']:g}",
                    fontsize=6,
                    ha="center",
                    va="center",
                    color="white" if row["n"] > dark else "#222222",
                )
        ticks = sorted(names)
        ax.set_xticks(ticks, [names[t] for t in ticks], rotation=90, fontsize=7)
        ax.set_yticks(ticks, [names[t] for t in ticks], fontsize=7)
        ax.set_xlabel("measured magnitude [mag]")
        ax.set_ylabel("true magnitude [mag]")
    return rows


def migrations(
    migration: pd.DataFrame, *, group: str = ALL_GROUPS, point: str = DEFAULT_POINT
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of the migration between bins, a panel a detector, and its numbers."""
    detectors = list(dict.fromkeys(migration["detector"].astype(str)))
    with plot_style():
        figure, axes = panels(len(detectors), width=3.9, height=3.9, extra=0.5)
        drawn = []
        for i, (ax, detector) in enumerate(zip(axes, detectors, strict=False)):
            drawn.append(plot_migration(ax, migration, detector, group=group, point=point))
            if i % 3:
                ax.set_ylabel("")
        figure.suptitle(
            f"Found sources by true and measured magnitude: {group_title(group)}, operating "
            f"point: {point_name(point)}"
        )
    return figure, pd.concat(drawn, ignore_index=True) if drawn else migration


def _bin_axis(ax: Axes, drawn: pd.DataFrame, facet: str, every: Sequence[int]) -> None:
    known = drawn[drawn["label"].astype(str) != "unknown"]
    if facet == "kind":
        first = drawn.drop_duplicates("bin").sort_values("bin")
        ax.set_xticks(first["bin"].astype(float), first["label"].astype(str))
        ax.set_xlim(-0.6, float(max(every)) - 0.4)
        return
    if facet == "score":  # every detector has edges of its own
        numbers = sorted(set(known["bin"]))
        ax.set_xticks(numbers, [str(int(b) + 1) for b in numbers])
        ax.set_xlim(-0.6, max(drawn["bin"]) + 0.6)
        return
    if len(known):
        edge_axis(ax, known)
    if len(known) < len(drawn):
        at = float(drawn["bin"].max())
        labels = [t.get_text() for t in ax.get_xticklabels()]
        ticks = [*map(float, ax.get_xticks()), at]
        ax.set_xticks(ticks, [*labels, "unknown"], fontsize=7, rotation=45)
        ax.set_xlim(ax.get_xlim()[0], at + 0.6)


def _trimmed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows without the bins at either end that are empty for every detector."""
    known = rows["label"].astype(str) != "unknown"
    held = rows.loc[known & (rows["n"] > 0), "bin"]
    if not len(held):
        return rows[~known]
    return rows[~known | rows["bin"].between(held.min(), held.max())]


def _strip_axis(ax: Axes) -> None:
    """Prepare an axis for a score, with room for numbers below zero."""
    ax.set_ylim(-0.26, 1.04)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.axhline(0, color="#444444", linewidth=0.6)
    ax.grid(True, axis="y")


def _named(rows: pd.DataFrame, side: str) -> dict[int, str]:
    """Return the names of the bins of one side."""
    edges = rows.drop_duplicates(f"{side}_bin")
    bins = edges[f"{side}_bin"].astype(int)
    lo, hi = edges[f"{side}_lo"].astype(float), edges[f"{side}_hi"].astype(float)
    fainter = bins[np.isfinite(lo) & ~np.isfinite(hi)]
    inner = bins[np.isfinite(lo) & np.isfinite(hi)]
    n_bins = int(fainter.iloc[0]) if len(fainter) else int(inner.max()) + 1 if len(inner) else 0
    found: dict[int, str] = {}
    for number, low, high in zip(bins, lo, hi, strict=True):
        if number != n_bins + 1 or np.isfinite(low):
            found[int(number)] = bin_label(int(number), low, high, n_bins)
        else:
            found[int(number)] = "no mag"
    return found
