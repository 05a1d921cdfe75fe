"""Candidate pairs: truths and detections that are close enough to match, with their distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.native import neighbours
from skyduel.evaluation.matching.segments import (
    angle_difference,
    point_segment_distance,
    segment_distance,
)
from skyduel.evaluation.rules import ScoringRules

__all__ = [
    "Candidates",
    "check_radius",
    "check_scores",
    "find_candidates",
    "flag",
    "match_radii",
    "rank_rows",
    "within",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Candidates:
    """All truths and detections close enough to pair, one edge a row.

    Parameters
    ----------
    truth_index, found_index : ndarray of int64, shape (m,)
        Rows of the two catalogues.
    separation : ndarray of float64, shape (m,)
        Distance by the rule of `find_candidates` [px, or in ``unit``].
    unlike : ndarray of bool, shape (m,)
        Truth and detection are of different kinds.
    truth_rank, found_rank : ndarray of int64, shape (m,)
        Numbers that do not depend on row order; the rows are sorted by them.
    radius_px : float
        The gate [px, or in ``unit``].
    truth_ignore, truth_streak : ndarray of bool, shape (n_truth,)
        Which truths are ignored, and which are streaks.
    found_ignore : ndarray of bool, shape (n_found,)
        Which detections count neither way unless paired.
    rule : str
        How to choose among them, a `PairingRule`.
    found_score : ndarray of float64, shape (n_found,), optional
        Scores of the detections, for the rule ``score-first``.
    unit : str
        Of separations and radius: ``px``, or ``arcsec`` on the sky.
    truth_radius : ndarray of float64, shape (n_truth,), optional
        The gate of each truth, where galaxies have wider ones than ``radius_px``.
    """

    truth_index: Ints
    found_index: Ints
    separation: Floats
    unlike: Bools
    truth_rank: Ints
    found_rank: Ints
    radius_px: float
    truth_ignore: Bools
    truth_streak: Bools
    found_ignore: Bools
    rule: str = "most-pairs"
    found_score: Floats | None = None
    unit: str = "px"
    truth_radius: Floats | None = None

    def compared(self, at: Ints | slice) -> Floats:
        """Return the separations by which some candidates are chosen, none above ``radius_px``.

        That of a truth with a wider gate is scaled by it, so that half the way to its gate
        counts as half the way to any other.
        """
        separation = self.separation[at]
        if self.truth_radius is None:
            return separation
        scaled = separation * (self.radius_px / self.truth_radius[self.truth_index[at]])
        return np.minimum(scaled, self.radius_px)  # rounding may put one beyond its gate

    @property
    def n_truth(self) -> int:
        """Number of truths."""
        return int(self.truth_ignore.size)

    @property
    def n_found(self) -> int:
        """Number of detections."""
        return int(self.found_ignore.size)


def find_candidates(
    truth: Catalog, found: Catalog, rules: ScoringRules, *, fwhm: float | None = None
) -> Candidates:
    """Return all truths and detections close enough to pair.

    Distances [px], gated at the radius, inclusive:

    - true point, any detection: between the centres;
    - true galaxy, any detection: between the centres, gated at its own radius (`match_radii`);
    - true streak, found point: from the point to the truth's segment;
    - true streak, found streak: `segment_distance`, with the angle between
      them no larger than ``rules.streak_angle_deg`` (a found streak of length
      0 has no angle and is not asked for one).

    With ``rules.require_kind`` only like kinds are candidates.

    Raises
    ------
    BadInputError
        If the radius is in units of an unknown FWHM, or ``rules.pairing`` is
        ``score-first`` and no detection has a score.
    """
    check_scores(found, rules)
    radius = check_radius(rules.radius_for(fwhm))
    own = match_radii(truth, radius)
    parts = [
        _point_edges(truth, found, radius if own is None else own, rules),
        _streak_edges(truth, found, radius, rules),
    ]
    i, j, separation = (np.concatenate([p[k] for p in parts]) for k in range(3))
    truth_rank = _catalog_rank(truth)[i]
    found_rank = _catalog_rank(found)[j]
    # No two candidates have both ranks, so one key sorts as the two do.
    order = np.argsort(truth_rank * len(found) + found_rank)
    i, j = i[order].astype(np.int64, copy=False), j[order].astype(np.int64, copy=False)
    return Candidates(
        truth_index=i,
        found_index=j,
        separation=separation[order],
        unlike=truth.is_streak[i] != found.is_streak[j],
        truth_rank=truth_rank[order],
        found_rank=found_rank[order],
        radius_px=radius,
        truth_ignore=flag(truth, "ignore"),
        truth_streak=truth.is_streak,
        found_ignore=flag(found, "ignore"),
        rule=rules.pairing,
        found_score=found["score"],
        truth_radius=own,
    )


def match_radii(truth: Catalog, radius: float) -> Floats | None:
    """Return the gate of every truth [px], shape (n,); None if all have the same.

    That of a galaxy is its half-light radius along the major axis where that is larger:
    the centre of an extended source is measured less well, in proportion to its size.
    """
    if "half_light_px" not in truth:
        return None
    size = np.where(truth.is_galaxy, truth["half_light_px"], 0.0)
    return np.fmax(size, radius) if (size > radius).any() else None


def check_scores(found: Catalog, rules: ScoringRules) -> None:
    """Raise if the rule of pairing goes by scores and there are none."""
    if rules.pairing == "score-first" and len(found) and np.isnan(found["score"]).all():
        raise BadInputError(
            found.source, "scores, for the pairing rule score-first", "no row with a score"
        )


def _point_edges(
    truth: Catalog, found: Catalog, radius: float | Floats, rules: ScoringRules
) -> tuple[Ints, Ints, Floats]:
    """Return the candidates of all truths but streaks; the radius may be that of each truth."""
    rows = np.flatnonzero(~truth.is_streak)
    columns = np.flatnonzero(~found.is_streak) if rules.require_kind else np.arange(len(found))
    if isinstance(radius, float):
        i, j, separation = within(truth.xy[rows], found.xy[columns], radius)
        return rows[i], columns[j], separation
    own = radius[rows]
    parts = []
    # In steps, so that one large galaxy does not make candidates of all pairs of the frame.
    for step in np.unique(np.ceil(own)):
        some = np.flatnonzero(np.ceil(own) == step)
        i, j, separation = within(truth.xy[rows[some]], found.xy[columns], float(step))
        near = separation <= own[some[i]]
        parts.append((rows[some[i[near]]], columns[j[near]], separation[near]))
    none = np.zeros(0, dtype=np.int64)
    i, j, separation = (
        np.concatenate([e, *p])
        for e, p in zip((none, none, np.zeros(0)), zip(*parts, strict=True), strict=True)
    )
    return i, j, separation


def _streak_edges(
    truth: Catalog, found: Catalog, radius: float, rules: ScoringRules
) -> tuple[Ints, Ints, Floats]:
    """Return the candidates of the true streaks, one streak at a time: they are few."""
    rows = np.flatnonzero(truth.is_streak)
    i: list[Ints] = [np.zeros(0, dtype=np.int64)]
    j: list[Ints] = [np.zeros(0, dtype=np.int64)]
    d: list[Floats] = [np.zeros(0)]
    if rows.size and len(found):
        x, y, length, theta = (found[k] for k in ("x", "y", "length", "theta"))
        points = np.flatnonzero(~found.is_streak)
        streaks = np.flatnonzero(found.is_streak)
        limit = np.deg2rad(rules.streak_angle_deg)
        for row in rows:
            segment = tuple(float(truth[k][row]) for k in ("x", "y", "length", "theta"))
            if not rules.require_kind:
                near = point_segment_distance(x[points], y[points], *segment)
                hit = near <= radius
                i.append(np.full(int(hit.sum()), row))
                j.append(points[hit])
                d.append(near[hit])
            reach = (segment[2] + length[streaks]) / 2 + radius
            close = streaks[np.hypot(x[streaks] - segment[0], y[streaks] - segment[1]) <= reach]
            near = segment_distance(x[close], y[close], length[close], theta[close], *segment)
            # The slack lets through an angle that differs from the limit by rounding.
            along = angle_difference(theta[close], segment[3]) <= limit + 1e-9
            hit = (near <= radius) & (along | (length[close] == 0) | (segment[2] == 0))
            i.append(np.full(int(hit.sum()), row))
            j.append(close[hit])
            d.append(near[hit])
    return np.concatenate(i), np.concatenate(j), np.concatenate(d)


def within(a: Floats, b: Floats, radius: float) -> tuple[Ints, Ints, Floats]:
    """Return the rows of ``a`` and ``b`` no farther apart than ``radius``, inclusive."""
    i, j = neighbours(a, b, radius)  # generous: it works with squares
    separation = np.hypot(a[i, 0] - b[j, 0], a[i, 1] - b[j, 1])
    keep = separation <= radius
    return i[keep], j[keep], separation[keep]


def rank_rows(*keys: npt.NDArray[np.float64]) -> Ints:
    """Return the place of each row when sorted by the keys in turn, and last by row."""
    order = np.argsort(keys[0])
    same = np.diff(keys[0][order]) == 0
    if same.any():
        # Only rows tied in the first key need the others; each run of them stays in its place.
        # Sorting ties by row as well is faster than a stable sort of all rows.
        at = np.flatnonzero(np.append(same, False) | np.append(False, same))
        tied = order[at]
        order[at] = tied[np.lexsort([tied, *(key[tied] for key in keys[::-1])])]
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return rank


def _catalog_rank(catalog: Catalog) -> Ints:
    streak = catalog.is_streak.astype(np.float64)
    return rank_rows(
        catalog["x"], catalog["y"], streak, catalog["length"], catalog["theta"], catalog["mag"]
    )


def flag(catalog: Catalog, name: str) -> Bools:
    """Return a column as bool, all False where the catalogue has none."""
    if name in catalog:
        return np.asarray(catalog[name], dtype=bool)
    return np.zeros(len(catalog), dtype=bool)


def check_radius(radius_px: float) -> float:
    """Return a radius [px] that can be one."""
    if not (np.isfinite(radius_px) and radius_px > 0):
        raise BadInputError("radius_px", "a finite radius > 0", repr(radius_px))
    return float(radius_px)
