"""Boxes of the published network's sources, and what a detected box says of its source."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from skyduel.detect.published.form import CLASSES
from skyduel.detect.training.targets import SourceTargets

__all__ = [
    "MOST_LABELS",
    "POINT",
    "STREAK",
    "SourceBoxes",
    "fixed_boxes",
    "length_and_angle",
    "mended_boxes",
]

Floats = npt.NDArray[np.float64]

POINT: Final = CLASSES.index("point")
STREAK: Final = CLASSES.index("streak")
#: Half the side of the published boxes of points and streaks [px].
FIXED_HALF: Final = {POINT: 5.0, STREAK: 6.0}
#: Sources closer to the frame's edge than this have no published box [px].
FIXED_EDGE_PX: Final = 5.0
#: Half the side of a mended box of a point, and the margin of a streak's box around its ridge [px].
HALF: Final = 4.0
#: Most sources of a frame of 500 px that are labelled as published.
MOST_LABELS: Final = 110
#: Boxes of streaks of which less than this is on the frame are left out [px].
_LEAST_PX: Final = 2.0


class SourceBoxes(NamedTuple):
    """Boxes of the sources of a frame, edges x1, y1, x2, y2 [px from the frame's edges].

    Attributes
    ----------
    boxes : ndarray of float64, shape (n, 4)
        Of the known sources.
    labels : ndarray of int64, shape (n,)
        Their classes.
    ignored : ndarray of float64, shape (i, 4)
        Of sources that are neither right nor wrong.
    """

    boxes: Floats
    labels: npt.NDArray[np.int64]
    ignored: Floats


def fixed_boxes(
    sources: SourceTargets, shape: tuple[int, int], most: int | None, rng: np.random.Generator
) -> SourceBoxes:
    """Return the published boxes: squares of 10 px (points) and 12 px (streaks).

    Parameters
    ----------
    sources : SourceTargets
        Sources of a frame.
    shape : (ny, nx)
        Shape of the frame [px].
    most : int, optional
        Most sources with a box; the others, drawn at random, count as background.
    rng : Generator
        Draws them.

    Notes
    -----
    Edges are ``int(x - 5)`` and ``int(x + 5)`` of a position that counts pixels from 1, so
    a box is a pixel and a half from its place at most. Sources within 5 px of the frame's edge
    have none.
    """
    sure = sources.streaks[:, 4] > 0
    known = [
        _fixed(sources.positives, shape, FIXED_HALF[POINT]),
        _fixed(sources.streaks[sure, :2], shape, FIXED_HALF[STREAK]),
    ]
    boxes = np.concatenate(known)
    labels = np.repeat([POINT, STREAK], [len(part) for part in known])
    boxes, labels = _at_most(most, boxes, labels, rng)
    ignored = [
        _fixed(sources.ignored[:, :2], shape, FIXED_HALF[POINT]),
        _fixed(sources.streaks[~sure, :2], shape, FIXED_HALF[STREAK]),
    ]
    return SourceBoxes(boxes, labels, np.concatenate(ignored))


def mended_boxes(
    sources: SourceTargets, shape: tuple[int, int], most: int | None, rng: np.random.Generator
) -> SourceBoxes:
    """Return squares of 8 px around points, and the extent of streaks widened by 4 px.

    Parameters are those of `fixed_boxes`. Boxes end at the edges of the frame.
    """
    sure = sources.streaks[:, 4] > 0
    points = _square(sources.positives, HALF)
    streaks = _extent(sources.streaks)
    ignored = _square(sources.ignored[:, :2], np.maximum(HALF, sources.ignored[:, 2])[:, None])
    points, ignored = _on_frame(points, shape), _on_frame(ignored, shape)
    lines, unsure = _on_frame(streaks[sure], shape), _on_frame(streaks[~sure], shape)
    boxes = np.concatenate([points, lines])
    labels = np.repeat([POINT, STREAK], [len(points), len(lines)])
    boxes, labels = _at_most(most, boxes, labels, rng)
    return SourceBoxes(boxes, labels, np.concatenate([ignored, unsure]))


def length_and_angle(box: npt.ArrayLike, patch: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the length [px] and the direction [rad] of the streak in a mended box.

    Parameters
    ----------
    box : array_like, shape (4,)
        Edges of the box [px].
    patch : ndarray of float32, shape (h, w)
        The pixels in the box, background subtracted. They say which of the two diagonals it is.

    Returns
    -------
    length, theta : float
        theta in [-π/2, π/2), from x to y.
    """
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64)
    width, height = max(x2 - x1 - 2 * HALF, 0.0), max(y2 - y1 - 2 * HALF, 0.0)
    positive = np.clip(patch, 0.0, None).astype(np.float64)
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float64)
    total = positive.sum()
    sign = 1.0
    if total > 0:
        dx, dy = x - (positive * x).sum() / total, y - (positive * y).sum() / total
        sign = -1.0 if (positive * dx * dy).sum() < 0 else 1.0
    theta = float(np.arctan2(sign * height, width))
    return float(np.hypot(width, height)), -np.pi / 2 if theta >= np.pi / 2 else theta


def _at_most(
    most: int | None, boxes: Floats, labels: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return some boxes with their labels, drawn at random if there are too many."""
    if most is None or len(boxes) <= most:
        return boxes, labels
    kept = np.sort(rng.permutation(len(boxes))[:most])
    return boxes[kept], labels[kept]


def _fixed(xy: Floats, shape: tuple[int, int], half: float) -> Floats:
    """Return the published squares around positions (n, 2), integer at a pixel's centre."""
    counted = np.asarray(xy, dtype=np.float64).reshape(-1, 2) + 1.0
    ends = np.array([shape[1], shape[0]]) - FIXED_EDGE_PX
    counted = counted[((counted > FIXED_EDGE_PX) & (counted < ends)).all(axis=1)]
    edges: Floats = np.trunc(np.concatenate([counted - half, counted + half], axis=1))
    return edges


def _square(xy: Floats, half: float | Floats) -> Floats:
    """Return squares around positions, of edges that count from the frame's edge."""
    centre = np.asarray(xy, dtype=np.float64).reshape(-1, 2) + 0.5
    return np.concatenate([centre - half, centre + half], axis=1)


def _extent(streaks: Floats) -> Floats:
    """Return the boxes of streaks (n, 5): x, y, length, theta, sure."""
    along = np.column_stack([np.cos(streaks[:, 3]), np.sin(streaks[:, 3])])
    return _square(streaks[:, :2], np.abs(along) * streaks[:, 2:3] / 2 + HALF)


def _on_frame(boxes: Floats, shape: tuple[int, int]) -> Floats:
    """Return boxes cut at the frame's edges, without those of which little is left."""
    ends = np.array([shape[1], shape[0]] * 2, dtype=np.float64)
    cut = np.clip(boxes, 0.0, ends)
    return cut[((cut[:, 2:] - cut[:, :2]) >= _LEAST_PX).all(axis=1)]
