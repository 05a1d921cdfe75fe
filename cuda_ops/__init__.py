"""Compiled soft-NMS, NMS and ROIAlign for CPU and CUDA, beside readable versions.

Registered with torch in the namespace `skyduel`. The compiled version is what
runs; `skyduel.cuda_ops.reference`, or `backend="reference"`, is chosen by name only.
"""

from __future__ import annotations

from skyduel.cuda_ops import _register, reference
from skyduel.cuda_ops._library import OperatorsUnavailableError, build_info, is_available
from skyduel.cuda_ops.boxes import box_area, box_iou, paired_iou
from skyduel.cuda_ops.ops import batched_nms, batched_soft_nms, nms, roi_align, soft_nms

__all__ = [
    "OperatorsUnavailableError",
    "batched_nms",
    "batched_soft_nms",
    "box_area",
    "box_iou",
    "build_info",
    "is_available",
    "nms",
    "paired_iou",
    "reference",
    "roi_align",
    "soft_nms",
]

_register.register()
