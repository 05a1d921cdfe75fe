"""Find the truth table, the mask, the weight map and the ignore areas that belong to a frame."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Final

from skyduel.core.io.images.image_formats import (
    COMPRESSION_ENDINGS,
    IMAGE_ENDINGS,
    frame_name,
    is_image_name,
)
from skyduel.core.io.table_writers import TABLE_ENDINGS

__all__ = [
    "TABLES",
    "TRUTH_FOLDERS",
    "belongs_to_another",
    "ignore_of",
    "image_names",
    "mask_of",
    "owner_of",
    "truth_of",
    "weight_of",
]

# Regions hold no catalogue, and JSON beside a frame may be anything.
TABLES: Final = (
    *(ending for ending in TABLE_ENDINGS if ending not in {".json", ".reg"}),
    *(".txt", ".dat", ".tsv", ".list"),
)
TRUTH_FOLDERS: Final = ("truth", "catalogs", "catalogues")

_TRUTH_SUFFIXES: Final = ("", "_truth", ".truth", "_catalog", "_cat")
_MASKS: Final = ("_mask", ".mask", "_flag", ".flag")
_WEIGHTS: Final = ("_weight", ".weight", "_wht", ".wht")
# Ignore areas are regions, a MOC or an image.
_AREAS: Final = ("_ignore", ".ignore", "_ignore.moc", ".moc", "_moc")
_NOT_FRAMES: Final = ("_truth", "_catalog", "_cat", *_MASKS, *_WEIGHTS, *_AREAS)


# A mask's name may go on behind the word: a_mask2, a_mask_v3.
_MASK_NAME: Final = re.compile(r"(.+?)[_.](?:mask|flag)s?(?:[_.-]?\w{0,8})\Z", re.IGNORECASE)


def belongs_to_another(name: str, names: Container[str]) -> bool:
    """Return True if a file is another's truth, mask, weight map or ignore areas in its folder."""
    return owner_of(name, names) is not None


def owner_of(name: str, names: Container[str]) -> str | None:
    """Return the name of the frame that a truth, mask or weight map belongs to, None without one.

    Parameters
    ----------
    name : str
        Of the file, without its ending.
    names : container of str
        Of the frames.
    """
    for end in _NOT_FRAMES:
        if name.endswith(end) and name.removesuffix(end) in names:
            return name.removesuffix(end)
    mask = _MASK_NAME.match(name)
    return mask[1] if mask is not None and mask[1] in names else None


def image_names(folder: Path) -> set[str]:
    """Return the names of the images in a folder, without their endings."""
    try:
        return {frame_name(p) for p in folder.iterdir() if is_image_name(p)}
    except OSError:
        return set()


def mask_of(name: str, folder: Path) -> Path | None:
    """Return the mask beside a frame, None without one."""
    return _companion(name, folder, _MASKS)


def weight_of(name: str, folder: Path) -> Path | None:
    """Return the weight map beside a frame, None without one."""
    return _companion(name, folder, _WEIGHTS)


def ignore_of(name: str, folder: Path) -> Path | None:
    """Return the ignore areas beside a frame (regions, a MOC or an image), None without any."""
    for ending in _AREAS[:2]:
        if (folder / f"{name}{ending}.reg").is_file():
            return folder / f"{name}{ending}.reg"
    return _companion(name, folder, _AREAS)


def truth_of(name: str, folder: Path) -> Path | None:
    """Return the truth table of a frame: the same folder first, then those for truth."""
    inside = [folder / place for place in TRUTH_FOLDERS]
    beside = [folder.absolute().parent / place for place in TRUTH_FOLDERS]
    for place in (folder, *inside, *beside):
        for suffix in _TRUTH_SUFFIXES:
            for ending in TABLES:
                if place == folder and not suffix and ending in IMAGE_ENDINGS:
                    continue  # that is the frame itself
                if (place / f"{name}{suffix}{ending}").is_file():
                    return place / f"{name}{suffix}{ending}"
    return None


def _companion(name: str, folder: Path, endings: tuple[str, ...]) -> Path | None:
    """Return the image beside a frame that has its name and one of some endings."""
    packed = ("", *COMPRESSION_ENDINGS)
    for ending in endings:
        for image_ending in IMAGE_ENDINGS:
            for pack in packed:
                file = folder / f"{name}{ending}{image_ending}{pack}"
                if file.is_file():
                    return file
    return None
