"""The command `skyduel calibrate`: subtract bias and dark, divide by the flat."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from skyduel.cli.commands.options import MaskBits, mask_bits_from
from skyduel.cli.console import err, out, progress
from skyduel.cli.frame_arguments import check_files, expand_frames
from skyduel.core import BadInputError

__all__ = ["NAME", "command"]

NAME = "calibrate"


def command(
    frames: Annotated[list[str], typer.Argument(metavar="FRAME", help="FITS or ASDF images.")],
    out_folder: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Folder for the calibrated frames. For a single frame also a file.",
        ),
    ],
    bias: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            metavar="PATH",
            help="Bias exposures or a master: an image, a folder or a pattern. Repeat the option "
            "for several. Default: the folder bias beside the frame.",
        ),
    ] = None,
    dark: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATH", help="Dark exposures or a master, in the same way."),
    ] = None,
    flat: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATH", help="Flat exposures or a master, in the same way."),
    ] = None,
    mask_bits: MaskBits = None,
) -> None:
    """Subtract bias and dark from raw frames, divide by the flat, and mask the dark's hot pixels.

    Exposures of a kind are combined to a master: of five or more the mean without outliers, of
    fewer the median. With a bias, the dark is scaled by the exposure time. The pixel unit and the
    gain stay; the frames are written as float32 with the mask in the file. A data set with such
    folders or manifest columns needs no calibrated copy: every command calibrates its frames when
    it reads them.
    """
    check_files(*frames)
    from skyduel.core import entry_of, frame_name, safe_name, write_frame
    from skyduel.core.io.calibration.files import CalibrationFiles, files_named
    from skyduel.core.io.images.image_reader import NOTES_KEY

    named = CalibrationFiles(
        bias=files_named(bias or (), "--bias"),
        dark=files_named(dark or (), "--dark"),
        flat=files_named(flat or (), "--flat"),
    )
    bits = mask_bits_from(mask_bits)
    listed, place = expand_frames(frames), Path(out_folder)
    is_folder = place.is_dir() or out_folder.endswith(("/", os.sep)) or not place.suffix
    if len(listed) > 1 and not is_folder:
        raise BadInputError("--out", "a folder for several frames", f"a file {place}")
    targets: dict[Path, str] = {}
    for path in listed:
        target = place / f"{safe_name(frame_name(path))}.fits" if is_folder else place
        if target in targets:
            raise BadInputError(path, "frames of different names", f"{targets[target]} as well")
        if target.resolve() == Path(path).resolve():
            raise BadInputError("--out", "another file than the frame", str(target))
        targets[target] = path
    with progress() as bar:
        task = bar.add_task("calibrate", total=len(targets), note="")
        for target, path in targets.items():
            entry = entry_of(path, mask_bits=bits)
            files = named.or_else(entry.calibration)
            if not files:
                wanted = "--bias, --dark or --flat, or a folder of that name beside the frame"
                raise BadInputError(path, wanted, "none")
            # A colour mosaic is left as it is: balancing is for detection.
            frame = replace(entry, calibration=files).read(balance=False)
            for line in frame.header.get(NOTES_KEY, ()):
                err.print(f"skyduel: {line}", markup=False, highlight=False, soft_wrap=True)
            write_frame(frame, target)
            out.print(f"{target}", markup=False, highlight=False, soft_wrap=True)
            bar.update(task, advance=1)
