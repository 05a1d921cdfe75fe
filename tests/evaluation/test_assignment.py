"""Assignment in components of two against two, solved all at once: as the solver has it."""

import itertools

import numpy as np
import pytest

from skyduel.evaluation.matching import assignment
from skyduel.evaluation.matching.assignment import assign, component_labels
from skyduel.evaluation.matching.candidates import rank_rows


def candidates(seed: int, n: int) -> tuple[np.ndarray, ...]:
    """Components of two against two with three or four candidates, some of unlike kinds."""
    rng = np.random.default_rng(seed)
    left, right = [], []
    for c in range(n):
        cells = list(itertools.product((0, 1), (0, 1)))
        if c % 3:
            cells.pop(int(rng.integers(4)))
        left += [2 * c + i for i, _ in cells]
        right += [2 * c + j for _, j in cells]
    separation = rng.uniform(0, 2, len(left))
    # Some ties, which the solver settles.
    separation[::7] = 1.0
    separation[1::7] = 1.0
    return np.array(left), np.array(right), separation, rng.random(len(left)) < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_twos_are_assigned_as_the_solver_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, separation, unlike = candidates(seed, 300)
    equal = np.arange(len(left)) < 400
    separation[equal] = np.where(separation[equal] < 1, 0.5, 1.0)
    fast = [assign(left, right, separation, 2.0, kinds) for kinds in (None, unlike)]

    def unclear(component: np.ndarray, *rest: object) -> tuple[np.ndarray, np.ndarray]:
        n = int(component.max()) + 1
        return np.zeros(n, dtype=bool), np.zeros(component.size, dtype=bool)

    monkeypatch.setattr(assignment, "_solve_twos", unclear)
    slow = [assign(left, right, separation, 2.0, kinds) for kinds in (None, unlike)]
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.any()


def test_numbers_of_nodes_may_be_anything() -> None:
    left, right, separation, unlike = candidates(9, 50)
    plain = assign(left, right, separation, 2.0, unlike)
    apart = assign(left * 1_000_000, right * 3_000_017, separation, 2.0, unlike)
    np.testing.assert_array_equal(plain, apart)


def test_ranks_of_ties_go_by_the_other_keys_and_then_by_row() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 40, (2, 5000)).astype(float)
    expected = np.empty(5000, dtype=np.int64)
    expected[np.lexsort([keys[1], keys[0]])] = np.arange(5000)  # a stable sort
    np.testing.assert_array_equal(rank_rows(*keys), expected)
    np.testing.assert_array_equal(rank_rows(np.zeros(50)), np.arange(50))


@pytest.mark.parametrize("seed", range(6))
def test_components_are_those_of_scipy_in_the_same_order(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    n = (3, 30, 300)[seed % 3]
    left = np.sort(rng.integers(0, n, n))
    right = np.maximum(left + rng.integers(-1, 2, n) * (rng.random(n) < 0.3), 0)
    if seed > 2:  # one long chain, which takes more rounds than there are
        left, right = np.arange(2 * n) // 2, (np.arange(2 * n) + 1) // 2
    fast = component_labels(left, right)
    monkeypatch.setattr(assignment, "_ROUNDS", 0)
    known = component_labels(left, right)
    assert fast.dtype == known.dtype == np.int64
    assert np.array_equal(*(np.unique(one, return_inverse=True)[1] for one in (fast, known)))
    assert np.array_equal(np.argsort(fast, kind="stable"), np.argsort(known, kind="stable"))
