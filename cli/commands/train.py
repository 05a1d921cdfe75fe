"""`skyduel train`: the neural detector, on simulated frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from skyduel.cli.console import out, progress

__all__ = ["NAME", "command"]

NAME = "train"


def command(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder of the training; a started one is continued.")
    ] = Path("training"),
    steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Optimiser steps in all. Default 6000."),
    ] = None,
    batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Frames a step. Default 8."),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="The same seed gives the same first steps. Default 1."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that simulate frames.")] = 1,
    frames: Annotated[
        str,
        typer.Option(
            help="Where the pixels of training frames are made: host, device, or auto (on a GPU "
            "there, else by the worker processes). The scenes are the same, the noise is not."
        ),
    ] = "auto",
    start: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--from",
            help="A weights file to begin with, instead of chance; a larger network is slimmed.",
        ),
    ] = None,
    learning_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, help="Highest learning rate. Default 0.002."),
    ] = None,
    warmup: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Steps of rising learning rate. Default 100."),
    ] = None,
    cooldown: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, max=1.0, help="Share of steps of falling rate. Default 0.3."),
    ] = None,
    tensorboard: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--tensorboard/--no-tensorboard",
            help="Write event files to --out/tensorboard. Default: if it is installed.",
        ),
    ] = None,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where the finished weights go. Default: weights.safetensors in --out."),
    ] = None,
) -> None:
    """Train on simulated frames that never repeat, and write calibrated weights.

    Checkpoints are written as it goes; the same command continues a training that
    was stopped, with nothing lost but the steps since the last checkpoint. A
    larger --steps extends a finished one, a smaller one lets the rate fall sooner.
    What is calibrated and written are the averaged weights with the lowest loss on
    validation frames that no step has seen. Weights are safetensors, never pickle.

    On several GPUs: torchrun --nproc-per-node N --no-python skyduel train ...
    """
    import torch

    from skyduel.core import BadInputError
    from skyduel.detect.calibration.fit_calibration import finish
    from skyduel.detect.training import tensorboard_log as board
    from skyduel.detect.training.distributed import talks
    from skyduel.detect.training.train import BEST, Progress, TrainingSettings, train

    if device not in ("auto", "cpu", "cuda"):
        raise BadInputError("--device", "auto, cpu or cuda", repr(device))
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device", "a CUDA device, or cpu", "none available")
    if frames not in ("auto", "host", "device"):
        raise BadInputError("--frames", "auto, host or device", repr(frames))
    chosen = "cuda" if torch.cuda.is_available() and device != "cpu" else "cpu"
    given: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "cooldown": cooldown,
    }
    given = {k: v for k, v in given.items() if v is not None}
    if frames == "auto":
        frames = "device" if chosen == "cuda" else "host"
    places = {"device": chosen, "frames": frames, "workers": workers}
    settings = TrainingSettings.model_validate({**places, **given})
    if tensorboard is None:
        tensorboard = board.available()
    elif tensorboard:
        board.require()
    if not talks():
        train(settings, out_folder, None, start)
        return
    with progress() as bar:
        task = bar.add_task("train", total=settings.steps, note="")

        def show(step: Progress) -> None:
            parts = [f"{k} {v:.3f}" for k, v in step.losses.items() if k in ("point", "kind")]
            if step.validation is not None:
                bar.console.print(f"step {step.step}: validation {step.validation:.4f}")
            bar.update(task, completed=step.step, note="  ".join(parts))

        train(settings, out_folder, show, start, tensorboard)
        target = weights or out_folder / "weights.safetensors"
        task = bar.add_task("calibrate", total=None, note="")
        finish(out_folder / BEST, target)
        bar.update(task, total=1, completed=1)
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)
