"""Model of a measured PSF: a Moffat profile and a table of its residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import linalg

from skyduel.simulation.psf import OVERSAMPLING, Psf, tabulate

__all__ = ["MeasuredPsf", "Moffat", "combine"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Number of Gauss-Legendre nodes per pixel and axis for the integration of a profile.
_NODES: Final = 5
#: Spacing of the table of residuals [px].
_STEP_PX: Final = 0.5
#: Minimum unit of the table, as a fraction of the profile's peak.
_LEAST_UNIT: Final = 0.002
#: Strengths of the smoothness and size penalty of the table; chosen by cross-validation.
_PENALTIES: Final = (0.3, 3.0, 30.0)


@dataclass(frozen=True)
class Moffat:
    """An elliptical Moffat profile, ``(1 + q(dx, dy)/α²)^-β``, of total flux 1.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum before integration over pixels [px], of the circle of
        the same area.
    beta : float
        Exponent, above 1.
    e1, e2 : float
        Ellipticity along the axes and the diagonals: axis ratio
        ``exp(2·hypot(e1, e2))``, the long axis at ``arctan2(e2, e1)/2`` from +x.
    """

    fwhm: float
    beta: float
    e1: float = 0.0
    e2: float = 0.0

    @property
    def vector(self) -> Floats:
        """The four parameters on unbounded scales."""
        return np.array([np.log(self.fwhm), np.log(self.beta), self.e1, self.e2])

    @classmethod
    def from_vector(cls, p: Floats) -> Moffat:
        """Build a profile from four parameters as in `vector`."""
        return cls(float(np.exp(p[0])), float(np.exp(p[1])), float(p[2]), float(p[3]))

    def per_pixel(self, dx: Floats, dy: Floats) -> Floats:
        """Return the fraction of flux in pixels centred at offsets [px] from the source."""
        size = float(np.hypot(self.e1, self.e2))
        grow, sheer = np.cosh(2 * size), np.sinh(2 * size) / size if size > 1e-12 else 2.0
        # The quadratic form of determinant 1 whose long axis is stretched by exp(size).
        xx, yy, xy = grow - sheer * self.e1, grow + sheer * self.e1, -2 * sheer * self.e2
        alpha2 = (self.fwhm / 2) ** 2 / (2 ** (1 / self.beta) - 1)
        scale = (self.beta - 1) / (np.pi * alpha2)
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        total = np.zeros(np.broadcast_shapes(dx.shape, dy.shape))
        for u, wu in zip(nodes / 2, weights / 2, strict=True):
            for v, wv in zip(nodes / 2, weights / 2, strict=True):
                a, b = dx + u, dy + v
                total += (
                    wu * wv * (1 + (xx * a * a + yy * b * b + xy * a * b) / alpha2) ** -self.beta
                )
        return scale * total

    def stamps(self, centres: Floats, half: int) -> Floats:
        """Return the profile around centres (n, 2) [px], shape (n, 2·half + 1, 2·half + 1)."""
        side = np.arange(-half, half + 1, dtype=np.float64)
        dx = side[None, None, :] - centres[:, 0, None, None]
        dy = side[None, :, None] - centres[:, 1, None, None]
        return self.per_pixel(dx, dy)


@dataclass(frozen=True, eq=False)
class MeasuredPsf:
    """A point-spread function with its origin and quality.

    Attributes
    ----------
    psf : Psf
        The table for `skyduel.simulation.inject`.
    model : str
        Short description of the model.
    n_stars : int
        Number of stars it was measured from; 0 for a given PSF.
    misfit : float
        Rms difference between stars and model relative to the rms of their light, with
        the noise subtracted: ``sqrt(Σ(residual² - variance)/Σ model²)``, summed over the
        stamps. 0 is perfect within the noise; if the gain is unknown, the photon noise of
        the stars is included. NaN for a given PSF.
    """

    psf: Psf
    model: str
    n_stars: int
    misfit: float


def combine(
    shape: Moffat,
    centres: Floats,
    flux: Floats,
    residual: Floats,
    variance: Floats,
    radius: int,
) -> MeasuredPsf:
    """Add a table of residuals to the profile, if cross-validation over the stars favours it.

    Parameters
    ----------
    shape : Moffat
        The common profile.
    centres : ndarray, shape (n, 2)
        Centres of the stars in their stamps [px from the middle pixel's centre].
    flux : ndarray, shape (n,)
        Fluxes of the stars.
    residual, variance : ndarray, shape (n, side, side)
        Residuals of the profile, and their noise variance.
    radius : int
        Half width of the tabulated PSF [px].
    """
    half = residual.shape[1] // 2
    side = np.arange(-half, half + 1, dtype=np.float64)
    dx = np.broadcast_to(side[None, None, :] - centres[:, 0, None, None], residual.shape)
    dy = np.broadcast_to(side[None, :, None] - centres[:, 1, None, None], residual.shape)
    n = len(flux)
    scaled = residual / flux[:, None, None]
    # Every star has the same minimum relative model error, so that no single star dominates.
    light = shape.stamps(centres, half)
    weight = 1 / (variance / flux[:, None, None] ** 2 + (0.02 * light) ** 2)
    table = _Table(half, shape)
    basis = table.basis(dx.ravel(), dy.ravel())
    of_star = np.repeat(np.arange(n), residual[0].size)

    def chi2(rows: Bools, coefficients: Floats) -> float:
        r = scaled.ravel()[rows] - basis[rows] @ coefficients
        return float((weight.ravel()[rows] * r**2).sum())

    best, best_chi2 = None, sum(chi2(of_star % 2 == k, np.zeros(table.size)) for k in (0, 1))
    if n >= 6:
        for penalty in _PENALTIES:
            left_out = sum(
                chi2(
                    of_star % 2 == k,
                    table.solve(basis, scaled.ravel(), weight.ravel(), of_star % 2 != k, penalty),
                )
                for k in (0, 1)
            )
            if left_out < best_chi2:
                best, best_chi2 = penalty, left_out
    coefficients = np.zeros(table.size)
    if best is not None:
        coefficients = table.solve(
            basis, scaled.ravel(), weight.ravel(), np.ones(of_star.size, bool), best
        )
    left = residual - flux[:, None, None] * (basis @ coefficients).reshape(residual.shape)
    model_light = flux[:, None, None] * light
    excess = float((left**2 - variance).sum())
    misfit = float(np.sqrt(max(excess, 0.0) / np.square(model_light).sum()))
    words = f"Moffat fwhm {shape.fwhm:.2f} px beta {shape.beta:.2f}"
    words += f" axis ratio {np.exp(-2 * np.hypot(shape.e1, shape.e2)):.2f}"
    if best is not None:
        words += " + residual table"
    return MeasuredPsf(_tabulated(shape, table, coefficients, radius), words, n, misfit)


class _Table:
    """Residuals as a sum of bilinear basis functions on a grid over a stamp.

    Coefficients are in units of the profile at their grid point, so that the penalty
    constrains the faint wings as strongly, relative to their light, as the core.
    """

    def __init__(self, half: int, shape: Moffat) -> None:
        # Half a pixel more than a stamp, because a star may be off the centre of its middle pixel.
        self.reach = half + 0.5
        self.n = round(2 * self.reach / _STEP_PX) + 1
        self.size = self.n**2
        second = sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(self.n - 2, self.n))
        eye = sparse.eye_array(self.n)
        axis: Floats = np.arange(self.n, dtype=np.float64) * _STEP_PX - self.reach
        light = shape.per_pixel(axis[None, :], axis[:, None]).ravel()
        self.unit = light + _LEAST_UNIT * light.max()
        rough = sparse.vstack([sparse.kron(second, eye), sparse.kron(eye, second)])
        self.penalty = (rough.T @ rough + 0.05 * sparse.eye_array(self.size)).tocsc()

    def basis(self, dx: Floats, dy: Floats) -> sparse.csr_array:
        """Return the weights of the grid points at offsets [px], 0 beyond the grid."""
        u, v = (dx + self.reach) / _STEP_PX, (dy + self.reach) / _STEP_PX
        inside = (u >= 0) & (v >= 0) & (u <= self.n - 1) & (v <= self.n - 1)
        i = np.clip(np.floor(u), 0, self.n - 2).astype(np.int64)
        j = np.clip(np.floor(v), 0, self.n - 2).astype(np.int64)
        a, b = u - i, v - j
        rows = np.arange(dx.size)
        parts = [
            ((1 - a) * (1 - b), j * self.n + i),
            (a * (1 - b), j * self.n + i + 1),
            ((1 - a) * b, (j + 1) * self.n + i),
            (a * b, (j + 1) * self.n + i + 1),
        ]
        columns = np.concatenate([c for _, c in parts])
        values = np.concatenate([w * inside for w, _ in parts]) * self.unit[columns]
        return sparse.csr_array((values, (np.tile(rows, 4), columns)), shape=(dx.size, self.size))

    def solve(
        self, basis: sparse.csr_array, values: Floats, weight: Floats, rows: Bools, penalty: float
    ) -> Floats:
        """Return the coefficients of the penalised least-squares fit to the rows."""
        b, w = basis[rows], weight[rows]
        normal = (b.T @ (b * w[:, None])).tocsc()
        # In units of the mean weight of a grid point, so that it does not depend on the frame.
        diagonal = normal.diagonal()
        unit = float(diagonal[diagonal > 0].mean())
        return np.asarray(
            linalg.spsolve(normal + penalty * unit * self.penalty, b.T @ (w * values[rows]))
        )


def _tabulated(shape: Moffat, table: _Table, coefficients: Floats, radius: int) -> Psf:
    """Tabulate profile plus residuals, centred on the centroid of the core."""
    half = (radius + 1) * OVERSAMPLING
    axis = np.arange(-half, half + 1, dtype=np.float64) / OVERSAMPLING
    dx, dy = (grid.ravel() for grid in np.meshgrid(axis, axis))
    base = shape.per_pixel(dx, dy)
    size = (2 * half + 1, 2 * half + 1)
    if not coefficients.any():
        return tabulate(base.reshape(size), radius)
    fine = (base + table.basis(dx, dy) @ coefficients).reshape(size)
    np.maximum(fine, 0, out=fine)
    near = np.hypot(dx, dy).reshape(size) <= table.reach
    light = np.where(near, fine, 0)
    shift = [-(light * d.reshape(size)).sum() / light.sum() * OVERSAMPLING for d in (dy, dx)]
    fine = ndimage.shift(fine, shift, order=1, mode="nearest")
    return tabulate(fine, radius)
