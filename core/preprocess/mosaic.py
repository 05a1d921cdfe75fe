"""Raw frames of colour cameras: recognise the filter mosaic and balance its four phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from skyduel.core.frame import Frame
from skyduel.core.measure.background import MESH_PX, estimate_background
from skyduel.core.measure.medians import median

__all__ = ["MOSAIC_KEY", "PHASES", "Mosaic", "balanced", "find_mosaic", "stated_pattern"]

Floats = npt.NDArray[np.float64]

#: Where `core.Frame.header` says that the phases were balanced.
MOSAIC_KEY: Final = "colour_mosaic"
#: The four phases of a 2 x 2 mosaic as row and column, in the order of a pattern's letters.
PHASES: Final = ((0, 0), (0, 1), (1, 0), (1, 1))
#: Cards that hold a pattern, and those that shift it.
_PATTERN_CARDS: Final = ("BAYERPAT", "COLORTYP", "CFATYPE", "CFA-PAT", "BAYER", "BAYERIND")
_SHIFT_CARDS: Final = ("XBAYROFF", "YBAYROFF")
#: A header that states a pattern is believed if the levels of the phases differ by this many
#: times the noise: a frame that was made monochrome keeps its card.
_STATED_SIGMA: Final = 0.15
#: Without a card the levels have to differ by this much. Those of a monochrome camera differ by
#: the amplifiers of its columns, by far less.
_UNSTATED_SIGMA: Final = 0.3
#: ... and by this many of their standard errors.
_STANDARD_ERRORS: Final = 6.0
#: So many cells, no fewer, give the levels; at most so many along each side of the middle.
_FEWEST_CELLS, _MOST_CELLS_SIDE = 256, 512
_CLIP: Final = 3.0
_CLIP_ROUNDS: Final = 6
_PER_MAD: Final = 1.4826


@dataclass(frozen=True)
class Mosaic:
    """The filter mosaic of a raw colour frame.

    Parameters
    ----------
    pattern : str
        Colours of the pixels (0, 0), (0, 1), (1, 0), (1, 1) by row and column, as ``RGGB``;
        empty if no card states them.
    card : str
        The card that states it; empty if the pixels alone do.
    difference : float
        Difference between the highest and the lowest level of a phase, over the noise.
    """

    pattern: str
    card: str
    difference: float

    @property
    def words(self) -> str:
        """The pattern and its card, for the record."""
        named = f"{self.pattern} ({self.card})" if self.pattern else "pattern unknown"
        return f"{named}, phases balanced"

    @property
    def note(self) -> str:
        """What was recognised and done, in one line."""
        what = f"{self.card} = {self.pattern}" if self.pattern else "no card states it"
        return (
            f"raw colour mosaic ({what}; levels of the phases {self.difference:.2g} sigma apart): "
            "background and noise balanced per filter phase"
        )


def stated_pattern(header: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the pattern that a header states, and its card, otherwise None.

    Parameters
    ----------
    header : mapping of str to value

    Returns
    -------
    pattern, card : str
        The pattern from pixel (0, 0) of the frame on: shifted by XBAYROFF columns and YBAYROFF
        rows, where they are stated.
    """
    for card in _PATTERN_CARDS:
        letters = str(header.get(card, "")).strip().upper()
        if len(letters) == 4 and set(letters) <= set("RGBLCMYEW") and len(set(letters)) > 1:
            dx, dy = (_whole(header.get(name, 0)) % 2 for name in _SHIFT_CARDS)
            shifted = (letters[2 * ((row + dy) % 2) + (column + dx) % 2] for row, column in PHASES)
            return "".join(shifted), card
    return None


def _whole(value: Any) -> int:
    """Return a card's value as a whole number, 0 if it is none."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def find_mosaic(frame: Frame) -> Mosaic | None:
    """Recognise a raw colour frame.

    Parameters
    ----------
    frame : Frame
        Its header and its pixels.

    Returns
    -------
    Mosaic or None
        None if the levels of the phases are equal, whatever the header states, and for frames
        of fewer than 256 usable cells of 2 x 2 pixels. Without a stated pattern the levels have to
        differ by more, so that a monochrome frame is not taken for a mosaic.

    Notes
    -----
    The level of a phase is the clipped mean of its pixels minus the mean of their cell, so that
    vignetting and the background's structure do not count. It is compared with the noise from
    differences of neighbouring pixels of one phase.
    """
    cells = _cells(frame)
    if cells is None:
        return None
    steps = np.diff(cells, axis=2)
    n = int(np.isfinite(cells[0]).sum())
    if n < _FEWEST_CELLS or not np.isfinite(steps).any():
        return None
    steps = steps[np.isfinite(steps)]
    noise = _PER_MAD * float(median(np.abs(steps - median(steps)))) / np.sqrt(2)
    noise = noise or float(np.std(steps)) / np.sqrt(2)
    if not noise > 0:
        return None
    # A gradient alone makes neighbouring pixels differ.
    slope_y, slope_x = (_clipped_mean(np.diff(cells, axis=axis)) / 2 for axis in (1, 2))
    levels = [
        _clipped_mean(part) - slope_y * y - slope_x * x
        for part, (y, x) in zip(cells - cells.mean(axis=0), PHASES, strict=True)
    ]
    difference = (max(levels) - min(levels)) / noise
    stated = stated_pattern(frame.header)
    least = _UNSTATED_SIGMA if stated is None else _STATED_SIGMA
    if difference < max(least, _STANDARD_ERRORS / np.sqrt(n)):
        return None
    pattern, card = stated or ("", "")
    return Mosaic(pattern, card, float(difference))


def _cells(frame: Frame) -> Floats | None:
    """Return a frame's middle by phase, shape (4, my, mx), NaN in cells with a bad pixel."""
    side = 2 * _MOST_CELLS_SIDE
    rows, columns = (
        slice(first := max(0, (n - side) // 4 * 2), min(first + side, n // 2 * 2))
        for n in frame.shape
    )
    box = frame.data[rows, columns].astype(np.float64)
    bad = frame.bad[rows, columns]
    if min(box.shape) < 4:
        return None
    unusable = np.any([bad[y::2, x::2] for y, x in PHASES], axis=0)
    cells = np.stack([box[y::2, x::2] for y, x in PHASES])
    cells[:, unusable] = np.nan
    return cells


def _clipped_mean(values: Floats) -> float:
    """Return the mean of the finite values within three sigma of it, stars left out; 0 of none."""
    kept = values[np.isfinite(values)]
    if not kept.size:
        return 0.0
    for _ in range(_CLIP_ROUNDS):
        middle = median(kept)
        sigma = _PER_MAD * median(np.abs(kept - middle)) or np.std(kept)
        inside = np.abs(kept - middle) <= _CLIP * sigma
        if inside.all():
            break
        kept = kept[inside]
    return float(kept.mean())


def balanced(frame: Frame, mesh_px: int = MESH_PX) -> Frame:
    """Return a frame whose four filter phases have one background and one noise.

    Parameters
    ----------
    frame : Frame
        Raw colour frame; left unchanged.
    mesh_px : int
        Mesh of the background [px], of which each phase has a quarter of the pixels.

    Returns
    -------
    Frame
        With the same mask, facts and grid. Each pixel's background is that of its phase and place
        (`estimate_background` of every second row and column); what is above it is multiplied by
        the mean noise of the four phases there over that of its own, and their mean background
        is added. A frame whose phases are alike hardly changes.

    Notes
    -----
    The pixel unit of a phase changes by this ratio of noises, mostly by less than a factor of 1.5,
    and with it its gain; that of the mean stays.
    """
    level, rms = (np.zeros(frame.shape, dtype=np.float64) for _ in range(2))
    for y, x in PHASES:
        part = (slice(y, None, 2), slice(x, None, 2))
        rms[part] = 1.0
        if frame.bad[part].all():
            continue
        phase = Frame(data=frame.data[part], mask=frame.bad[part], name=frame.name)
        mesh = max(1, mesh_px // 2)
        level[part] = estimate_background(phase, mesh).level
        # Of the residual, because a gradient within a mesh is no noise.
        rest = phase.with_(data=phase.data - level[part])
        rms[part] = estimate_background(rest, mesh).rms
    made = (frame.data - level) * (_phase_mean(rms) / rms) + _phase_mean(level)
    return frame.with_(data=made.astype(np.float32), sources=frame.sources)


def _phase_mean(image: Floats) -> Floats:
    """Return the mean of the four phases around each pixel, in which each has the same weight."""
    weights = [0.25, 0.5, 0.25]
    along = convolve1d(image, weights, axis=0, mode="mirror")
    return np.asarray(convolve1d(along, weights, axis=1, mode="mirror"))
