"""Point-spread functions, integrated over pixels and sampled between them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from numbers import Integral, Real
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from skyduel.core.errors import BadInputError, require_kind, takes

__all__ = [
    "OVERSAMPLING",
    "RADIUS",
    "Aberrations",
    "Optics",
    "Psf",
    "aureole_kernel",
    "make_psf",
    "tabulate",
]

#: Number of sub-pixel positions at which the kernel is tabulated, per axis.
OVERSAMPLING: Final = 8
#: Default half width of a table [px].
RADIUS: Final = 24
#: Larger tables take gigabytes; wide wings are `aureole_kernel`'s.
_LARGEST_RADIUS: Final = 256


@dataclass(frozen=True)
class Aberrations:
    """Widths of the geometric spot diagram, all in px.

    The displacement of a ray through the pupil point (u, v) of the unit disc is the
    gradient of the wave front: ``defocus·(u, v)``, ``astigmatism·(u, -v)``,
    ``coma·(3u² + v², 2uv)/3`` and ``trefoil·(u² - v², -2uv)``, the last three
    turned by ``angle``. ``drift`` is the length of a straight trail along
    ``drift_angle`` (tracking error), ``obstruction`` the central hole of the
    pupil as a fraction of its radius. Angles in rad.
    """

    defocus: float = 0.0
    astigmatism: float = 0.0
    coma: float = 0.0
    trefoil: float = 0.0
    angle: float = 0.0
    drift: float = 0.0
    drift_angle: float = 0.0
    obstruction: float = 0.3

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            require_kind(f"Aberrations: {name}", value, Real)
            if not math.isfinite(value):
                raise BadInputError(f"Aberrations: {name}", "a finite number", repr(value))
        if not 0 <= self.obstruction < 1:
            raise BadInputError("Aberrations: obstruction", "0 <= it < 1", repr(self.obstruction))

    @property
    def none(self) -> bool:
        """True if the spot is a point."""
        return not any((self.defocus, self.astigmatism, self.coma, self.trefoil, self.drift))


class Optics(NamedTuple):
    """Parameters of a PSF: the arguments of `make_psf`."""

    fwhm: float
    beta: float | None = 3.0
    aberrations: Aberrations | None = None


@dataclass(frozen=True, eq=False)
class Psf:
    """A tabulated point-spread function.

    Attributes
    ----------
    bank : ndarray of float32, shape (K + 1, K + 1, 2·radius + 1, 2·radius + 1)
        ``bank[i, j]`` is the fraction of the flux in each pixel around the pixel
        that holds the source, for a source displaced from that pixel's centre
        by ``(j/K - 1/2, i/K - 1/2)`` px in (x, y). K is `OVERSAMPLING`. Each
        entry sums to 1.
    fwhm : float
        Full width at half maximum of the pixel-integrated profile [px], as the
        diameter of the circle with the area above half the peak.
    """

    bank: npt.NDArray[np.float32]
    fwhm: float

    @property
    def radius(self) -> int:
        """Half width of a tabulated stamp [px]."""
        return int(self.bank.shape[-1] // 2)

    @property
    def psf_sum2(self) -> float:
        """Σ psf², averaged over sub-pixel phases; 1/psf_sum2 is the noise area [px]."""
        inner = self.bank[:-1, :-1]
        return float(np.mean(np.sum(np.square(inner, dtype=np.float64), axis=(2, 3))))


@takes(fwhm=Real, beta=(Real, type(None)), aberrations=Aberrations, radius=Integral)
def make_psf(
    fwhm: float,
    beta: float | None = 3.0,
    aberrations: Aberrations | None = None,
    radius: int = RADIUS,
) -> Psf:
    """Tabulate a point-spread function of the given seeing.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the seeing profile before the pixel [px],
        0.5 to 20.
    beta : float, optional
        Exponent of the Moffat profile ``(1 + (r/α)²)^-β``, above 1; None for a
        Gaussian.
    aberrations : Aberrations, optional
        Spot diagram and drift with which the seeing is convolved.
    radius : int
        Half width of the table [px].

    Raises
    ------
    BadInputError
        If a parameter is out of range.

    Notes
    -----
    The origin is the centroid of the aberrated profile, so that the true position of a
    source is that of an unbiased centroid. Flux outside the table is redistributed
    within it; wide wings are modelled by `aureole_kernel`.
    Moffat, A. F. J. 1969, A&A 3, 455.
    """
    if not 0.5 <= fwhm <= 20:
        raise BadInputError("make_psf", "0.5 <= fwhm <= 20 px", repr(fwhm))
    if beta is not None and not 1 < beta < math.inf:
        raise BadInputError("make_psf", "a finite beta > 1, or None for a Gaussian", repr(beta))
    if radius < 2:
        raise BadInputError("make_psf", "radius >= 2 px", repr(radius))
    if radius > _LARGEST_RADIUS:
        raise BadInputError("make_psf", f"radius <= {_LARGEST_RADIUS} px", repr(radius))
    return _make_psf(float(fwhm), beta, aberrations or Aberrations(), int(radius))


# Frames of a set often share one telescope; making the table takes longer than a sparse frame.
@lru_cache(maxsize=32)
def _make_psf(fwhm: float, beta: float | None, aberrations: Aberrations, radius: int) -> Psf:
    k = OVERSAMPLING
    half = (radius + 1) * k
    axis = np.arange(-half, half + 1, dtype=np.float64) / k
    r2 = axis[:, None] ** 2 + axis[None, :] ** 2
    if beta is None:
        fine = np.exp(r2 * (-4 * np.log(2) / fwhm**2))
    else:
        alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / beta) - 1)
        fine = (1 + r2 / alpha2) ** -beta
    if not aberrations.none:
        spot = _spot(aberrations, half, k)
        size = fft.next_fast_len(3 * half, real=True)
        product = fft.rfft2(fine, (size, size)) * fft.rfft2(spot, (size, size))
        fine = fft.irfft2(product, (size, size))[half : 3 * half + 1, half : 3 * half + 1]
        fine = np.pad(fine, [(0, n - m) for n, m in zip(r2.shape, fine.shape, strict=True)])
        np.maximum(fine, 0, out=fine)
    # The mean over one pixel, exact to the fine grid: half weights at both ends.
    box = np.full(k + 1, 1 / k)
    box[[0, -1]] /= 2
    fine = ndimage.convolve1d(fine, box, axis=0, mode="constant")
    fine = ndimage.convolve1d(fine, box, axis=1, mode="constant")
    return tabulate(fine, radius)


def tabulate(fine: npt.NDArray[np.float64], radius: int) -> Psf:
    """Tabulate a point-spread function given by its values on a fine grid.

    Parameters
    ----------
    fine : ndarray of float64, shape (2·half + 1,)²
        Fraction of the flux in a pixel whose centre lies at each grid point, with the
        source in the middle; `OVERSAMPLING` points per px and
        ``half >= (radius + 1/2)·OVERSAMPLING``. It is normalised.
    radius : int
        Half width of the table [px].
    """
    k = OVERSAMPLING
    half = fine.shape[0] // 2
    fwhm_px = 2 * np.sqrt(np.count_nonzero(fine > fine.max() / 2) / np.pi) / k
    side = 2 * radius + 1
    bank = np.empty((k + 1, k + 1, side, side), dtype=np.float32)
    for i in range(k + 1):
        for j in range(k + 1):
            # Pixel m lies at m - (j/k - 1/2) from the source.
            y0, x0 = half - radius * k - (i - k // 2), half - radius * k - (j - k // 2)
            stamp = fine[y0 : y0 + side * k : k, x0 : x0 + side * k : k]
            bank[i, j] = stamp / stamp.sum()
    bank.flags.writeable = False
    return Psf(bank, float(fwhm_px))


def _spot(a: Aberrations, half: int, k: int) -> npt.NDArray[np.float64]:
    """Return the spot diagram on the fine grid, centred on its centroid, summing to 1."""
    u, v = np.meshgrid(*(np.linspace(-1, 1, 121),) * 2)
    rho2 = u**2 + v**2
    inside = (rho2 <= 1) & (rho2 >= a.obstruction**2)
    u, v = u[inside], v[inside]
    cos, sin = np.cos(a.angle), np.sin(a.angle)
    p, q = cos * u + sin * v, cos * v - sin * u
    dp = a.astigmatism * p + a.coma * (3 * p**2 + q**2) / 3 + a.trefoil * (p**2 - q**2)
    dq = -a.astigmatism * q + a.coma * 2 * p * q / 3 - a.trefoil * 2 * p * q
    dx, dy = a.defocus * u + cos * dp - sin * dq, a.defocus * v + sin * dp + cos * dq
    if a.drift:
        along = np.linspace(-0.5, 0.5, max(3, int(np.ceil(a.drift * 3)))) * a.drift
        dx = (dx[:, None] + along * np.cos(a.drift_angle)).ravel()
        dy = (dy[:, None] + along * np.sin(a.drift_angle)).ravel()
    dx, dy = (dx - dx.mean()) * k + half, (dy - dy.mean()) * k + half
    side = 2 * half + 1
    return splat(dx, dy, np.full(dx.size, 1 / dx.size), (side, side))


def splat(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> npt.NDArray[np.float64]:
    """Make an image by sharing each weight bilinearly among the four pixels around its point."""
    ny, nx = shape
    ix, iy = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    fx, fy = x - ix, y - iy
    image = np.zeros(ny * nx)
    for oy, wy in ((0, 1 - fy), (1, fy)):
        for ox, wx in ((0, 1 - fx), (1, fx)):
            cx, cy = ix + ox, iy + oy
            ok = (cx >= 0) & (cx < nx) & (cy >= 0) & (cy < ny)
            image += np.bincount(cy[ok] * nx + cx[ok], (weight * wx * wy)[ok], minlength=ny * nx)
    return image.reshape(ny, nx)


@lru_cache(maxsize=16)
def aureole_kernel(
    radius: int, core_px: float, slope: float, spikes: int = 0, angle: float = 0.0
) -> npt.NDArray[np.float32]:
    """Return the kernel of a star's wide wings, summing to 1, shape (2·radius + 1,)².

    The profile is ``(r² + core²)^(-slope/2)``, tapered to 0 at the rim (King
    1971, PASP 83, 199, found slope 2), with ``spikes`` diffraction spikes
    holding a third of the flux, the first along ``angle`` [rad].
    """
    axis = np.arange(-radius, radius + 1, dtype=np.float64)
    r2 = axis[:, None] ** 2 + axis[None, :] ** 2
    taper = np.clip(1 - r2 / radius**2, 0, None)
    kernel = (r2 + core_px**2) ** (-slope / 2) * taper
    kernel /= kernel.sum()
    if spikes:
        rays = np.zeros_like(kernel)
        steps = np.arange(0.0, radius, 0.25)
        for n in range(spikes):
            a = angle + 2 * np.pi * n / spikes
            rays += splat(
                radius + steps * np.cos(a),
                radius + steps * np.sin(a),
                (1 - steps / radius) ** 2 / (1 + steps / 3),
                kernel.shape,
            )
        kernel = kernel * (2 / 3) + rays / rays.sum() / 3
    out = kernel.astype(np.float32)
    out.flags.writeable = False
    return out


@lru_cache(maxsize=16)
def ghost_kernel(
    radius: float, hole: float = 0.0, shift: float = 0.0, angle: float = 0.0, edge: float = 2.0
) -> npt.NDArray[np.float32]:
    """Return the kernel of a star's out-of-focus reflection in the optics, summing to 1.

    A disc of ``radius`` [px] with an edge ``edge`` px wide, displaced by ``shift`` [px] along
    ``angle`` [rad]. With ``hole``, a fraction of the radius, it is a ring; without, it is
    brighter towards the middle.
    """
    half = int(np.ceil(radius + abs(shift) + 3 * edge))
    axis = np.arange(-half, half + 1, dtype=np.float64)
    r = np.hypot(axis[None, :] - shift * np.cos(angle), axis[:, None] - shift * np.sin(angle))
    kernel = 1 / (1 + np.exp(np.clip((r - radius) / edge, -50, 50)))
    if hole:
        kernel *= 1 / (1 + np.exp(np.clip((hole * radius - r) / edge, -50, 50)))
    else:
        kernel *= 1 / (1 + (2 * r / radius) ** 2)
    out: npt.NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    out.flags.writeable = False
    return out
