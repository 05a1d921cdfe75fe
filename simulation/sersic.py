"""Render galaxies with a Sérsic profile, integrated over pixels and convolved with the PSF."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from skyduel.core.errors import BadInputError
from skyduel.simulation.psf import OVERSAMPLING, Psf

__all__ = [
    "SERSIC_RANGE",
    "SersicGalaxy",
    "galaxy_stamp",
    "render_galaxies",
    "sersic_b",
    "sersic_radius",
]

Floats = npt.NDArray[np.float64]

#: Sérsic indices that can be rendered.
SERSIC_RANGE: Final = (0.3, 6.0)
#: The stamp encloses the ellipse with this fraction of the light.
_WITHIN: Final = 0.995
#: No stamp is larger [px]; a galaxy this large fills a frame.
_LARGEST_PX: Final = 1024
#: Half width [px] of the core; cells per px in the core, at least two phases wide, and outside.
_CORE_PX: Final = 8
_CORE_CELLS: Final = 4
_OUTER_CELLS: Final = 2
#: The cells around the centre are divided so often, each time into quarters per axis.
_DIVISIONS: Final = 7
_QUARTERS: Final = 4
#: Half width, in cells, of the square around the centre that is divided.
_DIVIDED: Final = 3
#: Number of Gauss and Legendre's nodes per axis of a cell, in the core and outside it.
_CORE_NODES: Final = 3
_OUTER_NODES: Final = 2
#: Simpson's rule: these weights at both ends and the middle of a cell have its mean and variance.
_SIMPSON: Final = (1 / 6, 2 / 3, 1 / 6)
#: Sides of stamps are multiples of this, so that few transforms of a PSF are kept.
_STEP: Final = 16


class SersicGalaxy(NamedTuple):
    """A galaxy of total flux 1.

    Parameters
    ----------
    x, y : float
        Centre [px], 0-based, integer at the pixel's centre.
    half_light_px : float
        Half-light radius along the major axis [px], without the PSF.
    axis_ratio : float
        Minor over major axis.
    theta : float
        Direction of the major axis from +x towards +y [rad].
    sersic : float
        Index n of the profile: 0.5 Gaussian, 1 exponential disc, 4 de Vaucouleurs.
    """

    x: float
    y: float
    half_light_px: float
    axis_ratio: float
    theta: float
    sersic: float


def sersic_b(n: float) -> float:
    """Return b of a Sérsic profile exp(-b r^(1/n)): half of the light lies within r = 1.

    The light within r is the regularised incomplete gamma function P(2n, b r^(1/n)).
    """
    if not SERSIC_RANGE[0] <= n <= SERSIC_RANGE[1]:
        raise BadInputError("sersic", "an index between 0.3 and 6", repr(n))
    return float(special.gammaincinv(2 * n, 0.5))


def sersic_radius(n: float, share: float) -> float:
    """Return the radius, in half-light radii, within which a fraction of the light lies."""
    return float((special.gammaincinv(2 * n, share) / sersic_b(n)) ** n)


def galaxy_stamp(galaxy: SersicGalaxy, psf: Psf) -> tuple[Floats, int, int]:
    """Render a galaxy of flux 1.

    Parameters
    ----------
    galaxy : SersicGalaxy
        Its profile before the PSF.
    psf : Psf
        The profile with which it is convolved.

    Returns
    -------
    stamp : ndarray of float64, shape (ny, nx)
        Fraction of the light in each pixel.
    x0, y0 : int
        Column and row of the frame of the stamp's first pixel.

    Raises
    ------
    BadInputError
        If a radius, an axis ratio or an index is out of range.

    Notes
    -----
    The profile is integrated over cells by Gauss and Legendre's rule: a quarter of a px wide
    around the centre, half a px farther out. Cells at the centre are divided further, until
    the cusp of a de Vaucouleurs profile holds no light that matters. The light of a cell is
    given to the sub-pixel phases of the PSF's table with its mean and variance kept, and the
    PSF of each phase is convolved with the light of that phase. Light outside the box of the
    ellipse that holds 99.5 % is left out.
    """
    _check(galaxy)
    reach = sersic_radius(galaxy.sersic, _WITHIN) * galaxy.half_light_px
    c, s, q = math.cos(galaxy.theta), math.sin(galaxy.theta), galaxy.axis_ratio
    half_x = _half_side(reach * math.hypot(c, q * s))
    half_y = _half_side(reach * math.hypot(s, q * c))
    ix, iy = math.floor(galaxy.x + 0.5), math.floor(galaxy.y + 0.5)
    centred = galaxy._replace(x=galaxy.x - ix, y=galaxy.y - iy)
    core = _convolved(_core_nodes(centred), psf, OVERSAMPLING)[:-1, :-1]
    if half_x == half_y == _CORE_PX:
        stamp = core.copy()
    else:
        cells = _integrated(centred, half_y, half_x, _OUTER_CELLS, _OUTER_NODES)
        inner = [
            slice((half - _CORE_PX) * _OUTER_CELLS, (half + _CORE_PX + 1) * _OUTER_CELLS)
            for half in (half_y, half_x)
        ]
        cells[inner[0], inner[1]] = 0
        stamp = _convolved(cells, psf, _OUTER_CELLS)
        y, x = half_y - _CORE_PX, half_x - _CORE_PX
        stamp[y : y + core.shape[0], x : x + core.shape[1]] += core
    np.maximum(stamp, 0, out=stamp)  # rounding of the transforms
    return stamp, ix - half_x - psf.radius, iy - half_y - psf.radius


def render_galaxies(
    shape: tuple[int, int],
    galaxies: Sequence[SersicGalaxy],
    flux: Floats,
    psf_at: Callable[[float, float], Psf],
) -> tuple[npt.NDArray[np.float32], Floats]:
    """Render the expected image of galaxies.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the image.
    galaxies : sequence of SersicGalaxy
        Centres may lie outside the image.
    flux : ndarray, shape (n,)
        Total flux of each.
    psf_at : callable
        The profile at a position (x, y) [px].

    Returns
    -------
    image : ndarray of float32, shape (ny, nx)
        In the unit of the flux.
    sum2 : ndarray of float64, shape (n,)
        Σ p² of each galaxy's profile p of flux 1: ``flux·√sum2 / sigma`` is the S/N of an
        ideal measurement.
    """
    ny, nx = shape
    image = np.zeros(shape)
    sum2 = np.zeros(len(galaxies))
    for row, galaxy in enumerate(galaxies):
        stamp, x0, y0 = galaxy_stamp(galaxy, psf_at(galaxy.x, galaxy.y))
        sum2[row] = np.sum(np.square(stamp))
        left, bottom = max(x0, 0), max(y0, 0)
        right, top = min(x0 + stamp.shape[1], nx), min(y0 + stamp.shape[0], ny)
        if left < right and bottom < top:
            part = stamp[bottom - y0 : top - y0, left - x0 : right - x0]
            image[bottom:top, left:right] += flux[row] * part
    return image.astype(np.float32), sum2


def _check(galaxy: SersicGalaxy) -> None:
    sersic_b(galaxy.sersic)
    if not 0 < galaxy.half_light_px <= _LARGEST_PX:
        required = f"a half-light radius above 0 and at most {_LARGEST_PX} px"
        raise BadInputError("galaxy", required, repr(galaxy.half_light_px))
    if not 0.05 <= galaxy.axis_ratio <= 1:
        raise BadInputError("galaxy", "an axis ratio between 0.05 and 1", repr(galaxy.axis_ratio))


def _half_side(reach: float) -> int:
    """Return the half width of a stamp [px]: that of the core, or in steps beyond it."""
    beyond = math.ceil(max(reach - _CORE_PX, 0) / _STEP)
    return min(_CORE_PX + _STEP * beyond, _LARGEST_PX)


def _integrated(galaxy: SersicGalaxy, half_y: int, half_x: int, per_px: int, k: int) -> Floats:
    """Integrate the profile over the cells of the pixels around the origin, k nodes per axis."""
    ny, nx = ((2 * half + 1) * per_px for half in (half_y, half_x))
    return _squares(galaxy, -0.5 - half_x, -0.5 - half_y, 1 / per_px, (ny, nx), k)[2]


def _squares(
    galaxy: SersicGalaxy, left: float, bottom: float, size: float, shape: tuple[int, int], k: int
) -> tuple[Floats, Floats, Floats]:
    """Return x and y of the centres of square cells, and the light in each, shape (ny, nx)."""
    ny, nx = shape
    nodes, weights = (0.5 * v for v in np.polynomial.legendre.leggauss(k))
    x: Floats = left + size * (np.arange(nx, dtype=np.float64) + 0.5)
    y: Floats = bottom + size * (np.arange(ny, dtype=np.float64) + 0.5)
    at_x, at_y = ((v[:, None] + size * nodes).ravel() for v in (x, y))
    values = _intensity(galaxy, at_x[None, :] - galaxy.x, at_y[:, None] - galaxy.y)
    light: Floats = np.einsum("iajb,a,b->ij", values.reshape(ny, k, nx, k), weights, weights)
    return x, y, light * size**2


def _core_nodes(galaxy: SersicGalaxy) -> Floats:
    """Return the light of the core on the phases of the PSF's table.

    The last row and column of phases are the far borders of the core.
    """
    size = 1 / _CORE_CELLS
    edge = -0.5 - _CORE_PX
    cells = _integrated(galaxy, _CORE_PX, _CORE_PX, _CORE_CELLS, _CORE_NODES)
    # The square at the centre, in corners of cells.
    j, i = (math.floor((v - edge) / size) - _DIVIDED for v in (galaxy.x, galaxy.y))
    side = 2 * _DIVIDED + 1
    cells[i : i + side, j : j + side] = 0
    half = OVERSAMPLING // _CORE_CELLS // 2
    n = (2 * _CORE_PX + 2) * OVERSAMPLING
    light = np.zeros((n, n))
    span = cells.shape[0] * 2 * half
    parts_of_cell = [(w, slice(k * half, k * half + span, 2 * half))
                     for k, w in enumerate(_SIMPSON)]  # fmt: skip
    for share_y, rows in parts_of_cell:
        for share_x, columns in parts_of_cell:
            light[rows, columns] += share_y * share_x * cells
    x, y, parts = _divided(galaxy, edge + j * size, edge + i * size, size, _DIVISIONS)
    (px, wx), (py, wy) = (_shares((v - edge) * OVERSAMPLING) for v in (x, y))
    at = (py[:, :, None] * n + px[:, None, :]).ravel()
    weights = wy[:, :, None] * wx[:, None, :] * parts[:, None, None]
    light += np.bincount(at, weights.ravel(), minlength=n * n).reshape(n, n)
    return light


def _divided(
    galaxy: SersicGalaxy, left: float, bottom: float, size: float, divisions: int
) -> tuple[Floats, Floats, Floats]:
    """Return x, y and light, each of shape (n,), of a square of cells around the centre.

    Each cell is divided, and those at the centre again.
    """
    side, small = 2 * _DIVIDED + 1, size / _QUARTERS
    within = (side * _QUARTERS, side * _QUARTERS)
    x, y, light = _squares(galaxy, left, bottom, small, within, _CORE_NODES)
    xx, yy = np.meshgrid(x, y)
    if divisions <= 1:
        return xx.ravel(), yy.ravel(), light.ravel()
    j = math.floor((galaxy.x - left) / small) - _DIVIDED
    i = math.floor((galaxy.y - bottom) / small) - _DIVIDED
    again = np.zeros(within, dtype=bool)
    again[i : i + side, j : j + side] = True
    inner = _divided(galaxy, left + j * small, bottom + i * small, small, divisions - 1)
    outer = (xx[~again], yy[~again], light[~again])
    return tuple(np.concatenate(v) for v in zip(outer, inner, strict=True))  # type: ignore[return-value]


def _shares(at: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return three phases around each place, and its shares of them, each of shape (n, 3).

    The shares keep mean and variance: they interpolate the PSF by a parabola.
    """
    middle = np.rint(at)
    d = at - middle
    shares = np.stack([d * (d - 1) / 2, 1 - d**2, d * (d + 1) / 2], axis=1)
    return middle.astype(np.intp)[:, None] + np.array([-1, 0, 1]), shares


def _intensity(galaxy: SersicGalaxy, dx: Floats, dy: Floats) -> Floats:
    """Return the light per px² at distances from the centre [px]."""
    n, q, radius = galaxy.sersic, galaxy.axis_ratio, galaxy.half_light_px
    b = sersic_b(n)
    c, s = math.cos(galaxy.theta), math.sin(galaxy.theta)
    r2 = (dx * c + dy * s) ** 2 + ((dy * c - dx * s) / q) ** 2
    centre = b ** (2 * n) / (2 * math.pi * n * special.gamma(2 * n) * radius**2 * q)
    return np.asarray(centre * np.exp(-b * (r2 / radius**2) ** (0.5 / n)))


def _convolved(cells: Floats, psf: Psf, per_px: int) -> Floats:
    """Convolve cells with the PSF; the image is larger by the PSF's radius on every side."""
    ny, nx = (side // per_px for side in cells.shape)
    full = (ny + 2 * psf.radius, nx + 2 * psf.radius)
    size = tuple(fft.next_fast_len(side, real=True) for side in full)
    phases = cells.reshape(ny, per_px, nx, per_px).transpose(1, 3, 0, 2)
    product = fft.rfft2(phases, size)
    product *= _transformed(psf, per_px, size)
    image = fft.irfft2(product.sum(axis=(0, 1)), size)
    return np.ascontiguousarray(image[: full[0], : full[1]])


# A frame's galaxies have one PSF and few sizes.
@lru_cache(maxsize=12)
def _transformed(psf: Psf, per_px: int, size: tuple[int, ...]) -> npt.NDArray[np.complex128]:
    """Return the Fourier transforms of the PSF at its phases, or spread over larger cells."""
    bank = psf.bank.astype(np.float64)
    if per_px == OVERSAMPLING:
        return np.asarray(fft.rfft2(bank[:-1, :-1], size))
    half = OVERSAMPLING // per_px // 2
    middle = half + 2 * half * np.arange(per_px)
    for axis in (0, 1):
        parts = [np.take(bank, middle + offset, axis=axis) for offset in (-half, 0, half)]
        bank = np.tensordot(_SIMPSON, parts, axes=1)
    return np.asarray(fft.rfft2(bank, size))
