"""Count in how many earlier lists of positions a source was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.matching.candidates import check_radius, within

__all__ = ["EarlierPositions", "seen_before"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EarlierPositions:
    """Positions of an earlier frame or of a reference table, in px of the present frame.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
        Positions x, y [px]; rows that are not finite lie nowhere.
    outline : ndarray of float64, shape (k, 2), optional
        Corners, in order, of the polygon that the earlier frame covers [px]. None: everything.
    flux : ndarray of float64, shape (n,), optional
        Fluxes, in the unit of the present frame's.
    """

    xy: Floats
    outline: Floats | None = None
    flux: Floats | None = None

    def covers(self, xy: Floats) -> npt.NDArray[np.bool_]:
        """Return which positions lie inside the outline, shape (n,)."""
        if self.outline is None:
            return np.ones(len(xy), dtype=bool)
        inside = np.zeros(len(xy), dtype=bool)
        x, y = xy.T
        ends = np.roll(self.outline, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(self.outline, ends, strict=True):
            if y0 == y1:
                continue
            between = (y0 > y) != (y1 > y)
            inside ^= between & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        return inside


def seen_before(
    xy: Floats,
    earlier: Sequence[EarlierPositions],
    radius_px: float,
    *,
    flux: Floats | None = None,
    fraction: float = 0.0,
) -> tuple[Ints, Ints]:
    """Count in how many earlier lists each position was seen.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
        Positions x, y [px].
    earlier : sequence of EarlierPositions
        The lists.
    radius_px : float
        Largest distance of a row that counts [px], inclusive.
    flux : ndarray of float64, shape (n,), optional
        Fluxes of the positions.
    fraction : float
        A row whose flux is below this fraction of the position's is another, fainter source, and
        does not count; it does where one of the fluxes is unknown.

    Returns
    -------
    seen, covered : ndarray of int64, shape (n,)
        Number of lists with at least one row within the radius, and number of lists that cover
        the position; ``seen <= covered``.

    Notes
    -----
    Rows are not paired one to one: a second detection of a known star is not new.

    Raises
    ------
    BadInputError
        If the radius is not positive and finite.
    """
    radius = check_radius(radius_px)
    seen, covered = np.zeros((2, len(xy)), dtype=np.int64)
    for one in earlier:
        inside = one.covers(xy)
        near = np.zeros(len(xy), dtype=bool)
        somewhere = np.flatnonzero(np.isfinite(one.xy).all(axis=1))
        i, j, _ = within(xy, one.xy[somewhere], radius)
        if flux is not None and one.flux is not None:
            fainter = one.flux[somewhere[j]] < fraction * flux[i]  # False for a NaN
            i = i[~fainter]
        near[i] = True
        covered += inside
        seen += inside & near
    return seen, covered
