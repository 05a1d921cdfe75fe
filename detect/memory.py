"""Keeping the memory that one frame's maps leave behind for the next one's."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Final

__all__ = ["keep_freed_memory"]

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
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
