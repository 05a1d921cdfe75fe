"""Compare the pairing with a brute-force oracle, and test its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from skyduel.core import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation.matching import assignment
from skyduel.evaluation.matching.assignment import assign
from skyduel.evaluation.matching.candidates import rank_rows
from skyduel.evaluation.matching.matching import pair, rows_at

many = settings(deadline=None, max_examples=100)


def brute_force(edges: list[tuple[int, int, float, bool]]) -> tuple[int, int, float]:
    """Return pairs, unlike pairs and total separation of the best choice, by trying all."""
    best = (0, 0, 0.0)

    def visit(at: int, left: frozenset[int], right: frozenset[int], so_far: tuple) -> None:
        nonlocal best
        if (-so_far[0], so_far[1], so_far[2]) < (-best[0], best[1], best[2]):
            best = so_far
        for k in range(at, len(edges)):
            i, j, d, unlike = edges[k]
            if i not in left and j not in right:
                pairs, bad, total = so_far
                visit(k + 1, left | {i}, right | {j}, (pairs + 1, bad + unlike, total + d))

    visit(0, frozenset(), frozenset(), best)
    return best


@st.composite
def fields(draw: st.DrawFn, *, lattice: bool = False) -> tuple[np.ndarray, np.ndarray, float]:
    """Two lopsided sets of positions, crowded enough to compete, and a radius."""
    n, m = draw(st.integers(0, 6)), draw(st.integers(0, 5))
    if lattice:  # ties, coincident sources, separations exactly on the gate
        xy = st.tuples(st.integers(0, 4), st.integers(0, 2))
        a = draw(st.lists(xy, min_size=n, max_size=n))
        b = draw(st.lists(xy, min_size=m, max_size=m))
        return np.array(a, float).reshape(n, 2), np.array(b, float).reshape(m, 2), 2.0
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = np.array([7.0, 3.0])
    return rng.random((n, 2)) * size, rng.random((m, 2)) * size, draw(st.sampled_from([0.7, 2.0]))


def edges_of(a: np.ndarray, b: np.ndarray, r: float) -> list[tuple[int, int, float, bool]]:
    d = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1))
    return [(i, j, float(d[i, j]), False) for i, j in np.argwhere(d <= r).tolist()]


def places(a: np.ndarray, b: np.ndarray, pairs) -> list[tuple[float, ...]]:
    return sorted((*a[i], *b[j]) for i, j in zip(pairs.truth_index, pairs.found_index, strict=True))


@pytest.mark.parametrize("lattice", [False, True])
def test_agrees_with_brute_force(lattice: bool) -> None:
    @many
    @given(fields(lattice=lattice))
    def check(case) -> None:
        a, b, r = case
        pairs = pair(a, b, r)
        n, _, total = brute_force(edges_of(a, b, r))
        assert len(pairs) == n
        assert pairs.separation.sum() == pytest.approx(total, abs=1e-12)
        assert len(set(pairs.truth_index)) == len(set(pairs.found_index)) == n
        i, j = pairs.truth_index, pairs.found_index
        np.testing.assert_array_equal(np.hypot(*(a[i] - b[j]).T), pairs.separation)
        assert (pairs.separation <= r).all()

    check()


@pytest.mark.parametrize("lattice", [False, True])
def test_row_order_changes_nothing_even_with_ties(lattice: bool) -> None:
    @many
    @given(fields(lattice=lattice), st.randoms(use_true_random=False))
    def check(case, random) -> None:
        a, b, r = case
        p = np.array(random.sample(range(len(a)), len(a)), dtype=int)
        q = np.array(random.sample(range(len(b)), len(b)), dtype=int)
        assert places(a[p], b[q], pair(a[p], b[q], r)) == places(a, b, pair(a, b, r))

    check()


@many
@given(fields(), st.floats(0, 2 * np.pi), st.floats(-500, 500))
def test_a_common_shift_and_rotation_change_nothing(case, angle: float, shift: float) -> None:
    a, b, r = case
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before = pair(a, b, r)
    after = pair(a @ turn + [shift, 3.0], b @ turn + [shift, 3.0], r)
    np.testing.assert_array_equal(before.truth_index, after.truth_index)
    np.testing.assert_array_equal(before.found_index, after.found_index)


@many
@given(fields())
def test_the_roles_may_be_swapped(case) -> None:
    a, b, r = case
    there, back = pair(a, b, r), pair(b, a, r)
    assert places(a, b, there) == sorted((*t[2:], *t[:2]) for t in places(b, a, back))


@many
@given(fields(lattice=True), st.floats(0.1, 3), st.floats(1, 3))
def test_a_wider_radius_never_pairs_fewer(case, radius: float, factor: float) -> None:
    a, b, _ = case
    assert len(pair(a, b, radius)) <= len(pair(a, b, radius * factor))


def test_the_gate_is_inclusive_and_no_wider() -> None:
    assert len(pair([[10.0, 20.0]], [[13.0, 24.0]], 5.0)) == 1
    assert len(pair([[10.0, 20.0]], [[13.0, 24.0]], np.nextafter(5.0, 0))) == 0


def test_most_pairs_come_before_the_closest_pair() -> None:
    # The middle detection is nearest to the first truth, but then the second has none.
    truth = np.array([[0.0, 7.0], [2.0, 7.0]])
    found = np.array([[0.9, 7.0], [-1.9, 7.0]])
    pairs = pair(truth, found, 2.0)
    assert dict(zip(pairs.truth_index, pairs.found_index, strict=True)) == {0: 1, 1: 0}


def linear_programme(a: np.ndarray, b: np.ndarray, r: float) -> tuple[int, float]:
    """Return the most pairs and then the least total separation, by linear programming.

    The vertices of the assignment polytope are whole, so no rounding is needed.
    """
    i, j, d, _ = (np.array(v) for v in zip(*edges_of(a, b, r), strict=True))
    edge = np.arange(d.size)
    once = csr_array(
        (np.ones(2 * d.size), (np.concatenate([i, len(a) + j]), np.concatenate([edge, edge])))
    )
    room = np.ones(once.shape[0])
    most = round(-linprog(-np.ones(d.size), A_ub=once, b_ub=room).fun)
    best = linprog(d, A_ub=once, b_ub=room, A_eq=np.ones((1, d.size)), b_eq=[most])
    return most, float(best.fun)


def test_a_large_component_is_solved_as_well_as_a_linear_programme() -> None:
    rng = np.random.default_rng(11)
    a, b = rng.random((260, 2)) * [24, 12], rng.random((300, 2)) * [24, 12]
    pairs = pair(a, b, 1.3)
    most, total = linear_programme(a, b, 1.3)
    assert len(pairs) == most
    assert pairs.separation.sum() == pytest.approx(total, abs=1e-7)


def test_dense_and_sparse_solvers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((300, 2)) * [30, 12], rng.random((240, 2)) * [30, 12]
    dense = pair(a, b, 1.7)
    monkeypatch.setattr(assignment, "_DENSE_CELLS", 0)
    sparse = pair(a, b, 1.7)
    np.testing.assert_array_equal(dense.truth_index, sparse.truth_index)
    np.testing.assert_array_equal(dense.found_index, sparse.found_index)


@many
@given(st.integers(0, 2**32 - 1))
def test_unlike_kinds_are_a_middle_layer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = np.argwhere(rng.random((5, 4)) < 0.5)
    d, unlike = rng.random(len(grid)), rng.random(len(grid)) < 0.5
    taken = assign(grid[:, 0], grid[:, 1], d, 1.0, unlike)
    n, bad, total = brute_force(
        [(int(i), int(j), float(s), bool(u)) for (i, j), s, u in zip(grid, d, unlike, strict=True)]
    )
    assert (taken.sum(), unlike[taken].sum()) == (n, bad)
    assert d[taken].sum() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (4, 0)])
def test_nothing_to_pair_is_no_pairs(n: int, m: int) -> None:
    pairs = pair(np.zeros((n, 2)), np.ones((m, 2)), 5.0)
    assert len(pairs) == 0
    assert pairs.truth_index.dtype == np.int64
    assert pairs.separation.dtype == np.float64


@pytest.mark.parametrize(
    ("truth", "found", "radius", "says"),
    [
        (np.zeros((3, 3)), np.zeros((2, 2)), 1.0, r"truth positions: required shape \(n, 2\)"),
        (np.zeros((3, 2)), [[0.0, np.nan]], 1.0, r"found positions: .*nan\] in row 0"),
        (np.zeros((3, 2)), np.zeros((2, 2)), 0.0, "radius > 0; got 0.0"),
        (np.zeros((3, 2)), np.zeros((2, 2)), np.inf, "finite radius"),
    ],
)
def test_unusable_input_is_refused(truth, found, radius: float, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        pair(truth, found, radius)


@many
@given(st.integers(0, 2**32 - 1))
def test_rows_are_numbered_by_the_keys_in_turn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(-2, 3, (3, int(rng.integers(0, 20)))).astype(float)
    keys[2, rng.random(keys.shape[1]) < 0.2] = np.nan
    rank = rank_rows(*keys)
    np.testing.assert_array_equal(np.argsort(rank), np.lexsort(keys[::-1]))


def test_rows_at_a_threshold() -> None:
    found = Catalog.build(x=[1.0, 2.0, 3.0], y=[1.0, 2.0, 3.0], score=[0.5, 0.4, np.nan])
    assert rows_at(found, 0.5).tolist() == [True, False, False]
    for every in (None, -np.inf):
        assert rows_at(found, every).tolist() == [True, True, True]
    with pytest.raises(BadInputError, match="a score, or None for every row; got NaN"):
        rows_at(found, np.nan)
