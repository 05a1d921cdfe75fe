"""Colours and markers of the figures: one colour and one marker a detector, in every figure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from skyduel.core.errors import require_each, takes
from skyduel.run_folder.schema import (
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
)

__all__ = [
    "POINT_FILLS",
    "POINT_NAMES",
    "Style",
    "detector_styles",
    "point_name",
    "shorten",
]


@dataclass(frozen=True)
class Style:
    """Colour and marker of one detector."""

    color: str
    marker: str


# Okabe and Ito's palette, whose colours differ with every common kind of colour vision.
# Tol's wine replaces its yellow, which is too pale on white. Common detectors have the same
# style in every run.
_KNOWN: Final[Mapping[str, Style]] = {
    "neural": Style("#0072B2", "o"),
    "sep": Style("#D55E00", "s"),
    "sep-matched": Style("#009E73", "^"),
    "source-extractor": Style("#CC79A7", "D"),
    "daofind": Style("#E69F00", "v"),
}
_COLORS: Final = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255",
)  # fmt: skip
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")

#: Name of each operating point in a sentence.
POINT_NAMES: Final[Mapping[str, str]] = {
    DEFAULT_POINT: "own default",
    CALIBRATED_POINT: "calibrated",
    EQUAL_PURITY_POINT: f"equal purity {NOMINAL_PURITY:g}",
}

#: Fill style of the marker of each operating point.
POINT_FILLS: Final[Mapping[str, str]] = {
    DEFAULT_POINT: "full",
    CALIBRATED_POINT: "none",
    EQUAL_PURITY_POINT: "left",
}


def point_name(point: str) -> str:
    """Return the display name of an operating point; an unknown one keeps its own name."""
    return POINT_NAMES.get(point, point)


@takes(detectors=Iterable)
def detector_styles(detectors: Iterable[str]) -> dict[str, Style]:
    """Return one `Style` for each detector, no two alike up to 88 of them.

    Known names have reserved styles. The others take the remaining styles, in
    the order given. Pass all detectors of a run, in the run's order, to get the same
    styles in every figure.
    """
    given = tuple(detectors)
    require_each("detector_styles: detectors", given, str)
    names = list(dict.fromkeys(given))
    chosen = {name: _KNOWN[name] for name in names if name in _KNOWN}
    taken = set(chosen.values())
    colors = {s.color for s in taken}
    free = [
        Style(color, _MARKERS[(i + turn) % len(_MARKERS)])
        for turn in range(len(_MARKERS))
        for i, color in enumerate(_COLORS)
    ]
    # A new colour first; a colour's second marker only when no colour is left.
    free.sort(key=lambda style: style.color in colors)
    pool = [style for style in free if style not in taken]
    for i, name in enumerate(n for n in names if n not in chosen):
        chosen[name] = pool[i % len(pool)]
    return {name: chosen[name] for name in names}


def shorten(name: str, limit: int = 28) -> str:
    """Return `name` in at most `limit` printable characters; the middle is cut if it is longer."""
    clean = "".join("?" if unicodedata.category(c).startswith("C") else c for c in name)
    if len(clean) > limit:
        head = (limit - 1) // 2
        clean = f"{clean[:head]}…{clean[len(clean) - (limit - 1 - head) :]}"
    # A legend leaves out labels that begin with an underscore.
    return f" {clean}" if clean.startswith("_") else clean
