"""Training samples of the published network: simulated frames with boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from skyduel.core.catalog import Catalog
from skyduel.core.frame import Frame
from skyduel.core.measure.background import estimate_background
from skyduel.detect.published.boxes import MOST_LABELS, fixed_boxes, mended_boxes
from skyduel.detect.published.form import Faults
from skyduel.detect.published.inputs import SHORTER_SIDE_PX, as_tensor, resized, scaled
from skyduel.detect.training.targets import source_targets
from skyduel.simulation import draw_training_settings, simulate

__all__ = ["BoxedCrops", "boxed", "collate"]


class BoxedCrops(Dataset[dict[str, Tensor]]):
    """Frames made on demand, the same as those of the suite's own network."""

    def __init__(self, seed: int, stream: int, size: int, length: int, faults: Faults) -> None:
        self.seed, self.stream, self.size, self.length = seed, stream, size, length
        self.faults = faults

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Simulate a frame: ``image``, and the entries of a target, as in `boxed`."""
        rng = np.random.default_rng([self.seed, self.stream, index])
        frame, truth = simulate(draw_training_settings(rng, self.size), rng)
        return boxed(frame, truth, self.faults, rng)


def boxed(
    frame: Frame, truth: Catalog, faults: Faults, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Convert one frame to the network's input and targets.

    Parameters
    ----------
    frame : Frame
        A frame.
    truth : Catalog
        Its sources. Those too faint to be known are ignored, as for the suite's own network.
    faults : Faults
        Scaling, size, boxes and number of labels.
    rng : Generator
        Draws the labelled sources if there are too many.

    Returns
    -------
    dict of str to Tensor
        ``image`` (3, h, w); ``boxes`` (n, 4) and ``ignored`` (i, 4) [px of that image];
        ``labels`` (n,).
    """
    given = truth["ignore"] if "ignore" in truth else np.zeros(len(truth), dtype=bool)
    if frame.bad.any():
        masked = frame.masked_at(truth["x"], truth["y"]) & ~truth.is_streak
        truth = truth.with_columns(ignore=given | masked)
    sources = source_targets({name: truth[name] for name in truth.table.colnames})
    make = fixed_boxes if faults.fixed_boxes else mended_boxes
    # A smaller frame has the same number of labels per pixel.
    share = min(1.0, frame.shape[0] * frame.shape[1] / SHORTER_SIDE_PX**2)
    most = max(1, round(MOST_LABELS * share)) if faults.few_labels else None
    made = make(sources, frame.shape, most, rng)
    background = estimate_background(frame)
    image = as_tensor(scaled(frame, background, published=faults.min_max_scaling))
    factor = 1.0
    if faults.resized:
        image, factor = resized(image)
    return {
        "image": image,
        "boxes": torch.from_numpy(made.boxes * factor).float(),
        "labels": torch.from_numpy(made.labels.astype(np.int64)),
        "ignored": torch.from_numpy(made.ignored * factor).float(),
    }


def collate(items: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Collate items to a batch: images stacked, targets as a list."""
    return {
        "image": torch.stack([i["image"] for i in items]).to(memory_format=torch.channels_last),
        "targets": [{k: v for k, v in i.items() if k != "image"} for i in items],
    }
