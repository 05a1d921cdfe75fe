"""What the operators require of their arguments, said in one line each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = [
    "Backend",
    "Method",
    "box_rows",
    "check_backend",
    "check_box_values",
    "check_nms",
    "check_roi_align",
    "check_roi_align_values",
    "check_soft_nms",
    "pair",
]

Method = Literal["gaussian", "linear", "hard"]
Backend = Literal["compiled", "reference"]

_COORDINATES = (torch.float32, torch.float64)
# As csrc/limits.h has them: samples are counted by the map pixel, and beyond a crop would
# take for ever.
_FARTHEST = float(1 << 22)
_MOST_SAMPLES = 1 << 12
_FEATURES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """(rows, columns) from one number or two."""
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or min(both) < 1:
        raise ValueError(f"output_size: required one or two positive integers; got {size!r}")
    return both[0], both[1]


def box_rows(boxes: Tensor | Sequence[Tensor], features: Tensor) -> Tensor:
    """The (K, 5) form of boxes given either so or as one (L, 4) tensor an image."""
    if isinstance(boxes, Tensor):
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise ValueError(
                "boxes: required (K, 5) with the image index first, or one (L, 4) tensor "
                f"an image; got shape {tuple(boxes.shape)}"
            )
        return boxes
    if len(boxes) != features.shape[0]:
        raise ValueError(
            f"boxes: required one tensor for each of {features.shape[0]} images; got {len(boxes)}"
        )
    for rows in boxes:
        if rows.ndim != 2 or rows.shape[1] != 4:
            raise ValueError(f"boxes: required (L, 4) tensors; got shape {tuple(rows.shape)}")
    if not boxes:
        return features.new_zeros((0, 5), dtype=torch.float32)
    indexed = [
        torch.cat([rows.new_full((rows.shape[0], 1), image), rows], dim=1)
        for image, rows in enumerate(boxes)
    ]
    return torch.cat(indexed)


def check_backend(backend: str) -> None:
    """Refuse a backend that does not exist."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend: required one of {get_args(Backend)}; got {backend!r}")


def _check_coordinates(name: str, boxes: Tensor) -> None:
    if boxes.dtype not in _COORDINATES:
        raise TypeError(
            f"{name}: required float32 or float64, since half precision rounds positions "
            f"to whole pixels; got {boxes.dtype}"
        )


def check_roi_align(
    features: Tensor, rows: Tensor, spatial_scale: float, sampling_ratio: int
) -> None:
    """Refuse what ROIAlign cannot use; values of the boxes are not looked at."""
    if features.ndim != 4:
        raise ValueError(
            f"features: required (images, channels, rows, columns); got {tuple(features.shape)}"
        )
    if features.dtype not in _FEATURES:
        raise TypeError(f"features: required a floating-point dtype; got {features.dtype}")
    _check_coordinates("boxes", rows)
    if rows.device != features.device:
        raise ValueError(f"boxes: required on {features.device}; got {rows.device}")
    if not (spatial_scale > 0.0 and math.isfinite(spatial_scale)):
        raise ValueError(f"spatial_scale: required positive and finite; got {spatial_scale}")
    if sampling_ratio > _MOST_SAMPLES:
        raise ValueError(f"sampling_ratio: required at most {_MOST_SAMPLES}; got {sampling_ratio}")


def check_roi_align_values(features: Tensor, rows: Tensor, spatial_scale: float) -> None:
    """Refuse box values that ROIAlign cannot use; the compiled kernels look for themselves."""
    if not rows.shape[0]:
        return
    if 0 in features.shape[2:]:
        raise ValueError(f"features: required pixels to sample; got {tuple(features.shape)}")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("boxes: required finite; got NaN or infinity")
    if float(rows[:, 1:].abs().max()) * spatial_scale > _FARTHEST:
        raise ValueError("boxes: required edges within 2**22 map pixels; got one beyond")
    low, high = (float(edge) for edge in torch.aminmax(rows[:, 0]))
    if low < 0 or high >= features.shape[0]:
        raise ValueError(
            f"boxes: required an image index in 0..{features.shape[0] - 1}; got {low:g}..{high:g}"
        )


def _check_boxes(boxes: Tensor, scores: Tensor) -> None:
    """Refuse boxes and scores of the wrong shape, type or place; values are not looked at."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: required shape (N, 4); got {tuple(boxes.shape)}")
    _check_coordinates("boxes", boxes)
    if scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"scores: required shape ({boxes.shape[0]},), one a box; got {tuple(scores.shape)}"
        )
    if scores.dtype not in _COORDINATES:
        raise TypeError(f"scores: required float32 or float64; got {scores.dtype}")
    if scores.device != boxes.device:
        raise ValueError(f"scores: required on {boxes.device}; got {scores.device}")


def check_box_values(boxes: Tensor, scores: Tensor) -> None:
    """Refuse values that suppression cannot use; the compiled kernels look for themselves."""
    if not bool(torch.isfinite(boxes).all()):
        raise ValueError("boxes: required finite; got NaN or infinity")
    if not bool((boxes[:, 2:] > boxes[:, :2]).all()):
        raise ValueError("boxes: required x2 > x1 and y2 > y1; got an empty box")
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("scores: required finite; got NaN or infinity")


def check_nms(boxes: Tensor, scores: Tensor, kinds: Tensor | None, iou_threshold: float) -> None:
    """Refuse what `nms` cannot use; values are not looked at."""
    _check_boxes(boxes, scores)
    _check_kinds(boxes, kinds)
    _check_iou_threshold(iou_threshold)


def _check_iou_threshold(iou_threshold: float) -> None:
    if not 0.0 <= iou_threshold <= 1.0:
        raise ValueError(f"iou_threshold: required in 0..1; got {iou_threshold}")


def check_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    kinds: Tensor | None,
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
) -> None:
    """Refuse what `soft_nms` cannot use; values of boxes and scores are not looked at."""
    _check_boxes(boxes, scores)
    if method not in get_args(Method):
        raise ValueError(f"method: required one of {get_args(Method)}; got {method!r}")
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma: required positive and finite; got {sigma}")
    _check_iou_threshold(iou_threshold)
    if not (score_threshold >= 0.0 and math.isfinite(score_threshold)):
        raise ValueError(
            f"score_threshold: required finite and not negative; got {score_threshold}"
        )
    _check_kinds(boxes, kinds)


def _check_kinds(boxes: Tensor, kinds: Tensor | None) -> None:
    if kinds is None:
        return
    if kinds.shape != boxes.shape[:1]:
        raise ValueError(
            f"kinds: required shape ({boxes.shape[0]},), one a box; got {tuple(kinds.shape)}"
        )
    if kinds.dtype.is_floating_point or kinds.dtype.is_complex:
        raise TypeError(f"kinds: required integers; got {kinds.dtype}")
    if kinds.device != boxes.device:
        raise ValueError(f"kinds: required on {boxes.device}; got {kinds.device}")
