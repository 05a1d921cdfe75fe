"""Which source each anchor belongs to, without the table of every source with every anchor."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from skyduel.cuda_ops import box_iou

__all__ = ["Matches", "best_overlap", "match_anchors"]

#: Sources of neighbouring rows that are compared with the anchors of their rows at a time.
_AT_ONCE: Final = 8


class Matches(NamedTuple):
    """Source of each anchor, and what the anchor is in training.

    Attributes
    ----------
    source : Tensor of int64, shape (anchors,)
        Source of the largest overlap; 0 where none overlaps.
    label : Tensor of float32, shape (anchors,)
        1: the source; 0: background; -1: neither.
    """

    source: Tensor
    label: Tensor


def match_anchors(boxes: Tensor, anchors: Tensor, high: float, low: float) -> Matches:
    """Match anchors with the sources of one image by their overlap.

    An anchor with an overlap of at least ``high`` is the source, below ``low`` background, and
    neither in between. The anchors of a source's largest overlap are the source in any case,
    if they overlap it at all.

    Parameters
    ----------
    boxes : Tensor, shape (sources, 4)
        Edges x1, y1, x2, y2 [px].
    anchors : Tensor, shape (anchors, 4)
        Likewise.

    Notes
    -----
    As torchvision's ``Matcher`` with ``allow_low_quality_matches``, but for sources that no
    anchor overlaps: there the matcher takes every anchor that overlaps nothing for the source.
    """
    best = anchors.new_zeros(len(anchors))
    source = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    kept = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    for rows, near, overlap in _strips(boxes, anchors):
        value, which = overlap.max(dim=0)
        better = (value > best[near]) | ((value == best[near]) & (rows[which] < source[near]))
        better &= value > 0
        best[near[better]], source[near[better]] = value[better], rows[which[better]]
        most = overlap.amax(dim=1, keepdim=True)
        kept[near[((overlap == most) & (most > 0)).any(dim=0)]] = True
    label = torch.where(best < low, 0.0, -1.0)
    label[kept | (best >= high)] = 1.0
    return Matches(source, label)


def best_overlap(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the largest overlap of each anchor with any box, shape (anchors,)."""
    best = anchors.new_zeros(len(anchors))
    for _, near, overlap in _strips(boxes, anchors):
        best[near] = torch.maximum(best[near], overlap.amax(dim=0))
    return best


def _strips(boxes: Tensor, anchors: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return rows of boxes, the anchors beside them, and their overlaps, in strips of the image."""
    out = []
    order = boxes[:, 1].argsort()
    for first in range(0, len(order), _AT_ONCE):
        rows = order[first : first + _AT_ONCE]
        some = boxes[rows]
        low, high = some[:, :2].amin(dim=0), some[:, 2:].amax(dim=0)
        near = torch.nonzero(
            (anchors[:, 3] > low[1]) & (anchors[:, 1] < high[1])
            & (anchors[:, 2] > low[0]) & (anchors[:, 0] < high[0])
        ).squeeze(1)  # fmt: skip
        if len(near):
            out.append((rows, near, box_iou(some, anchors[near])))
    return out
