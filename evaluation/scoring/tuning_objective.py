"""Tuning objectives: the value of a trial's settings on a set of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameInput
from skyduel.evaluation.scoring.threshold_sweep import (
    Curve,
    best_f1_threshold,
    best_threshold,
    frame_events,
    pool,
    purity_threshold,
)
from skyduel.evaluation.table_keys import ALL_GROUPS, NOMINAL_PURITY

__all__ = [
    "OBJECTIVES",
    "Objective",
    "ObjectiveValue",
    "TrialCounts",
    "best_value",
    "evaluate_objective",
    "trial_counts",
]

Objective = Literal["purity95", "purity95-groups", "f1", "f2"]
#: What settings may be chosen for.
OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)

#: The scores of a trial that are kept.
_SCORES: Final = ("completeness", "purity", "f1", "f2")


@dataclass(frozen=True, eq=False)
class TrialCounts:
    """How one trial's counts on one frame change as the score threshold falls.

    Parameters
    ----------
    score : ndarray of float64, shape (n,)
        Scores at which something changes.
    found, detections : ndarray of int64, shape (n,)
        Change in truths found, and in detections that count.
    truths : int
        Truths that count.
    mpix : float
        Usable area [Mpix].
    """

    score: npt.NDArray[np.float64]
    found: npt.NDArray[np.int64]
    detections: npt.NDArray[np.int64]
    truths: int
    mpix: float


@dataclass(frozen=True)
class ObjectiveValue:
    """Objective and scores of one trial on a set of frames.

    Parameters
    ----------
    objective : str
        Which of `OBJECTIVES`.
    feasible : bool
        True if some threshold satisfies the condition of the objective.
    value : float
        The objective; NaN where not feasible.
    threshold : float
        The score to cut at: that of the objective, or of highest F1 where it
        is not feasible; NaN where nothing was found.
    completeness, purity, f1, f2 : float
        At that threshold.
    best_f1, best_f1_threshold : float
        Highest F1 of the sweep, and where.
    """

    objective: Objective
    feasible: bool
    value: float
    threshold: float
    completeness: float
    purity: float
    f1: float
    f2: float
    best_f1: float
    best_f1_threshold: float

    @property
    def rank(self) -> tuple[bool, float]:
        """Larger is better: any that reach the objective by its value, then the others by F1."""
        worth = self.value if self.feasible else self.best_f1
        return self.feasible, worth if np.isfinite(worth) else -np.inf


def trial_counts(source: FrameInput, rules: ScoringRules) -> TrialCounts:
    """Return the counts of one frame at every threshold, re-paired exactly at each."""
    candidates = source.candidates(rules)
    score, found, detections = frame_events(candidates, source.found["score"])
    truths = int((~candidates.truth_ignore).sum())
    return TrialCounts(score, found, detections, truths, source.mpix)


def evaluate_objective(
    frames: Sequence[TrialCounts],
    objective: Objective = "purity95",
    groups: Sequence[str] | None = None,
) -> ObjectiveValue:
    """Return the objective and scores of a trial on all frames together.

    Parameters
    ----------
    frames : sequence of TrialCounts
        Of one trial.
    objective : {"purity95", "purity95-groups", "f1", "f2"}
        ``purity95``: completeness at the lowest threshold at which pooled
        purity is at least 0.95, one for all frames; a trial without such a
        threshold ranks below every trial with one. ``purity95-groups``: the
        mean over groups of the completeness where the group by itself is that
        pure, 0 where it never is: one setting for all, and a threshold for each
        by the same rule, as the operating point ``purity95`` has it; the
        threshold named is that of highest F1. ``f1``, ``f2``: the highest of
        the sweep.
    groups : sequence of str, optional
        Of each frame; without it they are one group.

    Raises
    ------
    BadInputError
        For an unknown objective.
    """
    if objective not in OBJECTIVES:
        raise BadInputError("objective", f"one of {', '.join(OBJECTIVES)}", repr(objective))
    swept = _pooled(frames)
    at_f1 = best_f1_threshold(swept)
    if objective == "purity95":
        threshold = purity_threshold(swept, NOMINAL_PURITY)
    else:
        threshold = best_threshold(swept, "f2") if objective == "f2" else at_f1
    feasible = not np.isnan(threshold)
    if not feasible:
        threshold = at_f1
    completeness, purity, f1, f2 = _scores(swept, threshold)
    value = {"purity95": completeness, "f1": f1, "f2": f2}.get(objective, np.nan)
    if objective == "purity95-groups":
        value = _mean_over_groups(frames, groups or [ALL_GROUPS] * len(frames))
        feasible = value > 0
    return ObjectiveValue(
        objective=objective,
        feasible=feasible,
        value=value if feasible else float("nan"),
        threshold=threshold,
        completeness=completeness,
        purity=purity,
        f1=f1,
        f2=f2,
        best_f1=_scores(swept, at_f1)[2],
        best_f1_threshold=at_f1,
    )


def best_value(goals: Sequence[ObjectiveValue | None]) -> int | None:
    """Return the index of the best goal, of equal ones the first; None if there is none.

    None stands for a trial that failed.
    """
    ranked = [(goal.rank, -k) for k, goal in enumerate(goals) if goal is not None]
    return -max(ranked)[1] if ranked else None


def _pooled(frames: Sequence[TrialCounts]) -> Curve:
    parts = [(f.score, f.found, f.detections) for f in frames]
    return pool(parts, sum(f.truths for f in frames), float(sum(f.mpix for f in frames)))


def _mean_over_groups(frames: Sequence[TrialCounts], groups: Sequence[str]) -> float:
    """Return the mean completeness of groups, each at its own threshold of 95 % purity."""
    values = []
    for group in sorted(set(groups)):
        own = _pooled([f for f, g in zip(frames, groups, strict=True) if g == group])
        completeness = _scores(own, purity_threshold(own, NOMINAL_PURITY))[0]
        if own.truths:
            values.append(0.0 if np.isnan(completeness) else completeness)
    return float(np.mean(values)) if values else 0.0


def _scores(swept: Curve, threshold: float) -> tuple[float, float, float, float]:
    """Return completeness, purity, F1 and F2 at a threshold, NaN without one."""
    if np.isnan(threshold):
        return (float("nan"),) * 4
    at = swept.at([threshold])
    completeness, purity, f1, f2 = (float(at.score(name)[0]) for name in _SCORES)
    return completeness, purity, f1, f2
