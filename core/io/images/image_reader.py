"""The protocol of an image reader, and the record of an image format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy.typing as npt

from skyduel.core.errors import BadInputError

__all__ = [
    "NOTES_KEY",
    "CubePlane",
    "Hdu",
    "ImageFormat",
    "ImageReader",
    "Pixels",
    "hdu_suffix",
    "split_brackets",
    "without_brackets",
]


class CubePlane(NamedTuple):
    """One plane of a cube: the HDU, and the plane's number from 0 or its name."""

    hdu: int | str | tuple[str, int]
    plane: int | str


#: Which image of a file: its number from 0, its name (of a FITS extension or, in a tree, its
#: path), name and version, or a plane of one of these.
Hdu = int | str | tuple[str, int] | CubePlane
Pixels = npt.NDArray[Any]

#: Where `core.Frame.header` lists decisions on the file, such as images that are not read.
NOTES_KEY: Final = "notes"

_BRACKETS = re.compile(
    r"^(?P<file>.+?)\[(?P<hdu>[^\[\]]+)\](?:\[(?P<plane>[^\[\]]+)\])?$", re.DOTALL
)


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

    def own_mask(self, bits: int | None = None) -> ImageReader | None:
        """Open the mask that the file holds for this image, None without one.

        With ``bits`` this may also be a data-quality array, of which no bit is used otherwise.
        """

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
        ``open(file, hdu, whole, companion)`` returns the `ImageReader` of one image. With
        ``whole`` all of it will be read, and memory must hold it. With ``companion`` the image is
        a mask or a weight map, otherwise an image of the sky.
    """

    name: str
    endings: tuple[str, ...]
    starts: Callable[[bytes], bool]
    holds_image: Callable[[Path], bool]
    open: Callable[[Path, Hdu | None, bool, bool], ImageReader]


def split_brackets(path: str | os.PathLike[str]) -> tuple[Path, Hdu | None]:
    """Split a path into the file and the image asked for in brackets, if any.

    Raises
    ------
    BadInputError
        If the brackets are not ``[2]``, ``[SCI]``, ``[SCI,2]`` or one of these with a plane,
        ``[SCI][0]``.
    """
    text = os.fspath(path)
    match = _BRACKETS.match(text)
    if match is None or Path(text).exists():  # brackets are legal in file names
        return Path(text), None
    file, inner, plane = match["file"], match["hdu"], match["plane"]
    if plane is not None and Path(f"{file}[{inner}]").exists():
        file, inner, plane = f"{file}[{inner}]", plane, None
    parts = [part.strip() for part in inner.split(",")]
    hdu: int | str | tuple[str, int]
    if len(parts) == 1 and parts[0]:
        hdu = int(parts[0]) if parts[0].isdecimal() else parts[0]
    elif len(parts) == 2 and parts[0] and parts[1].isdecimal():
        hdu = (parts[0], int(parts[1]))
    else:
        raise BadInputError(text, "an HDU as [2], [SCI] or [SCI,2]", f"[{inner}]")
    if plane is None:
        return Path(file), hdu
    plane = plane.strip()
    if not plane or "," in plane:
        raise BadInputError(text, "a plane as [0] or [G] after the HDU", f"[{plane}]")
    return Path(file), CubePlane(hdu, int(plane) if plane.isdecimal() else plane)


def without_brackets(path: str | os.PathLike[str]) -> Path:
    """Return the file of a path, whatever stands in brackets behind it."""
    text = os.fspath(path)
    match = None if Path(text).exists() else _BRACKETS.match(text)
    return Path(text if match is None else match["file"])


def hdu_suffix(hdu: Hdu | None) -> str:
    """Return the suffix of a frame's name for an image chosen in a file."""
    if hdu is None:
        return ""
    if isinstance(hdu, CubePlane):
        plane = f"p{hdu.plane}" if isinstance(hdu.plane, int) else hdu.plane
        return f"{hdu_suffix(hdu.hdu)}_{plane}"
    parts = hdu if isinstance(hdu, tuple) else (hdu,)
    return "".join(f"_{part}" for part in parts).replace("/", "_")
