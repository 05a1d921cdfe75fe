"""The command `skyduel inject`: inject artificial sources into real frames."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.table import Table

from skyduel.cli.commands.options import (
    Config,
    Cutout,
    MaskBits,
    Raw,
    Set,
    With,
    detector_specs,
    mask_bits_from,
    read_config,
)
from skyduel.cli.console import err, out, progress, wide_out
from skyduel.cli.frame_arguments import check_files, expand_frames
from skyduel.cli.frame_facts import decision_lines
from skyduel.cli.whole_tables import WholeTable
from skyduel.core import BadInputError

__all__ = ["NAME", "command"]

NAME = "inject"


def command(
    frames: Annotated[list[str], typer.Argument(metavar="FRAME", help="FITS or ASDF images.")],
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder for frames, truth and manifest.")
    ],
    number: Annotated[int, typer.Option(min=0, help="Point sources per frame.")] = 100,
    snr: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            metavar="LO:HI",
            help="Range of the ideal S/N of points and galaxies, log-uniform. Default 2:50.",
        ),
    ] = None,
    mag: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="LO:HI", help="Range of the (total) magnitude, uniform; instead of --snr."
        ),
    ] = None,
    streaks: Annotated[int, typer.Option(min=0, help="Streaks per frame.")] = 0,
    galaxies: Annotated[
        int, typer.Option(min=0, help="Galaxies per frame, with Sérsic profiles.")
    ] = 0,
    size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="LO:HI",
            help="Half-light radius of galaxies along the major axis in px, log-uniform. "
            "Default 1:8.",
        ),
    ] = None,
    axis_ratio: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="LO:HI", help="Axis ratio of galaxies, uniform. Default 0.2:1."),
    ] = None,
    sersic: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="N,...", help="Sérsic indices of galaxies, each as often. Default 1,4."
        ),
    ] = None,
    psf: Annotated[
        str,
        typer.Option(
            help="PSF: auto (measured from the frame's stars), moffat:FWHM,BETA or gaussian:FWHM "
            "in px, or a FITS image (with OVERSAMP in its header)."
        ),
    ] = "auto",
    copies: Annotated[
        int, typer.Option(min=1, help="Number of injected frames per input frame.")
    ] = 1,
    separation: Annotated[
        float,
        typer.Option(min=0, help="Least distance between injected sources in units of the FWHM."),
    ] = 8.0,
    avoid: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            help="Least distance in px from the detections on the original frame. "
            "Default: 2 FWHM, at least 4 px; 0 allows every position.",
        ),
    ] = None,
    gain: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Gain in electrons per ADU, if the header lacks it or is wrong."),
    ] = None,
    saturation: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Saturation level in ADU, if the header lacks it or is wrong."),
    ] = None,
    zero_point: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Zero point: magnitude of 1 ADU, if the header lacks it or is wrong."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same frames.")] = 1,
    cutout: Cutout = None,
    mask_bits: MaskBits = None,
    raw: Raw = False,
    with_: With = None,
    set_: Set = None,
    config: Config = None,
) -> None:
    """Inject sources into real frames, with the frame's own PSF and noise, for `skyduel run`.

    The truth lists the injected sources. It also lists, as ignored, every detection of
    the named detectors on the original frame, so that real sources do not count as
    false. Name the detectors that will run (default: neural, sep and sep-matched). The run then
    measures completeness. Its purity counts only false detections caused by the injection;
    `skyduel truth-free` estimates those from noise.
    """
    check_files(*frames)
    from skyduel.cli.galaxy_tables import injected_table
    from skyduel.core import build_settings
    from skyduel.runner.detector_specs import DEFAULT_DETECTORS
    from skyduel.runner.inject import InjectedFrame, InjectionPlan, inject_frames
    from skyduel.simulation import InjectionSettings

    if out_folder.exists() and (not out_folder.is_dir() or any(out_folder.iterdir())):
        raise BadInputError("--out", "a new or empty folder", str(out_folder))
    if snr is not None and mag is not None:
        raise BadInputError("--mag", "either --snr or --mag", "both")
    settings = read_config(config)
    frames = expand_frames(frames)
    given: dict[str, Any] = {"number": number, "streaks": streaks, "separation": separation}
    given |= {"avoid": avoid, "galaxies": galaxies}
    shapes = {"--size": size, "--axis-ratio": axis_ratio, "--sersic": sersic}
    for option, text in shapes.items():
        if text is not None and not galaxies:
            raise BadInputError(option, "--galaxies with it", "no galaxies")
        if text is not None:
            limits = _indices(text) if option == "--sersic" else _limits(option, text)
            given[option.removeprefix("--").replace("-", "_")] = limits
    if mag is not None:
        given |= {"snr": None, "mag": _limits("--mag", mag)}
    elif snr is not None:
        given |= {"snr": _limits("--snr", snr)}
    facts = {"gain": gain, "saturation": saturation, "zero_point": zero_point}
    plan = InjectionPlan(
        frames=frames,
        folder=out_folder,
        specs=detector_specs(settings, with_, set_, DEFAULT_DETECTORS),
        settings=build_settings(InjectionSettings, "injection", given),
        copies=copies,
        psf=psf,
        seed=seed,
        facts={k: v for k, v in facts.items() if v is not None},
        cutout=cutout,
        mask_bits=mask_bits_from(mask_bits),
        raw=raw,
    )
    done: list[InjectedFrame] = []
    with progress() as bar:
        task = bar.add_task("inject", total=len(frames), note="")

        def show(result: InjectedFrame) -> None:
            done.append(result)
            bar.update(task, advance=1)

        inject_frames(plan, show)
    wide_out().print(WholeTable(_table(done)))
    for result in done:
        if len(result.galaxies):
            wide_out().print(injected_table(result.galaxies, result.name))
    for result in done:
        for line in decision_lines(result.name, result.facts.notes, result.facts.set_aside):
            _note(line)
        placed = result.points + result.streaks + len(result.galaxies)
        if placed < result.wanted:
            _note(f"{result.name}: placed {placed} of {result.wanted} sources, no space for more")
        if result.gain is None:
            _note(f"{result.name}: gain unknown, so injected light has no photon noise; see --gain")
    out.print(str(out_folder / "manifest.csv"), markup=False, highlight=False, soft_wrap=True)


def _table(done: list[Any]) -> Table:
    """Return the table of injected sources per frame, with the quality of the PSF."""
    table = Table(
        title="injected sources",
        title_justify="left",
        caption="misfit: rms of stars minus PSF without the noise, divided by the rms of the stars",
        caption_justify="left",
    )
    for name in (
        "frame",
        "PSF",
        "FWHM px",
        "stars",
        "misfit",
        "present",
        "points",
        "streaks",
        "galaxies",
    )[: None if any(len(r.galaxies) for r in done) else -1]:
        table.add_column(name, justify="left" if name in ("frame", "PSF") else "right")
    for r in done:
        misfit = "–" if math.isnan(r.psf.misfit) else f"{100 * r.psf.misfit:.1f} %"
        cells = (
            f"{r.psf.psf.fwhm:.2f}",
            r.psf.n_stars or "–",
            misfit,
            r.there,
            r.points,
            r.streaks,
            len(r.galaxies),
        )
        shown = [str(c) for c in cells][: len(table.columns) - 2]
        table.add_row(r.name, r.psf.model, *shown)
    return table


def _limits(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise BadInputError(option, "LO:HI, two numbers", repr(text)) from error
    return low, high


def _indices(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInputError("--sersic", "N or N,N,..., numbers", repr(text)) from error


def _note(line: str) -> None:
    err.print(f"skyduel: {line}", markup=False, highlight=False, soft_wrap=True)
