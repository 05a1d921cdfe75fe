"""The part of the sky that a frame shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from skyduel.core.frame import Plane
from skyduel.core.wcs import sky_centre, sky_positions, sky_separation

__all__ = ["Cone", "cone_of"]

#: Stars outside may have moved into the frame since: the fastest do 10 arcsec a year [arcsec].
_MARGIN_ARCSEC: Final = 120.0
_POINTS: Final = 17


@dataclass(frozen=True)
class Cone:
    """A circle on the sky.

    Parameters
    ----------
    ra, dec : float
        Its centre [deg, ICRS].
    radius : float
        [deg]
    """

    ra: float
    dec: float
    radius: float

    def ra_ranges(self) -> list[tuple[float, float]]:
        """Return the right ascensions in it [deg], from 0 to 360 or -180 to 180 alike."""
        if abs(self.dec) + self.radius >= 90:
            return [(-np.inf, np.inf)]
        sine = np.sin(np.deg2rad(self.radius)) / np.cos(np.deg2rad(self.dec))
        half = float(np.rad2deg(np.arcsin(min(sine, 1.0))))
        low, high = self.ra - half, self.ra + half
        return [(low + turn, high + turn) for turn in (-360.0, 0.0, 360.0)]


def cone_of(frame: Plane) -> Cone:
    """Return the circle around a frame, two arcmin wider than its corners.

    Parameters
    ----------
    frame : Frame or LargeImage
        Must have a WCS.

    Raises
    ------
    BadInputError
        If it has none, or one whose axes cannot be converted to ICRS.
    """
    ny, nx = frame.shape
    along = [np.linspace(-0.5, n - 0.5, _POINTS) for n in (nx, ny)]
    x, y = (axis.ravel() for axis in np.meshgrid(*along))
    ra, dec = sky_positions(x, y, frame)
    centre = sky_centre(frame)
    away = sky_separation(ra, dec, *(np.asarray(angle) for angle in centre))
    if not np.isfinite(away).all():  # a fisheye's corners lie beyond the horizon
        return Cone(*centre, 180.0)
    return Cone(*centre, min((float(away.max()) + _MARGIN_ARCSEC) / 3600, 180.0))
