"""Targets of a batch of simulated frames; `skyduel.detect.training.targets` is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skyduel.detect.model.layout import STRIDE
from skyduel.detect.training.targets import SourceTargets, TargetRules

__all__ = ["make_target_maps"]

#: Maximum distance of a point's cell to the cells within its reach, per axis [cells].
_POINT_CELLS: Final = 2
#: Number of steps per px² to which squared distances are rounded when they are compared.
_UNITS: Final = float(2**16)
_RULES: Final = TargetRules()


def make_target_maps(
    sources: Sequence[SourceTargets],
    shape: tuple[int, int],
    device: torch.device,
    rules: TargetRules = _RULES,
) -> Tensor:
    """Compute the maps of `skyduel.detect.training.targets.Targets` for several frames.

    Parameters
    ----------
    sources : sequence of SourceTargets
        Sources of every frame.
    shape : (ny, nx)
        Shape of each frame; multiples of the stride.

    Returns
    -------
    Tensor of float32, shape (n, 10, ny/2, nx/2)
    """
    n, ny, nx = len(sources), shape[0] // STRIDE, shape[1] // STRIDE
    half = (STRIDE - 1) / 2
    yy = (torch.arange(ny, device=device) * STRIDE + half)[:, None]
    xx = (torch.arange(nx, device=device) * STRIDE + half)[None, :]
    maps = torch.zeros(n, 10, ny, nx, device=device)
    point_weight = torch.ones(n, ny, nx, device=device)

    # Ignored sources: points, then galaxies, each with its own reach.
    frame, ignored = _joined([j.ignored for j in sources], 3, device)
    wide = max((float(j.ignored[:, 2].max(initial=0)) for j in sources), default=0.0)
    reach = torch.maximum(ignored[:, 2], torch.full_like(ignored[:, 2], rules.reach_px))
    cells = max(_POINT_CELLS, int(np.ceil((wide + 1) / STRIDE)))
    excused, _ = _nearest(frame, ignored[:, :2], reach, cells, (n, ny, nx))
    point_weight = torch.where(excused, 0.0, point_weight)

    frame, positives = _joined([j.positives for j in sources], 2, device)
    reach = torch.full_like(positives[:, 0], rules.ring_px)
    near, which = _nearest(frame, positives, reach, _POINT_CELLS, (n, ny, nx))
    nearest = torch.cat([positives, positives.new_zeros(1, 2)])[which]
    dx, dy = nearest[..., 0] - xx, nearest[..., 1] - yy
    positive = near & (dx.square() + dy.square() <= rules.reach_px**2)
    point_weight = torch.where(near, positive.float(), point_weight)
    maps[:, 0] = positive.float()
    maps[:, 1], maps[:, 2] = torch.where(positive, dx, 0.0), torch.where(positive, dy, 0.0)
    maps[:, 8] = point_weight
    _fill_streak_targets(maps, sources, xx, yy, rules)
    return maps


def _joined(
    rows: Sequence[npt.NDArray[np.float64]], columns: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Concatenate the rows of all frames, (k, columns), with the frame's number of each, (k,)."""
    frame = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    table = np.concatenate([np.zeros((0, columns)), *rows]).astype(np.float32)
    return torch.from_numpy(frame).to(device), torch.from_numpy(table).to(device)


def _nearest(
    frame: Tensor, xy: Tensor, reach: Tensor, cells: int, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Return a mask of the cells within reach of a point, and the index of the nearest such point.

    Both have ``shape``, (n, h, w); the index is one past the last for cells without a point. Only
    cells up to ``cells`` from that of a point are compared, per axis.
    """
    (n, h, w), device, k = shape, xy.device, len(xy)
    window = torch.arange(-cells, cells + 1, device=device)
    column = ((xy[:, 0] + 0.5) / STRIDE).floor().long()[:, None, None] + window[None, None, :]
    row = ((xy[:, 1] + 0.5) / STRIDE).floor().long()[:, None, None] + window[None, :, None]
    half = (STRIDE - 1) / 2
    dx = column * STRIDE + half - xy[:, 0, None, None]
    dy = row * STRIDE + half - xy[:, 1, None, None]
    squared = dx.square() + dy.square()
    on = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    on = on & (squared <= reach.square()[:, None, None])
    # Distance first, index second: the smallest key is the nearest point, for any order.
    number = torch.arange(k, device=device)[:, None, None]
    key = (squared * _UNITS).round().long() * 2**32 + number
    place = torch.where(on, (frame[:, None, None] * h + row) * w + column, n * h * w)
    none = torch.iinfo(torch.int64).max
    best = torch.full((n * h * w + 1,), none, dtype=torch.int64, device=device)
    best.scatter_reduce_(0, place.flatten(), key.flatten(), "amin")
    best = best[: n * h * w].reshape(shape)
    found = best < none
    return found, torch.where(found, best % 2**32, k)


def _fill_streak_targets(
    maps: Tensor, sources: Sequence[SourceTargets], xx: Tensor, yy: Tensor, rules: TargetRules
) -> None:
    """Fill the streak maps in place; where streaks cross, the nearest one counts."""
    device, most = maps.device, max(len(j.streaks) for j in sources)
    if not most:
        maps[:, 9] = 1.0
        return
    rows = np.full((len(sources), most, 5), np.inf)
    for row, one in zip(rows, sources, strict=True):
        row[: len(one.streaks)] = one.streaks
    there = torch.from_numpy(np.isfinite(rows[..., 0])).to(device)
    table = torch.from_numpy(np.where(np.isfinite(rows), rows, 0).astype(np.float32)).to(device)
    x, y, length, theta, sure = (table[..., c, None, None] for c in range(5))
    c, s = torch.cos(theta), torch.sin(theta)
    along = (xx - x) * c + (yy - y) * s
    along = torch.minimum(torch.maximum(along, -length / 2), length / 2)
    dx, dy = x + along * c - xx, y + along * s - yy
    distance = torch.where(there[..., None, None], torch.hypot(dx, dy), torch.inf)
    best, nearest = distance.min(dim=1, keepdim=True)

    def of_nearest(value: Tensor) -> Tensor:
        return value.expand_as(distance).gather(1, nearest)[:, 0]

    best = best[:, 0]
    inside, ring = best <= rules.streak_reach_px, best <= rules.streak_ring_px
    found = of_nearest(sure)
    maps[:, 3] = torch.where(inside, found, 0.0)
    for channel, value in ((4, torch.cos(2 * theta)), (5, torch.sin(2 * theta)), (6, dx), (7, dy)):
        maps[:, channel] = torch.where(inside, of_nearest(value), 0.0)
    maps[:, 9] = torch.where(inside, found, (~ring).float())
