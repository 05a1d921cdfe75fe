"""Width of text in a figure."""

from __future__ import annotations

from typing import Final

__all__ = ["FONTS", "text_width"]

#: Font families of the text, all of nearly the same widths as the first one.
FONTS: Final = "DejaVu Sans, Verdana, Geneva, sans-serif"

# Advance widths of DejaVu Sans [hundredths of the font size], from the blank on.
_ASCII: Final = (
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86,
    75, 79, 60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63,
    62, 35, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64,
    34, 64, 84,
)  # fmt: skip
_WIDE: Final = 84  # most signs beyond ASCII: − ≥ ± × ∞
_OTHER: Final = {"–": 50, "·": 32, "Δ": 68, "’": 32, "“": 52, "”": 52, "…": 100, "σ": 63}


def text_width(text: str, size: float) -> float:
    """Return the width of the longest line of a text of font size `size`, in its unit."""
    longest = 0
    for line in text.split("\n"):
        width = 0
        for sign in line:
            code = ord(sign) - 32
            width += _ASCII[code] if 0 <= code < len(_ASCII) else _OTHER.get(sign, _WIDE)
        longest = max(longest, width)
    return longest * size / 100
