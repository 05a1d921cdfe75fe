"""Streaks and points by the second moments of a detection."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from skyduel.baseline.filters import FWHM_PER_SIGMA

__all__ = [
    "StreakLimits",
    "classify",
    "extendedness",
    "find_streaks",
    "kind_columns",
    "segment_length",
    "star_size",
    "stellar_sigma",
    "wrap_angle",
]

Floats = npt.NDArray[np.float64]

# The moments of a fainter detection are those of the few pixels above the threshold.
_BRIGHT_SCORE: Final = 15.0
_FEWEST_BRIGHT: Final = 5
# Half-light radii of stars in units of their FWHM: 0.5 of a Gaussian, 0.78 of a Moffat profile
# with beta 2. What is smaller is a defect, what is larger extended.
_STAR_RADIUS: Final = (0.3, 0.9)
# Stars are within this share of the most frequent radius.
_STAR_SPREAD: Final = 0.1
# From this ratio of half-light radii on a source is extended. At a score of 10 the ratio of
# single stars scatters by 0.1.
_EXTENDED: Final = 1.2
_LEAST_SCORE: Final = 10.0


class StreakLimits(Protocol):
    """The two settings by which a detector tells streaks from points; see `classify`."""

    @property
    def streak_elongation(self) -> float:
        """Smallest a/b of a streak."""

    @property
    def streak_length_fwhm(self) -> float:
        """Smallest length of a streak, in units of the stellar FWHM."""


def segment_length(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Return the length [px] of the uniform segment with the moments of an ellipse.

    A segment of length L has variance ``L**2/12`` along itself. The PSF adds the same
    variance to both axes, so ``L = sqrt(12 (a**2 - b**2))``, where ``a >= b`` are the
    rms along the axes [px].
    """
    a2, b2 = np.square(a, dtype=np.float64), np.square(b, dtype=np.float64)
    return np.asarray(np.sqrt(12.0 * np.maximum(a2 - b2, 0.0)))


def wrap_angle(theta: npt.ArrayLike) -> Floats:
    """Wrap the angle of an axis into [-pi/2, pi/2) [rad]."""
    wrapped = np.mod(np.asarray(theta, dtype=np.float64) + np.pi / 2, np.pi) - np.pi / 2
    # Rounding turns an angle just below -pi/2 into +pi/2.
    return np.where(wrapped >= np.pi / 2, -np.pi / 2, wrapped)


def stellar_sigma(a: Floats, b: Floats, score: Floats, clean: npt.NDArray[np.bool_]) -> float:
    """Measure the typical rms size of a star [px]: the median sqrt(ab) of bright detections.

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        rms along the axes [px].
    score : ndarray, shape (n,)
        Peak signal-to-noise; a bright detection has at least 15.
    clean : ndarray of bool, shape (n,)
        Detections that are not blended, not cut by the edge and not saturated.

    Returns
    -------
    float
        NaN with fewer than 5 such detections.
    """
    bright = clean & (score >= _BRIGHT_SCORE)
    if np.count_nonzero(bright) < _FEWEST_BRIGHT:
        return float("nan")
    return float(np.median(np.sqrt(a[bright] * b[bright])))


def star_size(
    a: Floats, b: Floats, score: Floats, clean: npt.NDArray[np.bool_], fwhm: float
) -> float:
    """Return `stellar_sigma` [px], or that of a Gaussian of a known FWHM [px] if it is undefined.

    Parameters
    ----------
    a, b, score, clean : ndarray, shape (n,)
        As for `stellar_sigma`.
    fwhm : float
        FWHM of a star [px].
    """
    size = stellar_sigma(a, b, score, clean)
    return size if np.isfinite(size) else fwhm / FWHM_PER_SIGMA


def classify(
    a: Floats, b: Floats, sigma: float, *, elongation: float, length_fwhm: float
) -> npt.NDArray[np.bool_]:
    """Return True for each detection that is a streak by two limits on its shape, shape (n,).

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        rms along the axes [px].
    sigma : float
        rms size of a star [px].
    elongation : float
        Smallest a/b of a streak.
    length_fwhm : float
        Smallest length of a streak (`segment_length`), in units of the stellar FWHM,
        ``2.355 sigma``.

    Notes
    -----
    Both limits must hold. A few noise pixels in a row are elongated but short; a blend
    or a galaxy is long but round.
    """
    fwhm = FWHM_PER_SIGMA * sigma
    return (a >= elongation * b) & (segment_length(a, b) >= length_fwhm * fwhm)


def extendedness(
    radius: Floats, score: Floats, clean: npt.NDArray[np.bool_], sigma: float
) -> Floats:
    """Return 1 for extended detections, 0 for those like stars, NaN for the rest, shape (n,).

    Parameters
    ----------
    radius : ndarray, shape (n,)
        Half-light radii [px]; NaN where unknown.
    score : ndarray, shape (n,)
        Peak signal-to-noise. Below 10 a radius is too uncertain to tell.
    clean : ndarray of bool, shape (n,)
        As for `stellar_sigma`.
    sigma : float
        rms size of a star [px] (`star_size`).

    Notes
    -----
    Extended is what has at least 1.2 times the half-light radius of the stars: the most
    frequent one among the bright, clean detections whose radius fits the size of a star.
    Stars have all the same, so galaxies may outnumber them. With fewer than five such
    detections nothing is told.
    """
    low, high = (share * FWHM_PER_SIGMA * sigma for share in _STAR_RADIUS)
    with np.errstate(invalid="ignore"):
        stars = clean & (score >= _BRIGHT_SCORE) & (radius >= low) & (radius <= high)
    if np.count_nonzero(stars) < _FEWEST_BRIGHT:
        return np.full(radius.shape, np.nan)
    told = np.isfinite(radius) & (score >= _LEAST_SCORE)
    return np.where(told, radius >= _EXTENDED * _star_radius(radius[stars]), np.nan)


def _star_radius(radius: Floats) -> float:
    """Return the median of the values near the half-sample mode (Bickel 2002)."""
    part = np.sort(radius)
    while part.size > 3:
        half = (part.size + 1) // 2
        first = int(np.argmin(part[half - 1 :] - part[: part.size - half + 1]))
        part = part[first : first + half]
    mode = float(np.median(part))
    return float(np.median(radius[np.abs(radius / mode - 1) <= _STAR_SPREAD]))


def find_streaks(
    a: Floats,
    b: Floats,
    score: Floats,
    clean: npt.NDArray[np.bool_],
    *,
    fwhm: float,
    limits: StreakLimits,
) -> npt.NDArray[np.bool_]:
    """Return True for each streak among the detections of one frame, shape (n,).

    Parameters
    ----------
    a, b, score, clean, fwhm
        As for `star_size`, which sets the unit of length.
    limits : StreakLimits
        The detector's settings.
    """
    return classify(
        a,
        b,
        star_size(a, b, score, clean, fwhm),
        elongation=limits.streak_elongation,
        length_fwhm=limits.streak_length_fwhm,
    )


def kind_columns(
    a: Floats, b: Floats, theta: npt.ArrayLike, streak: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns ``kind``, ``length`` [px] and ``theta`` [rad] of a catalogue.

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        rms along the axes [px].
    theta : array_like, shape (n,)
        Angle of the major axis [rad], from +x to +y.
    streak : ndarray of bool, shape (n,)
        True for streaks. A point has length 0 and angle 0.
    """
    return {
        "kind": np.where(streak, "streak", "point"),
        "length": np.where(streak, segment_length(a, b), 0.0),
        "theta": np.where(streak, wrap_angle(theta), 0.0),
    }
