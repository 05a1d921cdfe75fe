"""Work shared among the threads that torch may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["each_in_threads"]

T = TypeVar("T")


def each_in_threads(call: Callable[[T], None], items: Sequence[T]) -> None:
    """Call with each item, by as many threads as torch may use; numpy's loops let others run."""
    if torch.get_num_threads() == 1 or len(items) == 1:
        for item in items:
            call(item)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for _ in threads.map(call, items):
            pass  # what a call raised is raised here
