"""The frames in a watched folder, without masks, weight maps and unfinished files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from skyduel.core import BadInputError, frame_name
from skyduel.core.io.atomic_files import is_temporary
from skyduel.core.io.companions import mask_of, owner_of, weight_of
from skyduel.core.io.images.image_formats import is_image_name
from skyduel.runner.detect_frame import fingerprint
from skyduel.runner.watch.backlog import Seen

__all__ = ["Listing", "frames_of", "list_frames", "look_at"]


class _Everything:
    """A container of every name: a companion is one by its own name alone."""

    def __contains__(self, name: object) -> bool:
        return True


def look_at(file: Path, *, with_companions: bool = True) -> Seen | None:
    """Look at the file of a frame.

    Parameters
    ----------
    file : Path
        The file.
    with_companions : bool
        Whether a mask and a weight map beside it are looked for.

    Returns
    -------
    Seen or None
        None if the file is gone.
    """
    name = frame_name(file)
    beside = [mask_of(name, file.parent), weight_of(name, file.parent)] if with_companions else []
    try:
        mtime = file.stat().st_mtime_ns
    except OSError:
        return None
    return Seen(file.name, fingerprint(file, *(p for p in beside if p is not None)), mtime)


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    Parameters
    ----------
    frames : list of Seen
        The frames.
    lone : dict
        Masks and weight maps without their frame: what was seen, and the frame's name.
    """

    frames: list[Seen]
    lone: dict[Seen, str]


def list_frames(folder: Path) -> Listing:
    """Look at every frame of a folder.

    Raises
    ------
    BadInputError
        If the folder cannot be read.
    """
    try:
        images = [p for p in folder.iterdir() if _is_image(p)]
    except OSError as error:
        raise BadInputError(str(folder), "a readable folder", error.strerror or "none") from error
    owners = {p: owner_of(frame_name(p), _Everything()) for p in images}
    names = {frame_name(p) for p, owner in owners.items() if owner is None}
    accompanied = set(owners.values())
    frames, lone = [], {}
    for path, owner in owners.items():
        seen = look_at(path, with_companions=owner is None and frame_name(path) in accompanied)
        if seen is None:
            continue
        if owner is None:
            frames.append(seen)
        elif owner not in names:
            lone[seen] = owner
    return Listing(frames, lone)


def frames_of(file: Path) -> list[Path]:
    """Return the frames that a changed file concerns: itself, or those that it belongs to."""
    if not _is_image(file):
        return []
    owner = owner_of(frame_name(file), _Everything())
    if owner is None:
        return [file]
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in file.parent.iterdir():
        if _is_image(path) and path.name.startswith(owner):
            by_name[frame_name(path)].append(path)
    return by_name[owner]


def _is_image(path: Path) -> bool:
    return is_image_name(path) and not is_temporary(path) and not path.is_dir()
