"""Features of the regions around proposals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skyduel.cuda_ops import roi_align
from skyduel.detect.inference.decode import source_boxes
from skyduel.detect.model.network import STRIDE

__all__ = ["region_features"]


def region_features(features: Tensor, positions: Sequence[Tensor], size: int) -> Tensor:
    """Return the features around each position, shape (k, channels, size, size).

    Parameters
    ----------
    features : Tensor, shape (n, channels, h, w)
        Pyramid features on the stride-2 map.
    positions : sequence of n Tensors, each of shape (k_i, 2)
        x, y [px] of the proposals of each image; k is the sum of the k_i.
    size : int
        Cells per side. The box is as wide as ``size`` map cells, so one sample a
        cell is exact.
    """
    boxes = [source_boxes(xy) for xy in positions]
    index = torch.cat([torch.full((len(b), 1), float(i)) for i, b in enumerate(boxes)])
    rois = torch.cat([index.to(features.device), torch.cat(boxes).to(features.device)], dim=1)
    return roi_align(features, rois, size, 1 / STRIDE, 1, True)
