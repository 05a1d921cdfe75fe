"""All pairs of points of two sets within a radius."""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from skyduel.core.native.library import library, pointer, threads

__all__ = ["neighbours"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Rows that the kernel can number.
_MOST_ROWS: Final = 2**32 - 1


def neighbours(a: Floats, b: Floats, radius: float) -> tuple[Ints, Ints]:
    """Return the rows of ``a`` and ``b`` about as close as a radius, in no particular order.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n, 2) and (m, 2)
        Positions, finite.
    radius : float
        All pairs no farther apart are returned, and no pair farther apart than
        ``radius * (1 + 2e-9)``: the caller decides exactly.

    Raises
    ------
    MemoryError
        If there is no memory for the pairs.
    """
    empty = np.zeros(0, dtype=np.int64)
    if len(a) == 0 or len(b) == 0:
        return empty, empty
    generous = radius * (1 + 1e-9)
    loaded = library()
    if loaded is None or max(len(a), len(b)) > _MOST_ROWS:
        # Cutting boxes in the middle builds in half the time of cutting at medians.
        trees = [scipy.spatial.KDTree(xy, balanced_tree=False) for xy in (a, b)]
        near = trees[0].sparse_distance_matrix(trees[1], generous, output_type="ndarray")
        return near["i"].astype(np.int64), near["j"].astype(np.int64)
    a, b = (np.ascontiguousarray(xy, dtype=np.float64) for xy in (a, b))
    n = ctypes.c_int64()
    handle = loaded.skyduel_neighbours(
        pointer(a), len(a), pointer(b), len(b), generous, threads(), ctypes.byref(n)
    )
    if handle is None:
        raise MemoryError(f"pairs of {len(a)} and {len(b)} positions")
    i, j = np.empty(n.value, dtype=np.int64), np.empty(n.value, dtype=np.int64)
    loaded.skyduel_take_neighbours(handle, pointer(i), pointer(j))
    return i, j
