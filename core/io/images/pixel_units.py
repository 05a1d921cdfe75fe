"""The unit of a frame's pixels: counts or electrons, in total or per second, or calibrated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["PixelUnit", "pixel_unit", "says_counts", "says_electrons", "says_per_second"]

Kind = Literal["counts", "electrons", "calibrated"]

#: Other ways to write a unit: astropy's fractions, exponents of pixels, plurals in brackets.
_OTHER_WAYS: Final = (
    (re.compile(r"/\s*\(\s*(pix(el)?[\s*.]+s(ec)?|s(ec)?[\s*.]+pix(el)?)\s*\)"), "/s"),
    (re.compile(r"[\s.*]+pix(el)?s?\s*(\^|\*\*)?\s*\(?-1\)?"), ""),
    (re.compile(r"\bcps\b"), "counts/s"),
    (re.compile(r"(?<=[a-z])\(s\)"), ""),
    (re.compile(r"(/|\bper)\s*exp(osure)?s?\b"), ""),
    (re.compile(r"digital\s+(numbers?|units?)"), "dn"),
)
_PER_PIXEL: Final = re.compile(r"(/|per)pix(el)?s?$")
_PER_SECOND: Final = re.compile(
    r"(/|per)s(ec(ond)?s?)?$|s(ec(ond)?)?(\^|\*\*)?\(?-1\)?$|[.*]s(ec)?(\^|\*\*)?\(?-1\)?$"
)
_ELECTRONS: Final = re.compile(r"^(photo)?(e-?|el|elec|electrons?|ph|photons?)$")
_COUNTS: Final = re.compile(r"^(adus?|dns?|du|counts?|cts?|data(numbers?|units?))$")
_NO_UNIT: Final = re.compile(r"^(|-|none|unknown|n/?a|raw|data|unitless|dimensionless|relative)$")
_COMMENT_ELECTRONS: Final = re.compile(
    r"\b(photo)?-?electrons?\b|\bphotons?\b|(?<![a-z])e-(?![a-z])", re.IGNORECASE
)
_COMMENT_COUNTS: Final = re.compile(r"\b(adus?|dns?|counts?|cts)\b", re.IGNORECASE)
_COMMENT_PER_SECOND: Final = re.compile(
    r"(/|per)\s*s(ec(ond)?s?)?\b|\bs\^?-1|count rate", re.IGNORECASE
)

_COMMENT_ONE_SECOND: Final = re.compile(
    r"\b(1|1\.0|one|unit)[ -]?s(ec(ond)?s?)?\b|exp(osure|time)? ?(time)? ?= ?1\b", re.IGNORECASE
)


@dataclass(frozen=True)
class PixelUnit:
    """The unit of a frame's pixels.

    Parameters
    ----------
    text : str
        The unit as the file states it; empty if it states none.
    kind : {"counts", "electrons", "calibrated"}
        Counts of the converter (ADU, DN), detected electrons, or a unit of flux, brightness or
        magnitude, of which nobody knows the electrons. Without a unit: counts.
    per_second : bool
        Whether the pixels are rates.
    """

    text: str
    kind: Kind
    per_second: bool = False

    def __str__(self) -> str:
        """Return the unit in words."""
        return self.text or "ADU (no BUNIT)"


def pixel_unit(text: str, comment: str = "") -> PixelUnit:
    """Return the unit that BUNIT names.

    Parameters
    ----------
    text : str
        Value of the card, such as ``ADU``, ``electrons/s`` or ``MJy/sr``.
    comment : str
        Comment of the card: counts that it calls photoelectrons are electrons.
    """
    stated = text.strip()
    short = stated.lower()
    for pattern, plain in _OTHER_WAYS:
        short = pattern.sub(plain, short)
    short = re.sub(r"[\s\[\]]", "", short)
    short = _PER_PIXEL.sub("", short)
    base = _PER_SECOND.sub("", short)
    rate = base != short
    base = _PER_PIXEL.sub("", base).strip("()")
    if _ELECTRONS.match(base):
        return PixelUnit(stated, "electrons", rate)
    if _COUNTS.match(base):
        rate = rate or _COMMENT_PER_SECOND.search(comment) is not None
        ratio = re.search(r"(/|\bper)\s*(adu|dn|counts?)\b", comment, re.IGNORECASE)
        if ratio is None and _COMMENT_ELECTRONS.search(comment):
            return PixelUnit(stated, "electrons", rate)
        return PixelUnit(stated, "counts", rate)
    if _NO_UNIT.match(base) and not rate:
        return PixelUnit(stated, "counts")
    return PixelUnit(stated, "calibrated", rate)


def says_electrons(comment: str) -> bool:
    """Return True if a card's comment names electrons as its unit."""
    return (
        _COMMENT_ELECTRONS.search(comment) is not None and _COMMENT_COUNTS.search(comment) is None
    )


def says_counts(comment: str) -> bool:
    """Return True if a card's comment names ADU or counts, and no electrons, as its unit."""
    return (
        _COMMENT_COUNTS.search(comment) is not None and _COMMENT_ELECTRONS.search(comment) is None
    )


def says_per_second(comment: str) -> bool:
    """Return True if a card's comment names a rate, or one second of exposure."""
    return (
        _COMMENT_PER_SECOND.search(comment) is not None
        or _COMMENT_ONE_SECOND.search(comment) is not None
    )
