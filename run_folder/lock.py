"""Exclusive lock on a run folder (``flock``)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skyduel.core import BadInputError
from skyduel.core.errors import UnwritableError

__all__ = ["lock_folder"]


@contextmanager
def lock_folder(folder: Path, work: str = "run") -> Iterator[None]:
    """Lock a folder against other processes; it is made if it does not exist.

    Parameters
    ----------
    folder : Path
        The folder.
    work : str
        What writes into such folders, for the message.

    Raises
    ------
    BadInputError
        If another process has locked it.
    UnwritableError
        If it cannot be made or opened.

    Notes
    -----
    The lock is on the folder itself, leaves no file, and ends with the process, also when that
    is killed. On a file system without locks there is no lock.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UnwritableError(
            str(folder), "a place that can be written to", error.strerror or str(error)
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInputError(
                str(folder),
                f"a folder that no other {work} is writing",
                f"one in use; wait for that {work}, or choose another folder",
            ) from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
        if made:
            with suppress(OSError):  # a refused run leaves no empty folder
                folder.rmdir()
