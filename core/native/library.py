"""Find and load the compiled library of `skyduel.core.native`."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int16, c_int64, c_uint8, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["is_available", "library", "pointer", "threads"]

_POINTERS: Final[dict[np.dtype[Any], Any]] = {
    np.dtype(np.float32): POINTER(c_float),
    np.dtype(np.float64): POINTER(c_double),
    np.dtype(np.int64): POINTER(c_int64),
    np.dtype(np.int16): POINTER(c_int16),
    np.dtype(np.uint8): POINTER(c_uint8),
    np.dtype(np.bool_): POINTER(c_uint8),
}
_IMAGE: Final = [POINTER(c_float), POINTER(c_uint8), c_int64, c_int64, c_int64]
_DOUBLES: Final = POINTER(c_double)
_FLOATS: Final = POINTER(c_float)
_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "skyduel_half_light_radius": (None, [*_IMAGE, *[_DOUBLES] * 4, c_int64, _DOUBLES]),
    "skyduel_windowed_position": (None, [*_IMAGE, *[_DOUBLES] * 3, POINTER(c_int16)]),
    "skyduel_neighbours": (
        c_void_p,
        [_DOUBLES, c_int64, _DOUBLES, c_int64, c_double, c_int64, POINTER(c_int64)],
    ),
    "skyduel_fit_logistic": (
        c_int64,
        [
            _DOUBLES,
            c_int64,
            _DOUBLES,
            _DOUBLES,
            c_int64,
            _DOUBLES,
            _DOUBLES,
            c_double,
            c_int64,
            _DOUBLES,
        ],
    ),
    "skyduel_context_features": (
        None,
        [
            _FLOATS,
            POINTER(c_uint8),
            *[c_int64] * 2,
            *[POINTER(c_int64)] * 2,
            _FLOATS,
            c_int64,
            _FLOATS,
        ],
    ),
    "skyduel_nearest_higher": (
        c_int64,
        [_DOUBLES, _DOUBLES, c_int64, c_double, c_int64, _DOUBLES, _DOUBLES],
    ),
    "skyduel_take_neighbours": (None, [c_void_p, POINTER(c_int64), POINTER(c_int64)]),
    "skyduel_refusal": (c_char_p, []),
    "skyduel_roi_align": (
        c_int64,
        [_FLOATS, *[c_int64] * 3, _FLOATS, *[c_int64] * 2, c_double, *[c_int64] * 2, _FLOATS],
    ),
    "skyduel_soft_nms": (
        c_int64,
        [_FLOATS, _FLOATS, c_int64, c_double, c_double, POINTER(c_int64), _FLOATS],
    ),
}


@cache
def library() -> ctypes.CDLL | None:
    """Return the library; None if it was not built, cannot be loaded, or is of other sources."""
    for path in sorted(Path(__file__).parent.glob("_kernels.*so")):
        try:
            loaded = ctypes.CDLL(str(path))
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return loaded
    return None


def is_available() -> bool:
    """Return True if the compiled kernels are used, False if their slow counterparts are."""
    return library() is not None


def pointer(array: npt.NDArray[Any] | None) -> Any:
    """Return the address of a contiguous array for a kernel; null for None."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data_as(_POINTERS[array.dtype])


def threads() -> int:
    """Return the number of threads for a kernel: ``OMP_NUM_THREADS``, else the process's cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else len(os.sched_getaffinity(0))
