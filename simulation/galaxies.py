"""Render galaxies with a Sérsic profile as sets of point sources."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from skyduel.core.errors import BadInputError

__all__ = ["galaxy_points", "galaxy_psf_sum2"]

#: The golden angle [rad]: the points of a spiral with this step fill a disc evenly.
_GOLDEN: Final = np.pi * (3 - np.sqrt(5))
#: Fraction of the light inside the outermost point.
_WITHIN: Final = 0.98

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=128)  # a hundred pairs occur: two profiles, points in sixties
def _radii(sersic: float, n: int) -> Floats:
    """Return radii, in half-light radii, that divide the light into n equal parts.

    The light of a Sérsic profile within r is the regularised incomplete gamma
    function P(2m, b·r^(1/m)), with b such that half of the light lies within r = 1.
    """
    if not 0.3 <= sersic <= 6:
        raise BadInputError("sersic", "an index between 0.3 and 6", repr(sersic))
    b = special.gammaincinv(2 * sersic, 0.5)
    share = (np.arange(n) + 0.5) / n * _WITHIN
    radii = (special.gammaincinv(2 * sersic, share) / b) ** sersic
    radii.flags.writeable = False
    return np.asarray(radii)


def galaxy_points(
    x: float,
    y: float,
    half_light_px: float,
    axis_ratio: float,
    theta: float,
    sersic: float,
    n: int,
) -> tuple[Floats, Floats]:
    """Return the centres [px] of n equal point sources that form a galaxy, each of shape (n,).

    Parameters
    ----------
    x, y : float
        Centre [px].
    half_light_px : float
        Half-light radius along the major axis [px].
    axis_ratio : float
        Minor over major axis.
    theta : float
        Direction of the major axis from +x towards +y [rad].
    sersic : float
        1 for an exponential disc, 4 for de Vaucouleurs' profile, 0.3 to 6.
    n : int
        Number of points.

    Raises
    ------
    BadInputError
        If the index is out of range.

    Notes
    -----
    Points of equal flux lie at the quantiles of the radial profile, on a golden spiral;
    convolved with the seeing they are as smooth as the profile. The outermost 2 % of the
    light is moved inwards.
    """
    r = _radii(float(sersic), int(n)) * half_light_px
    angle = np.arange(n) * _GOLDEN
    along, across = r * np.cos(angle), r * np.sin(angle) * axis_ratio
    c, s = np.cos(theta), np.sin(theta)
    return x + along * c - across * s, y + along * s + across * c


def galaxy_psf_sum2(of_psf: Floats, half_light_px: Floats, axis_ratio: Floats) -> Floats:
    """Approximate Σ profile² of galaxies: seeing and galaxy as Gaussians whose areas add.

    A Gaussian of half-light radius r has a noise area of 4π·r²/(2·ln 2).
    """
    area = 4 * np.pi * half_light_px**2 * axis_ratio / (2 * np.log(2))
    return np.asarray(1 / (1 / of_psf + area))
