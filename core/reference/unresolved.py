"""Sources of a catalogue that are one source on the frame: doubles closer than it can resolve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.core.measure.star_width import measure_star_width

__all__ = [
    "LEAST_PX",
    "Merged",
    "Separation",
    "closest_resolved",
    "merge_unresolved",
    "n_unresolved",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: On no frame are two sources this close resolved [px].
LEAST_PX: Final = 0.5
#: Two equal Gaussians have one peak up to 0.85 FWHM; at half an FWHM nothing tells them apart.
_OF_FWHM: Final = 0.5
#: A wider measured FWHM is that of trails or of no stars [px].
_MOST_FWHM_PX: Final = 30.0


@dataclass(frozen=True)
class Separation:
    """The distance up to which two sources are one on a frame.

    Parameters
    ----------
    px : float
        The distance [px].
    words : str
        Its origin.
    """

    px: float
    words: str


@dataclass(frozen=True, eq=False)
class Merged:
    """Which sources are one, of n sources that are m.

    Parameters
    ----------
    leader : ndarray of int64, shape (n,)
        For each source the row of the brighter one that it was added to, or its own.
    weight : ndarray of float64, shape (n,)
        Its flux relative to that of its leader.
    rows : ndarray of int64, shape (m,)
        The leaders, ascending.
    """

    leader: Ints
    weight: Floats
    rows: Ints

    @property
    def n_sources(self) -> Ints:
        """Number of sources in each, shape (m,)."""
        return np.bincount(self.leader, minlength=len(self.leader))[self.rows]

    def mean(self, values: Floats, period: float | None = None) -> Floats:
        """Return means weighted by flux, shape (m,).

        Parameters
        ----------
        values : ndarray of float64, shape (n,)
            Positions. Those of lone sources come back digit by digit.
        period : float, optional
            That of an angle, in its unit: the mean of 359.9 and 0.1 deg is 0.
        """
        offset = values - values[self.leader]
        if period is not None:
            offset = (offset + period / 2) % period - period / 2
        lone = self.n_sources == 1
        total = self._sum(self.weight)
        mean = values[self.rows] + self._sum(self.weight * offset) / total
        mean = mean if period is None else mean % period
        return np.where(lone, values[self.rows], mean)

    def magnitudes(self, mag: Floats) -> Floats:
        """Return the magnitudes of the summed fluxes, shape (m,); NaN where there are none."""
        return np.where(
            self.n_sources > 1, mag[self.rows] - 2.5 * np.log10(self._sum(self.weight)),
            mag[self.rows],
        )  # fmt: skip

    def _sum(self, values: Floats) -> Floats:
        summed = np.bincount(self.leader, values, minlength=len(self.leader))
        return np.asarray(summed[self.rows], dtype=np.float64)


def closest_resolved(frame: Frame | None, background: Background | None = None) -> Separation:
    """Return the distance up to which two sources are one on a frame: half an FWHM.

    Parameters
    ----------
    frame : Frame or None
        Its stars are measured, or, if they are too few, its stated FWHM is used. None: unknown.
    background : Background, optional
        Background of the frame; by default from `estimate_background`.

    Returns
    -------
    Separation
        At least half a pixel.
    """
    measured = None if frame is None else measure_star_width(frame, background)
    fwhm, of = 0.0, ""
    if measured is not None and measured.fwhm <= _MOST_FWHM_PX:
        fwhm, of = measured.fwhm, f"half the FWHM of {measured.n_stars:,} stars"
    elif frame is not None and frame.fwhm is not None:
        fwhm, of = frame.fwhm, "half the stated FWHM"
    if _OF_FWHM * fwhm > LEAST_PX:
        return Separation(_OF_FWHM * fwhm, of)
    return Separation(LEAST_PX, "half a pixel")


def merge_unresolved(
    x: Floats, y: Floats, mag: Floats, separation_px: float, alone: Bools | None = None
) -> Merged:
    """Add every source to a brighter one within a distance, the brightest first.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
        Positions [px].
    mag : ndarray of float64, shape (n,)
        Magnitudes. A source without one (NaN) stays alone; if no source has one, all are
        equally bright, and the first takes the others.
    separation_px : float
        The distance [px], inclusive; 0 adds none.
    alone : ndarray of bool, shape (n,), optional
        Sources that stay alone.

    Returns
    -------
    Merged
        A source that was added to another takes none itself, so that no chain of sources grows
        beyond the distance.
    """
    n = len(x)
    leader, weight = np.arange(n), np.ones(n)
    free = np.ones(n, dtype=bool) if alone is None else ~alone
    if np.isfinite(mag[free]).any():
        free &= np.isfinite(mag)
        fluxes = True
    else:
        fluxes = False
    candidates = np.flatnonzero(free)
    if separation_px > 0 and len(candidates) > 1:
        order = candidates[np.argsort(mag[candidates], kind="stable")]
        pairs = KDTree(np.column_stack([x[order], y[order]])).query_pairs(
            separation_px, output_type="ndarray"
        )
        # In ranks: the first of a pair is the brighter one, and is decided before its others.
        pairs = np.sort(pairs, axis=1)
        for a, b in order[pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]].tolist():
            if leader[a] == a and leader[b] == b:
                leader[b] = a
        if fluxes:
            added = leader != np.arange(n)
            weight[added] = 10 ** (-0.4 * (mag[added] - mag[leader[added]]))
    return Merged(leader, weight, np.unique(leader))


def n_unresolved(xy: npt.NDArray[np.floating], separation_px: float = LEAST_PX) -> int:
    """Return the number of sources that have an earlier one within a distance.

    Parameters
    ----------
    xy : ndarray of float, shape (n, 2)
        Positions [px].
    separation_px : float
        The distance [px], inclusive.
    """
    finite = xy[np.isfinite(xy).all(axis=1)]
    if len(finite) < 2:
        return 0
    pairs = KDTree(finite).query_pairs(separation_px, output_type="ndarray")
    return len(np.unique(pairs.max(axis=1))) if len(pairs) else 0
