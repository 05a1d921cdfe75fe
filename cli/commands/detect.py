"""`skyduel detect`: frames to catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skyduel.cli.commands.options import Config, Set, contestants_from, read_config
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
        typer.Argument(metavar="FRAME", help="FITS images; frame.fits\\[SCI] names an extension."),
    ],
    with_: Annotated[
        str, typer.Option("--with", metavar="NAME", help="neural, sep, sep-matched, a plug-in's …")
    ] = "neural",
    out_folder: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the catalogues, one a frame; or, for one frame, a file whose ending "
            "names the format.",
        ),
    ] = Path("catalogs"),
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"One of {', '.join(_ENDINGS)}: cat is SExtractor's text, ldac its FITS, json "
            "COCO's, reg DS9's regions.",
        ),
    ] = "ecsv",
    regions: Annotated[bool, typer.Option(help="Write DS9 regions beside each table.")] = False,
    set_: Set = None,
    config: Config = None,
) -> None:
    """Write one catalogue per frame: everything above the detector's floor, with its score.

    Positions are 0-based with the integer at the pixel's centre (from 1 in
    SExtractor's formats and in regions); RA and Dec are added where the frame
    has a WCS. A mask or weight map beside a frame under its name is used. A frame
    that fails is reported, the others are finished, and the exit status is 2.
    """
    if format_ not in _ENDINGS:
        raise BadInputError("--format", f"one of {', '.join(_ENDINGS)}", repr(format_))
    settings = read_config(config)
    (contestant,) = contestants_from(settings, [with_], set_, ())
    for lack in _reservations(contestant):
        err.print(f"skyduel: {contestant.name} cannot do as its file says: {lack}",
                  markup=False, highlight=False, style="yellow", soft_wrap=True)  # fmt: skip
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
        task = bar.add_task(contestant.name, total=len(targets), note="")
        for name, target in targets.items():
            entry = entry_of(name)
            outcome = detect_frame(contestant, entry, None, target, facts_file=False)
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


def _reservations(contestant: DetectorSpec) -> tuple[str, ...]:
    """Return what a detector does not reproduce of the configuration file its settings name."""
    if "config" not in contestant.settings:
        return ()
    return detector_info(build(contestant)).not_reproduced
