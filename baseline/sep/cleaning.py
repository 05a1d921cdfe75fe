"""Clean a frame before detection: bad lines and smear, then cosmic rays and hot pixels."""

from __future__ import annotations

from typing import Annotated, Final

import astroscrappy
import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from scipy.ndimage import (
    binary_dilation,
    generate_binary_structure,
    label,
    maximum_position,
    median_filter,
)

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.star_width import StarWidth, measure_star_width, star_shaped
from skyduel.core.settings import Settings

__all__ = ["CleaningSettings", "clean", "clean_cosmics", "clean_lines", "cleaning_note"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Lines on either side that a line is held against.
_NEIGHBOURS: Final = 15
#: Fewest lines, and usable pixels in a line, for medians to mean something.
_FEWEST: Final = 8
#: Standard deviation of a median of n normal values, times sqrt(n).
_MEDIAN_ERROR: Final = 1.2533
_PER_MAD: Final = 1.4826
#: L.A.Cosmic's filters are up to 7 px wide; it needs a frame at least that large.
_SMALLEST_PX: Final = 7
_PAD_PX: Final = 4
#: Stars narrower than this FWHM [px] are undersampled: their images have no two pixels across.
_UNDERSAMPLED_PX: Final = 2.0


class CleaningSettings(Settings):
    """Settings of the cleaning of a frame before detection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: bool = Field(True, description="take out rows and columns that stand off the sky")
    line_sigma: Positive = Field(
        4.0,
        description="a line is taken out if its median is off by this many of its standard errors",
    )
    bad_line_sigma: Positive = Field(
        5.0,
        description="... and masked if off by more than this many times the sky's noise, "
        "or if its own noise is less than half or more than twice the sky's",
    )
    cosmics: bool = Field(True, description="mask what L.A.Cosmic finds")
    cosmic_sigclip: Positive = Field(4.5, description="L.A.Cosmic: Laplacian over noise")
    cosmic_sigfrac: Positive = Field(0.3, description="... and the part of it for neighbours")
    cosmic_objlim: Positive = Field(
        5.0, description="L.A.Cosmic: least contrast of the Laplacian over the fine structure"
    )
    cosmic_iterations: Annotated[int, Field(ge=1, le=16)] = Field(
        4, description="L.A.Cosmic: most passes"
    )
    cosmic_star_shape: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="what L.A.Cosmic finds is kept as a star if its neighbours, over its brightest "
        "pixel, have at least this part of the ratio of the frame's own stars; 0 keeps nothing",
    )
    cosmic_least_fwhm_px: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        1.4,
        description="... and on a frame whose own stars are narrower than this [px], which nobody "
        "can tell from hot pixels, L.A.Cosmic is left out",
    )
    cosmic_grow_px: Annotated[int, Field(ge=0, le=5)] = Field(
        0, description="how far the mask reaches beyond what L.A.Cosmic finds [px]"
    )


def clean(frame: Frame, settings: CleaningSettings | None = None) -> Frame:
    """Remove the bad lines and the cosmic rays from a frame.

    Parameters
    ----------
    frame : Frame
        Left unchanged.
    settings : CleaningSettings, optional
        Which steps are taken, and their thresholds.

    Returns
    -------
    Frame
        With the same metadata. Smear and offsets of lines are subtracted. The mask
        also covers the pixels that could not be restored: dead or noisy lines, cosmic
        rays, hot pixels. Masked pixels get a plausible value; a detector that uses
        the mask detects nothing there.

    Notes
    -----
    Lines are cleaned first, because L.A.Cosmic takes a bright column for a cosmic ray
    as long as the frame.
    """
    chosen = settings or CleaningSettings()
    # Of the frame as it came, so that `cleaning_note` says what was done.
    width = measure_star_width(frame) if chosen.cosmics else None
    if chosen.lines:
        frame = clean_lines(frame, chosen)
    return _without_cosmics(frame, chosen, width) if chosen.cosmics else frame


def clean_lines(frame: Frame, settings: CleaningSettings) -> Frame:
    """Correct or mask the rows and columns that differ from the sky.

    The median of every line of the image minus its background is compared with
    the running median of its 15 neighbours on either side. A difference of more than
    ``line_sigma`` standard errors is subtracted from the line (charge smeared along a
    line adds the same to every pixel). A line that differs by more than
    ``bad_line_sigma`` times the noise of a pixel, or is dead or noisy, is masked.
    Columns are treated before rows. A frame of fewer than 8 lines is returned unchanged.
    """
    background = estimate_background(frame)
    data = frame.data.astype(np.float64)
    mask = frame.bad.copy()
    for axis in (0, 1):  # along y: columns; along x: rows
        residual = (data - background.level) / background.rms
        offset, dead = _lines_off(np.where(mask, np.nan, residual), axis, settings)
        where = np.expand_dims(offset, axis)
        data -= where * background.rms
        mask |= np.expand_dims(dead, axis)
    if mask.all():  # an uncleaned frame is better than one without any pixel
        return frame
    return frame.with_(data=data.astype(np.float32), mask=mask)


def _lines_off(
    residual: Floats, axis: int, settings: CleaningSettings
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the offset of each line, in units of the noise, and True for each dead line."""
    lines = residual if axis == 1 else residual.T
    n_lines = lines.shape[0]
    usable = np.isfinite(lines).sum(axis=1)
    fine = usable >= _FEWEST
    offset, dead = np.zeros(n_lines), np.zeros(n_lines, dtype=bool)
    if n_lines < _FEWEST or fine.sum() < _FEWEST:
        return offset, dead
    middle = np.zeros(n_lines)
    spread = np.ones(n_lines)
    middle[fine] = np.nanmedian(lines[fine], axis=1)
    spread[fine] = _PER_MAD * np.nanmedian(np.abs(lines[fine] - middle[fine, None]), axis=1)
    off = middle - median_filter(middle, size=2 * _NEIGHBOURS + 1, mode="reflect")
    # Stars make the medians of clean lines scatter more than noise would.
    typical = _PER_MAD * float(np.median(np.abs(off[fine])))
    error = np.maximum(_MEDIAN_ERROR / np.sqrt(np.maximum(usable, 1)), typical)
    stands_out = fine & (np.abs(off) > settings.line_sigma * error)
    ordinary = float(np.median(spread[fine]))
    odd = fine & ((spread < 0.5 * ordinary) | (spread > 2.0 * ordinary))
    dead = odd | (stands_out & (np.abs(off) > settings.bad_line_sigma))
    offset[stands_out & ~dead] = off[stands_out & ~dead]
    return offset, dead


def clean_cosmics(frame: Frame, settings: CleaningSettings) -> Frame:
    """Replace and mask the cosmic rays and hot pixels of a frame.

    They are found by L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) through astroscrappy.
    The variance is the measured noise of the sky, which includes the read noise, plus
    the photon noise of the sources where the gain is known. A frame whose sky was
    subtracted is therefore cleaned in the same way. Frames smaller than 7 px are
    returned unchanged.

    L.A.Cosmic takes the stars of undersampled frames for cosmic rays. So the width of the frame's
    own stars is measured (`skyduel.core.measure.star_width`): what has the shape of these stars
    is kept (``cosmic_star_shape``), and a frame of still narrower stars is returned unchanged
    (``cosmic_least_fwhm_px``).
    """
    return _without_cosmics(frame, settings, measure_star_width(frame))


def _without_cosmics(frame: Frame, settings: CleaningSettings, width: StarWidth | None) -> Frame:
    """Replace and mask cosmic rays, given the width of the stars; see `clean_cosmics`."""
    if min(frame.shape) < _SMALLEST_PX or _too_narrow(width, settings):
        return frame
    background = estimate_background(frame)
    # L.A.Cosmic computes in single precision, where small physical units underflow.
    unit = float(2.0 ** np.round(np.log2(background.global_rms)))
    data = np.clip((frame.data - background.level) / unit, -1e15, 1e15).astype(np.float32)
    variance = np.square(background.rms / unit, dtype=np.float32)
    if frame.gain is not None:
        variance += np.maximum(data, 0) / np.float32(frame.gain * unit)
    level = np.inf
    if frame.saturation is not None:
        level = (frame.saturation - background.global_level) / unit
    # L.A.Cosmic skips the outermost pixels, so the frame is padded with mirrored ones.
    inner = (slice(_PAD_PX, -_PAD_PX), slice(_PAD_PX, -_PAD_PX))
    cosmic, cleaned = astroscrappy.detect_cosmics(
        np.pad(data, _PAD_PX, mode="symmetric"),
        inmask=np.pad(frame.bad, _PAD_PX, mode="symmetric"),
        invar=np.pad(variance, _PAD_PX, mode="symmetric"),
        gain=1.0,
        satlevel=level,
        sigclip=settings.cosmic_sigclip,
        sigfrac=settings.cosmic_sigfrac,
        objlim=settings.cosmic_objlim,
        niter=settings.cosmic_iterations,
        cleantype="meanmask",
    )
    cosmic = np.asarray(cosmic, dtype=bool)[inner]
    if width is not None and settings.cosmic_star_shape:
        cosmic &= ~_star_shaped(cosmic, frame, background, settings.cosmic_star_shape * width.ratio)
    if settings.cosmic_grow_px:
        around = generate_binary_structure(2, 2)
        cosmic = binary_dilation(cosmic, around, iterations=settings.cosmic_grow_px)
    mask = frame.bad | cosmic
    if not cosmic.any() or mask.all():
        return frame
    restored = np.asarray(cleaned)[inner] * np.float64(unit) + background.level
    return frame.with_(data=np.where(cosmic & ~frame.bad, restored, frame.data), mask=mask)


def _too_narrow(width: StarWidth | None, settings: CleaningSettings) -> bool:
    """Return True if a frame's stars cannot be told from hot pixels."""
    return width is not None and width.fwhm < settings.cosmic_least_fwhm_px


def _star_shaped(cosmic: Bools, frame: Frame, sky: Background, least: float) -> Bools:
    """Return True in those connected groups of pixels whose brightest pixel is star-shaped."""
    groups, n = label(cosmic, generate_binary_structure(2, 2))
    if n == 0:
        return cosmic
    with np.errstate(over="ignore", invalid="ignore"):
        z = np.nan_to_num((frame.data - sky.level) / sky.rms)
    z[frame.bad] = 0.0
    y, x = np.transpose(maximum_position(z, groups, np.arange(1, n + 1))).astype(np.intp)
    star = star_shaped(z, y, x, least)
    return np.asarray(np.concatenate([[False], star])[groups])


def cleaning_note(frame: Frame, settings: CleaningSettings) -> str | None:
    """Return in one line how the cleaning adapts to an undersampled frame, otherwise None.

    Parameters
    ----------
    frame : Frame
        As it is given to `clean`.
    settings : CleaningSettings
    """
    width = measure_star_width(frame) if settings.cosmics else None
    if width is None or width.fwhm >= _UNDERSAMPLED_PX:
        return None
    if _too_narrow(width, settings):
        does = "no cosmic rays or hot pixels are cleaned, for these stars look alike"
    elif settings.cosmic_star_shape:
        does = "what has the shape of these stars is not cleaned"
    else:
        return None
    return f"undersampled (stars {width.fwhm:.1f} px wide): {does}"
