"""Estimate the shift in pixels between two lists of positions of one field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.matching.candidates import within
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.statistics.distributions import poisson_tail

__all__ = ["PixelShift", "estimate_shift"]

Floats = npt.NDArray[np.float64]

#: Brightest rows of each list that vote.
_VOTERS: Final = 60
#: Fewest agreeing votes, and the probability of as many by chance anywhere on the plane.
_FEWEST: Final = 6
_BY_CHANCE: Final = 1e-6


@dataclass(frozen=True)
class PixelShift:
    """Shift between two lists of positions.

    Parameters
    ----------
    dx, dy : float
        Add them to the second list to get positions of the first [px].
    votes, voters : int
        Pairs of bright rows that agree with it, and the rows of the shorter list that voted.
    """

    dx: float
    dy: float
    votes: int
    voters: int


def estimate_shift(
    xy: Floats, flux: Floats, other_xy: Floats, other_flux: Floats, radius_px: float
) -> PixelShift | None:
    """Return the shift that brings one list of positions onto another, None if there is none.

    Parameters
    ----------
    xy, other_xy : ndarray of float64, shape (n, 2) and (m, 2)
        Positions x, y [px].
    flux, other_flux : ndarray of float64, shape (n,) and (m,)
        The 60 brightest rows of each list vote; a NaN counts as faintest.
    radius_px : float
        Votes no farther apart than this agree [px].

    Returns
    -------
    PixelShift or None
        None unless at least 6 votes agree, more than chance gives anywhere with a probability of
        1e-6. Only translations are looked for: a rotation of r rad moves a row at d px from the
        centre by r·d, which must stay below the radius.

    Notes
    -----
    Each pair of rows, one of each list, votes for its difference. The difference with the most
    votes within the radius is refined twice by the median of its one-to-one pairs. If several
    have the same number of votes, the shortest shift is taken.
    """
    first, second = _brightest(xy, flux), _brightest(other_xy, other_flux)
    if min(len(first), len(second)) < _FEWEST:
        return None
    votes = (first[:, None, :] - second[None, :, :]).reshape(-1, 2)
    i, _, _ = within(votes, votes, radius_px)
    counts = np.bincount(i, minlength=len(votes))
    top = np.flatnonzero(counts == counts.max())
    shift = votes[top[np.argmin(np.hypot(*votes[top].T))]]
    agree = 0
    for _ in range(2):
        pairs = pair(first, second + shift, radius_px)
        agree = len(pairs)
        if agree < _FEWEST:
            return None
        shift = np.median(first[pairs.truth_index] - second[pairs.found_index], axis=0)
    # By chance, votes fill the plane of differences evenly at best.
    spread = np.prod(np.ptp(votes, axis=0) + 2 * radius_px)
    expected = len(votes) * np.pi * radius_px**2 / spread
    if poisson_tail(agree - 1, expected) * len(votes) > _BY_CHANCE:
        return None
    return PixelShift(float(shift[0]), float(shift[1]), agree, min(len(first), len(second)))


def _brightest(xy: Floats, flux: Floats) -> Floats:
    """Return the positions of the brightest rows."""
    order = np.argsort(-np.where(np.isfinite(flux), flux, -np.inf), kind="stable")
    return xy[order[:_VOTERS]]
