"""Figures of paired differences between detectors, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from skyduel.evaluation.scoring.metrics import listed, metric, quantity_named
from skyduel.reports.figures.plot_helpers import (
    annotate_empty,
    bars,
    draws,
    group_order,
    group_title,
    legend,
    panels,
    styles_of,
)
from skyduel.reports.figures.score_axes import magnitude_axis
from skyduel.reports.style import Style, detector_styles, point_name, shorten
from skyduel.reports.svg.backend import entry, new_figure, plot_style
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ALPHA",
    "MOST_PAIRS",
    "differences_by_group",
    "differences_by_magnitude",
    "overall_rows",
    "pairs_shown",
    "plot_differences",
    "plot_forest",
]

#: A difference is drawn full, and called shown, if p after Holm's correction is below this.
ALPHA: Final = 0.05
#: Up to this many pairs all are drawn; of more, only those of the run's first detector.
MOST_PAIRS: Final = 6
#: An axis is a symmetric logarithm if its largest value exceeds this many times its median.
_WIDE: Final = 8.0

Pair = tuple[str, str]


def pairs_shown(comparisons: pd.DataFrame) -> list[Pair]:
    """Return the pairs shown in figures: all, or if many, those of the first detector."""
    table = comparisons[["detector_a", "detector_b"]].astype(str).drop_duplicates()
    pairs = [(a, b) for a, b in table.itertuples(index=False)]
    return pairs if len(pairs) <= MOST_PAIRS else [p for p in pairs if p[0] == pairs[0][0]]


def overall_rows(comparisons: pd.DataFrame, point: str) -> pd.DataFrame:
    """Return the rows of all bins together at a point, one a pair, group and quantity.

    Completeness has two intervals. The one over frames (or blocks) is used,
    since sources of one frame share its seeing and background.
    """
    rows = comparisons[(comparisons["bin"] == ALL_BINS) & (comparisons["point"] == point)]
    rows = rows.assign(_later=rows["interval"] == "newcombe")
    rows = rows.sort_values("_later", kind="stable").drop(columns="_later")
    rows = rows.drop_duplicates(["detector_a", "detector_b", "group", "quantity"])
    ordered: pd.DataFrame = rows.sort_index()
    return ordered


@draws(comparisons="comparisons")
def plot_differences(
    ax: Axes,
    comparisons: pd.DataFrame,
    pair: Pair,
    quantity: str,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw one pair's difference against magnitude; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    comparisons : DataFrame
        The run folder's `comparisons`.
    pair : tuple of str
        Detectors A and B, in the table's order.
    quantity : str
        The name of a metric that is compared.
    group, point : str
        Which frames, and at which operating point.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        The table's rows with two finite edges, with `mag` and `shown`: whether
        p after Holm's correction is below `ALPHA`. A point has the colour of
        the detector that is better there, and is full where that is shown.
    """
    styles = _pair_styles(comparisons, styles)
    c = comparisons
    with plot_style():
        rows: pd.DataFrame = c[
            (c["detector_a"] == pair[0])
            & (c["detector_b"] == pair[1])
            & (c["quantity"] == quantity)
            & (c["group"] == group)
            & (c["point"] == point)
            & (c["bin"] >= 0)
            & np.isfinite(c["bin_lo"])
            & np.isfinite(c["bin_hi"])
        ].sort_values("bin", kind="stable")
        rows = rows.assign(
            mag=(rows["bin_lo"] + rows["bin_hi"]) / 2, shown=rows["p_holm"] < ALPHA
        ).reset_index(drop=True)
        ax.axhline(0, color="#444444", linewidth=0.8)
        _points(ax, rows, rows["mag"], pair, styles, upright=True)
        ax.grid(True, axis="y")
        ax.set_ylabel(f"Δ {quantity_named(quantity).label}")
        axis = metric(quantity).axis
        which = "true, measured" if axis == "joined" else axis
        ax.set_xlabel(f"{which} magnitude [mag]")
        if len(rows):
            magnitude_axis(ax, rows)
            for mag, n in zip(rows["mag"], rows["n_frames"], strict=True):
                ax.text(
                    mag,
                    0.01,
                    f"{n:g}",
                    fontsize=6,
                    color="#555555",
                    ha="center",
                    transform=ax.get_xaxis_transform(),
                )
            ax.text(0.005, 0.09, "n: frames", fontsize=6, color="#555555", transform=ax.transAxes)
        else:
            annotate_empty(ax, "not compared")
    return rows


def differences_by_magnitude(
    comparisons: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    point: str = DEFAULT_POINT,
    quantities: Sequence[str] | None = None,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of differences against magnitude, one row a pair, and its numbers.

    ``quantities`` are the main scores by default.
    """
    styles = _pair_styles(comparisons, styles)
    quantities = _main_scores() if quantities is None else quantities
    pairs = pairs_shown(comparisons)
    with plot_style():
        n = len(quantities)
        figure, axes = panels(
            len(pairs) * n, columns=n, width=3.6, height=2.1, sharex=True, sharey="col"
        )
        drawn = []
        for i, ax in enumerate(axes[: len(pairs) * n]):
            pair, quantity = pairs[i // n], quantities[i % n]
            drawn.append(
                plot_differences(
                    ax, comparisons, pair, quantity, group=group, point=point, styles=styles
                )
            )
            if i % n == 0:
                ax.set_title(_minus(pair), loc="left", fontsize=9, fontweight="bold")
            if i + n < len(pairs) * n:
                ax.set_xlabel("")
        for i in range(n if pairs else 0):  # zero in the middle: neither side looks nearer
            high = max(abs(y) for y in axes[i].get_ylim())
            axes[i].set_ylim(-high, high)
        figure.suptitle(
            f"Paired differences by magnitude: {group_title(group)}, operating point: "
            f"{point_name(point)}"
        )
        legend(figure, _legend_entries(comparisons, styles))
    columns = [
        "detector_a", "detector_b", "point", "group", "bin", "bin_lo", "bin_hi", "mag",
        "quantity", "value_a", "value_b", "delta", "lo", "hi", "n_both", "n_a_only", "n_b_only",
        "n_neither", "p", "p_holm", "shown", "interval", "n_frames",
    ]  # fmt: skip
    if not drawn:
        return figure, pd.DataFrame(columns=columns)
    return figure, pd.concat(drawn, ignore_index=True)[columns]


@draws(comparisons="comparisons")
def plot_forest(
    ax: Axes,
    comparisons: pd.DataFrame,
    quantity: str,
    *,
    point: str = DEFAULT_POINT,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw a forest plot of one quantity over all bins, one line a group and pair.

    Returns
    -------
    DataFrame
        The rows drawn, with `y`, the line, counted from the top, and `shown`,
        as in `plot_differences`.
    """
    styles = _pair_styles(comparisons, styles)
    pairs, groups = pairs_shown(comparisons), group_order(comparisons["group"])
    if len(groups) == 2:
        groups = groups[:1]
    rows = overall_rows(comparisons, point)
    rows = rows[rows["quantity"] == quantity]
    lines = [(g, p) for g in groups for p in pairs]
    at = {(g, *p): float(i) for i, (g, p) in enumerate(lines)}
    keys = list(zip(rows["group"], rows["detector_a"], rows["detector_b"], strict=True))
    rows = rows.assign(y=[at.get(k, np.nan) for k in keys], shown=rows["p_holm"] < ALPHA)
    rows = rows[rows["y"].notna()].sort_values("y").reset_index(drop=True)
    with plot_style():
        for i in range(1, len(groups), 2):
            ax.axhspan(
                i * len(pairs) - 0.5, (i + 1) * len(pairs) - 0.5, color="#f3f3f3", linewidth=0
            )
        ax.axvline(0, color="#444444", linewidth=0.8)
        for pair in pairs:
            mine = rows[(rows["detector_a"] == pair[0]) & (rows["detector_b"] == pair[1])]
            _points(ax, mine, mine["y"], pair, styles, upright=False)
        ax.set_yticks(
            range(len(lines)),
            [
                (f"{group_title(g)}:  " if i % len(pairs) == 0 else "") + _minus(p)
                for i, (g, p) in enumerate(lines)
            ],
            fontsize=8,
        )
        ax.set_ylim(max(len(lines), 1) - 0.5, -0.5)
        far = rows["delta"].abs().dropna()
        if len(far) and far.max() > _WIDE * max(far.median(), 0.1):
            ax.set_xscale("symlog", linthresh=0.5)
            ax.set_xticks([-5, -1, 0, 1, 5], ["−5", "−1", "0", "1", "5"])
            ax.set_xlim(-1.3 * far.max() - 0.1, 1.3 * far.max() + 0.1)
        else:
            high = max([abs(x) for x in ax.get_xlim()])
            ax.set_xlim(-high, high)
        ax.grid(True, axis="x")
        ax.set_xlabel(f"Δ {quantity_named(quantity).label}")
    return rows


def differences_by_group(
    comparisons: pd.DataFrame,
    *,
    point: str = DEFAULT_POINT,
    quantities: Sequence[str] | None = None,
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a forest plot of all differences over all bins, and its numbers.

    ``quantities`` are the main scores and m50 by default.
    """
    styles = _pair_styles(comparisons, styles)
    quantities = (*_main_scores(), "m50") if quantities is None else quantities
    n_lines = len(pairs_shown(comparisons)) * len(group_order(comparisons["group"]))
    with plot_style():
        figure = new_figure(11.5, 1.6 + 0.21 * max(n_lines, 4))
        axes = figure.subplots(1, len(quantities), sharey=True, squeeze=False).ravel()
        drawn = [
            plot_forest(ax, comparisons, q, point=point, styles=styles)
            for ax, q in zip(axes, quantities, strict=True)
        ]
        for ax in axes[1:]:
            ax.tick_params(left=False, labelleft=False)
        figure.suptitle(
            f"Paired differences over all magnitudes, operating point: {point_name(point)}"
        )
        legend(figure, _legend_entries(comparisons, styles))
    columns = [
        "detector_a", "detector_b", "point", "group", "quantity", "value_a", "value_b", "delta",
        "lo", "hi", "p", "p_holm", "shown", "interval", "n_frames",
    ]  # fmt: skip
    return figure, pd.concat(drawn, ignore_index=True)[columns]


def _main_scores() -> tuple[str, ...]:
    return tuple(m.name for m in listed("brief"))


def _pair_styles(
    comparisons: pd.DataFrame, styles: Mapping[str, Style] | None
) -> Mapping[str, Style]:
    if styles is not None:
        return styles_of(comparisons, styles)
    names = [*comparisons["detector_a"].astype(str), *comparisons["detector_b"].astype(str)]
    return detector_styles(dict.fromkeys(names))


def _minus(pair: Pair) -> str:
    return f"{shorten(pair[0], 20)} − {shorten(pair[1], 20)}"


def _points(
    ax: Axes,
    rows: pd.DataFrame,
    at: pd.Series,
    pair: Pair,
    styles: Mapping[str, Style],
    *,
    upright: bool,
) -> None:
    """Draw differences along one axis, in the better detector's colour, full where shown."""
    delta = rows["delta"].to_numpy(dtype=float)
    # At m50 and every score more is better.
    winner = np.where(delta > 0, 0, np.where(delta < 0, 1, 2))
    shown = rows["shown"].to_numpy(dtype=bool)
    for side in (0, 1, 2):
        style = styles[pair[side]] if side < 2 else Style("#777777", "o")
        for full in (True, False):
            those = (winner == side) & (shown == full) & np.isfinite(delta)
            if not those.any():
                continue
            error = bars(delta[those], rows["lo"][those], rows["hi"][those])
            where = at.to_numpy(dtype=float)[those]
            x, y = (where, delta[those]) if upright else (delta[those], where)
            ax.errorbar(
                x,
                y,
                xerr=None if upright else error,
                yerr=error if upright else None,
                color=style.color,
                marker=style.marker,
                markersize=5,
                markerfacecolor=style.color if full else "white",
                elinewidth=1.2,
                linestyle="none",
                zorder=3,
            )


def _legend_entries(comparisons: pd.DataFrame, styles: Mapping[str, Style]) -> list[Any]:
    who = list(dict.fromkeys(x for pair in pairs_shown(comparisons) for x in pair))
    entries = [
        entry(
            color=styles[d].color,
            marker=styles[d].marker,
            markersize=5,
            label=f"{shorten(d)} better",
        )
        for d in who
    ]
    entries.append(
        entry(
            color="#555555",
            marker="o",
            markerfacecolor="white",
            linestyle="none",
            label=f"hollow: not shown (p after Holm ≥ {ALPHA:g})",
        )
    )
    return entries
