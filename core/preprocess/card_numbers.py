"""Numbers that a header card holds as text, with a decimal comma or a point."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["with_point"]

_COMMA: Final = re.compile(r"\s*[+-]?\d*,\d+(?:e[+-]?\d+)?(?![\d.,])", re.IGNORECASE)
# Groups of thousands begin with one to three digits, the first of which is not 0.
_THOUSANDS: Final = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}(?![\d.,])")


def with_point(text: str) -> str:
    """Return a text that begins with a number, its decimal comma replaced by a point.

    Any other text stays as it is.

    Raises
    ------
    ValueError
        If the comma may stand between thousands as well, as in ``1,000``.
    """
    if _THOUSANDS.match(text):
        raise ValueError("its comma may be a decimal one or one of thousands")
    return text.replace(",", ".", 1) if _COMMA.match(text) else text
