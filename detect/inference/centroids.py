"""Positions of bright points from the light itself: the network finds, the pixels place."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import sep
from astropy.stats import gaussian_fwhm_to_sigma, mad_std

from skyduel.core.defaults import UNKNOWN_FWHM_APERTURE_PX
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background

__all__ = ["refine_points", "window_sigma"]

Floats = npt.NDArray[np.float64]

#: Below this aperture S/N the network places a source as well as its pixels do.
_BRIGHT: Final = 16.0
#: A window that walks farther than this has gone to a neighbour [px].
_FARTHEST_PX: Final = 0.5
#: A common shift counts from so many sources, this length [px] and this many errors on.
_SHIFT_SOURCES: Final = 8
_SHIFT_PX: Final = 0.04
_SHIFT_ERRORS: Final = 2.5
#: Error of a median over that of a mean, for a Gaussian.
_MEDIAN_ERROR: Final = 1.2533


def window_sigma(frame: Frame) -> float:
    """Return σ [px] of the Gaussian window under which centroids are taken: the profile's."""
    fwhm = UNKNOWN_FWHM_APERTURE_PX if frame.fwhm is None else float(frame.fwhm)
    return fwhm * float(gaussian_fwhm_to_sigma)


def refine_points(frame: Frame, background: Background, xy: Floats, snr: Floats) -> Floats:
    """Return positions with those of bright points from their windowed centroid.

    Parameters
    ----------
    frame : Frame
        The frame on which the points were found.
    background : Background
        Of the frame.
    xy : ndarray of float64, shape (n, 2)
        Positions of points [px], 0-based, integer at the pixel's centre.
    snr : ndarray of float64, shape (n,)
        Their S/N in the common aperture; NaN counts as faint.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        A copy; rows of faint points, and those whose window is masked, cut or walks
        off, are as they were.

    Notes
    -----
    The windowed centroid of SExtractor (its XWIN, YWIN) with a Gaussian of the frame's
    FWHM is several times more precise than the network's cells on bright stars. But it
    is a centroid: under coma or drift it lies off the star's place, all over the frame
    in one direction. The network has learned the place; so a shift common to the
    frame's bright points, where it is significant, is taken off again.
    """
    out = np.array(xy, dtype=np.float64)
    rows = np.flatnonzero(snr > _BRIGHT)
    if rows.size == 0:
        return out
    x, y = np.ascontiguousarray(out[rows, 0]), np.ascontiguousarray(out[rows, 1])
    # SEP asks for writable memory, and a frame's is read-only.
    mask = frame.bad.copy() if frame.bad.any() else None
    wx, wy, flags = sep.winpos(frame.data - background.level, x, y, window_sigma(frame), mask=mask)
    shift = np.stack([wx - x, wy - y], axis=1)
    failed = sep.APER_TRUNC | sep.APER_ALLMASKED | sep.APER_NONPOSITIVE
    good = ((np.asarray(flags) & failed) == 0) & (np.hypot(*shift.T) <= _FARTHEST_PX)
    shift = shift[good]
    out[rows[good]] += shift - _common(shift)
    return out


def _common(shift: Floats) -> Floats:
    """Return the shift [px] common to all, zero unless it is significant; shape (2,)."""
    if len(shift) < _SHIFT_SOURCES:
        return np.zeros(2)
    middle = np.median(shift, axis=0)
    spread = mad_std(shift, axis=0)
    error = _MEDIAN_ERROR * float(np.hypot(*spread)) / np.sqrt(2 * len(shift))
    length = float(np.hypot(*middle))
    return np.asarray(middle if length > max(_SHIFT_PX, _SHIFT_ERRORS * error) else np.zeros(2))
