"""List of the image formats, and functions that choose one; add a new format to the list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from skyduel.core.errors import PATH, takes
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

#: The image formats. The first one reports the error for a file of no known format.
FORMATS: Final[tuple[ImageFormat, ...]] = (FITS, ASDF)
#: File name endings of images, without those of compression.
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
    """Open one image of a file in the format of its content.

    Parameters
    ----------
    path : path
        Path of the file; brackets may choose the image, as for `skyduel.core.read_frame`.
    hdu : Hdu, optional
        The image; it overrides the brackets.
    whole : bool
        If True, the whole image will be read, so that it must fit in memory.
    companion : bool
        Whether it is a mask or a weight map; otherwise the first image of the sky is opened.

    Raises
    ------
    BadInputError
        If the file is missing or damaged, or does not hold this image.
    """
    file, in_brackets = split_brackets(path)
    chosen = in_brackets if hdu is None else hdu
    return _format_of(existing_file(file)).open(file, chosen, whole, companion)


def holds_image(file: Path) -> bool:
    """Return False for a file that holds only tables, otherwise True.

    A damaged file counts as an image, so that reading it reports the error. A file that
    would have to be unpacked also counts as an image.
    """
    try:
        return _format_of(file).holds_image(file)
    except OSError:
        return True


def is_image_name(file: Path) -> bool:
    """Return True if a file is named like an image and is not hidden."""
    return not file.name.startswith(".") and _bare(file.name) != file.name.lower()


@takes(path=PATH)
def frame_name(path: str | os.PathLike[str]) -> str:
    """Return the file name without the endings of image formats and compression.

    ``night/a.b.fits.fz`` gives ``a.b``. An image in brackets is appended to the name:
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
    """Return a name in lower case without the ending of an image, if it has one."""
    bare = name.lower()
    while bare.endswith(COMPRESSION_ENDINGS):
        bare = bare[: bare.rindex(".")]
    return bare[: bare.rindex(".")] if bare.endswith(IMAGE_ENDINGS) else name.lower()


def _format_of(file: Path) -> ImageFormat:
    """Return the format of a file by content, otherwise by ending, otherwise the first."""
    with file.open("rb") as stream:
        start = stream.read(_FIRST_BYTES)
    for one in FORMATS:
        if one.starts(start):
            return one
    return next((f for f in FORMATS if file.name.lower().endswith(f.endings)), FORMATS[0])
