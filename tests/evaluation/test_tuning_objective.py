"""Compare tuning objectives with separate pairings at every threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import FrameInput, ScoringRules, score_frame
from skyduel.evaluation.scoring.tuning_objective import (
    ObjectiveValue,
    TrialCounts,
    best_value,
    evaluate_objective,
    trial_counts,
)

RULES = ScoringRules(radius_px=2.0)


def scene(seed: int, n_truth: int = 17, n_noise: int = 9) -> FrameInput:
    """A frame on which three in four truths are found and noise scores lower, mostly."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 60, (n_truth, 2))
    seen = truth[rng.random(n_truth) < 0.75]
    found = np.concatenate(
        [seen + rng.normal(0, 0.4, seen.shape), rng.uniform(0, 60, (n_noise, 2))]
    )
    score = np.concatenate([rng.normal(8, 3, len(seen)), rng.normal(4, 2, n_noise)]).round(1)
    return FrameInput(
        frame=f"f{seed}",
        truth=Catalog.build(x=truth[:, 0], y=truth[:, 1]),
        found=Catalog.build(x=found[:, 0], y=found[:, 1], score=score),
        mpix=0.01,
    )


def at(sources, threshold):
    scored = [score_frame(s, RULES, (0.0, 1.0), threshold=threshold) for s in sources]
    sums = [s.counts.sums() for s in scored]
    return tuple(sum(s[name] for s in sums) for name in ("truths", "truths_found", "detections"))


@given(seeds=st.lists(st.integers(0, 500), min_size=1, max_size=3, unique=True))
@settings(max_examples=15, deadline=None)
def test_goals_are_what_a_search_over_all_thresholds_finds(seeds) -> None:
    sources = [scene(seed) for seed in seeds]
    trial = [trial_counts(s, RULES) for s in sources]
    levels = np.unique(np.concatenate([s.found["score"] for s in sources]))
    table = {t: at(sources, t) for t in levels}
    pure = [t for t, (_, right, n) in table.items() if right / n >= 0.95]
    f1 = {t: 2 * right / (truths + n) for t, (truths, right, n) in table.items()}
    f2 = {t: 5 * right / (4 * truths + n) for t, (truths, right, n) in table.items()}

    goal = evaluate_objective(trial, "purity95")
    assert goal.feasible == bool(pure)
    if pure:
        truths, right, n = table[min(pure)]
        assert goal.threshold == min(pure)
        assert goal.value == goal.completeness == pytest.approx(right / truths)
        assert goal.purity == pytest.approx(right / n)
    assert evaluate_objective(trial, "f1").value == pytest.approx(max(f1.values()))
    assert evaluate_objective(trial, "f2").value == pytest.approx(max(f2.values()))
    assert goal.best_f1 == pytest.approx(max(f1.values()))
    assert f1[goal.best_f1_threshold] == pytest.approx(max(f1.values()))


def test_groups_have_a_threshold_each_and_count_alike() -> None:
    sources = [scene(1), scene(2), scene(3)]
    trial = [trial_counts(s, RULES) for s in sources]
    apart = [evaluate_objective(part, "purity95") for part in (trial[:1], trial[1:])]
    expected = np.mean([goal.value if goal.feasible else 0.0 for goal in apart])
    together = evaluate_objective(trial, "purity95-groups", ["a", "b", "b"])
    assert together.value == pytest.approx(expected)
    assert together.threshold == evaluate_objective(trial, "f1").threshold
    assert evaluate_objective(trial, "purity95-groups").value == pytest.approx(
        evaluate_objective(trial, "purity95").value
    )


def goal(reached: bool, value: float, f1: float) -> ObjectiveValue:
    return ObjectiveValue("purity95", reached, value, 4.0, value, 0.9, f1, f1, f1, 4.0)


def test_a_trial_that_never_gets_pure_ranks_below_all_that_do() -> None:
    impure = goal(False, float("nan"), 0.9)
    goals = [goal(True, 0.2, 0.3), impure, None, goal(True, 0.4, 0.3), goal(True, 0.4, 0.9)]
    assert best_value(goals) == 3  # of equal ones the first
    assert best_value([impure, goal(False, float("nan"), 0.95), None]) == 1
    assert best_value([None, None]) is None
    assert best_value([]) is None


def test_nothing_found_and_no_truths_are_undefined_not_wrong() -> None:
    empty = trial_counts(
        FrameInput(frame="e", truth=Catalog.empty(), found=Catalog.empty(), mpix=0.1), RULES
    )
    nothing = evaluate_objective([empty, empty], "purity95")
    assert not nothing.feasible
    assert np.isnan(nothing.threshold)
    assert np.isnan(nothing.completeness)
    assert best_value([nothing, None]) == 0
    assert evaluate_objective([empty], "purity95-groups").feasible is False
    assert np.isnan(evaluate_objective([], "f2").value)


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(BadInputError, match="one of purity95"):
        evaluate_objective([], "best")  # type: ignore[arg-type]


def counted(*changes: tuple[float, int, int], truths: int = 10) -> TrialCounts:
    """Counts of a frame: (score, change in truths found, change in detections)."""
    score, found, detections = (np.array(c) for c in zip(*changes, strict=True))
    return TrialCounts(score.astype(float), found, detections, truths, 0.1)


def test_the_scores_of_each_objective_are_those_at_its_threshold() -> None:
    # At 9: 4 of 4. At 8: 6 of 8, where F1 is highest. At 7: 9 of 20, where F2 is.
    frame = counted((9.0, 4, 4), (8.0, 2, 4), (7.0, 3, 12))
    at = {  # completeness, purity, F1, F2
        9.0: (0.4, 1.0, 8 / 14, 20 / 44),
        8.0: (0.6, 0.75, 12 / 18, 30 / 48),
        7.0: (0.9, 0.45, 18 / 30, 45 / 60),
    }
    for objective, threshold, value in (
        ("purity95", 9.0, 0.4), ("f1", 8.0, 12 / 18), ("f2", 7.0, 45 / 60),
        ("purity95-groups", 8.0, 0.4),
    ):  # fmt: skip
        goal = evaluate_objective([frame], objective)
        assert (goal.objective, goal.feasible, goal.threshold) == (objective, True, threshold)
        assert goal.value == pytest.approx(value)
        got = (goal.completeness, goal.purity, goal.f1, goal.f2)
        assert got == pytest.approx(at[threshold])
        assert (goal.best_f1, goal.best_f1_threshold) == (pytest.approx(12 / 18), 8.0)


def test_a_group_that_never_gets_pure_counts_as_nothing_found() -> None:
    pure, impure = counted((9.0, 4, 4)), counted((9.0, 4, 8))
    empty = counted((9.0, 0, 3), truths=0)
    goal = evaluate_objective([pure, impure, empty], "purity95-groups", ["a", "b", "c"])
    assert goal.value == 0.2  # of 0.4 and 0; the third has no truth
    assert not evaluate_objective([impure], "purity95-groups").feasible
    # F1 has one threshold for all groups.
    assert evaluate_objective([pure, impure], "f1", ["a", "b"]).value == pytest.approx(16 / 32)
    with pytest.raises(ValueError, match="shorter"):
        evaluate_objective([pure, impure], "purity95-groups", ["a"])


def test_a_trial_without_any_score_ranks_last() -> None:
    nothing = ObjectiveValue("purity95", False, *[float("nan")] * 8)
    assert best_value([nothing, goal(False, float("nan"), 0.1)]) == 1
