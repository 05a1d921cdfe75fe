"""The protocol of an image reader, and the record of an image format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from skyduel.core.errors import BadInputError

__all__ = ["Hdu", "ImageFormat", "ImageReader", "Pixels", "hdu_suffix", "split_brackets"]

#: Which image of a file: its number from 0, its name (of a FITS extension or, in a tree, its
#: path), or name and version.
Hdu = int | str | tuple[str, int]
Pixels = npt.NDArray[Any]

_BRACKETS = re.compile(r"^(?P<file>.+)\[(?P<hdu>[^\[\]]+)\]$", re.DOTALL)


class ImageReader(Protocol):
    """One opened image of a file, whatever its format.

    Attributes
    ----------
    file : Path
        Where it is.
    hdu : Hdu or None
        Which image was asked for; None: the first.
    shape : (ny, nx)
        Of the image [px].
    mask_bits : int or None
        Which bits of the file's own mask make a pixel unusable, where the user names none;
        None: any.
    """

    file: Path
    hdu: Hdu | None
    shape: tuple[int, int]
    mask_bits: int | None

    def facts(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return every field of a `Frame` but its pixels and mask, overrides first."""

    def own_mask(self) -> ImageReader | None:
        """Open the mask that the file holds for this image, None without one."""

    def read(self) -> Pixels:
        """Read all pixels, scaled, NaN where the file says that there is no value."""

    def read_box(self, rows: slice, columns: slice) -> Pixels:
        """Read the pixels of a box, as `read` does; memory holds little more than the box."""

    def close(self) -> None:
        """Release files; the reader is of no use afterwards."""


@dataclass(frozen=True)
class ImageFormat:
    """A format of image files.

    Parameters
    ----------
    name : str
        For messages.
    endings : tuple of str
        Of file names, in lower case with the dot.
    starts : callable
        Whether a file's first bytes are those of the format.
    holds_image : callable
        Whether a file of the format holds an image; True where only reading it would tell.
    open : callable
        ``open(file, hdu, whole)`` returns the `ImageReader` of one image. With ``whole`` all of
        it will be read, and memory must hold it.
    """

    name: str
    endings: tuple[str, ...]
    starts: Callable[[bytes], bool]
    holds_image: Callable[[Path], bool]
    open: Callable[[Path, Hdu | None, bool], ImageReader]


def split_brackets(path: str | os.PathLike[str]) -> tuple[Path, Hdu | None]:
    """Split a path into the file and the image asked for in brackets, if any.

    Raises
    ------
    BadInputError
        If the brackets are not ``[2]``, ``[SCI]`` or ``[SCI,2]``.
    """
    text = os.fspath(path)
    match = _BRACKETS.match(text)
    if match is None or Path(text).exists():  # brackets are legal in file names
        return Path(text), None
    parts = [part.strip() for part in match["hdu"].split(",")]
    if len(parts) == 1 and parts[0]:
        return Path(match["file"]), int(parts[0]) if parts[0].isdecimal() else parts[0]
    if len(parts) == 2 and parts[0] and parts[1].isdecimal():
        return Path(match["file"]), (parts[0], int(parts[1]))
    raise BadInputError(text, "an HDU as [2], [SCI] or [SCI,2]", f"[{match['hdu']}]")


def hdu_suffix(hdu: Hdu | None) -> str:
    """Return the suffix of a frame's name for an image chosen in a file."""
    if hdu is None:
        return ""
    parts = hdu if isinstance(hdu, tuple) else (hdu,)
    return "".join(f"_{part}" for part in parts).replace("/", "_")
