"""Scores as a function of the ignore limit, the S/N below which truths are ignored.

The limit excuses misses, and also detections of faint truths. A table of scores at several
limits shows the effect of the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.matching.candidates import Candidates
from skyduel.evaluation.matching.matching import resolve
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import CountSums, listed
from skyduel.evaluation.scoring.table_columns import IGNORE_LIMIT_COLUMNS

__all__ = ["SNR_LIMITS", "ignore_limit_table"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Number of frames paired at a time.
_TOGETHER: Final = 2048
#: Limits of the table, in ideal S/N.
SNR_LIMITS: Final = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def ignore_limit_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return counts and scores at several limits, one row each, `IGNORE_LIMIT_COLUMNS`.

    The detections are those of the operating point. Truths are matched again; truths
    ignored for another reason than faintness remain ignored. No rows if no
    truth has an S/N. ``edges`` is not used.
    """
    stated = any(
        "snr" in f.source.truth and np.isfinite(f.source.truth["snr"]).any() for f in frames
    )
    if not stated:
        return pd.DataFrame({c: pd.Series(dtype="float64") for c in IGNORE_LIMIT_COLUMNS})
    limits = np.asarray(SNR_LIMITS)
    sums = np.zeros((6, limits.size), dtype=np.int64)
    for first in range(0, len(frames), _TOGETHER):
        sums += _count(frames[first : first + _TOGETHER], rules, limits)
    truths, found, ignored, detections, right, set_aside = sums
    return pd.DataFrame(
        {
            "min_snr": limits,
            "truths": truths,
            "truths_found": found,
            "truths_ignored": ignored,
            "detections": detections,
            "detections_right": right,
            "detections_ignored": set_aside,
        }
        | {m.name: m.pooled(CountSums(truths, found, detections, right)) for m in listed("brief")}
    )


def _count(
    frames: Sequence[FrameScore], rules: ScoringRules, limits: npt.NDArray[np.float64]
) -> Ints:
    """Return the counts of the table, in its order, shape (6, n_limits)."""
    # One assignment for these frames and all limits, which are separate components.
    parts: list[tuple[npt.NDArray[np.generic], ...]] = []
    ignored, excused, used = [], [], []
    n_truth = n_found = 0
    for f in frames:
        c = f.candidates if f.candidates is not None else f.source.candidates(rules)
        at = np.flatnonzero(f.pairing.used[c.found_index])
        i, j = c.truth_index[at], c.found_index[at]
        parts.append(
            (
                c.truth_rank[at] + n_truth,
                c.found_rank[at] + n_found,
                i + n_truth,
                j + n_found,
                c.compared(at) / c.radius_px,
                c.unlike[at],
                c.truth_streak[i],
                _scores(c, j),
            )
        )
        ignored.append(_ignored(f, rules, limits))
        excused.append(c.found_ignore)
        used.append(f.pairing.used)
        n_truth, n_found = n_truth + c.n_truth, n_found + c.n_found
        rule = c.rule
    left, right, i, j, separation, unlike, streak, score = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    ignore = np.concatenate(ignored, axis=1)
    n = limits.size
    level = np.repeat(np.arange(n), i.size)
    counted, last, absorbed = resolve(
        left=level * n_truth + np.tile(left, n),
        right=level * n_found + np.tile(right, n),
        separation=np.tile(separation, n),
        unlike=np.tile(unlike, n),
        ignored=ignore[level, np.tile(i, n)],
        streak=np.tile(streak, n),
        radius_px=1.0,
        rule=rule,
        score=np.tile(score, n),
    )
    row = np.tile(j, n)
    hits = np.zeros((n, n_found), dtype=bool)
    hits[level[counted], row[counted]] = True
    set_aside = np.concatenate(excused) & ~hits
    free = last | absorbed
    set_aside[level[free], row[free]] = True
    taking = np.concatenate(used)
    set_aside &= taking
    truths = (~ignore).sum(axis=1)
    found = np.bincount(level[counted], minlength=n)
    detections = taking.sum() - set_aside.sum(axis=1)
    rows = (truths, found, n_truth - truths, detections, hits.sum(axis=1), set_aside.sum(axis=1))
    return np.stack(rows).astype(np.int64)


def _scores(c: Candidates, rows: Ints) -> npt.NDArray[np.float64]:
    return np.full(rows.size, np.nan) if c.found_score is None else c.found_score[rows]


def _ignored(frame: FrameScore, rules: ScoringRules, limits: npt.NDArray[np.float64]) -> Bools:
    """Return a mask of the truths ignored at each limit, shape (n_limits, n_truth)."""
    truth = frame.source.truth
    snr = truth["snr"] if "snr" in truth else np.full(len(truth), np.nan)
    if "ignore_reason" in truth:
        faint = np.asarray(truth["ignore_reason"]).astype(str) == "faint"
    else:
        faint = snr < rules.min_snr
    if "suspect" in truth:
        faint &= ~(np.asarray(truth["suspect"], dtype=np.int64) > 0)  # a later reason than faint
    given = frame.pairing.truth_ignored & ~faint
    return np.asarray(given | (snr < limits[:, None]))
