"""Keeping the memory that one frame's maps leave behind for the next one's."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Final

__all__ = ["give_freed_memory_back", "keep_freed_memory"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


@cache
def keep_freed_memory() -> bool:
    """Ask the allocator not to give freed maps back to the system; returns whether it will.

    By default glibc maps every block above 32 MiB afresh, and the system clears
    its pages: on a 2048² frame that was a third of the time. Only where the C
    library is glibc; elsewhere nothing happens.
    """
    libc = _glibc()
    if libc is None:
        return False
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    )


def give_freed_memory_back() -> bool:
    """Give what is free back to the system now; returns whether anything was.

    Kept memory falls into pieces that the next tile's maps do not fit, so that a frame of
    36 tiles took 1.4 GiB more than one of them needs.
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
