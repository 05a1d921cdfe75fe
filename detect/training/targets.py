"""Training targets of each cell of the network, from a truth catalogue."""

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
from skyduel.detect.model.layout import STRIDE

__all__ = ["SourceTargets", "TargetRules", "Targets", "make_targets", "source_targets"]


@dataclass(frozen=True)
class TargetRules:
    """Rules that turn sources into targets.

    Truths with an S/N of at least ``positive_snr`` are positives; from ``ignore_snr`` to it
    they are ignored; below it they are part of the noise. A cell is positive if its centre is
    within ``reach_px`` of a positive, and ignored up to ``ring_px``.
    For streaks both are distances from the ridge; a streak with a total S/N below
    ``streak_positive_snr`` is ignored. Around an ignored source with a ``radius`` (a galaxy's
    half-light radius) all cells within ``galaxy_reach`` radii are ignored.
    """

    positive_snr: float = 2.5
    ignore_snr: float = 1.2
    reach_px: float = 1.5
    ring_px: float = 2.5
    streak_reach_px: float = 1.5
    streak_ring_px: float = 3.5
    streak_positive_snr: float = 5.0
    galaxy_reach: float = 2.0


@dataclass(frozen=True)
class Targets:
    """Targets of one frame.

    Attributes
    ----------
    maps : ndarray of float32, shape (10, ny/2, nx/2)
        The eight of `skyduel.detect.model.network.DENSE_CHANNELS`, then the weight (0 or 1) of the
        point and of the streak targets.
    points : ndarray of float32, shape (n, 4)
        x, y [px], 1 for a positive or 0 for an ignored source, and the distance within
        which an ignored source excludes a proposal from the loss [px], at least the
        scorer's radius.
    """

    maps: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]


_RULES: Final = TargetRules()


def make_targets(
    truth: Catalog,
    shape: tuple[int, int],
    rules: TargetRules = _RULES,
    *,
    masked: npt.NDArray[np.bool_] | None = None,
) -> Targets:
    """Compute the targets of one frame.

    Parameters
    ----------
    truth : Catalog
        With ``snr``; a row without a finite one (or marked ``ignore``) is ignored.
    shape : (ny, nx)
        Shape of the frame; even numbers.
    rules : TargetRules
        Rules that turn sources into targets.
    masked : ndarray of bool, shape (ny, nx), optional
        Unusable pixels. A cell that touches one has no label and no weight.

    Raises
    ------
    BadInputError
        If a side of the frame is an odd number of pixels.

    Notes
    -----
    A cell within reach of several sources has the offset to the nearest.
    """
    if shape[0] % STRIDE or shape[1] % STRIDE:
        raise BadInputError("labels", f"a frame whose sides are multiples of {STRIDE}", str(shape))
    ny, nx = shape[0] // STRIDE, shape[1] // STRIDE
    half = (STRIDE - 1) / 2
    grid = np.mgrid[0:ny, 0:nx].astype(np.float32) * STRIDE + half
    yy, xx = grid[0], grid[1]
    maps = np.zeros((10, ny, nx), dtype=np.float32)
    maps[8:] = 1.0

    sources = source_targets({name: truth[name] for name in truth.table.colnames}, rules)
    cells = np.column_stack([xx.ravel(), yy.ravel()])
    if len(sources.ignored):
        near, _ = KDTree(sources.ignored[:, :2]).query(cells, distance_upper_bound=rules.reach_px)
        maps[8].reshape(-1)[np.isfinite(near)] = 0.0
    for x, y, reach in sources.ignored[sources.ignored[:, 2] > 0]:
        maps[8, (xx - x) ** 2 + (yy - y) ** 2 <= reach**2] = 0.0
    if len(sources.positives):
        xy = sources.positives
        near, which = KDTree(xy).query(cells, distance_upper_bound=rules.ring_px)
        which, positive = np.asarray(which), near <= rules.reach_px
        flat = maps.reshape(10, -1)
        flat[8, np.isfinite(near) & ~positive] = 0.0
        flat[8, positive] = 1.0
        flat[0, positive] = 1.0
        flat[1, positive] = xy[which[positive], 0] - cells[positive, 0]
        flat[2, positive] = xy[which[positive], 1] - cells[positive, 1]
    _fill_streak_targets(maps, sources.streaks, xx, yy, rules)
    if masked is not None:
        cut = masked.reshape(ny, STRIDE, nx, STRIDE).any(axis=(1, 3))
        for channel in (0, 3, 8, 9):  # no target and no weight
            maps[channel, cut] = 0.0
    return Targets(maps, sources.points)


class SourceTargets(NamedTuple):
    """Truths of a frame by their role in training.

    ``positives`` holds x, y [px] of the positives, shape (n, 2). ``ignored`` holds x, y [px] of
    the ignored sources and the radius around them in which cells are ignored (0 for a point),
    (n, 3). ``streaks`` holds x, y, length [px], direction [rad] and 1 for a positive or 0 for an
    ignored streak, (n, 5). ``points`` is that of `Targets`.
    """

    positives: npt.NDArray[np.float64]
    ignored: npt.NDArray[np.float64]
    streaks: npt.NDArray[np.float64]
    points: npt.NDArray[np.float32]


def source_targets(
    truth: Mapping[str, npt.NDArray[Any]], rules: TargetRules = _RULES
) -> SourceTargets:
    """Sort the rows of a truth catalogue's columns into positives, ignored and streaks."""
    n = len(truth["x"])
    snr, ignore = truth.get("snr"), truth.get("ignore", np.zeros(n, dtype=bool))
    if snr is None:
        snr = np.full(n, np.inf)
    else:
        ignore = ignore | ~np.isfinite(snr)
    lines = truth["kind"] == "streak"
    positives = ~lines & (snr >= rules.positive_snr) & ~ignore
    ignored = ~lines & (ignore | ((snr >= rules.ignore_snr) & (snr < rules.positive_snr)))
    wide = np.where(ignore, rules.galaxy_reach * truth.get("radius", np.zeros(n)), 0.0)
    xy = np.column_stack([truth["x"], truth["y"]]).astype(np.float64)
    rows = positives | ignored
    streaks = np.column_stack(
        [xy, truth["length"], truth["theta"], ~ignore & ~(snr < rules.streak_positive_snr)]
    )
    points = np.column_stack([xy, positives, np.maximum(wide, PAIRING_RADIUS_PX)])
    return SourceTargets(
        xy[positives],
        np.column_stack([xy, wide])[ignored],
        streaks[lines],
        points[rows].astype(np.float32).reshape(-1, 4),
    )


def _fill_streak_targets(
    maps: npt.NDArray[np.float32],
    streaks: npt.NDArray[np.float64],
    xx: npt.NDArray[np.float32],
    yy: npt.NDArray[np.float32],
    rules: TargetRules,
) -> None:
    """Fill the streak maps in place; where streaks cross, the nearest one counts."""
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
