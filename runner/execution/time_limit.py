"""A time limit for a call in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["TooLongError", "time_limit"]


class TooLongError(BaseException):
    """The time is up. No `Exception`, for detectors may catch those and go on."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `TooLongError` in the block after so many seconds; None is no limit.

    It is raised between two steps of Python: a call into compiled code that does not
    come back is not stopped by it. Only a process's main thread can be stopped so; in
    any other there is no limit.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
