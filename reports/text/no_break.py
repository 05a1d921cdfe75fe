"""Keep numbers and their units on one line of the page."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["no_break"]

_SPACE: Final = "\u00a0"
_UNITS: Final = (
    "%|mag|px|σ|sigma|Mpix|s|ms|min|h|arcsec|arcmin|deg|ADU|e-|MB|MiB|GB|GiB|FWHM|kpix|dex"
)
_RULES: Final = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (rf"(?<=\d) (?=(?:{_UNITS})(?![\w/]))", _SPACE),  # 0.35 mag, 95 %
        (r"(?<=\w) ([=≥≤<>≈]) (?=[−+-]?\d)", rf"{_SPACE}\1{_SPACE}"),  # score ≥ 0.5
        (r"(\[[−+-]?[\d.,]+,) (?=[−+-]?[\d.,]+\])", rf"\1{_SPACE}"),  # [0.15, 0.56]
        (r"\b(S/N) (?=\d)", rf"\1{_SPACE}"),
    )
)


def no_break(text: str) -> str:
    """Return text with no-break spaces inside quantities and intervals.

    Parameters
    ----------
    text : str
        A sentence, such as ``0.35 mag [0.15, 0.56] fainter at 95 % purity``.
    """
    for pattern, into in _RULES:
        text = pattern.sub(into, text)
    return text
