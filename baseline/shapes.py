"""Telling streaks from points by their second moments."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.baseline.filters import FWHM_PER_SIGMA

__all__ = ["classify", "segment_length", "stellar_sigma", "wrap_angle"]

Floats = npt.NDArray[np.float64]

# Moments of fainter detections are those of the few pixels above the threshold.
_BRIGHT_SCORE: Final = 15.0
_FEWEST_BRIGHT: Final = 5


def segment_length(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Return the length [px] of the uniform segment that explains an ellipse.

    A segment of length L has variance ``L**2/12`` along itself, and what
    spreads it (the PSF) adds the same to both axes, so
    ``L = sqrt(12 (a**2 - b**2))`` with ``a >= b`` the rms along the axes [px].
    """
    a2, b2 = np.square(a, dtype=np.float64), np.square(b, dtype=np.float64)
    return np.asarray(np.sqrt(12.0 * np.maximum(a2 - b2, 0.0)))


def wrap_angle(theta: npt.ArrayLike) -> Floats:
    """Return an axis's angle in [-pi/2, pi/2) [rad]."""
    wrapped = np.mod(np.asarray(theta, dtype=np.float64) + np.pi / 2, np.pi) - np.pi / 2
    # A hair below -pi/2 comes back as +pi/2 after rounding.
    return np.where(wrapped >= np.pi / 2, -np.pi / 2, wrapped)


def stellar_sigma(a: Floats, b: Floats, score: Floats, clean: npt.NDArray[np.bool_]) -> float:
    """Return the typical rms size of a star [px]: the median sqrt(ab) of bright detections.

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        rms along the axes [px].
    score : ndarray, shape (n,)
        Peak signal-to-noise; bright is at least 15.
    clean : ndarray of bool, shape (n,)
        Neither blended nor cut by the edge nor saturated.

    Returns
    -------
    float
        NaN with fewer than 5 such detections.
    """
    bright = clean & (score >= _BRIGHT_SCORE)
    if np.count_nonzero(bright) < _FEWEST_BRIGHT:
        return float("nan")
    return float(np.median(np.sqrt(a[bright] * b[bright])))


def classify(
    a: Floats, b: Floats, sigma: float, *, elongation: float, length_fwhm: float
) -> npt.NDArray[np.bool_]:
    """Return which detections are streaks, shape (n,).

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        rms along the axes [px].
    sigma : float
        rms size of a star [px].
    elongation : float
        Least a/b.
    length_fwhm : float
        Least length (`segment_length`), in units of the stellar FWHM,
        ``2.355 sigma``.

    Notes
    -----
    Both must hold: a few noise pixels in a row are elongated but short, a
    blend or a galaxy is long but round.
    """
    fwhm = FWHM_PER_SIGMA * sigma
    return (a >= elongation * b) & (segment_length(a, b) >= length_fwhm * fwhm)
