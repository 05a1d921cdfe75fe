"""Training on simulated frames that never repeat."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from catalog.errors import BadInputError
from catalog.files import atomic_path
from detect.decode import propose
from detect.inputs import frame_channels
from detect.labels import make_labels
from detect.losses import dense_losses, roi_labels, roi_losses
from detect.network import STRIDE, Network, NetworkSettings
from detect.regions import region_features
from detect.weights import read_weights
from simulation import draw_training_settings, simulate

__all__ = ["Progress", "SimulatedCrops", "TrainingSettings", "train"]

#: Validation frames come from their own stream of seeds, never trained on.
_VALIDATION_STREAM: Final = 1
_TRAINING_STREAM: Final = 0


class TrainingSettings(BaseModel):
    """How the network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(6000, ge=1, description="optimiser steps")
    batch: int = Field(8, ge=1, description="crops a step")
    crop_px: int = Field(256, ge=64, multiple_of=16, description="side of a crop [px]")
    learning_rate: float = Field(2e-3, gt=0)
    warmup: int = Field(100, ge=1, description="steps of rising learning rate")
    cooldown: float = Field(0.3, gt=0, le=1, description="share of steps of falling rate")
    weight_decay: float = Field(1e-2, ge=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    averaging: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights")
    proposals: int = Field(96, ge=1, description="proposals a crop for the RoI head")
    proposal_floor: float = Field(0.03, gt=0, lt=1)
    seed: int = Field(1, ge=0)
    workers: int = Field(1, ge=0, description="processes that make frames")
    device: Literal["cpu", "cuda"] = "cpu"
    bf16: bool = Field(True, description="bf16 where it is safe; positions stay float32")
    checkpoint_every: int = Field(100, ge=1)
    validate_every: int = Field(500, ge=1)
    validation_crops: int = Field(32, ge=1)
    network: NetworkSettings = NetworkSettings()
    start_sha256: str | None = Field(None, description="weights file that training began with")


class SimulatedCrops(Dataset[dict[str, Tensor]]):
    """Frames made on demand: item i of a stream is the same on every machine."""

    def __init__(self, seed: int, stream: int, size: int, length: int) -> None:
        self.seed, self.stream, self.size, self.length = seed, stream, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image`` (4, s, s), ``maps`` (10, s/2, s/2) and ``points`` (n, 3)."""
        rng = np.random.default_rng([self.seed, self.stream, index])
        frame, truth = simulate(draw_training_settings(rng, self.size), rng)
        labels = make_labels(truth, frame.shape)
        return {
            "image": torch.from_numpy(frame_channels(frame)),
            "maps": torch.from_numpy(labels.maps),
            "points": torch.from_numpy(labels.points),
        }


def _collate(items: list[dict[str, Tensor]]) -> dict[str, Any]:
    return {
        "image": torch.stack([i["image"] for i in items]).to(memory_format=torch.channels_last),
        "maps": torch.stack([i["maps"] for i in items]),
        "points": [i["points"] for i in items],
    }


@dataclass(frozen=True)
class Progress:
    """One finished step, for whoever watches."""

    step: int
    steps: int
    losses: dict[str, float]
    seconds: float
    validation: float | None = None


def compute_losses(
    network: Network, batch: dict[str, Any], s: TrainingSettings, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return every loss of one batch by name, each a scalar."""
    device = next(network.parameters()).device
    image = batch["image"].to(device, non_blocking=True)
    target = batch["maps"].to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=s.bf16):
        output = network(image)
    losses = dense_losses(output, target)
    positions, kinds, offsets, weights = [], [], [], []
    for i, points in enumerate(batch["points"]):
        xy, _ = propose(output.maps[i].detach().float().cpu(), s.proposal_floor, 4 * s.proposals)
        if len(xy) > s.proposals:  # at random: a quota would teach a wrong base rate
            xy = xy[torch.randperm(len(xy), generator=generator)[: s.proposals]]
        cell = ((xy + 0.5) / STRIDE).floor().long().to(device)  # pixel edges lie at halves
        col = cell[:, 0].clamp(0, target.shape[3] - 1)
        row = cell[:, 1].clamp(0, target.shape[2] - 1)
        on_streak = (target[i, 3, row, col] > 0).cpu()
        kind, offset, weight = roi_labels(xy, points, on_streak)
        positions.append(xy)
        kinds.append(kind)
        offsets.append(offset)
        weights.append(weight)
    if sum(map(len, positions)):
        rois = region_features(output.features, positions, s.network.roi_size)
        with torch.autocast(device.type, torch.bfloat16, enabled=s.bf16):
            logits, shift = network.classify(rois)
        losses |= roi_losses(
            logits,
            shift,
            torch.cat(kinds).to(device),
            torch.cat(offsets).to(device),
            torch.cat(weights).to(device),
        )
    return losses


#: Weight of each loss in the sum.
LOSS_WEIGHTS: Final = {
    "point": 1.0, "streak": 0.5, "offset": 1.0, "ridge": 0.5, "kind": 1.0, "position": 1.0,
}  # fmt: skip


def learning_rate(step: int, s: TrainingSettings) -> float:
    """Return the rate at a step: rising, constant, then falling to 0 in a straight line."""
    up = min(1.0, (step + 1) / s.warmup)
    down = min(1.0, (s.steps - step) / max(1.0, s.cooldown * s.steps))
    return s.learning_rate * up * down


def train(
    settings: TrainingSettings,
    folder: Path,
    on_step: Callable[[Progress], None] | None = None,
    start: Path | None = None,
) -> Path:
    """Train a network, or go on where an earlier call in the same folder stopped.

    Parameters
    ----------
    settings : TrainingSettings
        How. A resumed training may change ``steps``, ``workers``, ``device`` and
        the intervals; anything else must be as it was.
    folder : Path
        Gets ``checkpoint.safetensors`` (everything needed to go on),
        ``log.jsonl`` (one line a step, written out with each checkpoint) and
        ``training.json`` (the settings).
    on_step : callable, optional
        Called after every step.
    start : Path, optional
        A weights file to begin with instead of chance; its hash goes into the
        settings. A training that is continued goes on from its checkpoint.

    Returns
    -------
    Path
        The checkpoint, whose averaged weights are the result.

    Raises
    ------
    BadInputError
        If the folder holds a training with other settings, or a broken checkpoint,
        or a device is asked for that is not there, or the weights to begin with
        belong to another network.
    """
    s = settings
    if s.device == "cuda" and not torch.cuda.is_available():
        raise BadInputError("device", "a CUDA device, or device='cpu'", "none available")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    device = torch.device(s.device)
    torch.manual_seed(s.seed)
    network = Network(s.network)
    if start is not None:
        s = s.model_copy(update={"start_sha256": _begin_with(network, start)})
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Gains, biases and block weights are not shrunk: decay belongs to matrices.
    matrices = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": s.weight_decay}, {"params": rest, "weight_decay": 0}],
        lr=s.learning_rate,
    )
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    done = 0
    if checkpoint.exists():
        done, s = _resume(checkpoint, s, network, optimiser, average)
    _trim_log(folder / "log.jsonl", done)
    with atomic_path(folder / "training.json") as temporary:
        temporary.write_text(s.model_dump_json(indent=2) + "\n")

    validation = SimulatedCrops(s.seed, _VALIDATION_STREAM, s.crop_px, s.validation_crops)
    network.train()
    with (folder / "log.jsonl").open("a") as log:
        for step, batch in zip(range(done, s.steps), _batches(s, done), strict=False):
            began = time.perf_counter()
            generator = torch.Generator().manual_seed(s.seed * 1_000_003 + step)
            losses = compute_losses(network, batch, s, generator)
            total = torch.stack([LOSS_WEIGHTS[k] * v for k, v in losses.items()]).sum()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, s)
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(network.parameters(), s.clip)
            if torch.isfinite(norm):  # a step on a broken gradient would end the training
                optimiser.step()
            decay = min(s.averaging, (1 + step) / (10 + step))
            with torch.no_grad():
                for key, value in network.state_dict().items():
                    average[key].lerp_(value, 1 - decay)
            done = step + 1
            values = {k: float(v.detach()) for k, v in losses.items()}
            score = None
            if done % s.validate_every == 0 or done == s.steps:
                score = _validate(network, average, validation, s)
            progress = Progress(done, s.steps, values, time.perf_counter() - began, score)
            record = {"step": done, "norm": float(norm), "seconds": progress.seconds, **values}
            if score is not None:
                record["validation"] = score
            log.write(json.dumps(record) + "\n")
            if done % s.checkpoint_every == 0 or done == s.steps:
                log.flush()
                _save(checkpoint, done, s, network, optimiser, average)
            if on_step is not None:
                on_step(progress)
    return checkpoint


def _batches(s: TrainingSettings, start: int) -> Iterator[dict[str, Any]]:
    crops = SimulatedCrops(s.seed, _TRAINING_STREAM, s.crop_px, s.steps * s.batch)
    yield from DataLoader(
        crops,
        batch_size=s.batch,
        sampler=range(start * s.batch, s.steps * s.batch),
        num_workers=s.workers,
        collate_fn=_collate,
        prefetch_factor=4 if s.workers else None,
        pin_memory=s.device == "cuda",
    )


@torch.no_grad()
def _validate(
    network: Network, average: dict[str, Tensor], crops: SimulatedCrops, s: TrainingSettings
) -> float:
    """Return the mean loss of the averaged weights on the validation crops."""
    own = {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(average)
    network.eval()
    totals = []
    for first in range(0, len(crops), s.batch):
        items = [crops[i] for i in range(first, min(first + s.batch, len(crops)))]
        losses = compute_losses(network, _collate(items), s, torch.Generator().manual_seed(first))
        totals.append(sum(LOSS_WEIGHTS[k] * float(v) for k, v in losses.items()))
    network.load_state_dict(own)
    network.train()
    return float(np.mean(totals))


def _save(
    path: Path,
    step: int,
    s: TrainingSettings,
    network: Network,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
) -> None:
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in state.items()}
    content = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
        metadata={"step": str(step), "settings": s.model_dump_json()},
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


#: Settings that a resumed training may change.
_MAY_CHANGE: Final = {
    "steps", "workers", "device", "checkpoint_every", "validate_every", "validation_crops",
}  # fmt: skip


def _resume(
    path: Path,
    s: TrainingSettings,
    network: Network,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
) -> tuple[int, TrainingSettings]:
    """Restore everything from a checkpoint; returns the steps done, and how it goes on."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        before = TrainingSettings.model_validate_json(metadata["settings"])
        step = int(metadata["step"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise BadInputError(str(path), "a checkpoint of this program", str(error)[:200]) from error
    if s.start_sha256 is None:
        s = s.model_copy(update={"start_sha256": before.start_sha256})
    was, now = before.model_dump(exclude=_MAY_CHANGE), s.model_dump(exclude=_MAY_CHANGE)
    changed = [k for k in was if was[k] != now[k]]
    if changed:
        raise BadInputError(
            str(path),
            "the settings of the training it continues, "
            + ", ".join(f"{k}={was[k]!r}" for k in changed),
            ", ".join(f"{k}={now[k]!r}" for k in changed),
        )
    try:
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for key, value in tensors.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = value
        network.load_state_dict(parts["network"])
        for key in average:
            average[key].copy_(parts["average"][key])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimiser"].items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        whole = optimiser.state_dict()
        whole["state"] = state
        optimiser.load_state_dict(whole)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BadInputError(
            str(path), "a checkpoint of this network", " ".join(str(error).split())[:200]
        ) from error
    return step, s


def _begin_with(network: Network, path: Path) -> str:
    """Give the network the tensors of a weights file; returns the file's hash."""
    weights = read_weights(path)
    if weights.settings != network.settings:
        raise BadInputError(
            str(path), f"weights of the network {network.settings!r}", repr(weights.settings)
        )
    network.load_state_dict(dict(weights.tensors))
    return weights.sha256


def _trim_log(path: Path, done: int) -> None:
    """Drop lines of steps after ``done``: a stopped training logged them, and they come again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            whole = json.loads(line)["step"] <= done
        except (ValueError, KeyError, TypeError):  # cut off in the middle
            whole = False
        if whole:
            kept.append(line)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))
