"""Fit streaks to the pixels, starting from the network's detections."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy
from scipy import special

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.detect.inference.centroids import window_sigma

__all__ = ["SegmentResidual", "refine_streaks"]

Floats = npt.NDArray[np.float64]

#: Extent of the fitted region beyond the ends and to the sides of a streak [px].
_BEYOND_PX: Final = 14.0
_BESIDE_PX: Final = 8.0
#: Streaks longer than this are subsampled: their middle does not constrain the ends [px].
_LONG_PX: Final = 300.0
#: Bounds on the width (standard deviation) of the profile [px].
_WIDTHS: Final = (0.6, 4.0)
#: Bounds on the shift of the centre across the streak [px] and on the rotation [rad].
_SHIFT_PX: Final = 3.0
_TURN: Final = np.deg2rad(8)
#: A point source farther than this from the segment is a star, not light of the streak [px].
_OFF_PX: Final = 2.5
#: Radius in which the peak of a star is searched [px], lower limit on the peak [noise standard
#: deviations], and factor on the radius of a Gaussian for the wings of the PSF.
_CORE_PX: Final = 1.5
_FAINTEST: Final = 4.0
_WINGS: Final = 1.25
#: Scale of the soft-L1 loss [noise standard deviations]: larger residuals count less than squared.
_SCALE: Final = 3.0


def refine_streaks(
    frame: Frame, background: Background, streaks: Floats, points: Floats | None = None
) -> Floats:
    """Fit the centre, length and direction of streaks to the pixels.

    Parameters
    ----------
    frame : Frame
        The frame on which the streaks were found.
    background : Background
        Background and noise of the frame.
    streaks : ndarray of float64, shape (n, 5)
        x, y [px], length [px], theta [rad] and score, from the network's maps.
    points : ndarray of float64, shape (k, 2), optional
        x, y [px] of the frame's stars. Their pixels are excluded, except on the streaks,
        where the light may belong to the streak.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        The same streaks in the same order. A streak is unchanged if its fit fails or
        does not explain the pixels better than a constant.

    Notes
    -----
    Robust least squares (soft-L1 loss) of a uniform segment with a Gaussian profile of
    free width on a constant; brightness and constant are solved linearly at every step.
    Stars on the line are first clipped to a few times the brightness of the streak;
    masked pixels are excluded. Segments are cut at the border of the frame.
    """
    out = streaks.copy()
    beside = np.zeros((0, 2)) if points is None else points
    for row, streak in enumerate(streaks):
        fitted = _fit_streak(frame, background, streak, beside)
        if fitted is not None:
            out[row, :4] = fitted
    return out


def _fit_streak(
    frame: Frame, background: Background, streak: Floats, points: Floats
) -> tuple[float, ...] | None:
    """Return x, y, length and theta of the best segment, or None if the fit fails."""
    x, y, length, theta, _ = streak
    c, s = np.cos(theta), np.sin(theta)
    beyond = max(_BEYOND_PX, 0.25 * length)
    sigma = window_sigma(frame)
    # Pixels of the box around the segment, in coordinates along and across it.
    half = np.array([length / 2 + beyond, _BESIDE_PX])
    reach_x = abs(c) * half[0] + abs(s) * half[1]
    reach_y = abs(s) * half[0] + abs(c) * half[1]
    ny, nx = frame.shape
    x0, x1 = max(0, int(x - reach_x)), min(nx, int(x + reach_x) + 2)
    y0, y1 = max(0, int(y - reach_y)), min(ny, int(y + reach_y) + 2)
    if x1 - x0 < 3 or y1 - y0 < 3:
        return None
    part = np.s_[y0:y1, x0:x1]
    z = (frame.data[part] - background.level[part]) / background.rms[part]
    good = ~frame.bad[part]
    rows, cols = np.mgrid[part]
    along, across = (cols - x) * c + (rows - y) * s, (rows - y) * c - (cols - x) * s
    inside = good & (np.abs(along) <= half[0]) & (np.abs(across) <= half[1])
    inside &= ~_starlit(points, (x, y, length, theta), (cols, rows), z, half, sigma)
    if length > _LONG_PX:  # subsample the middle
        inside &= (np.abs(along) > length / 2 - 100) | (np.rint(along) % 6 == 0)
    a, b = along[inside], across[inside]
    d = z[inside].astype(np.float64)
    if d.size < 30:
        return None
    on = (np.abs(a) < length / 2) & (np.abs(b) < 1.5)
    level = float(np.median(d[np.abs(b) > 4])) if (np.abs(b) > 4).any() else 0.0
    bright = max(1.0, float(np.median(d[on])) - level) if on.any() else 1.0
    np.clip(d, level - 6, level + 6 + 3 * bright, out=d)
    low = np.array([-length / 2 - beyond, -_SHIFT_PX, 3.0, -_TURN, _WIDTHS[0]])
    high = np.array([length / 2 + beyond, _SHIFT_PX, length + 2 * beyond, _TURN, _WIDTHS[1]])
    begin = np.array([0.0, 0.0, max(length, 4.0), 0.0, 1.2])
    scale = np.array([1.0, 0.5, 1.0, 2.0 / max(length, 8.0), 0.3])
    pixels = SegmentResidual(a, b, d)
    fit = scipy.optimize.least_squares(
        pixels, begin, jac=pixels.jacobian, bounds=(low, high), x_scale=scale, loss="soft_l1",
        f_scale=_SCALE, max_nfev=40,
    )  # fmt: skip
    # A real streak lowers the cost by more than five parameters fitted to noise would.
    blank = 0.5 * _SCALE**2 * float(np.sum(2 * (np.sqrt(1 + ((d - d.mean()) / _SCALE) ** 2) - 1)))
    if not fit.success or blank - fit.cost < 10:
        return None
    shift, aside, longer, turn, _ = fit.x
    angle = theta + turn
    cx, cy = x + shift * c - aside * s, y + shift * s + aside * c
    return _on_frame(cx, cy, float(longer), float(angle), nx, ny)


def _starlit(
    points: Floats,
    streak: tuple[float, float, float, float],
    pixels: tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]],
    z: npt.NDArray[np.floating],
    half: Floats,
    sigma: float,
) -> npt.NDArray[np.bool_]:
    """Return a mask of the pixels of a cut-out that are lit by stars off the streak."""
    x, y, length, theta = streak
    c, s = np.cos(theta), np.sin(theta)
    dx, dy = points[:, 0] - x, points[:, 1] - y
    along, across = np.abs(dx * c + dy * s), np.abs(dy * c - dx * s)
    near = (along < half[0] + _BESIDE_PX) & (across < half[1] + _BESIDE_PX)
    # A point on the streak may be the streak: its pixels are kept.
    near &= (along > length / 2 + _OFF_PX) | (across > _OFF_PX)
    cols, rows = pixels
    lit = np.zeros(z.shape, dtype=bool)
    for px, py in points[near]:
        distance = np.hypot(cols - px, rows - py)
        core = z[distance < _CORE_PX]
        if core.size:  # a Gaussian is below the noise from there on; stars have wider wings
            reach = np.sqrt(2 * np.log(max(float(core.max()), _FAINTEST)))
            lit |= distance < _WINGS * sigma * reach
    return lit


class SegmentResidual:
    """Residuals of a segment on a constant, and their derivatives.

    Parameters
    ----------
    along, across : ndarray of float64, shape (n,)
        Coordinates of the pixels in the system of the first segment [px].
    values : ndarray of float64, shape (n,)
        Values of the pixels [noise standard deviations].

    Notes
    -----
    The five parameters are the shift of the centre along and across the first segment [px],
    the length [px], the rotation [rad] and the standard deviation of the profile [px].
    Brightness and constant are functions of them (variable projection): both are solved by
    linear least squares, with a brightness that is not negative. The derivatives are exact,
    also in the brightness.
    """

    def __init__(self, along: Floats, across: Floats, values: Floats) -> None:
        self._along, self._across = along, across
        self._values = values - values.mean()
        self._last: tuple[Floats, _Profile] | None = None

    def __call__(self, p: Floats) -> Floats:
        """Return the residuals, shape (n,)."""
        segment = self._profile(p)
        return np.asarray(self._values - segment.height * segment.shape)

    def jacobian(self, p: Floats) -> Floats:
        """Return the derivatives of the residuals by the parameters, shape (n, 5)."""
        segment = self._profile(p)
        shape, height = segment.shape, segment.height
        if height == 0.0:
            return np.zeros((shape.size, 5))
        # In rows: each is contiguous.
        rows = segment.derivatives()
        rows -= rows.mean(axis=1, keepdims=True)
        heights = (rows @ (self._values - 2 * height * shape)) / segment.spread
        rows *= -height
        rows -= heights[:, None] * shape
        return rows.T

    def _profile(self, p: Floats) -> _Profile:
        # least_squares asks for the derivatives where it last asked for the residuals.
        if self._last is None or not np.array_equal(self._last[0], p):
            self._last = p.copy(), _Profile(p, self._along, self._across, self._values)
        return self._last[1]


class _Profile:
    """A segment of brightness 1 at its middle, less its mean, and its best brightness.

    Pixels are in coordinates of the first segment; `_u` and `_v` are along and across this one,
    in units of its width.
    """

    def __init__(self, p: Floats, a: Floats, b: Floats, values: Floats) -> None:
        shift, aside, self._length, turn, self._sigma = p
        da, db = a - shift, b - aside
        self._c, self._s = np.cos(turn), np.sin(turn)
        self._u = (da * self._c + db * self._s) / self._sigma
        self._v = (db * self._c - da * self._s) / self._sigma
        half = self._length / 2 / self._sigma
        self._from, self._to = self._u + half, self._u - half
        self._ends = special.ndtr(self._from) - special.ndtr(self._to)
        self._side = np.exp(-0.5 * self._v**2)
        self.shape = self._ends * self._side
        self.shape -= self.shape.mean()
        self.spread = float(self.shape @ self.shape) + 1e-12
        self.height = max(0.0, float(self.shape @ values) / self.spread)

    def derivatives(self) -> Floats:
        """Return the derivatives of the segment by the five parameters, shape (5, n)."""
        u, v, side = self._u, self._v, self._side / self._sigma
        first = np.exp(-0.5 * self._from**2) * (side / np.sqrt(2 * np.pi))
        last = np.exp(-0.5 * self._to**2) * (side / np.sqrt(2 * np.pi))
        by_along, by_across = first - last, -self._ends * side * v
        out = np.empty((5, u.size))
        out[0] = self._s * by_across - self._c * by_along
        out[1] = -self._s * by_along - self._c * by_across
        out[2] = 0.5 * (first + last)
        out[3] = self._sigma * (v * by_along - u * by_across)
        out[4] = last * self._to - first * self._from - v * by_across
        return out


def _on_frame(
    x: float, y: float, length: float, theta: float, nx: int, ny: int
) -> tuple[float, float, float, float] | None:
    """Clip a segment to the frame; its direction is in [-π/2, π/2). None if under 1 px is left."""
    c, s = float(np.cos(theta)), float(np.sin(theta))
    low, high = -length / 2, length / 2
    for p, d, last in ((x, c, nx - 0.5), (y, s, ny - 0.5)):
        if abs(d) > 1e-9:
            first, second = sorted(((-0.5 - p) / d, (last - p) / d))
            low, high = max(low, first), min(high, second)
    if high - low < 1:
        return None
    middle = (low + high) / 2
    wrapped = (theta + np.pi / 2) % np.pi - np.pi / 2
    return x + middle * c, y + middle * s, high - low, float(wrapped)
