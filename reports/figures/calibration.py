"""Figures of score calibration: reliability diagrams, and purity wanted against reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skyduel.reports.figures.plot_helpers import (
    LOW_COUNT,
    annotate_empty,
    bars,
    dodge,
    draws,
    errorbar_points,
    group_title,
    handle,
    handles,
    legend,
    low_count_handle,
    panels,
    shown_groups,
    styles_of,
)
from skyduel.reports.style import Style, shorten
from skyduel.reports.svg.backend import entry, plot_style
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_purity_choice", "plot_reliability", "purity_choices", "reliability_diagrams"]


@draws(reliability="reliability", errors="calibration_error")
def plot_reliability(
    ax: Axes,
    reliability: pd.DataFrame,
    errors: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    binning: str = "equal width",
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw the share of right detections against the probability stated; return the drawn rows.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    reliability, errors : DataFrame
        The run folder's `analyses/reliability` and `analyses/calibration_error`.
    group, binning : str
        Which frames; ``equal width`` or ``equal count``.
    styles : mapping of str to Style, optional
        As for `skyduel.reports.figures.score_axes.plot_score`.

    Returns
    -------
    DataFrame
        The rows over all magnitudes whose scores are probabilities, with
        `thin`. The legend holds each detector's expected calibration error.
    """
    styles = styles_of(reliability, styles)
    rows = reliability[
        (reliability["group"] == group)
        & (reliability["binning"] == binning)
        & (reliability["bin"] == ALL_BINS)
        & (reliability["score_is"] != "unknown")
    ]
    rows = rows.sort_values("score_bin", kind="stable")
    rows = rows.assign(thin=rows["n"] < LOW_COUNT).reset_index(drop=True)
    parts, entries = [], []
    with plot_style():
        ax.plot([0, 1], [0, 1], color="#888888", linewidth=0.9, linestyle=":", zorder=1)
        for detector, style in styles.items():
            part = rows[rows["detector"] == detector]
            if not len(part):
                continue
            errorbar_points(
                ax,
                part["predicted"],
                part["right"],
                style,
                lo=part["lo"],
                hi=part["hi"],
                low_count=part["thin"],
            )
            error = errors[
                (errors["detector"] == detector)
                & (errors["group"] == group)
                & (errors["bin"] == ALL_BINS)
            ]
            error_text = "no ECE"
            if len(error):
                error_text = f"ECE {float(error['ece'].iloc[0]):.3f}, n {int(error['n'].iloc[0])}"
            entries.append(handle(style, f"{shorten(detector, 18)}: {error_text}"))
            parts.append(part)
        ax.set_xlim(0, 1.02)
        ax.set_ylim(0, 1.02)
        ax.set_aspect("equal")
        ax.grid(True)
        ax.set_xlabel("probability stated (mean of the bin)")
        ax.set_ylabel("share of right detections")
        if entries:
            few = len(entries) <= 3  # more would hide what is drawn
            ax.legend(
                handles=entries,
                loc="upper left" if few else "upper center",
                bbox_to_anchor=None if few else (0.5, -0.2),
                ncols=1 if few else 2,
                fontsize=7.5 if few else 6,
                framealpha=0.85,
                edgecolor="none",
            )
        else:
            annotate_empty(ax, "no score here is a probability")
    return pd.concat(parts, ignore_index=True) if parts else rows


def reliability_diagrams(
    reliability: pd.DataFrame,
    errors: pd.DataFrame,
    *,
    binning: str = "equal width",
    styles: Mapping[str, Style] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of reliability, a panel a group, and its numbers."""
    styles = styles_of(reliability, styles)
    groups = shown_groups(reliability)
    with plot_style():
        figure, axes = panels(len(groups), width=3.5, height=3.5, extra=0.9)
        drawn = []
        for i, (ax, group) in enumerate(zip(axes, groups, strict=False)):
            drawn.append(
                plot_reliability(
                    ax, reliability, errors, group=group, binning=binning, styles=styles
                )
            )
            ax.set_title(group_title(group))
            if i % 3:
                ax.set_ylabel("")
            if i + 3 < len(groups):
                ax.set_xlabel("")
        figure.suptitle("How often a detection of a stated probability is right")
        diagonal = entry(color="#888888", linestyle=":", label="perfectly calibrated")
        legend(figure, [diagonal, low_count_handle()])
    columns = (
        "detector group score_is binning score_bin score_lo score_hi predicted right lo hi n k thin"
    )
    if not drawn:
        return figure, pd.DataFrame(columns=columns.split())
    return figure, pd.concat(drawn, ignore_index=True)[columns.split()]


@draws(choices="purity_choice")
def plot_purity_choice(
    ax: Axes,
    choices: pd.DataFrame,
    *,
    group: str = ALL_GROUPS,
    styles: Mapping[str, Style] | None = None,
) -> pd.DataFrame:
    """Draw the purity reached against the purity wanted beforehand; return the drawn rows.

    Returns
    -------
    DataFrame
        The group's rows of `analyses/purity_choice`, with `x`, where each
        stands: the wanted purities are 0, 1, 2 ... from the left. Full where
        the threshold came from calibration frames, hollow where from the score
        itself. What was wanted is a dark bar.
    """
    styles = styles_of(choices, styles)
    rows = choices[choices["group"] == group]
    wanted = sorted(set(choices["wanted"].astype(float)))
    series = [
        (d, how)
        for d in styles
        for how in ("calibration", "score")
        if len(rows[(rows["detector"] == d) & (rows["chosen_by"] == how)])
    ]
    parts = []
    with plot_style():
        for i, value in enumerate(wanted):
            ax.plot([i - 0.4, i + 0.4], [value, value], color="#222222", linewidth=1.6, zorder=2)
        for i, (detector, how) in enumerate(series):
            part = rows[(rows["detector"] == detector) & (rows["chosen_by"] == how)]
            at = part["wanted"].map(lambda w: wanted.index(float(w))).astype(float)
            part = part.assign(x=at + dodge(i, len(series), 1.0, most=0.2))
            style = styles[detector]
            there = np.isfinite(part["purity"].to_numpy(dtype=float))
            ax.errorbar(
                part["x"][there],
                part["purity"][there],
                yerr=bars(part["purity"][there], part["lo"][there], part["hi"][there]),
                color=style.color,
                marker=style.marker,
                markersize=6,
                markerfacecolor=style.color if how == "calibration" else "white",
                elinewidth=1.2,
                linestyle="none",
                zorder=3,
            )
            parts.append(part)
        ax.set_xticks(range(len(wanted)), [f"{w:g}" for w in wanted])
        ax.set_xlim(-0.6, max(len(wanted), 1) - 0.4)
        ax.grid(True, axis="y")
        ax.set_xlabel("purity wanted")
        ax.set_ylabel("purity (precision) reached")
        if not series:
            annotate_empty(ax, "no threshold to choose here")
    return pd.concat(parts, ignore_index=True) if parts else rows.assign(x=np.nan)


def purity_choices(
    choices: pd.DataFrame, *, styles: Mapping[str, Style] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of purity wanted and reached, a panel a group, and its numbers."""
    styles = styles_of(choices, styles)
    groups = shown_groups(choices)
    with plot_style():
        figure, axes = panels(len(groups), width=3.5, height=2.6, sharey=True)
        drawn = []
        for ax, group in zip(axes, groups, strict=False):
            drawn.append(plot_purity_choice(ax, choices, group=group, styles=styles))
            ax.set_title(group_title(group))
            ax.label_outer()
        low, high = axes[0].get_ylim()
        axes[0].set_ylim(max(low, 0.0), min(high, 1.01))
        figure.suptitle("Purity wanted beforehand, and reached on the test frames")
        there = {k: v for k, v in styles.items() if k in set(choices["detector"].astype(str))}
        used = set(choices["chosen_by"].astype(str))
        how = [
            entry(
                color="#555555",
                marker="o",
                linestyle="none",
                markerfacecolor=face,
                label=label,
            )
            for by, face, label in (
                ("calibration", "#555555", "threshold from the calibration frames"),
                ("score", "white", "threshold from the score itself"),
            )
            if by in used
        ]
        bar = entry(color="#222222", linewidth=1.6, label="wanted")
        legend(figure, [*handles(there), *how, bar])
    columns = [
        "detector",
        "group",
        "wanted",
        "chosen_by",
        "threshold",
        "purity",
        "lo",
        "hi",
        "n",
        "k",
        "x",
    ]
    if not drawn:
        return figure, pd.DataFrame(columns=columns)
    return figure, pd.concat(drawn, ignore_index=True)[columns]
