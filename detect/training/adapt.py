"""Adapt the weights of a network to the frames of one telescope: what all networks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.utils.data import Dataset

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, require_each
from skyduel.core.frame import Frame
from skyduel.core.settings import Settings
from skyduel.detect.training.labelled_frames import LabelledFrame, draw_crop
from skyduel.detect.training.loop import optimise, update_average

__all__ = [
    "CROP_STREAM",
    "Adapted",
    "FinetuneSettings",
    "Finetuned",
    "FrameCrops",
    "OnStep",
    "adapt",
    "backbone_slower",
    "crop_side",
    "finetune_facts",
    "mixed_batches",
]

OnStep = Callable[[int, dict[str, float]], None]

#: Stream of seeds of the crops of fine-tuning.
CROP_STREAM: Final = 7
_LEAST_CROP_PX: Final = 64


class FinetuneSettings(Settings):
    """Settings of fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(300, ge=1, description="optimiser steps at most")
    batch: int = Field(6, ge=1, description="crops a step")
    replay: float = Field(0.34, ge=0, lt=1, description="share of simulated crops")
    crop_px: int = Field(256, ge=64, multiple_of=16, description="side of a crop [px]")
    learning_rate: float = Field(3e-4, gt=0, description="of pyramid and heads")
    backbone: float = Field(
        0.1, ge=0, le=1, description="share of that rate for the backbone; 0 freezes it"
    )
    warmup: int = Field(20, ge=1)
    weight_decay: float = Field(1e-2, ge=0)
    clip: float = Field(1.0, gt=0)
    averaging: float = Field(0.97, ge=0, lt=1, description="decay of the averaged weights")
    seed: int = Field(1, ge=0)
    bf16: bool = True
    validate_every: int = Field(25, ge=1)
    validation_crops: int = Field(24, ge=1, description="crops of the held-out frames")
    patience: int = Field(4, ge=1, description="validations without gain before it stops")
    calibration_per_kind: int = Field(4, ge=1, description="simulated frames for calibration")


@dataclass(frozen=True)
class Finetuned:
    """Result of fine-tuning.

    Attributes
    ----------
    steps, best_step : int
        Number of steps done, and the step whose averaged weights were kept; 0 for the
        initial weights, if no step was better.
    before, after : float
        Loss on the held-out crops of the initial weights and of the kept weights.
    replay_before, replay_after : float
        The same losses on simulated crops; a rise measures forgetting.
    """

    steps: int
    best_step: int
    before: float
    after: float
    replay_before: float
    replay_after: float


class Adapted(NamedTuple):
    """Kept weights of `adapt`, and the steps and losses of `Finetuned`."""

    weights: dict[str, Tensor]
    steps: int
    best_step: int
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class FrameCrops(Dataset[dict[str, Tensor]]):
    """Randomly flipped and transposed crops of a few frames; item i is always the same.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        The frames.
    size : int
        Side of a crop [px].
    seed, stream : int
        Of the random numbers.
    length : int
        Number of crops.
    convert : callable
        Makes the network's input and labels of a crop, its sources and a generator.
    """

    frames: Sequence[LabelledFrame]
    size: int
    seed: int
    stream: int
    length: int
    convert: Callable[[Frame, Catalog, np.random.Generator], dict[str, Tensor]]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, CROP_STREAM, self.stream, index])
        return self.convert(*draw_crop(self.frames, self.size, rng), rng)


def crop_side(frames: Sequence[LabelledFrame], s: FinetuneSettings) -> int:
    """Return the side of the crops [px]: as asked for, or less if a frame is smaller.

    A single frame is split for validation, so a crop has at most half of its rows.

    Raises
    ------
    BadInputError
        If one is no labelled frame, smaller than 64 px, or a single one of under 128 rows.
    """
    require_each("finetune: frames", frames, LabelledFrame)
    smallest = min((min(f.frame.shape) for f in frames), default=s.crop_px)
    least = _LEAST_CROP_PX
    if smallest < least:
        raise BadInputError("finetune", f"frames of at least {least} px", f"one of {smallest} px")
    if len(frames) == 1:
        rows = frames[0].frame.shape[0]
        smallest = min(smallest, rows // 2)
        if smallest < least:
            raise BadInputError(
                "finetune", f"several frames, or one of {2 * least} rows", f"one of {rows} rows"
            )
    return min(s.crop_px, smallest // 16 * 16)


def backbone_slower(
    network: nn.Module, groups: Iterable[Mapping[str, Any]], share: float
) -> list[dict[str, Any]]:
    """Return an optimiser's parameter groups, the backbone in groups of its own.

    Each has ``scale``, its fraction of the learning rate: 1, or ``share`` for the backbone. At 0
    the backbone is frozen and left out.
    """
    backbone = network.get_submodule("backbone")
    own = {id(p) for p in backbone.parameters()}
    if not share:
        backbone.requires_grad_(False)
    return [
        {**group, "params": [p for p in group["params"] if (id(p) in own) == slow], "scale": scale}
        for group in groups
        for slow, scale in ((False, 1.0), (True, share))
        if scale
    ]


def mixed_batches(
    own: Dataset[dict[str, Tensor]],
    simulated: Dataset[dict[str, Tensor]],
    s: FinetuneSettings,
    join: Callable[[list[dict[str, Tensor]]], dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Yield the batches: each holds crops of the frames, then simulated crops.

    A batch of one crop is always of the frames; a larger one has one of them at least.
    """
    replay = min(round(s.replay * s.batch), s.batch - 1)
    real = s.batch - replay
    for step in range(s.steps):
        items = [own[step * real + i] for i in range(real)]
        items += [simulated[step * replay + i] for i in range(replay)]
        yield join(items)


def adapt(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[dict[str, Any]],
    losses_of: Callable[[dict[str, Any], int], tuple[Tensor, Mapping[str, Tensor]]],
    held_out_loss: Callable[[Mapping[str, Tensor]], float],
    s: FinetuneSettings,
    on_step: OnStep | None = None,
) -> Adapted:
    """Train until the steps are done or the held-out loss has stopped falling.

    Parameters
    ----------
    network : nn.Module
        The network with its initial weights; it is changed.
    optimiser : Optimizer
        Its groups may have ``scale``, their share of the learning rate.
    batches : iterable of dict
        A batch of each step.
    losses_of : callable
        Returns the loss of a batch and its parts by name; gets the number of the step.
    held_out_loss : callable
        Returns the loss of weights on held-out crops.
    s : FinetuneSettings
        Steps, learning rate, averaging and patience.
    on_step : callable, optional
        Called with the number of the step and its losses by name.

    Returns
    -------
    Adapted
        The averaged weights with the lowest held-out loss, or the initial weights if none
        are better.
    """
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    before = held_out_loss(average)
    best, best_step, step, waited = before, 0, 0, 0
    kept = {k: v.clone() for k, v in average.items()}
    network.train()
    for step, batch in enumerate(batches, start=1):
        loss, losses = losses_of(batch, step)
        rate = (
            s.learning_rate * min(1.0, step / s.warmup) * min(1.0, 2 * (1 - (step - 1) / s.steps))
        )
        norm = optimise(network, optimiser, loss, rate, s.clip)
        update_average(average, network, min(s.averaging, step / (10 + step)))
        values = {k: float(v.detach()) for k, v in losses.items()} | {"norm": norm}
        if step % s.validate_every == 0 or step == s.steps:
            values["held out"] = now = held_out_loss(average)
            waited += 1
            if now < best:
                best, best_step, waited = now, step, 0
                kept = {k: v.clone() for k, v in average.items()}
        if on_step is not None:
            on_step(step, values)
        if waited >= s.patience:
            break
    return Adapted(kept, step, best_step, before, best)


def finetune_facts(
    start_sha256: str, frames: Sequence[LabelledFrame], s: FinetuneSettings, adapted: Adapted
) -> dict[str, Any]:
    """Return the facts of a fine-tuning, for the metadata of a weights file."""
    return {
        "from_sha256": start_sha256,
        "frames": [f.frame.name for f in frames],
        "injected": any(f.psf is not None for f in frames),
        "settings": s.model_dump(mode="json"),
        "best_step": adapted.best_step,
        "held_out_loss": [adapted.before, adapted.after],
    }
