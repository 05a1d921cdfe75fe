"""The pairing rules of other tools against loops, ties included, and distances of segments."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.errors import BadInputError
from skyduel.evaluation.matching import assignment_rules
from skyduel.evaluation.matching.assignment_rules import greedy, mutual, take
from skyduel.evaluation.matching.segments import (
    angle_difference,
    point_segment_distance,
    segment_distance,
)

NONE = np.zeros(0, dtype=np.int64)


def candidates(seed: int) -> dict[str, np.ndarray]:
    """Return up to 20 candidates with few values of each key, so that ties are many."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(30)[: int(rng.integers(0, 21))]
    score_of = rng.choice([0.2, 0.5, 0.9, np.nan], 6)
    return {
        "left": 40 * (cells // 6),
        "right": cells % 6,
        "separation": rng.choice([0.5, 1.0], cells.size),
        "unlike": rng.random(cells.size) < 0.3,
        "score": score_of[cells % 6],
    }


def by_nearness(c: dict[str, np.ndarray]) -> list[tuple]:
    keys = (c["unlike"], c["separation"], c["left"], c["right"])
    return [tuple(float(key[k]) for key in keys) for k in range(c["left"].size)]


def taken(rule: str, c: dict[str, np.ndarray]) -> list[int]:
    got = take(rule, c["left"], c["right"], c["separation"], 1.0, c["unlike"], c["score"])
    assert got.dtype == bool
    return np.flatnonzero(got).tolist()


def test_mutual_nearest_are_first_at_both_ends() -> None:
    for seed in range(60):
        c = candidates(seed)
        near = by_nearness(c)
        expected = [
            k
            for k in range(len(near))
            if all(
                near[k] <= near[other]
                for end in ("left", "right")
                for other in np.flatnonzero(c[end] == c[end][k])
            )
        ]
        assert taken("mutual-nearest", c) == expected, seed


@pytest.mark.parametrize("rounds", [0, 1, assignment_rules._ROUNDS])
def test_score_first_lets_the_surest_choose_first(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment_rules, "_ROUNDS", rounds)
    for seed in range(60):
        c = candidates(seed)
        near = by_nearness(c)
        sure = np.nan_to_num(-c["score"], nan=np.inf)
        order = sorted(range(len(near)), key=lambda k: (sure[k], c["right"][k], *near[k]))
        used: tuple[set, set] = (set(), set())
        expected = []
        for k in order:
            if c["left"][k] not in used[0] and c["right"][k] not in used[1]:
                used[0].add(c["left"][k])
                used[1].add(c["right"][k])
                expected.append(k)
        assert taken("score-first", c) == sorted(expected), seed


def test_choices_of_nothing_are_nothing() -> None:
    for choose in (mutual, greedy):
        assert choose(NONE, NONE).tolist() == []
    for rule in ("most-pairs", "mutual-nearest", "score-first"):
        nothing = take(rule, NONE, NONE, np.zeros(0), 1.0, np.zeros(0, bool), np.zeros(0))
        assert nothing.tolist() == []


def test_most_pairs_keep_like_kinds_and_the_scale() -> None:
    left, right = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    unlike = np.array([True, False, False, True])
    got = take("most-pairs", left, right, np.array([0.0, 2.0, 2.0, 0.0]), 2.0, unlike)
    assert got.tolist() == [False, True, True, False]


def test_rivals_may_be_truths_or_detections() -> None:
    pair, zero, far = np.array([0, 1]), np.array([0, 0]), np.array([1.0, 0.5])
    like = np.zeros(2, dtype=bool)
    for rule in ("most-pairs", "mutual-nearest", "score-first"):
        for left, right in ((pair, zero), (zero, pair)):
            got = take(rule, left, right, far, 1.0, like, np.array([0.5, 0.5 + 0.1 * right[1]]))
            assert got.tolist() == [False, True]


def test_rules_are_named_and_scores_are_given() -> None:
    given = (NONE, NONE, np.zeros(0), 1.0, np.zeros(0, dtype=bool))
    for unknown in ("a", "mostly", "nearest", "z"):
        with pytest.raises(BadInputError, match=f"mutual-nearest or score-first; got '{unknown}'"):
            take(unknown, *given, np.zeros(0))
    with pytest.raises(BadInputError, match="the detections' scores; got none"):
        take("score-first", *given)


# --- segments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ((10.0, 20.0), 0.0), ((13.0, 24.0), 0.0), ((16.0, 28.0), 5.0), ((4.0, 12.0), 5.0),
        ((14.0, 17.0), 5.0), ((6.0, 23.0), 5.0), ((17.0, 25.0), np.sqrt(17.0)),
    ],
)  # fmt: skip
def test_a_point_is_as_far_as_the_nearest_of_the_segment(
    point: tuple[float, float], distance: float
) -> None:
    # From (7, 16) to (13, 24): half of a 6-8-10 triangle on either side of (10, 20).
    got = point_segment_distance(*point, 10.0, 20.0, 10.0, np.arctan2(4.0, 3.0))
    assert got == pytest.approx(distance, abs=1e-12)


def test_a_segment_of_no_length_is_a_point() -> None:
    assert point_segment_distance(3.0, 4.0, 0.0, 0.0, 0.0, 1.0) == pytest.approx(5.0)
    assert segment_distance(3.0, 4.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        # Parallel, one above the other.
        ((0.0, 0.0, 8.0, 0.0), (1.0, 3.0, 20.0, 0.0), 3.0),
        # End to end: 33 points at 0, 1/4 ... 8 px beyond the end, four on average.
        ((9.0, 0.0, 8.0, 0.0), (0.0, 0.0, 10.0, 0.0), 4.0),
        # Half beyond it: 0 ... 4 px for 17 of the 33 points.
        ((5.0, 0.0, 8.0, 0.0), (0.0, 0.0, 10.0, 0.0), 17 * 2 / 33),
        # Across: |y| of 33 points from -4 to 4 px, of which 16 pairs and the centre.
        ((0.0, 0.0, 8.0, np.pi / 2), (0.0, 0.0, 10.0, 0.0), 17 * 4 / 33),
        # A piece of an oblique one.
        ((3.0, 3.0, 4.0, np.pi / 4), (0.0, 0.0, 40.0, np.pi / 4), 0.0),
        ((-3.0, 3.0, 4.0, -np.pi / 4), (0.0, 0.0, 40.0, -np.pi / 4), 0.0),
    ],
)  # fmt: skip
def test_the_shorter_segment_is_measured_from_the_longer(
    one: tuple[float, ...], other: tuple[float, ...], distance: float
) -> None:
    assert segment_distance(*one, *other) == pytest.approx(distance, abs=1e-12)
    assert segment_distance(*other, *one) == pytest.approx(distance, abs=1e-12)


def test_distances_are_those_of_each_pair_of_an_array() -> None:
    got = segment_distance([0.0, 9.0, 5.0], 0.0, 8.0, 0.0, 0.0, [3.0, 0.0, 0.0], 10.0, 0.0)
    assert got == pytest.approx([3.0, 4.0, 17 * 2 / 33])


def test_of_equal_segments_the_smaller_way_counts() -> None:
    # A bar on the axis and one that stands upright on its end: 0 ... 4 px from it; the bar's
    # points are up to 4 px from the upright one as well, but only from its foot.
    bar, upright = (0.0, 0.0, 4.0, 0.0), (3.0, 2.0, 4.0, np.pi / 2)
    there = np.hypot(np.maximum(3 - 2.0, 0), np.linspace(0, 4, 33)).mean()
    back = np.abs(3 - np.linspace(-2, 2, 33)).mean()
    for pair in ((*bar, *upright), (*upright, *bar)):
        assert segment_distance(*pair) == pytest.approx(min(there, back), abs=1e-12)
    assert abs(there - back) > 0.1


def test_angles_differ_by_a_quarter_turn_at_most() -> None:
    got = angle_difference([0.25, 3.0, -1.5, 0.0, 7.0], [0.0, 0.0, 1.5, np.pi / 2, 7.0])
    np.testing.assert_allclose(got, [0.25, np.pi - 3.0, np.pi - 3.0, np.pi / 2, 0.0], atol=1e-12)
