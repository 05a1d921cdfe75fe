"""List the files of a data set's folder: what each is used for, or why it is not used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skyduel.core.errors import BadInputError
from skyduel.core.io.companions import TABLES, TRUTH_FOLDERS, belongs_to_another
from skyduel.core.io.dataset import FRAME_FOLDERS, SPLITS, Dataset, Entry
from skyduel.core.io.images.image_formats import (
    COMPRESSION_ENDINGS,
    frame_name,
    holds_image,
    is_image_name,
    open_image,
)
from skyduel.core.io.images.image_reader import without_brackets
from skyduel.core.preprocess.calibration import KINDS

__all__ = ["ListedFile", "list_files", "require_truth", "summarize_files"]

_MOST_NAMED: Final = 6
#: Frames that are opened to see whether they hold a mask; each takes some milliseconds.
_MOST_OPENED: Final = 1000
_MASK: Final = "mask"
_MANIFEST: Final = "manifest"
#: Bytes of packed files that are unpacked for that.
_MOST_UNPACKED: Final = 32_000_000
#: Endings of files that would have to be unpacked as a whole.
_PACKED: Final = tuple(ending for ending in COMPRESSION_ENDINGS if ending != ".fz")


@dataclass(frozen=True)
class ListedFile:
    """One file or folder of a data set's folder.

    Parameters
    ----------
    path : Path
        Relative to the folder of the data set.
    use : str
        ``test frame``, ``calibration frame``, ``truth table``, ``mask``, ``weight map``,
        ``ignore area``, ``bias exposure``, ``dark exposure``, ``flat exposure`` or ``manifest``;
        several with commas, as ``test frame, mask`` where the manifest names an extension of the
        frame's own file; empty if it is not used.
    reason : str
        Why it is not used; empty if it is.
    """

    path: Path
    use: str
    reason: str = ""


def list_files(dataset: Dataset) -> tuple[ListedFile, ...]:
    """Return the files of a data set's folder with their uses, sorted by path.

    Parameters
    ----------
    dataset : Dataset
        As `core.open_dataset` returns it. A set of one file has nothing to list.

    Returns
    -------
    tuple of ListedFile
        Files outside the folder, which a manifest may name, are left out. A folder that is
        not searched is one entry. Hidden files are left out.
    """
    uses = _uses(dataset)
    if dataset.path.is_dir():
        folder, manifest = dataset.path, False
    elif uses.get(_absolute(dataset.path)) == [_MANIFEST]:
        folder, manifest = dataset.path.parent, True
    else:
        return ()
    folder = _absolute(folder)
    searched = {folder}
    for file in uses:
        searched.update(p for p in file.parents if p.is_relative_to(folder))
    if not manifest:
        places = (folder, *(folder / split for split in SPLITS))
        names = (*FRAME_FOLDERS, *TRUTH_FOLDERS)
        searched.update(p / name for p in places for name in names if (p / name).is_dir())
        searched.update(place for place in places if place.is_dir())
    frames = {frame_name(e.frame) for e in dataset}
    listed = []
    for place in sorted(searched):
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path in searched:
                continue
            use = ", ".join(uses.get(path, ()))
            reason = "" if use else _reason(path, frames, manifest=manifest)
            listed.append(ListedFile(path.relative_to(folder), use, reason))
    return tuple(sorted(listed, key=lambda one: one.path))


def summarize_files(dataset: Dataset, listed: Sequence[ListedFile]) -> str:
    """Return one line with what the frames use, and the files that are not used.

    What lies outside the folder counts too, and so do masks in the frames' own files; of a file
    that is packed as a whole (gzip, bzip2, xz) only as long as all that are unpacked for it have
    at most 32 MB, and of the files after the first thousand none. The number is then a least one.
    """
    opened = _opened(dataset.entries[:_MOST_OPENED])
    used = {_MASK: sum(map(_holds_mask, opened))}
    least = "at least " if used[_MASK] and len(opened) < len(dataset.entries) else ""
    for use, images in _images(dataset).items():
        used[use] = used.get(use, 0) + len(images)
    counts = [
        f"{least if use == _MASK else ''}{n} {use}{'' if n == 1 else 's'}"
        for use, n in used.items()
        if n
    ]
    unused = [one for one in listed if not one.use]
    line = f"{dataset.name}: {', '.join(sorted(counts))}"
    if not unused:
        return line
    named = [f"{one.path} ({one.reason})" for one in unused[:_MOST_NAMED]]
    more = f" and {len(unused) - _MOST_NAMED} more" if len(unused) > _MOST_NAMED else ""
    return f"{line}; not used: {', '.join(named)}{more}"


def _images(dataset: Dataset) -> dict[str, set[Path]]:
    """Return the images and tables of each use, an HDU in brackets."""
    used: dict[str, set[Path]] = {}
    for entry in dataset:
        named = [(f"{entry.split} frame", entry.frame), ("truth table", entry.truth),
                 (_MASK, entry.mask), ("weight map", entry.weight),
                 ("ignore area", entry.ignore)]  # fmt: skip
        named += [
            (f"{kind} exposure", path) for kind in KINDS for path in entry.calibration.of(kind)
        ]
        for use, path in named:
            if path is not None:
                used.setdefault(use, set()).add(_absolute(path))
    return used


def _uses(dataset: Dataset) -> dict[Path, list[str]]:
    """Return what the files of a data set are used for, by absolute path."""
    if any(without_brackets(e.frame) == without_brackets(dataset.path) for e in dataset):
        return {}
    uses: dict[Path, list[str]] = {}
    for use, images in _images(dataset).items():
        for file in {without_brackets(image) for image in images}:
            uses.setdefault(file, []).append(use)
    if dataset.path.is_file():
        uses[_absolute(dataset.path)] = [_MANIFEST]
    return uses


def _opened(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries whose frames may be opened: of the packed ones those of 32 MB in all."""
    kept, size = [], 0
    for entry in entries:
        file = without_brackets(entry.frame)
        if file.name.lower().endswith(_PACKED):
            size += file.stat().st_size if file.is_file() else 0
            if size > _MOST_UNPACKED:
                continue
        kept.append(entry)
    return tuple(kept)


def _holds_mask(entry: Entry) -> bool:
    """Return True if the mask that is read is that of the frame's own file, unnamed."""
    if entry.mask is not None:
        return False
    try:
        with closing(open_image(entry.frame, whole=False)) as image:
            mask = image.own_mask(entry.mask_bits)
            if mask is not None:
                mask.close()
            return mask is not None
    except BadInputError:  # whoever reads the frame reports it
        return False


def _reason(path: Path, frames: set[str], *, manifest: bool) -> str:
    """Return why a file or folder is not used."""
    if path.is_dir():
        return "a folder that is not searched"
    if manifest:
        return "not in the manifest"
    table = next((end for end in TABLES if path.name.lower().endswith(end)), None)
    if is_image_name(path):
        name = frame_name(path)
        if belongs_to_another(name, frames) or name in frames:
            return "another file is used in its place"
        if not holds_image(path):
            return "a table of no frame"
        if path.parent.name == "calibration" or path.parent.parent.name == "calibration":
            return "a calibration frame without a truth table"
        return "frames are taken from another folder"
    if table is None:
        return "neither an image nor a table"
    name = path.name[: -len(table)]
    if name in frames or belongs_to_another(name, frames):
        return "another truth table is used"
    return "no frame has this name"


def _absolute(path: Path) -> Path:
    """Return an absolute path without ``..``, links kept."""
    return Path(os.path.abspath(path))


def require_truth(dataset: Dataset) -> None:
    """Refuse a data set none of whose frames has a truth table.

    Raises
    ------
    BadInputError
        With the name looked for, and the commands that need no truth.
    """
    if not any(entry.truth is not None for entry in dataset):
        name = frame_name(dataset.entries[0].frame)
        raise BadInputError(
            str(dataset.path),
            f"a truth table beside a frame, as {name}.ecsv (no truth: `skyduel detect`, "
            "`skyduel inject` or `skyduel truth-free`)",
            "none",
        )
