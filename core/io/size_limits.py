"""Limit the unpacked size of files, as a protection against decompression bombs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import resource
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from skyduel.core.errors import BadInputError, one_line

__all__ = ["check_cells", "check_fields", "check_unpacked", "most_bytes", "unpacked"]

_MIB: Final = 2**20
# Unpacked size allowed for a file of any size: that of an empty mask of 20k x 20k pixels.
_ALWAYS: Final = 512 * _MIB
# Largest ratio of unpacked to packed size above that: real images and tables stay below 50.
_RATIO: Final = 300
# FITS 4.0, section 7.3.1.
_MOST_FIELDS: Final = 999
_CHUNK: Final = 4 * _MIB
_PACKED: Final[tuple[tuple[bytes, Callable[..., Any]], ...]] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)


def most_bytes() -> int:
    """Return the most memory [bytes] that one file may take: half of what this process may."""
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return (here if soft == resource.RLIM_INFINITY else min(here, soft)) // 2


def check_unpacked(
    n_bytes: int, packed: int, source: str, what: str, *, in_memory: bool = True
) -> None:
    """Check the unpacked size of a file's content against the limits of real files and of memory.

    Parameters
    ----------
    n_bytes : int
        Unpacked size [bytes].
    packed : int
        Size in the file [bytes].
    source, what : str
        File and content, for the error message.
    in_memory : bool
        If True, the content must fit in memory.

    Raises
    ------
    BadInputError
        If the size exceeds both 512 MiB and 300 times the file, or exceeds half of the memory.
    """
    most = max(_ALWAYS, _RATIO * packed)
    if in_memory:
        most = min(most_bytes(), most)
    if n_bytes > most:
        raise BadInputError(
            source,
            f"{what} of at most {most // _MIB} MiB for a file of {packed} bytes",
            f"{n_bytes // _MIB} MiB and more",
        )


def unpacked(stream: BinaryIO, source: str, *, in_memory: bool = True) -> Iterator[bytes] | None:
    """Unpack a gzip, bzip2 or xz file part by part; return None for other files.

    Raises
    ------
    BadInputError
        While iterating, if the file is damaged or truncated, or exceeds `check_unpacked`.
    """
    magic = stream.read(6)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    opener = next((o for start, o in _PACKED if magic.startswith(start)), None)
    return None if opener is None else _parts(opener, stream, size, source, in_memory)


def _parts(
    opener: Callable[..., Any], stream: BinaryIO, size: int, source: str, in_memory: bool
) -> Iterator[bytes]:
    length = 0
    try:
        # Read to the end, where the checksum is.
        with opener(stream) as plain:
            while part := plain.read(_CHUNK):
                length += len(part)
                check_unpacked(length, size, source, "content", in_memory=in_memory)
                yield part
    except BadInputError:
        raise
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, MemoryError) as error:
        raise BadInputError(
            source, "a readable, complete compressed file", one_line(error)
        ) from error


def check_fields(header: Mapping[str, Any], source: str) -> None:
    """Check that a FITS table has at most the 999 columns that the standard allows.

    Raises
    ------
    BadInputError
        If the header states more, or not a number.
    """
    fields = header.get("TFIELDS", 0)
    if not isinstance(fields, int) or not 0 <= fields <= _MOST_FIELDS:
        raise BadInputError(source, f"0 to {_MOST_FIELDS} columns", repr(fields))


def check_cells(lengths: Iterable[int], size: int, source: str) -> None:
    """Check the memory of a text column, in which every cell is as wide as the longest.

    Text arrays have a fixed width: one word of a megabyte in a column of a million rows
    takes terabytes.

    Raises
    ------
    BadInputError
        As `check_unpacked`, with 4 bytes per character.
    """
    longest = rows = 0
    for length in lengths:
        longest, rows = max(longest, length), rows + 1
    check_unpacked(4 * longest * rows, size, source, f"text of {longest} characters in {rows} rows")
