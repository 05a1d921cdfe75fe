"""Compare the pairing rules of other tools with naive loops and the exact sweep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import FrameInput, ScoringRules, pair, pair_catalogs
from skyduel.evaluation import score_frame as score_one
from skyduel.evaluation.matching import assignment_rules
from skyduel.evaluation.matching.assignment_rules import greedy, take
from skyduel.evaluation.scoring.threshold_sweep import curve

RULES = ("most-pairs", "mutual-nearest", "score-first")
some = settings(deadline=None, max_examples=40)


def scene(seed: int, *, lattice: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A crowd of 13 truths and 17 detections, with scores, some equal and some missing."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, [9, 5], (13, 2)), rng.uniform(0, [9, 5], (17, 2))
    if lattice:
        a, b = np.rint(a), np.rint(b)
    score = np.where(rng.random(17) < 0.15, np.nan, rng.integers(0, 6, 17) / 5)
    return a, b, score


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])


@given(st.integers(0, 2**32 - 1))
@some
def test_mutual_nearest_is_what_it_says(seed: int) -> None:
    a, b, _ = scene(seed, lattice=False)
    d = distances(a, b)
    want = {
        (i, j)
        for i in range(len(a))
        for j in range(len(b))
        if d[i, j] <= 2 and d[i, j] == d[i].min() and d[i, j] == d[:, j].min()
    }
    pairs = pair(a, b, 2.0, rule="mutual-nearest")
    assert set(zip(pairs.truth_index.tolist(), pairs.found_index.tolist(), strict=True)) == want


@given(st.integers(0, 2**32 - 1), st.booleans())
@some
def test_score_first_is_a_loop_over_the_detections(seed: int, short: bool) -> None:
    a, b, score = scene(seed, lattice=False)
    d = distances(a, b)
    want, free = set(), set(range(len(a)))
    by_place = sorted(range(len(b)), key=lambda j: tuple(b[j]))
    for j in sorted(by_place, key=lambda j: -np.nan_to_num(score[j], nan=-9.0)):
        near = [i for i in free if d[i, j] <= 2]
        if near:
            i = min(near, key=lambda i: d[i, j])
            free.remove(i)
            want.add((i, j))
    before = assignment_rules._ROUNDS
    try:
        assignment_rules._ROUNDS = 1 if short else before
        pairs = pair(a, b, 2.0, rule="score-first", score=score)
    finally:
        assignment_rules._ROUNDS = before
    assert set(zip(pairs.truth_index.tolist(), pairs.found_index.tolist(), strict=True)) == want


def test_a_long_chain_of_rivals_is_walked_to_its_end() -> None:
    # Each candidate blocks the next: only every second one can be had, link by link.
    n = 1001
    left, right = np.arange(n) // 2, (np.arange(n) + 1) // 2
    assert greedy(left, right).tolist() == [k % 2 == 0 for k in range(n)]


def crowd(seed: int, n: int = 25, m: int = 31) -> FrameInput:
    """Points, streaks, ignored truths and regions, on a coarse grid so that ties occur."""
    rng = np.random.default_rng(seed)

    def sources(k: int, **more) -> Catalog:
        streak = rng.random(k) < 0.15
        return Catalog.build(
            x=rng.integers(0, 24, k).astype(float),
            y=rng.integers(0, 11, k) + rng.choice([0.0, 0.3], k),
            kind=np.where(streak, "streak", "point"),
            length=np.where(streak, rng.uniform(3, 20, k), 0),
            theta=np.where(streak, rng.choice([0, 0.1, 1.5], k), 0),
            mag=rng.random(k),  # tells coincident sources apart, whatever their order
            ignore=rng.random(k) < 0.25,
            **more,
        )

    score = np.where(rng.random(m) < 0.1, np.nan, rng.integers(0, 9, m) / 10)
    return FrameInput(frame=f"f{seed}", truth=sources(n), found=sources(m, score=score), mpix=0.3)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("require_kind", [False, True])
def test_the_sweep_equals_pairing_anew_at_every_threshold(rule: str, require_kind: bool) -> None:
    rules = ScoringRules(pairing=rule, require_kind=require_kind)

    @given(st.integers(0, 2**32 - 2))
    @settings(deadline=None, max_examples=8)
    def check(seed: int) -> None:
        frames = [crowd(seed), crowd(seed + 1, 12, 7)]
        c = curve(frames, rules)
        for k, threshold in enumerate(c.threshold):
            sums = [score_one(f, rules, (0, 1), threshold=threshold).counts.sums() for f in frames]
            assert c.truths_found[k] == sum(s["truths_found"] for s in sums)
            assert c.detections[k] == sum(s["detections"] for s in sums)

    check()


@pytest.mark.parametrize("rule", RULES)
def test_row_order_changes_nothing_and_no_source_is_used_twice(rule: str) -> None:
    rules = ScoringRules(pairing=rule)

    @given(st.integers(0, 2**32 - 1))
    @some
    def check(seed: int) -> None:
        frame, rng = crowd(seed), np.random.default_rng(seed)
        p, q = rng.permutation(25), rng.permutation(31)
        one = pair_catalogs(frame.truth, frame.found, rules)
        two = pair_catalogs(frame.truth.select(p), frame.found.select(q), rules)
        np.testing.assert_array_equal(one.truth_found[p], two.truth_found)
        for name in ("right", "false", "found_ignored", "duplicate"):
            np.testing.assert_array_equal(getattr(one, name)[q], getattr(two, name))
        assert len(set(one.pairs.truth_index)) == len(set(one.pairs.found_index)) == len(one.pairs)
        best = pair_catalogs(frame.truth, frame.found, ScoringRules())
        assert len(one.pairs) <= len(best.pairs)

    check()


def test_the_rules_differ_where_they_should() -> None:
    # The middle detection is the nearest and the surest, the outer one the second truth's only.
    truth = Catalog.build(x=[0.0, 2.0], y=[7.0, 7.0])
    found = Catalog.build(x=[0.9, -1.9], y=[7.0, 7.0], score=[0.9, 0.2])
    got = {rule: pair_catalogs(truth, found, ScoringRules(pairing=rule)).pairs for rule in RULES}
    assert got["most-pairs"].found_index.tolist() == [1, 0]
    assert got["mutual-nearest"].found_index.tolist() == [0]
    assert got["score-first"].found_index.tolist() == [0]
    # A surer detection takes the truth from a nearer one.
    found = Catalog.build(x=[0.1, 1.0], y=[7.0, 7.0], score=[0.2, 0.9])
    lone = truth.select([0])
    for rule, want in (("most-pairs", 0), ("mutual-nearest", 0), ("score-first", 1)):
        pairs = pair_catalogs(lone, found, ScoringRules(pairing=rule)).pairs
        assert pairs.found_index.tolist() == [want]


@pytest.mark.parametrize("rule", RULES)
def test_ignored_truths_come_last_and_ignored_streaks_excuse_their_pieces(rule: str) -> None:
    rules = ScoringRules(pairing=rule)
    truth = Catalog.build(x=[10.0, 11.0], y=[5.0, 5.0], ignore=[True, False])
    on_the_ignored = Catalog.build(x=[10.0], y=[5.0], score=[1.0])
    assert pair_catalogs(truth, on_the_ignored, rules).pairs.truth_index.tolist() == [1]
    streak = Catalog.build(x=[50.0], y=[8.0], kind=["streak"], length=[40.0], ignore=[True])
    pieces = Catalog.build(x=[40.0, 50.0, 60.0, 60.0], y=[8.0, 9.0, 7.5, 20.0], score=np.ones(4))
    pairing = pair_catalogs(streak, pieces, rules)
    assert pairing.found_ignored.tolist() == [True, True, True, False]
    assert len(pairing.ignored_pairs) == 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInputError, match="jia2020 gives no pairs and is a metric of its own"):
        ScoringRules(pairing="jia2020")
    with pytest.raises(BadInputError, match="most-pairs"):
        ScoringRules(pairing="nearest")
    one = Catalog.build(x=[1.0], y=[2.0])
    with pytest.raises(BadInputError, match="score-first; got no row with a score"):
        pair_catalogs(one, one, ScoringRules(pairing="score-first"))
    assert len(pair_catalogs(one, Catalog.empty(), ScoringRules(pairing="score-first")).pairs) == 0
    with pytest.raises(BadInputError, match="the detections' scores; got none"):
        pair([[1.0, 2.0]], [[1.0, 2.0]], 1.0, rule="score-first")
    with pytest.raises(BadInputError, match="one for each of 1 detections"):
        pair([[1.0, 2.0]], [[1.0, 2.0]], 1.0, rule="score-first", score=[1.0, 2.0])
    nothing = np.zeros(0, dtype=np.int64)
    with pytest.raises(BadInputError, match="most-pairs, mutual-nearest or score-first"):
        take("nearest", nothing, nothing, np.zeros(0), 1.0, np.zeros(0, dtype=bool))
