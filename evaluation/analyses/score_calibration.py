"""Reliability of scores as probabilities, and thresholds chosen in advance.

A score between 0 and 1 in every frame is evaluated as the probability of being right.
Any other score is converted to a probability by isotonic regression of right on
score over the calibration frames; without calibration frames there is no reliability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from skyduel.evaluation.matching.matching import pair_candidates
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.candidate_store import CandidateFrame, pool_frames
from skyduel.evaluation.scoring.counts import bin_index, bin_table, measured_mag, zero_point_offset
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.ragged import remembered
from skyduel.evaluation.scoring.table_columns import (
    CALIBRATION_ERROR_COLUMNS,
    PURITY_CHOICE_COLUMNS,
    RELIABILITY_COLUMNS,
)
from skyduel.evaluation.scoring.threshold_sweep import purity_threshold
from skyduel.evaluation.statistics.intervals import wilson
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = [
    "calibration_error",
    "calibration_error_table",
    "purity_choice_table",
    "reliability_table",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


#: Number of bins of a reliability table.
_BINS: Final = 10
#: Purities for which thresholds are chosen.
_WANTED: Final = (0.90, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class _LabelledDetections:
    """The detections that count, of one or more frames, each array of shape (n,)."""

    score: Floats
    right: Bools
    mag: Floats


def _label_detections(frame: CandidateFrame) -> _LabelledDetections:
    """Label the detections of a frame as right or wrong, at any threshold that keeps them.

    The pairing is ``score-first``, so that detections of lower score do not affect the
    result. Pairing for the largest number of pairs could, at a low threshold, match a truth
    to a duplicate of low score, and label the detection of high score as wrong.
    """
    source = frame.source
    score = np.asarray(source.found["score"], dtype=np.float64)
    candidates = replace(frame.candidates, rule="score-first", found_score=score)
    pairing = pair_candidates(candidates, np.ones(score.size, dtype=bool))
    offset = zero_point_offset(source.truth, source.found, pairing).offset_mag
    counts = ~pairing.found_ignored
    mag = measured_mag(source.found) + offset
    return _LabelledDetections(score[counts], pairing.right[counts], mag[counts])


def _pool(frames: Sequence[CandidateFrame]) -> _LabelledDetections:
    """Return the detections that count, of several frames; cached for three tables."""
    return remembered(frames, "labelled", lambda: _pooled(frames))


def _pooled(frames: Sequence[CandidateFrame]) -> _LabelledDetections:
    parts = [_label_detections(f) for f in frames]
    return _LabelledDetections(
        np.concatenate([np.zeros(0), *(p.score for p in parts)]),
        np.concatenate([np.zeros(0, dtype=bool), *(p.right for p in parts)]),
        np.concatenate([np.zeros(0), *(p.mag for p in parts)]),
    )


def _probabilities(
    calibration: Sequence[CandidateFrame], test: Sequence[CandidateFrame]
) -> tuple[str, _LabelledDetections, Floats]:
    """Return the type of score, the labelled test detections and their probabilities."""
    told = _pool(test)
    learnt = _pool(calibration)
    every = np.concatenate([told.score, learnt.score])
    every = every[~np.isnan(every)]
    if every.size and bool(((every >= 0) & (every <= 1)).all()):
        return "probability", told, told.score
    known = np.isfinite(learnt.score)
    x, y = learnt.score[known], learnt.right[known]
    if 0 < np.count_nonzero(y) < y.size:
        p = np.full(told.score.size, np.nan)
        finite = np.isfinite(told.score)
        p[finite] = _isotonic(x, y, told.score[finite])
        return "fitted", told, p
    return "unknown", told, np.full(told.score.size, np.nan)


def _isotonic(x: Floats, right: Bools, at: Floats) -> Floats:
    """Return the isotonic regression of right on x, linear in between and constant beyond."""
    places, group, count = np.unique(x, return_inverse=True, return_counts=True)
    share = np.bincount(group, right) / count
    rising = scipy.optimize.isotonic_regression(share, weights=count).x
    return np.interp(at, places, rising)


def calibration_error(p: Floats, right: Bools, edges: Floats) -> tuple[float, float]:
    """Return the expected calibration error, and its expectation for perfect calibration.

    Parameters
    ----------
    p, right : ndarray, shape (n,)
        Predicted probability of each detection, and True for right detections.
    edges : ndarray, shape (k + 1,)
        Ascending; bins are half-open, except the last, which is closed.

    Returns
    -------
    error, chance : float
        The mean over detections of |fraction right - mean p| of their bin
        (Naeini et al. 2015, AAAI, 2901), and its mean for perfectly calibrated probabilities:
        sqrt(2/pi) times each bin's binomial standard deviation. NaN without detections.
    """
    n, k, total = _sums(p, right, edges)
    variance = np.bincount(_bins(p, edges), p * (1 - p), edges.size - 1)
    if n.sum() == 0:
        return float("nan"), float("nan")
    error = float(np.abs(k - total).sum() / n.sum())
    return error, float(np.sqrt(2 / np.pi * variance).sum() / n.sum())


def _bins(p: Floats, edges: Floats) -> Ints:
    at = np.searchsorted(edges, p, side="right") - 1
    return np.clip(at, 0, edges.size - 2).astype(np.int64)


def _sums(p: Floats, right: Bools, edges: Floats) -> tuple[Ints, Ints, Floats]:
    at, size = _bins(p, edges), edges.size - 1
    n = np.bincount(at, minlength=size)
    total = np.asarray(np.bincount(at, p, size), dtype=np.float64)
    return n, np.bincount(at[right], minlength=size), total


def _equal_width() -> Floats:
    return np.linspace(0.0, 1.0, _BINS + 1)


def _equal_count(values: Floats) -> Floats:
    """Return edges of bins of about equal count; equal values are in the same bin."""
    if values.size == 0:
        return np.array([0.0, 1.0])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1), method="lower"))
    return edges if edges.size > 1 else np.array([edges[0], edges[0]])


def _per_mag(mag: Floats, edges: Sequence[float]) -> list[tuple[int, float, float, Bools]]:
    """Return bin, limits and rows: of all bins together, then of each bin with detections."""
    out: list[tuple[int, float, float, Bools]] = [
        (ALL_BINS, np.nan, np.nan, np.ones(mag.size, dtype=bool))
    ]
    entry = bin_index(mag, edges)
    bins = bin_table(edges)
    for at, (number, lo, hi) in enumerate(
        zip(*(bins[c].tolist() for c in ("bin", "bin_lo", "bin_hi")), strict=True)
    ):
        if (entry == at).any():
            out.append((number, lo, hi, entry == at))
    return out


def reliability_table(
    calibration: Sequence[CandidateFrame],
    test: Sequence[CandidateFrame],
    rules: ScoringRules,
    edges: Sequence[float],
) -> pd.DataFrame:
    """Return the fraction of right detections per score bin, with `RELIABILITY_COLUMNS`.

    ``binning`` is ``equal width`` (ten bins of probability) or ``equal count``;
    without probabilities, scores are binned, and only by equal count. Within bins of measured
    magnitude the binning is of equal width only. Bins without a detection have no row.
    """
    kind, told, p = _probabilities(calibration, test)
    known = kind != "unknown"
    value = p if known else told.score
    keep = np.isfinite(value)
    value, right, mag = value[keep], told.right[keep], told.mag[keep]
    parts = []
    for number, lo, hi, inside in _per_mag(mag, edges):
        binnings = [("equal width", _equal_width())] if known else []
        if number == ALL_BINS:
            binnings.append(("equal count", _equal_count(value)))
        for binning, limits in binnings:
            n, k, total = _sums(value[inside], right[inside], limits)
            some = np.flatnonzero(n)
            low, high = wilson(k[some], n[some], rules.confidence)
            parts.append(
                pd.DataFrame(
                    {
                        "score_is": kind, "binning": binning,
                        "bin": number, "bin_lo": lo, "bin_hi": hi,
                        "score_bin": some, "score_lo": limits[some], "score_hi": limits[some + 1],
                        "predicted": total[some] / n[some] if known else np.nan,
                        "right": k[some] / n[some], "lo": low, "hi": high,
                        "n": n[some], "k": k[some],
                    }
                )
            )  # fmt: skip
    return _stack(parts, RELIABILITY_COLUMNS)


def calibration_error_table(
    calibration: Sequence[CandidateFrame],
    test: Sequence[CandidateFrame],
    rules: ScoringRules,
    edges: Sequence[float],
) -> pd.DataFrame:
    """Return the calibration error of scores, with `CALIBRATION_ERROR_COLUMNS`.

    One row for all magnitudes together and one for each measured magnitude bin with
    detections; no rows if the scores are not probabilities and none could be fitted. ``rules``
    is not used.
    """
    kind, told, p = _probabilities(calibration, test)
    if kind == "unknown":
        return _stack([], CALIBRATION_ERROR_COLUMNS)
    rows: list[dict[str, Any]] = []
    for number, lo, hi, inside in _per_mag(told.mag, edges):
        keep = inside & np.isfinite(p)
        q, right = p[keep], told.right[keep]
        n, k = q.size, int(np.count_nonzero(right))
        error, chance = calibration_error(q, right, _equal_width())
        even, even_chance = calibration_error(q, right, _equal_count(q))
        rows.append(
            {
                "score_is": kind, "bin": number, "bin_lo": lo, "bin_hi": hi, "n": n, "k": k,
                "predicted": float(ratio(q.sum(), n)), "right": float(ratio(k, n)),
                "ece": error, "ece_chance": chance,
                "ece_equal_count": even, "ece_equal_count_chance": even_chance,
                "brier": float(ratio(np.square(q - right).sum(), n)),
                "n_unscored": int(np.count_nonzero(inside)) - n,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)[list(CALIBRATION_ERROR_COLUMNS)]


def purity_choice_table(
    calibration: Sequence[CandidateFrame],
    test: Sequence[CandidateFrame],
    rules: ScoringRules,
    edges: Sequence[float],
) -> pd.DataFrame:
    """Return thresholds chosen in advance for a purity, and the purity reached with them.

    The columns are `PURITY_CHOICE_COLUMNS`; ``purity`` and ``completeness`` are those of the
    test frames.

    ``chosen_by`` is ``calibration``: the lowest score at which the calibration
    frames have that purity (`purity_threshold`; ``purity_chosen`` of
    ``n_chosen`` detections there); or ``score``, if scores are probabilities:
    the lowest score at which the detections of the test frames with that score or more
    have that mean score (``purity_chosen``), which requires no truth. NaN if there is no such
    threshold. ``edges`` is not used.
    """
    rows: list[dict[str, Any]] = []
    outcome = pool_frames(test)
    learnt = pool_frames(calibration)
    kind, _, _ = _probabilities(calibration, test)
    scores = np.concatenate([np.zeros(0), *(f.source.found["score"] for f in test)])
    for wanted in _WANTED:
        choices = []
        if calibration:
            threshold = purity_threshold(learnt, wanted)
            there = learnt.at([threshold]) if np.isfinite(threshold) else None
            choices.append(
                ("calibration", threshold)
                + (
                    (np.nan, 0)
                    if there is None
                    else (float(there.purity[0]), int(there.detections[0]))
                )
            )
        if kind == "probability":
            choices.append(("score", *_stated(scores, wanted)))
        for chosen_by, threshold, purity, n in choices:
            none = not np.isfinite(threshold)
            c = outcome.at([np.inf if none else threshold])
            detections, found = int(c.detections[0]), int(c.truths_found[0])
            lo, hi = wilson(found, detections, rules.confidence)
            low, high = wilson(found, outcome.truths, rules.confidence)
            rows.append(
                {
                    "wanted": wanted, "chosen_by": chosen_by, "threshold": threshold,
                    "purity_chosen": purity, "n_chosen": n,
                    "purity": float(ratio(found, detections)), "lo": float(lo), "hi": float(hi),
                    "n": detections, "k": found,
                    "completeness": np.nan if none else float(ratio(found, outcome.truths)),
                    "completeness_lo": np.nan if none else float(low),
                    "completeness_hi": np.nan if none else float(high),
                    "truths": outcome.truths, "truths_found": found,
                }
            )  # fmt: skip
    return _stack([pd.DataFrame(rows)] if rows else [], PURITY_CHOICE_COLUMNS)


def _stated(p: Floats, wanted: float) -> tuple[float, float, int]:
    """Return the lowest threshold with the requested mean score, that mean, and the number."""
    falling = np.sort(p[np.isfinite(p)])[::-1]
    n = np.arange(1, falling.size + 1)
    mean = np.cumsum(falling) / n
    last = np.append(falling[1:] != falling[:-1], True)  # equal scores are kept together
    good = np.flatnonzero((mean >= wanted) & last)
    if good.size == 0:
        return float("nan"), float("nan"), 0
    at = good[-1]
    return float(falling[at]), float(mean[at]), int(n[at])


def _stack(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [p for p in parts if len(p)]
    if not filled:
        return pd.DataFrame({c: pd.Series(dtype="float64") for c in columns})
    return pd.concat(filled, ignore_index=True)[list(columns)]
