"""What is in a frame but not in the sky."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal

__all__ = [
    "bad_lines",
    "bleed",
    "correlate",
    "cosmic_rays",
    "hot_pixels",
    "level_steps",
    "readout_smear",
    "smear_lines",
]

Image = npt.NDArray[np.float32]


def cosmic_rays(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator
) -> Image:
    """Return charge left by ``count`` cosmic rays, shape (ny, nx), in units of ``sigma``'s.

    Tracks are straight, mostly short, unevenly bright, and one pixel wide with a
    little charge shared sideways: sharper than any star.
    """
    ny, nx = shape
    image = np.zeros(shape, dtype=np.float32)
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
        np.add.at(image, (rows[ok], cols[ok]), value[ok])
    return image


def hot_pixels(shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator) -> Image:
    """Return dark current of ``count`` hot pixels, shape (ny, nx), in units of ``sigma``'s."""
    image = np.zeros(shape, dtype=np.float32)
    where = rng.integers(0, image.size, count)
    np.add.at(image.reshape(-1), where, sigma * 10 ** rng.uniform(0.7, 2.5, count))
    return image


def bad_lines(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator, axis: int
) -> Image:
    """Return the offset of ``count`` bad columns (``axis`` 0) or rows (1), shape (ny, nx).

    They are bright or dark, whole or partial, one to three pixels wide, and from
    half the noise to thirty times it.
    """
    image = np.zeros(shape, dtype=np.float32)
    lines = image if axis == 0 else image.T
    along, across = lines.shape
    for first in rng.integers(0, across, count):
        width = int(rng.choice([1, 1, 1, 2, 3]))
        start = 0 if rng.random() < 0.5 else int(rng.integers(0, along))
        offset = sigma * 10 ** rng.uniform(-0.3, 1.5) * rng.choice([-1.0, 1.0], p=[0.3, 0.7])
        lines[start:, first : first + width] += offset
    return image


def readout_smear(light: Image, strength: float, axis: int) -> Image:
    """Return the smear of a frame shifted under light, shape (ny, nx).

    Every pixel of a column (``axis`` 0) or row (1) collects the share ``strength``
    of the mean light along it, so each bright star draws a line through the frame.
    """
    return np.broadcast_to(light.mean(axis=axis, keepdims=True) * strength, light.shape)


def smear_lines(
    shape: tuple[int, int],
    count: int,
    sigma: float,
    profile: npt.NDArray[np.float64],
    rng: np.random.Generator,
    axis: int,
) -> Image:
    """Return smear of ``count`` stars that are not on the frame, shape (ny, nx).

    Each is a whole column (``axis`` 0) or row (1) with the star's ``profile``, shape
    (2·r + 1,), across it, a third of the noise to thirty times it at the peak.
    """
    image = np.zeros(shape, dtype=np.float32)
    lines = image if axis == 0 else image.T
    r = profile.size // 2
    for _ in range(count):
        at, shift = int(rng.integers(0, lines.shape[1])), rng.uniform(-0.5, 0.5)
        height = sigma * 10 ** rng.uniform(-0.5, 1.5)
        offsets = np.arange(-r, r + 1)
        across = np.interp(offsets - shift, offsets, profile / profile.max())
        ok = (at + offsets >= 0) & (at + offsets < lines.shape[1])
        lines[:, at + offsets[ok]] += (height * across[ok]).astype(np.float32)
    return image


def level_steps(
    shape: tuple[int, int], count: int, sigma: float, rng: np.random.Generator
) -> Image:
    """Return jumps of the level at ``count`` columns or rows, where amplifiers meet."""
    image = np.zeros(shape, dtype=np.float32)
    for _ in range(count):
        part = image if rng.random() < 0.5 else image.T
        part[:, : int(rng.integers(1, part.shape[1]))] += np.float32(
            sigma * 10 ** rng.uniform(-0.5, 0.6) * rng.choice([-1.0, 1.0])
        )
    return image


def bleed(data: Image, full: float, share: float, axis: int) -> Image:
    """Return the frame after charge above ``full`` has spilled along columns or rows.

    ``share`` of the excess of each saturated run of a column (``axis`` 0) or row (1)
    fills the pixels beyond its two ends, half each way, until they are full as well.
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
    """Return noise as resampling leaves it: averaged by a kernel of ``width`` px that sums to 1.

    The noise of one pixel falls and neighbours share theirs; over areas much wider
    than the kernel, so for a star, nothing is gained or lost.
    """
    reach = int(np.ceil(2.5 * width))
    axis = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (axis / width) ** 2)
    kernel /= kernel.sum()
    kernel2 = np.outer(kernel, kernel).astype(np.float32)
    padded = np.pad(noise, reach, mode="reflect")
    return np.asarray(signal.oaconvolve(padded, kernel2, mode="valid"), dtype=np.float32)
