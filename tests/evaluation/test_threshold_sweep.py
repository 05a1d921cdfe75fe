"""Compare the exact sweep with separate pairings at every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, score_frame
from skyduel.evaluation.scoring import threshold_sweep as module
from skyduel.evaluation.scoring.threshold_sweep import (
    Curve,
    best_f1_threshold,
    best_threshold,
    curve,
    grid,
    purity_threshold,
    sweep,
)

RULES = ScoringRules()
EDGES = (0.0, 1.0)


def random_frame(
    seed: int, n: int = 25, m: int = 31, *, width: float = 24, unscored: float = 0.1
) -> FrameInput:
    """A crowded frame: competition, streaks, ignored truths and regions, equal and no scores."""
    rng = np.random.default_rng(seed)

    def some(k: int, **more) -> Catalog:
        streak = rng.random(k) < 0.15
        return Catalog.build(
            x=rng.uniform(0, width, k),
            y=rng.uniform(0, 11, k),
            kind=np.where(streak, "streak", "point"),
            length=np.where(streak, rng.uniform(3, 20, k), 0),
            theta=np.where(streak, rng.choice([0, 0.1, 1.5], k), 0),
            ignore=rng.random(k) < 0.25,
            **more,
        )

    score = np.where(rng.random(m) < unscored, np.nan, rng.integers(0, 15, m) / 10)
    return FrameInput(frame=f"f{seed}", truth=some(n), found=some(m, score=score), mpix=0.3)


def check_by_pairing_anew(frames: list[FrameInput], rules: ScoringRules) -> None:
    c = curve(frames, rules)
    scores = np.concatenate([f.found["score"] for f in frames])
    distinct = np.unique(np.where(np.isnan(scores), -np.inf, scores))
    assert c.threshold.tolist() == distinct[::-1].tolist()
    for k, threshold in enumerate(c.threshold):
        sums = [score_frame(f, rules, EDGES, threshold=threshold).counts.sums() for f in frames]
        assert c.truths_found[k] == sum(s["truths_found"] for s in sums)
        assert c.detections[k] == sum(s["detections"] for s in sums)
        assert c.truths == sum(s["truths"] for s in sums)
    assert c.mpix == pytest.approx(0.3 * len(frames))


@given(st.integers(0, 2**32 - 2))
@settings(deadline=None, max_examples=15)
def test_every_threshold_equals_pairing_anew(seed: int) -> None:
    check_by_pairing_anew([random_frame(seed), random_frame(seed + 1, 12, 7)], RULES)


@pytest.mark.parametrize("rule", ["most-pairs", "mutual-nearest", "score-first"])
def test_every_threshold_equals_pairing_anew_by_each_rule_and_in_many_components(rule: str) -> None:
    # On 400 px most components are of two or three sources, many with the same score.
    frames = [random_frame(k, 60, 60, width=400, unscored=0.0) for k in range(2)]
    check_by_pairing_anew([*frames, random_frame(5, unscored=0.0)], ScoringRules(pairing=rule))


def test_working_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [random_frame(3, 60, 70)]
    whole = curve(frames, RULES)
    monkeypatch.setattr(module, "_CHUNK", 5)
    pieces = curve(frames, RULES)
    np.testing.assert_array_equal(whole.truths_found, pieces.truths_found)
    np.testing.assert_array_equal(whole.detections, pieces.detections)


def test_counts_between_scores_are_those_of_the_next_score_up() -> None:
    c = Curve(np.array([0.9, 0.5, 0.2]), np.array([1, 2, 2]), np.array([1, 2, 4]), 4, 2.0)
    table = sweep(c, [0.1, 0.2, 0.3, 0.5, 0.95])
    assert table["detections"].tolist() == [4, 4, 2, 2, 0]
    assert table["truths_found"].tolist() == [2, 2, 2, 2, 0]
    assert table["purity"].tolist()[:4] == [0.5, 0.5, 1.0, 1.0]
    assert np.isnan(table["purity"].iloc[4])
    assert table["completeness"].iloc[4] == 0
    assert table["false_per_mpix"].tolist() == [1, 1, 0, 0, 0]
    assert list(table.columns) == [
        "threshold", "truths", "truths_found", "detections", "detections_right",
        "completeness", "purity", "f1", "f2", "jaccard",
        "false_per_mpix",
    ]  # fmt: skip


def test_the_best_f1_takes_the_higher_of_equals() -> None:
    c = Curve(np.array([0.9, 0.5, 0.2]), np.array([1, 2, 3]), np.array([1, 2, 5]), 4, 1.0)
    assert c.score("f1")[1] == c.score("f1")[2] == pytest.approx(2 / 3)
    assert best_f1_threshold(c) == 0.5


def test_the_purity_threshold_is_the_lowest_wherever_it_lies() -> None:
    # Purity falls, rises and falls: 0, 0.5, 0.67, 0.75, 0.6.
    found, detections = np.array([0, 1, 2, 3, 3]), np.array([1, 2, 3, 4, 5])
    c = Curve(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), found, detections, 9, 1.0)
    assert purity_threshold(c, 0.5) == 0.5
    assert purity_threshold(c, 0.65) == 0.6
    assert np.isnan(purity_threshold(c, 0.95))


def test_nothing_found_and_nothing_there() -> None:
    nothing = FrameInput(frame="a", truth=Catalog.empty(), found=Catalog.empty(), mpix=1.0)
    for frames in ([], [nothing]):
        c = curve(frames, RULES)
        assert c.threshold.size == 0
        assert np.isnan(best_f1_threshold(c))
        assert np.isnan(purity_threshold(c))
        assert len(sweep(c, [])) == 0


@pytest.mark.parametrize(
    ("n", "kept"),
    [
        (2, [0, 9]),
        (4, [0, 3, 6, 9]),
        (5, [0, 2, 4, 7, 9]),
        (10, list(range(10))),
        (64, list(range(10))),
    ],
)
def test_a_grid_is_made_of_even_quantiles_of_the_scores(n: int, kept: list[int]) -> None:
    # 2.25 and 6.75 of five thresholds are rounded; half a step goes to the even place.
    some = np.arange(10) ** 2.0
    zero = np.zeros(10, dtype=np.int64)
    assert grid(Curve(some[::-1], zero, zero, 1, 1.0), n).tolist() == some[kept].tolist()


def test_ratios_and_scores_of_a_curve() -> None:
    c = Curve(np.array([0.9, 0.5, 0.2]), np.array([0, 1, 2]), np.array([0, 1, 4]), 4, 2.0)
    assert c.completeness.tolist() == [0, 0.25, 0.5]
    assert c.purity[1:].tolist() == [1, 0.5]
    assert np.isnan(c.purity[0])
    assert best_threshold(c, "completeness") == 0.2
    assert best_threshold(c, "purity") == 0.5
    assert best_threshold(c, "false_per_mpix") == 0.2
    no_truth = Curve(c.threshold, c.truths_found * 0, c.detections, 0, 2.0)
    assert np.isnan(best_threshold(no_truth, "completeness"))
    assert purity_threshold(c, 0.5) == 0.2
    only = Curve(np.array([0.7]), np.array([1]), np.array([1]), 4, 2.0)
    assert best_f1_threshold(only) == 0.7
    none_yet = c.at([0.2, 0.95])
    assert (none_yet.truths, none_yet.mpix) == (4, 2.0)
    assert none_yet.threshold.tolist() == [0.2, 0.95]


def test_a_frame_whose_detections_and_truths_do_not_meet() -> None:
    truth = Catalog.build(x=[5.0, 9.0], y=[5.0, 9.0], ignore=[True, False])
    found = Catalog.build(x=[50.0, 60.0], y=[50.0, 60.0], score=[1.0, 2.0], ignore=[False, True])
    c = curve([FrameInput(frame="a", truth=truth, found=found, mpix=1.0)], RULES)
    assert c.threshold.tolist() == [2.0, 1.0]
    assert c.detections.tolist() == [0, 1]
    assert c.truths_found.tolist() == [0, 0]
    assert c.truths == 1
    plain = Catalog.build(x=[5.0], y=[5.0])
    assert curve([FrameInput(frame="a", truth=plain, found=found, mpix=1.0)], RULES).truths == 1
