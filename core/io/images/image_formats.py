"""The list of image formats, and what is done by it: another format is one more entry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.images.asdf_frames import ASDF
from skyduel.core.io.images.fits_images import FITS
from skyduel.core.io.images.image_reader import (
    Hdu,
    ImageFormat,
    ImageReader,
    hdu_suffix,
    split_brackets,
)

__all__ = [
    "COMPRESSION_ENDINGS",
    "FORMATS",
    "IMAGE_ENDINGS",
    "frame_name",
    "holds_image",
    "is_image_name",
    "open_image",
]

#: The formats of images; a file of none is left to the first to refuse.
FORMATS: Final[tuple[ImageFormat, ...]] = (FITS, ASDF)
#: Endings of image files, before those of compression.
IMAGE_ENDINGS: Final = tuple(ending for one in FORMATS for ending in one.endings)
COMPRESSION_ENDINGS: Final = (".gz", ".bz2", ".xz", ".fz", ".z")

_FIRST_BYTES: Final = 16


def open_image(
    path: str | os.PathLike[str],
    *,
    hdu: Hdu | None = None,
    whole: bool = True,
    companion: bool = False,
) -> ImageReader:
    """Open one image of a file, by the format that its content shows.

    Parameters
    ----------
    path : path
        The image may be chosen in brackets, as for `core.read_frame`.
    hdu : Hdu, optional
        The same choice as an argument; it goes before the brackets.
    whole : bool
        Whether all of it will be read, so that memory must hold it.
    companion : bool
        Whether it is a mask or a weight map; otherwise the first image of the sky is opened.

    Raises
    ------
    BadInputError
        If the file is missing, damaged or holds no such image.
    """
    file, in_brackets = split_brackets(path)
    chosen = in_brackets if hdu is None else hdu
    return _format_of(existing_file(file)).open(file, chosen, whole, companion)


def holds_image(file: Path) -> bool:
    """Return False for a file of tables only, True for any other.

    A damaged file counts as an image: reading it will say what is wrong. So does one that
    would have to be unpacked to know.
    """
    try:
        return _format_of(file).holds_image(file)
    except OSError:
        return True


def is_image_name(file: Path) -> bool:
    """Return True if a file is named like an image and is not hidden."""
    return not file.name.startswith(".") and _bare(file.name) != file.name.lower()


def frame_name(path: str | os.PathLike[str]) -> str:
    """Return the file name without the endings of image formats and compression.

    ``night/a.b.fits.fz`` gives ``a.b``. An image in brackets is kept as an ending:
    ``a.fits[SCI,2]`` gives ``a_SCI_2``.
    """
    file, hdu = split_brackets(path)
    name = file.name
    while name.lower().endswith(COMPRESSION_ENDINGS):
        name = name[: name.rindex(".")]
    if name.lower().endswith(IMAGE_ENDINGS):
        name = name[: name.rindex(".")]
    return (name or file.name) + hdu_suffix(hdu)


def _bare(name: str) -> str:
    """Return a name in lower case without the ending of an image; as it is without one."""
    bare = name.lower()
    while bare.endswith(COMPRESSION_ENDINGS):
        bare = bare[: bare.rindex(".")]
    return bare[: bare.rindex(".")] if bare.endswith(IMAGE_ENDINGS) else name.lower()


def _format_of(file: Path) -> ImageFormat:
    """Return the format by content, otherwise by ending, otherwise the first."""
    with file.open("rb") as stream:
        start = stream.read(_FIRST_BYTES)
    for one in FORMATS:
        if one.starts(start):
            return one
    return next((f for f in FORMATS if file.name.lower().endswith(f.endings)), FORMATS[0])
