"""Estimate the background level and noise of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import numpy.typing as npt
import sep

from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame

__all__ = [
    "DITHER_BELOW_STEPS",
    "DITHER_VARIANCE",
    "MESH_PX",
    "RMS_FLOOR",
    "Background",
    "dither_noise",
    "estimate_background",
]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Minimum number of usable pixels for the mode of a histogram.
_FEW_PIXELS = 16
_MOST_FILTER_MESHES = 101
# SEP leaves out a mesh if less than this fraction of it is usable.
_GOOD_FRACTION = 0.5
#: Default side of a mesh [px].
MESH_PX = 64
#: Lowest noise accepted, as a fraction of the frame's median noise.
RMS_FLOOR = 0.1
#: Frames whose noise is below this many steps between pixel values are dithered. Above it the
#: error of the clipped mode, up to half a step, is below 0.05 of the noise.
DITHER_BELOW_STEPS = 10.0
#: Variance of `dither_noise`, in units of the squared step.
DITHER_VARIANCE = 1 / 6
# The step between pixel values is measured on this many pixels.
_STEP_SAMPLE = 1 << 16
_DITHER_SEED = 20261129


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


@takes(frame=Frame, mesh_px=Integral, filter_meshes=Integral)
def estimate_background(
    frame: Frame, mesh_px: int = MESH_PX, filter_meshes: int = 3, *, dither: bool = True
) -> Background:
    """Estimate the background level and noise of a frame.

    Parameters
    ----------
    frame : Frame
        The frame; masked pixels are excluded.
    mesh_px : int
        Side of a mesh [px]; no mesh is larger than the frame.
    filter_meshes : int
        Side of the median filter over the grid of meshes.
    dither : bool
        If True, dither coarsely quantized frames first (see Notes). If False, the
        estimate is that of SExtractor.

    Returns
    -------
    Background
        Level and standard deviation per pixel [ADU].

    Raises
    ------
    BadInputError
        If a size is not positive, or the statistics of the pixel values overflow single
        precision.

    Notes
    -----
    Clipped mode per mesh, median filter, bicubic spline (Bertin & Arnouts
    1996, section 3), computed by SEP, with three differences:

    - The clipped mode of whole numbers is off by up to half a step between pixel values, and by
      up to one step where the noise is about that small: far more than the error of the
      mean of a mesh. Frames whose noise is below `DITHER_BELOW_STEPS` steps (12-bit cameras,
      sCMOS cameras at unit gain) therefore get triangular noise two steps wide added to a copy
      before the estimate (Lipshitz, Wannamaker & Vanderkooy 1992, J. Audio Eng. Soc. 40, 355),
      and its variance, step^2/6, is subtracted from the result. The remaining error is
      below 0.03 step if the noise is at least one step, and 0.2 step if it is 0.4. The
      added noise is the same in every call.
    - SEP leaves out meshes that are more than half masked and reports level 0 and
      noise 1 if it leaves out all of them. Here the whole frame then has the constant
      level and noise of its unmasked pixels.
    - The noise is zero in regions of constant value, and the spline may be negative
      next to them. The noise is limited to at least a tenth of the frame's median noise;
      if that is also zero, to the noise of rounding,
      (smallest step between pixel values)/sqrt(12).
    """
    for name, size in (("mesh_px", mesh_px), ("filter_meshes", filter_meshes)):
        if size < 1:
            raise BadInputError(name, "a size of at least 1", repr(size))
    if filter_meshes > _MOST_FILTER_MESHES:  # SEP allocates its square
        raise BadInputError("filter_meshes", f"at most {_MOST_FILTER_MESHES}", repr(filter_meshes))
    ny, nx = frame.shape
    height, width = min(mesh_px, ny), min(mesh_px, nx)
    usable = ~frame.bad
    flat = usable.sum() < _FEW_PIXELS or not _any_good_mesh(usable, height, width)

    def estimate(data: Floats) -> tuple[Floats, Floats, float, float]:
        if flat:
            return _flat(data, usable)
        return _meshes(data, frame.bad, (height, width), filter_meshes)

    level, rms, global_level, global_rms = estimate(frame.data)
    step = _coarse_step(frame, usable, rms) if dither else None
    if step is not None:
        # In units of the step: the squares of pixels beyond 1e19 overflow single precision. A
        # pixel next to its largest value becomes infinite, which is reported below.
        with np.errstate(over="ignore"):
            dithered = frame.data + np.float32(step) * dither_noise(frame.shape)
        level, rms, global_level, global_rms = estimate(dithered)
        variance = np.square(rms / np.float32(step)) - np.float32(DITHER_VARIANCE)
        rms = np.float32(step) * np.sqrt(np.maximum(variance, 0))
        global_rms = step * math.sqrt(max((global_rms / step) ** 2 - DITHER_VARIANCE, 0.0))
    # A value that is not finite makes the extremes not finite: no array of flags is needed.
    lowest, highest = float(rms.min()), float(rms.max())
    if not np.isfinite([level.min(), level.max(), lowest, highest, global_level]).all():
        raise BadInputError(
            frame.name,
            "pixel values whose mean and variance single precision can hold",
            f"values up to {float(np.abs(frame.data[usable]).max()):.3g}",
        )
    if min(lowest, global_rms) >= RMS_FLOOR * highest > 0:  # so above that share of the median
        return Background(level, rms, global_level, global_rms)
    floor = _rms_floor(frame, usable, rms)
    rms = np.maximum(rms, np.float32(floor))
    return Background(level, rms, global_level, max(global_rms, floor))


def _coarse_step(frame: Frame, usable: Bools, rms: Floats) -> float | None:
    """Return the step between pixel values if the noise is only a few steps, otherwise None."""
    values = frame.data[usable]
    values = values[:: max(1, values.size // _STEP_SAMPLE)]
    # In double precision: values of both signs may be farther apart than single holds.
    steps = np.diff(np.unique(values).astype(np.float64))
    if not steps.size or steps.min() > np.finfo(np.float32).max:
        return None
    step = float(steps.min())
    typical = float(np.median(rms[usable]))
    return step if typical < DITHER_BELOW_STEPS * step else None


def dither_noise(shape: tuple[int, int]) -> Floats:
    """Return triangular noise between -1 and 1, the same in every call."""
    rng = np.random.default_rng(_DITHER_SEED)
    noise = rng.random(shape, dtype=np.float32)
    noise -= rng.random(shape, dtype=np.float32)
    return noise


def _any_good_mesh(usable: Bools, height: int, width: int) -> bool:
    """Return True if any mesh has enough usable pixels for SEP."""
    if usable.all():
        return True
    ny, nx = usable.shape
    rows, columns = np.arange(0, ny, height), np.arange(0, nx, width)
    good = np.add.reduceat(np.add.reduceat(usable.astype(np.int64), rows, 0), columns, 1)
    area = np.outer(np.diff(np.append(rows, ny)), np.diff(np.append(columns, nx)))
    return bool((good > _GOOD_FRACTION * area).any())


def _meshes(
    data: Floats, bad: Bools, mesh: tuple[int, int], filter_meshes: int
) -> tuple[Floats, Floats, float, float]:
    """Return level and noise of each pixel and of the whole frame, from SEP's meshes."""
    # SEP requires writable memory, and that of a frame is read-only.
    sky = sep.Background(
        data.copy(), mask=bad.copy(), bh=mesh[0], bw=mesh[1], fw=filter_meshes, fh=filter_meshes
    )
    level, rms = sky.back(dtype=np.float32), sky.rms(dtype=np.float32)
    return np.asarray(level), np.asarray(rms), float(sky.globalback), float(sky.globalrms)


def _flat(data: Floats, usable: Bools) -> tuple[Floats, Floats, float, float]:
    """Return one level and one noise for the whole frame, from its usable pixels."""
    values = np.ascontiguousarray(data[usable])
    if values.size < _FEW_PIXELS:
        level, rms = float(np.median(values)), float(np.std(values, dtype=np.float64))
    else:
        sky = sep.Background(values[np.newaxis, :].copy(), bw=values.size, bh=1)
        level, rms = float(sky.globalback), float(np.asarray(sky.rms())[0, 0])
    return (
        np.full(data.shape, level, dtype=np.float32),
        np.full(data.shape, rms, dtype=np.float32),
        level,
        rms,
    )


def _rms_floor(frame: Frame, usable: Bools, rms: npt.NDArray[np.float32]) -> float:
    """Return the lower limit of the noise [ADU]; see the notes of `estimate_background`."""
    typical = float(np.median(rms[usable]))
    if typical > 0:
        return RMS_FLOOR * typical
    positive = rms[usable & (rms > 0)]
    if positive.size:
        return RMS_FLOOR * float(np.median(positive))
    steps = np.diff(np.unique(frame.data[usable]).astype(np.float64))
    step = float(steps.min()) if steps.size else 1.0
    return max(step / math.sqrt(12.0), float(np.finfo(np.float32).tiny))
