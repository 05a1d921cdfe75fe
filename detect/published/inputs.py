"""Input of the published network: scaling of the pixels and size of the image."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.detect.model.inputs import frame_channels

__all__ = ["SHORTER_SIDE_PX", "min_max", "resized", "scaled"]

#: Shorter side of every published input, and the bound of the longer one [px].
SHORTER_SIDE_PX: Final = 500
LONGEST_SIDE_PX: Final = 1000


def scaled(frame: Frame, background: Background, *, published: bool) -> npt.NDArray[np.float32]:
    """Return the three input channels of a frame, shape (3, ny, nx).

    Parameters
    ----------
    frame : Frame
        Any frame.
    background : Background
        Of the frame; used unless ``published``.
    published : bool
        If True, `min_max` three times; else the channels ``linear``, ``asinh`` and ``smooth``
        of `skyduel.detect.model.inputs.frame_channels`.
    """
    if published:
        return np.repeat(min_max(frame)[None], 3, axis=0)
    return frame_channels(frame, background)[:3]


def min_max(frame: Frame) -> npt.NDArray[np.float32]:
    """Return (x - mean) / (max - min) over the usable pixels; 0 on the others, shape (ny, nx)."""
    good = frame.data[~frame.bad].astype(np.float64)
    span = good.max() - good.min()
    out = (frame.data - np.float32(good.mean())) / np.float32(span if span > 0 else 1.0)
    return np.where(frame.bad, np.float32(0.0), out).astype(np.float32)


def resized(image: Tensor) -> tuple[Tensor, float]:
    """Resize an image bilinearly to the published size; return it and the factor.

    Parameters
    ----------
    image : Tensor, shape (3, h, w)
        Scaled image.

    Returns
    -------
    image : Tensor, shape (3, h', w')
        Its shorter side is 500 px, or its longer one 1000 px if that is smaller.
    factor : float
        New over old size.
    """
    height, width = image.shape[-2:]
    factor = min(SHORTER_SIDE_PX / min(height, width), LONGEST_SIDE_PX / max(height, width))
    if factor == 1.0:
        return image, 1.0
    size = max(1, round(height * factor)), max(1, round(width * factor))
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0], factor


def as_tensor(image: npt.NDArray[np.float32]) -> Tensor:
    """Return an image (3, h, w) as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(image))
