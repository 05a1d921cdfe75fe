"""Measure the sharpness of the pixels at a position, bad rows and columns, and masks nearby.

These features separate kinds of errors. They are measured on the frame, in the same way for
every detector, as fluxes are in `skyduel.core.measure.aperture_photometry`.
"""

from __future__ import annotations

from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from skyduel.core.catalog import Catalog
from skyduel.core.errors import takes
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import aperture_radius
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.mask_distance import mask_distance
from skyduel.core.measure.medians import column_medians

__all__ = ["PIXEL_FEATURES", "gaussian_sharpness", "pixel_features"]

_Floats = npt.NDArray[np.float64]
_Image = npt.NDArray[np.float32]

#: Columns that `pixel_features` adds.
PIXEL_FEATURES: Final = ("sharpness", "peak_snr", "line_flux", "line_flux_err", "mask_distance")

# The level of a line is the median of this many pixels along it: far longer than the width of
# a star, and short enough for a bad column that begins within the frame.
_LINE_PX: Final = 64
# Structures wider than this across lines are sky or halo, not a line (odd, px).
_ACROSS_PX: Final = 15
# Standard deviation of the median of n normal numbers is 1.2533 sigma/sqrt(n).
_MEDIAN_NOISE: Final = 1.2533


@takes(fwhm=Real)
def gaussian_sharpness(fwhm: float) -> float:
    """Return the ``sharpness`` of a Gaussian of this FWHM [px] centred on a pixel.

    No star of that FWHM is sharper: a star centred between pixels, or with wings, is less sharp.
    """
    side, corner = np.exp(-4 * np.log(2) * np.array([1.0, 2.0]) / fwhm**2)
    return float(1 - (side + corner) / 2)


@takes(frame=Frame, catalog=Catalog, background=Background)
def pixel_features(
    frame: Frame, catalog: Catalog, *, background: Background | None = None
) -> Catalog:
    """Measure sharpness, peak S/N, line flux and distance to a mask at a catalogue's positions.

    Parameters
    ----------
    frame : Frame
        The frame; masked pixels are excluded.
    catalog : Catalog
        Positions 0-based [px].
    background : Background, optional
        Background of the frame; by default from `estimate_background`.

    Returns
    -------
    Catalog
        The catalogue with five columns, NaN for positions off the frame:

        ``sharpness``
            1 - (mean of the 8 neighbours) / (value) of the brightest pixel within about
            half a FWHM in x and in y, background-subtracted: 1 for a single pixel, 0 for a
            plateau, about 0.5 for a star of 2.5 px FWHM (`gaussian_sharpness`). NaN if no
            pixel is above the background, or fewer than 3 neighbours are usable.
        ``peak_snr``
            S/N of that brightest pixel (background noise and, if the gain is known, photon
            noise). It gives the precision of ``sharpness``: for a true value ``s`` the
            standard deviation is ``sqrt(1/8 + (1 - s)^2) / peak_snr``.
        ``line_flux``
            Flux [ADU] that the row or the column adds to the common aperture
            (`aperture_radius`): the level of each line that crosses it, times its chord.
            Row or column, whichever has the larger absolute value; negative for a dark line.
        ``line_flux_err``
            Standard deviation of ``line_flux`` from the noise of the levels [ADU].
        ``mask_distance``
            Distance to the nearest masked area [px], see
            `skyduel.core.measure.mask_distance.mask_distance`; NaN beyond 50 px.

    Notes
    -----
    The level of a line is the median of 64 pixels along it (of overlapping stretches the
    one whose centre is nearest), minus the median of the 15 lines around it, so that
    stars, halos and gradients do not affect it. If the FWHM is unknown, the brightest
    pixel is searched within 1 px and the aperture radius is 3 px.
    """
    n = len(catalog)
    columns = {name: np.full(n, np.nan) for name in PIXEL_FEATURES}
    if n:
        sky = estimate_background(frame) if background is None else background
        ny, nx = frame.shape
        # Compared before conversion to integers, which would overflow far from the frame.
        on = (catalog["x"] >= -0.5) & (catalog["x"] < nx - 0.5)
        on &= (catalog["y"] >= -0.5) & (catalog["y"] < ny - 0.5)
        x, y = catalog["x"][on], catalog["y"][on]
        values = frame.data - sky.level
        columns["sharpness"][on], columns["peak_snr"][on] = _sharpness(frame, values, sky.rms, x, y)
        columns["line_flux"][on], columns["line_flux_err"][on] = _line_flux(
            frame, values, sky.rms, x, y
        )
        columns["mask_distance"][on] = mask_distance(frame.bad, x, y)
    return catalog.with_columns(**columns)


def _sharpness(
    frame: Frame, values: _Image, rms: _Image, x: _Floats, y: _Floats
) -> tuple[_Floats, _Floats]:
    """Measure the sharpness and the S/N of the brightest pixel near each position."""
    reach = 1 if frame.fwhm is None else max(1, round(frame.fwhm / 2))
    # The frame is surrounded by unusable pixels, so that every stamp is whole.
    pad = reach + 1
    usable = np.pad(~frame.bad, pad)
    padded = np.pad(values, pad)
    noise = np.pad(rms, pad)
    row, column = np.floor(y + 0.5).astype(np.int64) + pad, np.floor(x + 0.5).astype(np.int64) + pad
    steps = np.arange(-reach, reach + 1)
    dy, dx = (s.ravel() for s in np.meshgrid(steps, steps, indexing="ij"))
    near = (row[:, None] + dy, column[:, None] + dx)
    best = np.where(usable[near], padded[near], -np.inf).argmax(axis=1)
    row, column = row + dy[best], column + dx[best]

    ring_y, ring_x = (np.delete(s.ravel(), 4) for s in np.mgrid[-1:2, -1:2])
    ring = (row[:, None] + ring_y, column[:, None] + ring_x)
    some = usable[ring]
    count = some.sum(axis=1)
    peak = padded[row, column].astype(np.float64)
    good = usable[row, column] & (peak > 0) & (count >= 3)
    peak, count = np.where(good, peak, np.nan), np.where(good, count, 1)
    mean = np.where(some, padded[ring], 0.0).sum(axis=1, dtype=np.float64) / count
    shot = 0.0 if frame.gain is None else 1.0 / frame.gain
    variance = noise[row, column].astype(np.float64) ** 2 + shot * peak
    return 1 - mean / peak, peak / np.sqrt(variance)


def _line_flux(
    frame: Frame, values: _Image, rms: _Image, x: _Floats, y: _Floats
) -> tuple[_Floats, _Floats]:
    """Return the larger flux of rows or columns in the aperture, and its error."""
    radius = aperture_radius(frame)
    clean = np.where(frame.bad, np.float32(0), values)
    fluxes, errors = [], []
    for image, noise, along, across in ((clean, rms, y, x), (clean.T, rms.T, x, y)):
        levels, sigma, starts, length = _levels(image, noise)
        stretch = np.abs(along[:, None] - (starts + (length - 1) / 2)).argmin(axis=1)
        flux, variance = np.zeros(x.size), np.zeros(x.size)
        first = np.floor(across - radius + 0.5).astype(np.int64)
        for k in range(int(2 * radius) + 2):
            line = first + k
            chord = 2 * np.sqrt(np.maximum(radius**2 - (line - across) ** 2, 0.0))
            chord[(line < 0) | (line >= levels.shape[1])] = 0.0
            line = np.clip(line, 0, levels.shape[1] - 1)
            flux += chord * levels[stretch, line]
            variance += (chord * sigma[stretch, line]) ** 2
        fluxes.append(flux)
        errors.append(np.sqrt(variance))
    rows = np.abs(fluxes[1]) > np.abs(fluxes[0])
    return np.where(rows, fluxes[1], fluxes[0]), np.where(rows, errors[1], errors[0])


def _levels(
    image: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
) -> tuple[_Floats, _Floats, npt.NDArray[np.int64], int]:
    """Measure the level of every column and its noise in stretches along axis 0.

    Both have the shape (n_stretches, columns). The starts and the length of the stretches are
    also returned.
    """
    length = min(_LINE_PX, image.shape[0])
    last = image.shape[0] - length
    starts = np.unique(np.append(np.arange(0, last + 1, _LINE_PX // 2), last)).astype(np.int64)
    levels = np.stack([column_medians(image[s : s + length]) for s in starts])
    sigma = np.stack([noise[s + length // 2] for s in starts]).astype(np.float64)
    levels = levels - ndimage.median_filter(levels, size=(1, _ACROSS_PX), mode="reflect")
    return levels.astype(np.float64), sigma * (_MEDIAN_NOISE / np.sqrt(length)), starts, length
