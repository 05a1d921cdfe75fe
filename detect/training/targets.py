"""From a truth catalogue to what each cell of the network should say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from skyduel.core.catalog import Catalog
from skyduel.core.defaults import PAIRING_RADIUS_PX
from skyduel.core.errors import BadInputError
from skyduel.detect.model.network import STRIDE

__all__ = ["LabelRules", "Labels", "Lessons", "lessons_of", "make_labels"]


@dataclass(frozen=True)
class LabelRules:
    """Where a label begins and ends.

    ``known_snr``: truths at and above it are sources; from ``ignore_snr`` to it
    they are neither; below it they are part of the noise. ``reach_px``: a cell whose
    centre is within it of a source is positive; up to ``ring_px`` it is neither.
    The two for streaks are distances from the ridge; a streak below ``streak_known_snr``
    in all is neither. Around an ignored source with a ``radius`` (a galaxy's
    half-light radius) nothing is judged within ``galaxy_reach`` of these.
    """

    known_snr: float = 2.5
    ignore_snr: float = 1.2
    reach_px: float = 1.5
    ring_px: float = 2.5
    streak_reach_px: float = 1.5
    streak_ring_px: float = 3.5
    streak_known_snr: float = 5.0
    galaxy_reach: float = 2.0


@dataclass(frozen=True)
class Labels:
    """Targets of one frame.

    Attributes
    ----------
    maps : ndarray of float32, shape (10, ny/2, nx/2)
        The eight of `skyduel.detect.model.network.DENSE_CHANNELS`, then the weight (0 or 1) of the
        point and of the streak labels.
    points : ndarray of float32, shape (n, 4)
        x, y [px], 1 for a source or 0 for one to be ignored, and the distance within
        which an ignored one excuses a proposal [px], at least the scorer's radius.
    """

    maps: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]


_RULES: Final = LabelRules()


def make_labels(
    truth: Catalog,
    shape: tuple[int, int],
    rules: LabelRules = _RULES,
    *,
    masked: npt.NDArray[np.bool_] | None = None,
) -> Labels:
    """Return the targets for one frame.

    Parameters
    ----------
    truth : Catalog
        With ``snr``; a row without a finite one (or marked ``ignore``) is ignored.
    shape : (ny, nx)
        Shape of the frame; even numbers.
    rules : LabelRules
        Where labels begin and end.
    masked : ndarray of bool, shape (ny, nx), optional
        Unusable pixels. A cell that touches one has no label and no weight.

    Raises
    ------
    BadInputError
        If a side of the frame is an odd number of pixels.

    Notes
    -----
    A cell within reach of several sources points at the nearest.
    """
    if shape[0] % STRIDE or shape[1] % STRIDE:
        raise BadInputError("labels", f"a frame whose sides are multiples of {STRIDE}", str(shape))
    ny, nx = shape[0] // STRIDE, shape[1] // STRIDE
    half = (STRIDE - 1) / 2
    grid = np.mgrid[0:ny, 0:nx].astype(np.float32) * STRIDE + half
    yy, xx = grid[0], grid[1]
    maps = np.zeros((10, ny, nx), dtype=np.float32)
    maps[8:] = 1.0

    lessons = lessons_of({name: truth[name] for name in truth.table.colnames}, rules)
    cells = np.column_stack([xx.ravel(), yy.ravel()])
    if len(lessons.unsure):
        near, _ = KDTree(lessons.unsure[:, :2]).query(cells, distance_upper_bound=rules.reach_px)
        maps[8].reshape(-1)[np.isfinite(near)] = 0.0
    for x, y, reach in lessons.unsure[lessons.unsure[:, 2] > 0]:
        maps[8, (xx - x) ** 2 + (yy - y) ** 2 <= reach**2] = 0.0
    if len(lessons.known):
        xy = lessons.known
        near, which = KDTree(xy).query(cells, distance_upper_bound=rules.ring_px)
        which, positive = np.asarray(which), near <= rules.reach_px
        flat = maps.reshape(10, -1)
        flat[8, np.isfinite(near) & ~positive] = 0.0
        flat[8, positive] = 1.0
        flat[0, positive] = 1.0
        flat[1, positive] = xy[which[positive], 0] - cells[positive, 0]
        flat[2, positive] = xy[which[positive], 1] - cells[positive, 1]
    _label_streaks(maps, lessons.streaks, xx, yy, rules)
    if masked is not None:
        cut = masked.reshape(ny, STRIDE, nx, STRIDE).any(axis=(1, 3))
        for channel in (0, 3, 8, 9):  # neither a source nor none, and no weight
            maps[channel, cut] = 0.0
    return Labels(maps, lessons.points)


class Lessons(NamedTuple):
    """What is to be learned of each truth of a frame.

    ``known`` holds x, y [px] of the sources, shape (n, 2); ``unsure`` those of what is neither a
    source nor none, with the reach around it in which nothing is judged beyond a point's own
    (0 for a point), (n, 3); ``streaks`` x, y, length [px], direction [rad] and 1 for one
    to be found or 0, (n, 5); ``points`` is that of `Labels`.
    """

    known: npt.NDArray[np.float64]
    unsure: npt.NDArray[np.float64]
    streaks: npt.NDArray[np.float64]
    points: npt.NDArray[np.float32]


def lessons_of(truth: Mapping[str, npt.NDArray[Any]], rules: LabelRules = _RULES) -> Lessons:
    """Return what is to be learned of each row of a truth catalogue's columns."""
    n = len(truth["x"])
    snr, ignore = truth.get("snr"), truth.get("ignore", np.zeros(n, dtype=bool))
    if snr is None:
        snr = np.full(n, np.inf)
    else:
        ignore = ignore | ~np.isfinite(snr)
    lines = truth["kind"] == "streak"
    known = ~lines & (snr >= rules.known_snr) & ~ignore
    unsure = ~lines & (ignore | ((snr >= rules.ignore_snr) & (snr < rules.known_snr)))
    wide = np.where(ignore, rules.galaxy_reach * truth.get("radius", np.zeros(n)), 0.0)
    xy = np.column_stack([truth["x"], truth["y"]]).astype(np.float64)
    rows = known | unsure
    streaks = np.column_stack(
        [xy, truth["length"], truth["theta"], ~ignore & ~(snr < rules.streak_known_snr)]
    )
    points = np.column_stack([xy, known, np.maximum(wide, PAIRING_RADIUS_PX)])
    return Lessons(
        xy[known],
        np.column_stack([xy, wide])[unsure],
        streaks[lines],
        points[rows].astype(np.float32).reshape(-1, 4),
    )


def _label_streaks(
    maps: npt.NDArray[np.float32],
    streaks: npt.NDArray[np.float64],
    xx: npt.NDArray[np.float32],
    yy: npt.NDArray[np.float32],
    rules: LabelRules,
) -> None:
    """Fill the streak maps in place; where two cross, the nearer one counts."""
    best = np.full(xx.shape, np.inf, dtype=np.float32)
    for x, y, length, theta, sure in streaks:
        c, s = np.cos(theta), np.sin(theta)
        along = np.clip((xx - x) * c + (yy - y) * s, -length / 2, length / 2)
        dx, dy = x + along * c - xx, y + along * s - yy
        distance = np.hypot(dx, dy)
        nearer = distance < best
        best = np.where(nearer, distance, best)
        inside = nearer & (distance <= rules.streak_reach_px)
        maps[3, inside], maps[9, inside] = sure, sure
        maps[4, inside], maps[5, inside] = np.cos(2 * theta), np.sin(2 * theta)
        maps[6, inside], maps[7, inside] = dx[inside], dy[inside]
    ring = (best > rules.streak_reach_px) & (best <= rules.streak_ring_px)
    maps[9, ring] = 0.0
