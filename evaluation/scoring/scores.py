"""Scores from summed counts, with the uncertainty of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import COUNT_COLUMNS, Counts, bin_table, total
from skyduel.evaluation.statistics.intervals import percentile, poisson, proportion, resampled
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = ["QUANTITIES", "f_beta", "f_from_counts", "ratio", "score_table"]

Floats = npt.NDArray[np.float64]

QUANTITIES: Final = ("completeness", "purity", "f1", "f2", "false_per_mpix")


def ratio(k: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """Return k / n, NaN where n is 0."""
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    shape = np.broadcast_shapes(k.shape, n.shape)
    return np.asarray(np.divide(k, n, out=np.full(shape, np.nan), where=n > 0))


def f_beta(purity: npt.ArrayLike, completeness: npt.ArrayLike, beta: float) -> Floats:
    """Return (1 + b^2) P R / (b^2 P + R), broadcast.

    NaN where either is; 0 where both are 0, for F never exceeds the larger.
    Van Rijsbergen (1979).
    """
    p, r = np.asarray(purity, dtype=np.float64), np.asarray(completeness, dtype=np.float64)
    b2 = beta * beta
    below = b2 * p + r
    out = np.divide((1 + b2) * p * r, below, out=np.full(below.shape, np.nan), where=below > 0)
    return np.where(below == 0, 0.0, out)


def f_from_counts(
    right: npt.ArrayLike, truths: npt.ArrayLike, detections: npt.ArrayLike, beta: float
) -> Floats:
    """Return (1 + b^2) TP / (b^2 truths + detections); NaN with neither truths nor detections.

    Equal to `f_beta` of the two ratios where both are defined; also defined,
    and 0, for a detector that reports nothing although there is something.
    """
    b2 = beta * beta
    return ratio((1 + b2) * np.asarray(right), b2 * np.asarray(truths) + np.asarray(detections))


def _f_scores(sums: Floats, beta: float) -> Floats:
    """Return F per bin and then overall, from sums of shape (..., 4, n_entries)."""
    truths, found, detections, right = (sums[..., k, :] for k in range(4))
    per_bin = f_beta(ratio(right, detections), ratio(found, truths), beta)
    overall = f_from_counts(found.sum(axis=-1), truths.sum(axis=-1), detections.sum(axis=-1), beta)
    return np.concatenate([per_bin, overall[..., None]], axis=-1)


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
        ``k``, ``interval``, ``n_frames``; the rows for all bins together have
        ``bin`` -2 and no edges. ``k`` and ``n`` are the two counts of a
        proportion; for F-scores truths found + detections that are right, and
        truths + detections; for ``false_per_mpix`` false detections and Mpix.

    Notes
    -----
    Counts are summed over frames, then divided; 0/0 is NaN. Completeness is by
    true and purity by measured magnitude, so F of a bin joins two axes (it is
    NaN where either is); overall F comes from counts. Completeness and purity
    have Wilson (or Jeffreys) intervals, rates exact Poisson ones, F-scores
    percentiles of the bootstrap over frames, or blocks, expanded for their number
    (none with fewer than two; with fewer than about 20 they are rough, hence
    ``n_frames``).
    """
    summed = total(frames, edges)
    table = bin_table(edges)
    overall = pd.DataFrame({"bin": [ALL_BINS], "bin_lo": [np.nan], "bin_hi": [np.nan]})
    bins = pd.concat([table, overall], ignore_index=True)

    def with_sum(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.append(values, values.sum())

    truths, found = with_sum(summed.truths), with_sum(summed.truths_found)
    detections, right = with_sum(summed.detections), with_sum(summed.detections_right)
    area = float(np.sum(mpix)) if len(mpix) else 0.0
    parts = []

    def add(
        name: str, value: Floats, lo: Floats, hi: Floats, k: Floats, n: Floats, interval: str
    ) -> None:
        parts.append(
            bins.assign(quantity=name, value=value, lo=lo, hi=hi, n=n, k=k, interval=interval)
        )

    for name, k, n in (("completeness", found, truths), ("purity", right, detections)):
        add(
            name,
            ratio(k, n),
            *proportion(k, n, rules.confidence, rules.proportion_interval),
            k.astype(float),
            n.astype(float),
            rules.proportion_interval,
        )
    point = np.stack(
        [summed.truths, summed.truths_found, summed.detections, summed.detections_right]
    ).astype(float)
    units = frames if blocks is None else blocks
    samples = _resampled(units, rules)
    for name, beta in (("f1", 1.0), ("f2", 2.0)):
        value = _f_scores(point, beta)
        lo = hi = np.full(value.shape, np.nan)
        if samples is not None:
            lo, hi = percentile(_f_scores(samples, beta), rules.confidence, len(units))
            lo, hi = np.where(np.isnan(value), np.nan, lo), np.where(np.isnan(value), np.nan, hi)
        add(
            name,
            value,
            lo,
            hi,
            (found + right).astype(float),
            (truths + detections).astype(float),
            "bootstrap" if blocks is None else "block bootstrap",
        )
    false = detections - right
    lo, hi = poisson(false, rules.confidence)
    add(
        "false_per_mpix",
        ratio(false, area),
        ratio(lo, area),
        ratio(hi, area),
        false.astype(float),
        np.full(false.shape, area),
        "poisson",
    )
    out = pd.concat(parts, ignore_index=True)
    out["n_frames"] = len(frames)
    return out


def _resampled(frames: Sequence[Counts], rules: ScoringRules) -> Floats | None:
    """Return resampled sums, shape (n_bootstrap, 4, n_entries), or None below two frames."""
    if len(frames) < 2:
        return None
    order = [
        COUNT_COLUMNS.index(c) for c in ("truths", "truths_found", "detections", "detections_right")
    ]
    stack = np.empty((len(frames), len(order), frames[0].truths.size))
    for row, frame in zip(stack, frames, strict=True):
        row[:] = frame.array()[order]
    return resampled(rules.n_bootstrap, rules.seed, stack)[0]
