"""Numbers and intervals as people read them: tables, sentences and pages, not files."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["UNDEFINED", "format_interval", "format_number", "with_minus"]

#: Text of an undefined value.
UNDEFINED: Final = "–"
#: An interval whose longer arm is up to so many times its shorter one is written with ±.
_EVEN: Final = 2.0


def with_minus(text: str) -> str:
    """Return the text of a number with a minus sign for its hyphen: ``−1.5``, not ``-1.5``."""
    return text.replace("-", "−")


def format_number(value: float, digits: int, *, sign: bool = False) -> str:
    """Return a number with `digits` decimals; NaN as a dash, infinity as a word.

    With `sign`, a number that is not negative begins with ``+``. Zero has no minus.
    """
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    shown = f"{value:.{digits}f}"
    if float(shown) == 0:
        shown = shown.lstrip("-")
    return f"+{shown}" if sign and not shown.startswith("-") else with_minus(shown)


def format_interval(
    value: float,
    lo: float,
    hi: float,
    digits: int,
    *,
    sign: bool = False,
    least: float = -math.inf,
    most: float = math.inf,
) -> str:
    """Return ``0.639±0.055``, or ``0.696 [0.00, 1.00]`` where ± would say something else.

    Half the width tells of an interval only if the value is near its middle. One that is
    lopsided, or that reaches both ends of the possible range and so says nothing, is written by
    its ends.

    Parameters
    ----------
    value, lo, hi : float
        The value and its interval; NaN where there is none.
    digits : int
        Decimals of the value and of ±; the ends of a lopsided interval have one fewer.
    sign : bool
        Whether numbers that are not negative begin with ``+``.
    least, most : float
        The possible range. Ends beyond it, as those of an interval that is symmetric by its
        construction, are cut there, and then written.
    """
    text = format_number(value, digits, sign=sign)
    if not (math.isfinite(value) and math.isfinite(lo) and math.isfinite(hi)):
        return text
    cut = lo < least or hi > most
    lo, hi = max(lo, least), min(hi, most)
    short, long = sorted((value - lo, hi - value))
    nothing_known = lo == least and hi == most
    if not cut and not nothing_known and long <= _EVEN * short + 10.0**-digits:
        return f"{text}±{format_number((hi - lo) / 2, digits)}"
    ends = (format_number(end, max(digits - 1, 0), sign=sign) for end in (lo, hi))
    return f"{text} [{', '.join(ends)}]"
