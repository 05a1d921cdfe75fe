"""Convert between pixel and sky positions with the WCS of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Plane

if TYPE_CHECKING:  # loaded where a frame has a WCS
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.wcs import WCS

__all__ = [
    "add_sky_positions",
    "celestial_system",
    "pixel_positions",
    "plane_positions",
    "sky_centre",
    "sky_positions",
    "sky_separation",
    "unit_vectors",
]


@takes(frame=Plane, catalog=Catalog)
def add_sky_positions(frame: Plane, catalog: Catalog) -> Catalog:
    """Add ``ra`` and ``dec`` [deg, ICRS] to a catalogue.

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
        If the frame has no WCS, or one whose axes cannot be converted to ICRS.
    """
    ra, dec = sky_positions(catalog["x"], catalog["y"], frame)
    return catalog.with_columns(ra=ra, dec=dec)


def sky_positions(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], frame: Plane
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return right ascension and declination [deg, ICRS] of pixel positions.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
        Positions 0-based [px].
    frame : Frame or LargeImage
        Must have a WCS. Its axes may be equatorial (ICRS, FK5 or FK4 of any
        equinox), galactic, supergalactic or ecliptic, the latitude first or last.

    Returns
    -------
    ra, dec : ndarray of float64, shape (n,)
        From 0 to 360 and -90 to 90; NaN for a position that the projection cannot place on
        the sky.

    Raises
    ------
    BadInputError
        If the frame has no WCS, or one whose axes cannot be converted to ICRS.

    Notes
    -----
    Coordinates of FK4 are taken at the equinox's own epoch, as
    `astropy.wcs.utils.wcs_to_celestial_frame` does.
    """
    from astropy.coordinates import ICRS, SkyCoord

    wcs = _wcs(frame)
    system = celestial_system(wcs)
    if system is None:
        raise BadInputError(
            frame.name,
            "celestial coordinates that can be converted to ICRS",
            f"axes {', '.join(wcs.wcs.ctype)}",
        )
    if not len(x):
        return np.zeros(0), np.zeros(0)
    world = wcs.all_pix2world(x, y, 0)
    longitude, latitude = world[wcs.wcs.lng], world[wcs.wcs.lat]
    if isinstance(system, ICRS):
        # wcslib gives negative longitudes where CRVAL is negative.
        longitude = np.mod(longitude, 360.0)
        return np.where(longitude == 360.0, 0.0, longitude), latitude
    with np.errstate(invalid="ignore"):  # NaN where the projection has no place on the sky
        sky = SkyCoord(longitude, latitude, unit="deg", frame=system).icrs
    return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


@takes(frame=Plane)
def pixel_positions(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], frame: Plane
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x, y [px, 0-based] of sky positions, NaN far outside the frame.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Positions [deg, ICRS].
    frame : Frame or LargeImage
        Must have a WCS, in any of the systems of `sky_positions`.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        NaN farther than one frame's width and height outside, where a
        polynomial distortion means nothing and its inverse need not exist.

    Raises
    ------
    BadInputError
        If the frame has no WCS, or one whose axes cannot be converted to ICRS.
    """
    from astropy.coordinates import ICRS, SkyCoord

    centre = sky_centre(frame)
    wcs = _wcs(frame)
    ny, nx = frame.shape
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    # A zenithal projection shows a source of the far hemisphere as well.
    rows = np.flatnonzero(unit_vectors(ra, dec) @ unit_vectors(*centre) > 0)
    if not rows.size:
        return x, y
    world = np.empty((rows.size, 2))
    system = celestial_system(wcs)
    if isinstance(system, ICRS):
        longitude, latitude = ra[rows], dec[rows]
    else:
        sky = SkyCoord(ra[rows], dec[rows], unit="deg", frame=ICRS()).transform_to(system)
        longitude, latitude = sky.spherical.lon.deg, sky.spherical.lat.deg
    world[:, wcs.wcs.lng], world[:, wcs.wcs.lat] = longitude, latitude
    linear_x, linear_y = wcs.wcs_world2pix(world, 0).T
    near = (np.abs(linear_x - nx / 2) < 1.5 * nx) & (np.abs(linear_y - ny / 2) < 1.5 * ny)
    if near.any():
        x[rows[near]], y[rows[near]] = wcs.all_world2pix(world[near], 0, quiet=True).T
    return x, y


def sky_centre(frame: Plane) -> tuple[float, float]:
    """Return right ascension and declination [deg, ICRS] of the middle of a frame.

    Raises
    ------
    BadInputError
        If the frame has no WCS, or one whose axes cannot be converted to ICRS.
    """
    ny, nx = frame.shape
    ra, dec = sky_positions(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]), frame)
    return float(ra[0]), float(dec[0])


def celestial_system(wcs: WCS) -> BaseCoordinateFrame | None:
    """Return the coordinate system of a WCS, None if it cannot be converted to ICRS.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        With two celestial axes in any order.

    Notes
    -----
    Equatorial axes follow RADESYS and EQUINOX. Without RADESYS an equinox before
    1984 means FK4 and a later one FK5; without either the axes are ICRS (Calabretta
    & Greisen 2002, A&A 395, 1077, section 3.1). The type of the axes stands above
    RADESYS: galactic axes are galactic whatever it says.
    """
    from astropy import coordinates as systems
    from astropy.time import Time

    wcs.wcs.set()
    kind, radesys, year = wcs.wcs.lngtyp.strip(), wcs.wcs.radesys.strip(), wcs.wcs.equinox
    if wcs.wcs.lng < 0 or wcs.wcs.lat < 0:
        return None
    if kind == "GLON":
        return systems.Galactic()
    if kind == "SLON":
        return systems.Supergalactic()
    if not radesys:
        radesys = "ICRS" if not np.isfinite(year) else "FK4" if year < 1984 else "FK5"
    old = radesys.startswith("FK4")
    equinox = Time(year if np.isfinite(year) else 1950 if old else 2000,
                   format="byear" if old else "jyear")  # fmt: skip
    if kind == "ELON":
        return systems.BarycentricMeanEcliptic(equinox=equinox)
    equatorial = {"FK5": systems.FK5, "FK4": systems.FK4, "FK4-NO-E": systems.FK4NoETerms}
    if kind != "RA" or radesys not in {"ICRS", *equatorial}:
        return None
    return systems.ICRS() if radesys == "ICRS" else equatorial[radesys](equinox=equinox)


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
