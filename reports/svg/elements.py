"""SVG elements of a figure, in points, with y downwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

import numpy as np

from skyduel.reports.svg.markers import STROKED, half_path, marker_path, short

__all__ = [
    "HATCHES",
    "PICTURE",
    "TEXT_SIZE",
    "attributes",
    "dashes",
    "hatch_id",
    "line",
    "marks",
    "polyline",
    "rect",
    "rectangles",
    "text",
]

#: Id of the picture of a figure.
PICTURE: Final = "picture"
#: Size of text that states no other [pt].
TEXT_SIZE: Final = 9.0
#: Pattern of each hatch of `skyduel.reports.error_kinds`.
HATCHES: Final = {
    "////": "M-1 1L1-1M0 5L5 0M4 6L6 4",
    "\\\\\\\\": "M-1 4L1 6M0 0L5 5M4-1L6 1",
    "----": "M0 1.25h5M0 3.75h5",
    "....": "M.8 1.2h.9M3.3 3.7h.9",
}
#: A point of a line this near to its neighbours' line is left out [pt].
_STRAIGHT: Final = 0.016
_DASHES: Final = {"--": "3.7 1.6", ":": "1 1.65"}


def hatch_id(hatch: str) -> str:
    """Return the id of the pattern of a hatch."""
    return f"hatch-{list(HATCHES).index(hatch)}"


def dashes(style: Any, width: float) -> str:
    """Return the dashes of a line style of matplotlib, empty for a solid line."""
    lengths: Iterable[float]
    if isinstance(style, tuple):
        lengths = style[1]
    elif style in _DASHES:
        lengths = map(float, _DASHES[style].split())
    else:
        return ""
    return " ".join(short(length * width) for length in lengths)


def attributes(**values: Any) -> str:
    """Return attributes of an element; those that are None or empty are left out."""
    shown = []
    for name, value in values.items():
        if value is None or value == "":
            continue
        said = f"{value:.4g}" if isinstance(value, float) else escape(str(value))
        shown.append(f' {name.replace("_", "-")}="{said}"')
    return "".join(shown)


def _opacity(alpha: float | None) -> float | None:
    return None if alpha is None or alpha >= 1 else alpha


def polyline(
    x: Any, y: Any, color: str, width: float, style: Any = "-", alpha: float | None = None
) -> str:
    """Return a line through points; it is interrupted where one is undefined."""
    parts: list[str] = []
    before, pen = ("", ""), False
    us, vs = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(us) > 20:
        kept = _bends(us, vs)
        us, vs = us[kept], vs[kept]
    for u, v in zip(us.tolist(), vs.tolist(), strict=True):
        if not (math.isfinite(u) and math.isfinite(v)):
            pen = False
            continue
        place = (short(u), short(v))
        if pen and place == before:
            continue
        if not pen:
            parts.append(f"M{place[0]} {place[1]}")
        elif place[0] == before[0]:
            parts.append(f"V{place[1]}")
        else:
            parts.append(f"H{place[0]}" if place[1] == before[1] else f"L{place[0]} {place[1]}")
        before, pen = place, True
    if not parts:
        return ""
    more = attributes(
        stroke=color,
        stroke_width=None if width == 1 else float(width),
        stroke_dasharray=dashes(style, width),
        opacity=_opacity(alpha),
    )
    return f'<path fill="none"{more} d="{"".join(parts)}"/>'


def _bends(x: Any, y: Any) -> Any:
    """Return the points of a long line that matter: those off the line through their neighbours.

    Of every two points one is looked at, three times over, so that no point that is left out
    lies further than a twentieth of a point from what is drawn.
    """
    kept = np.arange(len(x))
    for _ in range(3):
        u, v = x[kept], y[kept]
        along_u, along_v = u[2:] - u[:-2], v[2:] - v[:-2]
        off = np.abs(along_u * (v[1:-1] - v[:-2]) - along_v * (u[1:-1] - u[:-2]))
        near = off < _STRAIGHT * np.hypot(along_u, along_v)  # False where undefined
        near[1::2] = False
        kept = np.delete(kept, 1 + np.flatnonzero(near))
    return kept


def line(x1: float, y1: float, x2: float, y2: float, color: str, width: float, style: Any) -> str:
    """Return one straight line."""
    return polyline([x1, x2], [y1, y2], color, width, style)


def marks(
    x: Sequence[float],
    y: Sequence[float],
    marker: str,
    *,
    size: float,
    color: str,
    face: str | None = None,
    edge_width: float = 1.0,
    alpha: float | None = None,
    fill: str = "full",
    alternative: str = "white",
) -> str:
    """Return markers at places; `fill` is ``full``, ``none``, ``left`` or ``right``."""
    at = [(u, v) for u, v in zip(x, y, strict=True) if math.isfinite(u) and math.isfinite(v)]
    if not at:
        return ""
    path = "".join(marker_path(marker, u, v, size) for u, v in at)
    inner = face or color
    if fill == "none" or marker in STROKED:
        inner = "none"
    elif fill in ("left", "right"):
        inner = alternative
    edge = None if edge_width == 1 else float(edge_width)
    out = f'<path{attributes(fill=inner, stroke=color, stroke_width=edge)} d="{path}"/>'
    if fill in ("left", "right"):
        half = "".join(half_path(marker, u, v, size, left=fill == "left") for u, v in at)
        out += f'<path{attributes(fill=color)} d="{half}"/>'
    alpha = _opacity(alpha)
    return out if alpha is None else f"<g{attributes(opacity=alpha)}>{out}</g>"


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    color: str,
    *,
    hatch: str = "",
    edge: str | None = None,
    edge_width: float = 0.0,
    alpha: float | None = None,
) -> str:
    """Return a rectangle, hatched over its colour."""
    box = (x, y, width, height)
    return rectangles([box], color, hatch=hatch, edge=edge, edge_width=edge_width, alpha=alpha)


def rectangles(
    boxes: Iterable[tuple[float, float, float, float]],
    color: str,
    *,
    hatch: str = "",
    edge: str | None = None,
    edge_width: float = 0.0,
    alpha: float | None = None,
) -> str:
    """Return rectangles of one colour (x, y, width, height) as one path, hatched over it."""
    path = "".join(
        f"M{short(x)} {short(y)}h{short(width)}v{short(height)}h{short(-width)}z"
        for x, y, width, height in boxes
    )
    if not path:
        return ""
    drawn = edge if edge_width > 0 else None
    width_of_edge = edge_width if drawn else None
    more = attributes(fill=color, stroke=drawn, stroke_width=width_of_edge)
    out = f'<path{more}{attributes(fill_opacity=_opacity(alpha))} d="{path}"/>'
    if hatch:
        out += f'<path fill="url(#{hatch_id(hatch)})" d="{path}"/>'
    return out


def text(
    said: str,
    x: float,
    y: float,
    size: float,
    *,
    ha: str = "left",
    va: str = "baseline",
    color: str = "#000000",
    rotation: float = 0.0,
    weight: str = "",
) -> str:
    """Return text of one or more lines, placed as matplotlib does."""
    lines = said.split("\n")
    step = 1.2 * size
    rise = (len(lines) - 1) * step
    upright = rotation % 180 == 90
    anchor = {"left": "start", "center": "middle", "right": "end"}[ha]
    first = {"top": 0.8 * size, "center": 0.36 * size - rise / 2, "baseline": -rise}.get(
        va, -0.22 * size - rise
    )
    dx, turn = 0.0, ""
    if upright:  # the box is aligned, and not the text along its line
        anchor = {"top": "end", "center": "middle"}.get(va, "start")
        dx = {"left": 0.8 * size, "center": 0.36 * size}.get(ha, -0.22 * size)
        first = 0.0
    out = []
    for i, one in enumerate(lines):
        if not one:
            continue
        u, v = x + dx, y + first + i * step
        if rotation:
            turn = f"rotate({short(-rotation)} {short(u)} {short(v)})"
        more = attributes(
            x=short(u),
            y=short(v),
            font_size=None if size == TEXT_SIZE else float(size),
            text_anchor="" if anchor == "start" else anchor,
            fill="" if color == "#000000" else color,
            font_weight=weight,
            transform=turn,
        )
        out.append(f"<text{more}>{escape(one, quote=False)}</text>")
    return "".join(out)
