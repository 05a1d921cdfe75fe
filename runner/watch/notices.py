"""Notices that a file was closed after writing or renamed in, from the kernel (inotify)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from skyduel.core.extras import missing_extra

__all__ = ["Notices", "inotify"]


class Notices:
    """Finished files, from other threads or a signal handler, and a way to wait for one."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Path | None] = SimpleQueue()

    def put(self, path: Path) -> None:
        """Add a file."""
        self._queue.put(path)

    def wake(self) -> None:
        """End a wait."""
        self._queue.put(None)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for a notice, at most this long [s]; None: without a limit."""
        try:
            first = self._queue.get(timeout=timeout_s)
        except Empty:
            return
        self._queue.put(first)  # the order of notices has no meaning

    def drain(self) -> list[Path]:
        """Return the files that were noticed, each once."""
        files: dict[Path, None] = {}
        while True:
            try:
                path = self._queue.get_nowait()
            except Empty:
                return list(files)
            if path is not None:
                files[path] = None


@contextmanager
def inotify(folder: Path, notices: Notices) -> Iterator[None]:
    """Send a notice for every file of a folder that is closed after writing, or renamed in.

    Raises
    ------
    BadInputError
        If watchdog is not installed.
    OSError
        If the kernel allows no more watches.

    Notes
    -----
    Files in folders inside are not seen, nor is a writer on another computer that shares the
    file system.
    """
    try:
        from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEventHandler
        from watchdog.observers.inotify import InotifyObserver
    except ModuleNotFoundError as error:
        raise missing_extra("skyduel watch", error) or error from None

    class Handler(FileSystemEventHandler):
        def dispatch(self, event: Any) -> None:
            """Send a notice; a file that was renamed is told of by its new name."""
            name = event.dest_path if isinstance(event, FileMovedEvent) else event.src_path
            path = Path(os.fsdecode(name))
            if name and path.parent == folder:
                notices.put(path)

    # Without full events a file that is renamed in from elsewhere looks like one that is opened.
    observer = InotifyObserver(generate_full_events=True)
    observer.schedule(
        Handler(), str(folder), recursive=False, event_filter=[FileClosedEvent, FileMovedEvent]
    )
    observer.start()
    try:
        yield
    finally:
        observer.stop()
        observer.join()
