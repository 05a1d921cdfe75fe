"""The detector ``file``: reads catalogues that another program made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from skyduel.core.catalog import Catalog
from skyduel.core.detector import DetectorInfo
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import safe_name
from skyduel.core.io.frames import frame_name
from skyduel.core.io.tables import read_catalog
from skyduel.core.settings import Settings, build_settings, nearest

__all__ = ["CatalogFiles", "FileSettings", "catalog_files"]

_COMPRESSED: Final = (".gz", ".bz2", ".xz")


class FileSettings(Settings):
    """Settings of the detector ``file``.

    Parameters
    ----------
    folder : Path
        One catalogue per frame, named like the frame, in any format that
        `skyduel.core.io.tables.read_catalog` reads.
    name : str
        The detector's name in tables and figures.
    columns : dict of str to str, optional
        Schema name to the files' column, where `read_catalog` would not guess it.
    score_threshold : float or None
        The default operating point; None: every row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    name: Annotated[str, Field(min_length=1)] = "file"
    columns: dict[str, str] | None = None
    score_threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class CatalogFiles:
    """Read the catalogue with the name of the frame from a folder.

    Parameters
    ----------
    settings : FileSettings
        The folder, the detector's name and its operating point.
    """

    settings: FileSettings

    @property
    def name(self) -> str:
        """Name shown in tables and figures."""
        return self.settings.name

    @property
    def info(self) -> DetectorInfo:
        """States that a large image is handed in whole, without its pixels."""
        return DetectorInfo(needs_pixels=False)

    def __call__(self, frame: Frame) -> Catalog:
        """Return the catalogue of one frame.

        A file belongs to a frame if its name without the ending is the
        frame's name, with or without the image's own ending, or the frame's
        name as a run folder writes it (`skyduel.core.io.atomic_files.safe_name`).

        Raises
        ------
        BadInputError
            If there is no such file, more than one, or it cannot be read.
        """
        folder = self.settings.folder
        files = sorted(path for path in folder.iterdir() if path.is_file())
        wanted = {frame.name, frame_name(frame.name), safe_name(frame.name)}
        matching = [path for path in files if wanted & _stems(path)]
        if len(matching) == 1:
            return read_catalog(matching[0], columns=self.settings.columns, frame=frame)
        if matching:
            got = "several: " + ", ".join(path.name for path in matching)
        else:
            close = nearest(frame.name, [path.name for path in files])
            got = f"none among {len(files)} files" + (f"; the nearest is {close}" if close else "")
        raise BadInputError(str(folder), f"one catalogue for frame {frame.name!r}", got)


def catalog_files(**settings: Any) -> CatalogFiles:
    """Return the detector ``file``, which reads catalogues that another program made.

    Parameters
    ----------
    **settings
        Fields of `FileSettings`; ``folder`` is required.

    Raises
    ------
    BadInputError
        For an unknown setting, or a folder that is missing or is a file.
    """
    chosen = build_settings(FileSettings, "detector file", settings)
    if not chosen.folder.is_dir():
        got = "a file" if chosen.folder.exists() else "no such folder"
        raise BadInputError(str(chosen.folder), "a folder of catalogues", got)
    return CatalogFiles(chosen)


def _stems(path: Path) -> set[str]:
    """Return the frame names that a file may belong to: its name without endings."""
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    return {path.stem, frame_name(path.stem)}
