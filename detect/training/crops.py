"""Training samples: crops of frames with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skyduel.core.catalog import Catalog
from skyduel.core.frame import Frame
from skyduel.core.measure.background import estimate_background
from skyduel.detect.model.inputs import frame_channels
from skyduel.detect.training.targets import make_targets
from skyduel.simulation import draw_training_settings, simulate

__all__ = ["TRAINING_STREAM", "VALIDATION_STREAM", "SimulatedCrops", "batched", "collate", "loader"]

T = TypeVar("T")
B = TypeVar("B")

#: Stream of seeds of the validation frames, which are never trained on.
TRAINING_STREAM, VALIDATION_STREAM = 0, 1


class SimulatedCrops(Dataset[dict[str, Tensor]]):
    """Frames made on demand: item i of a stream is the same on every machine."""

    def __init__(self, seed: int, stream: int, size: int, length: int) -> None:
        self.seed, self.stream, self.size, self.length = seed, stream, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Simulate a crop: ``image`` (4, s, s), ``maps`` (10, s/2, s/2) and ``points`` (n, 4)."""
        rng = np.random.default_rng([self.seed, self.stream, index])
        return item(*simulate(draw_training_settings(rng, self.size), rng))


def item(frame: Frame, truth: Catalog) -> dict[str, Tensor]:
    """Convert one frame to network input and labels; masked sources have no label."""
    if frame.bad.any():
        given = truth["ignore"] if "ignore" in truth else np.zeros(len(truth), dtype=bool)
        # A streak loses its masked cells instead.
        masked = frame.masked_at(truth["x"], truth["y"]) & ~truth.is_streak
        truth = truth.with_columns(ignore=given | masked)
    labels = make_targets(truth, frame.shape, masked=frame.bad)
    return {
        "image": torch.from_numpy(frame_channels(frame, estimate_background(frame))),
        "maps": torch.from_numpy(labels.maps),
        "points": torch.from_numpy(labels.points),
    }


def collate(items: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Collate items to a batch: images and maps stacked, points as a list."""
    return {
        "image": torch.stack([i["image"] for i in items]).to(memory_format=torch.channels_last),
        "maps": torch.stack([i["maps"] for i in items]),
        "points": [i["points"] for i in items],
    }


def batched(
    crops: Sequence[dict[str, Tensor]] | SimulatedCrops, batch: int
) -> Iterator[dict[str, Any]]:
    """Yield all crops in batches; the last may be smaller."""
    for first in range(0, len(crops), batch):
        yield collate([crops[i] for i in range(first, min(first + batch, len(crops)))])


def loader(
    items: Dataset[T],
    batch: int,
    order: Sequence[int],
    workers: int,
    join: Callable[[list[T]], B],
    pin: bool = False,
) -> Iterator[B]:
    """Yield batches of the items in the order given; ``join`` makes a batch of a list of items."""
    yield from DataLoader(
        items,
        batch_size=batch,
        sampler=order,
        num_workers=workers,
        collate_fn=join,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
    )
