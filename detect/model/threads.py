"""Share work among torch's threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["each_in_threads"]

T = TypeVar("T")


def each_in_threads(call: Callable[[T], None], items: Sequence[T]) -> None:
    """Call a function with each item in parallel threads, as many as torch may use.

    This is parallel because numpy's loops release the GIL.
    """
    if torch.get_num_threads() == 1 or len(items) == 1:
        for item in items:
            call(item)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for _ in threads.map(call, items):
            pass  # exceptions of the calls are raised here
