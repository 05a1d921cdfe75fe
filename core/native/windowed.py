"""Half-light radii and windowed positions, equal to SEP's in every digit."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import sep

from skyduel.core.native.library import library, pointer

__all__ = ["half_light_radius", "windowed_position"]

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_SUBPIX_RADIUS: Final = 5
#: SExtractor's least sigma of the window [px].
_LEAST_SIGMA: Final = 0.5 * 2.0 / 2.35
#: Beyond this the number of a pixel is no longer exact in single steps.
_FARTHEST_PX: Final = 1e9


def half_light_radius(
    data: Image, x: Floats, y: Floats, reach: Floats, flux: Floats, mask: Bools | None = None
) -> Floats:
    """Return the radius that holds half of the flux of each object.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx), C-contiguous
        Image minus its background.
    x, y : ndarray of float64, shape (n,)
        Centres [px, 0-based].
    reach : ndarray of float64, shape (n,)
        Largest radius [px].
    flux : ndarray of float64, shape (n,)
        Total flux, in units of ``data``; NaN where it is unknown.
    mask : ndarray of bool, shape (ny, nx), C-contiguous, optional
        Pixels that count as the mean of the rest of their annulus.

    Returns
    -------
    ndarray of float64, shape (n,)
        Radii [px], those of `sep.flux_radius` with ``subpix=5``. ``reach`` where half of the
        flux lies farther out; 0 or NaN where the flux is unknown.
    """
    loaded = library()
    if loaded is None or not _ordinary(data, x, y, reach):
        radius, _ = sep.flux_radius(
            data, x, y, reach, 0.5, normflux=flux, mask=mask, subpix=_SUBPIX_RADIUS
        )
        return np.asarray(radius, dtype=np.float64)
    x, y, reach, target = (np.ascontiguousarray(v, np.float64) for v in (x, y, reach, 0.5 * flux))
    radius = np.empty(len(x))
    loaded.skyduel_half_light_radius(
        pointer(data), pointer(mask), *data.shape, len(x), pointer(x), pointer(y),
        pointer(reach), pointer(target), _SUBPIX_RADIUS, pointer(radius),
    )  # fmt: skip
    return radius


def windowed_position(
    data: Image, x: Floats, y: Floats, sigma: Floats, mask: Bools | None = None
) -> tuple[Floats, Floats, npt.NDArray[np.int16]]:
    """Return windowed positions (SExtractor's XWIN, YWIN) and SEP's flags of the window.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx), C-contiguous
        Image minus its background.
    x, y : ndarray of float64, shape (n,)
        Where to start [px, 0-based].
    sigma : ndarray of float64, shape (n,)
        Sigma of the Gaussian window [px].
    mask : ndarray of bool, shape (ny, nx), C-contiguous, optional
        Pixels that count as the mean of the rest of the window.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        Those of `sep.winpos` with its default settings.
    flags : ndarray of int16, shape (n,)
        `sep.APER_TRUNC` and `sep.APER_HASMASKED`.
    """
    loaded = library()
    if loaded is None or not _ordinary(data, x, y, sigma):
        xwin, ywin, flags = sep.winpos(data, x, y, sigma, mask=mask)
        return np.asarray(xwin), np.asarray(ywin), np.asarray(flags, dtype=np.int16)
    xwin, ywin = (np.array(v, dtype=np.float64, order="C") for v in (x, y))
    width = np.maximum(sigma, _LEAST_SIGMA)
    flags = np.empty(len(xwin), dtype=np.int16)
    loaded.skyduel_windowed_position(
        pointer(data), pointer(mask), *data.shape, len(xwin), pointer(xwin), pointer(ywin),
        pointer(width), pointer(flags),
    )  # fmt: skip
    return xwin, ywin, flags


def _ordinary(data: Image, x: Floats, y: Floats, size: Floats) -> bool:
    """Return True if all values are fit for whole numbers of pixels; SEP decides on others."""
    if data.dtype != np.float32 or not data.flags.c_contiguous:
        return False
    near = all(bool((np.abs(v) < _FARTHEST_PX).all()) for v in (x, y, size))
    return near and bool((size > 0).all())
