"""The sky level and its noise over a frame, estimated in one place for every room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sep

from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame

__all__ = ["MESH_PX", "RMS_FLOOR", "Background", "estimate_background"]

# Below this many usable pixels a histogram's mode means nothing.
_FEW_PIXELS = 16
# SEP leaves a mesh out when less than this part of it is usable.
_GOOD_FRACTION = 0.5
#: Side of a mesh, unless another is asked for [px].
MESH_PX = 64
#: Lowest noise accepted, as a part of the frame's median noise.
RMS_FLOOR = 0.1


@dataclass(frozen=True, eq=False)
class Background:
    """The background of one frame.

    Parameters
    ----------
    level : ndarray of float32, shape (ny, nx)
        Sky level of every pixel [ADU], read-only.
    rms : ndarray of float32, shape (ny, nx)
        Standard deviation of the sky in every pixel [ADU], > 0, read-only.
    global_level : float
        One level for the whole frame [ADU].
    global_rms : float
        One standard deviation for the whole frame [ADU], > 0.
    """

    level: npt.NDArray[np.float32]
    rms: npt.NDArray[np.float32]
    global_level: float
    global_rms: float

    def __post_init__(self) -> None:
        self.level.flags.writeable = False
        self.rms.flags.writeable = False


def estimate_background(frame: Frame, mesh_px: int = MESH_PX, filter_meshes: int = 3) -> Background:
    """Return the sky level and noise of a frame, as SExtractor estimates them.

    Parameters
    ----------
    frame : Frame
        Masked pixels take no part.
    mesh_px : int
        Side of a mesh [px]; no mesh is larger than the frame.
    filter_meshes : int
        Side of the median filter over the grid of meshes.

    Returns
    -------
    Background
        Level and standard deviation per pixel [ADU].

    Raises
    ------
    BadInputError
        If a size is not positive, or the pixel values are beyond what single
        precision can hold the statistics of.

    Notes
    -----
    Clipped mode per mesh, median filter, bicubic spline (Bertin & Arnouts
    1996, section 3), by SEP, with two departures where SEP has no answer:

    - SEP leaves out a mesh that is more than half masked and, when that
      concerns all of them, reports level 0 and noise 1. Here the whole frame
      then gets the one level and noise of its unmasked pixels.
    - The noise is zero in regions of constant value, and a spline may swing
      below zero beside them. It is held at or above a tenth of the frame's
      median noise; where that is zero too, it is the noise of rounding,
      (smallest step between pixel values)/sqrt(12).
    """
    for name, size in (("mesh_px", mesh_px), ("filter_meshes", filter_meshes)):
        if size < 1:
            raise BadInputError(name, "a size of at least 1", repr(size))
    ny, nx = frame.shape
    height, width = min(mesh_px, ny), min(mesh_px, nx)
    usable = ~frame.bad
    if usable.sum() < _FEW_PIXELS or not _any_good_mesh(usable, height, width):
        level, rms, global_level, global_rms = _flat(frame, usable)
    else:
        # SEP asks for writable memory, and a frame's is read-only.
        sky = sep.Background(
            frame.data.copy(),
            mask=frame.bad.copy(),
            bw=width,
            bh=height,
            fw=filter_meshes,
            fh=filter_meshes,
        )
        level = np.asarray(sky.back(dtype=np.float32))
        rms = np.asarray(sky.rms(dtype=np.float32))
        global_level, global_rms = float(sky.globalback), float(sky.globalrms)
    # One that is not finite makes the extremes so: no array of flags is needed.
    lowest, highest = float(rms.min()), float(rms.max())
    if not np.isfinite([level.min(), level.max(), lowest, highest, global_level]).all():
        raise BadInputError(
            frame.name,
            "pixel values whose mean and variance single precision can hold",
            f"values up to {float(np.abs(frame.data[usable]).max()):.3g}",
        )
    if min(lowest, global_rms) >= RMS_FLOOR * highest > 0:  # so above a share of the median too
        return Background(level, rms, global_level, global_rms)
    floor = _rms_floor(frame, usable, rms)
    rms = np.maximum(rms, np.float32(floor))
    return Background(level, rms, global_level, max(global_rms, floor))


def _any_good_mesh(usable: npt.NDArray[np.bool_], height: int, width: int) -> bool:
    """Return whether any mesh keeps enough usable pixels for SEP to measure it."""
    if usable.all():
        return True
    ny, nx = usable.shape
    rows, columns = np.arange(0, ny, height), np.arange(0, nx, width)
    good = np.add.reduceat(np.add.reduceat(usable.astype(np.int64), rows, 0), columns, 1)
    area = np.outer(np.diff(np.append(rows, ny)), np.diff(np.append(columns, nx)))
    return bool((good > _GOOD_FRACTION * area).any())


def _flat(
    frame: Frame, usable: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float, float]:
    """Return one level and one noise for the whole frame, from its usable pixels."""
    values = np.ascontiguousarray(frame.data[usable])
    if values.size < _FEW_PIXELS:
        level, rms = float(np.median(values)), float(np.std(values, dtype=np.float64))
    else:
        sky = sep.Background(values[np.newaxis, :].copy(), bw=values.size, bh=1)
        level, rms = float(sky.globalback), float(np.asarray(sky.rms())[0, 0])
    return (
        np.full(frame.shape, level, dtype=np.float32),
        np.full(frame.shape, rms, dtype=np.float32),
        level,
        rms,
    )


def _rms_floor(frame: Frame, usable: npt.NDArray[np.bool_], rms: npt.NDArray[np.float32]) -> float:
    """Return the lowest noise that is believed [ADU]; the docstring above gives the rule."""
    typical = float(np.median(rms[usable]))
    if typical > 0:
        return RMS_FLOOR * typical
    positive = rms[usable & (rms > 0)]
    if positive.size:
        return RMS_FLOOR * float(np.median(positive))
    steps = np.diff(np.unique(frame.data[usable]).astype(np.float64))
    step = float(steps.min()) if steps.size else 1.0
    return max(step / math.sqrt(12.0), float(np.finfo(np.float32).tiny))
