"""Keep the memory of one frame's maps for the next frame, or return it where frames are large."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from typing import Final

__all__ = ["give_freed_memory_back", "keep_freed_memory", "set_torch_memory"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


#: Frames up to this size keep freed memory [px].
_SMALL_PX: Final = 2048**2
#: Blocks above this size are mapped alone, so that they are returned when they are freed.
_KEPT_BYTES: Final = 2**30
_RETURNED_BYTES: Final = 4 * 2**20
#: More free memory than this at the end of the heap is returned.
_KEPT_END_BYTES: Final = 2**31 - 1
_RETURNED_END_BYTES: Final = 16 * 2**20


def keep_freed_memory(frame_px: int = 0) -> bool:
    """Set the allocator to keep freed memory if a frame is small; return True if it does.

    Parameters
    ----------
    frame_px : int
        Pixels of the frame.

    Notes
    -----
    By default glibc maps new pages for every block above 32 MiB, and the system clears
    its pages: on a 2048² frame that took a third of the time. Frames above 2048² px are handled
    in tiles, whose maps leave gaps in kept memory: a section of 3712² px took 300 MiB more than
    it needs. Blocks above 4 MiB are then mapped one by one. Without glibc this has no effect.
    """
    libc = _glibc()
    if libc is None:
        return False
    keep = frame_px <= _SMALL_PX
    alone, end = (_KEPT_BYTES, _KEPT_END_BYTES) if keep else (_RETURNED_BYTES, _RETURNED_END_BYTES)
    set_ = libc.mallopt(_M_MMAP_THRESHOLD, alone) and libc.mallopt(_M_TRIM_THRESHOLD, end)
    return keep and bool(set_)


def set_torch_memory() -> None:
    """Set how torch takes memory, before it computes for the first time.

    Huge pages: a map of 64 MiB takes 32 page faults in place of 16,000. And oneDNN keeps the
    programs of 256 operations, those of the last few shapes of tiles, in place of 1024: each
    shape takes 8 MiB, and a large image has dozens. Values in the user's environment are kept.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")


def give_freed_memory_back() -> bool:
    """Return free memory to the system now; return True if any was returned.

    Kept memory fragments, so that the maps of the next tile do not fit: a frame of
    36 tiles took 1.4 GiB more than one tile needs.
    """
    libc = _glibc()
    return libc is not None and bool(libc.malloc_trim(0))


@cache
def _glibc() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        libc = ctypes.CDLL(None)
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):
        return None
