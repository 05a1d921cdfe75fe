"""The command `skyduel finetune`: adapt the neural detector to one telescope."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from skyduel.cli.commands.options import MaskBits, check_files, with_mask_bits
from skyduel.cli.console import err, out, progress

__all__ = ["NAME", "command"]

NAME = "finetune"


def command(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Frames of one telescope, with truth tables as for `skyduel run`.",
        ),
    ],
    target: Annotated[Path, typer.Option("--out", help="Weights file to write.")] = Path(
        "finetuned.safetensors"
    ),
    start: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            "--from",
            help="Initial weights file, or small or full: shipped weights. Default: full.",
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Ignore truth tables. Inject sources with each frame's own PSF, and label the "
            "confident detections of the initial weights as sources.",
        ),
    ] = False,
    steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Largest number of optimiser steps. Default 300."),
    ] = None,
    batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Crops per step. Default 6."),
    ] = None,
    replay: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, max=0.99, help="Fraction of simulated crops. Default 0.34."),
    ] = None,
    backbone: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            max=1,
            help="Factor of the learning rate for the backbone; 0 freezes it. Default 0.1.",
        ),
    ] = None,
    learning_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, help="Learning rate of the pyramid and the heads. Default 0.0003."),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="The same seed gives the same crops. Default 1."),
    ] = None,
    mask_bits: MaskBits = None,
) -> None:
    """Adapt the neural detector to a telescope with a few of its frames.

    A quarter of the frames is held out (the last third of a single frame). The averaged weights
    with the lowest loss on the held-out frames are written. If no loss is
    lower than that of the initial weights, the initial weights are written. Use
    the result with --set neural.weights=FILE.
    """
    check_files(dataset)
    from skyduel.detect.model.weights_file import weights_path

    begin = weights_path(start)
    check_files(begin)
    from skyduel.core import BadInputError, open_dataset
    from skyduel.detect import neural
    from skyduel.detect.finetune import FinetuneSettings, finetune, labelled, self_labelled

    given: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "replay": replay,
        "backbone": backbone,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    settings = FinetuneSettings(**{k: v for k, v in given.items() if v is not None})
    entries = with_mask_bits(open_dataset(dataset), mask_bits).entries
    detector = neural(weights=begin)
    frames = []
    for entry in entries:
        frame = entry.read()
        if unlabelled:
            frames.append(self_labelled(frame, detector(frame)))
        elif entry.truth is None:
            raise BadInputError(
                entry.name, "a truth table, or --unlabelled", "a frame without labels"
            )
        else:
            frames.append(labelled(frame, entry.read_truth()))
    with progress() as bar:
        task = bar.add_task("finetune", total=settings.steps, note="")

        def show(step: int, values: dict[str, float]) -> None:
            if "held out" in values:
                bar.console.print(f"step {step}: held out {values['held out']:.4f}")
            bar.update(task, completed=step)

        result = finetune(begin, frames, target, settings, show)
    err.print(
        f"{result.steps} steps, best step {result.best_step}; loss on held-out frames "
        f"{result.before:.4f} -> {result.after:.4f}, on simulated frames "
        f"{result.replay_before:.4f} -> {result.replay_after:.4f}",
        highlight=False,
    )
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)
