"""Alternative matching rules by name, for comparison with other tools.

All of them choose among the same candidates, use every node at most once, and
work in each connected component by itself, so that a sweep of the threshold
is as exact with them as with the project's own rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError
from skyduel.evaluation.matching.assignment import assign

__all__ = ["greedy", "mutual", "take"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Rounds done on whole arrays before the remaining candidates are walked one
#: by one: a long chain of rivals gives way one link a round.
_ROUNDS: Final = 30


def take(
    rule: str,
    left: Ints,
    right: Ints,
    separation: Floats,
    scale: float,
    unlike: Bools,
    score: Floats | None = None,
) -> Bools:
    """Return a mask of the candidate pairs that a rule takes, bool of shape (m,).

    Parameters
    ----------
    rule : str
        ``most-pairs``: `skyduel.evaluation.matching.assignment.assign`. ``mutual-nearest``:
        each is the other's nearest candidate. ``score-first``: detections in
        descending order of score each take the nearest truth still free.
        *Nearest* puts like kinds before unlike ones, then the smaller
        separation, then the lower number.
    left, right : ndarray of int64, shape (m,)
        Truth and detection of each candidate, numbered independently of row
        order; at most one candidate for any two.
    separation : ndarray of float64, shape (m,)
        Distance of each candidate.
    scale : float
        The largest separation a candidate may have.
    unlike : ndarray of bool, shape (m,)
        Truth and detection are of different kinds.
    score : ndarray of float64, shape (m,), optional
        Of each candidate's detection; needed by ``score-first``. NaN comes
        last, equal scores go by the detections' numbers.

    Raises
    ------
    BadInputError
        If the rule is unknown, or needs scores and has none.
    """
    if rule == "most-pairs":
        return assign(left, right, separation, scale, unlike)
    if rule == "mutual-nearest":
        return _in_order(mutual, left, right, np.lexsort((right, left, separation, unlike)))
    if rule == "score-first":
        if score is None:
            raise BadInputError("score-first pairing", "the detections' scores", "none")
        falling = np.where(np.isnan(score), np.inf, -score)
        return _in_order(
            greedy, left, right, np.lexsort((left, separation, unlike, right, falling))
        )
    raise BadInputError("pairing", "most-pairs, mutual-nearest or score-first", repr(rule))


def mutual(left: Ints, right: Ints) -> Bools:
    """Return a mask of the candidates that are first at both nodes, bool of shape (m,).

    The candidates come in order of preference.
    """
    return _first(left) & _first(right)


def greedy(left: Ints, right: Ints) -> Bools:
    """Return a mask of the candidates taken in order while both nodes are free.

    Parameters
    ----------
    left, right : ndarray of int64, shape (m,)
        The nodes of each candidate, in order of preference; non-negative.

    Notes
    -----
    A candidate that is the first at both its nodes is always taken. So all such candidates
    are taken at once, their rivals are dropped, and the rest is checked again.
    """
    taken = np.zeros(left.size, dtype=bool)
    rest = np.arange(left.size)
    busy_left = np.zeros(int(left.max(initial=-1)) + 1, dtype=bool)
    busy_right = np.zeros(int(right.max(initial=-1)) + 1, dtype=bool)
    for _ in range(_ROUNDS):
        if rest.size == 0:
            return taken
        now = rest[mutual(left[rest], right[rest])]
        taken[now] = True
        busy_left[left[now]] = True
        busy_right[right[now]] = True
        rest = rest[~busy_left[left[rest]] & ~busy_right[right[rest]]]
    for k in rest.tolist():
        if not (busy_left[left[k]] or busy_right[right[k]]):
            taken[k] = busy_left[left[k]] = busy_right[right[k]] = True
    return taken


def _in_order(choose: Callable[[Ints, Ints], Bools], left: Ints, right: Ints, order: Ints) -> Bools:
    """Return a choice made on the candidates in the given order, in their own order."""
    # Dense numbers, so that arrays over nodes are no longer than the candidates.
    left = np.unique(left, return_inverse=True)[1].astype(np.int64, copy=False)
    right = np.unique(right, return_inverse=True)[1].astype(np.int64, copy=False)
    taken = np.zeros(left.size, dtype=bool)
    taken[order] = choose(left[order], right[order])
    return taken


def _first(node: Ints) -> Bools:
    """Return a mask of the first appearance of each node, bool of shape (m,)."""
    at = np.arange(node.size)
    first = np.empty(int(node.max(initial=-1)) + 1, dtype=np.int64)
    first[node[::-1]] = at[::-1]  # of repeated indices the last one written stays
    return np.asarray(first[node] == at)
