"""Input channels of the network: a frame in units of its noise."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.detect.model.threads import each_in_threads

__all__ = ["CHANNELS", "CLIP_LINEAR", "CLIP_LOW", "CLIP_SMOOTHED", "KERNEL", "frame_channels"]

#: Names of the input channels, in order.
CHANNELS: Final = ("linear", "asinh", "smooth", "unusable")

#: Limits of the input, in units of the noise.
CLIP_LOW: Final = -6.0
CLIP_LINEAR: Final = 12.0
_SMOOTH_SIGMA_PX: Final = 1.0
_REACH_PX: Final = 3
#: Pixels are clipped at this S/N before smoothing.
CLIP_SMOOTHED: Final = 200.0
#: Rows computed at a time.
_BAND: Final = 64


def frame_channels(
    frame: Frame,
    background: Background,
    box: tuple[int, int, int, int] | None = None,
) -> npt.NDArray[np.float32]:
    """Compute the input channels of a frame, or of a part of it.

    With z = (data − background) / RMS from the mesh estimate SEP uses:
    ``linear`` is z clipped to [−6, 12] / 4, for faint sources; ``asinh`` is
    asinh(z) / 4, for bright sources; ``smooth`` is the S/N map of
    a Gaussian of σ = 1 px, clipped likewise; ``unusable`` is 1 on masked and ½
    on saturated pixels. Masked pixels have z = 0.

    Parameters
    ----------
    frame : Frame
        Any frame with a usable pixel.
    background : Background
        Background and noise of the frame.
    box : (y0, y1, x0, x1), optional
        Part of the frame [px], half-open; default the whole frame. The channels of a
        part equal that part of the whole frame's.

    Returns
    -------
    ndarray of float32, shape (4, y1 - y0, x1 - x0)
    """
    y0, y1, x0, x1 = box or (0, frame.shape[0], 0, frame.shape[1])
    out = np.empty((len(CHANNELS), y1 - y0, x1 - x0), dtype=np.float32)

    def fill(row: int) -> None:
        rows = row, min(row + _BAND, y1)
        _fill(frame, background, (*rows, x0, x1), out[:, rows[0] - y0 : rows[1] - y0])

    # Bands stay in the cache through all passes.
    each_in_threads(fill, range(y0, y1, _BAND))
    return out


def _fill(
    frame: Frame,
    background: Background,
    box: tuple[int, int, int, int],
    out: npt.NDArray[np.float32],
) -> None:
    """Write the channels of a part of a frame, (4, y1 - y0, x1 - x0)."""
    (ny, nx), (y0, y1, x0, x1) = frame.shape, box
    top, bottom = max(0, y0 - _REACH_PX), min(ny, y1 + _REACH_PX)
    left, right = max(0, x0 - _REACH_PX), min(nx, x1 + _REACH_PX)
    wide = slice(top, bottom), slice(left, right)
    z = frame.data[wide] - background.level[wide]
    z /= background.rms[wide]
    z[frame.bad[wide]] = 0.0
    # The frame is mirrored at its border.
    cut = (top - y0 + _REACH_PX, y1 + _REACH_PX - bottom), (
        left - x0 + _REACH_PX, x1 + _REACH_PX - right,
    )  # fmt: skip
    smooth = np.clip(z, CLIP_LOW, CLIP_SMOOTHED)
    smooth = _gaussian(_gaussian(np.pad(smooth, cut, mode="symmetric"), 0), 1)
    z = z[y0 - top : y1 - top, x0 - left : x1 - left]
    np.clip(z, CLIP_LOW, CLIP_LINEAR, out=out[0])
    np.arcsinh(np.maximum(z, CLIP_LOW), out=out[1])
    np.clip(smooth, CLIP_LOW, CLIP_LINEAR, out=out[2])
    out[:3] *= 0.25
    part = slice(y0, y1), slice(x0, x1)
    out[3] = frame.bad[part]
    if frame.saturation is not None:
        out[3][~frame.bad[part] & (frame.data[part] >= frame.saturation)] = 0.5


def _gaussian(z: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Smooth z along an axis with a Gaussian, and rescale it to units of the noise."""
    n = z.shape[axis] - 2 * _REACH_PX
    parts = [np.moveaxis(z, axis, 0)[i : i + n] for i in range(2 * _REACH_PX + 1)]
    out = parts[_REACH_PX] * KERNEL[_REACH_PX]
    for i in range(_REACH_PX):
        pair = parts[i] + parts[-1 - i]
        pair *= KERNEL[i]
        out += pair
    return np.moveaxis(out, 0, axis)


def _kernel() -> npt.NDArray[np.float32]:
    offsets = np.arange(-_REACH_PX, _REACH_PX + 1)
    weights = np.exp(-(offsets**2) / (2 * _SMOOTH_SIGMA_PX**2))
    # White noise smoothed by a Gaussian in two axes has σ_out = σ_in / (2√π·σ); one axis has
    # the square root.
    weights *= np.sqrt(2 * np.sqrt(np.pi) * _SMOOTH_SIGMA_PX) / weights.sum()
    return weights.astype(np.float32)


#: Weights of the smoothing along one axis.
KERNEL: Final = _kernel()
