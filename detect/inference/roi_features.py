"""Features of the regions around proposals, by torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skyduel.cuda_ops import roi_align
from skyduel.detect.model.layout import STRIDE, source_boxes

__all__ = ["region_features"]


def region_features(
    features: Tensor, positions: Sequence[npt.NDArray[np.float32]], size: int
) -> Tensor:
    """Return the features around each position, shape (k, channels, size, size).

    Parameters
    ----------
    features : Tensor, shape (n, channels, h, w)
        Pyramid features on the stride-2 map.
    positions : sequence of n ndarrays of float32, each of shape (k_i, 2)
        x, y [px] of the proposals of each image; k is the sum of the k_i.
    size : int
        Cells per side. The box is as wide as ``size`` map cells, so one sample a
        cell is exact.
    """
    index = np.repeat(np.arange(len(positions), dtype=np.float32), [len(xy) for xy in positions])
    boxes = np.concatenate([source_boxes(xy) for xy in positions])
    rois = torch.from_numpy(np.column_stack([index, boxes])).to(features.device)
    return roi_align(features, rois, size, 1 / STRIDE, 1, True)
