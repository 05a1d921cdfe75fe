"""One writer to a run folder at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skyduel.core import BadInputError

__all__ = ["lock_folder"]


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, against other processes that want to hold it.

    Raises
    ------
    BadInputError
        If another process holds it.

    Notes
    -----
    The lock is on the folder itself, leaves no file, and ends with the process, however that
    ends. A file system without locks is used without.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInputError(
                str(folder),
                "a folder that no other run is writing",
                "one in use; wait for that run, or choose another --out",
            ) from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
        if made:
            with suppress(OSError):  # what was refused before it began leaves no empty folder
                folder.rmdir()
