"""The loop of a training from simulated frames: what all networks share.

Each step changes the weights and their moving average, and writes a line to a log. From time
to time the average is validated, and the state is saved, so that a killed training goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.settings import Settings
from skyduel.detect.training.checkpoint import (
    resume,
    save_average,
    save_checkpoint,
    trim_log,
    validated,
)
from skyduel.detect.training.tensorboard_log import TensorBoardLog

__all__ = [
    "BEST",
    "CHECKPOINT",
    "LoopSettings",
    "Progress",
    "Steps",
    "TrainingState",
    "optimise",
    "restore",
    "run_steps",
    "update_average",
]

#: File names in the folder of a training.
CHECKPOINT: Final = "checkpoint.safetensors"
BEST: Final = "best.safetensors"
_LOG: Final = "log.jsonl"
_SETTINGS: Final = "training.json"

B = TypeVar("B")
S = TypeVar("S", bound="LoopSettings")


class LoopSettings(Settings):
    """The settings that the loop reads; the settings of each network give them values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    clip: float
    averaging: float
    validate_every: int
    checkpoint_every: int


@dataclass(frozen=True)
class Progress:
    """Losses and wall time of one finished step, for a progress callback."""

    step: int
    steps: int
    losses: dict[str, float]
    seconds: float
    validation: float | None = None


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What a step changes in place, and where the training stands.

    Attributes
    ----------
    network : nn.Module
        The network.
    optimiser : Optimizer
        Of its parameters; groups may have ``scale``, their share of the learning rate.
    average : dict of str to Tensor
        The moving average of its weights.
    done : int
        Number of steps done.
    best : float
        Lowest validation loss so far; infinite without any.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    done: int
    best: float


@dataclass(frozen=True, eq=False)
class Steps(Generic[B]):
    """What the steps of one network are; steps are counted from 1.

    Attributes
    ----------
    losses : callable
        Returns the losses of a batch by name; gets the number of the step.
    total : callable
        Returns the loss that is minimised from the losses by name.
    rate : callable
        Returns the learning rate of a step.
    validate : callable
        Returns the loss of averaged weights on the validation crops.
    """

    losses: Callable[[B, int], Mapping[str, Tensor]]
    total: Callable[[Mapping[str, Tensor]], Tensor]
    rate: Callable[[int], float]
    validate: Callable[[Mapping[str, Tensor]], float]


def restore(
    folder: Path,
    settings: S,
    may_change: Collection[str],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> tuple[TrainingState, S]:
    """Return the state of the training in a folder, and its settings.

    Parameters
    ----------
    folder : Path
        Folder of the training, with or without a checkpoint.
    settings : LoopSettings
        Settings.
    may_change : collection of str
        The settings that may differ from those of the checkpoint.
    network, optimiser : nn.Module, Optimizer
        New ones; they are given the state of the checkpoint, if there is one.

    Raises
    ------
    BadInputError
        If the checkpoint is broken, or of other settings or another network.
    """
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    done = 0
    if (folder / CHECKPOINT).exists():
        done, settings = resume(
            folder / CHECKPOINT, settings, may_change, network, optimiser, average
        )
    best = validated(folder / BEST, done)
    return TrainingState(network, optimiser, average, done, best), settings


def run_steps(
    folder: Path,
    settings: LoopSettings,
    state: TrainingState,
    batches: Iterable[B],
    steps: Steps[B],
    on_step: Callable[[Progress], None] | None = None,
    *,
    writes: bool = True,
    tensorboard: bool = False,
) -> None:
    """Take the steps that are left, and keep log, checkpoints and the best weights.

    Parameters
    ----------
    folder : Path
        Output folder; see `skyduel.detect.training.train.train`.
    settings : LoopSettings
        Settings, which are written beside the log.
    state : TrainingState
        The state after the steps done; changed in place.
    batches : iterable
        A batch for each step that is left; more are not taken.
    steps : Steps
        Losses, learning rate and validation.
    on_step : callable, optional
        Called after every step.
    writes : bool
        False in all but one process of a training: it takes the steps and does nothing else.
    tensorboard : bool
        If True, write ``tensorboard/`` in the folder.
    """
    state.network.train()
    if not writes:
        for now, batch in zip(range(state.done + 1, settings.steps + 1), batches, strict=False):
            _step(settings, state, steps, batch, now)
        return
    trim_log(folder / _LOG, state.done)
    with atomic_path(folder / _SETTINGS) as temporary:
        temporary.write_text(settings.model_dump_json(indent=2) + "\n")
    best = state.best
    with ExitStack() as stack:
        board = TensorBoardLog(folder / "tensorboard" if tensorboard else None, state.done)
        stack.callback(board.close)
        log = stack.enter_context((folder / _LOG).open("a"))
        for now, batch in zip(range(state.done + 1, settings.steps + 1), batches, strict=False):
            began = time.perf_counter()
            losses, norm = _step(settings, state, steps, batch, now)
            values = {k: float(v.detach()) for k, v in losses.items()}
            score = None
            if _is_due(now, settings.validate_every, settings.steps):
                score = steps.validate(state.average)
            progress = Progress(now, settings.steps, values, time.perf_counter() - began, score)
            record = {"step": now, "norm": norm, "seconds": progress.seconds, **values}
            if score is not None:
                record["validation"] = score
                if score < best:
                    best = score
                    save_average(folder / BEST, now, settings, state.average, score)
            log.write(json.dumps(record) + "\n")
            board.write(
                now,
                {f"loss/{k}": v for k, v in values.items()}
                | {"rate": steps.rate(now), "norm": norm, "seconds": progress.seconds}
                | ({} if score is None else {"loss/validation": score}),
            )
            if _is_due(now, settings.checkpoint_every, settings.steps):
                log.flush()
                save_checkpoint(
                    folder / CHECKPOINT,
                    now,
                    settings,
                    state.network,
                    state.optimiser,
                    state.average,
                )
            if on_step is not None:
                on_step(progress)


def _is_due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _step(
    settings: LoopSettings, state: TrainingState, steps: Steps[B], batch: B, now: int
) -> tuple[Mapping[str, Tensor], float]:
    """Take one step; return the losses and the norm of the gradient."""
    losses = steps.losses(batch, now)
    norm = optimise(
        state.network, state.optimiser, steps.total(losses), steps.rate(now), settings.clip
    )
    # The average begins as a mean over a tenth of the steps so far, and forgets the first weights.
    update_average(state.average, state.network, min(settings.averaging, now / (9 + now)))
    return losses, norm


def optimise(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Tensor,
    rate: float,
    clip: float,
) -> float:
    """Take one optimiser step on a loss; return the gradient's norm.

    ``rate`` is the learning rate of a group whose ``scale`` is 1 or absent. If the gradient is
    not finite, the weights do not change.
    """
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip)
    if torch.isfinite(norm):  # a step with a non-finite gradient would make all weights NaN
        optimiser.step()
    return float(norm)


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], network: nn.Module, decay: float) -> None:
    """Update the exponential moving average of the network's weights in place."""
    for key, value in network.state_dict().items():
        average[key].lerp_(value, 1 - decay)
