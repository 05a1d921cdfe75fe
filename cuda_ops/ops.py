"""The operators as one calls them: arguments checked, then the compiled kernel.

`backend="reference"` runs the readable version instead; nothing else ever
does. A missing library raises `OperatorsUnavailableError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from skyduel.cuda_ops import _library, reference
from skyduel.cuda_ops._check import (
    Backend,
    Method,
    box_rows,
    check_backend,
    check_nms,
    check_roi_align,
    check_soft_nms,
    pair,
)

__all__ = ["batched_nms", "batched_soft_nms", "nms", "roi_align", "soft_nms"]

_METHOD_NUMBERS: dict[str, int] = {"gaussian": 0, "linear": 1, "hard": 2}
_REFUSAL = re.compile(r"skyduel refuses: ([^\n]*)")


def roi_align(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    backend: Backend = "compiled",
) -> Tensor:
    """Crops of fixed size from feature maps, by averaged bilinear samples.

    The meaning and results are those of `torchvision.ops.roi_align`, and
    degenerate boxes give what they give there. Differentiable, twice, with
    respect to `features`; boxes receive no gradient.

    Parameters
    ----------
    features : Tensor
        (N, C, H, W); float32, float64, bfloat16 or float16 (float16 on CUDA
        only). Contiguous and channels-last maps are read in place.
    boxes : Tensor or sequence of Tensor
        (K, 5) rows `image, x1, y1, x2, y2`, or one (L, 4) tensor of
        `x1, y1, x2, y2` an image; float32 or float64, edges in pixels of the
        frame that `spatial_scale` takes to the map.
    output_size : int or (int, int)
        Bins (rows, columns) of a crop.
    spatial_scale : float
        Map pixels per frame pixel.
    sampling_ratio : int
        Samples a bin and axis, at most 4096; 0 or less takes `ceil(bin size)` of them.
    aligned : bool
        Whether to shift by half a pixel, so that a box's edges and the
        pixels' centres share one frame. Without it a box is also held to at
        least one map pixel.
    backend : {"compiled", "reference"}
        Which version to run.

    Returns
    -------
    Tensor
        (K, C, rows, columns) in the dtype of `features`; channels-last where
        `features` is. Sums are taken in float32 (float64 for float64). The
        same bits for any number of threads, backward also, on the CPU.

    Raises
    ------
    ValueError, TypeError
        For a wrong shape, dtype or setting; on the CPU also for a box that is not
        finite, names no image or has an edge beyond 2**22 map pixels (on CUDA
        that box's crop is NaN, since looking would stop the queue).
    OperatorsUnavailableError
        If the compiled operators are not there.

    References
    ----------
    He, Gkioxari, Dollar & Girshick (2017), "Mask R-CNN", section 3.
    """
    check_backend(backend)
    if backend == "reference":
        return reference.roi_align(
            features, boxes, output_size, spatial_scale, sampling_ratio, aligned
        )
    rows, bins = box_rows(boxes, features), pair(output_size)
    check_roi_align(features, rows, spatial_scale, sampling_ratio)
    _library.require(features.device)
    result: Tensor = _call(
        torch.ops.skyduel.roi_align,
        features,
        rows.detach(),
        *bins,
        float(spatial_scale),
        max(int(sampling_ratio), 0),
        bool(aligned),
    )
    return result


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, *, backend: Backend = "compiled"
) -> Tensor:
    """Greedy non-maximum suppression.

    Parameters
    ----------
    boxes : Tensor
        (N, 4), float32 or float64, edges `x1, y1, x2, y2` [px].
    scores : Tensor
        (N,), float32 or float64.
    iou_threshold : float
        A box goes when its overlap with a kept, better one is above this.
    backend : {"compiled", "reference"}
        Which version to run.

    Returns
    -------
    Tensor
        int64 indices of the kept boxes by falling score, equal scores by
        input order. Overlaps are computed in the dtype of `boxes`, as
        torchvision does.

    Raises
    ------
    ValueError, TypeError
        For a wrong shape or dtype, a NaN, or a box without area.
    OperatorsUnavailableError
        If the compiled operators are not there.
    """
    return batched_nms(boxes, scores, None, iou_threshold, backend=backend)


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    kinds: Tensor | None,
    iou_threshold: float,
    *,
    backend: Backend = "compiled",
) -> Tensor:
    """`nms` within each kind (class, image, or both in one number).

    Parameters
    ----------
    boxes, scores, iou_threshold, backend
        As for `nms`.
    kinds : Tensor or None
        (N,) integers; boxes of different kinds never suppress each other.

    Returns
    -------
    Tensor
        int64 indices of the kept boxes by falling score over all kinds, equal
        scores by input order.

    Raises
    ------
    ValueError, TypeError, OperatorsUnavailableError
        As for `nms`.
    """
    check_backend(backend)
    check_nms(boxes, scores, kinds, iou_threshold)
    if backend == "reference":
        return reference.nms(boxes, scores, iou_threshold, kinds)
    _library.require(boxes.device)
    kept: Tensor = _call(
        torch.ops.skyduel.nms, boxes.detach(), scores.detach(), kinds, float(iou_threshold)
    )
    return kept


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    kinds: Tensor | None = None,
    method: Method = "gaussian",
    sigma: float = 0.6,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    *,
    backend: Backend = "compiled",
) -> tuple[Tensor, Tensor]:
    r"""Soft non-maximum suppression: overlapped boxes lose score instead of life.

    The greedy algorithm of Bodla et al. (2017), figure 2: take the best box
    left, lower the score of every other by its overlap with it, repeat. A
    score ``s`` with overlap ``o`` becomes
    ``s exp(-o² / sigma)`` ("gaussian", their equation 3),
    ``s (1 - o)`` where ``o`` exceeds `iou_threshold` ("linear", their
    section 3), or nothing there ("hard").

    Parameters
    ----------
    boxes : Tensor
        (N, 4), float32 or float64, edges `x1, y1, x2, y2` [px]; areas are
        `(x2 - x1) * (y2 - y1)`.
    scores : Tensor
        (N,), float32 or float64.
    kinds : Tensor or None
        (N,) integers; boxes of different kinds do not touch each other.
    method : {"gaussian", "linear", "hard"}
        What an overlap does to a score.
    sigma : float
        Width of the Gaussian; only "gaussian" uses it.
    iou_threshold : float
        Overlap above which "linear" and "hard" act.
    score_threshold : float
        Boxes are dropped once their score is below this (0 or more).
    backend : {"compiled", "reference"}
        Which version to run.

    Returns
    -------
    index : Tensor
        int64 indices into the input of the boxes kept, by falling decayed
        score, equal scores by input order.
    score : Tensor
        Their decayed scores, in the dtype of `scores`; computed in float64.

    Raises
    ------
    ValueError, TypeError
        For a wrong shape, dtype or setting, a NaN, or a box without area.
    OperatorsUnavailableError
        If the compiled operators are not there.

    References
    ----------
    Bodla, Singh, Chellappa & Davis (2017), "Soft-NMS - Improving Object
    Detection With One Line of Code", ICCV.
    """
    check_backend(backend)
    if backend == "reference":
        return reference.soft_nms(
            boxes, scores, kinds, method, sigma, iou_threshold, score_threshold
        )
    check_soft_nms(boxes, scores, kinds, method, sigma, iou_threshold, score_threshold)
    _library.require(boxes.device)
    index, score = _call(
        torch.ops.skyduel.soft_nms,
        boxes.detach(),
        scores.detach(),
        kinds,
        _METHOD_NUMBERS[method],
        float(sigma),
        float(iou_threshold),
        float(score_threshold),
    )
    return index, score


def batched_soft_nms(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    kinds: Sequence[Tensor] | None = None,
    method: Method = "gaussian",
    sigma: float = 0.6,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    *,
    backend: Backend = "compiled",
) -> list[tuple[Tensor, Tensor]]:
    """`soft_nms` of several images in one call.

    Parameters
    ----------
    boxes, scores, kinds : sequence of Tensor
        What `soft_nms` takes, one tensor an image.
    method, sigma, iou_threshold, score_threshold, backend
        As for `soft_nms`.

    Returns
    -------
    list of (Tensor, Tensor)
        What `soft_nms` returns, one pair an image; indices count within the
        image.

    Raises
    ------
    ValueError, TypeError, OperatorsUnavailableError
        As for `soft_nms`; ValueError also if the sequences differ in length.
    """
    if len(scores) != len(boxes) or (kinds is not None and len(kinds) != len(boxes)):
        raise ValueError(
            f"scores, kinds: required one tensor for each of {len(boxes)} images; "
            f"got {len(scores)} and {'none' if kinds is None else len(kinds)}"
        )
    if not boxes:
        return []
    counts = torch.tensor([len(each) for each in boxes])
    starts = counts.cumsum(0) - counts
    image = torch.repeat_interleave(torch.arange(len(boxes)), counts).to(boxes[0].device)
    groups = image
    if kinds is not None and image.numel():
        # One number for (image, kind): kinds are first numbered densely, so
        # that their product with the images cannot overflow.
        dense = torch.unique(torch.cat(list(kinds)), return_inverse=True)[1]
        groups = image * (int(dense.max()) + 1) + dense
    index, score = soft_nms(
        torch.cat(list(boxes)),
        torch.cat(list(scores)),
        groups,
        method,
        sigma,
        iou_threshold,
        score_threshold,
        backend=backend,
    )
    # A stable sort by image keeps the falling order of the scores within each.
    of_image, order = torch.sort(image[index], stable=True)
    lengths = torch.bincount(of_image, minlength=len(boxes)).tolist()
    split = zip(torch.split(index[order], lengths), torch.split(score[order], lengths), strict=True)
    return [(rows - int(start), left) for start, (rows, left) in zip(starts, split, strict=True)]


def _call(operator: Callable[..., Any], *arguments: Any) -> Any:
    """Call a compiled operator, turning its refusals of bad values into ValueError."""
    if torch.compiler.is_compiling():
        return operator(*arguments)
    try:
        return operator(*arguments)
    except RuntimeError as error:
        refusal = _REFUSAL.search(str(error))
        if refusal is None:
            raise
        raise ValueError(refusal[1]) from None
