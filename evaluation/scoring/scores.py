"""Scores from summed counts, with the uncertainty of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.errors import BadInputError, as_numbers, require_each, takes
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import Counts, bin_edges, bin_table, total
from skyduel.evaluation.scoring.metrics import CountSums, Metric, listed, ratio
from skyduel.evaluation.scoring.table_columns import COUNT_COLUMNS
from skyduel.evaluation.statistics.intervals import (
    bootstrap_interval,
    poisson,
    proportion,
    resampled,
)
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = ["score_table"]

Floats = npt.NDArray[np.float64]

#: The counts that scores are computed from, in the order of `CountSums`.
_SUMMED: Final = ("truths", "truths_found", "detections", "detections_right")


@takes(rules=ScoringRules, blocks=Sequence)
def score_table(
    frames: Sequence[Counts],
    mpix: Sequence[float],
    edges: Sequence[float],
    rules: ScoringRules,
    blocks: Sequence[Counts] | None = None,
) -> pd.DataFrame:
    """Return scores of a set of frames, one row per bin and quantity.

    Parameters
    ----------
    frames : sequence of Counts
        One per frame, of the same edges.
    mpix : sequence of float
        Usable area of each frame [Mpix]; NaN leaves ``false_per_mpix`` undefined.
    edges : sequence of float
        Bin edges [mag].
    rules : ScoringRules
        ``confidence``, ``proportion_interval``, ``n_bootstrap``, ``seed``.
    blocks : sequence of Counts, optional
        The same counts cut into blocks of sky, which are then resampled instead
        of the frames (`skyduel.evaluation.scoring.resampling_units`).

    Returns
    -------
    DataFrame
        ``bin``, ``bin_lo``, ``bin_hi``, ``quantity``, ``value``, ``lo``, ``hi``, ``n``,
        ``k``, ``interval``, ``n_frames``. The quantities are those of
        `skyduel.evaluation.scoring.metrics.METRICS`, in their order; ``k`` and ``n`` are the
        numerator and the denominator named there. The rows for all bins together have ``bin``
        -2 and no edges.

    Notes
    -----
    Counts are summed over frames and then divided; 0/0 is NaN. Completeness is by true
    magnitude and purity by measured magnitude, so a joined score of a bin (F1, F2, the Jaccard
    index) is NaN where either is; over all bins it comes from counts. Proportions have Wilson
    (or Jeffreys) intervals and rates exact Poisson intervals. Joined scores are
    bootstrapped over frames, or blocks (`bootstrap_interval`). They have no interval where
    fewer than two contribute, and with fewer than about 20 the interval is rough, hence
    ``n_frames``.
    """
    require_each("score_table: frames", frames, Counts)
    if blocks is not None:
        require_each("score_table: blocks", blocks, Counts)
    edges = bin_edges(edges)
    areas = as_numbers("score_table: mpix", mpix)
    if areas.shape != (len(frames),):
        raise BadInputError(
            "score_table: mpix", f"one area of each of {len(frames)} frames", f"{areas.shape}"
        )
    summed = total(frames, edges)
    entries = bin_table(edges)
    bins = {
        "bin": np.append(entries["bin"], ALL_BINS),
        "bin_lo": np.append(entries["bin_lo"], np.nan),
        "bin_hi": np.append(entries["bin_hi"], np.nan),
    }
    area = float(np.sum(areas))
    sums = CountSums.from_stack(np.stack([getattr(summed, name) for name in _SUMMED]), area)
    units = frames if blocks is None else blocks
    stack = _stack(units, len(entries))
    samples = _resampled(stack, rules, area)
    # Whole columns: a table for each metric, joined later, takes four times as long.
    names: list[str] = []
    intervals: list[str] = []
    numbers: dict[str, list[npt.NDArray[Any]]] = {c: [] for c in ("value", "lo", "hi", "n", "k")}
    for metric in listed():
        value, counts = metric.values(sums), sums.with_total()
        k, n = metric.numerator(counts), metric.denominator(counts)
        told_by = metric.contributing(CountSums.from_stack(stack, area))
        lo, hi, interval = _interval(metric, value, (k, n), samples, told_by, rules)
        blockwise = blocks is not None and interval == "bootstrap"
        names.append(metric.name)
        intervals.append("block bootstrap" if blockwise else interval)
        for column, values in zip(numbers, (value, lo, hi, n, k), strict=True):
            numbers[column].append(np.asarray(values, dtype=np.float64))
    rows = len(bins["bin"])
    return pd.DataFrame(
        {column: np.tile(values, len(names)) for column, values in bins.items()}
        | {"quantity": np.repeat(np.array(names, dtype=object), rows)}
        | {column: np.concatenate(parts) for column, parts in numbers.items()}
        | {"interval": np.repeat(np.array(intervals, dtype=object), rows)}
        | {"n_frames": len(frames)}
    )


def _interval(
    metric: Metric,
    value: Floats,
    counts: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    samples: CountSums | None,
    n_units: npt.NDArray[np.int64],
    rules: ScoringRules,
) -> tuple[Floats, Floats, str]:
    """Return the ends of a metric's intervals, shape of ``value``, and the kind of interval."""
    k, n = counts
    if metric.interval == "proportion":
        return *proportion(k, n, rules.confidence, rules.proportion_interval), (
            rules.proportion_interval
        )
    if metric.interval == "poisson":
        lo, hi = poisson(k, rules.confidence)
        return ratio(lo, n), ratio(hi, n), "poisson"
    lo = hi = np.full(value.shape, np.nan)
    if samples is not None:
        lo, hi = bootstrap_interval(value, metric.values(samples), rules.confidence, n_units)
        lo, hi = np.clip(lo, 0.0, 1.0), np.clip(hi, 0.0, 1.0)
    return lo, hi, "bootstrap"


def _stack(frames: Sequence[Counts], n_entries: int) -> npt.NDArray[np.float64]:
    """Return the counts of each frame that scores are computed from, (n_frames, 4, n_entries)."""
    order = [COUNT_COLUMNS.index(c) for c in _SUMMED]
    stack = np.empty((len(frames), len(order), n_entries))
    for row, frame in zip(stack, frames, strict=True):
        row[:] = frame.array()[order]
    return stack


def _resampled(
    stack: npt.NDArray[np.float64], rules: ScoringRules, mpix: float
) -> CountSums | None:
    """Return the sums of each resample, (n_bootstrap, n_entries), or None below two frames."""
    if len(stack) < 2:
        return None
    return CountSums.from_stack(resampled(rules.n_bootstrap, rules.seed, stack)[0], mpix)
