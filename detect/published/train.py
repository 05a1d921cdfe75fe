"""Train the published network on the simulated frames of the suite's own network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field
from torch import Tensor

from skyduel.core.settings import build_settings
from skyduel.detect.published.crops import BoxedCrops, collate
from skyduel.detect.published.form import FAITHFUL, MENDED, Faults, FormName
from skyduel.detect.published.network import PublishedNetwork
from skyduel.detect.published.weights import save_weights
from skyduel.detect.training.checkpoint import read_average, validated
from skyduel.detect.training.crops import TRAINING_STREAM, VALIDATION_STREAM, loader
from skyduel.detect.training.loop import BEST, LoopSettings, Progress, Steps, restore, run_steps

__all__ = [
    "PublishedTraining",
    "batch_losses",
    "export_weights",
    "mean_loss",
    "train_published",
    "training_settings",
]


class PublishedTraining(LoopSettings):
    """Settings of a training of the published network."""

    faults: Faults = MENDED
    steps: int = Field(3000, ge=1, description="optimiser steps")
    batch: int = Field(2, ge=1, description="frames a step")
    crop_px: int = Field(192, ge=64, description="side of a frame [px]")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate")
    warmup: int = Field(100, ge=1, description="steps of rising learning rate")
    weight_decay: float = Field(1e-4, ge=0, description="of Adam, as published")
    clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    averaging: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights")
    seed: int = Field(1, ge=0)
    workers: int = Field(0, ge=0, description="processes that make frames")
    bf16: bool = Field(True, description="bf16 in convolutions; boxes stay float32")
    checkpoint_every: int = Field(50, ge=1)
    validate_every: int = Field(250, ge=1)
    validation_crops: int = Field(32, ge=1)


#: Settings that a resumed training may change.
_MAY_CHANGE: Final = {
    "steps", "workers", "checkpoint_every", "validate_every", "validation_crops",
}  # fmt: skip


def training_settings(form: FormName, **given: Any) -> PublishedTraining:
    """Return the settings of a form's training; keyword arguments override its defaults.

    The published network saw one image of 500 px a step.

    Raises
    ------
    BadInputError
        For a setting that there is not, or a value that is not allowed.
    """
    own = {"faults": FAITHFUL, "batch": 1, "crop_px": 500}
    if form == "mended":
        own = {"faults": MENDED}
    return build_settings(PublishedTraining, "train", {**own, **given})


def train_published(
    settings: PublishedTraining,
    folder: Path,
    on_step: Callable[[Progress], None] | None = None,
    tensorboard: bool = False,
) -> Path:
    """Train the published network, or resume the training in the same folder.

    Parameters
    ----------
    settings : PublishedTraining
        Settings. A resumed training may change ``steps``, ``workers``, the intervals and the
        number of validation frames; all others must be the same.
    folder : Path
        Output folder, with the files of `skyduel.detect.training.train.train`.
    on_step : callable, optional
        Called after every step.
    tensorboard : bool
        If True, write ``tensorboard/`` in the folder.

    Returns
    -------
    Path
        The averaged weights of the lowest loss on validation frames.

    Raises
    ------
    BadInputError
        If the folder holds a training with other settings or a broken checkpoint.
    """
    s = settings
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(s.seed)
    network = PublishedNetwork(s.faults).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(
        [p for p in network.parameters() if p.requires_grad],
        lr=s.learning_rate,
        weight_decay=s.weight_decay,
    )
    state, s = restore(folder, s, _MAY_CHANGE, network, optimiser)
    crops = BoxedCrops(s.seed, TRAINING_STREAM, s.crop_px, s.steps * s.batch, s.faults)
    order = range(state.done * s.batch, s.steps * s.batch)
    held_out = BoxedCrops(s.seed, VALIDATION_STREAM, s.crop_px, s.validation_crops, s.faults)

    def losses(batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        # The samples of anchors and regions depend on the step alone.
        torch.manual_seed(s.seed * 1_000_003 + step)
        return batch_losses(network, batch, s.bf16)

    steps = Steps(
        losses=losses,
        total=lambda losses: torch.stack(list(losses.values())).sum(),
        rate=lambda step: rate(step, s),
        validate=lambda average: mean_loss(
            network, average, (held_out[i] for i in range(len(held_out))), s.bf16
        ),
    )
    batches = loader(crops, s.batch, order, s.workers, collate)
    run_steps(folder, s, state, batches, steps, on_step, tensorboard=tensorboard)
    return folder / BEST


def export_weights(best: Path, target: Path) -> None:
    """Write the averaged weights of a training as a weights file.

    Raises
    ------
    BadInputError
        If ``best`` is not such a file.
    """
    average, s, step = read_average(best, PublishedTraining)
    facts = {
        "steps": step,
        "frames": step * s.batch,
        "validation": validated(best, step),
        "training": s.model_dump(mode="json", exclude={"faults"}),
    }
    save_weights(target, average, s.faults, facts)


def rate(step: int, s: PublishedTraining) -> float:
    """Return the learning rate of a step, counted from 1: linear warm-up, then cosine to 0."""
    if step <= s.warmup:
        return s.learning_rate * step / s.warmup
    share = (step - s.warmup) / max(1, s.steps - s.warmup)
    return s.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def batch_losses(network: PublishedNetwork, batch: dict[str, Any], bf16: bool) -> dict[str, Tensor]:
    """Return the losses of a batch, in bf16 where that is exact enough, if asked for."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return network.losses(batch["image"], batch["targets"])


@torch.no_grad()
def mean_loss(
    network: PublishedNetwork,
    weights: Mapping[str, Tensor],
    crops: Iterable[dict[str, Tensor]],
    bf16: bool,
) -> float:
    """Return the mean over crops of the sum of the losses; the same at every call.

    Parameters
    ----------
    network : PublishedNetwork
        Computes the losses; its own weights do not change.
    weights : mapping of str to Tensor
        The weights that are judged.
    crops : iterable of dict
        Items as of `skyduel.detect.published.crops.boxed`.
    bf16 : bool
        As in training.
    """
    own = {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(weights)
    totals = []
    with torch.random.fork_rng():
        for index, crop in enumerate(crops):
            torch.manual_seed(index)
            losses = batch_losses(network, collate([crop]), bf16)
            totals.append(sum(float(v) for v in losses.values()))
    network.load_state_dict(own)
    return sum(totals) / len(totals)
