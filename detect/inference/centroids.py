"""Refine the positions of bright points with windowed centroids."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import sep
from astropy.stats import gaussian_fwhm_to_sigma, mad_std

from skyduel.core.defaults import UNKNOWN_FWHM_APERTURE_PX
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.core.native import windowed_position

__all__ = ["refine_points", "window_sigma"]

Floats = npt.NDArray[np.float64]

#: Below this aperture S/N positions from the network are as precise as centroids.
_BRIGHT: Final = 16.0
#: A centroid that moves farther than this has gone to a neighbour [px].
_FARTHEST_PX: Final = 0.5
#: Minimum number of sources, length [px] and length in standard errors of a significant shift.
_SHIFT_SOURCES: Final = 8
_SHIFT_PX: Final = 0.04
_SHIFT_ERRORS: Final = 2.5
#: Standard error of a median over that of a mean, for a Gaussian.
_MEDIAN_ERROR: Final = 1.2533


def window_sigma(frame: Frame) -> float:
    """Return σ [px] of the Gaussian window for centroids, which is that of the PSF."""
    fwhm = UNKNOWN_FWHM_APERTURE_PX if frame.fwhm is None else float(frame.fwhm)
    return fwhm * float(gaussian_fwhm_to_sigma)


def refine_points(frame: Frame, background: Background, xy: Floats, snr: Floats) -> Floats:
    """Replace the positions of bright points with their windowed centroids.

    Parameters
    ----------
    frame : Frame
        The frame on which the points were found.
    background : Background
        Background and noise of the frame.
    xy : ndarray of float64, shape (n, 2)
        Positions of points [px], 0-based, integer at the pixel's centre.
    snr : ndarray of float64, shape (n,)
        Their S/N in the common aperture; NaN counts as faint.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        A copy. The rows of faint points, and of points whose window is masked, cut or
        moves too far, are unchanged.

    Notes
    -----
    The windowed centroid of SExtractor (its XWIN, YWIN) with a Gaussian of the frame's
    FWHM is several times more precise than the network's positions on bright stars. With
    coma or drift, however, the centroid is offset from the true position, in the same
    direction over the whole frame. The network is trained on true positions, so a
    significant shift common to the bright points of the frame is subtracted.
    """
    out = np.array(xy, dtype=np.float64)
    rows = np.flatnonzero(snr > _BRIGHT)
    if rows.size == 0:
        return out
    x, y = np.ascontiguousarray(out[rows, 0]), np.ascontiguousarray(out[rows, 1])
    # SEP requires writable memory, and that of a frame is read-only.
    mask = frame.bad.copy() if frame.bad.any() else None
    sigma = np.full(rows.size, window_sigma(frame))
    wx, wy, flags = windowed_position(frame.data - background.level, x, y, sigma, mask)
    shift = np.stack([wx - x, wy - y], axis=1)
    failed = sep.APER_TRUNC | sep.APER_ALLMASKED | sep.APER_NONPOSITIVE
    good = ((flags & failed) == 0) & (np.hypot(*shift.T) <= _FARTHEST_PX)
    shift = shift[good]
    out[rows[good]] += shift - _common(shift)
    return out


def _common(shift: Floats) -> Floats:
    """Return the shift [px] common to all points, zero unless significant; shape (2,)."""
    if len(shift) < _SHIFT_SOURCES:
        return np.zeros(2)
    middle = np.median(shift, axis=0)
    spread = mad_std(shift, axis=0)
    error = _MEDIAN_ERROR * float(np.hypot(*spread)) / np.sqrt(2 * len(shift))
    length = float(np.hypot(*middle))
    return np.asarray(middle if length > max(_SHIFT_PX, _SHIFT_ERRORS * error) else np.zeros(2))
