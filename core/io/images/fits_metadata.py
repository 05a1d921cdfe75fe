"""The facts of a FITS header, under the names observatories give them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from astropy.io import fits

from skyduel.core.frame import FactSource
from skyduel.core.io.images.fact_rules import (
    FACT_RULES,
    UnprovenError,
    UnusableError,
    arcsec_in,
    electrons_per_count,
    says_pixels,
    seconds_in,
    usable_number,
)
from skyduel.core.io.images.pixel_units import (
    pixel_unit,
    says_counts,
    says_electrons,
    says_per_second,
)
from skyduel.core.io.images.wcs_cards import is_wcs_card

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = [
    "FACT_KEYS",
    "IGNORED_KEY",
    "PIXEL_UNIT",
    "Facts",
    "header_facts",
    "is_structural",
    "plain_header",
]

#: Header keywords of each fact, the most reliable first (`fact_rules.FACT_RULES`).
FACT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    fact: rule.keys for fact, rule in FACT_RULES.items()
}

#: Where `core.Frame.header` lists what the header said and nobody can use.
IGNORED_KEY: Final = "ignored_facts"

#: In the comments of cards that this package writes: the value fits the pixels as they are.
PIXEL_UNIT: Final = "pixel unit"

# Keywords of a width that is in arcsec unless the comment names px.
_IN_ARCSEC: Final = ("SEEING", "SSEEING", "L1FWHM")
# Zero-points of one second: of LCO, Pan-STARRS, MeerLICHT and BlackGEM, and in headers of CASU
# (UKIRT, VISTA).
_PER_SECOND: Final = ("L1ZP", "FPA.ZP", "PC-ZP")
_CASU: Final = ("CIR_CPM", "CIRMED", "APCOR3", "EXTINCT", "NUMZPT")
_MOST_COADDS: Final = 100_000
# A card and the coordinates whose pixel scales differ by more than this contradict each other.
_SCALES_AGREE: Final = 1.2
# In tiny images a quarter of the shorter side would be too strict [px].
_LEAST_WIDEST_PX: Final = 5.0
_STRUCTURE = re.compile(
    r"""^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|END
    |CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTLEVEL|INHERIT|COMMENT|HISTORY|CONTINUE|LONGSTRN|MASKEXT
    |Z(IMAGE|SIMPLE|BITPIX|NAXIS\d*|TILE\d*|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|TENSION
      |EXTEND|PCOUNT|GCOUNT|HECKSUM|DATASUM|MASKCMP|SCALE|ZERO)
    |T(FIELDS|TYPE\d+|FORM\d+|UNIT\d+|HEAP))?$""",
    re.VERBOSE,
)

# A card's keyword, number and comment as the fact, and how in words.
_Convert = Callable[[str, float, str], tuple[float, str]]


@dataclass(frozen=True)
class Facts:
    """What a header says: the values to use, their sources, and in words what is set aside."""

    values: Mapping[str, float]
    ignored: tuple[str, ...] = field(default=())
    sources: Mapping[str, FactSource] = field(default_factory=dict)


def header_facts(
    header: fits.Header,
    *,
    wcs: WCS | None = None,
    pixel_scale_arcsec: float | None = None,
    exposure_s: float | None = None,
    unit: str | None = None,
    shape: tuple[int, int] | None = None,
) -> Facts:
    """Return gain, noise, saturation and the like, named as in `core.Frame`.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Text that reads as a number counts as one.
    wcs : astropy.wcs.WCS, optional
        Gives the pixel scale where no keyword does, or one that contradicts it.
    pixel_scale_arcsec, exposure_s : float, optional
        A pixel scale [arcsec] and an exposure time [s] that stand above the header's.
    unit : str, optional
        Unit of the pixels that stands above BUNIT.
    shape : (ny, nx), optional
        Of the image [px]: no point-spread function is wider than a quarter of its shorter side.

    Returns
    -------
    Facts
        For each fact the first keyword with a believable value, converted to the unit of the
        field (`fact_rules.FACT_RULES`). Values that are not believable are left out and listed.
    """
    return _HeaderFacts(header, unit).read(wcs, pixel_scale_arcsec, exposure_s, shape)


class _HeaderFacts:
    """The facts of one header as they are found."""

    def __init__(self, header: fits.Header, unit: str | None) -> None:
        self._header = header
        self.values: dict[str, float] = {}
        self.sources: dict[str, FactSource] = {}
        self.ignored: list[str] = []
        self.unproven: dict[str, tuple[FactSource, float]] = {}
        if unit is None:
            card = header.get("BUNIT", "")
            comment = str(header.comments["BUNIT"]) if "BUNIT" in header else ""
            self._unit = pixel_unit(card if isinstance(card, str) else "", comment)
        else:
            self._unit = pixel_unit(unit)

    def read(
        self,
        wcs: WCS | None,
        pixel_scale_arcsec: float | None,
        exposure_s: float | None,
        shape: tuple[int, int] | None,
    ) -> Facts:
        """Return the facts; see `header_facts`."""
        self._first("exposure_s", self._seconds)
        exposure = exposure_s if exposure_s is not None else self.values.get("exposure_s")
        self._first("pixel_scale_arcsec", _arcsec)
        if wcs is not None:
            self._scale_of(wcs)
        scale = pixel_scale_arcsec or self.values.get("pixel_scale_arcsec")
        per_count = self._gain(exposure)
        self._first(
            "zero_point",
            lambda key, number, comment: self._magnitude(key, number, comment, per_count, exposure),
        )
        self._first(
            "read_noise", lambda key, number, comment: _electrons(number, comment, per_count)
        )
        self._first(
            "saturation",
            lambda key, number, comment: self._pixel_value(number, comment, per_count, exposure),
        )
        self._first(
            "fwhm", lambda key, number, comment: _pixels(key, number, comment, scale, shape)
        )
        return Facts(self.values, tuple(self.ignored), self.sources)

    def _first(self, fact: str, convert: _Convert, *, listed: bool = True) -> None:
        """Take the first believable card of a fact; list those before it that are not."""
        rule = FACT_RULES[fact]
        for key in rule.keys:
            if key not in self._header:
                continue
            value, comment = self._header[key], str(self._header.comments[key])
            try:
                number, stated = usable_number(value, rule.real)
                number, how = convert(key, number, f"[{stated}] {comment}" if stated else comment)
                number = rule.check(number)
            except UnusableError as error:
                if isinstance(error, UnprovenError) and fact not in self.unproven:
                    self.unproven[fact] = (FactSource(key, value, "", str(error)), error.number)
                    continue
                if listed:
                    self.ignored.append(f"{key} = {value!r}: set aside ({error})")
                continue
            self.values[fact] = number
            self.sources[fact] = FactSource(key, value, how)
            return

    def _seconds(self, key: str, number: float, comment: str) -> tuple[float, str]:
        """Return an exposure time [s]."""
        factor = seconds_in(comment)
        of_timeunit = key == "XPOSURE" or (key == "EXPOSURE" and self._is_photometer())
        if of_timeunit and factor == 1.0:
            factor = seconds_in(f"[{self._header.get('TIMEUNIT', 's')}]")
        how = "" if factor == 1.0 else f"times {factor:g} s"
        if key == "ITIME":  # of one of the exposures that were added up
            for card in ("COADDS", "CO_ADDS"):
                n = self._header.get(card)
                if isinstance(n, int | float) and 1 < n < _MOST_COADDS:
                    return number * factor * n, f"{how} times {card} = {n:g}".strip()
        return number * factor, how

    def _is_photometer(self) -> bool:
        """Return True for Kepler and TESS, whose times are in days."""
        return str(self._header.get("TELESCOP", "")).strip().lower() in {"kepler", "tess"}

    def _magnitude(
        self,
        key: str,
        number: float,
        comment: str,
        per_count: float | None,
        exposure: float | None,
    ) -> tuple[float, str]:
        """Return the magnitude of a source of 1 unit of a pixel."""
        unit, how = self._unit, []
        if key == "FLUXMAG0":
            if number <= 0:
                raise UnusableError(f"{number:g} is no flux")
            return 2.5 * math.log10(number), "the flux of magnitude 0"
        casu = key == "MAGZPT" and any(card in self._header for card in _CASU)
        if not unit.per_second and (says_per_second(comment) or key in _PER_SECOND or casu):
            if exposure is None:
                raise UnusableError("of one second, and no exposure time")
            number += 2.5 * math.log10(exposure)
            how.append(f"of one second, plus 2.5 log10 of the exposure of {exposure:g} s")
        if unit.kind == "counts" and says_electrons(comment):
            if per_count is None:
                raise UnusableError("of one electron, and the gain is unknown")
            number -= 2.5 * math.log10(per_count)
            how.append(f"of one electron, minus 2.5 log10 of {per_count:g} e-/ADU")
        return number, ", ".join(how)

    def _scale_of(self, wcs: WCS) -> None:
        """Take the pixel scale of the coordinates where the card's is missing or another."""
        from astropy.wcs.utils import proj_plane_pixel_scales  # slow to load

        scale = 3600.0 * float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs))))
        stated = self.values.get("pixel_scale_arcsec")
        if stated is not None and 1 / _SCALES_AGREE <= stated / scale <= _SCALES_AGREE:
            return
        if stated is not None:
            card = self.sources["pixel_scale_arcsec"]
            self.ignored.append(
                f"{card.card} = {card.raw!r}: set aside (the coordinates say {scale:.4g} arcsec)"
            )
        self.values.pop("pixel_scale_arcsec", None)
        self.sources.pop("pixel_scale_arcsec", None)
        try:
            self.values["pixel_scale_arcsec"] = FACT_RULES["pixel_scale_arcsec"].check(scale)
            self.sources["pixel_scale_arcsec"] = FactSource("WCS", None)
        except UnusableError as error:
            self.ignored.append(f"pixel scale of the coordinates: set aside ({error})")

    def _gain(self, exposure: float | None) -> float | None:
        """Take the electrons per unit of a pixel; return those per count, None if unknown."""
        unit, rule = self._unit, FACT_RULES["gain"]

        def per_count(key: str, number: float, comment: str) -> tuple[float, str]:
            found = electrons_per_count(key, number, comment, self._header, rule)
            return found, "" if found == number else "inverted"

        self._first("gain", per_count, listed=unit.kind == "counts")
        counts, source = self.values.pop("gain", None), self.sources.pop("gain", None)
        proven = counts
        if unit.kind == "counts" and "gain" in self.unproven:
            doubtful, number = self.unproven["gain"]
            if counts is None:
                source, counts = doubtful, number
            elif source is not None:
                reason = f"{doubtful.unproven}; {source.card} is used"
                self.ignored.append(f"{doubtful.card} = {doubtful.raw!r}: set aside ({reason})")
        if (
            counts is not None
            and source is not None
            and PIXEL_UNIT in str(self._header.comments[source.card])
        ):
            self.values["gain"], self.sources["gain"] = counts, source
            return counts
        if unit.kind == "calibrated":
            self.ignored.append(f"gain unknown (pixels in {unit}, not in counts or electrons)")
            return proven
        per_unit = 1.0 if unit.kind == "electrons" else counts
        if per_unit is None:
            return None
        if unit.kind == "electrons":
            source = FactSource("BUNIT", unit.text, "pixels in electrons")
        if unit.per_second:
            if exposure is None:
                self.ignored.append(
                    f"gain unknown (pixels in {unit}, per second, and no exposure time)"
                )
                return proven
            per_unit *= exposure
            assert source is not None  # set with per_unit
            how = f"times the exposure of {exposure:g} s: pixels in {unit}, per second"
            source = replace(source, how=how)
        self.values["gain"] = per_unit
        if source is not None:
            self.sources["gain"] = source
        return proven

    def _pixel_value(
        self,
        number: float,
        comment: str,
        per_count: float | None,
        exposure: float | None,
    ) -> tuple[float, str]:
        """Return a saturation level in units of a pixel."""
        unit, how = self._unit, []
        if PIXEL_UNIT in comment:
            return number, ""
        if unit.kind == "calibrated":
            if says_counts(comment) or says_electrons(comment):
                raise UnusableError(f"not in {unit}, as the pixels are")
            return number, ""
        if unit.kind == "electrons" and not says_electrons(comment) and per_count is not None:
            number *= per_count
            how.append(f"times {per_count:g} e-/ADU")
        elif unit.kind == "counts" and says_electrons(comment):
            if per_count is None:
                raise UnusableError("in electrons, and the gain is unknown")
            number /= per_count
            how.append(f"over {per_count:g} e-/ADU")
        if unit.per_second and not says_per_second(comment):
            if exposure is None:
                raise UnusableError("pixels are per second, and no exposure time")
            number /= exposure
            how.append(f"over {exposure:g} s")
        return number, " ".join(how)


def _arcsec(key: str, number: float, comment: str) -> tuple[float, str]:
    """Return a pixel scale [arcsec]."""
    factor = arcsec_in(comment) or 1.0
    return number * factor, "" if factor == 1.0 else f"times {factor:g} arcsec"


def _electrons(number: float, comment: str, per_count: float | None) -> tuple[float, str]:
    """Return a read noise [e-]."""
    if not says_counts(comment):
        return number, ""
    if per_count is None:
        raise UnusableError("in counts, and the gain is unknown")
    return number * per_count, f"times {per_count:g} e-/ADU"


def _pixels(
    key: str, number: float, comment: str, scale: float | None, shape: tuple[int, int] | None
) -> tuple[float, str]:
    """Return a width of stars [px]."""
    factor = None if says_pixels(comment) else arcsec_in(comment)
    if factor is None and key in _IN_ARCSEC and not says_pixels(comment):
        factor = 1.0
    how = ""
    if factor is not None:
        if not scale:
            raise UnusableError("arcsec, and no pixel scale")
        number *= factor / scale
        how = f"over {scale:.4g} arcsec per pixel"
    most = math.inf if shape is None else max(min(shape) / 4, _LEAST_WIDEST_PX)
    if number > most:
        raise UnusableError(f"{number:.4g} px in an image of {shape[1]} x {shape[0]} px"
                            if shape else "too wide")  # fmt: skip
    return number, how


def plain_header(header: fits.Header, ignored: tuple[str, ...]) -> dict[str, Any]:
    """Return the scalar values of a header, and the useless ones in words under `IGNORED_KEY`."""
    plain: dict[str, Any] = {
        card.keyword: card.value
        for card in header.cards
        if not is_structural(card.keyword) and isinstance(card.value, bool | int | float | str)
    }
    if ignored:
        plain[IGNORED_KEY] = ignored
    return plain


def is_structural(key: str) -> bool:
    """Return True if a keyword describes the file or the WCS, not the observation."""
    return _STRUCTURE.match(key.upper()) is not None or is_wcs_card(key)
