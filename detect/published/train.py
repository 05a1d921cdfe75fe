"""Train the published network on the simulated frames of the suite's own network."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.settings import build_settings
from skyduel.detect.published.crops import BoxedCrops, collate
from skyduel.detect.published.form import FAITHFUL, MENDED, Faults, FormName
from skyduel.detect.published.network import PublishedNetwork
from skyduel.detect.published.weights import save_weights
from skyduel.detect.training.checkpoint import (
    read_average,
    resume,
    save_average,
    save_checkpoint,
    trim_log,
    validated,
)
from skyduel.detect.training.crops import TRAINING_STREAM, VALIDATION_STREAM, loader
from skyduel.detect.training.train import BEST, CHECKPOINT, Progress, optimise, update_average

__all__ = [
    "PublishedTraining",
    "batch_losses",
    "export_weights",
    "mean_loss",
    "train_published",
    "training_settings",
]


class PublishedTraining(BaseModel):
    """Settings of a training of the published network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    done = 0
    if (folder / CHECKPOINT).exists():
        done, s = resume(folder / CHECKPOINT, s, _MAY_CHANGE, network, optimiser, average)
    best = validated(folder / BEST, done)
    trim_log(folder / "log.jsonl", done)
    with atomic_path(folder / "training.json") as temporary:
        temporary.write_text(s.model_dump_json(indent=2) + "\n")
    crops = BoxedCrops(s.seed, TRAINING_STREAM, s.crop_px, s.steps * s.batch, s.faults)
    order = range(done * s.batch, s.steps * s.batch)
    batches = loader(crops, s.batch, order, s.workers, collate)
    network.train()
    with (folder / "log.jsonl").open("a") as log:
        for now, batch in zip(range(done + 1, s.steps + 1), batches, strict=True):
            began = time.perf_counter()
            # The samples of anchors and regions depend on the step alone.
            torch.manual_seed(s.seed * 1_000_003 + now)
            losses, norm = _step(network, optimiser, batch, s, now)
            update_average(average, network, min(s.averaging, now / (9 + now)))
            score = None
            if now % s.validate_every == 0 or now == s.steps:
                held = BoxedCrops(
                    s.seed, VALIDATION_STREAM, s.crop_px, s.validation_crops, s.faults
                )
                score = mean_loss(network, average, (held[i] for i in range(len(held))), s.bf16)
            progress = Progress(now, s.steps, losses, time.perf_counter() - began, score)
            record = {"step": now, "norm": norm, "seconds": progress.seconds, **losses}
            if score is not None:
                record["validation"] = score
                if score < best:
                    best = score
                    save_average(folder / BEST, now, s, average, score)
            log.write(json.dumps(record) + "\n")
            if now % s.checkpoint_every == 0 or now == s.steps:
                log.flush()
                save_checkpoint(folder / CHECKPOINT, now, s, network, optimiser, average)
            if on_step is not None:
                on_step(progress)
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


def _step(
    network: PublishedNetwork,
    optimiser: torch.optim.Optimizer,
    batch: dict[str, Any],
    s: PublishedTraining,
    now: int,
) -> tuple[dict[str, float], float]:
    """Take one optimiser step; return the losses and the norm of the gradient."""
    losses = batch_losses(network, batch, s.bf16)
    loss = torch.stack(list(losses.values())).sum()
    norm = optimise(network, optimiser, loss, rate(now, s), s.clip)
    return {k: float(v.detach()) for k, v in losses.items()}, norm


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
