"""Fine-tune the published network to one telescope: its transfer learning, with labelled frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.settings import build_settings
from skyduel.detect.published.crops import BoxedCrops, boxed, collate
from skyduel.detect.published.form import Faults
from skyduel.detect.published.inputs import SHORTER_SIDE_PX
from skyduel.detect.published.network import PublishedNetwork
from skyduel.detect.published.train import batch_losses, mean_loss
from skyduel.detect.published.weights import read_weights, save_weights
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
from skyduel.detect.training.crops import VALIDATION_STREAM
from skyduel.detect.training.labelled_frames import LabelledFrame, hold_out

__all__ = ["finetune_published", "published_finetune_settings"]

#: Defaults that differ from those of the suite's own network: those of its training.
_DEFAULTS: Final = {"batch": 2, "learning_rate": 2e-4, "weight_decay": 1e-4, "clip": 5.0}


def published_finetune_settings(faults: Faults, **given: Any) -> FinetuneSettings:
    """Return the settings of a fine-tuning; keyword arguments override the defaults.

    A network that sees frames resized to 500 px is tuned with crops of about that size, so
    that stars keep theirs.

    Raises
    ------
    BadInputError
        For a setting that there is not, or a value that is not allowed.
    """
    own = dict(_DEFAULTS)
    if faults.resized:
        own["crop_px"] = SHORTER_SIDE_PX // 16 * 16
    return build_settings(FinetuneSettings, "finetune", {**own, **given})


@takes(start=Path, frames=Sequence, target=Path, settings=FinetuneSettings)
def finetune_published(
    start: Path,
    frames: Sequence[LabelledFrame],
    target: Path,
    settings: FinetuneSettings | None = None,
    on_step: OnStep | None = None,
) -> Finetuned:
    """Fine-tune weights of the published network to the telescope of a few frames.

    Parameters
    ----------
    start : Path
        The file of the initial weights; their faults stay.
    frames : sequence of LabelledFrame
        Labelled frames of one telescope. Injection into unlabelled frames is not offered:
        the scores of this network are not calibrated, so none of them makes a label.
    target : Path
        The weights file to write.
    settings : FinetuneSettings, optional
        Settings; by default `published_finetune_settings`.
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
    The paper trains on simulated frames first and on few real ones after (its code has no
    such step). Here each batch holds simulated crops as well, as for the suite's own network.
    """
    stored = read_weights(start)
    faults = stored.network.faults
    s = settings or published_finetune_settings(faults)
    size = crop_side(frames, s)
    if any(f.psf is not None for f in frames):
        raise BadInputError("finetune", "labelled frames for jia2020", "a frame without labels")
    torch.manual_seed(s.seed)
    network = PublishedNetwork(faults)
    network.load_state_dict(stored.network.state_dict())
    network.to(memory_format=torch.channels_last)
    learning = [p for p in network.parameters() if p.requires_grad]
    own, held = hold_out(frames, size)

    def convert(frame: Frame, truth: Catalog, rng: np.random.Generator) -> dict[str, Tensor]:
        return boxed(frame, truth, faults, rng)

    held_crops = FrameCrops(held, size, s.seed, 1, s.validation_crops, convert)
    validation = [held_crops[i] for i in range(len(held_crops))]
    replay = BoxedCrops(s.seed, VALIDATION_STREAM, size, max(8, s.validation_crops // 3), faults)
    replayed = [replay[i] for i in range(len(replay))]
    replay_before = mean_loss(network, network.state_dict(), replayed, s.bf16)
    batches = mixed_batches(
        FrameCrops(own, size, s.seed, 0, s.steps * s.batch, convert),
        BoxedCrops(s.seed, CROP_STREAM, size, s.steps * s.batch, faults),
        s,
        collate,
    )

    def losses_of(batch: dict[str, Any], step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        # The samples of anchors and regions depend on the step alone.
        torch.manual_seed(s.seed * 1_000_003 + step)
        losses = batch_losses(network, batch, s.bf16)
        return torch.stack(list(losses.values())).sum(), losses

    adapted = adapt(
        network,
        torch.optim.Adam(
            backbone_slower(network, [{"params": learning}], s.backbone),
            lr=s.learning_rate,
            weight_decay=s.weight_decay,
        ),
        batches,
        losses_of,
        lambda weights: mean_loss(network, weights, validation, s.bf16),
        s,
        on_step,
    )
    replay_after = mean_loss(network, adapted.weights, replayed, s.bf16)
    facts = {**stored.facts, "finetuned": finetune_facts(stored.sha256, frames, s, adapted)}
    save_weights(target, adapted.weights, faults, facts)
    return Finetuned(*adapted[1:], replay_before, replay_after)
