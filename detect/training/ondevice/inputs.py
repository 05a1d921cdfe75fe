"""Input channels for a batch of simulated frames; `detect.model.inputs` is the reference."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn import functional as F

from skyduel.core.measure.background import (
    DITHER_BELOW_STEPS,
    DITHER_VARIANCE,
    MESH_PX,
    RMS_FLOOR,
    dither_noise,
)
from skyduel.detect.model.inputs import CLIP_LINEAR, CLIP_LOW, CLIP_SMOOTHED, KERNEL
from skyduel.detect.training.ondevice.scatter_sums import averaged

__all__ = ["estimate_backgrounds", "make_channels"]

#: Number of clipping iterations; converged meshes no longer change.
_ROUNDS: Final = 12
#: Number of steps per variance of a mesh to which running sums are rounded; they are at most 2¹³
#: variances.
_UNITS: Final = float(2**40)


def estimate_backgrounds(data: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate the background level and noise of frames without masked pixels [ADU].

    Parameters
    ----------
    data : Tensor of float32, shape (n, ny, nx)
        Frames of whole numbers whose sides are multiples of `MESH_PX`.

    Returns
    -------
    level, rms : Tensor of float32, shape (n, ny, nx)

    Notes
    -----
    Clipped mode per mesh, median of 3 × 3 meshes, bicubic spline (Bertin & Arnouts 1996, section
    3), with exact medians where SEP takes them from a histogram. The noise is at least a tenth of
    the frame's median noise, or, if that is zero, at least the noise of rounding to integers.
    Frames of low noise are dithered, as `core.measure.background.estimate_background` does.
    """
    n, ny, nx = data.shape
    rows, columns = ny // MESH_PX, nx // MESH_PX

    def measure(frames: Tensor) -> Tensor:
        meshes = frames.reshape(n, rows, MESH_PX, columns, MESH_PX).transpose(2, 3)
        level, rms = _clipped(meshes.reshape(n * rows * columns, MESH_PX**2))
        return torch.stack([level, rms]).reshape(2, n, rows, columns)

    plain = measure(data)
    dithered = measure(data + torch.from_numpy(dither_noise((ny, nx))).to(data.device))
    dithered[1] = (dithered[1].square() - DITHER_VARIANCE).clamp_min(0).sqrt()
    # The choice is made without looking at values, so that nothing waits for the device.
    noise = plain[1].flatten(1).median(dim=1).values
    coarse = (noise > 0) & (noise < DITHER_BELOW_STEPS)  # a constant frame has no steps
    chosen = torch.where(coarse[None, :, None, None], dithered, plain)
    grids = _smoothed(chosen.reshape(2 * n, rows, columns))
    down, along = (_spline(k, data.device) for k in (rows, columns))
    maps = (down @ grids @ along.T).reshape(2, n, ny, nx)
    typical = maps[1].flatten(1).median(dim=1).values
    floor = torch.where(typical > 0, RMS_FLOOR * typical, 12**-0.5)
    return maps[0], torch.maximum(maps[1], floor[:, None, None])


def _clipped(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the clipped mode and standard deviation of the rows of (m, k)."""
    # Sorted once: an iteration keeps a contiguous range, whose sums are differences of running
    # sums. These are integers, because on a GPU sums of floats are not reproducible.
    values = values.sort(dim=1).values
    origin = values[:, values.shape[1] // 2, None].double()
    centred = values.double() - origin
    unit = centred.square().mean(1, keepdim=True).sqrt()
    unit = torch.where(unit > 0, unit, 1.0)
    z = centred / unit
    whole = (torch.stack([z, z.square()]) * _UNITS).round().long()
    sums = F.pad(whole.cumsum(2), (1, 0))
    none = torch.zeros_like(origin).long()
    mean, sigma = _moments(sums, none, none + values.shape[1])
    low, high = _within(z, mean - 2 * sigma, mean + 2 * sigma)
    mean, sigma = _moments(sums, low, high)
    # The histogram spans five standard deviations on either side.
    low, high = _within(z, mean - 5 * sigma, mean + 5 * sigma)
    for _ in range(_ROUNDS):
        mean, sigma = _moments(sums, low, high)
        median = _median(z, low, high)
        low, high = _within(z, median - 3 * sigma, median + 3 * sigma)
    skewed = (mean - median).abs() >= 0.3 * sigma
    mode = torch.where(skewed, median, 2.5 * median - 1.5 * mean)
    return (origin + mode * unit)[:, 0].float(), (sigma * unit)[:, 0].float()


def _within(values: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return start and stop of the range of sorted values in [low, high], (m, 1) each."""
    first = torch.searchsorted(values, low.contiguous())
    last = torch.searchsorted(values, high.contiguous(), right=True)
    return first, torch.maximum(last, first + 1).clamp_max(values.shape[1])


def _moments(sums: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of ranges of values, (m, 1) each."""
    count = (high - low).clamp_min(1)
    total, square = ((s.gather(1, high) - s.gather(1, low)) / _UNITS / count for s in sums)
    return total, (square - total.square()).clamp_min(0).sqrt()


def _median(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the median of ranges of sorted values, (m, 1)."""
    a = ((low + high - 1) // 2).clamp(0, values.shape[1] - 1)
    b = ((low + high) // 2).clamp(0, values.shape[1] - 1)
    return (values.gather(1, a) + values.gather(1, b)) / 2


def _smoothed(grids: Tensor) -> Tensor:
    """Replace each mesh of grids (m, rows, columns) with the median of the 3 × 3 around it.

    As in SExtractor the window is centred: at a border it is one mesh wide across the border.
    """
    m, rows, columns = grids.shape
    around = F.pad(grids, (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    inner_row, inner_column = (
        F.pad(torch.ones(max(k - 2, 0), device=grids.device), (1, 1))[:k] for k in (rows, columns)
    )
    aside = torch.tensor([1.0, 0.0, 1.0], device=grids.device)
    out_of_line = (1 - inner_row)[:, None] * aside, (1 - inner_column)[:, None] * aside
    left_out = torch.maximum(out_of_line[0][:, None, :, None], out_of_line[1][None, :, None, :])
    around = torch.where(left_out > 0, torch.nan, around)
    # Windows hold 1, 3 or 9 meshes, never an even number.
    return around.reshape(m, rows, columns, 9).nanmedian(dim=3).values


@lru_cache(maxsize=8)
def _weights(meshes: int) -> np.ndarray:
    """Return the spline weight of each mesh in each pixel, shape (64·meshes, meshes)."""
    pixels = (np.arange(meshes * MESH_PX) + 0.5) / MESH_PX - 0.5
    if meshes == 1:
        return np.ones((MESH_PX, 1), dtype=np.float32)
    spline = CubicSpline(np.arange(meshes), np.eye(meshes), bc_type="natural")
    return np.asarray(spline(pixels), dtype=np.float32)


def _spline(meshes: int, device: torch.device) -> Tensor:
    return torch.from_numpy(_weights(meshes)).to(device)


def make_channels(data: Tensor, level: Tensor, rms: Tensor, saturation: Tensor) -> Tensor:
    """Compute the channels of `frame_channels` for frames without masked pixels.

    Parameters
    ----------
    data, level, rms : Tensor of float32, shape (n, ny, nx)
        Frames, background and noise [ADU].
    saturation : Tensor of float32, shape (n,)
        Saturation levels [ADU].

    Returns
    -------
    Tensor of float32, shape (n, 4, ny, nx)
    """
    z = (data - level) / rms
    kernel = KERNEL.tolist()
    # The frame is mirrored at its border, with the outermost pixel repeated.
    smooth = _mirrored(z.clamp(CLIP_LOW, CLIP_SMOOTHED), len(kernel) // 2)
    smooth = averaged(averaged(smooth, kernel, 1), kernel, 2)
    channels = [
        z.clamp(CLIP_LOW, CLIP_LINEAR) / 4,
        z.clamp_min(CLIP_LOW).asinh() / 4,
        smooth.clamp(CLIP_LOW, CLIP_LINEAR) / 4,
        (data >= saturation[:, None, None]) * 0.5,
    ]
    return torch.stack(channels, 1)


def _mirrored(z: Tensor, reach: int) -> Tensor:
    """Pad frames by ``reach`` pixels on every side, as numpy's ``symmetric`` padding."""
    for axis in (1, 2):
        n = z.shape[axis]
        before, after = z.narrow(axis, 0, reach), z.narrow(axis, n - reach, reach)
        z = torch.cat([before.flip(axis), z, after.flip(axis)], axis)
    return z
