"""What the network sees: a frame in units of its own noise, never ADU."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from catalog.background import estimate_background
from catalog.frame import Frame

__all__ = ["CHANNELS", "frame_channels"]

#: Names of the input channels, in order.
CHANNELS: Final = ("linear", "asinh", "smooth", "unusable")

_CLIP_LOW: Final = -6.0
_CLIP_LINEAR: Final = 12.0
_SMOOTH_SIGMA_PX: Final = 1.0


def frame_channels(frame: Frame) -> npt.NDArray[np.float32]:
    """Return the frame as the network's input.

    With z = (data − background) / RMS from the mesh estimate SEP uses:
    ``linear`` is z clipped to [−6, 12] / 4, for the faint; ``asinh`` is
    asinh(z) / 4, which keeps the bright ones apart; ``smooth`` is the S/N map of
    a Gaussian of σ = 1 px, clipped likewise; ``unusable`` is 1 on masked and ½
    on saturated pixels. Masked pixels have z = 0.

    Parameters
    ----------
    frame : Frame
        Any frame with a usable pixel.

    Returns
    -------
    ndarray of float32, shape (4, ny, nx)
    """
    background = estimate_background(frame)
    z = (frame.data - background.level) / background.rms
    z[frame.bad] = 0.0
    # A white-noise map smoothed by a Gaussian has σ_out = σ_in / (2√π·σ).
    smooth = ndimage.gaussian_filter(np.clip(z, _CLIP_LOW, 200.0), _SMOOTH_SIGMA_PX, truncate=3.0)
    smooth *= 2 * np.sqrt(np.pi) * _SMOOTH_SIGMA_PX
    out = np.empty((len(CHANNELS), *frame.shape), dtype=np.float32)
    np.clip(z, _CLIP_LOW, _CLIP_LINEAR, out=out[0])
    np.arcsinh(np.maximum(z, _CLIP_LOW), out=out[1])
    np.clip(smooth, _CLIP_LOW, _CLIP_LINEAR, out=out[2])
    out[:3] /= 4.0
    out[3] = np.where(frame.bad, 1.0, np.where(frame.saturated(), 0.5, 0.0))
    return out
