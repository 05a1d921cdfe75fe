"""The command `skyduel detect`: write the catalogue of each frame."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from skyduel.cli.commands.options import (
    ENDINGS,
    Config,
    Ending,
    Everything,
    MaskBits,
    Most,
    OneDetector,
    Purity,
    Raw,
    Regions,
    Set,
    Threshold,
    mask_bits_from,
    one_detector,
    read_config,
)
from skyduel.cli.console import err, out, progress, warn
from skyduel.cli.frame_arguments import expand_frames
from skyduel.cli.frame_facts import (
    FirstOfItsKind,
    Fwhm,
    Gain,
    ZeroPoint,
    decision_lines,
    given_facts,
    hot_pixel_line,
    missing_lines,
)
from skyduel.cli.loading import loading
from skyduel.core import BadInputError
from skyduel.core.errors import printable

if TYPE_CHECKING:
    from skyduel.core.operating_point import RowChoice
    from skyduel.runner.execution.outcome import Outcome

__all__ = ["NAME", "command"]

NAME = "detect"


def command(
    frames: Annotated[
        list[str],
        typer.Argument(
            metavar="FRAME",
            help="FITS or ASDF images; frame.fits\\[SCI] selects an extension, \\[SCI,*] every "
            "chip, \\[SCI]\\[0] a plane of a cube.",
        ),
    ],
    with_: OneDetector = "neural",
    out_folder: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Folder for the catalogues, one per frame. For a single frame also a file; its "
            "suffix selects the format.",
        ),
    ] = "catalogs",
    format_: Ending = "ecsv",
    threshold: Threshold = None,
    purity: Purity = None,
    most: Most = None,
    everything: Everything = False,
    regions: Regions = False,
    samp: Annotated[
        bool,
        typer.Option("--samp", help="Send the catalogues to TOPCAT, DS9 or Aladin (SAMP)."),
    ] = False,
    plot: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            metavar="PATH",
            help="Draw the frame with what is written marked on it: a file that ends in .png, "
            ".svg or .pdf, or a folder, where each frame gets a .png.",
        ),
    ] = None,
    runtime: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            metavar="auto|torch|onnx|onnx-int8",
            help="What computes the network of neural: the same as --set neural.runtime=… "
            "Default: torch where it is installed, else onnx.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the facts of each frame and their sources.")
    ] = False,
    zero_point: ZeroPoint = None,
    fwhm: Fwhm = None,
    gain: Gain = None,
    mask_bits: MaskBits = None,
    raw: Raw = False,
    set_: Set = None,
    config: Config = None,
) -> None:
    """Detect sources and write one catalogue per frame, with the score of every source.

    The catalogue holds the sources at or above the detector's default operating point;
    --threshold, --purity, --max and --all choose others. Its metadata name the program, the
    detector, its settings and the threshold. Positions
    are 0-based; integers are pixel centres. SExtractor's formats and region files
    count from 1. RA and Dec are added if the frame has a WCS. A mask or weight map beside a frame
    is used. --plot draws each frame with its sources. If a frame fails, its error is reported, the
    other frames are finished, and the exit status is 2.
    """
    frames = expand_frames(frames)
    with loading():
        from skyduel.cli.frame_plots import PLOT_ENDINGS, FramePlots
        from skyduel.core import Catalog, Frame, entry_of
        from skyduel.core.io.table_writers import TABLE_ENDINGS
        from skyduel.core.measure.hot_pixels import RecurringPixels
        from skyduel.core.operating_point import RowChoice
        from skyduel.runner.detect_frame import detect_frame

    if format_ not in ENDINGS:
        raise BadInputError("--format", f"one of {', '.join(ENDINGS)}", repr(format_))
    choice = RowChoice(threshold=threshold, purity=purity, most=most, everything=everything)
    settings = read_config(config)
    bits = mask_bits_from(mask_bits)
    given = given_facts(zero_point=zero_point, fwhm=fwhm, gain=gain)
    if runtime is not None:
        set_ = [*(set_ or ()), f"{with_.partition('=')[0]}.runtime={runtime}"]
    with loading():
        spec = one_detector(settings, with_, set_, choice)
    targets = _targets("--out", frames, out_folder, f".{format_}", TABLE_ENDINGS)
    plots = FramePlots(
        {} if plot is None else _targets("--plot", frames, plot, PLOT_ENDINGS[0], PLOT_ENDINGS)
    )
    told = FirstOfItsKind()
    failures, undelivered, missing, done = 0, 0, Counter[str](), list[Path]()
    recurring = RecurringPixels()

    def look(plane: object, _: Catalog, written: Catalog) -> None:
        """Look for hot pixels, which one frame alone does not tell from cosmic rays."""
        plots.look(plane, written)
        if len(targets) == 1 or not isinstance(plane, Frame):
            return
        if "D" not in str(plane.header.get("CALSTAT", "")).upper():
            recurring.add(plane)

    with progress() as bar:
        task = bar.add_task(spec.name, total=len(targets), note="")
        for name, target in targets.items():
            entry = entry_of(name, mask_bits=bits, given=given, raw=raw)
            outcome = detect_frame(spec, entry, None, target, facts_file=False, choice=choice,
                                   observe=look)  # fmt: skip
            _print_facts(outcome, verbose, told)
            missing.update(_unmentioned(outcome.facts))
            if outcome.reason is None:
                done.append(target)
                if regions and target.suffix.lower() != ".reg":
                    from skyduel.core import read_catalog, write_regions

                    write_regions(read_catalog(target), target.with_suffix(".reg"))
                said = _counted(outcome.facts, choice, spec.name)
                drawn = plots.write(name, outcome.frame, said)
                where = str(target) if drawn is None else f"{target}  {drawn}"
                out.print(f"{where}  {said}", markup=False, highlight=False, soft_wrap=True)
            else:
                failures += 1
                warn(outcome.reason, style="red")
            bar.update(task, advance=1)
    if samp and done:
        from skyduel.cli.commands.send.samp import send

        for delivery in send([str(target) for target in done]):
            undelivered += bool(delivery.error)
            out.print(printable(str(delivery)), markup=False, highlight=False, soft_wrap=True)
    for line in told.rest():
        warn(line)
    for line in missing_lines(missing, len(targets) - failures):
        warn(line)
    hot, looked_at = recurring.count()
    if hot:
        warn(hot_pixel_line(hot, looked_at))
    if failures or undelivered:
        raise typer.Exit(2)


def _targets(
    option: str, frames: list[str], place: str, ending: str, endings: Collection[str]
) -> dict[str, Path]:
    """Return the file of each frame: a path, or in a folder one with the given ending.

    Raises
    ------
    BadInputError
        If a file has another ending than one of `endings` or is to hold several frames, or two
        frames have one name.
    """
    from skyduel.core import frame_name, safe_name

    path = Path(place)
    is_folder = path.is_dir() or place.endswith(("/", os.sep)) or not path.suffix
    if is_folder:
        targets = {f: path / f"{safe_name(frame_name(f))}{ending}" for f in frames}
    elif path.suffix.lower() not in endings:
        raise BadInputError(
            option,
            f"a file that ends in {', '.join(endings)}, or a folder ({place}/ makes one)",
            f"the ending {path.suffix!r}",
        )
    elif len(frames) > 1:
        raise BadInputError(option, "a folder for several frames", f"a file {place}")
    else:
        targets = {frames[0]: path}
    taken: dict[Path, str] = {}
    for name, target in targets.items():
        if target in taken:
            raise BadInputError(
                name, "frames of different names", f"{taken[target]} also makes {target.name}"
            )
        taken[target] = name
    return targets


def _print_facts(outcome: Outcome, verbose: bool, told: FirstOfItsKind) -> None:
    """Print what was decided about a frame, once for all; with --verbose every fact of it."""
    said = (outcome.facts.get(key, ()) for key in ("notes", "set_aside"))
    lines = decision_lines(outcome.frame, *said)
    for line in lines if verbose else told.new(outcome.frame, lines):
        warn(line)
    if "detector_note" in outcome.facts:
        warn(outcome.facts["detector_note"])
    if verbose:
        for fact, words in outcome.facts.get("used", {}).items():
            err.print(f"{outcome.frame}: {fact}: {words}", markup=False, highlight=False,
                      soft_wrap=True)  # fmt: skip


def _unmentioned(facts: Mapping[str, Any]) -> list[str]:
    """Return the facts that a frame lacks and no line on a card that was set aside names."""
    said = " ".join(facts.get("set_aside", ()))
    return [name for name in facts.get("missing", ()) if f"{name} unknown" not in said]


def _counted(facts: Mapping[str, Any], choice: RowChoice, detector: str) -> str:
    """Say how many sources a catalogue has, and how many candidates were left out."""
    written, found, threshold = facts["n_written"], facts["n_found"], facts["thresh"]
    noun = "candidate" if choice.everything else "source"
    text = f"{written:,} {noun}{'' if written == 1 else 's'} of {detector}"
    if threshold is not None:
        text += f" (score ≥ {threshold:.4g}"
        text += f", expected purity {choice.purity:g})" if choice.purity is not None else ")"
        if choice.everything:
            text = f"{written:,} candidates of {detector} (sources: score ≥ {threshold:.4g})"
    if written < found:
        more = found - written
        text += f", {more:,} fainter candidate{'' if more == 1 else 's'} not written"
    return text
