"""Frames whose stars are trails, rings or discs, with their true positions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from skyduel.core import Frame

#: A profile: its image around a place within half a pixel of the middle.
Profile = Callable[[float, float], np.ndarray]


def trail(length: float, theta: float, fwhm: float = 3.0) -> Profile:
    """Return the profile of a star of an FWHM [px] trailed along ``theta``."""
    sigma = fwhm / math.sqrt(8 * math.log(2))
    grid = np.arange(-(half := int(length / 2 + 5 * sigma + 3)), half + 1)

    def at(x: float, y: float) -> np.ndarray:
        dx, dy = np.meshgrid(grid - x, grid - y)
        along = dx * math.cos(theta) + dy * math.sin(theta)
        across = dy * math.cos(theta) - dx * math.sin(theta)
        ends = (erf((along + e * length / 2) / (sigma * math.sqrt(2))) for e in (1, -1))
        image = (next(ends) - next(ends)) * np.exp(-(across**2) / (2 * sigma**2))
        return np.asarray(image / image.sum())

    return at


def disc(fwhm: float) -> Profile:
    """Return the profile of a Gaussian star of an FWHM [px]."""
    return trail(0.01, 0.0, fwhm)


def ring(radius: float, inner: float = 0.4) -> Profile:
    """Return the profile of a star out of focus: a ring of an outer radius [px]."""
    half, fine = int(radius + 9), 5
    side = 2 * half + 1
    grid = (np.arange(side * fine) - (side * fine - 1) / 2) / fine

    def at(x: float, y: float) -> np.ndarray:
        r = np.hypot(*np.meshgrid(grid - x, grid - y))
        image = ((r < radius) & (r > inner * radius)).astype(float)
        image = gaussian_filter(image.reshape(side, fine, side, fine).mean(axis=(1, 3)), 1.0)
        return np.asarray(image / image.sum())

    return at


def sky_with(
    profile: Profile,
    xy: np.ndarray,
    flux: np.ndarray,
    seed: int,
    shape: tuple[int, int] = (400, 500),
    sky: float = 500.0,
) -> np.ndarray:
    """Return pixels [ADU] with stars at positions, of a gain of 2 e-/ADU."""
    rng = np.random.default_rng(seed)
    half = profile(0.0, 0.0).shape[0] // 2
    image = np.full((shape[0] + 2 * half, shape[1] + 2 * half), sky)
    for (x, y), light in zip(xy, flux, strict=True):
        ix, iy = round(x), round(y)
        image[iy : iy + 2 * half + 1, ix : ix + 2 * half + 1] += light * profile(x - ix, y - iy)
    image = image[half:-half, half:-half]
    return rng.poisson(image * 2) / 2 + rng.normal(0, 2.5, shape)


def scattered(
    n: int, seed: int, apart: float = 45.0, shape: tuple[int, int] = (400, 500)
) -> np.ndarray:
    """Return n positions on a frame, at least so far apart [px]."""
    rng = np.random.default_rng(seed)
    xy: list[np.ndarray] = []
    while len(xy) < n:
        place = rng.uniform(25, np.array(shape[::-1]) - 25)
        if all(np.hypot(*(place - other)) > apart for other in xy):
            xy.append(place)
    return np.array(xy)


def star_frame(
    profile: Profile, n: int = 30, seed: int = 0, faint: float = 8e3, bright: float = 1.5e5
) -> tuple[Frame, np.ndarray]:
    """Return a frame of n stars of log-uniform fluxes [ADU], and their positions."""
    xy = scattered(n, seed)
    flux = np.exp(np.random.default_rng(seed + 1).uniform(np.log(faint), np.log(bright), n))
    data = sky_with(profile, xy, flux, seed + 2)
    return Frame(data=data.astype(np.float32), name="shapes", gain=2.0), xy
