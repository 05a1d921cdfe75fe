"""Load the modules of a command."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Do not look for garbage while modules are loaded, which make none.

    The search takes longer the more modules there are: a twelfth of the time from the start of
    `skyduel detect` to a small catalogue.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
