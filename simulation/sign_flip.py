"""Flip the sign of a real frame about its background, to estimate false detections."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.star_shape import keep_star_shape

__all__ = ["sign_flipped"]


@takes(frame=Frame)
def sign_flipped(
    frame: Frame,
    *,
    background: Background | None = None,
    mask_sigma: float = 5.0,
    grow_px: int = 3,
) -> Frame:
    """Flip the sign of a frame about its background, and mask pixels that are not noise.

    All detections on the flipped frame are false: sources only add light, so nothing below
    the background is a source. If the noise is symmetric, the number of detections equals
    that of false detections from noise on the frame.

    Parameters
    ----------
    frame : Frame
        A real frame.
    background : Background, optional
        Background of the frame; measured if not given.
    mask_sigma : float
        Pixels brighter than this many sigmas, singly or in a sum of 3 px by 3 px, are
        masked: flipped, they would be deeper than any hole in a real frame. Single pixels
        as far below the background are also masked: dark pixels, and the residuals of hot
        pixels after dark subtraction, are not noise. Infinity masks nothing.
    grow_px : int
        Width by which the masked regions grow [px].

    Returns
    -------
    Frame
        Pixels ``2·level - data``, so that level and noise of the background are unchanged.
        The metadata are kept, and the shape of the stars, so that a detector looks at both
        frames in the same way; the mask grows.

    Raises
    ------
    BadInputError
        If all pixels are masked, or a parameter is out of range.

    Notes
    -----
    False detections caused by real sources and artefacts are not estimated, because their
    light is positive: spikes, halos, smear, cosmic rays, hot pixels, split sources. Photon
    noise is slightly skewed, so that in dark sky the flipped frame has fewer high peaks than
    the frame. Stars below `mask_sigma` remain as dips and replace a little noise.
    """
    if not mask_sigma > 0:
        raise BadInputError("mask_sigma", "a number of sigmas > 0", repr(mask_sigma))
    if grow_px < 0:
        raise BadInputError("grow_px", "a number of px >= 0", repr(grow_px))
    if background is None:
        background = estimate_background(frame)
    sigmas = np.where(frame.bad, 0, (frame.data - background.level) / background.rms)
    # The sum of nine pixels has three times the noise of one.
    strong = (np.abs(sigmas) > mask_sigma) | (3 * ndimage.uniform_filter(sigmas, 3) > mask_sigma)
    if grow_px:
        disk = np.hypot(*np.mgrid[-grow_px : grow_px + 1, -grow_px : grow_px + 1]) <= grow_px
        strong = ndimage.binary_dilation(strong, disk)
    mask = frame.bad | strong
    if mask.all():
        raise BadInputError(frame.name, "some sky between the sources", "none")
    flipped = frame.with_(
        data=2 * background.level - frame.data, mask=mask, name=f"{frame.name}, flipped"
    )
    keep_star_shape(flipped, frame, background)
    return flipped
