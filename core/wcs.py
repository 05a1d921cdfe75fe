"""Convert between pixel and sky positions with the WCS of a frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Plane

__all__ = [
    "add_sky_positions",
    "pixel_positions",
    "plane_positions",
    "sky_separation",
    "unit_vectors",
]


def add_sky_positions(frame: Plane, catalog: Catalog) -> Catalog:
    """Add ``ra`` and ``dec`` [deg, ICRS axes of the WCS] to a catalogue.

    Parameters
    ----------
    frame : Frame or LargeImage
        Must have a WCS.
    catalog : Catalog
        Positions 0-based [px].

    Returns
    -------
    Catalog
        NaN for a position that the projection cannot place on the sky.

    Raises
    ------
    BadInputError
        If the frame has no WCS.
    """
    wcs = _wcs(frame)
    if not len(catalog):
        return catalog.with_columns(ra=np.zeros(0), dec=np.zeros(0))
    ra, dec = wcs.all_pix2world(catalog["x"], catalog["y"], 0)
    return catalog.with_columns(ra=ra, dec=dec)


def pixel_positions(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], frame: Plane
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x, y [px, 0-based] of sky positions, NaN far outside the frame.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Positions [deg].
    frame : Frame or LargeImage
        Must have a WCS.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        NaN farther than one frame's width and height outside, where a
        polynomial distortion means nothing and its inverse need not exist.

    Raises
    ------
    BadInputError
        If the frame has no WCS.
    """
    wcs = _wcs(frame)
    ny, nx = frame.shape
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    if not len(ra):
        return x, y
    # A zenithal projection shows a source of the far hemisphere as well.
    centre = wcs.all_pix2world([[(nx - 1) / 2, (ny - 1) / 2]], 0)[0]
    rows = np.flatnonzero(unit_vectors(ra, dec) @ unit_vectors(*centre) > 0)
    if not rows.size:
        return x, y
    linear_x, linear_y = wcs.wcs_world2pix(ra[rows], dec[rows], 0)
    near = (np.abs(linear_x - nx / 2) < 1.5 * nx) & (np.abs(linear_y - ny / 2) < 1.5 * ny)
    rows = rows[near]
    if rows.size:
        x[rows], y[rows] = wcs.all_world2pix(ra[rows], dec[rows], 0, quiet=True)
    return x, y


def _wcs(frame: Plane) -> WCS:
    """Return the frame's WCS, which has to be there."""
    if frame.wcs is None:
        raise BadInputError(frame.name, "a frame with celestial coordinates (WCS)", "none")
    return frame.wcs


def sky_separation(
    ra: npt.NDArray[np.float64],
    dec: npt.NDArray[np.float64],
    ra_other: npt.NDArray[np.float64],
    dec_other: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the angle between sky positions [arcsec], broadcast.

    Parameters
    ----------
    ra, dec, ra_other, dec_other : ndarray of float64
        Positions [deg].

    Notes
    -----
    The haversine formula: exact to rounding for neighbours, also across RA 0
    and at the poles; near the antipode good to about 0.01 arcsec.
    """
    half_ra = np.deg2rad(ra - ra_other) / 2
    half_dec = np.deg2rad(dec - dec_other) / 2
    cosines = np.cos(np.deg2rad(dec)) * np.cos(np.deg2rad(dec_other))
    haversine = np.sin(half_dec) ** 2 + cosines * np.sin(half_ra) ** 2
    angle = 2 * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0)))
    return np.asarray(np.rad2deg(angle) * 3600)


def plane_positions(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x, y of sky positions on a plane around their mean, 1 px an arcsec.

    For catalogues that have no frame: neighbours are as far apart as on the
    sky near the mean direction (and stretched far from it), y grows to the
    north and x to the west. The projection is zenithal equidistant, which
    shows the whole sphere.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Positions [deg].

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
    """
    if not len(ra):
        return np.zeros(0), np.zeros(0)
    v = unit_vectors(ra, dec)
    mean = v.mean(axis=0)
    length = float(np.linalg.norm(mean))
    centre = mean / length if length > 1e-9 else v[0]
    axis = np.array([0.0, 0.0, 1.0]) if abs(centre[2]) < 0.999 else np.array([1.0, 0.0, 0.0])
    west = np.cross(centre, axis)
    west /= np.linalg.norm(west)
    north = np.cross(west, centre)
    x, y = v @ west, v @ north
    off = np.hypot(x, y)
    stretch = np.divide(
        np.arctan2(off, v @ centre), off, out=np.ones_like(off), where=off > 0
    ) * np.rad2deg(1) * 3600  # fmt: skip
    return x * stretch, y * stretch


def unit_vectors(
    ra: npt.NDArray[np.float64] | float, dec: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """Return unit vectors of positions [deg], the last axis of length 3."""
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
