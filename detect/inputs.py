"""What the network sees: a frame in units of its own noise, never ADU."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from catalog.background import Background, estimate_background
from catalog.frame import Frame

__all__ = ["CHANNELS", "frame_channels"]

#: Names of the input channels, in order.
CHANNELS: Final = ("linear", "asinh", "smooth", "unusable")

_CLIP_LOW: Final = -6.0
_CLIP_LINEAR: Final = 12.0
_SMOOTH_SIGMA_PX: Final = 1.0
_REACH_PX: Final = 3


def frame_channels(
    frame: Frame,
    box: tuple[int, int, int, int] | None = None,
    background: Background | None = None,
) -> npt.NDArray[np.float32]:
    """Return the frame, or a part of it, as the network's input.

    With z = (data − background) / RMS from the mesh estimate SEP uses:
    ``linear`` is z clipped to [−6, 12] / 4, for the faint; ``asinh`` is
    asinh(z) / 4, which keeps the bright ones apart; ``smooth`` is the S/N map of
    a Gaussian of σ = 1 px, clipped likewise; ``unusable`` is 1 on masked and ½
    on saturated pixels. Masked pixels have z = 0.

    Parameters
    ----------
    frame : Frame
        Any frame with a usable pixel.
    box : (y0, y1, x0, x1), optional
        The part wanted [px], half-open; the whole frame without it. A part is
        equal to that part of the whole.
    background : Background, optional
        The frame's, if it is at hand; by default `estimate_background`.

    Returns
    -------
    ndarray of float32, shape (4, y1 - y0, x1 - x0)
    """
    sky = estimate_background(frame) if background is None else background
    y0, y1, x0, x1 = box or (0, frame.shape[0], 0, frame.shape[1])
    wide = (
        slice(max(0, y0 - _REACH_PX), y1 + _REACH_PX),
        slice(max(0, x0 - _REACH_PX), x1 + _REACH_PX),
    )
    z = (frame.data[wide] - sky.level[wide]) / sky.rms[wide]
    z[frame.bad[wide]] = 0.0
    # A white-noise map smoothed by a Gaussian has σ_out = σ_in / (2√π·σ).
    smooth = ndimage.gaussian_filter(
        np.clip(z, _CLIP_LOW, 200.0), _SMOOTH_SIGMA_PX, radius=_REACH_PX
    )
    smooth *= 2 * np.sqrt(np.pi) * _SMOOTH_SIGMA_PX
    top, left = y0 - wide[0].start, x0 - wide[1].start
    inner = slice(top, top + y1 - y0), slice(left, left + x1 - x0)
    z, smooth = z[inner], smooth[inner]
    out = np.empty((len(CHANNELS), *z.shape), dtype=np.float32)
    np.clip(z, _CLIP_LOW, _CLIP_LINEAR, out=out[0])
    np.arcsinh(np.maximum(z, _CLIP_LOW), out=out[1])
    np.clip(smooth, _CLIP_LOW, _CLIP_LINEAR, out=out[2])
    out[:3] /= 4.0
    part = slice(y0, y1), slice(x0, x1)
    out[3] = frame.bad[part]
    if frame.saturation is not None:
        out[3][~frame.bad[part] & (frame.data[part] >= frame.saturation)] = 0.5
    return out
