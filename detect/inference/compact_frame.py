"""Average a frame on a coarser grid, on which trailed or defocused stars are compact.

Trails and rings are larger than any star the network was trained on, and it finds their parts.
On a grid along the trails, with steps that make the stars about 3.5 px wide, each star is one
source again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.core.measure.star_shape import StarShape

__all__ = ["CoarseGrid", "compact_frame"]

Floats = npt.NDArray[np.float64]

#: Full width at half maximum that stars get on the coarser grid [px].
_COMPACT_FWHM_PX: Final = 3.5
#: Stars rounder than this have no direction.
_ROUND: Final = 1.2
#: Sampling points per pixel of the frame and axis.
_PER_PX: Final = 2
#: A coarse pixel with a smaller usable fraction is masked.
_LEAST_USABLE: Final = 0.5


@dataclass(frozen=True)
class CoarseGrid:
    """A rotated grid of larger pixels over a frame.

    Parameters
    ----------
    theta : float
        Angle of the grid's u axis from +x towards +y [rad].
    steps : (du, dv)
        Size of a coarse pixel [px of the frame].
    origin : (x, y)
        Centre of the coarse pixel (0, 0) on the frame [px].
    shape : (nv, nu)
        Shape of the grid.
    """

    theta: float
    steps: tuple[float, float]
    origin: tuple[float, float]
    shape: tuple[int, int]

    @classmethod
    def of(cls, stars: StarShape, frame_shape: tuple[int, int]) -> CoarseGrid:
        """Return the grid that covers a frame of shape (ny, nx) and makes its stars compact."""
        theta = stars.theta if stars.elongation > _ROUND else 0.0
        du, dv = (max(1.0, width / _COMPACT_FWHM_PX) for width in (stars.along, stars.across))
        ny, nx = frame_shape
        x, y = np.array([(x, y) for x in (-0.5, nx - 0.5) for y in (-0.5, ny - 0.5)]).T
        c, s = math.cos(theta), math.sin(theta)
        u, v = x * c + y * s, y * c - x * s
        nu, nv = math.ceil(np.ptp(u) / du - 1e-9), math.ceil(np.ptp(v) / dv - 1e-9)
        u0, v0 = float(u.min()) + du / 2, float(v.min()) + dv / 2
        return cls(theta, (du, dv), (u0 * c - v0 * s, u0 * s + v0 * c), (nv, nu))

    def to_frame(self, uv: Floats) -> Floats:
        """Return positions x, y on the frame [px] of positions on the grid, both (n, 2)."""
        return np.column_stack(self._place(uv[:, 0], uv[:, 1]))

    def _place(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        c, s = math.cos(self.theta), math.sin(self.theta)
        u, v = u * self.steps[0], v * self.steps[1]
        return self.origin[0] + u * c - v * s, self.origin[1] + u * s + v * c

    def direction(self, theta: Floats) -> Floats:
        """Return angles on the frame of angles on the grid [rad], in [-π/2, π/2)."""
        on_frame = np.arctan2(np.sin(theta) * self.steps[1], np.cos(theta) * self.steps[0])
        return (on_frame + self.theta + np.pi / 2) % np.pi - np.pi / 2

    def stretch(self, theta: Floats) -> Floats:
        """Return the length on the frame of one coarse pixel in a direction on the grid [px]."""
        return np.hypot(np.cos(theta) * self.steps[0], np.sin(theta) * self.steps[1])


def compact_frame(
    frame: Frame, background: Background, grid: CoarseGrid
) -> tuple[Frame, Background]:
    """Average a frame in units of its noise on a coarser grid.

    Parameters
    ----------
    frame, background : Frame, Background
        The frame and its background.
    grid : CoarseGrid
        The grid.

    Returns
    -------
    frame, background : Frame, Background
        Pixels are means over the area of a coarse pixel, sampled at two points per pixel and
        axis, times the root of the area; background 0, noise 1. Pixels of a coarse grid that is
        rotated share samples, so that the noise of a single one is below 1; over the area of a
        star, which decides whether it is found, it is that of white noise of 1.
    """
    ny, nx = frame.shape
    z = (frame.data - background.level) / background.rms
    good = ~frame.bad
    z[~good] = 0.0
    total = np.zeros(grid.shape, dtype=np.float32)
    count = np.zeros(grid.shape, dtype=np.float32)
    parts_u, parts_v = (
        (np.arange(n) + 0.5) / n - 0.5 for n in (math.ceil(_PER_PX * step) for step in grid.steps)
    )
    u, v = np.arange(grid.shape[1], dtype=np.float64), np.arange(grid.shape[0])[:, None]
    for du in parts_u:
        for dv in parts_v:
            # The border between two pixels belongs to the upper: rint would prefer even ones.
            x, y = (np.floor(w + 0.5).astype(np.int32) for w in grid._place(u + du, v + dv))
            on = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
            at = y.clip(0, ny - 1), x.clip(0, nx - 1)
            on &= good[at]
            total += np.where(on, z[at], 0)
            count += on
    total *= np.float32(math.sqrt(math.prod(grid.steps)))
    compact = Frame(
        data=np.divide(total, np.maximum(count, 1), dtype=np.float32),
        mask=count < _LEAST_USABLE * parts_u.size * parts_v.size,
        name=frame.name,
        fwhm=_COMPACT_FWHM_PX,
    )
    flat = Background(np.zeros(grid.shape, np.float32), np.ones(grid.shape, np.float32), 0.0, 1.0)
    return compact, flat
