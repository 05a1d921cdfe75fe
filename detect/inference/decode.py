"""From maps to sources: proposals, their boxes, and streaks from the cells they cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.special import expit
from scipy.special import logit as logit_of
from torch import Tensor
from torch.nn import functional as F

from skyduel.detect.model.network import DENSE_CHANNELS, ROI_BOX_PX, STRIDE, cell_centres

__all__ = [
    "STREAK_CHANNELS",
    "StreakRules",
    "find_streaks",
    "propose",
    "propose_each",
    "source_boxes",
]

#: The dense channels about streaks: presence, direction, offset to the ridge.
STREAK_CHANNELS: Final = slice(DENSE_CHANNELS.index("streak"), None)
#: Proposals closer than this are one: half of what the scorer takes for the same source [px].
_MERGE_PX: Final = 1.0


def source_boxes(xy: Tensor, side_px: float = ROI_BOX_PX) -> Tensor:
    """Return square boxes, xyxy edges [px], of sources centred on ``xy`` (k, 2)."""
    # A pixel's centre is an integer; its edges lie half a pixel away.
    half = side_px / 2
    return torch.cat([xy + 0.5 - half, xy + 0.5 + half], dim=1)


def propose(maps: Tensor, floor: float, most: int) -> tuple[Tensor, Tensor]:
    """Return the proposals of one frame; see `propose_each`, of which ``maps`` is one part."""
    return propose_each(maps[None], floor, most)[0]


def propose_each(maps: Tensor, floor: float, most: int) -> list[tuple[Tensor, Tensor]]:
    """Return the proposals of every frame of a batch.

    Parameters
    ----------
    maps : Tensor, shape (n, 8, h, w)
        Dense output.
    floor : float
        Lowest presence probability of a proposal.
    most : int
        No more than this many a frame, the surest.

    Returns
    -------
    xy : Tensor of float32, shape (k, 2)
        Decoded positions [px], for each frame with
    logits : Tensor of float32, shape (k,)
        Presence logits, falling.

    Notes
    -----
    The cells around a source all point at it. A cell is kept if no surer cell
    points to within 1 px of where it points; ties go to the earlier
    cell in row order. Only the 5 × 5 cells around it are asked, since no cell is
    taught to point farther than that.
    """
    n, _, h, w = maps.shape
    candidates = torch.nonzero(maps[:, 0].float().flatten() > float(logit_of(floor))).flatten()
    # Neighbours of the candidates only: the maps are large, the sources few. What is not
    # on a map points infinitely far away.
    pad = 2
    padded = F.pad(maps[:, :3].float().transpose(0, 1), [pad] * 4, value=torch.inf).flatten(1)
    frame, cell = candidates // (h * w), candidates % (h * w)
    row, col = cell // w, cell % w
    wide = w + 2 * pad
    place = (frame * (h + 2 * pad) + row + pad) * wide + col + pad
    own, dx, dy = padded[:, place]
    keep = torch.ones_like(candidates, dtype=torch.bool)
    for dr in range(-pad, pad + 1):
        for dc in range(-pad, pad + 1):
            if dr == 0 and dc == 0:
                continue
            other, px, py = padded[:, place + dr * wide + dc]
            earlier = (dr, dc) < (0, 0)
            surer = (other > own) | ((other == own) & earlier)
            away = (px - dx + STRIDE * dc) ** 2 + (py - dy + STRIDE * dr) ** 2
            keep &= ~(surer & (away < _MERGE_PX**2))
    cx, cy = cell_centres(h, w, maps.device)
    own, frame = own[keep], frame[keep]
    xy = torch.stack([(cx[row, col] + dx)[keep], (cy[row, col] + dy)[keep]], dim=1)
    order = torch.argsort(own, descending=True, stable=True)
    order = order[torch.argsort(frame[order], stable=True)]
    count = torch.bincount(frame, minlength=n).tolist()
    return [(xy[rows][:most], own[rows][:most]) for rows in torch.split(order, count)]


#: Most ridge points whose mean is an end of a streak. With one, simulated streaks come out
#: 2.3 px too long in the median, with three 0.7 px; short ones have no three to spare.
_END_CELLS: Final = 3
_CELLS_PER_END_CELL: Final = 8


@dataclass(frozen=True)
class StreakRules:
    """How cells become streaks.

    Cells of probability above ``low`` that touch form a group if one is above ``high``.
    A group is taken apart into straight lines of cells that point to within
    ``ridge_px`` of one ridge and say its direction within ``spread_deg``.
    Lines that continue each other (within ``turn_deg`` and ``offset_px``) are joined
    over gaps up to ``gap_px``; what is shorter than ``shortest_px`` is no streak.
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
        How cells become streaks.

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
    # Of the cells of the groups only: they are few, and the maps are large.
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
        cx.numpy()[rows, cols] + m[3],
        cy.numpy()[rows, cols] + m[4],
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
    """Where cells see the ridge, how sure they are and the direction they see, each (n,)."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    theta: npt.NDArray[np.float64]

    def of(self, members: npt.NDArray[np.intp]) -> _Cells:
        """Return some of the cells."""
        return _Cells(*(column[members] for column in self))


class _Fit(NamedTuple):
    """A segment: its centre, length, direction and the mean probability of its cells."""

    x: float
    y: float
    length: float
    theta: float
    score: float

    def across(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return distances from the segment's line, signed."""
        c, s = np.cos(self.theta), np.sin(self.theta)
        return np.asarray((np.asarray(y) - self.y) * c - (np.asarray(x) - self.x) * s)


#: Fewer cells than this are no line.
_FEWEST: Final = 3
#: Cells of a group that are tried as the seed of a line.
_SEEDS: Final = 24
#: A line with all but this share of a group's weight is taken without trying others.
_STRAYS: Final = 0.05


def _turn(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the angle between two directions, in [0, π/2]."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return np.asarray(np.abs((difference + np.pi / 2) % np.pi - np.pi / 2))


def _lines(
    cells: _Cells, group: npt.NDArray[np.intp], rules: StreakRules
) -> list[npt.NDArray[np.intp]]:
    """Return the lines of one group of touching cells, as indices, the best supported first.

    One line for a lone streak, two where streaks cross or run side by side. A
    further line must have cells that lie off all earlier ones, else
    the ragged rim of a wide streak would become streaks of its own.
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
    """Return which cells make the best supported straight line, or None without one.

    Every seed is a line of its own, by where it sees the ridge and in which
    direction; the cells that agree refine it (random sampling consensus, Fischler
    & Bolles 1981, with one cell a sample and no chance: seeds are spread evenly).
    """
    best, most, whole = None, 0.0, float(cells.weight.sum())
    # The line through all of them first: mostly it is the answer, and none can beat it.
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
    """Return which cells agree with a line, after the line has been fitted to them."""
    # One cell's direction is rough: far along the line more deviation is forgiven at first.
    slack = 0.15 * np.hypot(cells.x - line.x, cells.y - line.y)
    for _ in range(4):
        close = np.abs(line.across(cells.x, cells.y)) <= rules.ridge_px + slack
        mine = close & (_turn(cells.theta, line.theta) <= np.deg2rad(rules.spread_deg))
        if mine.sum() < _FEWEST:
            break
        line, slack = _fit(cells.of(np.flatnonzero(mine))), np.zeros(1)
    return np.asarray(mine)


def _fit(cells: _Cells) -> _Fit:
    """Return the segment through ridge points."""
    x, y, w, theta = cells
    total = float(w.sum())
    mx, my = float((w * x).sum()) / total, float((w * y).sum()) / total
    dx, dy = x - mx, y - my
    angle = 0.5 * np.arctan2(2 * (w * dx * dy).sum(), (w * (dx**2 - dy**2)).sum())
    if np.hypot(np.ptp(x), np.ptp(y)) < 12:  # too short for its own shape: ask the cells
        angle = 0.5 * np.arctan2((w * np.sin(2 * theta)).sum(), (w * np.cos(2 * theta)).sum())
    along = dx * np.cos(angle) + dy * np.sin(angle)
    # Cells beyond an end point back to it, so the outermost ridge points lie around it;
    # the very last one is the one with the largest error.
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
    """Return a direction in [-π/2, π/2)."""
    wrapped = (angle + np.pi / 2) % np.pi - np.pi / 2
    return -np.pi / 2 if wrapped >= np.pi / 2 else wrapped  # rounding may reach the open end


def _join(cells: _Cells, lines: list[npt.NDArray[np.intp]], rules: StreakRules) -> list[_Fit]:
    """Return the segments, those that continue each other joined, the longest first."""
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
    """Return which segments b (n, 5) lie on the line of a, near one of its ends."""
    x, y, length, theta, _ = b.T
    # The angle of a short piece is uncertain by its width over its length.
    straight = _turn(theta, a.theta) <= np.deg2rad(rules.turn_deg) + 2.0 / np.maximum(length, 2.0)
    along = (x - a.x) * np.cos(a.theta) + (y - a.y) * np.sin(a.theta)
    near = np.abs(along) - (a.length + length) / 2 <= rules.gap_px
    return np.asarray(straight & near & (np.abs(a.across(x, y)) <= rules.offset_px))
