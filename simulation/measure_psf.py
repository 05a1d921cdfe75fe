"""Measure the point-spread function of a real frame from its stars."""

from __future__ import annotations

from numbers import Integral
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from astropy.stats import mad_std
from scipy import optimize, sparse
from scipy.spatial import KDTree

from skyduel.core.defaults import UNKNOWN_FWHM_FILTER_PX
from skyduel.core.errors import BadInputError, as_positions, takes
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background
from skyduel.simulation.measured_psf_model import MeasuredPsf, Moffat, combine

__all__ = ["measure_psf"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Maximum (the brightest that qualify) and minimum number of stars of a fit.
_MOST_STARS: Final = 50
_FEWEST_STARS: Final = 3
#: Least half width of a stamp [px].
_LEAST_HALF_PX: Final = 4
#: Minimum peak of a star [noise standard deviations].
_LEAST_PEAK_SIGMA: Final = 15.0
#: A neighbour within the stamp above this fraction of a star's peak disqualifies the star.
_NEIGHBOUR_SHARE: Final = 0.05
#: Relative error of the model added to the noise, so that no single bright star dominates.
_MODEL_ERROR: Final = 0.02
#: Stars that deviate by more than this many robust sigmas are rejected: blended, extended, or a
#: hot pixel.
_CLIP: Final = 4.0


class _Stamps(NamedTuple):
    """Cut-outs of the stars: data and noise variance, each of shape (n, side, side)."""

    data: Floats
    variance: Floats

    def of(self, rows: npt.NDArray[np.bool_]) -> _Stamps:
        return _Stamps(self.data[rows], self.variance[rows])


@takes(frame=Frame, radius=Integral, background=Background)
def measure_psf(
    frame: Frame,
    xy: npt.ArrayLike,
    *,
    radius: int = 24,
    background: Background | None = None,
) -> MeasuredPsf:
    """Measure the mean point-spread function of a frame from its bright isolated stars.

    Parameters
    ----------
    frame : Frame
        The frame, with mask, saturation level and gain if known.
    xy : array_like, shape (n, 2)
        Positions of all sources on the frame [px], accurate to a pixel. Neighbours of
        the stars are identified with this list, so it must be complete.
    radius : int
        Half width of the table [px].
    background : Background, optional
        Background of the frame; measured if not given.

    Returns
    -------
    MeasuredPsf
        The table for `skyduel.simulation.inject`, and its quality.

    Raises
    ------
    BadInputError
        If the positions cannot be such, the radius is less than 4 px, or fewer than three stars
        qualify.

    Notes
    -----
    A star qualifies if its peak is 15 times the noise, no pixel of its stamp is
    masked, saturated or off the frame, no other source brighter than a
    twentieth of it lies on the stamp, and its concentration is similar to that of the
    others (that of galaxies and hot pixels is not). If no saturation level is known,
    stars above three quarters of the brightest pixel are left out.

    One elliptical Moffat profile (Moffat 1969, A&A 3, 455), integrated over
    pixels, is fitted to all stars simultaneously; centre, flux and sky are free for each
    star. The residuals, scaled by flux and placed by sub-pixel offset, are added as a
    smooth lookup table, as in DAOPHOT (Stetson 1987, PASP 99, 191), if this improves the
    prediction of held-out stars over the profile without a table.
    Undersampled frames are supported, because model and table describe the light per
    pixel at sub-pixel offsets. Variation over the frame is not modelled; it increases
    ``misfit``.
    """
    positions = as_positions("measure_psf: xy", xy)
    if radius < _LEAST_HALF_PX:
        raise BadInputError("measure_psf", f"radius >= {_LEAST_HALF_PX} px", repr(radius))
    if background is None:
        background = estimate_background(frame)
    image = frame.data.astype(np.float64) - background.level
    width = _rough_fwhm(frame, image, background, positions)
    half = int(np.clip(np.ceil(3.0 * width), _LEAST_HALF_PX, min(radius, 15)))
    stamps = _stamps(frame, image, background, positions, half)
    if len(stamps.data) < _FEWEST_STARS:
        raise BadInputError(
            frame.name,
            f"at least {_FEWEST_STARS} bright isolated unsaturated stars to measure the PSF from",
            f"{len(stamps.data)} among {len(positions)} sources; give the PSF instead",
        )
    shape, centres, flux, residual, variance = _fit(stamps, width)
    like = _alike(residual, variance)
    if _FEWEST_STARS <= like.sum() < like.size:
        stamps = stamps.of(like)
        shape, centres, flux, residual, variance = _fit(stamps, width, shape)
    return combine(shape, centres, flux, residual, variance, radius)


def _rough_fwhm(frame: Frame, image: Floats, background: Background, xy: Floats) -> float:
    """Return an initial FWHM [px]: that of the frame, or from the areas above half the peak."""
    if frame.fwhm is not None:
        return float(np.clip(frame.fwhm, 0.8, 10))
    ny, nx = frame.shape
    half = 8
    ix, iy = (np.floor(v + 0.5).astype(int) for v in xy.T)
    inside = (ix >= half) & (ix < nx - half) & (iy >= half) & (iy < ny - half)
    peaks = image[iy[inside], ix[inside]] / background.rms[iy[inside], ix[inside]]
    order = np.argsort(-peaks)[:400]
    order = order[peaks[order] > _LEAST_PEAK_SIGMA]
    saturated = frame.saturated() | frame.bad
    widths = []
    for x, y in zip(ix[inside][order], iy[inside][order], strict=True):
        box = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
        if not saturated[box].any():
            stamp = image[box]
            above = np.count_nonzero(
                stamp > stamp[half - 1 : half + 2, half - 1 : half + 2].max() / 2
            )
            widths.append(2 * np.sqrt(above / np.pi))
    return float(np.clip(np.median(widths), 1.0, 8.0)) if widths else UNKNOWN_FWHM_FILTER_PX


def _stamps(frame: Frame, image: Floats, background: Background, xy: Floats, half: int) -> _Stamps:
    """Return the cut-outs of the stars that qualify, brightest first."""
    ny, nx = frame.shape
    ix, iy = (np.floor(v + 0.5).astype(np.int64) for v in xy.T)
    inside = (ix > half) & (ix < nx - half - 1) & (iy > half) & (iy < ny - half - 1)
    ix, iy = ix[inside], iy[inside]
    side = np.arange(-half, half + 1)
    # The brightest pixel nearby: a listed position may be a pixel off.
    near = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    values = image[iy[:, None] + near[:, 0], ix[:, None] + near[:, 1]]
    best = np.argmax(values, axis=1) if len(values) else np.zeros(0, dtype=np.int64)
    peak = values[np.arange(len(values)), best]
    ix, iy = ix + near[best, 1], iy + near[best, 0]
    fits = (ix >= half) & (ix < nx - half) & (iy >= half) & (iy < ny - half)
    fits &= peak > _LEAST_PEAK_SIGMA * background.rms[iy, ix]
    if frame.saturation is None and peak.size:
        usable = frame.data[~frame.bad]
        level = float(np.median(usable))
        fits &= peak < 0.75 * (float(usable.max()) - level)
    lonely = _lonely(xy[inside], peak, 1.5 * half)
    order = np.argsort(-peak, kind="stable")
    order = order[(fits & lonely)[order]]
    bad = frame.bad | frame.saturated()
    rows, columns = iy[order, None, None] + side[:, None], ix[order, None, None] + side[None, :]
    whole = ~bad[rows, columns].any(axis=(1, 2))
    order, rows, columns = order[whole], rows[whole], columns[whole]
    data = image[rows, columns]
    total = data.sum(axis=(1, 2))
    middle = data[:, half - 1 : half + 2, half - 1 : half + 2].sum(axis=(1, 2))
    ratio = middle / np.where(total > 0, total, np.nan)
    typical = _near_median(ratio, _CLIP)
    keep = np.flatnonzero(typical)[:_MOST_STARS]
    variance = np.square(background.rms[rows, columns], dtype=np.float64)
    if frame.gain is not None:
        variance = variance + np.maximum(data, 0) / frame.gain
    return _Stamps(data[keep], variance[keep])


def _lonely(xy: Floats, peak: Floats, reach: float) -> npt.NDArray[np.bool_]:
    """Return a mask of the sources without a bright neighbour within the reach [px]."""
    lonely = np.ones(len(xy), dtype=bool)
    if len(xy) < 2:
        return lonely
    pairs = KDTree(xy).query_pairs(reach, output_type="ndarray")
    # Closer than 1.5 px is the same source listed twice.
    apart = np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T) > 1.5
    for a, b in (pairs[apart].T, pairs[apart].T[::-1]):
        lonely[a[peak[b] > _NEIGHBOUR_SHARE * peak[a]]] = False
    return lonely


def _near_median(values: Floats, clip: float) -> npt.NDArray[np.bool_]:
    """Return a mask of the values within ``clip`` robust sigmas of the median."""
    finite = np.isfinite(values)
    if not finite.any():
        return finite
    middle = np.median(values[finite])
    spread = float(mad_std(values[finite]))
    return np.asarray(finite & (np.abs(values - middle) <= clip * max(spread, 0.02 * abs(middle))))


def _fit(
    stamps: _Stamps, width: float, start: Moffat | None = None
) -> tuple[Moffat, Floats, Floats, Floats, Floats]:
    """Fit profile, centres (n, 2) [px from the stamp's], fluxes (n,), residuals and variances.

    Flux and sky of each star are linear parameters and are solved exactly at every
    step, so that the search is over the four shape parameters and the centres.
    """
    n, side = len(stamps.data), stamps.data.shape[1]
    half = side // 2

    def split(p: Floats) -> tuple[Moffat, Floats]:
        return Moffat.from_vector(p[:4]), p[4:].reshape(n, 2)

    def solve(p: Floats, variance: Floats) -> tuple[Floats, Floats]:
        shape, centres = split(p)
        model = shape.stamps(centres, half)
        w = 1 / variance
        s_w, s_m, s_mm = w.sum((1, 2)), (w * model).sum((1, 2)), (w * model**2).sum((1, 2))
        s_d, s_md = (w * stamps.data).sum((1, 2)), (w * model * stamps.data).sum((1, 2))
        determinant = s_mm * s_w - s_m**2
        flux = (s_md * s_w - s_m * s_d) / determinant
        sky = (s_mm * s_d - s_m * s_md) / determinant
        residual = stamps.data - flux[:, None, None] * model - sky[:, None, None]
        return flux, residual

    def objective(p: Floats, variance: Floats) -> Floats:
        return (solve(p, variance)[1] * np.sqrt(1 / variance)).ravel()

    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    core = np.clip(stamps.data, 0, None) * (np.hypot(x, y) <= 1.6)
    light = core.sum((1, 2))
    centres = np.stack([(core * x).sum((1, 2)) / light, (core * y).sum((1, 2)) / light], axis=1)
    shape = start or Moffat(fwhm=width, beta=3.0)
    p = np.concatenate([shape.vector, centres.ravel()])
    low = np.concatenate([[np.log(0.3), np.log(1.1), -0.8, -0.8], np.full(2 * n, -1.5)])
    high = np.concatenate([[np.log(25.0), np.log(15.0), 0.8, 0.8], np.full(2 * n, 1.5)])
    p = np.clip(p, low + 1e-6, high - 1e-6)
    own = sparse.kron(sparse.eye_array(n), np.ones((side**2, 2)))
    shared = sparse.csr_array(np.ones((n * side**2, 4)))
    structure = sparse.hstack([shared, own])
    variance = stamps.variance
    for _ in range(2):
        # The variance includes a fraction of the model of the previous fit as model error.
        flux, residual = solve(p, variance)
        light_model = stamps.data - residual
        variance = stamps.variance + (_MODEL_ERROR * light_model) ** 2
        p = optimize.least_squares(
            objective,
            p,
            bounds=(low, high),
            jac_sparsity=structure,
            args=(variance,),
            max_nfev=30,
            xtol=1e-6,
            ftol=1e-7,
        ).x
    flux, residual = solve(p, variance)
    shape, centres = split(p)
    return shape, centres, flux, residual, stamps.variance


def _alike(residual: Floats, variance: Floats) -> npt.NDArray[np.bool_]:
    """Return a mask of the stars whose goodness of fit is similar to that of the others."""
    chi2 = (residual**2 / variance).mean((1, 2))
    return _near_median(np.log(np.maximum(chi2, 1e-12)), 3.0)
