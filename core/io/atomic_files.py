"""Write files completely or not at all, and make names safe for files."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skyduel.core.errors import BadInputError, UnwritableError

__all__ = ["atomic_path", "existing_file", "safe_name"]

# A write that fails for want of room names no file.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
# What some systems take for a device, whatever its ending.
_DEVICES = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
# File systems allow 255 bytes; endings and temporary prefixes need room too.
_LONGEST = 150


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well.

    Parameters
    ----------
    path : path
        The file wanted. Missing folders above it are made.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    pathlib.Path
        A path in the same folder with the same ending, not existing yet. If
        the block raises, what was written there is removed and `path` stays
        as it was; no reader ever sees half a file.

    Raises
    ------
    BadInputError
        If the file exists and may not be replaced.
    UnwritableError
        If the place cannot be written to, or there is no room left.
    """
    target = Path(path)
    if target.is_dir():
        raise BadInputError(str(target), "a file to write to", "a folder")
    if target.exists() and not overwrite:
        raise BadInputError(str(target), "a file that does not exist yet", "an existing file")
    # The name is ours alone, and opening it anew (not by mkstemp, which makes
    # files private) lets the user's umask decide who may read it.
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}"[-255:])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        # Trouble with any other file inside the block is not about this place.
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


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return the path if it is a file with something in it.

    Raises
    ------
    BadInputError
        If it is missing, a folder, unreadable or empty.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise BadInputError(str(file), "a file", "a folder")
        if not file.exists():
            raise BadInputError(str(file), "an existing file", "nothing of that name")
        if file.is_file() and file.stat().st_size == 0:
            raise BadInputError(str(file), "a file with content", "an empty file")
    except OSError as error:
        raise BadInputError(str(file), "a readable file", error.strerror or str(error)) from error
    if not os.access(file, os.R_OK):
        raise BadInputError(str(file), "a readable file", "no permission to read it")
    return file


def safe_name(name: str) -> str:
    """Return a name that is one harmless path component, the same one every time.

    Letters, digits, ``.``, ``_``, ``+`` and ``-`` stay; every other run of
    characters becomes ``_``, and leading dots and dashes (which programs take for
    options) are dropped, as is what some systems take for a device. A name that had to
    be changed gets ``-`` and eight hexadecimal digits of its SHA-256, so that
    ``a/b`` and ``a b`` stay apart; a name that is safe already is returned as
    it is.
    """
    reduced = _UNSAFE.sub("_", name).lstrip(".-")[:_LONGEST]
    if _DEVICES.match(reduced):
        reduced = f"_{reduced}"
    if reduced == name and reduced:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{reduced or 'unnamed'}-{digest}"
