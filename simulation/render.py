"""Render sources with a point-spread function to an image of expected flux."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.measure.fft_convolution import fft_convolve
from skyduel.simulation.psf import OVERSAMPLING, Psf, splat

__all__ = ["LADDER", "add_aureole", "render_points", "stamp_radii", "streak_points"]

#: Half widths of the stamps that are smaller than the table [px].
LADDER: Final = (3, 5, 7, 10, 14, 19)

_CHUNK_PIXELS: Final = 2_000_000
#: Points per px along a streak; denser points change every pixel by less than 1e-3 of its value.
_STREAK_DENSITY: Final = 3.0


def render_points(
    shape: tuple[int, int],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    flux: npt.NDArray[np.float64],
    psf: Psf,
    negligible: float,
) -> npt.NDArray[np.float32]:
    """Render the expected image of point sources.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the image.
    x, y : ndarray, shape (n,)
        Centres [px], 0-based, integer at the pixel's centre; they may lie
        outside the image.
    flux : ndarray, shape (n,)
        Total flux, in the unit of the image.
    psf : Psf
        Profile of every source, interpolated linearly between its tabulated phases,
        which keeps centroids exact.
    negligible : float
        Each stamp is cut where the profile falls below this value, so that
        faint stars take little time.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
    """
    ny, nx = shape
    image = np.zeros(ny * nx)
    radii = stamp_radii(flux, _outside(psf), negligible, psf.radius)
    for radius in np.unique(radii):
        rows = np.flatnonzero(radii == radius)
        rows = rows[
            (x[rows] > -radius - 1)
            & (x[rows] < nx + radius)
            & (y[rows] > -radius - 1)
            & (y[rows] < ny + radius)
        ]
        crop = psf.radius - radius
        side = 2 * radius + 1
        bank = np.ascontiguousarray(psf.bank[:, :, crop : crop + side, crop : crop + side]).reshape(
            (OVERSAMPLING + 1) ** 2, side * side
        )
        per_chunk = max(1, _CHUNK_PIXELS // side**2)
        offsets = np.arange(-radius, radius + 1)
        for start in range(0, rows.size, per_chunk):
            part = rows[start : start + per_chunk]
            ix, kx, wx = _phase(x[part])
            iy, ky, wy = _phase(y[part])
            base = ky * (OVERSAMPLING + 1) + kx
            f = flux[part]
            stamps = bank[base] * (f * (1 - wy) * (1 - wx))[:, None]
            stamps += bank[base + 1] * (f * (1 - wy) * wx)[:, None]
            stamps += bank[base + OVERSAMPLING + 1] * (f * wy * (1 - wx))[:, None]
            stamps += bank[base + OVERSAMPLING + 2] * (f * wy * wx)[:, None]
            cols = ix[:, None] + offsets
            lines = iy[:, None] + offsets
            where = (lines[:, :, None] * nx + cols[:, None, :]).reshape(part.size, -1)
            inside = (
                ((lines >= 0) & (lines < ny))[:, :, None] & ((cols >= 0) & (cols < nx))[:, None, :]
            ).reshape(part.size, -1)
            if inside.all():
                image += np.bincount(where.ravel(), stamps.ravel(), minlength=ny * nx)
            else:
                image += np.bincount(where[inside], stamps[inside], minlength=ny * nx)
    return image.reshape(ny, nx).astype(np.float32)


def _phase(
    position: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Split a position into pixel, lower tabulated phase, and weight of the next phase."""
    pixel = np.floor(position + 0.5)
    phase = (position - pixel + 0.5) * OVERSAMPLING
    lower = np.minimum(np.floor(phase), OVERSAMPLING - 1)
    return pixel.astype(np.intp), lower.astype(np.intp), phase - lower


def _outside(psf: Psf) -> npt.NDArray[np.float64]:
    """Return the largest value of a profile beyond each radius of `LADDER`."""
    centre = psf.bank[OVERSAMPLING // 2, OVERSAMPLING // 2]
    distance = np.maximum(*np.abs(np.indices(centre.shape) - psf.radius))
    return np.array([centre[distance > r].max(initial=0.0) for r in LADDER])


def stamp_radii(
    flux: npt.NDArray[np.float64],
    outside: npt.NDArray[np.float64],
    negligible: npt.ArrayLike,
    whole: int,
) -> npt.NDArray[np.intp]:
    """Return the smallest radius of `LADDER` beyond which each source is negligible.

    Parameters
    ----------
    flux : ndarray, shape (n,)
        Total flux of each source.
    outside : ndarray, shape (len(LADDER),) or (n, len(LADDER))
        The largest value of the profile, of flux 1, beyond each radius of `LADDER`.
    negligible : array_like, shape () or (n,)
        Largest negligible value per pixel, in the unit of the flux.
    whole : int
        Radius of the profile's table [px].

    Returns
    -------
    ndarray of int, shape (n,)
    """
    ladder = np.array([*LADDER, whole], dtype=np.intp)
    cut = flux[:, None] * outside <= np.reshape(negligible, (-1, 1))
    cut = np.column_stack([cut & (ladder[:-1] < whole), np.ones(len(flux), bool)])
    return np.asarray(ladder[np.argmax(cut, axis=1)])


def streak_points(
    x: float, y: float, length: float, theta: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the centres of equal point sources that form a streak, each of shape (n,)."""
    n = max(2, int(np.ceil(length * _STREAK_DENSITY)))
    along = (np.arange(n) + 0.5) / n * length - length / 2
    return x + along * np.cos(theta), y + along * np.sin(theta)


def add_aureole(
    image: npt.NDArray[np.float32],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    flux: npt.NDArray[np.float64],
    kernel: npt.NDArray[np.float32],
    share: float,
) -> npt.NDArray[np.float32]:
    """Move the fraction ``share`` of every source's flux to wide wings.

    All stars are convolved in one step, including those up to a kernel's radius outside
    the image.
    """
    pad = kernel.shape[0] // 2
    ny, nx = image.shape
    points = splat(x + pad, y + pad, flux * share, (ny + 2 * pad, nx + 2 * pad))
    wings = fft_convolve(points.astype(np.float32), kernel)
    return np.asarray(image * (1 - share) + wings, dtype=np.float32)
