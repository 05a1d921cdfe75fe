"""Readable versions of the compiled operators, in plain torch.

They say what each operator means and are what the tests compare the compiled
ones with. They are slow (a Python loop over boxes, O(N²) overlaps) and run
only when asked for by name, here or with `backend="reference"`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from skyduel.cuda_ops._check import (
    Method,
    box_rows,
    check_box_values,
    check_nms,
    check_roi_align,
    check_roi_align_values,
    check_soft_nms,
    pair,
)
from skyduel.cuda_ops.boxes import paired_iou

__all__ = ["nms", "roi_align", "soft_nms"]


def roi_align(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """ROIAlign by its definition; see `cuda_ops.roi_align`."""
    rows = box_rows(boxes, features)
    bins = pair(output_size)
    check_roi_align(features, rows, spatial_scale, sampling_ratio)
    check_roi_align_values(features, rows, spatial_scale)
    wide = torch.float64 if features.dtype == torch.float64 else torch.float32
    crops = [
        _crop(features[int(row[0])].to(wide), row[1:], bins, spatial_scale, sampling_ratio, aligned)
        for row in rows.to(wide)
    ]
    if not crops:
        # The product with nothing keeps the result on the autograd graph.
        return features.new_zeros((0, features.shape[1], *bins)) * features.sum()
    return torch.stack(crops).to(features.dtype)


def _crop(
    image: Tensor,
    box: Tensor,
    bins: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average of bilinear samples in each bin of one box, (C, rows, columns)."""
    x1, y1, x2, y2 = (box * scale - (0.5 if aligned else 0.0)).unbind()
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = width.clamp(min=1.0), height.clamp(min=1.0)
    ys = _sample_points(y1, height, bins[0], sampling_ratio)
    xs = _sample_points(x1, width, bins[1], sampling_ratio)
    samples = _bilinear(image, ys.flatten(), xs.flatten())
    if samples.numel() == 0:
        return image.new_zeros((image.shape[0], *bins)) * image.sum()
    return samples.reshape(-1, *ys.shape, *xs.shape).mean(dim=(2, 4))


def _sample_points(start: Tensor, extent: Tensor, bins: int, sampling_ratio: int) -> Tensor:
    """Coordinates of the samples of each bin along one axis, (bins, samples)."""
    step = extent / bins
    count = sampling_ratio if sampling_ratio > 0 else max(math.ceil(float(step)), 0)
    within = (torch.arange(count, dtype=start.dtype, device=start.device) + 0.5) * step / count
    return (
        start + torch.arange(bins, dtype=start.dtype, device=start.device)[:, None] * step + within
    )


def _bilinear(image: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """Values at every (y, x) of the two lists, (C, Y, X).

    Up to one pixel outside the map the edge value holds; beyond that, zero.
    """
    y_low, y_high, y_fraction, y_inside = _neighbours(ys, image.shape[1])
    x_low, x_high, x_fraction, x_inside = _neighbours(xs, image.shape[2])
    upper, lower = image[:, y_low], image[:, y_high]
    rows = upper + (lower - upper) * y_fraction[:, None]
    left, right = rows[:, :, x_low], rows[:, :, x_high]
    inside = (y_inside[:, None] & x_inside).to(image.dtype)
    return (left + (right - left) * x_fraction) * inside


def _neighbours(at: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inside = (at >= -1.0) & (at <= size)
    held = at.clamp(0, size - 1)
    low = held.floor()
    return low.long(), (low.long() + 1).clamp(max=size - 1), held - low, inside


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, kinds: Tensor | None = None) -> Tensor:
    """Greedy non-maximum suppression in O(N²); see `cuda_ops.nms` and `batched_nms`."""
    check_nms(boxes, scores, kinds, iou_threshold)
    check_box_values(boxes, scores)
    order = torch.sort(scores, descending=True, stable=True).indices
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        goes = paired_iou(boxes[best], boxes[order]).double() > iou_threshold
        if kinds is not None:
            goes &= kinds[order] == kinds[best]
        order = order[~goes]
    return torch.stack(kept) if kept else order


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    kinds: Tensor | None = None,
    method: Method = "gaussian",
    sigma: float = 0.6,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS as Bodla et al. (2017) write it, in O(N²); see `cuda_ops.soft_nms`."""
    check_soft_nms(boxes, scores, kinds, method, sigma, iou_threshold, score_threshold)
    check_box_values(boxes, scores)
    edges, current = boxes.double(), scores.double().clone()
    waiting = current >= score_threshold
    kept: list[int] = []
    while bool(waiting.any()):
        # argmax takes no promise on ties; the first index that holds the maximum does.
        top = current[waiting].max()
        best = int(torch.nonzero(waiting & (current == top))[0])
        waiting[best] = False
        kept.append(best)
        overlap = paired_iou(edges[best], edges)
        rivals = waiting if kinds is None else waiting & (kinds == kinds[best])
        if method == "gaussian":
            decayed = current * torch.exp(-(overlap * overlap) / sigma)
        elif method == "linear":
            decayed = torch.where(overlap > iou_threshold, current * (1.0 - overlap), current)
        else:
            decayed = current
            waiting &= ~(rivals & (overlap > iou_threshold))
        current = torch.where(rivals, decayed, current)
        waiting &= current >= score_threshold
    index = torch.tensor(kept, dtype=torch.int64, device=boxes.device)
    return index, current[index].to(scores.dtype)
