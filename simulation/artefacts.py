"""What is in a frame but not in the sky."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bad_lines", "cosmic_rays", "hot_pixels", "readout_smear"]

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
