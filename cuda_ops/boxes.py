"""Areas and overlaps of boxes, in plain torch.

A box is `x1, y1, x2, y2`: its edges in pixels, on whatever frame the caller
uses; its area is `(x2 - x1) * (y2 - y1)`, with no pixel added.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["box_area", "box_iou", "paired_iou"]


def box_area(boxes: Tensor) -> Tensor:
    """Areas of boxes.

    Parameters
    ----------
    boxes : Tensor
        (..., 4), edges `x1, y1, x2, y2` [px].

    Returns
    -------
    Tensor
        (...), in the dtype of `boxes` [px²].

    Raises
    ------
    ValueError
        If the last dimension is not 4.
    """
    _check_last_dimension("boxes", boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes taken pair by pair.

    Parameters
    ----------
    first, second : Tensor
        (..., 4), edges `x1, y1, x2, y2` [px]; broadcast against each other.

    Returns
    -------
    Tensor
        (...): overlap over union, NaN where both boxes are empty.

    Raises
    ------
    ValueError
        If a last dimension is not 4.
    """
    _check_last_dimension("first", first)
    _check_last_dimension("second", second)
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    side = (high - low).clamp(min=0)
    overlap = side[..., 0] * side[..., 1]
    return overlap / (box_area(first) + box_area(second) - overlap)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every box of one set with every one of another.

    Parameters
    ----------
    first : Tensor
        (N, 4), edges `x1, y1, x2, y2` [px].
    second : Tensor
        (M, 4), likewise.

    Returns
    -------
    Tensor
        (N, M), NaN where both boxes are empty.

    Raises
    ------
    ValueError
        If a last dimension is not 4.
    """
    return paired_iou(first[:, None], second[None])


def _check_last_dimension(name: str, boxes: Tensor) -> None:
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{name}: required shape (..., 4); got {tuple(boxes.shape)}")
