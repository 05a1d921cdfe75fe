"""Markers as SVG paths around the origin, by matplotlib's names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

__all__ = ["STROKED", "half_path", "marker_path", "short"]

Points = Sequence[tuple[float, float]]

#: Markers that are lines and have no face.
STROKED: Final = frozenset("x|")


def short(value: float) -> str:
    """Return a coordinate with one decimal at most."""
    shown = f"{value:.1f}"
    return shown[:-2] if shown.endswith(".0") else shown


def _regular(corners: int, turn: float = 0.0, inner: float = 1.0) -> list[tuple[float, float]]:
    """Return a regular polygon, or a star whose inner corners are at `inner`, in a unit circle."""
    n = corners if inner == 1.0 else 2 * corners
    at = []
    for i in range(n):
        radius = 1.0 if i % 2 == 0 or inner == 1.0 else inner
        angle = math.radians(turn - 90) + 2 * math.pi * i / n
        at.append((radius * math.cos(angle), radius * math.sin(angle)))
    return at


_THIRD: Final = 1 / 3
_PLUS: Final = [
    (-_THIRD, -1.0), (_THIRD, -1.0), (_THIRD, -_THIRD), (1.0, -_THIRD), (1.0, _THIRD),
    (_THIRD, _THIRD), (_THIRD, 1.0), (-_THIRD, 1.0), (-_THIRD, _THIRD), (-1.0, _THIRD),
    (-1.0, -_THIRD), (-_THIRD, -_THIRD),
]  # fmt: skip
_CROSS: Final = [(0.71 * (x - y), 0.71 * (x + y)) for x, y in _PLUS]
_UP: Final = [(0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]

#: Corners of each marker, in units of half its size, y downwards.
_POLYGONS: Final[dict[str, Points]] = {
    "s": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "^": _UP,
    "v": [(x, -y) for x, y in _UP],
    "<": [(y, x) for x, y in _UP],
    ">": [(-y, x) for x, y in _UP],
    "D": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
    "P": _PLUS,
    "X": _CROSS,
    "p": _regular(5),
    "h": _regular(6),
    "*": _regular(5, inner=0.38),
    "o": _regular(24),
}


def _polygon(points: Points, x: float, y: float, half: float) -> str:
    corners = [f"{short(x + half * u)} {short(y + half * v)}" for u, v in points]
    return f"M{'L'.join(corners)}z"


@lru_cache(maxsize=64)
def _outline(marker: str, half: float) -> str:
    """Return the sides of a marker from its first corner on, relative and so the same anywhere."""
    points = [(round(half * u, 1), round(half * v, 1)) for u, v in _POLYGONS[marker]]
    sides = [f"{short(p - u)} {short(q - v)}" for (u, v), (p, q) in pairwise(points)]
    return f"l{' '.join(sides).replace(' -', '-')}z"


def marker_path(marker: str, x: float, y: float, size: float) -> str:
    """Return the path of a marker of diameter `size` at a place; an unknown one is a circle."""
    half = size / 2
    if marker == "|":
        return f"M{short(x)} {short(y - half)}v{short(size)}"
    if marker == "x":
        left, top, side = short(x - half), short(y - half), short(size)
        return f"M{left} {top}l{side} {side}m0-{side}l-{side} {side}"
    if marker in _POLYGONS and marker != "o":
        u, v = _POLYGONS[marker][0]
        return f"M{short(x + half * u)} {short(y + half * v)}{_outline(marker, half)}"
    half = half / 2 if marker == "." else half
    radius = short(half)
    return f"M{short(x)} {short(y + half)}a{radius} {radius} 0 1 1 .1 0z"  # all but closed


def half_path(marker: str, x: float, y: float, size: float, *, left: bool) -> str:
    """Return the path of the left or the right half of a marker."""
    points = _POLYGONS.get(marker, _POLYGONS["o"])
    sign = -1 if left else 1
    kept: list[tuple[float, float]] = []
    for (u, v), (p, q) in zip(points, [*points[1:], points[0]], strict=True):
        if sign * u >= 0:
            kept.append((u, v))
        if u * p < 0:  # the side crosses the middle
            kept.append((0.0, v + (q - v) * u / (u - p)))
    return _polygon(kept, x, y, size / 2)
