"""Detector artefacts: draw their parameters, and paint them on the expected light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Box",
    "Hits",
    "SmearLine",
    "bleed",
    "correlate",
    "draw_bad_lines",
    "draw_cosmic_rays",
    "draw_hot_pixels",
    "draw_level_steps",
    "draw_smear_lines",
    "paint_boxes",
    "paint_hits",
    "readout_smear",
    "smear_lines",
    "smear_profile",
]

Image = npt.NDArray[np.float32]


class Hits(NamedTuple):
    """Charge added to single pixels: their flat indices and values [ADU], each (n,)."""

    pixel: npt.NDArray[np.intp]
    value: npt.NDArray[np.float64]


class Box(NamedTuple):
    """A part of the frame, ``[y0:y1, x0:x1]``, whose level differs by ``value`` [ADU]."""

    y0: int
    y1: int
    x0: int
    x1: int
    value: np.floating


class SmearLine(NamedTuple):
    """Smear of a star beside the frame: column or row, offset ``shift`` [px], and peak [ADU]."""

    at: int
    shift: float
    height: float


def draw_cosmic_rays(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator
) -> Hits:
    """Draw the charge of ``count`` cosmic rays on noise of ``sigma`` [ADU].

    Tracks are straight, mostly short, of uneven brightness, and one pixel wide with a
    little charge shared sideways, so that they are sharper than any star.
    """
    ny, nx = shape
    pixels, values = [np.zeros(0, dtype=np.intp)], [np.zeros(0)]
    for _ in range(count):
        x, y = rng.uniform(0, nx), rng.uniform(0, ny)
        length = 1 + rng.exponential(3.0)
        angle = rng.uniform(0, np.pi)
        energy = sigma * 10 ** rng.uniform(0.9, 2.6)
        steps = np.arange(0, length, 0.25)
        value = energy * rng.uniform(0.3, 1.0, steps.size) * 0.25
        width = rng.uniform(0.0, 0.35)
        cols = np.rint(x + steps * np.cos(angle) + rng.normal(0, width, steps.size)).astype(int)
        rows = np.rint(y + steps * np.sin(angle) + rng.normal(0, width, steps.size)).astype(int)
        ok = (cols >= 0) & (cols < nx) & (rows >= 0) & (rows < ny)
        pixels.append(rows[ok] * nx + cols[ok])
        values.append(value[ok])
    return Hits(np.concatenate(pixels), np.concatenate(values))


def draw_hot_pixels(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator
) -> Hits:
    """Draw the dark current of ``count`` hot pixels on noise of ``sigma`` [ADU]."""
    where = rng.integers(0, shape[0] * shape[1], count)
    return Hits(where, sigma * 10 ** rng.uniform(0.7, 2.5, count))


def draw_bad_lines(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator, axis: int
) -> list[Box]:
    """Draw ``count`` bad columns (``axis`` 0) or rows (1).

    They are bright or dark, whole or partial, one to three pixels wide, and from half
    to thirty times the noise.
    """
    along, across = shape if axis == 0 else shape[::-1]
    boxes = []
    for first in rng.integers(0, across, count):
        width = int(rng.choice([1, 1, 1, 2, 3]))
        start = 0 if rng.random() < 0.5 else int(rng.integers(0, along))
        offset = sigma * 10 ** rng.uniform(-0.3, 1.5) * rng.choice([-1.0, 1.0], p=[0.3, 0.7])
        boxes.append(_box(axis, start, along, int(first), min(int(first) + width, across), offset))
    return boxes


def draw_level_steps(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator
) -> list[Box]:
    """Draw steps of the level at ``count`` columns or rows, as between amplifiers."""
    boxes = []
    for _ in range(count):
        axis = 0 if rng.random() < 0.5 else 1
        along, across = shape if axis == 0 else shape[::-1]
        end = int(rng.integers(1, across))
        value = np.float32(sigma * 10 ** rng.uniform(-0.5, 0.6) * rng.choice([-1.0, 1.0]))
        boxes.append(_box(axis, 0, along, 0, end, value))
    return boxes


def _box(axis: int, start: int, stop: int, first: int, last: int, value: np.floating) -> Box:
    """Build a box from its extents along and across columns (``axis`` 0) or rows (1)."""
    if axis == 0:
        return Box(start, stop, first, last, value)
    return Box(first, last, start, stop, value)


def paint_hits(shape: tuple[int, int], hits: Hits) -> Image:
    """Return the charge of hit pixels as an image, shape (ny, nx)."""
    image = np.zeros(shape, dtype=np.float32)
    np.add.at(image.reshape(-1), hits.pixel, hits.value)
    return image


def paint_boxes(shape: tuple[int, int], boxes: Iterable[Box]) -> Image:
    """Return the sum of boxes as an image, shape (ny, nx)."""
    image = np.zeros(shape, dtype=np.float32)
    for box in boxes:
        image[box.y0 : box.y1, box.x0 : box.x1] += box.value
    return image


def readout_smear(light: Image, strength: float, axis: int) -> Image:
    """Return the smear of a frame that is read out while exposed to light, shape (ny, nx).

    Every pixel of a column (``axis`` 0) or row (1) collects the fraction ``strength``
    of the mean light along it, so each bright star causes a line through the frame.
    """
    return np.broadcast_to(light.mean(axis=axis, keepdims=True) * strength, light.shape)


def draw_smear_lines(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator, axis: int
) -> list[SmearLine]:
    """Draw smear of ``count`` stars beside the frame along columns (``axis`` 0) or rows (1).

    Its peak is from a third to thirty times the noise.
    """
    across = shape[1 - axis]
    return [
        SmearLine(
            int(rng.integers(0, across)),
            rng.uniform(-0.5, 0.5),
            sigma * 10 ** rng.uniform(-0.5, 1.5),
        )
        for _ in range(count)
    ]


def smear_profile(
    across: int, lines: Iterable[SmearLine], profile: npt.NDArray[np.float64]
) -> Image:
    """Return the sum of smear lines as a profile across them, shape (across,).

    ``profile``, shape (2·r + 1,), is the profile of the star across the line.
    """
    out = np.zeros(across, dtype=np.float32)
    r = profile.size // 2
    offsets = np.arange(-r, r + 1)
    for line in lines:
        values = np.interp(offsets - line.shift, offsets, profile / profile.max())
        ok = (line.at + offsets >= 0) & (line.at + offsets < across)
        out[line.at + offsets[ok]] += (line.height * values[ok]).astype(np.float32)
    return out


def smear_lines(
    shape: tuple[int, int],
    lines: Iterable[SmearLine],
    profile: npt.NDArray[np.float64],
    axis: int,
) -> Image:
    """Return smear lines as an image, shape (ny, nx): whole columns (``axis`` 0) or rows (1)."""
    across = smear_profile(shape[1 - axis], lines, profile)
    return np.broadcast_to(np.expand_dims(across, axis), shape)


def bleed(data: Image, full: float, share: float, axis: int) -> Image:
    """Apply bleeding: charge above ``full`` spills along columns or rows.

    The fraction ``share`` of the excess of each saturated run of a column (``axis`` 0) or
    row (1) fills the pixels beyond its two ends, half each way, until they are also full.
    """
    out = data.copy()
    lines = out.T if axis == 0 else out
    for row in np.flatnonzero((lines > full).any(axis=1)):
        line = lines[row]
        over = np.flatnonzero(line > full)
        for run in np.split(over, np.flatnonzero(np.diff(over) > 1) + 1):
            excess = float((line[run] - full).sum(dtype=np.float64)) * share
            line[run] = full
            for beyond in (line[run[0] - 1 :: -1] if run[0] else line[:0], line[run[-1] + 1 :]):
                room = np.clip(full - beyond, 0, None)
                before = np.cumsum(room, dtype=np.float64) - room
                beyond += np.clip(excess / 2 - before, 0, room).astype(np.float32)
    return out


def correlate(noise: Image, width: float) -> Image:
    """Correlate noise as resampling does, with a kernel of ``width`` px that sums to 1.

    The noise of single pixels falls and neighbours are correlated; the noise of areas much
    wider than the kernel, such as a star, does not change.
    """
    from scipy import signal  # takes long to load, and few frames need it

    reach = int(np.ceil(2.5 * width))
    axis = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (axis / width) ** 2)
    kernel /= kernel.sum()
    kernel2 = np.outer(kernel, kernel).astype(np.float32)
    padded = np.pad(noise, reach, mode="reflect")
    return np.asarray(signal.oaconvolve(padded, kernel2, mode="valid"), dtype=np.float32)
