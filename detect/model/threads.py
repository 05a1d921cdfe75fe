"""Share work among the threads that a detector may use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from skyduel.core.native.library import threads

__all__ = ["each_in_threads", "set_thread_count", "thread_count"]

T = TypeVar("T")


#: Number that was asked for, where torch is not loaded.
_asked: int | None = None


def set_thread_count(count: int) -> None:
    """Set the number of threads of this process: torch's too, where it is loaded."""
    global _asked
    _asked = count
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def thread_count() -> int:
    """Return the number of threads: torch's where it is loaded, else the one that was set.

    If none was set, that of `skyduel.core.native.library.threads`.
    """
    torch = sys.modules.get("torch")
    return (_asked or threads()) if torch is None else int(torch.get_num_threads())


def each_in_threads(call: Callable[[T], None], items: Sequence[T]) -> None:
    """Call a function with each item in parallel threads, as many as `thread_count`.

    This is parallel because numpy's loops release the GIL.
    """
    count = thread_count()
    if count == 1 or len(items) == 1:
        for item in items:
            call(item)
        return
    with ThreadPoolExecutor(count) as pool:
        for _ in pool.map(call, items):
            pass  # exceptions of the calls are raised here
