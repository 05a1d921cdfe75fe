"""Expand the names of several frames: patterns, and all chips of a file."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Final

from skyduel.core.errors import BadInputError
from skyduel.core.io.images.fits_images import chips

__all__ = ["expand_chips", "names_chips"]

_ALL_CHIPS: Final = re.compile(r"^(?P<file>.+)\[(?:(?P<name>[^\[\],*]+),)?\s*\*\s*\]$", re.DOTALL)


def names_chips(path: str | os.PathLike[str]) -> bool:
    """Return True for ``chips.fits[SCI,*]`` and ``chips.fits[*]``, unless a file is called so."""
    text = os.fspath(path)
    return _ALL_CHIPS.match(text) is not None and not Path(text).exists()


def expand_chips(path: str | os.PathLike[str]) -> list[str]:
    """Return one path for each image of the sky that a path names.

    Parameters
    ----------
    path : path
        ``chips.fits[SCI,*]`` names all HDUs called SCI, ``chips.fits[*]`` all two-dimensional
        images of the sky. The file may be a pattern such as ``night/*.fits``. Any other path
        is returned as it is.

    Raises
    ------
    BadInputError
        If a file is missing, no FITS file, or holds no such image.
    """
    text = os.fspath(path)
    match = _ALL_CHIPS.match(text)
    if match is None or Path(text).exists():
        return [text]
    name = match["name"].strip() if match["name"] else None
    files = [match["file"]]
    if not Path(files[0]).exists() and glob.has_magic(files[0]):
        files = sorted(glob.glob(files[0])) or files
    found = [
        f"{file}[{label}]"
        for file in files
        for called, label in chips(Path(file))
        if name is None or called.upper() == name.upper()
    ]
    if not found:
        raise BadInputError(text, f"an image {name or 'of the sky'}", "none in the file")
    return found
