"""Matching on the sky by great-circle distance, for catalogues that share no frame."""

from __future__ import annotations

from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, as_pairs, takes
from skyduel.core.wcs import sky_separation, unit_vectors
from skyduel.evaluation.matching.candidates import Candidates, check_scores, flag, rank_rows
from skyduel.evaluation.matching.matching import Pairs, pair_edges
from skyduel.evaluation.rules import PairingRule, ScoringRules

__all__ = ["pair_sky", "sky_candidates"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: What degrees in double precision may be off by [arcsec].
_ROUNDING_ARCSEC: Final = 1e-9
_HALF_TURN_ARCSEC: Final = 180 * 3600.0


@takes(radius_arcsec=Real, rule=str)
def pair_sky(
    truth_radec_deg: npt.ArrayLike,
    found_radec_deg: npt.ArrayLike,
    radius_arcsec: float,
    *,
    rule: PairingRule = "most-pairs",
    score: npt.ArrayLike | None = None,
) -> Pairs:
    """Return the pairs of two sets of sky positions; ``separation`` is in arcsec.

    The rules are those of `skyduel.evaluation.matching.matching.pair`, with the angle between
    two directions as their distance: right across RA 0, at the poles and at
    any declination.

    Parameters
    ----------
    truth_radec_deg, found_radec_deg : array_like, shape (n_truth, 2), (n_found, 2)
        Right ascension and declination [deg]. No rows are legal; any right
        ascension is taken modulo 360.
    radius_arcsec : float
        Largest distance of a pair [arcsec], inclusive (to 1e-9 arcsec, the
        rounding of degrees); > 0, at most half a turn.
    rule, score
        As in `skyduel.evaluation.matching.matching.pair`.

    Raises
    ------
    BadInputError
        If a shape is wrong, a position is not finite or has abs(dec) > 90, or the
        radius cannot be one.
    """
    truth = _positions(truth_radec_deg, "truth positions")
    found = _positions(found_radec_deg, "found positions")
    radius = _radius(radius_arcsec)
    edges = _within(truth, found, radius)
    return pair_edges(truth, found, edges, radius + _ROUNDING_ARCSEC, rule=rule, score=score)


def sky_candidates(
    truth: Catalog, found: Catalog, rules: ScoringRules, radius_arcsec: float
) -> Candidates:
    """Return the candidates of two catalogues by their ``ra`` and ``dec``, in arcsec.

    Parameters
    ----------
    truth, found : Catalog
        With ``ra`` and ``dec`` in every row.
    rules : ScoringRules
        ``pairing`` and ``require_kind``; its radius is not used.
    radius_arcsec : float
        Largest distance of a pair [arcsec], inclusive.

    Raises
    ------
    BadInputError
        If a position is missing, or the truth has streaks: their length is in
        pixels, and without them there is no distance between segments.
    """
    if truth.is_streak.any():
        raise BadInputError(
            truth.source,
            "points to pair on the sky; streaks have lengths in px, so pair them in px",
            f"{int(truth.is_streak.sum())} streaks",
        )
    check_scores(found, rules)
    radius = _radius(radius_arcsec)
    at, seen = _columns(truth), _columns(found)
    i, j, separation = _within(at, seen, radius)
    if rules.require_kind:
        like = truth.is_streak[i] == found.is_streak[j]
        i, j, separation = i[like], j[like], separation[like]
    truth_rank, found_rank = _rank(truth, at)[i], _rank(found, seen)[j]
    order = np.lexsort((found_rank, truth_rank))
    i, j = i[order], j[order]
    return Candidates(
        truth_index=i,
        found_index=j,
        separation=separation[order],
        unlike=truth.is_streak[i] != found.is_streak[j],
        truth_rank=truth_rank[order],
        found_rank=found_rank[order],
        radius_px=radius + _ROUNDING_ARCSEC,
        truth_ignore=flag(truth, "ignore"),
        truth_streak=truth.is_streak,
        found_ignore=flag(found, "ignore"),
        rule=rules.pairing,
        found_score=found["score"],
        unit="arcsec",
    )


def _within(a: Floats, b: Floats, radius_arcsec: float) -> tuple[Ints, Ints, Floats]:
    """Return the rows of ``a`` and ``b`` no farther apart, and their distances [arcsec]."""
    # A sphere has no edge for a tree of directions; chords order as angles do.
    chord = 2 * np.sin(np.deg2rad(radius_arcsec / 3600) / 2)
    trees = [KDTree(unit_vectors(*p.T), balanced_tree=False) for p in (a, b)]
    # Directions are rounded: let the tree be generous, then decide by the angle.
    near = trees[0].sparse_distance_matrix(
        trees[1], chord * (1 + 1e-9) + 1e-14, output_type="ndarray"
    )
    i, j = near["i"].astype(np.int64), near["j"].astype(np.int64)
    separation = sky_separation(a[i, 0], a[i, 1], b[j, 0], b[j, 1])
    keep = separation <= radius_arcsec + _ROUNDING_ARCSEC
    return i[keep], j[keep], separation[keep]


def _radius(radius_arcsec: float) -> float:
    if not 0 < radius_arcsec <= _HALF_TURN_ARCSEC:
        raise BadInputError(
            "radius_arcsec", f"a radius > 0, at most {_HALF_TURN_ARCSEC:g}", repr(radius_arcsec)
        )
    return float(radius_arcsec)


def _columns(catalog: Catalog) -> Floats:
    if "ra" not in catalog or "dec" not in catalog:
        raise BadInputError(
            catalog.source,
            "columns ra and dec to pair on the sky",
            f"columns {', '.join(catalog.table.colnames)}",
        )
    return _positions(np.column_stack([catalog["ra"], catalog["dec"]]), catalog.source)


def _rank(catalog: Catalog, radec: Floats) -> Ints:
    return rank_rows(*radec.T, catalog.is_streak.astype(np.float64), catalog["mag"])


def _positions(radec: npt.ArrayLike, source: str) -> Floats:
    array = as_pairs(source, radec)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1) | ~(np.abs(array[:, 1]) <= 90))
    if bad.size:
        raise BadInputError(
            source,
            "a finite ra and a dec between -90 and 90 deg in every row",
            f"{array[bad[0]].tolist()} in row {bad[0]} ({bad.size} such rows)",
        )
    return np.column_stack([np.mod(array[:, 0], 360.0), array[:, 1]])
