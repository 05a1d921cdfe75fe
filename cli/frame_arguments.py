"""Frames and files as arguments of commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from skyduel.cli.console import err
from skyduel.core.errors import BadInputError

__all__ = ["check_files", "expand_frames"]


def check_files(*paths: str | Path) -> None:
    """Refuse files none of which exists, before anything that takes seconds to import.

    Raises
    ------
    BadInputError
        With the first of them.
    """
    from skyduel.core.io.atomic_files import existing_file

    # Brackets name an image of a file; patterns, lists and addresses are read later.
    files = [re.sub(r"(.)\[[^\]]*\]$", r"\1", str(path)) for path in paths]
    if any(Path(file).exists() or re.search(r"[*?@]|://", file) for file in files):
        return
    for file in files:
        existing_file(file)


def expand_frames(paths: Sequence[str]) -> list[str]:
    """Return the frames that arguments name: one for each chip, without masks and weight maps.

    A mask, weight map or truth whose frame lies in the same folder, as a shell's pattern gives
    it, is no frame; neither is a table or a folder among images. Lines on stderr name those left
    out.

    Raises
    ------
    BadInputError
        If a folder stands for its frames, a file does not exist, or no frame is left.
    """
    check_files(*paths)
    from skyduel.core import frame_name
    from skyduel.core.io.companions import TABLES, belongs_to_another, image_names
    from skyduel.core.io.images.frame_lists import expand_chips
    from skyduel.core.io.images.image_formats import is_image_name
    from skyduel.core.io.images.image_reader import without_brackets

    expanded = [one for path in paths for one in expand_chips(path)]
    folders = [path for path in expanded if without_brackets(path).is_dir()]
    expanded = [path for path in expanded if path not in folders]
    images = any(is_image_name(without_brackets(path)) for path in expanded)
    if folders and not images:
        patterns = _patterns_of_images(without_brackets(folders[0]))
        raise BadInputError(
            folders[0], f"image files (for those of a folder: {patterns})", "a folder"
        )
    if folders:
        _say_left_out("folders are not searched", folders)
    beside: dict[Path, set[str]] = {}
    for path in expanded:
        file = without_brackets(path)
        if file.parent not in beside:
            beside[file.parent] = image_names(file.parent)
        beside[file.parent].add(frame_name(path))
    frames: list[str] = []
    others: list[str] = []
    for path in expanded:
        file = without_brackets(path)
        table = images and not is_image_name(file) and file.suffix.lower() in TABLES
        other = table or belongs_to_another(frame_name(path), beside[file.parent])
        (others if other else frames).append(path)
    if others:
        _say_left_out("not frames, but files of frames", others)
    if not frames:
        raise BadInputError("FRAME", "at least one image that is no mask or table", "none")
    return frames


def _say_left_out(why: str, paths: Sequence[str]) -> None:
    listed = ", ".join(Path(path).name for path in paths[:6])
    more = f" and {len(paths) - 6} more" if len(paths) > 6 else ""
    err.print(f"skyduel: {why}: {listed}{more}", markup=False, highlight=False, soft_wrap=True)


def _patterns_of_images(folder: Path) -> str:
    """Return a shell's patterns for the images of a folder, by the endings that are there."""
    from skyduel.core.io.images.image_formats import is_image_name

    endings = {file.suffix.lower() for file in folder.iterdir() if is_image_name(file)}
    if not endings or endings & {".fits", ".fz", ".gz", ".bz2", ".xz", ".z"}:
        endings = {".fits*"} | {ending for ending in endings if ending in (".fit", ".fts", ".asdf")}
    return " ".join(f"{folder}/*{ending}" for ending in sorted(endings))
