"""Hot pixels: bright pixels that stand alone, at the same place in frame after frame."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.frame import Frame
from skyduel.core.measure.background import estimate_background
from skyduel.core.measure.star_width import LONE, neighbour_ratios

__all__ = ["MOST_FRAMES", "RecurringPixels", "lone_pixels"]

#: Frames of one shape that are looked at; more tell no more.
MOST_FRAMES: Final = 4
#: Lone pixels have at least this S/N.
_BRIGHT: Final = 10.0
#: Fewer recurring pixels, or a smaller share of the lone ones of a frame, say nothing.
_FEW: Final = 10
_SHARE: Final = 0.2


def lone_pixels(frame: Frame) -> npt.NDArray[np.int64]:
    """Return the bright pixels whose neighbours are sky: hot pixels and cosmic rays.

    Parameters
    ----------
    frame : Frame
        Masked pixels and those at the border are left out.

    Returns
    -------
    ndarray of int64, shape (n,)
        Indices into the flattened data, ascending. The pixels are local maxima of S/N ≥ 10, and
        along one axis their neighbours have less than a tenth of their brightness.
    """
    sky = estimate_background(frame)
    with np.errstate(over="ignore", invalid="ignore"):
        z = np.nan_to_num((frame.data - sky.level) / sky.rms)
    z[frame.bad] = 0.0
    inner = np.zeros(z.shape, dtype=bool)
    inner[1:-1, 1:-1] = z[1:-1, 1:-1] >= _BRIGHT
    y, x = np.nonzero(inner)
    sides = np.max([z[y, x - 1], z[y, x + 1], z[y - 1, x], z[y + 1, x]], axis=0, initial=0.0)
    alone = (z[y, x] > sides) & (neighbour_ratios(z, y, x) < LONE)
    return np.asarray(y[alone] * z.shape[1] + x[alone], dtype=np.int64)


class RecurringPixels:
    """Count of lone pixels that several frames have at the same place.

    Stars move on the detector from one frame to the next, and no cosmic ray comes twice; hot
    pixels stay.
    """

    def __init__(self) -> None:
        self._frames: Counter[tuple[int, int]] = Counter()
        self._lone: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)

    def add(self, frame: Frame) -> None:
        """Look at one more frame; of one shape at most the first `MOST_FRAMES` are."""
        ny, nx = frame.data.shape
        if self._frames[ny, nx] < MOST_FRAMES:
            self._frames[ny, nx] += 1
            self._lone[ny, nx].update(lone_pixels(frame).tolist())

    def count(self) -> tuple[int, int]:
        """Return how many pixels recur, and in how many frames that were looked at.

        A pixel recurs that all frames of its shape have, or all but one of at least three. Where
        these are fewer than ten, or than a fifth of the lone pixels of a frame, the
        count is 0: by chance, cosmic rays of two frames meet.
        """
        best = (0, 0)
        for shape, n in self._frames.items():
            seen = self._lone[shape]
            again = sum(k >= max(2, n - 1) for k in seen.values())
            if again >= max(_FEW, _SHARE * seen.total() / n):
                best = max(best, (again, n))
        return best
