"""Between pixel and sky positions, through a frame's WCS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from catalog.errors import BadInputError
from catalog.frame import Frame
from catalog.sources import Catalog

__all__ = ["pixel_positions", "with_sky"]


def with_sky(catalog: Catalog, frame: Frame) -> Catalog:
    """Return the catalogue with ``ra`` and ``dec`` [deg, ICRS axes of the WCS] added.

    Parameters
    ----------
    catalog : Catalog
        Positions 0-based [px].
    frame : Frame
        Must have a WCS. A position that the projection cannot place on the
        sky gets NaN.

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
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], frame: Frame
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x, y [px, 0-based] of sky positions, NaN far outside the frame.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Positions [deg].
    frame : Frame
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
    rows = np.flatnonzero(_unit(ra, dec) @ _unit(*centre) > 0)
    if not rows.size:
        return x, y
    linear_x, linear_y = wcs.wcs_world2pix(ra[rows], dec[rows], 0)
    near = (np.abs(linear_x - nx / 2) < 1.5 * nx) & (np.abs(linear_y - ny / 2) < 1.5 * ny)
    rows = rows[near]
    if rows.size:
        x[rows], y[rows] = wcs.all_world2pix(ra[rows], dec[rows], 0, quiet=True)
    return x, y


def _wcs(frame: Frame) -> WCS:
    """Return the frame's WCS, which has to be there."""
    if frame.wcs is None:
        raise BadInputError(frame.name, "a frame with celestial coordinates (WCS)", "none")
    return frame.wcs


def _unit(
    ra: npt.NDArray[np.float64] | float, dec: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """Return unit vectors of positions [deg], the last axis of length 3."""
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
