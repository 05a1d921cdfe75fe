"""Features of positions from the pixels around them, and their nearest higher neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyduel.core.native.library import library, pointer

__all__ = ["context_features", "nearest_higher"]

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_FEATURES = 11


def context_features(z: Image, usable: Bools, at: Ints, phase: Ints, bank: Image) -> Image | None:
    """Return eleven features of each position; None if the library is not there.

    Parameters
    ----------
    z : ndarray of float32, shape (h, w), C-contiguous
        Pixels in units of the noise, 0 where unusable, with a margin of 24 px on all sides.
    usable : ndarray of bool, shape (h, w), C-contiguous
        Mask of usable pixels.
    at : ndarray of int64, shape (k,)
        Index of the pixel of each position in the flat ``z``.
    phase : ndarray of int64, shape (k,)
        Index into the second axis of ``bank`` for each position.
    bank : ndarray of float32, shape (3, phases, 11, 11)
        The frame's profile, a narrower and a wider one, at each phase within a pixel.

    Returns
    -------
    ndarray of float32, shape (k, 11)
        Columns as the first of `skyduel.detect.model.score_model.CONTEXT_FEATURES`.
    """
    loaded = library()
    if loaded is None:
        return None
    out = np.empty((len(at), _FEATURES), dtype=np.float32)
    at, phase = (np.ascontiguousarray(v, dtype=np.int64) for v in (at, phase))
    loaded.skyduel_context_features(
        pointer(z), pointer(usable), z.shape[1], len(at), pointer(at), pointer(phase),
        pointer(np.ascontiguousarray(bank)), bank.shape[1], pointer(out),
    )  # fmt: skip
    return out


def nearest_higher(xy: Floats, value: Floats, radius: float, crowd: int) -> Floats | None:
    """Return distance and gain of the nearest position of higher value; None without the library.

    Parameters
    ----------
    xy : ndarray of float64, shape (k, 2)
        Positions [px], finite.
    value : ndarray of float64, shape (k,)
        A value for each position.
    radius : float
        Neighbours are nearer than this [px].
    crowd : int
        A neighbour does not count if this many positions of any value are nearer.

    Returns
    -------
    ndarray of float64, shape (k, 2)
        Distance [px] and the neighbour's value minus the position's own; ``radius`` and 0 where
        there is none.

    Raises
    ------
    MemoryError
        If there is no memory for the grid.
    """
    loaded = library()
    if loaded is None:
        return None
    xy, value = (np.ascontiguousarray(v, dtype=np.float64) for v in (xy, value))
    distance, more = np.full(len(xy), radius), np.zeros(len(xy))
    if loaded.skyduel_nearest_higher(
        pointer(xy), pointer(value), len(xy), radius, crowd, pointer(distance), pointer(more)
    ):
        raise MemoryError(f"neighbours of {len(xy)} positions")
    return np.column_stack([distance, more])
