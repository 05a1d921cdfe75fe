"""Exact assignment of candidate pairs: most pairs, then the smallest total distance.

The module works on a list of candidate pairs (the edges of a bipartite graph). It does not
use catalogues.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

__all__ = ["assign", "component_labels"]

#: Nodes with numbers larger than this many times the candidates are sorted, not counted.
_SPARSE: Final = 64
#: Totals of two choices that differ by less are compared by the solver. Larger than any rounding.
_CLEAR: Final = 1e-9

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Longer components are found by scipy, which takes ten times as long to begin.
_ROUNDS: Final = 12

#: Above this many cells a component is solved sparse, so that memory stays
#: proportional to its candidates.
_DENSE_CELLS: Final = 4_000_000


def assign(
    left: Ints,
    right: Ints,
    separation: Floats,
    scale: float,
    unlike: Bools | None = None,
) -> Bools:
    """Return a mask of the candidate pairs that are assigned, bool of shape (m,).

    Each node is used at most once. Of all such choices the one taken has,
    inside every connected component, the most pairs; among those the fewest
    ``unlike`` pairs; among those the least total separation.

    Parameters
    ----------
    left, right : ndarray of int64, shape (m,)
        The two nodes of each candidate; non-negative, at most one candidate
        for any two nodes.
    separation : ndarray of float64, shape (m,)
        Distance of each candidate, between 0 and ``scale``.
    scale : float
        The largest separation a candidate may have, in the same unit.
    unlike : ndarray of bool, shape (m,), optional
        Candidates to be taken only where that gains a pair.

    Notes
    -----
    Ties are settled only by the numbering of the nodes. Pass candidates sorted by
    (left, right), and numbers that do not depend on the order of rows, for an answer that
    does not depend on it either.

    A pair of nodes that is no candidate costs more than any full set of
    candidates can, counted in units of ``scale``: in a component of at most
    ``m`` pairs, ``m + 1`` instead of at most 1. So cardinality comes first
    while double precision keeps the distances, which a penalty such as 1e20
    would lose.
    """
    n = left.size
    taken = np.zeros(n, dtype=bool)
    if n == 0:
        return taken
    left, right = _dense(left), _dense(right)
    cost = separation / scale
    mixed = np.zeros(n, dtype=bool) if unlike is None else unlike

    alone = (np.bincount(left)[left] == 1) & (np.bincount(right)[right] == 1)
    taken[alone] = True
    rest = np.flatnonzero(~alone)
    if rest.size:
        taken[rest[_assign_connected(left[rest], right[rest], cost[rest], mixed[rest])]] = True
    return taken


def _dense(nodes: Ints) -> Ints:
    """Return the place of each node among those that appear, int64 of shape (m,)."""
    highest = int(nodes.max())
    if highest > _SPARSE * nodes.size:
        return np.unique(nodes, return_inverse=True)[1].astype(np.int64, copy=False)
    appears = np.zeros(highest + 1, dtype=bool)
    appears[nodes] = True
    return np.asarray((np.cumsum(appears) - 1)[nodes])


def component_labels(left: Ints, right: Ints) -> Ints:
    """Return the connected component of each candidate, int64 of shape (m,).

    Components have increasing numbers in the order of their smallest left node.
    """
    if left.size == 0:
        return np.zeros(0, dtype=np.int64)
    n_left, n_right = int(left.max()) + 1, int(right.max()) + 1
    # Each node takes the smallest left node of its neighbours, as often as components are long.
    smallest = np.arange(n_left)
    for _ in range(_ROUNDS):
        of_right = np.full(n_right, n_left)
        np.minimum.at(of_right, right, smallest[left])
        now = smallest.copy()
        np.minimum.at(now, left, of_right[right])
        if np.array_equal(now, smallest):
            return smallest[left]
        smallest = now
    n = n_left + n_right
    graph = coo_array((np.ones(left.size, dtype=np.int8), (left, right + n_left)), shape=(n, n))
    labels = connected_components(graph.tocsr(), directed=False)[1]
    return np.asarray(labels[left], dtype=np.int64)


def _local(nodes: Ints, label: Ints) -> tuple[Ints, Ints]:
    """Return each node's number within its component, and the nodes per component.

    ``label`` is sorted, 0 ... n_components - 1.
    """
    nodes = _dense(nodes)
    label_of = np.empty(int(nodes.max()) + 1, dtype=np.int64)
    label_of[nodes] = label
    order = np.argsort(label_of, kind="stable")
    sizes = np.bincount(label_of)
    local = np.empty_like(order)
    local[order] = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return local[nodes], sizes


def _assign_connected(left: Ints, right: Ints, cost: Floats, unlike: Bools) -> Ints:
    """Return the positions of the taken candidates; no component is a lone pair."""
    label = component_labels(left, right)
    label = _dense(label)
    order = np.argsort(label, kind="stable")
    left, right, label = left[order], right[order], label[order]
    cost, unlike = cost[order], unlike[order]
    row, n_rows = _local(left, label)
    column, n_columns = _local(right, label)
    n_edges = np.bincount(label)
    first = np.concatenate([[0], np.cumsum(n_edges)])

    chosen: list[Ints] = []
    star = np.minimum(n_rows, n_columns) == 1
    if star.any():
        # One node against several: the best candidate is the pair.
        at = np.flatnonzero(star[label])
        best = at[np.lexsort((at, cost[at], unlike[at], label[at]))]
        heads = np.concatenate([[True], np.diff(label[best]) != 0])
        chosen.append(best[heads])
    small = ~star & (n_rows == 2) & (n_columns == 2)
    if small.any():
        at = np.flatnonzero(small[label])
        clear, taken = _solve_twos(
            _dense(label[at]), row[at], column[at], cost[at], unlike[at], int(small.sum())
        )
        chosen.append(at[taken])
        small[np.flatnonzero(small)[~clear]] = False
    for c in np.flatnonzero(~star & ~small):
        a, b = int(first[c]), int(first[c + 1])
        shape = (int(n_rows[c]), int(n_columns[c]))
        solve = _solve_dense if shape[0] * shape[1] <= _DENSE_CELLS else _solve_sparse
        chosen.append(a + solve(row[a:b], column[a:b], cost[a:b], unlike[a:b], shape))
    return order[np.concatenate(chosen)]


def _solve_twos(
    component: Ints, row: Ints, column: Ints, cost: Floats, unlike: Bools, n: int
) -> tuple[Bools, Bools]:
    """Solve n components of two nodes against two, all at once.

    Returns
    -------
    clear : ndarray of bool, shape (n,)
        Components in which one of the two choices is clearly the better one.
    taken : ndarray of bool, shape (m,)
        Candidates that are taken in these; none of the others.
    """
    plain = np.full((n, 2, 2), 12.0)  # the costs of `_layered` for two pairs
    plain[component, row, column] = cost + 3.0 * unlike
    straight, crossed = plain[:, 0, 0] + plain[:, 1, 1], plain[:, 0, 1] + plain[:, 1, 0]
    clear = np.abs(straight - crossed) > _CLEAR
    return clear, clear[component] & ((row == column) == (straight < crossed)[component])


def _layered(cost: Floats, unlike: Bools, most: int) -> tuple[Floats, float]:
    """Return the candidates' costs and that of no pair, so that layers never mix."""
    if not unlike.any():
        return cost, most + 1.0
    step = most + 1.0
    return cost + step * unlike, step * (most + 1.0) + step


def _solve_dense(
    row: Ints, column: Ints, cost: Floats, unlike: Bools, shape: tuple[int, int]
) -> Ints:
    weight, no_pair = _layered(cost, unlike, min(shape))
    matrix = np.full(shape, no_pair)
    matrix[row, column] = weight
    rows, columns = linear_sum_assignment(matrix)
    match = np.full(shape[0], -1, dtype=np.int64)
    match[rows] = columns
    return np.flatnonzero(match[row] == column)


def _solve_sparse(
    row: Ints, column: Ints, cost: Floats, unlike: Bools, shape: tuple[int, int]
) -> Ints:
    """Solve with one stand-in column for each row, meaning that it stays unpaired."""
    weight, no_pair = _layered(cost, unlike, min(shape))
    rows = np.arange(shape[0])
    # The solver takes an explicit zero for no candidate; a constant on every
    # choice of a row changes nothing else.
    values = np.concatenate([weight, np.full(shape[0], no_pair)]) + 1.0
    graph = csr_array(
        (values, (np.concatenate([row, rows]), np.concatenate([column, shape[1] + rows]))),
        shape=(shape[0], shape[1] + shape[0]),
    )
    # scipy 1.13 takes no others.
    graph.indices, graph.indptr = (k.astype(np.int32) for k in (graph.indices, graph.indptr))
    match_rows, match_columns = min_weight_full_bipartite_matching(graph)
    match = np.full(shape[0], -1, dtype=np.int64)
    match[match_rows] = match_columns
    return np.flatnonzero(match[row] == column)
