"""Write files atomically, and convert names to safe file names."""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skyduel.core.errors import PATH, BadInputError, UnwritableError, takes

__all__ = [
    "atomic_path",
    "existing_file",
    "existing_folder",
    "is_temporary",
    "require_writable",
    "safe_name",
]

# How `atomic_path` begins the name of an unfinished file.
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.")

# An error of a full disk names no file.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
# Names that some systems interpret as a device, with any ending.
_DEVICES = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
# File systems allow 255 bytes, which must include endings and temporary prefixes.
_LONGEST = 150


@takes(path=PATH)
@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` when the block succeeds.

    Parameters
    ----------
    path : path
        The file to write. Missing parent folders are created.
    overwrite : bool
        If True, replace an existing file.

    Yields
    ------
    pathlib.Path
        A new path in the same folder with the same ending. If the block raises, the
        temporary file is removed and `path` is unchanged. Other processes never see a
        partial file.

    Raises
    ------
    BadInputError
        If the file exists and may not be replaced.
    UnwritableError
        If the folder is not writable, or the disk is full.
    """
    target = Path(path)
    if target.is_dir():
        raise BadInputError(str(target), "a file to write to", "a folder")
    if target.exists() and not overwrite:
        raise BadInputError(str(target), "a file that does not exist yet", "an existing file")
    # The name is unique. The file is created by `open`, not by mkstemp, which makes files
    # private: its permissions then follow the user's umask.
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}"[-255:])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        # An error with another file inside the block does not concern this folder.
        ours = {str(p) for p in (temporary, target, *target.parents)}
        named = None if error.filename is None else os.fsdecode(error.filename)
        if named not in ours and (named is not None or error.errno not in _FULL):
            raise
        raise UnwritableError(
            str(target), "a place that can be written to", error.strerror or str(error)
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


class _TriedError(Exception):
    """Ends the block of `atomic_path` without a file."""


def require_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Missing parent folders are created; a file that is there stays as it is.

    Raises
    ------
    BadInputError
        As `atomic_path`.
    """
    with suppress(_TriedError), atomic_path(path) as temporary:
        temporary.touch()
        raise _TriedError


def is_temporary(path: Path) -> bool:
    """Return True if the name is that of an unfinished file of `atomic_path`."""
    return _TEMPORARY.match(path.name) is not None


def _absent(file: Path) -> str:
    """Say what is there in place of a missing file."""
    if not file.parent.is_dir():
        return f"no folder {file.parent}"
    names = [one.name for one in file.parent.iterdir()]
    close = difflib.get_close_matches(file.name, names, n=1, cutoff=0.8)
    return "nothing of that name" + (f"; did you mean {close[0]}?" if close else "")


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return the path if it is a readable file that is not empty.

    Raises
    ------
    BadInputError
        If the file is missing, a folder, unreadable or empty.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise BadInputError(str(file), "a file", "a folder")
        if not file.exists():
            raise BadInputError(str(file), "an existing file", _absent(file))
        if file.is_file() and file.stat().st_size == 0:
            raise BadInputError(str(file), "a file with content", "an empty file")
    except OSError as error:
        raise BadInputError(str(file), "a readable file", error.strerror or str(error)) from error
    if not os.access(file, os.R_OK):
        raise BadInputError(str(file), "a readable file", "no permission to read it")
    return file


def existing_folder(path: str | os.PathLike[str], required: str) -> Path:
    """Return the path if it is a folder.

    Parameters
    ----------
    path : path-like
        The folder.
    required : str
        What it should be, as in ``a run folder``.

    Raises
    ------
    BadInputError
        If it is missing or a file.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BadInputError(
            str(folder), required, "a file" if folder.exists() else "no such folder"
        )
    return folder


@takes(name=str)
def safe_name(name: str) -> str:
    """Convert a name to a safe path component; the result depends only on the name.

    Letters, digits, ``.``, ``_``, ``+`` and ``-`` are kept; every other run of
    characters becomes ``_``. Leading dots and dashes (which programs take for options) are
    dropped, as are names that some systems interpret as a device. To a changed name
    ``-`` and eight hexadecimal digits of its SHA-256 are appended, so that the results for
    ``a/b`` and ``a b`` differ. A name that is already safe is returned unchanged.
    """
    reduced = _UNSAFE.sub("_", name).lstrip(".-")[:_LONGEST]
    if _DEVICES.match(reduced):
        reduced = f"_{reduced}"
    if reduced == name and reduced:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{reduced or 'unnamed'}-{digest}"
