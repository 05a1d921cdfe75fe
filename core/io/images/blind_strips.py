"""Find strips of constant value: borders and gaps of mosaics, which see no sky."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Band", "BlindStrips", "blind_strips"]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
#: Some whole rows of an image: the number of the first, pixels, and which are usable.
Band = tuple[int, Floats, Bools]

#: Shorter rows and columns may be constant by chance.
_LEAST_LENGTH_PX: Final = 32
#: Narrower strips inside an image are bad columns, which detectors have to cope with.
_LEAST_INSIDE_PX: Final = 8
#: A strip within these percentiles of the other pixels may be sky.
_PERCENTILES: Final = (0.5, 99.5)
_SAMPLE: Final = 100_000
_MOST_ROUNDS: Final = 3


@dataclass(frozen=True, eq=False)
class BlindStrips:
    """Rows and columns of an image that see no sky: bool, shapes (ny,) and (nx,)."""

    rows: Bools
    columns: Bools

    def within(self, rows: slice, columns: slice) -> Bools:
        """Return True in the strips of a box, shape of the box."""
        return np.asarray(self.rows[rows, np.newaxis] | self.columns[np.newaxis, columns])

    @property
    def n_pixels(self) -> int:
        """Number of pixels in the strips."""
        n_rows, n_columns = int(self.rows.sum()), int(self.columns.sum())
        return n_rows * self.columns.size + n_columns * self.rows.size - n_rows * n_columns

    @property
    def note(self) -> str:
        """What is masked, in words."""
        return f"{self.n_pixels} pixels in strips of constant value are masked"


def blind_strips(shape: tuple[int, int], bands: Callable[[], Iterable[Band]]) -> BlindStrips | None:
    """Return the strips of one constant value that is not that of the sky.

    Parameters
    ----------
    shape : (ny, nx)
        Of the image [px].
    bands : callable
        Yields the image from the first row to the last; called once, or several times if
        there are constant rows or columns.

    Returns
    -------
    BlindStrips or None
        Whole rows or columns of one value at an edge, or at least 8 of them inside the image.
        None if there is no strip, or if they leave less than a quarter of the image.
    """
    runs: list[tuple[int, int, int, float]] = []
    for _ in range(_MOST_ROUNDS):  # a strip is constant only outside the strips that cross it
        found = _new_runs(shape, bands, _of_runs(shape, runs))
        runs += found
        if not found:
            break
    if not runs:
        return None
    strips = _of_runs(shape, runs)
    # The other pixels, in the order of the image, and every so-many-th of them.
    rest = sum(int(np.count_nonzero(_outside(strips, band))) for band in bands())
    if 4 * rest < shape[0] * shape[1]:
        return None
    step, seen, sample = max(1, rest // _SAMPLE), 0, []
    for band in bands():
        others = band[1][_outside(strips, band)]
        sample.append(others[-seen % step :: step])
        seen += others.size
    lowest, highest = np.percentile(np.concatenate(sample), _PERCENTILES)
    strips = _of_runs(shape, [run for run in runs if not lowest <= run[3] <= highest])
    return strips if strips.n_pixels else None


def _new_runs(
    shape: tuple[int, int], bands: Callable[[], Iterable[Band]], strips: BlindStrips
) -> list[tuple[int, int, int, float]]:
    """Return axis, first and last line, and value of strips that are constant outside others."""
    low = [np.full(n, np.inf, dtype=np.float32) for n in shape]
    high = [np.full(n, -np.inf, dtype=np.float32) for n in shape]
    some = strips.n_pixels > 0
    for band in bands():
        first, data, usable = band
        where = _outside(strips, band) if some else usable
        lines = slice(first, first + len(data))
        low[0][lines] = np.min(data, axis=1, where=where, initial=np.inf)
        high[0][lines] = np.max(data, axis=1, where=where, initial=-np.inf)
        np.minimum(low[1], np.min(data, axis=0, where=where, initial=np.inf), out=low[1])
        np.maximum(high[1], np.max(data, axis=0, where=where, initial=-np.inf), out=high[1])
    return [
        (axis, start, stop, value)
        for axis in (0, 1)
        if shape[1 - axis] >= _LEAST_LENGTH_PX
        for start, stop, value in _runs(low[axis], high[axis])
    ]


def _of_runs(shape: tuple[int, int], runs: Iterable[tuple[int, int, int, float]]) -> BlindStrips:
    """Return runs of rows (axis 0) and columns (axis 1)."""
    lines = [np.zeros(n, dtype=bool) for n in shape]
    for axis, start, stop, _ in runs:
        lines[axis][start:stop] = True
    return BlindStrips(*lines)


def _outside(strips: BlindStrips, band: Band) -> Bools:
    """Return the usable pixels of a band that lie in no strip."""
    first, data, usable = band
    lines = slice(first, first + len(data))
    return np.asarray(usable & ~strips.within(lines, slice(0, data.shape[1])))


def _runs(low: Floats, high: Floats) -> list[tuple[int, int, float]]:
    """Return first and last line, the last not included, and value of constant strips."""
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
