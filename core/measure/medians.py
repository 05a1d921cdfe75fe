"""Medians with the values of `numpy.median`, several times as fast.

`numpy.median` looks for three places at once, which numpy does without vector instructions; one
place, or a whole sort, is found with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["column_medians", "median"]


def median(values: npt.NDArray[np.floating[Any]]) -> Any:
    """Return the median of all values, of their type.

    Parameters
    ----------
    values : ndarray of float
        At least one value, of any shape.

    Returns
    -------
    numpy.floating
        The middle value, or the mean of the two; NaN if one value is NaN.
    """
    half = values.size // 2
    parts = np.partition(values.ravel(), half)
    middle, above = parts[half], parts[half:].max()  # a NaN is sorted to the end
    if np.isnan(above):
        return values.dtype.type(np.nan)
    return middle if values.size % 2 else np.mean([parts[:half].max(), middle], dtype=values.dtype)


def column_medians(image: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return the median of each column, of the image's type.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        At least one row.

    Returns
    -------
    ndarray of float, shape (nx,)
        As `median` of each column.
    """
    half, odd = divmod(image.shape[0], 2)
    columns = np.sort(np.ascontiguousarray(image.T), axis=1)
    found = columns[:, half] if odd else columns[:, half - 1 : half + 1].mean(axis=1)
    return np.where(np.isnan(columns[:, -1]), columns[:, -1], found)
