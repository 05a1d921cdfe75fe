"""Flip the sign of a real frame's noise, to estimate false detections."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.star_shape import keep_star_shape

__all__ = ["FlippedFrame", "sign_flipped"]


@dataclass(frozen=True, eq=False)
class FlippedFrame:
    """A frame whose noise is upside down.

    Parameters
    ----------
    frame : Frame
        The frame for a detector: its bright sources as they were, all else flipped.
    counted : ndarray of bool, shape (ny, nx)
        Where a detection is false: the flipped pixels away from bright sources.
    """

    frame: Frame
    counted: npt.NDArray[np.bool_]

    @property
    def sky(self) -> Frame:
        """The frame with all pixels masked where a detection does not count."""
        return self.frame.with_(mask=~self.counted)


@takes(frame=Frame, background=Background, keep_sigma=Real, grow_px=Integral)
def sign_flipped(
    frame: Frame,
    *,
    background: Background | None = None,
    keep_sigma: float = 5.0,
    grow_px: int = 3,
) -> FlippedFrame:
    """Flip the sign of a frame's noise about its background; bright sources stay.

    Detections on flipped pixels are false: sources only add light, so nothing below
    the background is a source. If the noise is symmetric, the number of detections there
    estimates that of false detections from noise on the frame.

    Parameters
    ----------
    frame : Frame
        A real frame.
    background : Background, optional
        Background of the frame; measured if not given.
    keep_sigma : float
        Pixels brighter than this many sigmas, singly or in a sum of 3 px by 3 px, are not
        flipped: they would be deeper than any hole in a real frame. Nor are single pixels
        as far below the background: dark pixels, and the residuals of hot
        pixels after dark subtraction, are not noise. Infinity flips everything.
    grow_px : int
        Width by which the regions that stay grow [px]; those where nothing counts grow by
        as much again.

    Returns
    -------
    FlippedFrame
        Flipped pixels are ``2·level - data``, so that level and noise of the background are
        unchanged. The metadata, the mask and the measured shape of the stars are kept.

    Raises
    ------
    BadInputError
        If no pixel counts, or a parameter is out of range.

    Notes
    -----
    The bright sources stay because a detector may judge a peak by them: by the density of stars,
    by their shape. On a frame without any star `neural` calls hardly anything a star
    (1 false one per Mpix in place of 24 on SkyMaker's frames, crowded ones left out).

    False detections caused by real sources and artefacts are not estimated, because their
    light is positive: spikes, halos, smear, cosmic rays, hot pixels, split sources. Photon
    noise is slightly skewed, so that in dark sky the flipped pixels have fewer high peaks than
    the frame. Stars below `keep_sigma` remain as dips: they replace a little noise, and in a
    crowded field what lies between dips looks like stars.
    """
    if not keep_sigma > 0:
        raise BadInputError("keep_sigma", "a number of sigmas > 0", repr(keep_sigma))
    if grow_px < 0:
        raise BadInputError("grow_px", "a number of px >= 0", repr(grow_px))
    if grow_px > max(frame.shape):
        required = f"a number of px within the frame's {max(frame.shape)}"
        raise BadInputError("grow_px", required, repr(grow_px))
    if background is None:
        background = estimate_background(frame)
    sigmas = np.where(frame.bad, 0, (frame.data - background.level) / background.rms)
    # The sum of nine pixels has three times the noise of one.
    strong = (np.abs(sigmas) > keep_sigma) | (3 * ndimage.uniform_filter(sigmas, 3) > keep_sigma)
    stays, left_out = _grown(strong, grow_px), _grown(strong, 2 * grow_px)
    counted = ~(frame.bad | left_out)
    if not counted.any():
        raise BadInputError(frame.name, "some sky between the sources", "none")
    flipped = frame.with_(
        data=np.where(stays, frame.data, 2 * background.level - frame.data),
        name=f"{frame.name}, flipped",
    )
    keep_star_shape(flipped, frame, background)
    return FlippedFrame(flipped, counted)


def _grown(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Return a mask that is wider by a number of pixels."""
    if not width:
        return mask
    disk = np.hypot(*np.mgrid[-width : width + 1, -width : width + 1]) <= width
    return np.asarray(ndimage.binary_dilation(mask, disk))
