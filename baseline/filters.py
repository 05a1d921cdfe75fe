"""Detection filters, and the signal-to-noise map from which detections get their score."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d, maximum_filter

from skyduel.core.defaults import UNKNOWN_FWHM_FILTER_PX
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame

__all__ = [
    "DEFAULT_CONV",
    "gaussian_kernel",
    "gaussian_profile",
    "peak_snr",
    "resolve_fwhm",
    "snr_map",
    "snr_peaks",
]

#: The filter of SExtractor's ``default.conv``, of unit sum.
DEFAULT_CONV: Final = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]).astype(np.float32) / 16.0

#: Places whose pixels are filtered at a time.
_PLACES: Final = 2048

FWHM_PER_SIGMA: Final = 2.0 * float(np.sqrt(2.0 * np.log(2.0)))


def resolve_fwhm(frame: Frame, fwhm_px: float | None = None) -> float:
    """Return the FWHM to filter with [px]: as set, else the frame's, else 2.5 px."""
    if fwhm_px is not None:
        return fwhm_px
    return UNKNOWN_FWHM_FILTER_PX if frame.fwhm is None else frame.fwhm


def gaussian_profile(fwhm_px: float) -> npt.NDArray[np.float64]:
    """Return a Gaussian sampled at integer px out to 3 sigma, odd length, of unit sum.

    Raises
    ------
    BadInputError
        If the FWHM is not a positive number of px.
    """
    if not (np.isfinite(fwhm_px) and fwhm_px > 0):
        raise BadInputError("kernel FWHM", "a positive number of px", repr(fwhm_px))
    sigma = fwhm_px / FWHM_PER_SIGMA
    half = max(1, int(np.ceil(3.0 * sigma)))
    # A tiny sigma is harmless in float64: exp underflows to 0.
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(profile / profile.sum())


def gaussian_kernel(fwhm_px: float) -> npt.NDArray[np.float32]:
    """Return a round Gaussian filter of unit sum, float32, square with an odd side."""
    profile = gaussian_profile(fwhm_px)
    return np.outer(profile, profile).astype(np.float32)


def snr_map(
    data: npt.NDArray[np.floating],
    rms: npt.NDArray[np.floating],
    bad: npt.NDArray[np.bool_],
    fwhm_px: float,
) -> npt.NDArray[np.float32]:
    """Return the matched-filter signal-to-noise in every pixel, float32, shape (ny, nx).

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Image minus its background.
    rms : ndarray, shape (ny, nx)
        Noise of the background in the same unit, > 0.
    bad : ndarray of bool, shape (ny, nx)
        Pixels without information.
    fwhm_px : float
        FWHM of the Gaussian filter ``k`` [px].

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        ``sum(k*d/v) / sqrt(sum(k**2/v))`` with ``v = rms**2``, and ``1/v = 0``
        in bad pixels and beyond the edges. With uniform noise and no bad pixel
        this is ``conv(d, k) / (rms * sqrt(sum(k**2)))``. The value is 0 where
        every pixel under the filter is bad.

    Notes
    -----
    This is the optimal linear statistic for a source of shape ``k`` in white noise
    (e.g. Zackay & Ofek 2017, ApJ 836, 187, section 2). The photon noise of the source
    itself is left out: the value is the significance of a detection.
    """
    profile = gaussian_profile(fwhm_px)
    weight = np.where(bad, 0.0, 1.0 / np.square(rms, dtype=np.float64))
    numerator = _filter(np.where(bad, 0.0, data) * weight, profile)
    information = _filter(weight, profile**2)
    seen = information > 0
    out = np.zeros(numerator.shape, dtype=np.float32)
    largest = float(np.finfo(np.float32).max)
    out[seen] = np.clip(numerator[seen] / np.sqrt(information[seen]), -largest, largest)
    return out


def peak_snr(
    snr: npt.NDArray[np.float32],
    x: npt.NDArray[np.floating],
    y: npt.NDArray[np.floating],
) -> npt.NDArray[np.float64]:
    """Return the largest value in the 3 by 3 px around each position, shape (n,).

    Positions are 0-based [px] and are rounded to the nearest pixel of the frame.
    """
    ny, nx = snr.shape
    column = np.clip(np.rint(x).astype(np.intp), 0, nx - 1)
    row = np.clip(np.rint(y).astype(np.intp), 0, ny - 1)
    highest = np.asarray(maximum_filter(snr, size=3, mode="nearest"))
    return np.asarray(highest[row, column], dtype=np.float64)


def snr_peaks(
    data: npt.NDArray[np.floating],
    rms: npt.NDArray[np.floating],
    bad: npt.NDArray[np.bool_],
    fwhm_px: float,
    x: npt.NDArray[np.floating],
    y: npt.NDArray[np.floating],
) -> npt.NDArray[np.float64]:
    """Return `peak_snr` of the `snr_map` at some positions.

    Parameters
    ----------
    data, rms, bad, fwhm_px
        As for `snr_map`, which is computed around the positions only unless they are many.
    x, y : ndarray, any one shape
        As for `peak_snr`; the result has their shape.
    """
    ny, nx = data.shape
    column = np.clip(np.rint(x).astype(np.int64), 0, nx - 1)
    row = np.clip(np.rint(y).astype(np.int64), 0, ny - 1)
    places, which = np.unique(row * nx + column, return_inverse=True)
    profile = gaussian_profile(fwhm_px)
    side = profile.size + 2
    if places.size * side**2 >= data.size:
        return peak_snr(snr_map(data, rms, bad, fwhm_px), x, y)
    peaks = np.empty(places.size)
    for first in range(0, places.size, _PLACES):
        part = slice(first, first + _PLACES)
        peaks[part] = _peaks_at(data, rms, bad, profile, *np.divmod(places[part], nx))
    return peaks[which.reshape(row.shape)]


def _peaks_at(
    data: npt.NDArray[np.floating],
    rms: npt.NDArray[np.floating],
    bad: npt.NDArray[np.bool_],
    profile: npt.NDArray[np.float64],
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the largest value of `snr_map` in the 3 by 3 px around each pixel, shape (n,)."""
    around = np.arange(profile.size + 2) - (profile.size // 2 + 1)
    rows, columns = row[:, None] + around, column[:, None] + around
    row_there, column_there = (
        (at >= 0) & (at < size) for at, size in zip((rows, columns), data.shape, strict=True)
    )
    at = (
        np.clip(rows, 0, data.shape[0] - 1)[:, :, None],
        np.clip(columns, 0, data.shape[1] - 1)[:, None, :],
    )
    blind = ~(row_there[:, :, None] & column_there[:, None, :]) | bad[at]
    weight = np.where(blind, 0.0, 1.0 / np.square(rms[at], dtype=np.float64))
    numerator = _filter_valid(np.where(blind, 0.0, data[at]) * weight, profile)
    information = _filter_valid(weight, profile**2)
    # The nine pixels; those beyond the frame are no candidates.
    nine = slice(profile.size // 2, profile.size // 2 + 3)
    inside = row_there[:, nine, None] & column_there[:, None, nine]
    largest = float(np.finfo(np.float32).max)
    root = np.sqrt(np.where(information > 0, information, 1.0))
    value = np.clip(np.where(information > 0, numerator / root, 0.0), -largest, largest)
    value = np.where(inside, value.astype(np.float32), -np.inf)
    return np.asarray(value.max(axis=(1, 2)), dtype=np.float64)


def _filter_valid(
    stack: npt.NDArray[np.float64], profile: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Filter small images along both axes where the whole filter fits, shape (n, 3, 3).

    The sums have the order of `scipy.ndimage.correlate1d`, and so the same digits.
    """
    half = profile.size // 2

    def once(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Filter along the last axis."""
        centre = image[..., half : half + 3] * profile[half]
        for k in range(half):
            pair = image[..., k : k + 3] + image[..., 2 * half - k : 2 * half - k + 3]
            centre += pair * profile[k]
        return np.asarray(centre)

    return once(once(stack.transpose(0, 2, 1)).transpose(0, 2, 1))


def _filter(
    image: npt.NDArray[np.float64], profile: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Filter an image along both axes, with zeros beyond the edges."""
    once = correlate1d(image, profile, axis=0, mode="constant")
    return np.asarray(correlate1d(once, profile, axis=1, mode="constant"))
