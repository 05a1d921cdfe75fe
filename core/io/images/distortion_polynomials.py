"""Solutions of IRAF (TNX) and of photographic plates (DSS) as polynomials of TPV.

Both are polynomials of the position in the tangent plane, which TPV holds exactly up to
the seventh degree. The WCS library is not shown the cards of either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.polynomial import Chebyshev, Legendre, Polynomial

from skyduel.core.io.images.wcs_errors import UnusableWcs

__all__ = ["plate_solution", "tnx_polynomials"]

#: Number m of PVi_m of the first term of each degree; those between are of the radius.
_FIRST_TERM: Final = (0, 1, 4, 7, 12, 17, 24, 31)
_SURFACE: Final = re.compile(r"(lng|lat)cor\s*=\s*\"([^\"]*)\"")
_MOST_TERMS: Final = 8


def tnx_polynomials(cards: Mapping[str, Any], lon: int, lat: int) -> dict[tuple[int, int], float]:
    """Return the TPV parameters PVi_m, by (i, m), of a TNX distortion in WAT cards.

    Parameters
    ----------
    cards : mapping
        Values of the header; WATi_nnn hold one text for axis i, 68 characters each.
    lon, lat : int
        Numbers of the axes.

    Raises
    ------
    UnusableWcs
        If there is no such distortion, or one that is malformed or of too high a degree.

    Notes
    -----
    The tangent-plane position is (xi + lngcor(xi, eta), eta + latcor(xi, eta)) [deg]
    (https://fits.gsfc.nasa.gov/registry/tnx/tnx-doc.html).
    """
    texts = {}
    for axis in (lon, lat):
        parts = sorted(key for key in cards if re.match(rf"^WAT{axis}_\d+$", key))
        texts[axis] = "".join(f"{cards[key]!s:<68}" for key in parts)
    surfaces = dict(_SURFACE.findall(texts[lon] + " " + texts[lat]))
    if not surfaces:
        raise UnusableWcs("projection TNX without its distortion (lngcor, latcor in WAT cards)")
    made: dict[tuple[int, int], float] = {}
    for axis, name in ((lon, "lng"), (lat, "lat")):
        terms = _surface(surfaces[name]) if name in surfaces else np.zeros((2, 2))
        # TPV's x is the axis itself, its y the other one; TNX's x is always xi.
        terms = terms if axis == lon else terms.T
        terms[1, 0] += 1.0
        made |= {(axis, m): value for m, value in _tpv_terms(terms).items()}
    return made


def _surface(text: str) -> npt.NDArray[np.float64]:
    """Return the coefficients of xi^i eta^j of an IRAF surface."""
    try:
        numbers = [float(word) for word in text.split()]
        kind, n_x, n_y, cross = (int(number) for number in numbers[:4])
        limits, given = numbers[4:8], numbers[8:]
    except ValueError as error:
        raise UnusableWcs("the TNX distortion is malformed") from error
    bases: dict[int, Callable[..., Any]] = {1: Chebyshev.basis, 2: Legendre.basis}
    terms = []
    width = n_x
    for j in range(n_y if 1 <= n_x <= _MOST_TERMS and 1 <= n_y <= _MOST_TERMS else 0):
        terms += [(i, j) for i in range(width)]
        if cross == 0:
            width = 1
        elif cross == 2 and j + 1 + width > max(n_x, n_y):
            width -= 1
    wide = len(limits) == 4 and limits[1] > limits[0] and limits[3] > limits[2]
    usable = kind in {1, 2, 3} and cross in {0, 1, 2} and terms and wide
    if not usable or len(given) != len(terms) or not np.isfinite(given).all():
        raise UnusableWcs("the TNX distortion is malformed")

    def powers(n: int, low: float, high: float) -> npt.NDArray[np.float64]:
        if kind == 3:
            return np.asarray(Polynomial.basis(n).coef)
        base = bases[kind](n, domain=[low, high])
        return np.asarray(base.convert(domain=[-1, 1], kind=Polynomial).coef)

    total = np.zeros((max(n_x, 2), max(n_y, 2)))
    for (i, j), value in zip(terms, given, strict=True):
        x, y = powers(i, *limits[:2]), powers(j, *limits[2:])
        total[: len(x), : len(y)] += value * np.outer(x, y)
    return total


def _tpv_terms(terms: npt.NDArray[np.float64]) -> dict[int, float]:
    """Return the values of PV_m, by m, of a polynomial's coefficients of x^i y^j."""
    made = {}
    for (i, j), value in np.ndenumerate(terms):
        if i + j < len(_FIRST_TERM) and (value != 0 or (i, j) == (1, 0)):
            made[_FIRST_TERM[i + j] + j] = float(value)
        elif value != 0:
            raise UnusableWcs(f"a distortion of degree {i + j}")
    return made


def plate_solution(cards: Mapping[str, Any]) -> dict[str, Any]:
    """Return the solution of a scanned photographic plate as cards of TPV.

    Parameters
    ----------
    cards : mapping
        Values of the header: AMDXi, AMDYi, PPO3, PPO6, XPIXELSZ, YPIXELSZ, CNPIXi,
        and the plate's centre as PLTRAH to PLTDECS.

    Raises
    ------
    UnusableWcs
        If it is incomplete.

    Notes
    -----
    The model of the Guide Star Catalog (Lasker et al. 1990, AJ 99, 2019), whose
    positions are FK5 J2000: standard coordinates [arcsec] as polynomials of the
    position on the plate [mm].
    """

    def number(key: str, default: float | None = None) -> float:
        try:
            value = float(cards[key]) if key in cards or default is None else default
        except (KeyError, TypeError, ValueError) as error:
            raise UnusableWcs(f"a photographic plate's solution without {key}") from error
        if not math.isfinite(value):
            raise UnusableWcs(f"a photographic plate's solution with {key} = {value}")
        return value

    size_x, size_y = number("XPIXELSZ") / 1000, number("YPIXELSZ") / 1000  # mm
    scale = number("AMDX1") / 3600  # deg per mm
    if not (size_x > 0 and size_y > 0 and abs(scale) > 0):
        raise UnusableWcs("a photographic plate's solution without a scale")
    sign = -1.0 if str(cards.get("PLTDECSN", "+")).strip() == "-" else 1.0
    made: dict[str, Any] = {
        "CTYPE1": "RA---TPV",
        "CTYPE2": "DEC--TPV",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": 15 * (number("PLTRAH") + number("PLTRAM") / 60 + number("PLTRAS") / 3600),
        "CRVAL2": sign * (number("PLTDECD") + number("PLTDECM") / 60 + number("PLTDECS") / 3600),
        "CRPIX1": number("PPO3") / 1000 / size_x - number("CNPIX1", 0) + 0.5,
        "CRPIX2": number("PPO6") / 1000 / size_y - number("CNPIX2", 0) + 0.5,
        "CD1_1": -size_x * scale,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": size_y * scale,
        "RADESYS": "FK5",
        "EQUINOX": 2000.0,
    }
    if abs(made["CRVAL2"]) > 90:
        raise UnusableWcs("a photographic plate's solution with an impossible centre")
    # The polynomial of the second axis is that of the first with x and y exchanged.
    for axis, letter in ((1, "X"), (2, "Y")):
        a = [number(f"AMD{letter}{i}", None if i < 4 else 0) / 3600 for i in range(1, 14)]
        terms = np.zeros((6, 6))
        terms[1, 0], terms[0, 1], terms[0, 0] = a[0], a[1], a[2]
        terms[2, 0], terms[1, 1], terms[0, 2] = a[3] + a[6], a[4], a[5] + a[6]
        terms[3, 0], terms[2, 1], terms[1, 2] = a[7] + a[11], a[8], a[9] + a[11]
        terms[0, 3] = a[10]
        terms[5, 0], terms[3, 2], terms[1, 4] = a[12], 2 * a[12], a[12]
        for (i, j), value in np.ndenumerate(terms):
            terms[i, j] = value / scale ** (i + j)
        made |= {f"PV{axis}_{m}": value for m, value in _tpv_terms(terms).items()}
    return made
