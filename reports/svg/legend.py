"""Legends of SVG figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from skyduel.reports.svg import elements as svg
from skyduel.reports.svg.text_width import text_width

__all__ = ["Entry", "legend_size", "legend_svg"]

_SIZE: Final = 9.0


@dataclass(frozen=True)
class Entry:
    """One entry of a legend: a line with a marker, or with `hatch` given a filled patch."""

    label: str
    color: str = "#000000"
    marker: str | None = None
    markersize: float = 6.0
    markerfacecolor: str | None = None
    markerfacecoloralt: str = "white"
    fillstyle: str = "full"
    linestyle: Any = "-"
    linewidth: float = 1.5
    hatch: str | None = None

    def get_label(self) -> str:
        """Return the label, as matplotlib's artists do."""
        return self.label


def _columns(handles: Sequence[Entry], look: dict[str, Any]) -> list[list[Entry]]:
    """Return entries in columns, filled one after the other."""
    n = max(int(look.get("ncols", 1)), 1)
    whole, more = divmod(len(handles), n)
    columns, at = [], 0
    for i in range(n):
        size = whole + (i < more)
        columns.append(list(handles[at : at + size]))
        at += size
    return [c for c in columns if c]


def legend_size(handles: Sequence[Entry], look: dict[str, Any]) -> tuple[float, float]:
    """Return width and height of a legend [pt]."""
    size = look.get("fontsize", _SIZE)
    columns = _columns(handles, look)
    widths = [max(text_width(e.label, size) for e in c) + 2.8 * size for c in columns]
    gap = look.get("columnspacing", 2.0) * size
    height = max((len(c) for c in columns), default=0) * 1.4 * size + 0.8 * size
    return sum(widths) + gap * (len(columns) - 1) + 0.8 * size, height


def legend_svg(handles: Sequence[Entry], look: dict[str, Any], x: float, y: float) -> str:
    """Return a legend whose upper left corner stands at a place [pt]."""
    size = look.get("fontsize", _SIZE)
    wide, high = legend_size(handles, look)
    parts = []
    if look.get("frameon", True):
        face = look.get("facecolor", "white")
        parts.append(svg.rect(x, y, wide, high, face, alpha=look.get("framealpha", 0.8)))
    ink = look.get("labelcolor", "#000000")
    u = x + 0.4 * size
    for column in _columns(handles, look):
        for i, entry in enumerate(column):
            v = y + 0.4 * size + (i + 0.5) * 1.4 * size
            parts.append(_handle(entry, u, v, size))
            parts.append(svg.text(entry.label, u + 2.8 * size, v, size, va="center", color=ink))
        longest = max(text_width(e.label, size) for e in column)
        u += longest + 2.8 * size + look.get("columnspacing", 2.0) * size
    return "".join(parts)


def _handle(entry: Entry, x: float, y: float, size: float) -> str:
    wide = 2.0 * size
    if entry.hatch is not None:
        return svg.rect(x, y - 0.35 * size, wide, 0.7 * size, entry.color, hatch=entry.hatch)
    drawn = ""
    if entry.linestyle not in ("none", "None", ""):
        drawn = svg.line(x, y, x + wide, y, entry.color, entry.linewidth, entry.linestyle)
    if entry.marker:
        drawn += svg.marks(
            [x + wide / 2],
            [y],
            entry.marker,
            size=entry.markersize,
            color=entry.color,
            face=entry.markerfacecolor,
            fill=entry.fillstyle,
            alternative=entry.markerfacecoloralt,
        )
    return drawn
