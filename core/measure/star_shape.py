"""Measure the shape of a frame's own stars: compact, trailed, or rings out of focus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import sep
from scipy import ndimage

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.fft_convolution import fft_convolve

__all__ = [
    "TRAINED_ELONGATION",
    "TRAINED_FWHM_PX",
    "TRAINED_TRAIL_PX",
    "StarShape",
    "keep_star_shape",
    "measure_star_shape",
    "quadratic_peak",
    "star_shape_note",
]

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: The most elongated and the widest stars that the network was trained on, and the longest
#: trails [px] (`skyduel.simulation.frame_kinds`).
TRAINED_ELONGATION: Final = 2.0
TRAINED_TRAIL_PX: Final = 3.0
TRAINED_FWHM_PX: Final = 7.0
#: Stars are out of range from this elongation on if they are this long: trails that ended at 2:1
#: were small. Stars a little wider than the widest of the training are still found once each.
_ELONGATION, _LENGTH_PX = 1.75, 4.5
_WIDER: Final = 1.1

#: Sides of the box in a frame's middle that is looked at [px]; the larger one if the smaller
#: holds fewer than `_PLENTY` sources.
_BOXES_PX: Final = (512, 1024)
#: So many stars, no fewer, have a shape in common; of more the brightest are taken.
_FEWEST, _PLENTY, _MOST = 6, 30, 100
#: Smoothing that joins the arcs of a ring and the knots of a trail [px].
_SMOOTH_PX: Final = 1.5
#: Thresholds of the smoothed S/N: the next one if it leaves fewer than `_PLENTY` sources. One
#: below which the sources fill more than a fraction of the box is not used.
_THRESHOLDS: Final = (80.0, 20.0, 5.0)
_FULL: Final = 0.2
_UNSATURATED: Final = 0.9
#: Pixels are clipped here, so that no sum overflows.
_MOST_SNR: Final = 1e6
#: Narrower sources are cosmic rays, hot pixels and bad columns: standard deviation [px].
_NARROWEST_PX: Final = 0.45
#: Only sources longer than this (standard deviation [px]), or more elongated, are stacked.
_LONG_PX, _ELONGATED = 1.5, 1.5
#: Length of the mean vector of the doubled angles of trails, at least.
_COHERENT: Final = 0.85
#: Stacked sources are as long as the median within this factor, and at least this fraction is.
_ALIKE, _MAJORITY = 1.6, 0.4
#: Sources of a trail that a moving object left lie on one line within this [px].
_ON_LINE_PX: Final = 4.0
#: At least this fraction of the stamps has at least this correlation with their median, of
#: that which their noise allows.
_AGREE, _CORRELATION = 0.6, 0.8
_MOST_REACH_PX: Final = 48
#: Fainter parts of a profile than this fraction of its peak are noise to its moments.
_LIGHT: Final = 0.1
#: A smoothed profile whose centre is fainter than this fraction of its peak is a ring.
_RING: Final = 0.75
_PROFILE_SMOOTH_PX: Final = 0.6


@dataclass(frozen=True, eq=False)
class StarShape:
    """The shape that the stars of a frame have in common.

    Parameters
    ----------
    along, across : float
        Full widths at half maximum [px] along the longer and the shorter axis, between the
        outermost crossings: for a ring its outer diameter.
    theta : float
        Angle of the longer axis from +x towards +y [rad], in [-π/2, π/2).
    centre : float
        Value at the centre over the highest value.
    n_stars : int
        Number of stars.
    profile : ndarray of float32, shape (2h + 1, 2h + 1)
        Median profile, its centroid in the middle, not negative, normalised to a sum of 1.
    """

    along: float
    across: float
    theta: float
    centre: float
    n_stars: int
    profile: Image

    @property
    def elongation(self) -> float:
        """Ratio of the longer to the shorter width."""
        return self.along / self.across

    @property
    def out_of_range(self) -> bool:
        """True for stars more elongated or wider than those the network was trained on."""
        trailed = self.elongation > _ELONGATION and self.along > _LENGTH_PX
        return trailed or self.along > _WIDER * TRAINED_FWHM_PX

    @property
    def note(self) -> str:
        """What the stars are and what the network was trained to, in one line."""
        if self.elongation > _ELONGATION:
            return (
                f"the stars of this frame are elongated {self.elongation:.2g}:1 ({self.along:.3g} "
                f"by {self.across:.2g} px); the network was trained to {TRAINED_ELONGATION:g}:1 "
                f"(trails of {TRAINED_TRAIL_PX:g} px)"
            )
        what = "rings" if self.centre < _RING else "discs"
        width = math.sqrt(self.along * self.across)
        return (
            f"the stars of this frame are {what} of {width:.3g} px; the network was trained on "
            f"stars of up to {TRAINED_FWHM_PX:g} px (FWHM)"
        )


_measured: WeakKeyDictionary[Frame, StarShape | None] = WeakKeyDictionary()


def star_shape_note(frame: Frame) -> str | None:
    """Return one line if the frame's stars are outside the network's range, otherwise None."""
    shape = measure_star_shape(frame)
    return shape.note if shape is not None and shape.out_of_range else None


def measure_star_shape(frame: Frame, background: Background | None = None) -> StarShape | None:
    """Measure the shape that the bright stars of a frame have in common.

    Parameters
    ----------
    frame : Frame
        A box of 512 x 512 pixels in its middle is looked at, or of 1024 x 1024 if that holds
        fewer than 30 bright sources. Masked pixels are excluded.
    background : Background, optional
        Background of the frame; by default from `estimate_background`.

    Returns
    -------
    StarShape or None
        None for compact stars, which are not measured, and if no shape is common to at least
        six stars: a frame that holds few, or galaxies, or streaks among round stars.

    Notes
    -----
    The sources of the smoothed S/N map are not deblended, so that a ring or a trail is one
    source, and have second moments. Those of about the median length, and for elongated sources
    of a common direction, are centred on each other by their correlation; their median is the
    profile. Sources along one line count once, because the pieces of a satellite's trail are
    alike too. Frames whose sources differ from the median profile have no shape in common.

    The result is remembered for as long as the frame exists.
    """
    if frame not in _measured:
        sky = estimate_background(frame) if background is None else background
        _measured[frame] = _measure(frame, sky)
    return _measured[frame]


def keep_star_shape(frame: Frame, other: Frame, background: Background | None = None) -> None:
    """Give a frame that was made from another the shape of the other's stars.

    Parameters
    ----------
    frame : Frame
        The frame on which no stars are to be measured, such as one whose sign was flipped.
    other : Frame
        The frame it was made from.
    background : Background, optional
        Background of the other frame.
    """
    _measured[frame] = measure_star_shape(other, background)


class _Sources(NamedTuple):
    """Bright sources, the brightest first: position, length and width (σ) [px], angle [rad]."""

    xy: Floats
    length: Floats
    width: Floats
    theta: Floats


def _measure(frame: Frame, sky: Background) -> StarShape | None:
    for side in _BOXES_PX:
        rows, columns = (
            slice(max(0, (n - side) // 2), min(n, (n + side) // 2)) for n in frame.shape
        )
        bad = frame.bad[rows, columns]
        with np.errstate(over="ignore"):
            z = (frame.data[rows, columns] - sky.level[rows, columns]) / sky.rms[rows, columns]
        z = np.clip(z, -_MOST_SNR, _MOST_SNR)
        z[bad] = 0.0
        saturated = frame.saturation is not None
        limit = _UNSATURATED * float(frame.saturation or 0.0)
        bright = frame.data[rows, columns] >= limit if saturated else np.zeros_like(bad)
        found = _sources(z, bad, bright)
        if (found is not None and len(found.xy) >= _PLENTY) or max(frame.shape) <= side:
            break
    if found is None or len(found.xy) < _FEWEST:
        return None
    length, ratio = np.median(found.length), np.median(found.length / found.width)
    if length < _LONG_PX and ratio < _ELONGATED:
        return None
    alike = (found.length < length * _ALIKE) & (found.length > length / _ALIKE)
    if ratio > _ELONGATED:
        alike &= found.length / found.width > 0.5 * (1 + ratio)
        if not _one_direction(found, alike):
            return None
    if alike.sum() < max(_FEWEST, _MAJORITY * alike.size):
        return None
    return _stacked(z, found.xy[alike], float(length))


def _sources(z: Image, bad: Bools, bright: Bools) -> _Sources | None:
    """Return the brightest unsaturated sources of a smoothed S/N map, None if it is too full."""
    smooth = ndimage.gaussian_filter(z, _SMOOTH_PX, truncate=3.0)
    smooth *= np.float32(2 * math.sqrt(math.pi) * _SMOOTH_PX)  # in units of its noise
    mask = bad.copy() if bad.any() else None
    best = None
    for threshold in _THRESHOLDS:
        if np.count_nonzero(smooth > threshold) > _FULL * smooth.size:
            break
        try:
            found = np.asarray(
                sep.extract(
                    smooth, threshold, mask=mask, minarea=5, deblend_cont=1.0, clean=False,
                    filter_kernel=None,
                )
            )  # fmt: skip
        except Exception:  # SEP raises bare exceptions, such as on a full buffer of pixels
            break
        use = (found["flag"] & ~sep.OBJ_MERGED) == 0
        use &= ~bright[found["ypeak"], found["xpeak"]]
        length2, width2 = (found[k].astype(float) ** 2 - _SMOOTH_PX**2 for k in ("a", "b"))
        use &= width2 > _NARROWEST_PX**2
        rows = np.flatnonzero(use)
        rows = rows[np.argsort(-found["flux"][rows], kind="stable")[:_MOST]]
        xy = np.column_stack([found["x"][rows], found["y"][rows]]).astype(float)
        theta = found["theta"][rows].astype(float)
        best = _Sources(xy, np.sqrt(length2[rows]), np.sqrt(width2[rows]), theta)
        if rows.size >= _PLENTY:
            break
    return best


def _one_direction(found: _Sources, rows: Bools) -> bool:
    """Return True if elongated sources have one direction and do not lie on few lines."""
    if not rows.any():
        return False
    mean = np.exp(2j * found.theta[rows]).mean()
    if abs(mean) < _COHERENT:
        return False
    angle = np.angle(mean) / 2
    aside = found.xy[rows] @ np.array([-np.sin(angle), np.cos(angle)])
    lines = 1 + np.count_nonzero(np.diff(np.sort(aside)) > _ON_LINE_PX)
    return bool(lines >= _FEWEST)


def _stacked(z: Image, xy: Floats, length: float) -> StarShape | None:
    """Return the shape of the median of stamps around positions, None if they differ."""
    reach = int(min(_MOST_REACH_PX, math.ceil(3.5 * length + 3)))
    ny, nx = z.shape
    grid = np.arange(-reach, reach + 1)
    dy, dx = np.meshgrid(grid, grid, indexing="ij")
    distance = np.hypot(dx, dy)
    core, rim = distance <= reach, (distance > reach - 1.5) & (distance <= reach)
    profile, own = np.zeros(core.shape), core
    for last in (False, False, True):
        # Stars on the border are cut; the median over all stars hardly changes by a few.
        inside = (xy > reach / 2).all(axis=1) & (xy < np.array([nx, ny]) - reach / 2).all(axis=1)
        xy = xy[inside]
        if len(xy) < _FEWEST:
            return None
        stamps = np.stack(
            [ndimage.map_coordinates(z, [y + dy, x + dx], order=1) for x, y in xy]
        ).astype(np.float64)
        total = stamps[:, own].sum(axis=1)
        kept = total > 0
        if kept.sum() < _FEWEST:
            return None
        stamps, xy = stamps[kept] / total[kept, None, None], xy[kept]
        profile = np.median(stamps, axis=0)
        profile -= np.median(profile[rim])
        profile[~core] = 0
        if profile.sum() <= 0:
            return None
        profile /= profile.sum()
        # Only the star's own pixels are compared: on crowded frames others hold neighbours.
        own = core & ndimage.binary_dilation(profile > _LIGHT * profile.max(), iterations=2)
        if not last:
            # The median's centroid, not each star's, so that neighbours do not count.
            xy = xy + _shifts(stamps, profile, max(2, round(length))) + _centroid(profile, dx, dy)
    if np.mean(_alike(stamps[:, own], profile[own], total[kept])) < _AGREE:
        return None
    return _shape(profile, dx, dy, len(xy))


def _alike(stamps: Floats, profile: Floats, total: Floats) -> Bools:
    """Return which stamps (n, k), of a total S/N sum of (n,), correlate with a profile (k,)."""
    profile = profile - profile.mean()
    stamps = stamps - stamps.mean(axis=1, keepdims=True)
    found = stamps @ profile / np.sqrt((stamps**2).sum(axis=1) * (profile**2).sum())
    # Noise alone, of one per pixel, lowers the correlation to this.
    light = total**2 * (profile**2).mean()
    return np.asarray(found > _CORRELATION * np.sqrt(light / (light + 1)))


def _shifts(stamps: Floats, profile: Floats, reach: int) -> Floats:
    """Return the shift x, y of each stamp against a profile [px], up to ``reach``."""
    kernel = profile[None, ::-1, ::-1]
    wide = np.pad(stamps, ((0, 0), (reach, reach), (reach, reach)))
    maps = fft_convolve(wide, kernel, axes=(1, 2))
    return np.array([np.subtract(_peak(one), reach) for one in maps])


def _peak(image: Floats) -> tuple[float, float]:
    """Return x, y of the maximum of an image, between the pixels."""
    y, x = (int(i) for i in np.unravel_index(int(image.argmax()), image.shape))
    if not (0 < y < image.shape[0] - 1 and 0 < x < image.shape[1] - 1):
        return float(x), float(y)
    dx, dy, _ = quadratic_peak(image[y - 1 : y + 2, x - 1 : x + 2])
    return x + dx, y + dy


def quadratic_peak(values: npt.NDArray[np.floating]) -> tuple[float, float, float]:
    """Return the maximum of the quadratic through a pixel and its neighbours.

    Parameters
    ----------
    values : ndarray of float, shape (3, 3)
        The highest value in the middle.

    Returns
    -------
    dx, dy, value : float
        Place of the maximum from the middle [px], at most 1 px away, and its value. The
        middle itself if the quadratic has no maximum.

    Notes
    -----
    With the mixed derivative: the correlation of trails is a ridge at any angle.
    """
    v = values.astype(np.float64)
    slope = np.array([v[1, 2] - v[1, 0], v[2, 1] - v[0, 1]]) / 2
    bend_x, bend_y = v[1, 2] - 2 * v[1, 1] + v[1, 0], v[2, 1] - 2 * v[1, 1] + v[0, 1]
    mixed = (v[2, 2] - v[2, 0] - v[0, 2] + v[0, 0]) / 4
    determinant = bend_x * bend_y - mixed**2
    if not (bend_x < 0 and determinant > 0):
        return 0.0, 0.0, float(v[1, 1])
    dx = (mixed * slope[1] - bend_y * slope[0]) / determinant
    dy = (mixed * slope[0] - bend_x * slope[1]) / determinant
    shrink = max(1.0, math.hypot(dx, dy))
    dx, dy = dx / shrink, dy / shrink
    rise = slope[0] * dx + slope[1] * dy
    rise += 0.5 * (bend_x * dx**2 + bend_y * dy**2) + mixed * dx * dy
    return float(dx), float(dy), float(v[1, 1] + rise)


def _centroid(profile: Floats, dx: npt.NDArray[Any], dy: npt.NDArray[Any]) -> Floats:
    """Return the centroid x, y of a profile [px] from its middle."""
    light = np.where(profile > _LIGHT * profile.max(), profile, 0)
    return np.asarray(np.array([(light * dx).sum(), (light * dy).sum()]) / light.sum())


def _shape(profile: Floats, dx: npt.NDArray[Any], dy: npt.NDArray[Any], n_stars: int) -> StarShape:
    """Measure a centred profile."""
    light = np.where(profile > _LIGHT * profile.max(), profile, 0)
    light /= light.sum()
    theta = 0.5 * math.atan2(2 * (light * dx * dy).sum(), (light * (dx**2 - dy**2)).sum())
    h = profile.shape[0] // 2
    smooth = ndimage.gaussian_filter(profile, _PROFILE_SMOOTH_PX)
    along, across = (_outer_width(smooth, angle) for angle in (theta, theta + math.pi / 2))
    if across > along:
        along, across, theta = across, along, theta + math.pi / 2
    positive = np.maximum(profile, 0)
    return StarShape(
        along=along,
        across=across,
        theta=(theta + math.pi / 2) % math.pi - math.pi / 2,
        centre=float(smooth[h - 1 : h + 2, h - 1 : h + 2].mean() / smooth.max()),
        n_stars=n_stars,
        profile=(positive / positive.sum()).astype(np.float32),
    )


def _outer_width(profile: Floats, angle: float) -> float:
    """Return the distance [px] between the outermost crossings of half the maximum on a line."""
    h = profile.shape[0] // 2
    t = np.arange(-h, h + 0.01, 0.1)
    at = [h + t * math.sin(angle), h + t * math.cos(angle)]
    line = ndimage.map_coordinates(profile, at, order=1)
    above = np.flatnonzero(line > 0.5 * line.max())
    # Without the smoothing by which the profile was prepared, for a Gaussian.
    wide = float(t[above[-1]] - t[above[0]])
    return math.sqrt(max(wide**2 - 8 * math.log(2) * _PROFILE_SMOOTH_PX**2, 1.0))
