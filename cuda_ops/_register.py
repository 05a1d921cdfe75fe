"""Register with torch what the operators need beside their kernels.

The schemas and the kernels are in C++. The shapes of results without data (for tracing
and `torch.compile`) and the derivatives are defined here. No autocast rule is registered,
on purpose: the kernels take features in bfloat16 together with boxes in float32, so
nothing needs to be cast under autocast.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skyduel.cuda_ops._library import is_available

__all__ = ["register"]

_MARK = "registered_from_python"


def register() -> None:
    """Register fake kernels and derivatives, if the library is loaded and they are missing."""
    # In a checkout's root the package can also be imported without its root: a second copy
    # in the same process, for which everything is registered already.
    if not is_available() or hasattr(torch.ops.skyduel, _MARK):
        return
    setattr(torch.ops.skyduel, _MARK, True)
    torch.library.register_fake("skyduel::roi_align", _roi_align_fake)
    torch.library.register_fake("skyduel::roi_align_backward", _roi_align_backward_fake)
    torch.library.register_fake("skyduel::nms", _nms_fake)
    torch.library.register_fake("skyduel::soft_nms", _soft_nms_fake)
    torch.library.register_autograd(
        "skyduel::roi_align", _roi_align_backward, setup_context=_roi_align_context
    )
    torch.library.register_autograd(
        "skyduel::roi_align_backward",
        _roi_align_backward_backward,
        setup_context=_roi_align_backward_context,
    )


def _is_channels_last(features: Tensor) -> bool:
    # A map that is both (one channel, one pixel) counts as contiguous, in C++ too.
    return not features.is_contiguous() and features.is_contiguous(
        memory_format=torch.channels_last
    )


def _format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def _roi_align_fake(
    features: Tensor,
    boxes: Tensor,
    rows: int,
    columns: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return torch.empty(
        (boxes.shape[0], features.shape[1], rows, columns),
        dtype=features.dtype,
        device=features.device,
        memory_format=_format(_is_channels_last(features)),
    )


def _roi_align_backward_fake(
    gradient: Tensor,
    boxes: Tensor,
    images: int,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    channels_last: bool,
) -> Tensor:
    return torch.empty(
        (images, gradient.shape[1], height, width),
        dtype=gradient.dtype,
        device=gradient.device,
        memory_format=_format(channels_last),
    )


def _roi_align_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, boxes, *settings = inputs
    ctx.save_for_backward(boxes)
    ctx.shape = features.shape
    ctx.settings = settings[2:]
    ctx.channels_last = _is_channels_last(features)


def _roi_align_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    (boxes,) = ctx.saved_tensors
    images, _, height, width = ctx.shape
    if (
        gradient.is_cuda
        and torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    ):
        raise RuntimeError(
            "skyduel::roi_align_backward adds atomically on CUDA and is not deterministic there"
        )
    result = torch.ops.skyduel.roi_align_backward(
        gradient, boxes, images, height, width, *ctx.settings, ctx.channels_last
    )
    return (result, *(None,) * 6)


def _roi_align_backward_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gradient, boxes, *settings = inputs
    ctx.save_for_backward(boxes)
    ctx.bins = gradient.shape[2:]
    ctx.settings = settings[3:6]


def _roi_align_backward_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    # The backward pass is linear, and ROIAlign itself is its transpose.
    (boxes,) = ctx.saved_tensors
    result = torch.ops.skyduel.roi_align(gradient, boxes, *ctx.bins, *ctx.settings)
    return (result, *(None,) * 8)


def _nms_fake(boxes: Tensor, scores: Tensor, kinds: Tensor | None, iou_threshold: float) -> Tensor:
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((kept,), dtype=torch.int64)


def _soft_nms_fake(
    boxes: Tensor,
    scores: Tensor,
    kinds: Tensor | None,
    method: int,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
) -> tuple[Tensor, Tensor]:
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((kept,), dtype=torch.int64), scores.new_empty((kept,))
