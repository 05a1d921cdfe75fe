"""Distances between streaks, taken as straight segments."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["angle_difference", "point_segment_distance", "segment_distance"]

Floats = npt.NDArray[np.float64]

#: Points at which the distance of the shorter segment is sampled, ends included.
_SAMPLES: Final = 33


def angle_difference(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Return the angle between two undirected lines [rad], in [0, pi/2]."""
    d = np.mod(np.asarray(a, dtype=float) - np.asarray(b, dtype=float), np.pi)
    return np.asarray(np.minimum(d, np.pi - d), dtype=np.float64)


def point_segment_distance(
    px: npt.ArrayLike,
    py: npt.ArrayLike,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    length: npt.ArrayLike,
    theta: npt.ArrayLike,
) -> Floats:
    """Return the distance of points to segments [px], broadcast.

    Parameters
    ----------
    px, py : array_like
        The points [px].
    x, y, length, theta : array_like
        Centre [px], length [px] and angle [rad] of the segments. Beyond the
        ends the distance is that to the nearer end; a segment of length 0 is
        its centre.
    """
    dx, dy = np.subtract(px, x), np.subtract(py, y)
    cos, sin = np.cos(theta), np.sin(theta)
    along = dx * cos + dy * sin
    across = dy * cos - dx * sin
    beyond = np.maximum(np.abs(along) - np.asarray(length) / 2, 0.0)
    return np.asarray(np.hypot(beyond, across), dtype=np.float64)


def _one_way(
    x: Floats, y: Floats, length: Floats, theta: Floats, other: tuple[Floats, ...]
) -> Floats:
    t = np.linspace(-0.5, 0.5, _SAMPLES)
    px = x[..., None] + t * (length * np.cos(theta))[..., None]
    py = y[..., None] + t * (length * np.sin(theta))[..., None]
    d = point_segment_distance(px, py, *(np.asarray(o)[..., None] for o in other))
    return np.asarray(d.mean(axis=-1))


def segment_distance(
    x1: npt.ArrayLike,
    y1: npt.ArrayLike,
    length1: npt.ArrayLike,
    theta1: npt.ArrayLike,
    x2: npt.ArrayLike,
    y2: npt.ArrayLike,
    length2: npt.ArrayLike,
    theta2: npt.ArrayLike,
) -> Floats:
    """Return the distance of the shorter of two segments from the longer one [px], broadcast.

    The mean distance of 33 points, evenly spaced along the shorter segment
    with its ends, to the longer segment. A piece of a streak is at distance 0
    from it wherever it lies on it, and a piece beyond its end is not. With
    equal lengths the smaller of the two ways counts, so the arguments may be
    swapped.
    """
    x1, y1, length1, theta1, x2, y2, length2, theta2 = np.broadcast_arrays(
        *(
            np.asarray(a, dtype=np.float64)
            for a in (x1, y1, length1, theta1, x2, y2, length2, theta2)
        )
    )
    forth = _one_way(x1, y1, length1, theta1, (x2, y2, length2, theta2))
    back = _one_way(x2, y2, length2, theta2, (x1, y1, length1, theta1))
    return np.where(
        length1 < length2, forth, np.where(length1 > length2, back, np.minimum(forth, back))
    )
