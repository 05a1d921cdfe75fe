"""From maps to sources: proposals, their boxes, and streaks from the cells they cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from detect.network import ROI_BOX_PX, cell_centres

__all__ = ["StreakRules", "find_streaks", "propose", "source_boxes"]

#: Proposals closer than this are one: half of what the scorer takes for the same source [px].
_MERGE_PX: Final = 1.0


def source_boxes(xy: Tensor, side_px: float = ROI_BOX_PX) -> Tensor:
    """Return square boxes, xyxy edges [px], of sources centred on ``xy`` (k, 2)."""
    # A pixel's centre is an integer; its edges lie half a pixel away.
    half = side_px / 2
    return torch.cat([xy + 0.5 - half, xy + 0.5 + half], dim=1)


def propose(maps: Tensor, floor: float, most: int) -> tuple[Tensor, Tensor]:
    """Return the proposals of one frame.

    Parameters
    ----------
    maps : Tensor, shape (8, h, w)
        Dense output of one frame.
    floor : float
        Lowest presence probability of a proposal.
    most : int
        No more than this many, the surest.

    Returns
    -------
    xy : Tensor of float32, shape (k, 2)
        Decoded positions [px].
    logits : Tensor of float32, shape (k,)
        Presence logits, falling.

    Notes
    -----
    The cells around a source all point at it. A cell is kept if no surer cell
    points to within 1 px of where it points; ties go to the earlier
    cell in row order. Only the 5 × 5 cells around it can, so this is local.
    """
    logit = maps[0].float()
    h, w = logit.shape
    cx, cy = cell_centres(h, w, maps.device)
    x, y = cx + maps[1].float(), cy + maps[2].float()
    candidates = torch.nonzero(logit.flatten() > _logit(floor)).flatten()
    if candidates.numel() == 0:
        return torch.zeros(0, 2), torch.zeros(0)
    # Neighbours' values around each candidate only: the maps are large, the sources few.
    pad = 2
    padded = torch.stack([F.pad(logit, [pad] * 4, value=-torch.inf), *(
        F.pad(v, [pad] * 4, value=torch.inf) for v in (x, y)
    )])  # fmt: skip
    row, col = candidates // w, candidates % w
    own, ox, oy = logit[row, col], x[row, col], y[row, col]
    keep = torch.ones_like(candidates, dtype=torch.bool)
    for dr in range(-pad, pad + 1):
        for dc in range(-pad, pad + 1):
            if dr == 0 and dc == 0:
                continue
            other, px, py = padded[:, row + dr + pad, col + dc + pad]
            earlier = (dr, dc) < (0, 0)
            surer = (other > own) | ((other == own) & earlier)
            keep &= ~(surer & ((px - ox) ** 2 + (py - oy) ** 2 < _MERGE_PX**2))
    own, ox, oy = own[keep], ox[keep], oy[keep]
    order = torch.argsort(own, descending=True, stable=True)[:most]
    return torch.stack([ox[order], oy[order]], dim=1), own[order]


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


@dataclass(frozen=True)
class StreakRules:
    """How cells become streaks.

    Cells of probability above ``low`` that touch form a group if one is above ``high``;
    groups on one line (within ``turn_deg`` and ``offset_px``) are joined over
    gaps up to ``gap_px``; what is shorter than ``shortest_px`` is no streak.
    """

    low: float = 0.3
    high: float = 0.6
    turn_deg: float = 8.0
    offset_px: float = 4.0
    gap_px: float = 40.0
    shortest_px: float = 7.0


def find_streaks(
    maps: npt.NDArray[np.float32], rules: StreakRules | None = None
) -> npt.NDArray[np.float64]:
    """Return the streaks of one frame.

    Parameters
    ----------
    maps : ndarray of float32, shape (8, h, w)
        Dense output of one frame.
    rules : StreakRules, optional
        How cells become streaks.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        x, y [px], length [px], theta [rad] in [-π/2, π/2) and score, the mean
        probability of its cells.
    """
    rules = rules or StreakRules()
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-maps[3]))
    label, n = ndimage.label(p > rules.low, structure=np.ones((3, 3)))
    if n == 0:
        return np.zeros((0, 5))
    surest = ndimage.maximum(p, label, np.arange(1, n + 1))
    keep = np.flatnonzero(surest > rules.high) + 1
    rows, cols = np.nonzero(np.isin(label, keep))
    cx, cy = cell_centres(*p.shape)
    x = cx.numpy()[rows, cols] + maps[6, rows, cols]
    y = cy.numpy()[rows, cols] + maps[7, rows, cols]
    weight = p[rows, cols]
    theta = 0.5 * np.arctan2(maps[5, rows, cols], maps[4, rows, cols])
    part = label[rows, cols]
    groups = []
    for g in keep:
        groups.extend(_by_direction(np.flatnonzero(part == g), theta))
    fits = [_fit(x[m], y[m], weight[m], theta[m]) for m in groups]
    groups, fits = _join(groups, fits, x, y, weight, theta, rules)
    out = [f for f in fits if f[2] >= rules.shortest_px]
    return np.array(out, dtype=np.float64).reshape(-1, 5)


def _by_direction(
    members: npt.NDArray[np.intp], theta: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.intp]]:
    """Split a group where two streaks cross: cells over 25° from the main direction go apart."""
    parts = []
    while members.size >= 3:
        mean = 0.5 * np.angle(np.exp(2j * theta[members]).sum())
        turn = np.abs(np.angle(np.exp(2j * (theta[members] - mean)))) / 2
        if np.median(turn) > np.deg2rad(25):
            # No main direction: the mean of two crossing ones. Take the densest instead.
            bins = np.round(theta[members] / np.deg2rad(15)).astype(int)
            values, counts = np.unique(bins, return_counts=True)
            mean = values[np.argmax(counts)] * np.deg2rad(15)
            turn = np.abs(np.angle(np.exp(2j * (theta[members] - mean)))) / 2
        aligned = turn <= np.deg2rad(25)
        if aligned.sum() < 3:
            break
        parts.append(members[aligned])
        members = members[~aligned]
    return parts


def _fit(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    w: npt.NDArray[np.float32],
    theta: npt.NDArray[np.float64],
) -> tuple[float, float, float, float, float]:
    """Return x, y, length, theta, score of the segment through ridge points."""
    total = float(w.sum())
    mx, my = float((w * x).sum()) / total, float((w * y).sum()) / total
    dx, dy = x - mx, y - my
    angle = 0.5 * np.arctan2(2 * (w * dx * dy).sum(), (w * (dx**2 - dy**2)).sum())
    if np.hypot(np.ptp(x), np.ptp(y)) < 12:  # too short for its own shape: ask the cells
        angle = 0.5 * np.angle((w * np.exp(2j * theta)).sum())
    along = dx * np.cos(angle) + dy * np.sin(angle)
    low, high = float(along.min()), float(along.max())
    middle = (low + high) / 2
    angle = (angle + np.pi / 2) % np.pi - np.pi / 2
    # Ridge offsets of cells beyond an end point back to it, so the extent is the length.
    return (
        mx + middle * np.cos(angle),
        my + middle * np.sin(angle),
        high - low,
        float(angle),
        total / len(w),
    )


def _join(
    groups: list[npt.NDArray[np.intp]],
    fits: list[tuple[float, float, float, float, float]],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    w: npt.NDArray[np.float32],
    theta: npt.NDArray[np.float64],
    rules: StreakRules,
) -> tuple[list[npt.NDArray[np.intp]], list[tuple[float, float, float, float, float]]]:
    """Join segments that continue each other, the longest first."""
    merged = True
    while merged:
        merged = False
        order = sorted(range(len(fits)), key=lambda i: -fits[i][2])
        for a_pos, a in enumerate(order):
            for b in order[a_pos + 1 :]:
                if _continues(fits[a], fits[b], rules):
                    members = np.concatenate([groups[a], groups[b]])
                    groups[a] = members
                    fits[a] = _fit(x[members], y[members], w[members], theta[members])
                    del groups[b], fits[b]
                    merged = True
                    break
            if merged:
                break
    return groups, fits


def _continues(
    a: tuple[float, float, float, float, float],
    b: tuple[float, float, float, float, float],
    rules: StreakRules,
) -> bool:
    """Whether segment b lies on the line of a, near one of its ends."""
    ax, ay, alen, atheta, _ = a
    bx, by, blen, btheta, _ = b
    turn = abs((btheta - atheta + np.pi / 2) % np.pi - np.pi / 2)
    # The angle of a short piece is uncertain by its width over its length.
    if turn > np.deg2rad(rules.turn_deg) + 2.0 / max(blen, 2.0):
        return False
    c, s = np.cos(atheta), np.sin(atheta)
    along = (bx - ax) * c + (by - ay) * s
    across = (by - ay) * c - (bx - ax) * s
    return abs(across) <= rules.offset_px and abs(along) - (alen + blen) / 2 <= rules.gap_px
