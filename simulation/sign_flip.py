"""A real frame upside down: its noise without its sources."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background

__all__ = ["sign_flipped"]


def sign_flipped(
    frame: Frame,
    *,
    background: Background | None = None,
    mask_sigma: float = 5.0,
    grow_px: int = 3,
) -> Frame:
    """Return the frame mirrored about its background, with what was no noise masked.

    Whatever a detector finds on it is false: light only ever adds, so nothing below
    the sky is a source. As far as the noise is symmetric, it finds as many as noise
    alone gives it on the frame itself.

    Parameters
    ----------
    frame : Frame
        A real frame.
    background : Background, optional
        The frame's, if it is at hand.
    mask_sigma : float
        What is brighter than this many sigmas, in a pixel or in a sum of 3 px by 3 px,
        is masked: it would be a hole of a depth that no detector has ever seen. So are
        single pixels as far below the sky: dark pixels, and what a subtracted dark
        frame leaves of hot ones, are no noise either. Infinity masks nothing.
    grow_px : int
        By how much the masked regions grow [px].

    Returns
    -------
    Frame
        Pixels ``2·level - data``, so that the sky keeps its level and its noise. Facts are
        kept; the mask grows.

    Raises
    ------
    BadInputError
        If nothing is left unmasked, or a parameter is out of range.

    Notes
    -----
    It does not see what real sources and artefacts cause, for their light is positive:
    spikes, halos, smear, cosmic rays, hot pixels, split sources. Photon noise is a
    little skew, so that in dark sky the flipped frame has fewer high peaks than the
    frame. Stars below `mask_sigma` stay as dips and take the place of a little noise.
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
    return frame.with_(
        data=2 * background.level - frame.data, mask=mask, name=f"{frame.name}, flipped"
    )
