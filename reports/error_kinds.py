"""Kinds of error in a report: name, colour, and the rule in a few words.

The rules themselves are in `skyduel.evaluation.analyses.error_kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from skyduel.reports.style import shorten

__all__ = ["ERROR_KINDS", "SIDES", "ErrorKind", "error_kind"]


@dataclass(frozen=True)
class ErrorKind:
    """One kind of error: its label, the style of its bars, and its rule in a few words.

    Parameters
    ----------
    label : str
        The name, in lower case.
    color, hatch : str
        Fill of its bars, as matplotlib takes them.
    missed, false : str
        The rule for a missed source and for a false detection, in a few words;
        empty where that side has no such kind.
    """

    label: str
    color: str
    hatch: str = ""
    missed: str = ""
    false: str = ""

    @property
    def title(self) -> str:
        """The label with a capital."""
        return self.label[:1].upper() + self.label[1:]

    def rule(self, side: str) -> str:
        """Return the rule of one side (``missed`` or ``false``), in a few words."""
        return self.missed if side == "missed" else self.false


_WINGS: Final = "in the wings of a bright star"
_BORDER: Final = "within one FWHM of the border or of a masked area"

# There are more kinds than colours that everyone can tell apart. Hatches help, and a kind
# that both sides have is drawn the same on both.
#: Every kind, in the order of drawing.
ERROR_KINDS: Final[Mapping[str, ErrorKind]] = {
    "faint": ErrorKind("faint", "#c9d3dc", missed="ideal S/N below 5"),
    "noise": ErrorKind("noise", "#9aa9b8", false="S/N below 5 in the common aperture"),
    "blended": ErrorKind(
        "blended into a neighbour", "#0072B2", missed="beside a brighter source, or on a streak"
    ),
    "split": ErrorKind(
        "split of one source", "#0072B2", "////", false="a second detection of one source"
    ),
    "halo": ErrorKind("in a halo", "#56B4E9", missed=_WINGS, false=_WINGS),
    "artefact": ErrorKind(
        "under an artefact", "#D55E00", missed="on a cosmic ray, hot pixel or bad line"
    ),
    "cosmic_ray": ErrorKind(
        "cosmic ray or hot pixel", "#D55E00", "....", false="sharper than the stars"
    ),
    "bad_line": ErrorKind(
        "bad line or smear", "#D55E00", "----", false="a bad row or column, or readout smear"
    ),
    "spike": ErrorKind(
        "spike or bleeding", "#E69F00", false="on the row or column of a very bright star"
    ),
    "streak_fragment": ErrorKind(
        "streak fragment", "#E69F00", "\\\\\\\\", false="on a true streak"
    ),
    "edge": ErrorKind("at the edge", "#F0E442", missed=_BORDER, false=_BORDER),
    "wrong_place": ErrorKind(
        "wrong place",
        "#009E73",
        missed="detected, but more than the radius away",
        false="a source lies more than the radius away",
    ),
    "wrong_kind": ErrorKind(
        "wrong kind",
        "#CC79A7",
        missed="a detection of the other kind lies on it",
        false="a source of the other kind lies there",
    ),
    "other": ErrorKind(
        "other",
        "#4d4d4d",
        missed="visible, isolated and free of artefacts, but not found",
        false="an unlisted source, or no other rule applies",
    ),
}
#: The two sides and their names.
SIDES: Final[Mapping[str, str]] = {"missed": "Missed sources", "false": "False detections"}


def error_kind(kind: str) -> ErrorKind:
    """Return a kind of error; an unknown one is white, under its own name."""
    return ERROR_KINDS.get(kind, ErrorKind(shorten(kind), "#ffffff"))
