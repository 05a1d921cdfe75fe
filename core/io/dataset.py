"""Data sets: frames with their truth, split and group."""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any, Final, Literal

from skyduel.core.catalog import Catalog
from skyduel.core.errors import PATH, BadInputError, require_each, require_fields, takes
from skyduel.core.frame import Frame, Plane
from skyduel.core.io import companions
from skyduel.core.io.atomic_files import atomic_path, existing_file
from skyduel.core.io.calibration.files import NO_FILES, CalibrationFiles, files_beside, files_in_row
from skyduel.core.io.column_names import parse_columns
from skyduel.core.io.frames import read_frame
from skyduel.core.io.images.frame_lists import expand_chips, names_chips
from skyduel.core.io.images.image_formats import (
    IMAGE_ENDINGS,
    frame_name,
    holds_image,
    is_image_name,
)
from skyduel.core.io.images.image_reader import split_brackets, without_brackets
from skyduel.core.io.tabular.manifest_rows import manifest_rows
from skyduel.core.preprocess.calibration import KINDS

__all__ = [
    "FRAME_FOLDERS",
    "MANIFEST_NAMES",
    "SPLITS",
    "Dataset",
    "Entry",
    "Split",
    "entry_of",
    "open_dataset",
    "parse_mask_bits",
    "write_manifest",
]

Split = Literal["test", "calibration"]
SPLITS: Final[tuple[Split, ...]] = ("test", "calibration")
#: Manifests looked for in a folder.
MANIFEST_NAMES: Final = ("manifest.csv", "manifest.ecsv")

#: Folders of frames in the folder of a data set.
FRAME_FOLDERS: Final = ("frames", "images", "data")
_COLUMNS: Final = ("name", "frame", "truth", "split", "group")
_OPTIONAL: Final = ("truth", "mask", "weight", "ignore")
_KINDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("name", "split", "group", "columns"), str), "mask_bits": Integral,
    **dict.fromkeys(("frame", *_OPTIONAL), PATH), "given": Mapping, "calibration": CalibrationFiles,
}  # fmt: skip
_KNOWN: Final = frozenset({*_COLUMNS, "mask", "weight", "mask_bits", "ignore", "columns", *KINDS})


@dataclass(frozen=True)
class Entry:
    """One frame of a data set.

    Parameters
    ----------
    name : str
        Unique in the set.
    frame : path
        For `core.read_frame`; an HDU may follow in brackets.
    truth : path, optional
        For `core.read_catalog`. Neither file is opened before it is read.
    split : str
        ``test`` (scored) or ``calibration`` (for choosing settings).
    group : str, optional
        Frames of one kind, scored together beside the whole.
    mask, weight : path, optional
        Images beside the frame's own, for `core.read_frame`.
    mask_bits : int, optional
        Which bits of the mask, or of that in the frame's own file, make a pixel unusable;
        None: any of a mask.
    ignore : path, optional
        Where neither truth nor detections count (`skyduel.core.areas.ignore_area`).
    columns : str
        Columns of the truth under other names, as ``ra=RAJ2000,mag=rmag``.
    given : mapping of str to float
        Facts of the frame that stand above those of its header, as for `core.read_frame`.
    calibration : CalibrationFiles
        Its bias, dark and flat exposures.
    raw : bool
        If True, the pixels are read as they are: neither calibrated nor, of a raw colour frame,
        balanced.

    Raises
    ------
    BadInputError
        If the name is empty, the split is neither, or the bits are negative.
    """

    name: str
    frame: Path
    truth: Path | None = None
    split: Split = "test"
    group: str | None = None
    mask: Path | None = None
    weight: Path | None = None
    mask_bits: int | None = None
    ignore: Path | None = None
    columns: str = ""
    given: Mapping[str, float] = field(default_factory=dict, hash=False)
    calibration: CalibrationFiles = NO_FILES
    raw: bool = False

    def __post_init__(self) -> None:
        require_fields(self, **_KINDS)
        if not self.name:
            raise BadInputError(str(self.frame), "a name for the frame", "an empty one")
        if self.split not in SPLITS:
            raise BadInputError(self.name, "split 'test' or 'calibration'", repr(self.split))
        if self.mask_bits is not None and self.mask_bits < 0:
            raise BadInputError(self.name, "mask_bits of 0 or more", str(self.mask_bits))
        if self.columns:
            parse_columns(self.columns, f"{self.name}: columns")
        object.__setattr__(self, "frame", Path(self.frame))
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of the frame and, where there are any, of its mask and weight map."""
        return tuple(p for p in (self.frame, self.mask, self.weight) if p is not None)

    @property
    def used_calibration(self) -> CalibrationFiles:
        """The calibration exposures that are applied: none of a frame read raw."""
        return NO_FILES if self.raw else self.calibration

    def read_truth(self, plane: Plane | None = None) -> Catalog:
        """Read the truth table.

        Parameters
        ----------
        plane : Frame or LargeImage, optional
            Places sky positions and gives the zero-point.

        Raises
        ------
        BadInputError
            If the data set names no truth for the frame, or it cannot be read.
        """
        if self.truth is None:
            raise BadInputError(self.name, "a truth catalogue", "none in the data set")
        columns = parse_columns(self.columns, self.name) if self.columns else None
        from skyduel.core.io.tables import read_catalog  # not loaded where there is no truth

        return read_catalog(self.truth, columns=columns, frame=plane)

    def read(self, **overrides: Any) -> Frame:
        """Read the frame with its mask and weight map.

        Parameters
        ----------
        **overrides
            Facts of the frame that replace those of its header, as for `core.read_frame`.

        Raises
        ------
        BadInputError
            As `core.read_frame`.
        """
        return read_frame(
            self.frame,
            mask=self.mask,
            mask_bits=self.mask_bits,
            weight=self.weight,
            calibration=self.used_calibration,
            **{"balance": not self.raw, **self.given, **overrides},
        )


@dataclass(frozen=True)
class Dataset:
    """Frames with their truth, sorted by name.

    Parameters
    ----------
    name : str
        The set's name.
    path : path
        Where it was opened.
    entries : iterable of Entry
        At least one; their names all differ.

    Raises
    ------
    BadInputError
        If there is no entry or two share a name.
    """

    name: str
    path: Path
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        require_fields(self, name=str, path=PATH, entries=Iterable)
        entries = tuple(self.entries)
        require_each("Dataset: entries", entries, Entry)
        entries = tuple(sorted(entries, key=lambda entry: entry.name))
        if not entries:
            raise BadInputError(str(self.path), "a data set with at least one frame", "none")
        for one, other in pairwise(entries):
            if one.name == other.name:
                raise BadInputError(
                    str(self.path),
                    "frames of different names",
                    f"{one.name!r} twice ({one.frame} and {other.frame})",
                )
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "path", Path(self.path))

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def of_split(self, split: Split) -> tuple[Entry, ...]:
        """Return the entries of one split, in order; there may be none."""
        return tuple(entry for entry in self.entries if entry.split == split)


@takes(path=PATH)
def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a data set: a folder, a manifest or one frame.

    Parameters
    ----------
    path : path
        One of

        - a folder with ``manifest.csv`` (or ``.ecsv``), or such a table by
          any name: columns ``frame`` and, all optional, ``name``, ``truth``,
          ``split``, ``group``, ``mask``, ``weight``, ``mask_bits`` (their
          sum, also as ``0x5``), ``ignore``, ``bias``, ``dark``, ``flat`` (a file, a folder of
          exposures or a pattern); paths relative to the manifest; an empty cell
          is none, an empty split ``test``;
        - a folder of frames, or with the frames in ``frames/`` or
          ``images/``. The truth of ``NAME.fits`` is a table ``NAME`` or
          ``NAME_truth`` beside it, or in a folder ``truth/`` or
          ``catalogs/`` inside or beside the frames' own; its mask is
          ``NAME_mask.fits`` or ``NAME.mask.fits`` (or ``flag``), its weight map
          ``NAME.weight.fits`` or ``NAME_weight.fits`` (or ``wht``), beside it, and so are
          ignore areas, ``NAME_ignore.reg`` or ``.fits``, or ``NAME.moc.fits``.
          Folders ``test/``
          and ``calibration/``, where there are any, are the splits; frames beside them
          belong to the test split. Calibration frames without a truth table are left out if
          there are test frames. Folders ``bias/``, ``dark/`` and ``flat/`` beside the frames
          hold their calibration exposures;
        - one image file, a set of one; ``chips.fits[SCI,*]`` is a set of all chips of that
          name, ``chips.fits[*]`` of all images of the sky in a file.

    Returns
    -------
    Dataset
        Sorted by name. Where no group is stated, it is the name without its
        number (``crowded_000``: ``crowded``), if two frames share it.

    Raises
    ------
    BadInputError
        If nothing is there, no frame is found, a manifest has no column
        ``frame`` or another than the known splits, or two names are alike.
    """
    place = Path(path)
    if place.is_dir():
        for name in MANIFEST_NAMES:
            if (place / name).is_file():
                return _from_manifest(place / name)
        entries = tuple(_with_groups(_from_folder(place)))
        if not entries:
            n = sum(1 for one in place.iterdir() if not one.name.startswith("."))
            got = f"none among its {n} files and folders" if n else "an empty folder"
            wanted = f"images ({', '.join(IMAGE_ENDINGS)}); `skyduel simulate` makes some"
            raise BadInputError(str(place), wanted, got)
        return Dataset(_folder_name(place), place, entries)
    if is_image_name(without_brackets(place)):
        entries = tuple(entry_of(one) for one in expand_chips(place))
        return Dataset(
            frame_name(without_brackets(place)) if names_chips(place) else entries[0].name,
            place,
            entries,
        )
    existing_file(place)
    return _from_manifest(place)


@takes(path=PATH, mask_bits=Integral, given=Mapping)
def entry_of(
    path: str | os.PathLike[str],
    *,
    mask_bits: int | None = None,
    given: Mapping[str, float] | None = None,
    raw: bool = False,
) -> Entry:
    """Make the entry of a lone frame, with the truth, mask and weight map found beside it.

    Every command that takes frames opens them by this, so that a mask counts everywhere.

    Parameters
    ----------
    path : path
        The frame, as for `core.read_frame`.
    mask_bits : int, optional
        As for `core.read_frame`.
    given : mapping of str to float, optional
        Facts that stand above the header's.
    raw : bool
        As for `Entry`.

    Returns
    -------
    Entry
        ``NAME_mask``, ``NAME_weight``, the truth and the folders of calibration exposures are
        looked for as in `open_dataset`.
    """
    file = Path(path)
    name = frame_name(file)
    # An image in brackets belongs to the frame's name, not to its companions'.
    alone, _ = split_brackets(file)
    place, bare = alone.parent, frame_name(alone)
    return Entry(
        name,
        file,
        companions.truth_of(name, place),
        mask=companions.mask_of(bare, place),
        weight=companions.weight_of(bare, place),
        mask_bits=mask_bits,
        ignore=companions.ignore_of(bare, place),
        given=dict(given or {}),
        calibration=files_beside(place),
        raw=raw,
    )


@takes(dataset=Dataset, path=PATH)
def write_manifest(dataset: Dataset, path: str | os.PathLike[str]) -> None:
    """Write a CSV manifest that `open_dataset` reads; paths relative to its folder."""
    folder = Path(path).parent.absolute()

    def relative(file: Path | None) -> str:
        return "" if file is None else Path(os.path.relpath(file.absolute(), folder)).as_posix()

    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        masked = any(len(e.images) > 1 or e.mask_bits is not None for e in dataset)
        more = [c for c in ("ignore", "columns") if any(getattr(e, c) for e in dataset)]
        names = (*_COLUMNS, *(("mask", "weight", "mask_bits") if masked else ()))
        writer.writerow((*names, *more))
        for e in dataset:
            row = [e.name, relative(e.frame), relative(e.truth), e.split, e.group or ""]
            bits = "" if e.mask_bits is None else str(e.mask_bits)
            row += [relative(e.mask), relative(e.weight), bits] if masked else []
            last = {"ignore": relative(e.ignore), "columns": e.columns}
            writer.writerow([*row, *(last[c] for c in more)])


# -- manifests -------------------------------------------------------------------------


def _from_manifest(manifest: Path) -> Dataset:
    """Return the data set that a manifest lists."""
    folder = manifest.parent
    rows = list(manifest_rows(manifest))
    columns = set(rows[0]) if rows else set()
    for column in sorted(columns - _KNOWN):
        # A table may say more of its frames; but a slip of the pen would change the set.
        meant = difflib.get_close_matches(column, _KNOWN - columns, n=1, cutoff=0.75)
        if meant:
            raise BadInputError(
                str(manifest), f"columns among {', '.join(sorted(_KNOWN))}, or others",
                f"{column!r}; did you mean {meant[0]}?",
            )  # fmt: skip
    if rows and "frame" not in columns:
        raise BadInputError(str(manifest), "a column 'frame'", f"columns {', '.join(rows[0])}")
    entries: list[Entry] = []
    for number, row in enumerate(rows, start=1):
        if not row["frame"]:
            raise BadInputError(str(manifest), "a frame in every row", f"none in row {number}")
        split = row.get("split", "").lower() or "test"
        if split not in SPLITS:
            raise BadInputError(
                str(manifest), "split 'test' or 'calibration'", f"{split!r} in row {number}"
            )
        place = _below(folder, row["frame"])
        entries.extend(
            Entry(
                name=_name_in_row(row.get("name", ""), place, frame),
                frame=Path(frame),
                truth=_below(folder, row["truth"]) if row.get("truth") else None,
                split="test" if split == "test" else "calibration",
                group=row.get("group") or None,
                mask=_below(folder, row["mask"]) if row.get("mask") else None,
                weight=_below(folder, row["weight"]) if row.get("weight") else None,
                ignore=_below(folder, row["ignore"]) if row.get("ignore") else None,
                mask_bits=parse_mask_bits(
                    row.get("mask_bits", ""), str(manifest), f" in row {number}"
                ),
                columns=row.get("columns", ""),
                calibration=files_in_row(row, folder, str(manifest)),
            )
            for frame in expand_chips(place)
        )
    if "group" not in columns:
        entries = list(_with_groups(entries))
    name = _folder_name(folder) if manifest.name in MANIFEST_NAMES else manifest.stem
    return Dataset(name, manifest, tuple(entries))


def _name_in_row(stated: str, place: Path, frame: str) -> str:
    """Return the name of a frame, of a chip with the chip in it."""
    name = frame_name(frame)
    if stated and names_chips(place):
        return stated + name.removeprefix(frame_name(without_brackets(place)))
    return stated or name


def parse_mask_bits(text: str, source: str, where: str = "") -> int | None:
    """Parse mask bits, a number such as ``5`` or ``0x5``; None of an empty text.

    Raises
    ------
    BadInputError
        If it is no whole number of 0 or more; ``where`` ends the message.
    """
    if not text:
        return None
    try:
        bits = int(text, 0)
    except ValueError:
        bits = -1
    if bits < 0:
        raise BadInputError(source, "mask_bits as a sum of powers of two", f"{text!r}{where}")
    return bits


def _below(folder: Path, path: str) -> Path:
    """Return a manifest's path, relative ones starting at its folder."""
    return Path(os.path.normpath(folder / path))


# -- folders ---------------------------------------------------------------------------


def _from_folder(folder: Path) -> list[Entry]:
    """Return the frames of a folder, by split where it has folders named so.

    Frames beside the folders of splits are those of the test split. Where there are test
    frames, calibration frames without a truth table are left out: no setting can be chosen
    on them, and a folder of that name often holds darks and flats.
    """
    inside = {
        split: [replace(entry, split=split) for entry in _frames_in(folder / split)]
        for split in SPLITS
    }
    test = [*_frames_in(folder), *inside["test"]]
    return [*test, *(e for e in inside["calibration"] if e.truth is not None or not test)]


def _frames_in(folder: Path) -> list[Entry]:
    """Return the frames that lie in a folder, or in its folder for frames."""
    for place in (folder, *(folder / name for name in FRAME_FOLDERS)):
        if not place.is_dir():
            continue
        files = [f for f in sorted(place.iterdir()) if f.is_file() and is_image_name(f)]
        names = {frame_name(file) for file in files}
        frames = [f for f in files if not companions.belongs_to_another(frame_name(f), names)]
        found = [entry_of(file) for file in frames if holds_image(file)]
        if found:
            return found
    return []


def _with_groups(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries with the group that at least two names share."""
    entries = list(entries)
    stems = [re.sub(r"[-_.]?\d+$", "", entry.name) for entry in entries]
    shared = Counter(stems)
    for entry, stem in zip(entries, stems, strict=True):
        numbered = stem and stem != entry.name and shared[stem] > 1
        yield replace(entry, group=stem) if numbered else entry


def _folder_name(folder: Path) -> str:
    """Return a folder's own name, also for ``.``."""
    return folder.absolute().name or "data"
