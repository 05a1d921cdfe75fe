"""Assignment against trying all choices, through each of its ways: by hand, dense and sparse."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.evaluation.matching import assignment
from skyduel.evaluation.matching.assignment import assign, component_labels


def best_of_all(left: np.ndarray, right: np.ndarray, cost: np.ndarray, unlike: np.ndarray) -> set:
    """Return the candidates of most pairs, then fewest unlike ones, then least total."""
    best: tuple = (0, 0, 0.0, ())

    def visit(nodes: list[int], used: frozenset, so_far: tuple) -> None:
        nonlocal best
        pairs, bad, total, taken = so_far
        if (-pairs, bad, total) < (-best[0], best[1], best[2]):
            best = so_far
        if not nodes:
            return
        visit(nodes[1:], used, so_far)
        for k in np.flatnonzero(left == nodes[0]).tolist():
            if right[k] not in used:
                more = (pairs + 1, bad + int(unlike[k]), total + float(cost[k]), (*taken, k))
                visit(nodes[1:], used | {right[k]}, more)

    visit(sorted(set(left.tolist())), frozenset(), best)
    return set(best[3])


def best_of_each(
    left: np.ndarray, right: np.ndarray, cost: np.ndarray, unlike: np.ndarray
) -> set[int]:
    """Return `best_of_all` of each of the parts of a `problem`."""
    out: set[int] = set()
    for part in np.unique(left // 10):
        at = np.flatnonzero(left // 10 == part)
        out |= {int(at[k]) for k in best_of_all(left[at], right[at], cost[at], unlike[at])}
    return out


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a few dozen candidates in components of many shapes, sorted by (left, right)."""
    rng = np.random.default_rng(seed)
    parts = []
    for c in range(6):
        n, m = rng.integers(1, 5, 2)
        i, j = np.nonzero(rng.random((n, m)) < rng.choice([0.5, 0.8, 1.0]))
        parts.append((10 * c + i, 10 * c + j))
    left, right = (np.concatenate(p) for p in zip(*parts, strict=True))
    cost = rng.uniform(0, 3, left.size)
    cost[rng.random(left.size) < 0.1] = 0.0
    return left, right, cost, rng.random(left.size) < 0.3


@pytest.mark.parametrize("way", ["by hand", "large numbers", "long", "sparse"])
def test_the_choice_is_the_best_of_all(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "long":
        monkeypatch.setattr(assignment, "_ROUNDS", 0)
    if way == "sparse":
        monkeypatch.setattr(assignment, "_DENSE_CELLS", 0)
        monkeypatch.setattr(assignment, "_CLEAR", np.inf)
    spread = 10_000 if way == "large numbers" else 1
    for seed in range(15):
        left, right, cost, unlike = problem(seed)
        for kinds in (unlike, np.zeros(left.size, dtype=bool)):
            best = best_of_each(left, right, cost, kinds)
            taken = assign(left * spread, right * spread, cost, 3.0, kinds)
            assert taken.dtype == bool
            # Where candidates of no separation allow two best choices, one is as good.
            assert len(np.unique(left[taken])) == len(np.unique(right[taken])) == taken.sum()
            assert taken.sum() == len(best)
            assert kinds[taken].sum() == kinds[list(best)].sum()
            assert cost[taken].sum() == pytest.approx(cost[list(best)].sum(), abs=1e-12)
            if (cost > 0).all():
                assert set(np.flatnonzero(taken)) == best
    plain = assign(left, right, cost, 3.0)
    np.testing.assert_array_equal(plain, assign(left, right, cost, 3.0, kinds))


def test_one_candidate_is_taken_and_of_none_none() -> None:
    one = np.array([7])
    assert assign(one, one, np.array([1.0]), 1.0).tolist() == [True]
    nothing = assign(one[:0], one[:0], np.zeros(0), 1.0)
    assert nothing.tolist() == []
    assert nothing.dtype == bool


def test_of_equal_candidates_the_first_is_taken() -> None:
    same, zero = np.ones(3), np.zeros(3, dtype=np.int64)
    assert assign(zero, np.arange(3), same, 1.0).tolist() == [True, False, False]
    assert assign(np.arange(3), zero, same, 1.0).tolist() == [True, False, False]
    one = np.array([True, False, True])
    assert assign(zero, np.arange(3), same, 1.0, one).tolist() == [False, True, False]
    # Two such, the second nearer in its last.
    left, right = np.array([0, 0, 7, 7]), np.array([0, 1, 5, 6])
    got = assign(left, right, np.array([0.5, 0.5, 0.5, 0.4]), 1.0)
    assert got.tolist() == [True, False, False, True]


def test_two_against_two_go_by_the_sum() -> None:
    left, right = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    straight, crossed = [True, False, False, True], [False, True, True, False]
    for cost, expected in (
        ([0.1, 0.5, 0.5, 0.8], straight),
        ([0.1, 0.4, 0.4, 0.8], crossed),
        ([0.4, 0.5, 0.5, 0.4], straight),
    ):
        assert assign(left, right, np.array(cost), 1.0).tolist() == expected
    # One unlike pair costs more than any distance, and one pair fewer more than two unlike ones.
    unlike = np.array([True, False, False, False])
    assert assign(left, right, np.array([0.0, 1.0, 1.0, 0.0]), 1.0, unlike).tolist() == crossed
    unlike = np.array([True, False, True])
    got = assign(left[[0, 1, 3]], right[[0, 1, 3]], np.array([1.0, 0.0, 1.0]), 1.0, unlike)
    assert got.tolist() == [True, False, True]


@pytest.mark.parametrize("cells", [4_000_000, 0])
def test_separations_count_in_units_of_the_largest(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "_DENSE_CELLS", cells)
    # A chain of three truths: either all shift by one, or the middle two are very near.
    left, right = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 2])
    chain = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    for scale in (1.0, 1e-3, 1e6):
        got = assign(left, right, scale * chain, scale)
        assert got.tolist() == [True, False, True, False, True]
        got = assign(left, right, scale * chain, scale, np.array([True, False, True, False, True]))
        assert got.tolist() == [True, False, True, False, True]


def test_components_are_labelled_in_order() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert component_labels(nothing, nothing).tolist() == []
    assert component_labels(nothing, nothing).dtype == np.int64
    assert component_labels(np.array([5]), np.array([3])).size == 1
    left, right = np.array([0, 1, 2, 2, 4]), np.array([3, 0, 3, 1, 7])
    label = component_labels(left, right)
    assert np.unique(label, return_inverse=True)[1].tolist() == [0, 1, 0, 0, 2]
