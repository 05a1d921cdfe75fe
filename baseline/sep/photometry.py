"""Measure fluxes and positions of extracted objects with SExtractor's methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sep

from skyduel.baseline.filters import FWHM_PER_SIGMA
from skyduel.baseline.sep.settings import SepSettings
from skyduel.core.native import half_light_radius, windowed_position

__all__ = ["Photometry", "measure", "windowed_positions"]

Floats = npt.NDArray[np.float64]

# SExtractor integrates Kron's first moment over six isophotal radii.
_KRON_REACH: Final = 6.0
# sigma of the window over the half-light radius (SExtractor's XWIN).
_WINDOW_PER_RADIUS: Final = 2.0 / 2.35


@dataclass(frozen=True, eq=False)
class Photometry:
    """Measurements of n objects, each of shape (n,).

    Parameters
    ----------
    x, y : ndarray
        Barycentre [px, 0-based], or the filtered peak where the barycentre
        lies outside the object.
    flux, flux_err : ndarray
        As chosen by ``SepSettings.flux``, isophotal where that failed.
    flags : ndarray of int
        SEP's flags of the aperture; 0 for isophotal fluxes.
    """

    x: Floats
    y: Floats
    flux: Floats
    flux_err: Floats
    flags: npt.NDArray[np.int64]


def measure(
    data: npt.NDArray[np.float32],
    objects: npt.NDArray[Any],
    *,
    bad: npt.NDArray[np.bool_],
    gain: float | None,
    noise: float | npt.NDArray[np.float32],
    global_rms: float,
    ids: npt.NDArray[np.int64],
    segments: npt.NDArray[np.int32],
    settings: SepSettings,
) -> Photometry:
    """Measure the fluxes of extracted objects and their errors.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Image minus its background, in any unit; fluxes are in the same unit.
    objects : structured ndarray, shape (n,)
        From `sep.extract`.
    bad : ndarray of bool, shape (ny, nx)
        Pixels left out of apertures.
    gain : float or None
        Electrons per unit of ``data``. None leaves out the photon noise of the sources.
    noise : float or ndarray of float32, shape (ny, nx)
        Standard deviation of the background.
    global_rms : float
        One standard deviation of the background for the whole frame, for isophotal errors.
    ids : ndarray of int, shape (n,)
        Numbers of the objects in ``segments``.
    segments : ndarray of int32, shape (ny, nx)
        Segmentation map: the number of the object in each of its pixels.
    settings : SepSettings
        Which flux is reported, and its parameters.

    Returns
    -------
    Photometry
        One value per object. An aperture flux that is undefined is replaced by the
        isophotal one.
    """
    x, y = _barycentres(objects)
    iso = objects["flux"].astype(np.float64)
    variance = objects["npix"] * global_rms**2
    if gain is not None:
        variance = variance + np.maximum(iso, 0.0) / gain
    iso_err = np.sqrt(variance)
    unflagged = np.zeros(len(objects), dtype=np.int64)
    if settings.flux == "iso":
        return Photometry(x, y, iso, iso_err, unflagged)

    mask = bad.copy() if bad.any() else None
    neighbours: dict[str, Any] = {"mask": mask}
    if settings.MASK_TYPE == "CORRECT":
        neighbours |= {"seg_id": ids.astype(np.int32), "segmap": segments}
    errors: dict[str, Any] = {"err": noise, "gain": gain}
    if settings.flux == "aper":
        flux, flux_err, flags = sep.sum_circle(
            data, x, y, settings.PHOT_APERTURES / 2.0, **errors, **neighbours
        )
    else:
        a, b, theta = _ellipses(objects)
        kron, _ = sep.kron_radius(data, x, y, a, b, theta, _KRON_REACH, **neighbours)
        factor, least = settings.PHOT_AUTOPARAMS
        radius = np.fmax(factor * np.asarray(kron, dtype=np.float64), least)
        # A mean radius larger than the region that it is averaged over comes from a sum near
        # zero. SExtractor does not limit it and would sum the whole frame.
        radius = np.minimum(radius, max(factor * _KRON_REACH, least))
        flux, flux_err, flags = sep.sum_ellipse(
            data, x, y, a, b, theta, radius, **errors, **neighbours
        )
    flags = np.asarray(flags, dtype=np.int64)
    good = np.isfinite(flux) & np.isfinite(flux_err) & ((flags & sep.APER_ALLMASKED) == 0)
    return Photometry(
        x, y, np.where(good, flux, iso), np.where(good, flux_err, iso_err), np.where(good, flags, 0)
    )


def windowed_positions(
    data: npt.NDArray[np.float32],
    bad: npt.NDArray[np.bool_],
    objects: npt.NDArray[Any],
    photometry: Photometry,
    fwhm: float,
) -> tuple[Floats, Floats, Floats]:
    """Return windowed positions (SExtractor's XWIN, YWIN) and half-light radii.

    Each of shape (n,) [px, 0-based]; a radius is NaN where it cannot be measured. The
    barycentre is returned where the window is cut by the edge or a mask, does not converge,
    or moves more than one FWHM away (to a brighter neighbour).
    """
    x, y = photometry.x, photometry.y
    mask = bad.copy() if bad.any() else None
    positive = np.where(photometry.flux > 0, photometry.flux, np.nan)
    reach = _KRON_REACH * objects["a"].astype(np.float64)
    half_light = half_light_radius(data, x, y, reach, positive, mask)
    usable = np.isfinite(half_light) & (half_light > 0)
    sigma = np.where(usable, _WINDOW_PER_RADIUS * half_light, fwhm / FWHM_PER_SIGMA)
    xwin, ywin, flags = windowed_position(data, x, y, sigma, mask)
    shift = np.hypot(xwin - x, ywin - y)
    failed = sep.APER_TRUNC | sep.APER_ALLMASKED | sep.APER_NONPOSITIVE
    good = ((flags & failed) == 0) & (shift <= fwhm)
    radius = np.where(usable & (half_light < reach), half_light, np.nan)
    return np.where(good, xwin, x), np.where(good, ywin, y), radius


def _barycentres(objects: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return barycentres, or filtered peaks where the barycentre is outside the object's box."""
    x, y = objects["x"].astype(np.float64), objects["y"].astype(np.float64)
    inside = (
        (x >= objects["xmin"] - 0.5)
        & (x <= objects["xmax"] + 0.5)
        & (y >= objects["ymin"] - 0.5)
        & (y <= objects["ymax"] + 0.5)
    )
    return np.where(inside, x, objects["xcpeak"]), np.where(inside, y, objects["ycpeak"])


def _ellipses(objects: npt.NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Return a, b [px] and theta [rad] that SEP's apertures accept, each of shape (n,).

    The moments of very few pixels may overflow or be undefined. Such an object gets a
    circle of 1 px.
    """
    a, b = objects["a"].astype(np.float64), objects["b"].astype(np.float64)
    # SEP rejects angles that rounding put beyond a quarter turn.
    theta = np.clip(objects["theta"].astype(np.float64), -np.pi / 2, np.pi / 2)
    fine = np.isfinite(a) & np.isfinite(b) & np.isfinite(theta) & (b > 0) & (a >= b)
    return np.where(fine, a, 1.0), np.where(fine, b, 1.0), np.where(fine, theta, 0.0)
