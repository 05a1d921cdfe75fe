"""Measure the peak memory of a process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_memory_mib"]


def peak_memory_mib(*, children: bool = False) -> float:
    """Return the largest resident memory that this process has had [MiB].

    Parameters
    ----------
    children : bool
        Include the largest program that this process started and waited for.

    Notes
    -----
    On Linux it is ``VmHWM``. There the value of ``getrusage`` includes the memory that the
    parent had when it started this process, so it is used on other systems only.
    """
    own = None
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        own = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
    if own is None:
        own = _from_usage(resource.RUSAGE_SELF)
    return max(own, _from_usage(resource.RUSAGE_CHILDREN)) if children else own


def _from_usage(who: int) -> float:
    """Return the peak memory that `resource.getrusage` states [MiB]."""
    # macOS counts bytes, others KiB.
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
