"""The command `skyduel train`: train the neural detector on simulated frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from skyduel.cli.console import out, progress

__all__ = ["NAME", "command"]

NAME = "train"


def command(
    out_folder: Annotated[
        Path,
        typer.Option("--out", help="Folder of the training; an interrupted training is resumed."),
    ] = Path("training"),
    steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, help="Total number of optimiser steps. Default 6000; 3000 for jia2020."
        ),
    ] = None,
    batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Frames per step. Default 8; for jia2020 2 (mended) or 1."),
    ] = None,
    network: Annotated[
        str,
        typer.Option(
            help="skyduel, or jia2020: the network of Jia, Liu & Sun (2020), trained on the CPU."
        ),
    ] = "skyduel",
    size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="full|small",
            help="Shape of the network; small has half the arithmetic. Default: full.",
        ),
    ] = None,
    form: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="faithful|mended",
            help="Form of jia2020: with all its published faults, or with none. Default: mended.",
        ),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="The same seed gives the same first steps. Default 1."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Number of processes that simulate frames.")
    ] = 1,
    frames: Annotated[
        str,
        typer.Option(
            help="Where the pixels of training frames are made: host (by the worker processes), "
            "device, or auto (device on a GPU, else host). The scenes are the same, the noise "
            "differs."
        ),
    ] = "auto",
    start: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--from",
            help="Initial weights file, or full or small: shipped weights. Default: random "
            "weights. A larger network is pruned.",
        ),
    ] = None,
    teacher: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Weights file of a network whose output is learned beside the truth "
            "(distillation), or full: shipped weights."
        ),
    ] = None,
    uses: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Number of steps for each new batch of frames; above 1 the further ones use "
            "earlier frames again. Default 1.",
        ),
    ] = None,
    learning_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, help="Highest learning rate. Default 0.002; 0.001 for jia2020."),
    ] = None,
    warmup: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Steps with rising learning rate. Default 100."),
    ] = None,
    cooldown: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0.0, max=1.0, help="Fraction of steps with falling learning rate. Default 0.3."
        ),
    ] = None,
    tensorboard: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--tensorboard/--no-tensorboard",
            help="Write TensorBoard logs to --out/tensorboard. Default: if it is installed.",
        ),
    ] = None,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File for the final weights. Default: weights.safetensors in --out."),
    ] = None,
) -> None:
    """Train the neural detector on simulated frames that never repeat, and calibrate it.

    The same command resumes an interrupted training from its last checkpoint. A
    larger --steps extends a finished training; with a smaller one the learning rate falls
    sooner. The averaged weights with the lowest loss on held-out validation frames are
    calibrated and written as safetensors, never as pickle.

    With --network jia2020 the published network is trained on the same frames; its scores
    are not calibrated.

    On several GPUs: torchrun --nproc-per-node N --no-python skyduel train ...
    """
    from skyduel.core.extras import require_one_of
    from skyduel.core.io.atomic_files import require_writable

    if network == "jia2020":
        # The extra that brings torchvision brings torch as well.
        require_one_of("--network jia2020", ["torchvision"])
    import torch

    from skyduel.core import BadInputError, build_settings
    from skyduel.detect.calibration.calibrated_weights import export_weights
    from skyduel.detect.model.network import REGIONS_ABOVE, SIZES
    from skyduel.detect.model.weights_file import weights_path
    from skyduel.detect.training import tensorboard_log
    from skyduel.detect.training.distributed import is_rank0
    from skyduel.detect.training.loop import BEST, Progress
    from skyduel.detect.training.train import TrainingSettings, train

    if network not in ("skyduel", "jia2020"):
        raise BadInputError("--network", "skyduel or jia2020", repr(network))
    if tensorboard is None:
        tensorboard = tensorboard_log.available()
    elif tensorboard:
        tensorboard_log.require()
    if network == "jia2020":
        # Options that only the suite's own network has, with their defaults.
        own = {
            "--device cuda": device == "cuda",
            "--frames device": frames == "device",
            "--from": start is not None,
            "--teacher": teacher is not None,
            "--uses": uses is not None,
            "--size": size is not None,
            "--cooldown": cooldown is not None,
        }
        given: dict[str, Any] = {
            "steps": steps,
            "batch": batch,
            "seed": seed,
            "learning_rate": learning_rate,
            "warmup": warmup,
            "workers": workers,
        }
        refused = [k for k, v in own.items() if v]
        _train_published(form, out_folder, weights, given, refused, tensorboard)
        return
    if form is not None:
        raise BadInputError("--form", "--network jia2020", f"--network {network}")
    if device not in ("auto", "cpu", "cuda"):
        raise BadInputError("--device", "auto, cpu or cuda", repr(device))
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device", "a CUDA device, or --device cpu", "no CUDA device")
    if frames not in ("auto", "host", "device"):
        raise BadInputError("--frames", "auto, host or device", repr(frames))
    chosen = "cuda" if torch.cuda.is_available() and device != "cpu" else "cpu"
    given = {
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "cooldown": cooldown,
        "uses": uses,
    }
    given = {k: v for k, v in given.items() if v is not None}
    if size not in (None, *SIZES):
        raise BadInputError("--size", " or ".join(SIZES), repr(size))
    if frames == "auto":
        frames = "device" if chosen == "cuda" else "host"
    places = {"device": chosen, "frames": frames, "workers": workers}
    shape = SIZES[size or "full"]
    settings = build_settings(TrainingSettings, "train", {**places, **given, "network": shape})
    start = None if start is None else weights_path(start)
    teacher = None if teacher is None else weights_path(teacher)
    if not is_rank0():
        train(settings, out_folder, None, start, teacher=teacher)
        return
    target = weights or out_folder / "weights.safetensors"
    require_writable(target)
    with progress() as bar:
        task = bar.add_task("train", total=settings.steps, note="")

        def show(step: Progress) -> None:
            parts = [f"{k} {v:.3f}" for k, v in step.losses.items() if k in ("point", "kind")]
            if step.validation is not None:
                bar.console.print(f"step {step.step}: validation {step.validation:.4f}")
            bar.update(task, completed=step.step, note="  ".join(parts))

        train(settings, out_folder, show, start, tensorboard, teacher)
        task = bar.add_task("calibrate", total=None, note="")
        export_weights(out_folder / BEST, target, regions_above=REGIONS_ABOVE.get(size or "full"))
        bar.update(task, total=1, completed=1)
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)


def _train_published(
    form: str | None,
    out_folder: Path,
    weights: Path | None,
    given: dict[str, Any],
    refused: list[str],
    tensorboard: bool,
) -> None:
    """Train the network of Jia, Liu & Sun (2020) and write its weights."""
    from skyduel.core import BadInputError
    from skyduel.core.io.atomic_files import require_writable

    if refused:
        raise BadInputError("--network jia2020", f"no {refused[0]}", refused[0])
    if form not in (None, "faithful", "mended"):
        raise BadInputError("--form", "faithful or mended", repr(form))
    from skyduel.detect.published.train import export_weights, train_published, training_settings
    from skyduel.detect.training.loop import Progress

    settings = training_settings(
        "faithful" if form == "faithful" else "mended",
        **{k: v for k, v in given.items() if v is not None},
    )
    target = weights or out_folder / "weights.safetensors"
    require_writable(target)
    with progress() as bar:
        task = bar.add_task("train", total=settings.steps, note="")

        def show(step: Progress) -> None:
            parts = [f"{k} {v:.3f}" for k, v in step.losses.items()]
            if step.validation is not None:
                bar.console.print(f"step {step.step}: validation {step.validation:.4f}")
            bar.update(task, completed=step.step, note="  ".join(parts))

        best = train_published(settings, out_folder, show, tensorboard)
    export_weights(best, target)
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)
