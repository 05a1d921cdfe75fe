"""Make batches for training, with pixels simulated on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from skyduel.detect.training.crops import TRAINING_STREAM, loader
from skyduel.detect.training.ondevice.frames import Scene, make_frames
from skyduel.detect.training.ondevice.inputs import estimate_backgrounds, make_channels
from skyduel.detect.training.ondevice.targets import make_target_maps
from skyduel.detect.training.targets import source_targets
from skyduel.simulation import draw_training_settings
from skyduel.simulation.sampling import draw_defects, draw_sources

__all__ = ["DrawnScenes", "made_batches", "make_batch"]


class DrawnScenes(Dataset[Scene]):
    """Scenes drawn on demand: number i of a stream is the same on every machine."""

    def __init__(self, seed: int, size: int, length: int) -> None:
        self.seed, self.size, self.length = seed, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Scene:
        """Draw the random part of one training frame."""
        rng = np.random.default_rng([self.seed, TRAINING_STREAM, index])
        settings = draw_training_settings(rng, self.size)
        return Scene(settings, draw_sources(settings, rng), draw_defects(settings, rng))


def made_batches(
    scenes: DrawnScenes, batch: int, order: Sequence[int], workers: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Yield batches of scenes in the order given, with pixels and labels on the device.

    The scenes are drawn by ``workers`` processes; the noise of a batch follows from the seed and
    the number of its first scene.
    """
    drawn = loader(scenes, batch, order, workers, list)
    for first, some in zip(order[::batch], drawn, strict=False):
        generator = torch.Generator(device).manual_seed(scenes.seed * 1_000_003 + first)
        yield make_batch(some, device, generator)


@torch.no_grad()
def make_batch(
    scenes: Sequence[Scene], device: torch.device, generator: torch.Generator | None
) -> dict[str, Any]:
    """Make a batch like that of `training.crops.collate`; ``image`` and ``maps`` on the device."""
    made = make_frames(scenes, device, generator)
    level, rms = estimate_backgrounds(made.data)
    image = make_channels(made.data, level, rms, made.saturation)
    sources = [source_targets(truth) for truth in made.truths]
    _, ny, nx = made.data.shape
    return {
        "image": image.contiguous(memory_format=torch.channels_last),
        "maps": make_target_maps(sources, (ny, nx), device),
        "points": [torch.from_numpy(one.points) for one in sources],
    }
