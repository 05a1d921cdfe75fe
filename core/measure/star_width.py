"""Measure how wide a frame's stars are, and which bright pixels have the shape of a star."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background

__all__ = ["LONE", "StarWidth", "measure_star_width", "neighbour_ratios", "star_shaped"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.integer[Any]]

#: Peaks of at least this S/N in their pixel are looked at: the ratio is then good to 0.04.
_BRIGHT: Final = 20.0
_UNSATURATED: Final = 0.9
#: Below this ratio a peak is a hot pixel or a cosmic ray: a Gaussian of this ratio has a FWHM
#: of 1.1 px.
LONE: Final = 0.1
#: So many times the noise a star's faintest neighbour may be too faint.
_NOISES: Final = 3.0
#: So many stars, no fewer, give a width.
_FEWEST: Final = 5


@dataclass(frozen=True)
class StarWidth:
    """The width of the stars of a frame.

    Parameters
    ----------
    ratio : float
        Median over the stars of the smaller ratio of `neighbour_ratios`.
    n_stars : int
        Number of stars.
    """

    ratio: float
    n_stars: int

    @property
    def fwhm(self) -> float:
        """FWHM [px] of the Gaussian whose centred image has this ratio.

        An upper limit to that of the stars by a few hundredths of a pixel, because a star
        between pixels has a larger ratio; infinite for stars without a peak.
        """
        return math.sqrt(4 * math.log(2) / -math.log(self.ratio)) if self.ratio < 1 else math.inf


_measured: WeakKeyDictionary[Frame, StarWidth | None] = WeakKeyDictionary()


def measure_star_width(frame: Frame, background: Background | None = None) -> StarWidth | None:
    """Measure the width of the bright unsaturated stars of a frame.

    Parameters
    ----------
    frame : Frame
        Masked pixels are excluded. What the header says of the width is not used.
    background : Background, optional
        Background of the frame; by default from `estimate_background`.

    Returns
    -------
    StarWidth or None
        None if the frame has fewer than five such stars.

    Notes
    -----
    Each local maximum above 20 times the noise is compared with its neighbours
    (`neighbour_ratios`). Lone pixels, whose ratio is below 0.1, are no stars and do not count,
    however many they are. The result is remembered for as long as the frame exists.
    """
    if frame not in _measured:
        sky = estimate_background(frame) if background is None else background
        _measured[frame] = _measure(frame, sky)
    return _measured[frame]


def _measure(frame: Frame, sky: Background) -> StarWidth | None:
    with np.errstate(over="ignore", invalid="ignore"):
        z = np.nan_to_num((frame.data - sky.level) / sky.rms)
    z[frame.bad] = 0.0
    peak = (z > _BRIGHT) & (z == maximum_filter(z, size=5, mode="nearest"))
    if frame.saturation is not None:
        peak &= frame.data < _UNSATURATED * frame.saturation
    peak[[0, -1]] = False
    peak[:, [0, -1]] = False
    ratios = neighbour_ratios(z, *np.nonzero(peak))
    stars = ratios[(ratios > LONE) & (ratios < 1)]
    return StarWidth(float(np.median(stars)), stars.size) if stars.size >= _FEWEST else None


def neighbour_ratios(z: Floats, y: Rows, x: Rows) -> Doubles:
    """Return how bright the neighbours of some pixels are, shape (n,).

    Parameters
    ----------
    z : ndarray of float32, shape (ny, nx)
        Image minus its background; in any unit.
    y, x : ndarray of int, shape (n,)
        Rows and columns of local maxima.

    Returns
    -------
    ndarray of float64, shape (n,)
        The mean of the two neighbours along the row over the pixel, or that along the column,
        whichever is smaller. Pixels beyond the edge repeat those of the edge.

    Notes
    -----
    A Gaussian whose centre is d px from the middle of its brightest pixel, of width
    a = 4 ln 2 / FWHM², has the ratio exp(-a) cosh(2 a d). So no star of that width is below
    exp(-a), wherever its centre is. A hot pixel has 0 along both axes, and a cosmic ray's track
    along a row 0 along the column.
    """
    peak, (left, right, below, above) = _around(z, y, x)
    return _over(np.minimum(left + right, below + above) / 2, peak)


def star_shaped(z: Floats, y: Rows, x: Rows, ratio: float) -> npt.NDArray[np.bool_]:
    """Return which pixels have the neighbours of a star, shape (n,).

    Parameters
    ----------
    z, y, x
        As for `neighbour_ratios`, the image in units of its noise.
    ratio : float
        Least ratio, as `StarWidth.ratio` or a part of it.

    Notes
    -----
    The faintest of the four neighbours of a star, half a pixel off, is the square of the ratio
    of a centred one, within the noise. A bent track of a cosmic ray has a neighbour on either
    axis, and the other two are sky.
    """
    peak, sides = _around(z, y, x)
    faintest = np.min(sides, axis=0) > ratio**2 * peak - _NOISES
    return np.asarray((neighbour_ratios(z, y, x) > ratio) & faintest)


def _around(z: Floats, y: Rows, x: Rows) -> tuple[Doubles, Doubles]:
    """Return some pixels, shape (n,), and their left, right, lower and upper ones, (4, n)."""
    ny, nx = z.shape
    sides = (
        z[y, np.maximum(x - 1, 0)], z[y, np.minimum(x + 1, nx - 1)],
        z[np.maximum(y - 1, 0), x], z[np.minimum(y + 1, ny - 1), x],
    )  # fmt: skip
    return z[y, x].astype(np.float64), np.array(sides, dtype=np.float64)


def _over(value: Doubles, peak: Doubles) -> Doubles:
    """Return values over their peak, 0 where the peak is not above the background."""
    return np.divide(value, peak, out=np.zeros(peak.shape), where=peak > 0)
