"""Fine-tune the shipped weights to one telescope with a few of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skyduel.core.errors import takes
from skyduel.detect.calibration.fit_calibration import (
    KnownFrame,
    calibration_frames,
    fit_calibration,
)
from skyduel.detect.model.network import Network
from skyduel.detect.model.weights import read_weights, save_weights
from skyduel.detect.training.adapt import (
    CROP_STREAM,
    Finetuned,
    FinetuneSettings,
    FrameCrops,
    OnStep,
    adapt,
    backbone_slower,
    crop_side,
    finetune_facts,
    mixed_batches,
)
from skyduel.detect.training.crops import SimulatedCrops, collate, item
from skyduel.detect.training.labelled_frames import (
    LabelledFrame,
    hold_out,
    labelled,
    self_labelled,
)
from skyduel.detect.training.train import (
    TrainingSettings,
    compute_losses,
    parameter_groups,
    validate,
    weighted_sum,
)

__all__ = [
    "FinetuneSettings",
    "Finetuned",
    "LabelledFrame",
    "finetune",
    "labelled",
    "self_labelled",
]


@takes(start=Path, frames=Sequence, target=Path, settings=FinetuneSettings)
def finetune(
    start: Path,
    frames: Sequence[LabelledFrame],
    target: Path,
    settings: FinetuneSettings | None = None,
    on_step: OnStep | None = None,
) -> Finetuned:
    """Fine-tune weights to the telescope of a few frames, and write them.

    Parameters
    ----------
    start : Path
        The file of the initial weights.
    frames : sequence of LabelledFrame
        Frames of one telescope; see `labelled` and `self_labelled`.
    target : Path
        The weights file to write.
    settings : FinetuneSettings, optional
        Settings; the defaults if not given.
    on_step : callable, optional
        Called with the number of the step and its losses by name.

    Returns
    -------
    Finetuned
        Losses before and after, on held-out and on simulated crops.

    Raises
    ------
    BadInputError
        If an argument has another type, or the weights or the frames cannot be used.

    Notes
    -----
    The pyramid and the heads are trained at the full learning rate, the backbone at a
    fraction of it. Each batch also holds simulated crops. The averaged weights with the
    lowest loss on the held-out frames are kept, or the initial weights if none are better.
    Labelled held-out frames and simulated frames together fit the calibration. With
    self-labelled frames the calibration is unchanged, because their labels depend on it.
    """
    s = settings or FinetuneSettings()
    size = crop_side(frames, s)
    torch.manual_seed(s.seed)
    stored = read_weights(start)
    network = Network(stored.settings)
    network.load_state_dict(dict(stored.tensors))
    network.to(memory_format=torch.channels_last)
    t = TrainingSettings(
        steps=s.steps, batch=s.batch, crop_px=size, learning_rate=s.learning_rate,
        seed=s.seed, bf16=s.bf16, network=stored.settings,
    )  # fmt: skip
    own, held = hold_out(frames, size)
    validation = _crops(held, s, size, 1, s.validation_crops)
    validation_items = [validation[i] for i in range(len(validation))]
    simulated = SimulatedCrops(s.seed, 1, size, max(8, s.validation_crops // 3))
    replayed = [simulated[i] for i in range(len(simulated))]
    replay_before = validate(network, network.state_dict(), replayed, t)
    batches = mixed_batches(
        _crops(own, s, size, 0, s.steps * s.batch),
        SimulatedCrops(s.seed, CROP_STREAM, size, s.steps * s.batch),
        s,
        collate,
    )

    def losses_of(batch: dict[str, Any], step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        losses = compute_losses(network, batch, t, torch.Generator().manual_seed(step))
        return weighted_sum(losses), losses

    adapted = adapt(
        network,
        torch.optim.AdamW(
            backbone_slower(network, parameter_groups(network, s.weight_decay), s.backbone),
            lr=s.learning_rate,
        ),
        batches,
        losses_of,
        lambda weights: validate(network, weights, validation_items, t),
        s,
        on_step,
    )
    replay_after = validate(network, adapted.weights, replayed, t)

    calibration = stored.calibration
    if adapted.best_step and all(f.psf is None for f in frames):
        final = Network(stored.settings)
        final.load_state_dict({k: v.half().float() for k, v in adapted.weights.items()})
        final.eval().requires_grad_(False).fold()
        known = [KnownFrame("own", f.frame, f.truth) for f in held]
        calibration = fit_calibration(
            final,
            chain(known, calibration_frames(s.seed, s.calibration_per_kind)),
            stored.calibration,
        )
    facts = {**stored.facts, "finetuned": finetune_facts(stored.sha256, frames, s, adapted)}
    save_weights(target, adapted.weights, stored.settings, calibration, facts)
    return Finetuned(*adapted[1:], replay_before, replay_after)


def _crops(
    frames: Sequence[LabelledFrame], s: FinetuneSettings, size: int, stream: int, length: int
) -> FrameCrops:
    return FrameCrops(frames, size, s.seed, stream, length, lambda f, t, _: item(f, t))
