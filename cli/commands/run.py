"""The command `skyduel run`: run and score detectors, and write the report."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from skyduel.cli.commands.options import (
    Bins,
    Columns,
    Config,
    Ignore,
    IgnoreSuspects,
    MaskBits,
    Objective,
    Pairing,
    PerGroup,
    RadiusPx,
    Raw,
    Set,
    Trials,
    TuningSeed,
    With,
    Workers,
    detector_specs,
    print_listing,
    read_config,
    rules_from,
    suspects_of,
    tuning_from,
    with_ignore,
    with_mask_bits,
    with_raw,
)
from skyduel.cli.console import err, out, progress, progress_callback, warn, wide_out
from skyduel.cli.frame_arguments import check_files
from skyduel.core import BadInputError

__all__ = ["NAME", "command"]

NAME = "run"


def command(
    dataset: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(
            metavar="DATASET",
            help="Folder of frames (FITS, also .gz .bz2 .xz .fz; ASDF) with truth tables of the "
            "same name, or a manifest table with columns frame, truth, split, group. "
            "Default: the built-in set of 24 simulated frames.",
        ),
    ] = None,
    with_: With = None,
    set_: Set = None,
    out_folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Run folder. Default: runs/NAME-OF-THE-DATASET."),
    ] = None,
    radius_px: RadiusPx = None,
    pairing: Pairing = None,
    bins: Bins = None,
    columns: Columns = None,
    mask_bits: MaskBits = None,
    ignore: Ignore = None,
    raw: Raw = False,
    config: Config = None,
    workers: Workers = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Also run every detector as NAME-tuned, with settings chosen on the calibration "
            "split, or by cross-fitting on the two halves of the data set.",
        ),
    ] = False,
    trials: Trials = None,
    objective: Objective = None,
    per_group: PerGroup = False,
    tuning_seed: TuningSeed = None,
    section_px: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Read and search larger frames in sections of this side length in px, so that a "
            "large image needs little memory. Default 4096."
        ),
    ] = None,
    scheduler: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="ADDRESS",
            help="Run on the workers of this Dask cluster, which must see the same files: "
            "tcp://HOST:PORT or a scheduler file. Needs the extra dask.",
        ),
    ] = None,
    frame_timeout: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0.001,
            metavar="SECONDS",
            help="Time limit per frame and detector; a frame above it fails. Default: no limit.",
        ),
    ] = None,
    ignore_suspects: IgnoreSuspects = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Complete the interrupted run in --out, and fail if there is none. Without this "
            "option an interrupted run is also completed.",
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Replace an earlier run in --out instead of completing it."),
    ] = False,
) -> None:
    """Run every detector on every frame, score them, and write the report.

    The default detectors are neural, sep and sep-matched; with --tune also sep-cleaned
    and daofind. The same command completes an interrupted run. If a frame
    fails, its error is recorded, the other frames are finished, and the exit status is 2.
    """
    if dataset is not None:
        check_files(dataset)
    from skyduel.runner.execution.worker_start import RUN_MODULES, start_server

    began = time.monotonic()
    if scheduler is None:
        # It loads its modules while this process loads its own.
        simulated = () if dataset else ("skyduel.runner.builtin_dataset",)
        start_server((*RUN_MODULES, *simulated))
    from skyduel.core import Sectioning, open_dataset
    from skyduel.core.io.column_names import parse_columns
    from skyduel.run_folder.layout import RunPaths
    from skyduel.runner.builtin_dataset import BUILTIN_SEED, builtin_of_run
    from skyduel.runner.detector_specs import DEFAULT_DETECTORS, TUNED_DETECTORS
    from skyduel.runner.execution.process_pool import spare_process, untimed_workers
    from skyduel.runner.run import RunPlan, run

    settings = read_config(config)
    folder = out_folder or Path("runs") / (dataset.resolve().name if dataset else "builtin")
    rules = rules_from(settings, radius_px=radius_px, bins=bins, pairing=pairing)
    tuning = None
    if tune:
        tuning = tuning_from(
            settings, trials=trials, objective=objective, per_group=per_group, seed=tuning_seed
        )
    elif trials or objective or per_group or tuning_seed is not None:
        raise BadInputError(
            "run", "--tune with the tuning options", "tuning options without --tune"
        )
    specs = detector_specs(settings, with_, set_, TUNED_DETECTORS if tune else DEFAULT_DETECTORS)
    if resume and fresh:
        raise BadInputError("run", "--resume or --fresh", "both")
    if resume and not RunPaths(folder).record.is_file():
        raise BadInputError(str(folder), "an interrupted run to resume", "no run.json in it")
    if fresh and dataset is None and RunPaths(folder).record.is_file():
        # The frames of an earlier version may differ.
        shutil.rmtree(RunPaths(folder).data, ignore_errors=True)
    untimed = workers or settings.get("workers") or untimed_workers()
    with progress() as bar:
        on_progress = progress_callback(bar)
        frames = open_dataset(dataset) if dataset else builtin_of_run(folder, on_progress, untimed)
        if dataset is not None:
            print_listing(frames)
        frames = with_ignore(with_mask_bits(frames, mask_bits), ignore)
        frames = with_raw(frames, raw)
        if columns is not None:
            parse_columns(columns)
            entries = tuple(replace(entry, columns=columns) for entry in frames)
            frames = replace(frames, entries=entries)
        suspects = None if ignore_suspects is None else suspects_of(ignore_suspects, frames)
        plan = RunPlan(
            suspects=suspects,
            dataset=frames,
            specs=specs,
            rules=rules,
            folder=folder,
            fresh=fresh,
            resume=resume,
            frame_timeout_s=frame_timeout,
            workers=workers or settings.get("workers") or 1,
            truth_workers=untimed,
            command="skyduel " + " ".join(sys.argv[1:]),
            seeds={"dataset": None if dataset else BUILTIN_SEED},
            tuning=tuning,
            scheduler=scheduler,
            sectioning=Sectioning() if section_px is None else Sectioning(section_px),
        )
        record = run(plan, on_progress)
        on_progress("report", "", 1)
        from skyduel.cli.terminal_summary import run_summary
        from skyduel.reports import write_report
        from skyduel.run_folder import load_run

        finished = load_run(folder)
        with spare_process() as pool:
            page = write_report(finished, pool=pool)
        on_progress("report", "page", 1)
    wide_out().print(run_summary(finished))
    for detector in record.detectors:
        for problem in (detector.settings or {}).get("not_reproduced", ()):
            warn(f"{detector.name} does not reproduce a setting of its file: {problem}")
    for line in record.warnings:
        warn(line)
    n_suspects = len(finished.analysis("suspects"))
    if n_suspects:
        line = (
            f"{n_suspects:,} suspect{'' if n_suspects == 1 else 's'} in the truth, for a look: "
            f"{finished.paths.analysis('suspects', '.csv')} and the page"
        )
        err.print(f"skyduel: {line}", markup=False, highlight=False, soft_wrap=True)
    for failure in record.failures:
        who = f" ({failure.detector})" if failure.detector else ""
        warn(f"failed: {failure.frame}{who}: {failure.reason}", style="red")
    out.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)
    err.print(f"done in {time.monotonic() - began:.0f} s", markup=False, highlight=False)
    if record.failures:
        raise typer.Exit(2)
