"""Headers of celestial solutions, and the gnomonic projection by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from skyduel.core import Frame, read_frame

__all__ = [
    "NX", "NY", "RNG", "SCALE", "X", "Y", "deproject", "frame_of", "gnomonic", "header", "ignored",
]  # fmt: skip

NY, NX = 60, 80
SCALE = 1.5 / 3600  # degrees per pixel
RNG = np.random.default_rng(5)
X, Y = RNG.uniform(0, NX - 1, 40), RNG.uniform(0, NY - 1, 40)


def header(
    ctype: tuple[str, str] = ("RA---TAN", "DEC--TAN"),
    crval: tuple[float, float] = (150.0, 2.0),
    **cards: Any,
) -> fits.Header:
    """Make a header of 1.5 arcsec a pixel, north up; a card of None is removed."""
    made = fits.Header()
    made["CTYPE1"], made["CTYPE2"] = ctype
    made["CRVAL1"], made["CRVAL2"] = crval
    made["CRPIX1"], made["CRPIX2"] = 30.0, 25.0
    made["CD1_1"], made["CD1_2"], made["CD2_1"], made["CD2_2"] = -SCALE, 0.0, 0.0, SCALE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, value in cards.items():
            if value is None:
                del made[key]
            else:
                made[key] = value
    return made


def frame_of(cards: fits.Header, path: Path) -> Frame:
    """Write an image with a header and read it with the product."""
    pixels = RNG.normal(100, 5, (NY, NX)).astype("f4")
    fits.PrimaryHDU(pixels, cards).writeto(path, overwrite=True)
    return read_frame(path)


def gnomonic(
    x: np.ndarray, y: np.ndarray, lon0: float, lat0: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return longitude and latitude [deg] in the header's own system, by hand."""
    xi, eta = np.deg2rad(-SCALE * (x + 1 - 30)), np.deg2rad(SCALE * (y + 1 - 25))
    return deproject(xi, eta, lon0, lat0)


def deproject(
    xi: np.ndarray, eta: np.ndarray, lon0: float, lat0: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sky positions [deg] of tangent-plane coordinates [rad]."""
    d0 = np.deg2rad(lat0)
    bottom = np.cos(d0) - eta * np.sin(d0)
    lon = lon0 + np.rad2deg(np.arctan2(xi, bottom))
    lat = np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, bottom))
    return lon, np.rad2deg(lat)


def ignored(frame: Frame) -> str:
    """Return what of a frame's header was set aside."""
    return "; ".join(frame.header.get("ignored_facts", ()))
