"""The command `skyduel detect`: write the catalogue of each frame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skyduel.cli.commands.options import (
    Config,
    MaskBits,
    Set,
    detector_specs,
    expand_frames,
    mask_bits_from,
    read_config,
)
from skyduel.cli.console import err, out, progress
from skyduel.core import (
    TABLE_ENDINGS,
    BadInputError,
    detector_info,
    entry_of,
    frame_name,
    safe_name,
)
from skyduel.runner.detect_frame import detect_frame
from skyduel.runner.detector_specs import DetectorSpec, build

__all__ = ["NAME", "command"]

NAME = "detect"

_ENDINGS = ("ecsv", "fits", "vot", "csv", "parquet", "cat", "ldac", "json", "reg")


def command(
    frames: Annotated[
        list[str],
        typer.Argument(
            metavar="FRAME",
            help="FITS or ASDF images; frame.fits\\[SCI] selects an extension, \\[SCI,*] every "
            "chip, \\[SCI]\\[0] a plane of a cube.",
        ),
    ],
    with_: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="NAME",
            help="Detector: neural, sep, sep-matched, the name of a plug-in …",
        ),
    ] = "neural",
    out_folder: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the catalogues, one per frame. For a single frame also a file; its "
            "suffix selects the format.",
        ),
    ] = Path("catalogs"),
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"One of {', '.join(_ENDINGS)}: cat is SExtractor's ASCII_HEAD, ldac is "
            "FITS_LDAC, json is COCO, reg is a DS9 region file.",
        ),
    ] = "ecsv",
    regions: Annotated[
        bool, typer.Option(help="Also write a DS9 region file beside each table.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the facts of each frame and their sources.")
    ] = False,
    mask_bits: MaskBits = None,
    set_: Set = None,
    config: Config = None,
) -> None:
    """Detect sources and write one catalogue per frame, with the score of every detection.

    The catalogue holds every detection above the detector's lowest score. Positions
    are 0-based; integers are pixel centres. SExtractor's formats and region files
    count from 1. RA and Dec are added if the frame has a WCS. A mask or weight map beside a frame
    is used. If a frame fails, its error is reported, the other frames are finished, and
    the exit status is 2.
    """
    if format_ not in _ENDINGS:
        raise BadInputError("--format", f"one of {', '.join(_ENDINGS)}", repr(format_))
    settings = read_config(config)
    bits = mask_bits_from(mask_bits)
    (spec,) = detector_specs(settings, [with_], set_, ())
    for problem in _not_reproduced(spec):
        err.print(f"skyduel: {spec.name} does not reproduce a setting of its file: {problem}",
                  markup=False, highlight=False, style="yellow", soft_wrap=True)  # fmt: skip
    frames = expand_frames(frames)
    if out_folder.suffix.lower() in TABLE_ENDINGS and not out_folder.is_dir():
        if len(frames) > 1:
            raise BadInputError("--out", "a folder for several frames", f"a file {out_folder}")
        targets = {frames[0]: out_folder}
    else:
        targets = {f: out_folder / f"{safe_name(frame_name(f))}.{format_}" for f in frames}
    taken: dict[Path, str] = {}
    for name, target in targets.items():
        if target in taken:
            raise BadInputError(
                name, "frames of different names", f"{taken[target]} also makes {target.name}"
            )
        taken[target] = name
    failures = 0
    with progress() as bar:
        task = bar.add_task(spec.name, total=len(targets), note="")
        for name, target in targets.items():
            entry = entry_of(name, mask_bits=bits)
            outcome = detect_frame(spec, entry, None, target, facts_file=False)
            for note in outcome.facts.get("notes", ()):
                err.print(f"skyduel: {note}", markup=False, highlight=False, style="yellow",
                          soft_wrap=True)  # fmt: skip
            for line in outcome.facts.get("set_aside", ()):
                err.print(f"skyduel: {outcome.frame}: {line}", markup=False, highlight=False,
                          style="yellow", soft_wrap=True)  # fmt: skip
            if verbose:
                for fact, words in outcome.facts.get("used", {}).items():
                    err.print(f"{outcome.frame}: {fact}: {words}", markup=False, highlight=False,
                              soft_wrap=True)  # fmt: skip
            if outcome.reason is None:
                if regions and target.suffix.lower() != ".reg":
                    from skyduel.core import read_catalog, write_regions

                    write_regions(read_catalog(target), target.with_suffix(".reg"))
                line = f"{target}  {outcome.facts['n_found']} sources"
                out.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                failures += 1
                err.print(f"skyduel: {outcome.reason}", markup=False, highlight=False, style="red",
                          soft_wrap=True)  # fmt: skip
            bar.update(task, advance=1)
    if failures:
        raise typer.Exit(2)


def _not_reproduced(spec: DetectorSpec) -> tuple[str, ...]:
    """Return the settings of a SExtractor file that a detector does not reproduce."""
    if "config" not in spec.settings:
        return ()
    return detector_info(build(spec)).not_reproduced
