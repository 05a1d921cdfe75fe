"""Find the bias, dark and flat exposures that belong to a frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from skyduel.core.errors import BadInputError
from skyduel.core.io.images.image_formats import holds_image, is_image_name
from skyduel.core.io.images.image_reader import without_brackets
from skyduel.core.preprocess.calibration import KINDS, Kind

__all__ = [
    "CALIBRATION_FOLDERS",
    "NO_FILES",
    "CalibrationFiles",
    "files_beside",
    "files_in_row",
    "files_named",
]

#: Names of folders, in lower case, that hold calibration exposures beside frames.
CALIBRATION_FOLDERS: Final[dict[Kind, tuple[str, ...]]] = {
    "bias": ("bias", "biases"),
    "dark": ("dark", "darks"),
    "flat": ("flat", "flats"),
}


@dataclass(frozen=True)
class CalibrationFiles:
    """Calibration exposures of a frame: raw ones, or one master of a kind.

    Parameters
    ----------
    bias, dark, flat : tuple of Path
        Files of each kind; there may be none.
    """

    bias: tuple[Path, ...] = ()
    dark: tuple[Path, ...] = ()
    flat: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.bias or self.dark or self.flat)

    def of(self, kind: Kind) -> tuple[Path, ...]:
        """Return the files of a kind."""
        return {"bias": self.bias, "dark": self.dark, "flat": self.flat}[kind]

    @property
    def every(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for one in fields(self) for path in getattr(self, one.name))

    def or_else(self, other: CalibrationFiles) -> CalibrationFiles:
        """Return these files, of a kind without any those of another record."""
        return CalibrationFiles(**{kind: self.of(kind) or other.of(kind) for kind in KINDS})


NO_FILES: Final = CalibrationFiles()


def files_beside(folder: Path) -> CalibrationFiles:
    """Return the exposures in folders ``bias/``, ``dark/`` and ``flat/`` of a frame's folder.

    Parameters
    ----------
    folder : Path
        Of the frame. The folders' names count without regard to case, also in the plural.
    """
    try:
        inside = sorted(one for one in (folder or Path()).iterdir() if one.is_dir())
    except OSError:
        return NO_FILES
    found: dict[str, tuple[Path, ...]] = {}
    for kind, names in CALIBRATION_FOLDERS.items():
        places = [one for one in inside if one.name.lower() in names]
        found[kind] = tuple(path for place in places for path in _images(place))
    return CalibrationFiles(**found)


def files_named(paths: Iterable[str | os.PathLike[str]], source: str) -> tuple[Path, ...]:
    """Return the files of paths: images, folders of images, or patterns such as ``dark/*.fits``.

    Raises
    ------
    BadInputError
        If a path names nothing.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            files = _images(path)
        elif without_brackets(path).exists():
            files = [path]
        else:
            files = [p for p in sorted(path.parent.glob(path.name)) if is_image_name(p)]
        if not files:
            raise BadInputError(source, "an image, a folder of images or a pattern", f"{path}")
        found.extend(files)
    return tuple(found)


def files_in_row(row: Mapping[str, str], folder: Path, source: str) -> CalibrationFiles:
    """Return the exposures that a row of a manifest names, relative paths below a folder.

    Raises
    ------
    BadInputError
        If a cell names nothing.
    """
    return CalibrationFiles(
        **{
            kind: files_named([os.path.normpath(folder / row[kind])], source)
            for kind in KINDS
            if row.get(kind)
        }
    )


def _images(folder: Path) -> list[Path]:
    """Return the images of a folder, in order."""
    return [p for p in sorted(folder.iterdir()) if is_image_name(p) and holds_image(p)]
