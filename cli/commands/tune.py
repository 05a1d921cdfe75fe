"""The command `skyduel tune`: choose the settings of every detector by equally many trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from skyduel.cli.commands.options import (
    Bins,
    Config,
    Ignore,
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
    tuning_from,
    with_ignore,
    with_mask_bits,
    with_raw,
)
from skyduel.cli.console import err, out, progress, progress_callback, wide_out
from skyduel.cli.frame_arguments import check_files
from skyduel.core import BadInputError

if TYPE_CHECKING:
    from skyduel.runner.detector_specs import DetectorSpec
    from skyduel.runner.tune import Part, Tuned

__all__ = ["NAME", "as_toml", "command"]

NAME = "tune"

#: Trials shown per detector, besides the default settings.
_SHOWN: Final = 5


def command(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Frames with truth, as for `skyduel run`. Its calibration split is used, or all "
            "frames if there is none.",
        ),
    ],
    with_: With = None,
    set_: Set = None,
    out_file: Annotated[
        Path, typer.Option("--out", help="TOML file to write, for `skyduel run --config`.")
    ] = Path("tuned.toml"),
    trials: Trials = None,
    objective: Objective = None,
    per_group: PerGroup = False,
    tuning_seed: TuningSeed = None,
    radius_px: RadiusPx = None,
    pairing: Pairing = None,
    bins: Bins = None,
    mask_bits: MaskBits = None,
    ignore: Ignore = None,
    raw: Raw = False,
    config: Config = None,
    workers: Workers = None,
) -> None:
    """Choose the settings of every detector with the same number of trials.

    Writes --out, a table of all trials beside it (.csv and .parquet), and a folder
    with the outcomes of the trials (.trials). From that folder the same command resumes
    an interrupted search, and chooses again for another --objective without running detectors.
    """
    check_files(dataset)
    import pandas as pd

    from skyduel.core import atomic_path, open_dataset
    from skyduel.core.io.dataset_listing import require_truth
    from skyduel.core.io.safe_csv import without_formulas
    from skyduel.runner.detector_specs import TUNED_DETECTORS
    from skyduel.runner.tune import tune

    settings = read_config(config)
    rules = rules_from(settings, radius_px=radius_px, bins=bins, pairing=pairing)
    tuning = tuning_from(
        settings, trials=trials, objective=objective, per_group=per_group, seed=tuning_seed
    )
    specs = detector_specs(settings, with_, set_, TUNED_DETECTORS)
    frames = with_ignore(with_mask_bits(open_dataset(dataset), mask_bits), ignore)
    frames = with_raw(frames, raw)
    require_truth(frames)
    print_listing(frames)
    if out_file.suffix != ".toml":
        raise BadInputError("--out", "a name ending in .toml", repr(str(out_file)))
    with progress() as bar:
        tuned = tune(
            frames.entries,
            specs,
            tuning,
            rules,
            out_file.with_suffix(".trials"),
            crossfit=False,
            workers=workers or settings.get("workers") or 1,
            progress=progress_callback(bar),
        )
    table = pd.concat([one.table() for one in tuned], ignore_index=True)
    with atomic_path(out_file.with_suffix(".parquet")) as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_path(out_file.with_suffix(".csv")) as temporary:
        without_formulas(table).to_csv(temporary, index=False, float_format="%.6g")
    calibration = frames.of_split("calibration")
    said = (
        f"Chosen by `skyduel tune` for {tuning.objective}, {tuning.trials} trials, on "
        + (
            f"the {len(calibration)} calibration frames"
            if calibration
            else f"all {len(frames)} frames"
        )
        + f" of {frames.name}."
    )
    with atomic_path(out_file) as temporary:
        temporary.write_text(as_toml(tuned, said), encoding="utf-8")
    _show(tuned, tuning.objective)
    if not calibration:
        note = "no calibration split: scores on these same frames would be optimistic"
        err.print(note, style="yellow", markup=False, soft_wrap=True)
    for one in tuned:
        for frame, trial, reason in one.failures:
            which = "" if trial is None else f" trial {trial}"
            line = f"failed: {one.spec.name}{which} on {frame}: {reason}"
            err.print(line, style="red", markup=False, soft_wrap=True)
    out.print(f"settings: {out_file}", markup=False, highlight=False, soft_wrap=True)
    if all(part.trial is None for one in tuned for part in one.parts):
        raise BadInputError(frames.name, "a trial that finishes every frame", "none")


def as_toml(tuned: Sequence[Tuned], comment: str) -> str:
    """Return a TOML configuration with every detector before and after tuning.

    Parameters
    ----------
    tuned : sequence of Tuned
        Results of the search on all frames; each group gets a detector of its own.
    comment : str
        First line of the file.
    """
    from skyduel.core.settings import toml_value

    specs: list[DetectorSpec] = []
    for one in tuned:
        specs.append(one.spec)
        for part in one.parts:
            if one.space and part.trial is not None:
                specs.append(_tuned(one, part))
    lines = [f"# {comment}", f"detectors = {toml_value([spec.name for spec in specs])}"]
    for spec in specs:
        lines += [
            "",
            f"[detector.{toml_value(spec.name)}]",
            f"use = {toml_value(spec.use)}",
        ]
        for key, value in spec.settings.items():
            if value is not None:  # TOML has no null; a missing key means None
                lines.append(f"{key} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def _tuned(one: Tuned, part: Part) -> DetectorSpec:
    from skyduel.runner.detector_specs import DetectorSpec

    base = one.spec
    name = f"{base.name}-tuned" + (f"-{part.group}" if part.group else "")
    return DetectorSpec(name=name, use=base.use, settings={**base.settings, **one.settings(part)})


def _show(tuned: Sequence[Tuned], objective: str) -> None:
    console = wide_out()
    for one in tuned:
        if not one.space:
            text = f"{one.spec.name}: has no tunable settings, so its settings are kept"
            console.print(text, markup=False, soft_wrap=True)
            continue
        for part in one.parts:
            group = f", {part.group}" if part.group else ""
            table = Table(title=f"{one.spec.name}{group}", title_justify="left")
            for column in ("trial", objective, "threshold", "completeness", "purity", "F1"):
                table.add_column(column, justify="right", no_wrap=True)
            table.add_column("settings", overflow="fold")
            order = sorted(
                (k for k, goal in enumerate(part.goals) if goal is not None),
                key=lambda k: part.goals[k].rank,  # type: ignore[union-attr]
                reverse=True,
            )
            for k in dict.fromkeys([*order[:_SHOWN], *([0] if part.goals[0] else [])]):
                goal = part.goals[k]
                if goal is None:
                    continue
                numbers = (goal.value, goal.threshold, goal.completeness, goal.purity, goal.f1)
                trial = one.trials[k]
                words = ", ".join(f"{key}={value}" for key, value in trial.items())
                table.add_row(str(k), *(_number(v) for v in numbers), words or "unchanged")
            console.print(table)


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
