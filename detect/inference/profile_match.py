"""Measure sources with the profile of the frame's own stars: position, S/N, probability."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.core.measure.star_shape import StarShape, quadratic_peak

__all__ = ["ProfileMatch"]

Floats = npt.NDArray[np.float64]

#: Sources of a lower S/N are not looked for.
_LEAST_SNR: Final = 3.5
#: Sources of a higher S/N are surely there; they say how many fainter ones to expect.
_SURE_SNR: Final = 8.0
#: Noise of the S/N map, at most: on white noise 1, up to 1.5 with that of the background estimate
#: under large stars. Crowded stars raise it, and the median, which is therefore limited too.
_MOST_NOISE: Final = 1.5
#: The profile of a single star differs from the frame's by about this fraction.
_MISMATCH: Final = 0.07
#: The S/N map gives positions no better than this [px].
_LEAST_ERROR_PX: Final = 0.1
#: Rounds of looking for further sources, and how far a source moves in each [px].
_ROUNDS: Final = 12
_MOVE_PX: Final = 2
#: Overlaps of two profiles below this fraction are left out.
_OVERLAP: Final = 0.01
#: A pixel this many sigma above twice the median around it is no part of a wide star.
_SPIKE_SIGMA: Final = 6.0


class ProfileMatch:
    """The S/N map of a frame for its own stars' profile, and the sources in it.

    Parameters
    ----------
    frame, background : Frame, Background
        The frame and its background; masked pixels are excluded, and those far above their
        neighbours (hot pixels, cosmic rays) replaced by the median around them.
    stars : StarShape
        The profile.

    Attributes
    ----------
    xy : ndarray of float64, shape (n, 2)
        Positions of the sources [px].
    snr : ndarray of float64, shape (n,)
        Their S/N, without the light of the others.

    Notes
    -----
    The map is the correlation with the profile, in units of its own noise: the difference
    between its median and its 16th percentile, which few stars do not raise and which holds the
    noise of the background estimate, too.

    Sources are found as by CLEAN (Högbom 1974, A&AS 15, 417): the highest peaks of the map are
    subtracted with the profile's autocorrelation, then all sources are placed and measured again
    with the light of the others subtracted, then further peaks are looked for. A fraction of the
    light of the others counts as noise, since no star has exactly the median profile.
    """

    def __init__(self, frame: Frame, background: Background, stars: StarShape) -> None:
        from scipy import signal  # takes long to load, and few frames need it

        z = (frame.data - background.level) / background.rms
        z[frame.bad] = 0.0
        around = ndimage.median_filter(z, 3)
        spike = z > _SPIKE_SIGMA + 2 * np.maximum(around, 0)
        z[spike] = around[spike]
        profile = stars.profile.astype(np.float64)
        size = math.sqrt(float((profile**2).sum()))
        self._stars = stars
        reach = profile.shape[0] // 2
        snr = signal.oaconvolve(
            np.pad(z, reach), (profile[::-1, ::-1] / size).astype(np.float32), mode="valid"
        )
        low, middle = (float(v) for v in np.percentile(snr[~frame.bad], [15.87, 50]))
        noise = min(max(middle - low, 1.0), _MOST_NOISE)
        middle = min(max(middle, -1.0), 1.0)
        self._shape = frame.shape
        overlap = signal.fftconvolve(profile, profile[::-1, ::-1]) / size**2
        rows, columns = np.nonzero(overlap > _OVERLAP)
        half = int(max(np.abs(rows - 2 * reach).max(), np.abs(columns - 2 * reach).max())) + 1
        # One pixel wider than used, for the interpolation.
        self._overlap = np.pad(overlap, 2)[
            2 * reach + 1 - half : 2 * reach + 4 + half, 2 * reach + 1 - half : 2 * reach + 4 + half
        ]
        self._half = half
        by_y, by_x = np.gradient(profile)
        self._sharpness = np.array(
            [[(by_x**2).sum(), (by_x * by_y).sum()], [(by_x * by_y).sum(), (by_y**2).sum()]]
        ) / size**2  # fmt: skip
        self._rest = np.pad((snr - middle) / noise, half).astype(np.float64)
        self._light = np.zeros_like(self._rest)
        self.xy, self.snr = self._clean()

    def _clean(self) -> tuple[Floats, Floats]:
        """Return the sources of the map and their S/N."""
        places: list[Floats] = []
        peaks: list[float] = []
        for _ in range(_ROUNDS):
            fresh = self._highest()
            places += list(fresh)
            peaks += [0.0] * len(fresh)
            for k in range(len(peaks)):
                self._add(places[k], peaks[k])
                places[k], peaks[k] = self._peak_near(places[k], 0 if peaks[k] == 0 else _MOVE_PX)
                self._add(places[k], -peaks[k])
            if not len(fresh):
                break
        xy, light = np.array(places).reshape(-1, 2), np.array(peaks)
        at = [xy[:, 1] + self._half, xy[:, 0] + self._half]
        others = ndimage.map_coordinates(self._light, at, order=1) - light
        snr = light / np.hypot(1.0, _MISMATCH * np.maximum(others, 0))
        on = (np.rint(xy) >= 0).all(axis=1) & (np.rint(xy) < self._shape[::-1]).all(axis=1)
        kept = on & (snr > _LEAST_SNR)
        return xy[kept], snr[kept]

    def _highest(self) -> Floats:
        """Return the pixels x, y of the highest peaks of the rest, no two close to each other."""
        h = self._half
        rest = self._rest[h:-h, h:-h]
        limit = _LEAST_SNR * np.hypot(1.0, _MISMATCH * self._light[h:-h, h:-h])
        size = 2 * math.ceil(self._stars.along / 2) + 1
        best = (rest == ndimage.maximum_filter(rest, size)) & (rest > limit)
        rows, columns = np.nonzero(best)
        return np.column_stack([columns, rows]).astype(np.float64)

    def _peak_near(self, xy: Floats, move: int) -> tuple[Floats, float]:
        """Return place and height of the highest value of the rest within ``move`` px."""
        x, y = (int(v) for v in np.rint(xy) + self._half)
        m = move + 1
        window = self._rest[y - m : y + m + 1, x - m : x + m + 1]
        inner = window[1:-1, 1:-1]
        iy, ix = divmod(int(inner.argmax()), inner.shape[1])
        dx, dy, peak = quadratic_peak(window[iy : iy + 3, ix : ix + 3])
        place = np.array([x + ix - move + dx, y + iy - move + dy])
        limit = np.array(self._shape[::-1]) - 1.0
        return np.clip(place - self._half, 0, limit), max(peak, 0.0)

    def _add(self, xy: Floats, light: float) -> None:
        """Add a source's light to the rest; subtract it from the light of the sources."""
        if light == 0:
            return
        h = self._half
        x, y = (int(v) for v in np.rint(xy))
        fx, fy = float(xy[0]) - x, float(xy[1]) - y
        wide = self._overlap
        # Shifted to the right by a positive fraction: the neighbours on the left come in.
        for axis, f in ((1, fx), (0, fy)):
            shifted = np.roll(wide, 1 if f > 0 else -1, axis=axis)
            wide = (1 - abs(f)) * wide + abs(f) * shifted
        part = slice(y, y + 2 * h + 1), slice(x, x + 2 * h + 1)
        own = light * wide[1:-1, 1:-1]
        self._rest[part] += own
        self._light[part] -= own

    def probability(self, snr: Floats, sure: npt.NDArray[np.bool_]) -> Floats:
        """Return the probability that sources of this S/N are no peaks of the noise, (n,).

        Parameters
        ----------
        snr : ndarray of float64, shape (n,)
            As in the attribute.
        sure : ndarray of bool, shape (n,)
            True for those that are sources if they are bright.

        Notes
        -----
        The expected number of peaks of a Gaussian field above S/N u is
        ``area·√det(Λ)·u·exp(-u²/2)/(2π)^(3/2)`` (Adler 1981, The Geometry of Random Fields), with
        Λ the mean square gradients of the profile over its mean square. Sources are as many in
        each interval of ln u as the sure ones above S/N 8.
        """
        bright = snr[sure & (snr > _SURE_SNR)]
        span = math.log(max(float(bright.max(initial=0.0)) / _SURE_SNR, math.e))
        sources = max(bright.size, 1) / span
        area = (
            self._shape[0]
            * self._shape[1]
            * math.sqrt(max(float(np.linalg.det(self._sharpness)), 0.0))
        )
        # Below S/N √3 the number of peaks would fall again.
        u = np.clip(snr, math.sqrt(3), 30.0)
        # Both per interval of ln u.
        noise = area * u**3 * np.exp(-(u**2) / 2) / (2 * math.pi) ** 1.5
        return np.asarray(sources / (sources + noise))

    def position_error(self, snr: Floats) -> Floats:
        """Return the standard error per axis [px] of positions of sources of this S/N, (n,)."""
        one = math.sqrt(float(np.trace(np.linalg.inv(self._sharpness))) / 2)
        return np.hypot(one / np.maximum(snr, 1.0), _LEAST_ERROR_PX)

    def radius(self, part: float) -> float:
        """Return the radius [px] of the circle that holds a part of the profile's light."""
        h = self._stars.profile.shape[0] // 2
        dy, dx = np.meshgrid(np.arange(-h, h + 1), np.arange(-h, h + 1), indexing="ij")
        distance = np.hypot(dx, dy).ravel()
        order = np.argsort(distance, kind="stable")
        held = np.cumsum(self._stars.profile.ravel()[order])
        return float(distance[order][np.searchsorted(held, part * held[-1])])
