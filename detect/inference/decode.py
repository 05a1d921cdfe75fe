"""Decode the dense maps: source proposals and streaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit
from scipy.special import logit as logit_of

from skyduel.detect.model.layout import DENSE_CHANNELS, STRIDE, cell_centres

__all__ = ["STREAK_CHANNELS", "StreakRules", "find_streaks", "propose"]

Singles = npt.NDArray[np.float32]

#: The dense channels of streaks: presence, direction, offset to the ridge.
STREAK_CHANNELS: Final = slice(DENSE_CHANNELS.index("streak"), None)
#: Proposals closer than this are merged: half of the scorer's matching radius [px].
_MERGE_PX: Final = 1.0


def propose(maps: Singles, floor: float, most: int) -> tuple[Singles, Singles]:
    """Return the proposals of one frame.

    Parameters
    ----------
    maps : ndarray of float32, shape (8, h, w)
        Dense output.
    floor : float
        Lowest presence probability of a proposal.
    most : int
        Maximum number of proposals; those of highest probability are kept.

    Returns
    -------
    xy : ndarray of float32, shape (k, 2)
        The decoded positions [px].
    logits : ndarray of float32, shape (k,)
        Their presence logits in decreasing order.

    Notes
    -----
    The cells around a source all point at it. A cell is kept if no cell of higher
    presence points to within 1 px of the same position; of equal cells the first in
    row order is kept. Only the 5 × 5 cells around a cell are compared, since no cell
    is trained to point farther.
    """
    _, h, w = maps.shape
    row, col = np.nonzero(maps[0] > float(logit_of(floor)))
    # Only the neighbours of the candidates are read: the maps are large, the sources few.
    # Cells outside the map point infinitely far away.
    pad = 2
    wide = w + 2 * pad
    padded = np.full((3, h + 2 * pad, wide), np.inf, dtype=np.float32)
    padded[:, pad:-pad, pad:-pad] = maps[:3]
    padded = padded.reshape(3, -1)
    place = (row + pad) * wide + col + pad
    own, dx, dy = padded.take(place, axis=1)
    keep = np.ones(len(place), dtype=bool)
    for dr in range(-pad, pad + 1):
        for dc in range(-pad, pad + 1):
            if dr == 0 and dc == 0:
                continue
            neighbour = place + (dr * wide + dc)
            other = padded[0].take(neighbour)
            surer = other >= own if (dr, dc) < (0, 0) else other > own
            # Most neighbours are less sure: only the others are decoded.
            some = np.flatnonzero(surer & keep)
            px, py = padded[1:].take(neighbour[some], axis=1)
            away = (px - dx[some] + STRIDE * dc) ** 2 + (py - dy[some] + STRIDE * dr) ** 2
            keep[some] = ~(away < _MERGE_PX**2)
    cx, cy = cell_centres(h, w)
    row, col, own = row[keep], col[keep], own[keep]
    xy = np.stack([cx[row, col] + dx[keep], cy[row, col] + dy[keep]], axis=1)
    order = np.argsort(-own, kind="stable")[:most]
    return xy[order], own[order]


#: Maximum number of ridge points whose mean is an end of a streak. With one point, simulated
#: streaks come out 2.3 px too long in the median, with three 0.7 px; short streaks have too few.
_END_CELLS: Final = 3
_CELLS_PER_END_CELL: Final = 8


@dataclass(frozen=True)
class StreakRules:
    """Parameters for grouping cells into streaks.

    Adjacent cells of probability above ``low`` form a group if one is above ``high``.
    A group is divided into straight lines of cells that point to within ``ridge_px``
    of one ridge and predict its direction within ``spread_deg``.
    Collinear lines (within ``turn_deg`` and ``offset_px``) are joined
    over gaps up to ``gap_px``; lines shorter than ``shortest_px`` are dropped.
    """

    low: float = 0.2
    high: float = 0.3
    ridge_px: float = 2.0
    spread_deg: float = 25.0
    turn_deg: float = 8.0
    offset_px: float = 4.0
    gap_px: float = 40.0
    shortest_px: float = 7.0


def find_streaks(
    maps: npt.NDArray[np.floating], rules: StreakRules | None = None
) -> npt.NDArray[np.float64]:
    """Return the streaks of one frame.

    Parameters
    ----------
    maps : ndarray of float32 or float16, shape (5, h, w)
        Dense output of one frame, its `STREAK_CHANNELS`.
    rules : StreakRules, optional
        Parameters for grouping cells; the defaults if not given.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        x, y [px], length [px], theta [rad] in [-π/2, π/2) and score, the mean
        probability of its cells.
    """
    rules = rules or StreakRules()
    label, n = ndimage.label(maps[0] > float(logit_of(rules.low)), structure=np.ones((3, 3)))
    if n == 0:
        return np.zeros((0, 5))
    # Only the cells of the groups are decoded: they are few, and the maps are large.
    rows, cols = np.nonzero(label)
    p = expit(maps[0, rows, cols].astype(np.float64))
    part = label[rows, cols]
    sure = np.zeros(n + 1, dtype=bool)
    sure[part[p > rules.high]] = True
    of_sure = sure[part]
    rows, cols, p, part = rows[of_sure], cols[of_sure], p[of_sure], part[of_sure]
    cx, cy = cell_centres(*maps[0].shape)
    # In float64: sums over the cells of a long trail need more than single precision.
    m = maps[:, rows, cols].astype(np.float64)
    cells = _Cells(
        cx[rows, cols] + m[3],
        cy[rows, cols] + m[4],
        p,
        0.5 * np.arctan2(m[2], m[1]),
    )
    order = np.argsort(part, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(part[order])) + 1)
    lines = [line for group in groups for line in _lines(cells, group, rules)]
    fits = _join(cells, lines, rules)
    out = [fit for fit in fits if fit.length >= rules.shortest_px]
    return np.array(out, dtype=np.float64).reshape(-1, 5)


class _Cells(NamedTuple):
    """Predicted ridge position, streak probability and direction of cells, each (n,)."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    theta: npt.NDArray[np.float64]

    def of(self, members: npt.NDArray[np.intp]) -> _Cells:
        """Return the cells with the given indices."""
        return _Cells(*(column[members] for column in self))


class _Fit(NamedTuple):
    """A segment: its centre, length, direction and the mean probability of its cells."""

    x: float
    y: float
    length: float
    theta: float
    score: float

    def across(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return signed distances from the segment's line."""
        c, s = np.cos(self.theta), np.sin(self.theta)
        return np.asarray((np.asarray(y) - self.y) * c - (np.asarray(x) - self.x) * s)


#: Minimum number of cells in a line.
_FEWEST: Final = 3
#: Number of cells of a group that are tried as the seed of a line.
_SEEDS: Final = 24
#: If a line leaves out at most this fraction of a group's weight, no other line is tried.
_STRAYS: Final = 0.05


def _turn(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the angle between two directions, in [0, π/2]."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return np.asarray(np.abs((difference + np.pi / 2) % np.pi - np.pi / 2))


def _lines(
    cells: _Cells, group: npt.NDArray[np.intp], rules: StreakRules
) -> list[npt.NDArray[np.intp]]:
    """Return the lines of one group of adjacent cells, as indices, the best supported first.

    A single streak gives one line; streaks that cross or run side by side give two. A
    further line must have cells that lie off all earlier lines: otherwise the ragged
    edge of a wide streak would give further streaks.
    """
    lines: list[npt.NDArray[np.intp]] = []
    fresh = np.ones(group.size, dtype=bool)
    while group.size >= _FEWEST:
        mine = _best_line(cells.of(group), rules)
        if mine is None or (fresh & mine).sum() < _FEWEST:
            break
        lines.append(group[mine])
        fit = _fit(cells.of(group[mine]))
        group, fresh = group[~mine], fresh[~mine]
        rest = cells.of(group)
        fresh &= np.abs(fit.across(rest.x, rest.y)) > 1.5 * rules.ridge_px
    return lines


def _best_line(cells: _Cells, rules: StreakRules) -> npt.NDArray[np.bool_] | None:
    """Return a mask of the cells of the best supported straight line, or None without one.

    The ridge position and direction of every seed define a line; the cells that agree
    with the line refine it (random sample consensus, Fischler & Bolles 1981, with one
    cell per sample; the seeds are evenly spaced, not random).
    """
    best, most, whole = None, 0.0, float(cells.weight.sum())
    # The line through all cells first: usually it holds them all, so no other can be better.
    starts = [_fit(cells)]
    for seed in np.unique(np.linspace(0, cells.x.size - 1, _SEEDS).astype(int)):
        starts.append(_Fit(cells.x[seed], cells.y[seed], 0.0, cells.theta[seed], 0.0))
    for start in starts:
        mine = _agreeing(cells, start, rules)
        support = float(cells.weight[mine].sum())
        if mine.sum() >= _FEWEST and support > most:
            best, most = mine, support
        if most >= (1 - _STRAYS) * whole:
            break
    return best


def _agreeing(cells: _Cells, line: _Fit, rules: StreakRules) -> npt.NDArray[np.bool_]:
    """Return a mask of the cells that agree with a line, after refitting the line to them."""
    # The direction of one cell is imprecise: the first tolerance grows with distance.
    slack = 0.15 * np.hypot(cells.x - line.x, cells.y - line.y)
    for _ in range(4):
        close = np.abs(line.across(cells.x, cells.y)) <= rules.ridge_px + slack
        mine = close & (_turn(cells.theta, line.theta) <= np.deg2rad(rules.spread_deg))
        if mine.sum() < _FEWEST:
            break
        line, slack = _fit(cells.of(np.flatnonzero(mine))), np.zeros(1)
    return np.asarray(mine)


def _fit(cells: _Cells) -> _Fit:
    """Fit a segment to the ridge points of cells."""
    x, y, w, theta = cells
    total = float(w.sum())
    mx, my = float((w * x).sum()) / total, float((w * y).sum()) / total
    dx, dy = x - mx, y - my
    angle = 0.5 * np.arctan2(2 * (w * dx * dy).sum(), (w * (dx**2 - dy**2)).sum())
    if np.hypot(np.ptp(x), np.ptp(y)) < 12:  # too short for moments: use the cells' directions
        angle = 0.5 * np.arctan2((w * np.sin(2 * theta)).sum(), (w * np.cos(2 * theta)).sum())
    along = dx * np.cos(angle) + dy * np.sin(angle)
    # Cells beyond an end point back to it, so the outermost ridge points lie around the end;
    # the last point has the largest error.
    outermost = np.sort(along)
    few = max(1, min(_END_CELLS, outermost.size // _CELLS_PER_END_CELL))
    low, high = float(outermost[:few].mean()), float(outermost[-few:].mean())
    middle = (low + high) / 2
    return _Fit(
        mx + middle * float(np.cos(angle)),
        my + middle * float(np.sin(angle)),
        high - low,
        _wrap(float(angle)),
        total / len(w),
    )


def _wrap(angle: float) -> float:
    """Wrap a direction to [-π/2, π/2)."""
    wrapped = (angle + np.pi / 2) % np.pi - np.pi / 2
    return -np.pi / 2 if wrapped >= np.pi / 2 else wrapped  # rounding may reach the open end


def _join(cells: _Cells, lines: list[npt.NDArray[np.intp]], rules: StreakRules) -> list[_Fit]:
    """Join the lines that continue each other and return the segments, the longest first."""
    fits = [_fit(cells.of(line)) for line in lines]
    merged = True
    while merged:
        merged = False
        order = sorted(range(len(fits)), key=lambda i: -fits[i].length)
        lines, fits = [lines[i] for i in order], [fits[i] for i in order]
        table = np.array(fits).reshape(-1, 5)
        alive = np.ones(len(fits), dtype=bool)
        for a in range(len(fits)):
            while alive[a]:
                others = np.flatnonzero(alive[a + 1 :]) + a + 1
                follows = others[_continue(fits[a], table[others], rules)]
                if follows.size == 0:
                    break
                b = follows[0]
                lines[a] = np.concatenate([lines[a], lines[b]])
                fits[a] = _fit(cells.of(lines[a]))
                table[a], alive[b], merged = fits[a], False, True
        lines = [line for line, keep in zip(lines, alive, strict=True) if keep]
        fits = [fit for fit, keep in zip(fits, alive, strict=True) if keep]
    return fits


def _continue(a: _Fit, b: npt.NDArray[np.float64], rules: StreakRules) -> npt.NDArray[np.bool_]:
    """Return a mask of the segments b (n, 5) that lie on the line of a, near one of its ends."""
    x, y, length, theta, _ = b.T
    # The angle of a short segment is uncertain by its width over its length.
    straight = _turn(theta, a.theta) <= np.deg2rad(rules.turn_deg) + 2.0 / np.maximum(length, 2.0)
    along = (x - a.x) * np.cos(a.theta) + (y - a.y) * np.sin(a.theta)
    near = np.abs(along) - (a.length + length) / 2 <= rules.gap_px
    return np.asarray(straight & near & (np.abs(a.across(x, y)) <= rules.offset_px))
