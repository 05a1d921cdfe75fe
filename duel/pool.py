"""Fresh processes for one kind of work, each with its share of the cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

__all__ = ["process_pool", "threads_each"]


@contextmanager
def process_pool(workers: int, threads: int) -> Iterator[Executor]:
    """Give a pool of fresh processes, each with so many threads for its arithmetic."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    # Read when a library is loaded, hence set for the children before they start.
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        # Not forked: a fork of a process with threads may hang.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def threads_each(workers: int) -> int:
    """Return how many threads each of so many processes may use."""
    return max(1, len(os.sched_getaffinity(0)) // workers)
