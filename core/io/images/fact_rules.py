"""The rules for facts of a header: keywords, meaning, unit and bounds, in one table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from skyduel.core.frame import MOST_FWHM_PX
from skyduel.core.preprocess.card_numbers import with_point

__all__ = [
    "FACT_RULES",
    "SENTINELS",
    "FactRule",
    "UnprovenError",
    "UnusableError",
    "arcsec_in",
    "electrons_per_count",
    "facts_table",
    "says_pixels",
    "seconds_in",
    "usable_number",
]


class UnusableError(ValueError):
    """A header value that cannot be the fact its keyword names; the message is the reason."""


class UnprovenError(UnusableError):
    """A header value that may be the fact, if the pixels agree.

    Parameters
    ----------
    reason : str
        Why it needs proof.
    number : float
        The value in the unit of the card.
    """

    def __init__(self, reason: str, number: float) -> None:
        super().__init__(reason)
        self.number = number


@dataclass(frozen=True)
class FactRule:
    """The rule for one fact of a frame.

    Parameters
    ----------
    fact : str
        Field of `core.Frame`.
    keys : tuple of str
        Header keywords, in order of preference: the first usable value wins.
    meaning : str
        Meaning of the field.
    unit : str
        Unit of the field.
    low, high : float
        Bounds of a believable value, both included, except that ``low`` is excluded where it is 0
        and ``zero`` is False.
    zero : bool
        Whether 0 is a value.
    real : frozenset of float
        Values of this fact that of others are sentinels.
    more : str
        Units that a comment may name, and what else is checked.
    """

    fact: str
    keys: tuple[str, ...]
    meaning: str
    unit: str
    low: float
    high: float
    zero: bool = False
    real: frozenset[float] = frozenset()
    more: str = ""

    def check(self, number: float) -> float:
        """Return a value in the field's unit if it is believable.

        Raises
        ------
        UnusableError
            If it is outside the bounds.
        """
        too_low = number < self.low or (number == 0 and not self.zero)
        if too_low or number > self.high or not math.isfinite(number):
            raise UnusableError(f"{number:g} is outside {self.bounds}")
        return number

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        above = "above 0" if self.low == 0 and not self.zero else f"{self.low:g}"
        return f"{above} to {self.high:g} {self.unit}".rstrip()


#: The rule of each fact. EGAIN comes before GAIN because cameras write their gain *setting*
#: there; for ESO, CONAD is electrons per ADU and GAIN its inverse, so that one is not listed.
FACT_RULES: Final[Mapping[str, FactRule]] = {
    rule.fact: rule
    for rule in (
        FactRule(
            "gain",
            (
                "EGAIN",
                "GAIN",
                "ATODGAIN",
                "CCDGAIN",
                "GAIN1",
                "GAINA",
                "GAINEFF",
                "EFFGAIN",
                "ADCGAIN",
                "CCDSENS",
                "CELL.GAIN",
                "ESO DET OUT1 CONAD",
            ),
            "electrons per unit of a pixel",
            "e-/ADU",
            1e-3,
            1e4,
            more="bounds of the card. BUNIT in electrons: 1, the card is not used; a rate: times "
            "the exposure; a calibrated unit (MJy/sr, nanomaggy): unknown. A comment `ADU per "
            "electron` inverts the value. GAIN as a camera's setting is unknown: a comment "
            "(`Sub Gain`, `gain setting`, `EM gain`, dB), or a whole number beside BAYERPAT, "
            "OFFSET, BLKLEVEL or the name of such a camera, where no comment names electrons. A "
            "whole number from 30 on, without a unit, must fit the frame's noise. Pixels whose "
            "noise is far below the photon noise have another unit: unknown",
        ),
        FactRule(
            "read_noise",
            (
                "RDNOISE",
                "READNOIS",
                "READNOISE",
                "RON",
                "RDNOIS",
                "RDNOISE1",
                "READNOI",
                "READNSE",
                "RNOISE",
                "CCDRON",
                "ENOISE",
                "RDNOISEA",
                "CELL.READNOISE",
                "ESO DET OUT1 RON",
            ),
            "read noise",
            "e-",
            0.0,
            1000.0,
            zero=True,
            more="a comment that names ADU multiplies it by the card of the gain",
        ),
        FactRule(
            "saturation",
            (
                "SATURATE",
                "SATLEVEL",
                "SATURATI",
                "SATURAT",
                "SATUR",
                "MAXLIN",
                "SATADU",
                "SATURATA",
                "SATURVAL",
                "LINLIMIT",
                "CELL.SATURATION",
            ),
            "pixel value from which a pixel is saturated",
            "units of a pixel",
            0.0,
            1e12,
            more="above the median of the frame's middle. Pixels in electrons: times the card of "
            "the gain unless the comment names electrons; pixels per second: divided by the "
            "exposure unless the comment says per second",
        ),
        FactRule(
            "exposure_s",
            (
                "EXPTIME",
                "EXPOSURE",
                "ITIME",
                "EXP_TIME",
                "TEXPTIME",
                "XPOSURE",
                "INTTIME",
                "ELAPTIME",
            ),
            "exposure time",
            "s",
            0.0,
            1e6,
            real=frozenset({99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 999.999}),
            more="99 s and 999 s are exposures. The comment may name ms, us, minutes, hours or "
            "days; for XPOSURE, and for EXPOSURE of TESS and Kepler, also TIMEUNIT. ITIME is times "
            "COADDS",
        ),
        FactRule(
            "zero_point",
            (
                "MAGZERO",
                "MAGZPT",
                "MAGZP",
                "ZEROPT",
                "ZEROPNT",
                "ZEROPOIN",
                "ZEROPOINT",
                "PHOTZP",
                "PHOT_ZP",
                "ZPMAG",
                "MAGZEROP",
                "MAG_ZP",
                "ZP",
                "IMAGEZPT",
                "L1ZP",
                "FPA.ZP",
                "PC-ZP",
                "FLUXMAG0",
            ),
            "magnitude of a source of 1 unit of a pixel",
            "mag",
            -10.0,
            45.0,
            zero=True,
            more="for 1 count or electron per second where the comment says so, for L1ZP, "
            "FPA.ZP, PC-ZP and for MAGZPT of CASU: plus 2.5 log10 of the exposure, unless the "
            "pixels are rates. For 1 electron where the comment says so: minus 2.5 log10 of the "
            "gain. FLUXMAG0 is the flux of magnitude 0",
        ),
        FactRule(
            "fwhm",
            (
                "FWHM",
                "PSF_FWHM",
                "PSFFWHM",
                "FWHM_PX",
                "FWHMPIX",
                "MEDFWHM",
                "AVGFWHM",
                "S-FWHM",
                "SEEING",
                "SSEEING",
                "L1FWHM",
            ),
            "full width at half maximum of the point-spread function",
            "px",
            0.5,
            MOST_FWHM_PX,
            more="at most a quarter of the frame's shorter side, and within a factor of 1.7 of "
            "the widths of the frame's own stars, where it has ten. SEEING, SSEEING and L1FWHM are "
            "in arcsec, the others in px, unless the comment names px or arcsec; arcsec are "
            "divided by the pixel scale",
        ),
        FactRule(
            "pixel_scale_arcsec",
            (
                "PIXSCALE",
                "SECPIX",
                "SECPIX1",
                "SECPPIX",
                "PIXSCAL1",
                "PIXELSCL",
                "PIXELSC",
                "PSCALE",
                "PIXSCL",
                "PIXLSIZE",
            ),
            "width of a pixel on the sky",
            "arcsec",
            1e-3,
            1000.0,
            more="the comment may name deg, arcmin or mas. A WCS wins over a card that differs "
            "by more than 20 %, and where there is no card",
        ),
    )
}

_NINES: Final = frozenset({99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 999.999, 9999.0,
                           9999.9, 9999.99})  # fmt: skip
#: Values that stand for "unknown" of every fact, but for those of `FactRule.real`.
SENTINELS: Final = _NINES | {-one for one in _NINES} | {-1.0, -9.0, -9.9, -9.99, -9.999}

_WITH_UNIT: Final = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?!e[+-]?\d)\s*([a-zµ\[(\"].*)\Z", re.IGNORECASE
)
_BRACKET: Final = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_TIME_UNITS: Final = (
    (1e-3, re.compile(r"\b(ms|msecs?|milli-?\s?sec(ond)?s?)\b", re.IGNORECASE)),
    (1e-6, re.compile(r"\b(us|µs|usecs?|micro-?\s?sec(ond)?s?)\b", re.IGNORECASE)),
    (1.0, re.compile(r"\b(s|secs?|seconds?)\b", re.IGNORECASE)),
    (60.0, re.compile(r"\b(mins?|minutes?)\b", re.IGNORECASE)),
    (3600.0, re.compile(r"\b(h|hrs?|hours?)\b", re.IGNORECASE)),
    (86400.0, re.compile(r"\b(d|days?)\b", re.IGNORECASE)),
)
_MICROMETRES: Final = re.compile(r"\b(um|microns?|micromet\w+|mm)\b", re.IGNORECASE)
_ANGLE_UNITS: Final = (
    (1e-3, re.compile(r"\b(mas|milli-?\s?arc-?\s?sec\w*)\b", re.IGNORECASE)),
    (1.0, re.compile(r"arc-?\s?sec|\bas\b|\"", re.IGNORECASE)),
    (60.0, re.compile(r"arc-?\s?min", re.IGNORECASE)),
    (3600.0, re.compile(r"\bdeg(ree)?s?\b", re.IGNORECASE)),
)
_PIXELS: Final = re.compile(r"\b(pix(el)?s?|px)\b", re.IGNORECASE)


def usable_number(value: Any, real: frozenset[float] = frozenset()) -> tuple[float, str]:
    """Return a header value as a number that is no sentinel, and the unit behind it in a text.

    Parameters
    ----------
    value : object
        Text that reads as a number, with or without a unit (``'1.5 e-/ADU'``), is one. A comma
        is a decimal one (``'30,0'``) unless it may stand between thousands (``'1,000'``).
    real : frozenset of float
        Values that are no sentinels of the fact at hand.

    Raises
    ------
    UnusableError
        If it is no finite number, or stands for "unknown".
    """
    unit = ""
    if isinstance(value, str):
        try:
            value = with_point(value)
        except ValueError as error:
            raise UnusableError(str(error)) from None
    if isinstance(value, str) and (stated := _WITH_UNIT.match(value)):
        value, unit = stated[1], stated[2].strip()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnusableError("no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise UnusableError("no number") from None
    if not math.isfinite(number):
        raise UnusableError("not finite")
    if number in SENTINELS and number not in real:
        raise UnusableError("sentinel: unknown")
    return number, unit


def seconds_in(comment: str) -> float:
    """Return the seconds in the unit of time that a comment names; 1 without one."""
    return _factor(comment, _TIME_UNITS) or 1.0


def arcsec_in(comment: str) -> float | None:
    """Return the arcsec in the unit of angle that a comment names; None without one.

    Raises
    ------
    UnusableError
        If it names a length on the detector.
    """
    if _MICROMETRES.search(comment):
        raise UnusableError("a length on the detector")
    return _factor(comment, _ANGLE_UNITS)


def says_pixels(comment: str) -> bool:
    """Return True if a comment names pixels, and no angle per pixel, as the unit."""
    bracket = _BRACKET.search(comment)
    if bracket is not None and _factor(bracket[1], _ANGLE_UNITS):
        return False
    if bracket is not None and _PIXELS.search(bracket[1]):
        return True
    return _PIXELS.search(comment) is not None and _factor(comment, _ANGLE_UNITS) is None


def _factor(comment: str, units: tuple[tuple[float, re.Pattern[str]], ...]) -> float | None:
    """Return the factor of the first unit in the comment's brackets, else in the comment."""
    bracket = _BRACKET.search(comment)
    for text in ([bracket[1]] if bracket else []) + [comment]:
        for factor, pattern in units:
            if pattern.search(text):
                return factor
    return None


_PER_ELECTRON: Final = re.compile(
    r"\b(adus?|dns?|counts?)\s*(/|per)\s*(e-?|el|(photo-?)?electrons?)(?![a-z])", re.IGNORECASE
)
_ELECTRONS_PER: Final = re.compile(
    r"(\be-?|\bel|electrons?|photons?)\s*(/|per)\s*(adu|dn|count|ct|du|pixel unit)"
    r"|electrons?|(?<![a-z])e-(?![a-z])",
    re.IGNORECASE,
)
_SETTING: Final = re.compile(
    r"\bsub[ -]?gain|sensor gain|gain (setting|index|mode|level|number)|camera gain|\bdB\b"
    r"|\biso\b|analog(ue)? gain|\bem[ -]?gain|pre-?amp",
    re.IGNORECASE,
)
_CAMERA: Final = re.compile(
    r"\b(zwo|asi\s?\d|qhy|seestar|dwarf|toup|player one|poseidon|altair|svbony|evscope|"
    r"unistellar|vespera|stellina|imx\s?\d)",
    re.IGNORECASE,
)
_OF_CAMERAS: Final = ("BAYERPAT", "COLORTYP", "OFFSET", "BLKLEVEL")
#: From here on a whole number is often a camera's setting [0.1 dB or arbitrary].
_LEAST_SETTING: Final = 30.0


def electrons_per_count(
    key: str, number: float, comment: str, header: Mapping[str, Any], rule: FactRule
) -> float:
    """Return electrons per count from one card of a gain.

    Raises
    ------
    UnusableError
        If the card holds the setting of a camera, or the value is outside the bounds.
    UnprovenError
        If it may be a setting, or the gain of many exposures: the pixels must tell.
    """
    if _PER_ELECTRON.search(comment):
        if number == 0:
            raise UnusableError("0 ADU per electron")
        return rule.check(1.0 / number)
    stated = _ELECTRONS_PER.search(comment) is not None
    if key == "GAIN" and not stated:
        whole = number == round(number)
        if _SETTING.search(comment):
            raise UnusableError(f"a camera's setting: {comment.strip()[:40]}")
        instrument = str(header.get("INSTRUME", ""))
        beside = next((k for k in _OF_CAMERAS if k in header), None)
        if whole and (beside or _CAMERA.search(instrument)):
            raise UnusableError(f"a camera's setting: beside {beside or instrument[:30]}")
        if whole and number >= _LEAST_SETTING:
            raise UnprovenError("a whole number without a unit", rule.check(number))
    return rule.check(number)


def facts_table() -> Iterator[str]:
    """Yield the rows of the rules' table in Markdown."""
    yield "| fact | cards, in order | meaning | unit | bounds | units, and what else is checked |"
    yield "|---|---|---|---|---|---|"
    for rule in FACT_RULES.values():
        keys = ", ".join(f"`{key}`" for key in rule.keys)
        cells = (f"`{rule.fact}`", keys, rule.meaning, rule.unit, rule.bounds, rule.more)
        yield "| " + " | ".join(cells) + " |"
