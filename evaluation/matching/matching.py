"""Exact matching of detections with the truth: gate, then assign.

The rule, for sources by position (`pair`) and for whole catalogues with
streaks and ignored truths (`pair_catalogs`):

1. *Gate.* A truth and a detection are candidates if they are no farther apart
   than the radius (inclusive).
2. *Assign.* In each connected component of the candidates the most pairs are
   made, and among those choices the one of least total separation. Each truth
   and each detection is used at most once. Other rules can be chosen by name
   (`skyduel.evaluation.matching.assignment_rules`).
3. *Ignored truths last.* They are paired among the detections still free;
   such a detection counts neither way.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, as_numbers, as_positions, takes
from skyduel.evaluation.matching.assignment_rules import take
from skyduel.evaluation.matching.candidates import (
    Candidates,
    check_radius,
    find_candidates,
    rank_rows,
    within,
)
from skyduel.evaluation.rules import PairingRule, ScoringRules

if TYPE_CHECKING:  # `skyduel watch` pairs sources without pandas
    import pandas as pd

__all__ = [
    "Pairing",
    "Pairs",
    "pair",
    "pair_candidates",
    "pair_catalogs",
    "pair_edges",
    "resolve",
    "rows_at",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pairs:
    """One-to-one pairs, in order of ``truth_index``.

    Parameters
    ----------
    truth_index, found_index : ndarray of int64, shape (n,)
        Rows of the two catalogues; each row at most once.
    separation : ndarray of float64, shape (n,)
        Their distance [px, or arcsec on the sky].
    """

    truth_index: Ints
    found_index: Ints
    separation: Floats

    def __len__(self) -> int:
        return int(self.truth_index.size)


@takes(radius_px=Real, rule=str)
def pair(
    truth_xy: npt.ArrayLike,
    found_xy: npt.ArrayLike,
    radius_px: float,
    *,
    rule: PairingRule = "most-pairs",
    score: npt.ArrayLike | None = None,
) -> Pairs:
    """Return the pairs of two sets of positions.

    Most pairs first, then the least total separation, inside every connected
    component of the candidates no farther apart than ``radius_px``; or what
    another rule takes of the candidates.

    Parameters
    ----------
    truth_xy, found_xy : array_like, shape (n_truth, 2) and (n_found, 2)
        Positions x, y [px] in one frame of reference. No rows are legal.
    radius_px : float
        Largest distance of a pair [px], inclusive; > 0.
    rule : {"most-pairs", "mutual-nearest", "score-first"}
        See `skyduel.evaluation.matching.assignment_rules.take`.
    score : array_like, shape (n_found,), optional
        Scores of the detections, for ``score-first``.

    Raises
    ------
    BadInputError
        If a shape is wrong, a position is not finite, the radius is not
        positive and finite, or the rule needs scores and has none.

    Notes
    -----
    Where several choices have the same total, the one taken depends on the
    positions alone (sources are numbered by x, then y), not on the order of
    rows; only sources at exactly the same position are told apart by row.
    """
    truth = as_positions("truth positions", truth_xy)
    found = as_positions("found positions", found_xy)
    radius = check_radius(radius_px)
    i, j, separation = within(truth, found, radius)
    return pair_edges(truth, found, (i, j, separation), radius, rule=rule, score=score)


def pair_edges(
    truth: Floats,
    found: Floats,
    edges: tuple[Ints, Ints, Floats],
    radius: float,
    *,
    rule: PairingRule = "most-pairs",
    score: npt.ArrayLike | None = None,
) -> Pairs:
    """Return the pairs among given candidates, numbered by the columns of both positions.

    Parameters
    ----------
    truth, found : ndarray of float64, shape (n, k)
        Positions; ties are settled by their order, column by column.
    edges : tuple of ndarray
        Rows of the truths and of the detections, and their separations.
    radius : float
        The largest separation, in the same unit.
    rule, score
        As in `pair`.
    """
    i, j, separation = edges
    truth_rank, found_rank = rank_rows(*truth.T), rank_rows(*found.T)
    order = np.lexsort((found_rank[j], truth_rank[i]))
    i, j, separation = i[order], j[order], separation[order]
    scores = None if score is None else _scores(score, len(found))[j]
    like = np.zeros(i.size, dtype=bool)
    taken = take(rule, truth_rank[i], found_rank[j], separation, radius, like, scores)
    return _pairs(i[taken], j[taken], separation[taken])


@dataclass(frozen=True, eq=False)
class Pairing:
    """Outcome of every truth and every detection of one frame.

    Parameters
    ----------
    pairs : Pairs
        Truths found, and the detections that are right.
    ignored_pairs : Pairs
        Ignored truths and the detections they excuse.
    truth_ignored : ndarray of bool, shape (n_truth,)
        Truths that count neither as found nor as missed.
    found_ignored : ndarray of bool, shape (n_found,)
        Detections that count neither as right nor as false.
    duplicate : ndarray of bool, shape (n_found,)
        False detections that are candidates of a counted truth, which another
        detection has: second detections of a source, fragments of a streak.
    used : ndarray of bool, shape (n_found,)
        Detections that took part; the others lie below the score threshold.
    unit : str
        Of the separations: ``px``, or ``arcsec`` on the sky.
    """

    pairs: Pairs
    ignored_pairs: Pairs
    truth_ignored: Bools
    found_ignored: Bools
    duplicate: Bools
    used: Bools
    unit: str = "px"

    @property
    def truth_found(self) -> Bools:
        """Which truths are found, shape (n_truth,)."""
        out = np.zeros(self.truth_ignored.size, dtype=bool)
        out[self.pairs.truth_index] = True
        return out

    @property
    def truth_missed(self) -> Bools:
        """Which truths are missed, shape (n_truth,)."""
        return ~self.truth_found & ~self.truth_ignored

    @property
    def right(self) -> Bools:
        """Which detections are right, shape (n_found,)."""
        out = np.zeros(self.used.size, dtype=bool)
        out[self.pairs.found_index] = True
        return out

    @property
    def false(self) -> Bools:
        """Which detections are false, shape (n_found,)."""
        return self.used & ~self.right & ~self.found_ignored

    def to_table(self) -> pd.DataFrame:
        """Return one row per truth and per unpaired detection.

        Columns ``truth_index``, ``found_index`` (-1 where there is none),
        ``separation_px`` (``separation_arcsec`` on the sky) and ``outcome``
        (`OUTCOMES`). Truths come first, in their order.
        """
        n = self.truth_ignored.size
        partner = np.full(n, -1, dtype=np.int64)
        separation = np.full(n, np.nan)
        outcome = np.where(self.truth_ignored, "ignored", "missed").astype(object)
        outcome[self.pairs.truth_index] = "found"
        for pairs in (self.pairs, self.ignored_pairs):
            partner[pairs.truth_index] = pairs.found_index
            separation[pairs.truth_index] = pairs.separation
        single = self.used.copy()
        single[partner[partner >= 0]] = False
        rest = np.flatnonzero(single)
        import pandas as pd

        return pd.DataFrame(
            {
                "truth_index": np.concatenate([np.arange(n), np.full(rest.size, -1)]),
                "found_index": np.concatenate([partner, rest]),
                f"separation_{self.unit}": np.concatenate([separation, np.full(rest.size, np.nan)]),
                "outcome": np.concatenate(
                    [outcome, np.where(self.found_ignored[rest], "ignored", "false").astype(object)]
                ),
            }
        )


@takes(truth=Catalog, found=Catalog, rules=ScoringRules, fwhm=Real, threshold=Real)
def pair_catalogs(
    truth: Catalog,
    found: Catalog,
    rules: ScoringRules,
    *,
    fwhm: float | None = None,
    threshold: float | None = None,
) -> Pairing:
    """Match two catalogues and return the outcome of every truth and detection.

    Parameters
    ----------
    truth : Catalog
        The truth; its column ``ignore``, where present, marks what counts
        neither way (see `skyduel.evaluation.rules.apply_ignore`).
    found : Catalog
        The detections; its column ``ignore``, where present, marks those that
        count neither way *unless paired* (see
        `skyduel.evaluation.rules.mark_ignored_regions`).
    rules : ScoringRules
        Radius, angle and whether kinds must agree.
    fwhm : float, optional
        Of the frame [px]; needed if the radius is given in units of it.
    threshold : float, optional
        Only detections with ``score >= threshold`` take part; all of them
        without it (`rows_at`).

    Notes
    -----
    Distances are those of `find_candidates`. Among the choices with the most
    pairs those with the fewest pairs of unlike kinds come first, then the
    least total separation. Ignored truths are paired last and one to one,
    except that an ignored streak excuses every free detection that lies on it.
    """
    candidates = find_candidates(truth, found, rules, fwhm=fwhm)
    return pair_candidates(candidates, rows_at(found, threshold))


def rows_at(found: Catalog, threshold: float | None) -> Bools:
    """Return a mask of the detections with ``score >= threshold``, shape (n_found,).

    None and minus infinity keep every row, also those whose score is NaN.
    """
    if threshold is None or threshold == -np.inf:
        return np.ones(len(found), dtype=bool)
    if np.isnan(threshold):
        raise BadInputError("threshold", "a score, or None for every row", "NaN")
    return np.asarray(found["score"] >= threshold)


def pair_candidates(candidates: Candidates, used: Bools) -> Pairing:
    """Return the pairing of the detections in ``used``, bool of shape (n_found,)."""
    c = candidates
    # Of all candidates no copies are made.
    at = slice(None) if used.all() else np.flatnonzero(used[c.found_index])
    i, j = c.truth_index[at], c.found_index[at]
    counted, ignored, absorbed = resolve(
        left=c.truth_rank[at],
        right=c.found_rank[at],
        separation=c.compared(at),
        unlike=c.unlike[at],
        ignored=c.truth_ignore[i],
        streak=c.truth_streak[i],
        radius_px=c.radius_px,
        rule=c.rule,
        score=None if c.found_score is None else c.found_score[j],
    )
    right = np.zeros(c.n_found, dtype=bool)
    right[j[counted]] = True
    found_ignored = used & c.found_ignore & ~right
    found_ignored[j[ignored | absorbed]] = True
    duplicate = np.zeros(c.n_found, dtype=bool)
    duplicate[j[~c.truth_ignore[i]]] = True
    duplicate &= ~right & ~found_ignored
    return Pairing(
        pairs=_pairs(i[counted], j[counted], c.separation[at][counted]),
        ignored_pairs=_pairs(i[ignored], j[ignored], c.separation[at][ignored]),
        truth_ignored=c.truth_ignore,
        found_ignored=found_ignored,
        duplicate=duplicate,
        used=np.asarray(used, dtype=bool),
        unit=c.unit,
    )


def resolve(
    *,
    left: Ints,
    right: Ints,
    separation: Floats,
    unlike: Bools,
    ignored: Bools,
    streak: Bools,
    radius_px: float,
    rule: str = "most-pairs",
    score: Floats | None = None,
) -> tuple[Bools, Bools, Bools]:
    """Choose the pairs among candidates: counted truths first, then ignored ones.

    Parameters
    ----------
    left, right : ndarray of int64, shape (m,)
        Number of each candidate's truth and detection.
    separation : ndarray of float64, shape (m,)
        Distance of each candidate [px], or in the unit of ``radius_px``.
    unlike : ndarray of bool, shape (m,)
        Candidates of different kinds.
    ignored, streak : ndarray of bool, shape (m,)
        Candidates whose truth is ignored, and whose truth is a streak.
    radius_px : float
        The largest separation.
    rule : str
        A `PairingRule`.
    score : ndarray of float64, shape (m,), optional
        Score of each candidate's detection, for ``score-first``.

    Returns
    -------
    counted, ignored, absorbed : ndarray of bool, shape (m,)
        The pairs with truths that count; the pairs of ignored truths with the detections that
        are still free; and the candidates that join a free detection to an ignored streak,
        which another detection may have.
    """
    n = left.size
    taken = np.zeros(n, dtype=bool)
    last = np.zeros(n, dtype=bool)

    def pick(at: Ints | slice) -> Bools:
        scores = None if score is None else score[at]
        return take(rule, left[at], right[at], separation[at], radius_px, unlike[at], scores)

    if not ignored.any():
        return pick(slice(None)), last, last.copy()
    first = np.flatnonzero(~ignored)
    taken[first] = pick(first)
    free = ignored & ~np.isin(right, right[taken])
    rest = np.flatnonzero(free)
    last[rest] = pick(rest)
    absorbed = free & streak & ~np.isin(right, right[last])
    return taken, last, absorbed


def _pairs(i: Ints, j: Ints, separation: Floats) -> Pairs:
    order = np.argsort(i, kind="stable")
    return Pairs(i[order], j[order], separation[order])


def _scores(score: npt.ArrayLike, n: int) -> Floats:
    array = as_numbers("score", score)
    if array.shape != (n,):
        raise BadInputError("score", f"one for each of {n} detections", f"shape {array.shape}")
    return array
