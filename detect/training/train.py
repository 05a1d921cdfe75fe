"""Train the network on simulated frames that never repeat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from skyduel.core.errors import BadInputError
from skyduel.core.measure.background import MESH_PX
from skyduel.detect.inference.decode import propose
from skyduel.detect.inference.roi_features import region_features
from skyduel.detect.model.fused import FusedNetwork, fuse
from skyduel.detect.model.inputs import CHANNELS
from skyduel.detect.model.layout import STRIDE
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.pruning import prune
from skyduel.detect.model.weights import StoredWeights, load_weights, read_weights
from skyduel.detect.training.crops import (
    TRAINING_STREAM,
    VALIDATION_STREAM,
    SimulatedCrops,
    batched,
    collate,
    loader,
)
from skyduel.detect.training.distributed import Processes, process_group
from skyduel.detect.training.loop import (
    CHECKPOINT,
    LoopSettings,
    Progress,
    Steps,
    restore,
    run_steps,
)
from skyduel.detect.training.losses import (
    dense_losses,
    imitation_losses,
    roi_losses,
    roi_targets,
)
from skyduel.detect.training.ondevice.batches import DrawnScenes, made_batches

__all__ = ["TrainingSettings", "compute_losses", "train"]

#: Number of training crops to which a pruned network is fitted before it is trained.
_SLIMMING_CROPS: Final = 64
#: Number of batches from which those are drawn that are used again.
_KEPT: Final = 64

B = TypeVar("B")


class TrainingSettings(LoopSettings):
    """Settings of training."""

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
    frames: Literal["host", "device"] = Field(
        "host", description="where the pixels of the training frames are made"
    )
    bf16: bool = Field(True, description="bf16 where it is safe; positions stay float32")
    checkpoint_every: int = Field(100, ge=1)
    validate_every: int = Field(500, ge=1)
    validation_crops: int = Field(128, ge=1)
    network: NetworkSettings = NetworkSettings()
    start_sha256: str | None = Field(None, description="weights file that training began with")
    imitation: float = Field(
        0.7, ge=0, le=1, description="share of the teacher in the loss, where there is one"
    )
    uses: int = Field(1, ge=1, description="steps that are taken for each new batch of crops")
    teacher_sha256: str | None = Field(None, description="weights file of the teacher")


def compute_losses(
    network: Network,
    batch: dict[str, Any],
    s: TrainingSettings,
    generator: torch.Generator,
    teacher: FusedNetwork | None = None,
) -> dict[str, Tensor]:
    """Return the losses of one batch by name, each a scalar.

    With a teacher, each is a mean of the loss against the truth and of that against the
    teacher's output, which has the weight ``s.imitation``.
    """
    device = next(network.parameters()).device
    image = batch["image"].to(device, non_blocking=True)
    target = batch["maps"].to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=s.bf16):
        output = network(image)
    losses = dense_losses(output, target)
    positions, kinds, offsets, weights = [], [], [], []
    maps = output.maps.detach()[:, :3].float().cpu().numpy()
    for i, points in enumerate(batch["points"]):
        places, _ = propose(maps[i], s.proposal_floor, 4 * s.proposals)
        if (
            len(places) > s.proposals
        ):  # at random: a fixed ratio of classes would bias the base rate
            places = places[torch.randperm(len(places), generator=generator)[: s.proposals].numpy()]
        xy = torch.from_numpy(places).to(device)
        cell = ((xy + 0.5) / STRIDE).floor().long()  # pixel edges lie at halves
        col = cell[:, 0].clamp(0, target.shape[3] - 1)
        row = cell[:, 1].clamp(0, target.shape[2] - 1)
        on_streak = target[i, 3, row, col] > 0
        kind, offset, weight = roi_targets(xy, points.to(device), on_streak)
        weight[_on_masked(image[i], xy)] = 0.0
        positions.append(places)
        kinds.append(kind)
        offsets.append(offset)
        weights.append(weight)
    if not sum(map(len, positions)):
        return losses
    rois = region_features(output.features, positions, s.network.roi_size)
    with torch.autocast(device.type, torch.bfloat16, enabled=s.bf16):
        logits, shift = network.classify(rois)
    losses |= roi_losses(logits, shift, torch.cat(kinds), torch.cat(offsets), torch.cat(weights))
    if teacher is None:
        return losses
    taught = teacher(image)
    taught_rois = region_features(taught.features, positions, teacher.settings.roi_size)
    taught_logits, taught_shift = teacher.classify(taught_rois)
    # Copies: tensors of inference mode cannot be kept for the gradient.
    imitated = imitation_losses(
        output.maps, taught.maps.clone(), logits, taught_logits.clone(), shift, taught_shift.clone()
    )
    return {k: v.lerp(imitated[k], s.imitation) for k, v in losses.items()}


def _on_masked(image: Tensor, xy: Tensor) -> Tensor:
    """Return a mask of the proposals whose centre is on a masked pixel, shape (k,)."""
    unusable = image[CHANNELS.index("unusable")]
    column, row = (xy + 0.5).floor().long().unbind(1)
    column, row = column.clamp(0, unusable.shape[1] - 1), row.clamp(0, unusable.shape[0] - 1)
    return unusable[row, column] == 1  # saturated pixels are half unusable


#: Weight of each loss in the sum.
LOSS_WEIGHTS: Final = {
    "point": 1.0, "streak": 1.5, "offset": 1.0, "ridge": 1.0, "kind": 1.0, "position": 1.0,
}  # fmt: skip


def learning_rate(step: int, s: TrainingSettings) -> float:
    """Return the learning rate at a step: linear warm-up, constant, linear decay to 0."""
    up = min(1.0, (step + 1) / s.warmup)
    down = min(1.0, (s.steps - step) / max(1.0, s.cooldown * s.steps))
    return s.learning_rate * up * down


def train(
    settings: TrainingSettings,
    folder: Path,
    on_step: Callable[[Progress], None] | None = None,
    start: Path | None = None,
    tensorboard: bool = False,
    teacher: Path | None = None,
) -> Path:
    """Train a network, or resume the training in the same folder.

    Parameters
    ----------
    settings : TrainingSettings
        Settings. A resumed training may change ``steps``, ``workers``, ``device``, ``frames``,
        the intervals and the number of validation crops; all other settings must be the same.
    folder : Path
        Output folder: ``checkpoint.safetensors`` (the full state for resuming),
        ``best.safetensors`` (the averaged weights of the lowest validation loss so far),
        ``log.jsonl`` (one line per step, flushed at each checkpoint) and
        ``training.json`` (the settings).
    on_step : callable, optional
        Called after every step.
    start : Path, optional
        A weights file to start from instead of random weights; its hash is written to the
        settings. Weights of a larger network of the same family are pruned (see `prune`).
        A resumed training starts from its checkpoint instead.
    tensorboard : bool
        If True, write ``tensorboard/`` in the folder.
    teacher : Path, optional
        A weights file whose output is learned beside the truth (`imitation_losses`).

    Returns
    -------
    Path
        The checkpoint (``CHECKPOINT``; the best weights are ``BEST``, see
        `skyduel.detect.training.loop`).

    Raises
    ------
    BadInputError
        If the folder holds a training with other settings or a broken checkpoint, if the
        device is not available, if the network is not a part of the network of the
        initial weights, if the batch size is not a multiple of the number of processes, or
        if the crops are made on the device and their side is not a multiple of the
        background mesh size.

    Notes
    -----
    Under ``torchrun`` with several processes, each process takes an equal part of every
    batch (torch's DistributedDataParallel averages the gradients). The first process writes
    the files and calls `on_step`. The losses are means over the part of each process, so
    the steps depend on the number of processes, without loss of quality.
    """
    s = settings
    if s.device == "cuda" and not torch.cuda.is_available():
        raise BadInputError("device", "a CUDA device, or device='cpu'", "none available")
    if s.frames == "device" and s.crop_px % MESH_PX:
        raise BadInputError(
            "crop_px", f"a multiple of {MESH_PX} for frames made on the device", str(s.crop_px)
        )
    with process_group(s.device) as processes:
        if s.batch % processes.world:
            raise BadInputError(
                "batch", f"a multiple of the {processes.world} processes", str(s.batch)
            )
        _train(s, folder, on_step, start, tensorboard, teacher, processes)
    return folder / CHECKPOINT


def _train(
    s: TrainingSettings,
    folder: Path,
    on_step: Callable[[Progress], None] | None,
    start: Path | None,
    tensorboard: bool,
    teacher: Path | None,
    processes: Processes,
) -> None:
    """Train in one of several processes; the first of them writes the files."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(s.seed)
    network = Network(s.network)
    if start is not None:
        stored = read_weights(start)
        s = s.model_copy(update={"start_sha256": stored.sha256})
        if not (folder / CHECKPOINT).exists():
            network = initial_network(stored, s)
    taught_by = None
    if teacher is not None:
        loaded = load_weights(teacher)
        s = s.model_copy(update={"teacher_sha256": loaded.sha256})
        taught_by = fuse(
            loaded.network.to(processes.device), torch.bfloat16 if s.bf16 else torch.float32
        )
    network = network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(parameter_groups(network, s.weight_decay), lr=s.learning_rate)
    state, s = restore(folder, s, _MAY_CHANGE, network, optimiser)
    validation = SimulatedCrops(s.seed, VALIDATION_STREAM, s.crop_px, s.validation_crops)
    losses_of: nn.Module = _Losses(network, s, taught_by)
    if processes.world > 1:
        # A batch without a proposal leaves the RoI head without a gradient.
        losses_of = nn.parallel.DistributedDataParallel(losses_of, find_unused_parameters=True)

    def losses(batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        seed = s.seed * 1_000_003 + step - 1 + processes.rank * 7_919
        return dict(losses_of(batch, seed))

    steps = Steps(
        losses=losses,
        total=weighted_sum,
        rate=lambda step: learning_rate(step - 1, s),
        validate=lambda average: validate(network, average, validation, s),
    )
    run_steps(
        folder,
        s,
        state,
        _batches(s, state.done, processes),
        steps,
        on_step,
        writes=processes.is_rank0,
        tensorboard=tensorboard,
    )


def initial_network(stored: StoredWeights, s: TrainingSettings) -> Network:
    """Return the initial network: the stored network, or a part of it pruned to the settings.

    Raises
    ------
    BadInputError
        If the network of the settings is not a part of the stored network.
    """
    network = Network(stored.settings)
    network.load_state_dict(dict(stored.tensors))
    if stored.settings == s.network:
        return network
    crops = SimulatedCrops(s.seed, TRAINING_STREAM, s.crop_px, _SLIMMING_CROPS)
    batches = list(batched(crops, s.batch))

    def loss(trial: Network) -> float:
        return mean_loss(trial.to(memory_format=torch.channels_last), batches, s)

    return prune(network, s.network, [batch["image"] for batch in batches], loss)


def parameter_groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimiser's parameter groups: matrices with weight decay, the rest without.

    Gains, biases and block weights do not decay.
    """
    matrices = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def weighted_sum(losses: Mapping[str, Tensor]) -> Tensor:
    """Return the weighted sum of the losses, which training minimises."""
    return torch.stack([LOSS_WEIGHTS[k] * v for k, v in losses.items()]).sum()


class _Losses(nn.Module):
    """The losses of a batch as a module, as DistributedDataParallel requires."""

    def __init__(self, network: Network, s: TrainingSettings, teacher: FusedNetwork | None) -> None:
        super().__init__()
        self.network, self.s, self.teacher = network, s, teacher

    def forward(self, batch: dict[str, Any], seed: int) -> dict[str, Tensor]:
        """Return the losses of `compute_losses`."""
        generator = torch.Generator().manual_seed(seed)
        return compute_losses(self.network, batch, self.s, generator, self.teacher)


def _batches(s: TrainingSettings, done: int, processes: Processes) -> Iterator[dict[str, Any]]:
    """Return an iterator over this process's part of every batch from step ``done`` on."""
    share = s.batch // processes.world
    first = processes.rank * share
    new = -(-s.steps // s.uses)
    order: Sequence[int] = range(done // s.uses * s.batch, new * s.batch)
    if processes.world > 1:
        order = [i for i in order if first <= i % s.batch < first + share]
    if s.frames == "device":
        scenes = DrawnScenes(s.seed, s.crop_px, new * s.batch)
        batches = made_batches(scenes, share, order, s.workers, processes.device)
    else:
        crops = SimulatedCrops(s.seed, TRAINING_STREAM, s.crop_px, new * s.batch)
        batches = loader(crops, share, order, s.workers, collate, pin=s.device == "cuda")
    return batches if s.uses == 1 else reused(batches, s.uses, s.seed * 1_000_003 + done)


def reused(batches: Iterator[B], uses: int, seed: int) -> Iterator[B]:
    """Yield every batch, each followed by ``uses`` - 1 random ones of the last `_KEPT`.

    Where frames take longer to make than a step does, more steps on fewer frames learn more
    in the same time.
    """
    rng = np.random.default_rng(seed)
    kept: deque[B] = deque(maxlen=_KEPT)
    for batch in batches:
        kept.append(batch)
        yield batch
        for _ in range(uses - 1):
            yield kept[int(rng.integers(len(kept)))]


@torch.no_grad()
def validate(
    network: Network,
    average: Mapping[str, Tensor],
    crops: Sequence[dict[str, Tensor]] | SimulatedCrops,
    s: TrainingSettings,
) -> float:
    """Return the mean loss of the averaged weights on the validation crops."""
    own = {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(average)
    network.eval()
    mean = mean_loss(network, batched(crops, s.batch), s)
    network.load_state_dict(own)
    network.train()
    return mean


@torch.no_grad()
def mean_loss(network: Network, batches: Iterable[dict[str, Any]], s: TrainingSettings) -> float:
    """Return the mean weighted loss over batches; the same at every call."""
    totals = []
    for index, batch in enumerate(batches):
        generator = torch.Generator().manual_seed(index * s.batch)
        totals.append(float(weighted_sum(compute_losses(network, batch, s, generator))))
    return float(np.mean(totals))


#: Settings that a resumed training may change.
_MAY_CHANGE: Final = {
    "steps", "workers", "device", "frames", "checkpoint_every", "validate_every",
    "validation_crops",
}  # fmt: skip
