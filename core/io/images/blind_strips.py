"""Find strips of constant value: borders and gaps of mosaics, which see no sky."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["blind_strips"]

#: Shorter rows and columns may be constant by chance.
_LEAST_LENGTH_PX: Final = 32
#: Narrower strips inside an image are bad columns, which detectors have to cope with.
_LEAST_INSIDE_PX: Final = 8
#: A strip within these percentiles of the other pixels may be sky.
_PERCENTILES: Final = (0.5, 99.5)
_SAMPLE: Final = 100_000


def blind_strips(
    data: npt.NDArray[np.float32], bad: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """Return True in strips of one constant value that is not that of the sky.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Pixel values [ADU].
    bad : ndarray of bool, shape (ny, nx)
        Pixels that are masked already.

    Returns
    -------
    ndarray of bool, shape (ny, nx), or None
        Whole rows or columns of one value at an edge, or at least 8 of them inside the image.
        None if there is no strip, or if they leave less than a quarter of the image.
    """
    usable = ~bad
    runs = [
        (axis, start, stop, value)
        for axis in (0, 1)
        if data.shape[1 - axis] >= _LEAST_LENGTH_PX
        for start, stop, value in _runs(data, usable, axis)
    ]
    if not runs:
        return None
    strips = np.zeros(data.shape, dtype=bool)
    for axis, start, stop, _ in runs:
        strips[_lines(axis, start, stop)] = True
    rest = data[usable & ~strips]
    if 4 * rest.size < data.size:
        return None
    low, high = np.percentile(rest[:: max(1, rest.size // _SAMPLE)], _PERCENTILES)
    strips[:] = False
    for axis, start, stop, value in runs:
        if not low <= value <= high:
            strips[_lines(axis, start, stop)] = True
    return strips if strips.any() else None


def _lines(axis: int, start: int, stop: int) -> tuple[Any, ...]:
    """Return the index of rows (axis 0) or columns (axis 1)."""
    lines = slice(start, stop)
    return (lines,) if axis == 0 else (slice(None), lines)


def _runs(
    data: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_], axis: int
) -> list[tuple[int, int, float]]:
    """Return first and last line, the last not included, and value of constant strips."""
    low = np.min(data, axis=1 - axis, where=usable, initial=np.inf)
    high = np.max(data, axis=1 - axis, where=usable, initial=-np.inf)
    constant = low == high
    if not constant.any():
        return []
    values = np.where(constant, low, np.nan)
    # A run ends where the value changes; NaN differs from everything.
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    stops = np.append(starts[1:], len(values))
    return [
        (int(start), int(stop), float(values[start]))
        for start, stop in zip(starts, stops, strict=True)
        if constant[start]
        and (start == 0 or stop == len(values) or stop - start >= _LEAST_INSIDE_PX)
    ]
