"""Take from a FITS header the cards of a celestial solution that the WCS library may see.

The C library under astropy aborts the process, or reads memory that is not its own, on
some unusable headers (astropy issues 7412, 13667 and 20349). No header goes to it as it
stands: a solution is read here card by card, checked, and written as a new header of two
axes that holds only known keywords with values of the right kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from astropy.io import fits

from skyduel.core.io.images.distortion_polynomials import plate_solution, tnx_polynomials
from skyduel.core.io.images.wcs_errors import UnusableWcs

__all__ = ["SolutionCards", "has_readable_axes", "is_wcs_card", "solution_cards"]

#: Latitude by longitude, as in the first four letters of CTYPE.
_LATITUDES: Final = {"RA": "DEC", "GLON": "GLAT", "ELON": "ELAT", "SLON": "SLAT"}
_CELESTIAL: Final = re.compile(r"^(RA|DEC|[A-Z]LON|[A-Z]LAT|[A-Z]{2}LN|[A-Z]{2}LT)(?=-|$)")
_CTYPE: Final = re.compile(r"^(RA|DEC|[GES]LON|[GES]LAT)-+([A-Z]{3})(-SIP)?$")
#: Projections of Calabretta & Greisen (2002), and TPV, with the number of the
#: latitude's parameters PVi_1, PVi_2, ... that each takes.
_PARAMETERS: Final[Mapping[str, int]] = {
    "TAN": 0, "STG": 0, "ARC": 0, "ZEA": 0, "NCP": 0, "CAR": 0, "MER": 0, "SFL": 0, "GLS": 0,
    "PAR": 0, "MOL": 0, "AIT": 0, "PCO": 0, "TSC": 0, "CSC": 0, "QSC": 0, "XPH": 0,
    "AZP": 2, "SZP": 3, "SIN": 2, "ZPN": 29, "AIR": 1, "CYP": 2, "CEA": 1, "COP": 2,
    "COE": 2, "COD": 2, "COO": 2, "BON": 1, "HPX": 2, "TPV": 39,
}  # fmt: skip
_TO_DEGREES: Final[Mapping[str, float]] = {
    "": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600,
    "mas": 1 / 3.6e6, "rad": math.degrees(1), "radian": math.degrees(1),
    "radians": math.degrees(1),
}  # fmt: skip
_SYSTEMS: Final[Mapping[str, str]] = {
    "ICRS": "ICRS", "FK5": "FK5", "FK4": "FK4", "FK4-NO-E": "FK4-NO-E", "J2000": "FK5",
    "J2000.0": "FK5", "FK5-J2000": "FK5", "FK5/J2000": "FK5", "B1950": "FK4", "B1950.0": "FK4",
}  # fmt: skip
_EQUINOX: Final = re.compile(r"^\s*[BJ]?\s*(\d{4}(?:\.\d*)?)\s*$", re.IGNORECASE)
_EQUINOXES: Final = (1800.0, 2100.0)
_LARGEST: Final = 1e15
_MOST_SIP: Final = 9

# Cards of solutions, their alternatives and distortions. No written header repeats them.
_WCS_CARD: Final = re.compile(
    r"""^(WCSAXES|WCSNAME|C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA|RDER|SYER|NAME)\d+|(CD|PC|PV|PS)\d+_\d+
    |LONPOLE|LATPOLE|RADESYS|EQUINOX)[A-Z]?$
    |^(RADECSYS|PC\d{6}|CD\d{6}|[AB]P?_(ORDER|DMAX|\d+_\d+)|MJDREF[IF]?
    |WAT\d+_\d+|WCSDIM|PROJP\d+|AMD[XY]\d+|PPO\d+|PLTRA[HMS]|PLTDEC(SN|[DMS])
    |(CPDIS|CQDIS|CPERR|CQERR|DVERR|D2IMDIS|D2IMERR)\d*[A-Z]?|(DP|DQ|D2IM)\d+[A-Z]?(\..*)?
    |D2IMARR|D2IMEXT|AXISCORR|NPOLEXT)$""",
    re.VERBOSE,
)

#: Further cards that a solution is read from.
_ALSO_READ: Final = frozenset({"EPOCH", "CNPIX1", "CNPIX2", "XPIXELSZ", "YPIXELSZ"})


@dataclass(frozen=True)
class SolutionCards:
    """The checked cards of a solution.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Two celestial axes.
    prior, detector : mapping of int to int
        By axis, the version of the table (WCSDVARR, D2IMARR) of its distortion.
    transposed : frozenset of str
        The tables, as "prior 1", whose axes are exchanged.
    notes : tuple of str
        What was set aside, one line each.
    """

    header: fits.Header
    prior: Mapping[int, int] = field(default_factory=dict)
    detector: Mapping[int, int] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def is_wcs_card(key: str) -> bool:
    """Return True if a keyword belongs to a solution, an alternative one or a distortion."""
    return _WCS_CARD.match(key.upper()) is not None


def has_readable_axes(ctype: list[str]) -> bool:
    """Return True if CTYPE values are a celestial pair in a projection that is known here."""
    parts = [_CTYPE.match(text.strip()) for text in ctype]
    return len(parts) == 2 and all(p is not None and p[2] in _PARAMETERS for p in parts)


def solution_cards(header: fits.Header) -> SolutionCards | None:
    """Return the checked cards of a header's celestial solution, None if it states none.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Only its primary description counts, not the alternatives A to Z.

    Raises
    ------
    UnusableWcs
        If there is a solution that is incomplete, malformed, or of a kind not known.
    """
    cards = _wcs_values(header)
    names = {axis: _text(cards, f"CTYPE{axis}").upper() for axis in (1, 2)}
    if not any(_CELESTIAL.match(name) for name in names.values()):
        for key in ("CTYPE3", "CTYPE4"):
            if _CELESTIAL.match(_text(cards, key).upper()):
                raise UnusableWcs(f"{key} is a celestial axis, but no axis of the image")
        if "PLTRAH" not in cards or "AMDX1" not in cards:
            return None
        names = {}
    if not names or all(name.endswith("-DSS") for name in names.values()):
        return SolutionCards(_as_header(plate_solution(cards)))
    return _Solution(cards, names).read()


def _wcs_values(header: fits.Header) -> dict[str, Any]:
    """Return the values of all WCS cards and of the old EPOCH; the last of a repeated card."""
    values: dict[str, Any] = {}
    for card in header.cards:
        key = str(card.keyword).upper()
        if not is_wcs_card(key) and key not in _ALSO_READ:
            continue
        if re.search(r"\d[A-Z]$", key):  # of an alternative description
            continue
        try:
            value = card.value
        except (fits.VerifyError, ValueError) as error:
            raise UnusableWcs(f"the card {key} cannot be read") from error
        if not isinstance(value, fits.card.Undefined) and value is not None:
            values[key] = value
    return values


class _Solution:
    """The reader of one solution given by CTYPE."""

    def __init__(self, cards: Mapping[str, Any], names: Mapping[int, str]) -> None:
        self.cards = cards
        self.notes: list[str] = []
        self.kinds: dict[int, str] = {}
        projections = set()
        self.sip_named = False
        for axis, name in names.items():
            match = _CTYPE.match(name)
            if match is None:
                raise UnusableWcs(f"CTYPE{axis} = {name[:40]!r} is no known axis and projection")
            self.kinds[axis] = match[1]
            projections.add(match[2])
            self.sip_named |= match[3] is not None
        longitudes = [axis for axis, kind in self.kinds.items() if kind in _LATITUDES]
        if len(longitudes) != 1:
            raise UnusableWcs(f"CTYPE {' and '.join(names.values())} are no pair of axes")
        self.lon, self.lat = longitudes[0], 3 - longitudes[0]
        if _LATITUDES[self.kinds[self.lon]] != self.kinds[self.lat] or len(projections) != 1:
            raise UnusableWcs(f"CTYPE {' and '.join(names.values())} are no pair of axes")
        self.projection = projections.pop()
        if self.projection not in _PARAMETERS and self.projection != "TNX":
            raise UnusableWcs(f"projection {self.projection} is not read")

    def read(self) -> SolutionCards:
        """Return the checked cards."""
        self._check_axes()
        made: dict[str, Any] = {}
        made |= self._linear()
        parameters, sip = self._parameters(), self._sip()
        if self.projection == "TAN" and _is_scamp(parameters, self.lon, self.lat):
            # As astropy does: SIP counts if CTYPE names it, else SCAMP's polynomials.
            if sip and self.sip_named:
                parameters = {}
            else:
                self.projection, sip = "TPV", {}
        elif self.projection == "TPV":
            sip = {}
        made |= self._checked_parameters(parameters) | self._system() | sip
        suffix = "-SIP" if sip else ""
        for axis, kind in self.kinds.items():
            made[f"CTYPE{axis}"] = f"{kind:-<4}-{self.projection}{suffix}"
            made[f"CUNIT{axis}"] = "deg"
        if "AMDX1" in self.cards and not sip:
            self.notes.append("the photographic plate's own solution (AMDX, AMDY) is not used")
        if self.lon == 2:
            made = _longitude_first(made)
        prior, swapped = self._tables("CPDIS", "DP", "prior")
        detector, more = self._tables("D2IMDIS", "D2IM", "detector")
        return SolutionCards(_as_header(made), prior, detector, swapped | more, tuple(self.notes))

    def _number(self, key: str) -> float:
        return _number(self.cards, key)

    def _check_axes(self) -> None:
        axes = self.cards.get("WCSAXES", 2)
        if isinstance(axes, bool) or not isinstance(axes, int) or not 2 <= axes <= 9:
            raise UnusableWcs(f"WCSAXES = {axes!r}")
        for key in ("AXISCORR", *(f"CQDIS{axis}" for axis in (1, 2))):
            if key in self.cards:
                raise UnusableWcs(f"the distortion of {key} is not read")
        for key in self.cards:
            crossed = re.match(r"^(?:CD|PC)(\d+)_(\d+)$", key)
            if crossed is None:
                continue
            i, j = int(crossed[1]), int(crossed[2])
            if min(i, j) <= 2 < max(i, j) and self._number(key) != 0:
                raise UnusableWcs(f"{key} ties the sky to an axis that the image does not have")

    def _linear(self) -> dict[str, float]:
        """Return CRPIX, CRVAL, and the matrix as CD, PC and CDELT, or CDELT and CROTA [deg]."""
        factors = {}
        for axis in (1, 2):
            unit = _text(self.cards, f"CUNIT{axis}").lower()
            if unit not in _TO_DEGREES:
                raise UnusableWcs(f"CUNIT{axis} = {unit[:40]!r}")
            factors[axis] = _TO_DEGREES[unit]
        made = {}
        for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
            if key not in self.cards:
                raise UnusableWcs(f"there is no {key}")
            made[key] = self._number(key) * (factors[int(key[-1])] if "VAL" in key else 1.0)
        if abs(made[f"CRVAL{self.lat}"]) > 90 or abs(made[f"CRVAL{self.lon}"]) > 720:
            raise UnusableWcs(f"CRVAL = {made['CRVAL1']:g}, {made['CRVAL2']:g} deg")
        return made | self._matrix(factors)

    def _matrix(self, factors: Mapping[int, float]) -> dict[str, float]:
        pairs = [(i, j) for i in (1, 2) for j in (1, 2)]
        cd = {key: self._number(key) for i, j in pairs if (key := f"CD{i}_{j}") in self.cards}
        pc = {}
        for i, j in pairs:
            for key in (f"PC{i:03d}{j:03d}", f"PC{i}_{j}"):
                if key in self.cards:
                    pc[f"PC{i}_{j}"] = self._number(key)
        cdelt = {key: self._number(key) for key in ("CDELT1", "CDELT2") if key in self.cards}
        if len(cdelt) == 1:
            raise UnusableWcs("there is only one CDELT")
        steps = [cdelt.get(f"CDELT{axis}", 1.0) for axis in (1, 2)]
        by_cd = np.array([[cd.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
        by_pc = np.array([[steps[i - 1] * pc.get(f"PC{i}_{j}", float(i == j)) for j in (1, 2)]
                          for i in (1, 2)])  # fmt: skip
        if cd and pc and cdelt and np.abs(by_cd - by_pc).max() > 1e-6 * np.abs(by_cd).max():
            raise UnusableWcs("CD and PC with CDELT contradict each other")
        if cd:
            return {f"CD{i}_{j}": by_cd[i - 1, j - 1] * factors[i]
                    for i, j in pairs if _regular(by_cd)}  # fmt: skip
        scaled = {f"CDELT{axis}": steps[axis - 1] * factors[axis] for axis in (1, 2)}
        if pc and (cdelt or not np.array_equal(by_pc, np.eye(2))) and _regular(by_pc):
            return scaled | pc
        placeholder = set(cdelt.values()) == {1.0} and self.projection in {"TAN", "TPV", "TNX"}
        if pc or not cdelt or placeholder:
            raise UnusableWcs("there is no scale (CD, PC or CDELT): a pointing only")
        rotations = [key for key in (f"CROTA{self.lat}", f"CROTA{self.lon}") if key in self.cards]
        if rotations and self._number(rotations[0]) != 0:
            scaled[f"CROTA{self.lat}"] = self._number(rotations[0])
        _regular(np.diag(steps))
        return scaled

    def _parameters(self) -> dict[tuple[int, int], float]:
        """Return PVi_m by (i, m), those of TNX worked out from its WAT cards."""
        if self.projection == "TNX":
            made = tnx_polynomials(self.cards, self.lon, self.lat)
            self.projection = "TPV"
            return made
        found = {}
        for key in self.cards:
            if not re.match(r"^PV[12]_\d", key):
                continue
            match = re.match(r"^PV([12])_(\d|[1-3]\d)$", key)
            if match is None:
                raise UnusableWcs(f"{key} has no meaning in any projection")
            found[int(match[1]), int(match[2])] = self._number(key)
        if self.projection == "ZPN" and not any(axis == self.lat for axis, _ in found):
            # The parameters of UKIRT's older files, before PVi_m was agreed on.
            for m in range(_PARAMETERS["ZPN"] + 1):
                if f"PROJP{m}" in self.cards:
                    found[self.lat, m] = self._number(f"PROJP{m}")
        return found

    def _checked_parameters(self, found: Mapping[tuple[int, int], float]) -> dict[str, float]:
        """Return the cards PVi_m that the projection takes."""
        made = {}
        if not any(found.values()):
            found = {}  # placeholders
        most = _PARAMETERS[self.projection]
        first = 0 if self.projection in {"ZPN", "TPV"} else 1
        for (axis, m), value in found.items():
            if self.projection == "TPV":
                known = True
            elif axis == self.lon:
                known = m <= 4  # the reference point and the pole of the native system
            else:
                known = first <= m <= most
            if known:
                made[f"PV{axis}_{m}"] = value
            elif value != 0:
                raise UnusableWcs(f"PV{axis}_{m} has no meaning in projection {self.projection}")
        for key in ("LONPOLE", "LATPOLE"):
            if key in self.cards:
                value = self._number(key)
                if abs(value) <= (360 if key == "LONPOLE" else 90):
                    made[key] = value  # beyond, as 999, the default counts
        return made

    def _sip(self) -> dict[str, float]:
        """Return the cards of the SIP polynomials, the inverse ones if both are well-formed."""
        made: dict[str, float] = {}
        for letters, needed in ((("A", "B"), True), (("AP", "BP"), False)):
            try:
                made |= self._sip_pair(*letters)
            except UnusableWcs:
                if needed:
                    raise
        return made if "A_ORDER" in made else {}

    def _sip_pair(self, one: str, other: str) -> dict[str, float]:
        orders = {letter: self.cards.get(f"{letter}_ORDER") for letter in (one, other)}
        if all(order is None for order in orders.values()):
            if any(re.match(rf"^({one}|{other})_\d+_\d+$", key) for key in self.cards):
                raise UnusableWcs(f"SIP coefficients without {one}_ORDER")
            return {}
        made: dict[str, float] = {}
        for letter, order in orders.items():
            whole = isinstance(order, int | float) and not isinstance(order, bool)
            if order is None or not whole or not 0 <= order <= _MOST_SIP or order % 1:
                raise UnusableWcs(f"SIP with {letter}_ORDER = {order!r}")
            made[f"{letter}_ORDER"] = int(order)
            for i in range(int(order) + 1):
                for j in range(int(order) + 1 - i):
                    key = f"{letter}_{i}_{j}"
                    if key in self.cards:
                        made[key] = self._number(key)
        if one == "A" and made["A_ORDER"] < 2 and made["B_ORDER"] < 2:
            return {}  # astropy reads no distortion of the first order either
        return made

    def _system(self) -> dict[str, Any]:
        """Return RADESYS and EQUINOX; what cannot be either is noted."""
        kind = self.kinds[self.lon]
        if kind in {"GLON", "SLON"}:
            return {}
        made: dict[str, Any] = {}
        named = _text(self.cards, "RADESYS") or _text(self.cards, "RADECSYS")
        if named.upper() == "GAPPT":
            raise UnusableWcs("RADESYS = 'GAPPT': geocentric apparent places are not read")
        if named.upper() in _SYSTEMS:
            made["RADESYS"] = _SYSTEMS[named.upper()]
        elif named:
            self.notes.append(f"RADESYS = {named[:40]!r}")
        for key in ("EQUINOX", "EPOCH"):
            value = self.cards.get(key)
            match = _EQUINOX.match(str(value)) if not isinstance(value, bool) else None
            year = float(match[1]) if match else math.nan
            if _EQUINOXES[0] <= year <= _EQUINOXES[1]:
                made["EQUINOX"] = year
                if key == "EPOCH" and year not in {1950.0, 2000.0} and named.upper() != "ICRS":
                    self.notes.append(f"EPOCH = {year:g} is taken for the equinox")
                break
            if value is not None and key == "EQUINOX":
                self.notes.append(f"EQUINOX = {str(value)[:40]!r}")
        return made

    def _tables(self, kind: str, record: str, label: str) -> tuple[dict[int, int], frozenset[str]]:
        """Return the versions of lookup tables by axis, and those that are transposed."""
        versions: dict[int, int] = {}
        transposed = set()
        for axis in (1, 2):
            key = f"{kind}{axis}"
            if key not in self.cards:
                continue
            if _text(self.cards, key).lower() != "lookup":
                raise UnusableWcs(f"the distortion {key} = {str(self.cards[key])[:40]!r}")
            numbers = []
            stem = f"{record}{axis}"
            for name, default in ((f"{stem}.EXTVER", 1), (f"{stem}.AXIS.{axis}", axis)):
                number = _number(self.cards, name) if name in self.cards else float(default)
                if number != int(number) or not 0 < number < 1000:
                    raise UnusableWcs(f"{name} = {number:g}")
                numbers.append(int(number))
            versions[axis] = numbers[0]
            if numbers[1] != axis:
                transposed.add(f"{label} {axis}")
        return versions, frozenset(transposed)


def _longitude_first(cards: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cards of a solution of latitude and longitude with the two exchanged.

    The pixels keep their order. wcslib misplaces TPV by pixels if the latitude is first.
    """
    matrix = [[cards.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)]
    if "CDELT1" in cards:
        steps = [cards["CDELT1"], cards["CDELT2"]]
        angle = math.radians(cards.get("CROTA1", 0.0))
        turn = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        for i, j in ((1, 1), (1, 2), (2, 1), (2, 2)):
            rotated = steps[j - 1] * turn[i - 1][j - 1]
            by_pc = steps[i - 1] * cards.get(f"PC{i}_{j}", float(i == j))
            matrix[i - 1][j - 1] = rotated if "CROTA1" in cards else by_pc
    made = {}
    for key, value in cards.items():
        match = re.match(r"^(CTYPE|CUNIT|CRVAL|PV)([12])(_\d+)?$", key)
        if match is not None:
            made[f"{match[1]}{3 - int(match[2])}{match[3] or ''}"] = value
        elif not re.match(r"^(CD|PC)\d_\d$|^(CDELT|CROTA)\d$", key):
            made[key] = value
    return made | {f"CD{i}_{j}": matrix[2 - i][j - 1] for i in (1, 2) for j in (1, 2)}


def _is_scamp(found: Mapping[tuple[int, int], float], lon: int, lat: int) -> bool:
    """Return True if a tangential projection's PVi_m are SCAMP's polynomials.

    By the standard the projection takes none on the latitude, and only the native
    reference point (m up to 4) on the longitude.
    """
    return any(
        value != 0 and (axis == lat or (axis == lon and m >= 5))
        for (axis, m), value in found.items()
    )


def _regular(matrix: np.ndarray) -> bool:
    """Return True for an invertible matrix; raise for any other."""
    largest = float(np.abs(matrix).max())
    if not largest > 0 or abs(float(np.linalg.det(matrix / largest))) < 1e-9:
        raise UnusableWcs("the matrix from pixels to the sky has no inverse")
    return True


def _text(cards: Mapping[str, Any], key: str) -> str:
    """Return a card's text, empty without the card."""
    value = cards.get(key, "")
    if not isinstance(value, str) or len(value) > 68 or not value.isascii():
        raise UnusableWcs(f"{key} = {str(value)[:40]!r} is no text")
    return value.strip()


def _number(cards: Mapping[str, Any], key: str) -> float:
    """Return a card's finite number; text that reads as one counts as one."""
    value = cards.get(key)
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise UnusableWcs(f"{key} = {str(value)[:40]!r} is no usable number")
    return number


def _as_header(cards: Mapping[str, Any]) -> fits.Header:
    """Return a header of two axes with these cards."""
    header = fits.Header()
    header["WCSAXES"] = 2
    for key, value in cards.items():
        header[key] = value
    return header
