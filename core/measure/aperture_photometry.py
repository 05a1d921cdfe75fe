"""Forced aperture photometry, the same for the truth and for every detector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import sep

from skyduel.core.catalog import Catalog
from skyduel.core.defaults import UNKNOWN_FWHM_APERTURE_PX
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.measure.background import Background, estimate_background

__all__ = [
    "CapsuleSums",
    "aperture_radius",
    "as_own_flux",
    "capsule_sums",
    "forced_photometry",
    "segment_of",
    "with_flux",
]

_Floats = npt.NDArray[np.float64]

# A radius of one FWHM holds 94 % of a Gaussian's flux. The best S/N is near
# 0.68 FWHM, but there the flux depends on the centre and on the shape of the PSF,
# which differ between detectors and over the frame; the magnitude must not.
_FWHM_FACTOR = 1.0
# For undersampled frames: a smaller circle hardly exceeds the central pixel.
_LEAST_RADIUS_PX = 1.5
# Sampling points per axis in each pixel that the border of a streak's aperture crosses.
_SUBSAMPLES = 10
_HALF_DIAGONAL = 0.5**0.5
# Side of the blocks into which the box around a streak is divided, to bound memory [px].
_BLOCK_PX = 1024
# Number of rows in which circles are measured at a time, to bound memory: SEP needs copies.
_BAND_PX = 512


@takes(frame=Frame)
def aperture_radius(frame: Frame) -> float:
    """Return the radius [px] of the common aperture: one FWHM, at least 1.5 px; 3 px if unknown."""
    if frame.fwhm is None:
        return UNKNOWN_FWHM_APERTURE_PX
    return max(_FWHM_FACTOR * float(frame.fwhm), _LEAST_RADIUS_PX)


@takes(frame=Frame, catalog=Catalog, radius_px=Real, background=Background)
def forced_photometry(
    frame: Frame,
    catalog: Catalog,
    radius_px: float | None = None,
    *,
    background: Background | None = None,
) -> Catalog:
    """Measure the fluxes at the positions of a catalogue in the common aperture.

    Parameters
    ----------
    frame : Frame
        The background is subtracted; masked pixels are excluded.
    catalog : Catalog
        Positions 0-based [px]. Points are measured in a circle, streaks in
        the same circle swept along ``length`` and ``theta``.
    radius_px : float, optional
        Radius [px]; by default `aperture_radius` of the frame.
    background : Background, optional
        Background of the frame; by default from `estimate_background`.

    Returns
    -------
    Catalog
        The catalogue with ``aper_flux`` [ADU], ``aper_flux_err`` [ADU] (background noise
        and, if the gain is known, the photon noise of the source) and ``aper_mag``. The
        values are NaN for an aperture without a usable pixel and for a streak of
        unknown length or angle; the magnitude is also NaN if the flux is not positive.

    Raises
    ------
    BadInputError
        If the radius is not positive.

    Notes
    -----
    Circles overlap pixels exactly; the border of a streak's aperture is
    sampled at 10 x 10 points per pixel. Parts of an aperture that are masked or off
    the frame are corrected by area: the flux is that of the usable part times
    the ratio of whole to usable area.

    Without a zero-point the magnitude is instrumental, -2.5 log10(flux).
    """
    radius = aperture_radius(frame) if radius_px is None else float(radius_px)
    if not (np.isfinite(radius) and radius > 0):
        raise BadInputError("radius_px", "a radius > 0", repr(radius_px))
    flux, error = np.full(len(catalog), np.nan), np.full(len(catalog), np.nan)
    if len(catalog):
        sky = estimate_background(frame) if background is None else background
        swept = catalog.is_streak & ~(catalog["length"] == 0.0)
        # Circles that do not reach the frame are left out: SEP converts positions
        # to integers, which would overflow far from the frame.
        rows = np.flatnonzero(~swept & _reaches(frame, catalog.xy, radius))
        flux[rows], error[rows] = _circles(frame, sky, catalog.xy[rows], radius)
        for row in np.flatnonzero(swept):
            segment = segment_of(catalog, row)
            sums = capsule_sums(frame, sky, segment, radius)
            length = 2.0 * float(np.hypot(*segment[2:]))
            flux[row], error[row] = sums.measured(length, radius, frame.gain)
    return with_flux(catalog, flux, error, frame.zero_point)


def segment_of(catalog: Catalog, row: int | np.integer[Any]) -> tuple[float, float, float, float]:
    """Return a streak's centre and half vector [px]."""
    x, y, length, theta = (float(catalog[c][row]) for c in ("x", "y", "length", "theta"))
    return x, y, 0.5 * length * np.cos(theta), 0.5 * length * np.sin(theta)


def with_flux(catalog: Catalog, flux: _Floats, error: _Floats, zero_point: float | None) -> Catalog:
    """Add fluxes [ADU] in the common aperture and their magnitudes to a catalogue."""
    zero = 0.0 if zero_point is None else zero_point
    return catalog.with_columns(
        aper_flux=flux, aper_flux_err=error, aper_mag=flux_to_mag(flux, zero)
    )


def as_own_flux(frame: Frame, catalog: Catalog) -> Catalog:
    """Take the fluxes in the common aperture as a detector's own, for `forced_photometry`'s rows.

    ``mag`` is NaN if the frame has no zero-point.
    """
    mag = np.full(len(catalog), np.nan) if frame.zero_point is None else catalog["aper_mag"]
    return catalog.with_columns(
        flux=catalog["aper_flux"], flux_err=catalog["aper_flux_err"], mag=mag
    )


def _reaches(frame: Frame, xy: _Floats, radius: float) -> npt.NDArray[np.bool_]:
    """Return True for the circles whose bounding box touches the frame."""
    ny, nx = frame.shape
    x, y = xy.T
    inside = (x > -0.5 - radius) & (x < nx - 0.5 + radius)
    return np.asarray(inside & (y > -0.5 - radius) & (y < ny - 0.5 + radius))


def _circles(frame: Frame, sky: Background, xy: _Floats, radius: float) -> tuple[_Floats, _Floats]:
    """Measure flux and error in circles, NaN where no pixel is usable."""
    flux, error = np.empty(len(xy)), np.empty(len(xy))
    ny = frame.shape[0]
    margin = math.ceil(radius) + 1
    band = np.clip(xy[:, 1] // _BAND_PX, 0, (ny - 1) // _BAND_PX)
    for number in np.unique(band).astype(int):
        start = number * _BAND_PX
        rows = slice(max(0, start - margin), min(ny, start + _BAND_PX + margin))
        mine = band == number
        flux[mine], error[mine] = _band_circles(frame, sky, xy[mine], radius, rows)
    return flux, error


def _band_circles(
    frame: Frame, sky: Background, xy: _Floats, radius: float, rows: slice
) -> tuple[_Floats, _Floats]:
    """Measure flux and error in the circles of a band of rows, without correction at the border."""
    x, y = np.ascontiguousarray(xy[:, 0]), xy[:, 1] - rows.start
    options: dict[str, Any] = {"subpix": 0}
    bad = frame.bad[rows]
    if bad.any():
        options["mask"] = bad.copy()  # SEP requires writable memory
    flux, error, _ = sep.sum_circle(
        frame.data[rows] - sky.level[rows],
        x,
        y,
        radius,
        err=sky.rms[rows].copy(),
        gain=None if frame.gain is None else float(frame.gain),
        **options,
    )
    # SEP corrects for masked pixels by area, but not for the edge of the frame.
    ny, nx = bad.shape
    cut = np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y)) < radius - 0.5
    if cut.any():
        ones = np.ones(bad.shape, dtype=np.float32)
        on_frame, _, _ = sep.sum_circle(ones, x[cut], y[cut], radius, subpix=0)
        with np.errstate(divide="ignore"):
            whole = np.where(on_frame > 1e-6, np.pi * radius**2 / on_frame, np.nan)
        flux[cut] *= whole
        error[cut] *= whole
    # SEP returns zero over zero, NaN, for a fully masked circle.
    return flux, error


@dataclass(frozen=True)
class CapsuleSums:
    """Sums over the part of a streak's aperture in a part of a frame; they are additive.

    Parameters
    ----------
    flux : float
        Background-subtracted flux of the usable pixels [ADU].
    variance : float
        Variance of the background in these pixels [ADU²].
    usable : float
        Area of these pixels within the aperture [px²].
    """

    flux: float = 0.0
    variance: float = 0.0
    usable: float = 0.0

    def __add__(self, other: CapsuleSums) -> CapsuleSums:
        return CapsuleSums(
            self.flux + other.flux, self.variance + other.variance, self.usable + other.usable
        )

    def measured(self, length: float, radius: float, gain: float | None) -> tuple[float, float]:
        """Return flux and error, corrected by area for unusable pixels; NaN if all are unusable."""
        if self.usable <= 0:
            return np.nan, np.nan
        variance = self.variance
        if gain is not None and self.flux > 0:
            variance += self.flux / float(gain)
        whole = (2.0 * radius * length + np.pi * radius**2) / self.usable
        return self.flux * float(whole), float(np.sqrt(variance) * whole)


def capsule_sums(
    frame: Frame,
    sky: Background,
    segment: tuple[float, float, float, float],
    radius: float,
    within: tuple[slice, slice] | None = None,
) -> CapsuleSums:
    """Sum a circle swept along a segment, over a frame or a part of it.

    Parameters
    ----------
    frame, sky : Frame, Background
        The frame and its background.
    segment : (x, y, half_x, half_y)
        Centre and half vector [px].
    radius : float
        Radius of the circle [px].
    within : (rows, columns), optional
        The part of the frame; by default the whole frame.
    """
    x, y, half_x, half_y = segment
    ny, nx = frame.shape
    rows, columns = (slice(0, ny), slice(0, nx)) if within is None else within
    reach_x, reach_y = abs(half_x) + radius, abs(half_y) + radius
    if not np.isfinite([reach_x, reach_y]).all():
        return CapsuleSums()
    # Clipped before conversion to integers, because a streak may be listed anywhere.
    left, right = np.clip([x - reach_x - 1, x + reach_x + 2], columns.start, columns.stop)
    low, high = np.clip([y - reach_y - 1, y + reach_y + 2], rows.start, rows.stop)
    total = CapsuleSums()
    for y0 in range(int(low), int(high), _BLOCK_PX):
        for x0 in range(int(left), int(right), _BLOCK_PX):
            y1, x1 = min(y0 + _BLOCK_PX, int(high)), min(x0 + _BLOCK_PX, int(right))
            # Skip blocks that are too far away, as most blocks of a long streak's box are.
            middle = np.array([(x0 + x1 - 1) / 2]), np.array([(y0 + y1 - 1) / 2])
            if _distance(*middle, segment)[0] <= radius + 1 + np.hypot(x1 - x0, y1 - y0) / 2:
                box = slice(y0, y1), slice(x0, x1)
                total = total + _block_sums(frame, sky, segment, radius, box)
    return total


def _block_sums(
    frame: Frame,
    sky: Background,
    segment: tuple[float, float, float, float],
    radius: float,
    box: tuple[slice, slice],
) -> CapsuleSums:
    rows, columns = np.mgrid[box]
    distance = _distance(columns, rows, segment)
    weight = (distance <= radius).astype(np.float64)
    border = np.abs(distance - radius) < _HALF_DIAGONAL
    steps = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5
    fine_y, fine_x = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    fine = _distance(columns[border][:, None] + fine_x, rows[border][:, None] + fine_y, segment)
    weight[border] = (fine <= radius).mean(axis=1)
    weight[frame.bad[box]] = 0.0
    return CapsuleSums(
        float((weight * (frame.data[box] - sky.level[box])).sum(dtype=np.float64)),
        float((weight * np.square(sky.rms[box], dtype=np.float64)).sum()),
        float(weight.sum()),
    )


def _distance(
    columns: npt.NDArray[Any], rows: npt.NDArray[Any], segment: tuple[float, float, float, float]
) -> _Floats:
    """Return distances [px] of points from a segment given by its centre and half vector."""
    x, y, half_x, half_y = segment
    dx, dy = columns - x, rows - y
    square = half_x**2 + half_y**2
    along = np.clip((dx * half_x + dy * half_y) / square, -1.0, 1.0) if square > 0 else 0.0
    return np.asarray(np.hypot(dx - along * half_x, dy - along * half_y))
