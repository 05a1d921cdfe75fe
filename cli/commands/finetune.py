"""The command `skyduel finetune`: adapt the neural detector to one telescope."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Optional

import typer

from skyduel.cli.commands.options import MaskBits, with_mask_bits
from skyduel.cli.console import err, out, progress
from skyduel.cli.frame_arguments import check_files

if TYPE_CHECKING:
    from skyduel.core import Detector
    from skyduel.detect.training.adapt import Finetuned, FinetuneSettings

__all__ = ["NAME", "command"]

NAME = "finetune"


class _Task(NamedTuple):
    """What fine-tuning of one of the networks needs."""

    start: Path
    settings: FinetuneSettings
    finetune: Callable[..., Finetuned]
    #: With the initial weights.
    detector: Detector


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
    network: Annotated[
        str,
        typer.Option(
            help="skyduel, or jia2020: the network of Jia, Liu & Sun (2020), with labelled "
            "frames; its scores are not calibrated."
        ),
    ] = "skyduel",
    start: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            "--from",
            help="Initial weights file, or shipped weights: small or full, for jia2020 mended or "
            "faithful. Default: full; for jia2020 mended.",
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
        typer.Option(min=1, help="Crops per step. Default 6; 2 for jia2020."),
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
        typer.Option(
            min=0.0,
            help="Learning rate of the pyramid and the heads. Default 0.0003; 0.0002 for jia2020.",
        ),
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
    the result with --set neural.weights=FILE, or jia2020.weights=FILE.
    """
    from skyduel.core.errors import BadInputError

    if network not in ("skyduel", "jia2020"):
        raise BadInputError("--network", "skyduel or jia2020", repr(network))
    if network == "jia2020" and unlabelled:
        raise BadInputError("--unlabelled", "--network skyduel", "--network jia2020")
    check_files(dataset)
    from skyduel.core import open_dataset
    from skyduel.core.io.atomic_files import require_writable
    from skyduel.detect.training.labelled_frames import labelled, self_labelled

    given: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "replay": replay,
        "backbone": backbone,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    given = {k: v for k, v in given.items() if v is not None}
    task = _published(start, given) if network == "jia2020" else _own(start, given)
    require_writable(target)
    entries = with_mask_bits(open_dataset(dataset), mask_bits).entries
    frames = []
    for entry in entries:
        frame = entry.read()
        if unlabelled:
            frames.append(self_labelled(frame, task.detector(frame)))
        elif entry.truth is None:
            raise BadInputError(
                entry.name,
                "a truth table" if network == "jia2020" else "a truth table, or --unlabelled",
                "a frame without labels",
            )
        else:
            frames.append(labelled(frame, entry.read_truth()))
    with progress() as bar:
        line = bar.add_task("finetune", total=task.settings.steps, note="")

        def show(step: int, values: dict[str, float]) -> None:
            if "held out" in values:
                bar.console.print(f"step {step}: held out {values['held out']:.4f}")
            bar.update(line, completed=step)

        result = task.finetune(task.start, frames, target, task.settings, show)
    err.print(
        f"{result.steps} steps, best step {result.best_step}; loss on held-out frames "
        f"{result.before:.4f} -> {result.after:.4f}, on simulated frames "
        f"{result.replay_before:.4f} -> {result.replay_after:.4f}",
        highlight=False,
    )
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)


def _own(start: Path | None, given: dict[str, Any]) -> _Task:
    """Return the task for the suite's own network."""
    from skyduel.detect.model.weights_file import weights_path

    begin = weights_path(start)
    check_files(begin)
    from skyduel.core.settings import build_settings
    from skyduel.detect import neural
    from skyduel.detect.finetune import FinetuneSettings, finetune

    settings = build_settings(FinetuneSettings, "finetune", given)
    return _Task(begin, settings, finetune, neural(weights=begin))


def _published(start: Path | None, given: dict[str, Any]) -> _Task:
    """Return the task for the network of Jia, Liu & Sun (2020)."""
    from skyduel.core.errors import BadInputError
    from skyduel.core.extras import require_one_of
    from skyduel.detect.model.weights_file import SHIPPED_NAMES
    from skyduel.detect.published.detector import jia2020, shipped_weights

    begin = start or Path("mended")
    if not begin.is_file():
        name = str(begin)
        if name in ("mended", "faithful"):
            begin = shipped_weights("faithful" if name == "faithful" else "mended")
        elif name in SHIPPED_NAMES:
            raise BadInputError(
                "--from", "weights of jia2020: a file, mended or faithful", f"{name}, of skyduel"
            )
    check_files(begin)
    require_one_of("--network jia2020", ["torchvision"])
    from skyduel.detect.published.finetune import finetune_published, published_finetune_settings
    from skyduel.detect.published.weights import read_weights

    faults = read_weights(begin).network.faults
    settings = published_finetune_settings(faults, **given)
    return _Task(begin, settings, finetune_published, jia2020(weights=begin))
