"""Measure features of each proposal with the PSF of its frame.

The network sees some hundred pixels around a source, which do not determine the PSF of the
frame. The bright stars of the frame do. Each proposal is therefore measured again with that
PSF, and `skyduel.detect.model.score_model.Rescoring` combines both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.core.native import context_features, nearest_higher, neighbours
from skyduel.detect.inference.centroids import window_sigma
from skyduel.detect.model.score_model import CONTEXT_FEATURES
from skyduel.detect.model.threads import each_in_threads

__all__ = ["measure_context_features", "measure_profile", "width_and_snr"]

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.float32]

#: Half width of the square stamps, and half length of the bars [px].
_HALF: Final = 5
_BAR: Final = 24
_CORE_PX: Final = 3.0
#: Gap between stamps that are shifted together [px]: the influence of a pixel on a cubic spline
#: falls by a factor of 0.27 per pixel.
_GAP: Final = 8
#: Number of sub-pixel phases per axis: steps of 1/4 px.
_PHASES: Final = 4
#: Proposals above this logit count as sources for the PSF and the crowding.
_SURE_LOGIT: Final = 3.0
#: The PSF is measured from stars of S/N 25, or 12 if there are too few: at least `_FEWEST` stars
#: whose squared S/N sum to at least `_SUMMED`; at most `_MOST` stars, below S/N `_BRIGHTEST`.
_FAINTEST: Final = (25.0, 12.0)
_BRIGHTEST: Final = 3000.0
_FEWEST, _MOST = 5, 300
_SUMMED: Final = 3000.0
#: Without enough stars: the widths [px] that are tried, and the number of proposals of highest
#: logit they are tried on.
_WIDTHS: Final = (0.45, 0.55, 0.7, 0.85, 1.05, 1.3, 1.6, 2.0, 2.5, 3.0)
_SUREST: Final = 50
_NARROW_SIGMA_PX: Final = 0.45
_FARTHEST_PX: Final = 12.0
_NEIGHBOURS: Final = 8
#: Number of proposals whose neighbours are listed at a time; bounds memory.
_PAIRED_AT_ONCE: Final = 1 << 15
#: Number of rows of the frame, and of proposals, processed at a time; bounds memory.
_BAND: Final = 256
_AT_ONCE: Final = 4096
_GRID: Final = np.arange(-_HALF, _HALF + 1)
_R: Final = np.hypot(*np.meshgrid(_GRID, _GRID))


def measure_context_features(
    frame: Frame, background: Background, xy: Floats, logit: Floats
) -> npt.NDArray[np.float32]:
    """Measure the context features of each proposal.

    Parameters
    ----------
    frame : Frame
        The frame on which the proposals were found.
    background : Background
        Background and noise of the frame.
    xy : ndarray of float64, shape (k, 2)
        Positions [px], 0-based, integer at the pixel's centre, on the frame.
    logit : ndarray of float64, shape (k,)
        Logit of the network for each proposal.

    Returns
    -------
    ndarray of float32, shape (k, 15)
        Columns as in `CONTEXT_FEATURES`. Masked pixels are excluded.
    """
    out = np.zeros((len(xy), len(CONTEXT_FEATURES)), dtype=np.float32)
    if len(xy) == 0:
        return out
    profile = measure_profile(frame, background, xy, logit)
    sigma = np.sqrt(_noise_area(profile) / (4 * np.pi))
    banks = np.stack(
        [_phases(p) for p in (profile, _gaussian(_NARROW_SIGMA_PX), _gaussian(2 * sigma))]
    )

    def fill(band: _Band) -> None:
        pixels = _pixels(frame, background, band.y0)
        for rows in band.groups:
            out[rows, :11] = _measured(pixels, xy[rows], banks)

    each_in_threads(fill, _bands(frame.shape[0], xy))
    out[:, 11] = np.log10(np.count_nonzero(logit > _SURE_LOGIT) / frame.data.size * 1e6 + 10)
    out[:, 12] = np.log(_noise_area(profile))
    out[:, 13:] = _higher_neighbours(xy, logit)
    return out


def width_and_snr(features: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return σ of the PSF [px] and the matched-filter S/N from rows of features, each (k,)."""
    area = np.exp(features[:, CONTEXT_FEATURES.index("area")].astype(np.float64))
    return np.sqrt(area / (4 * np.pi)), features[:, CONTEXT_FEATURES.index("matched")].astype(
        np.float64
    )


def measure_profile(frame: Frame, background: Background, xy: Floats, logit: Floats) -> Stamps:
    """Measure the point-spread function of a frame, shape (11, 11), normalised to a sum of 1.

    The median of the bright unmasked sources of high logit, each centred and scaled. If too
    few are bright, a Gaussian with the frame's FWHM, or, if the frame states none, with the
    width that gives the sources of highest logit the highest S/N.
    """
    rows = np.flatnonzero(logit > _SURE_LOGIT)
    stamps, usable, rows = _some_stamps(frame, background, xy, rows)
    core = _R <= _CORE_PX
    snr = stamps[:, core].sum(axis=1) / np.sqrt(core.sum())
    good = (snr < _BRIGHTEST) & usable.all(axis=(1, 2))
    for faintest in _FAINTEST:
        kept = np.flatnonzero(good & (snr > faintest))
        if kept.size >= _FEWEST and (snr[kept] ** 2).sum() >= _SUMMED:
            break
    else:
        return _gaussian(_width(frame, background, xy, logit))
    best = kept[np.argsort(-snr[kept], kind="stable")[:_MOST]]
    fraction = xy[rows[best]] - np.rint(xy[rows[best]])
    centred = _shifted(stamps[best], -fraction)
    middle = np.median(centred / snr[best][:, None, None], axis=0)
    middle[_R > _HALF] = 0
    total = float(middle.sum())
    if total <= 0:  # an overestimated background makes the stars negative
        return _gaussian(_width(frame, background, xy, logit))
    return np.asarray(middle / total, dtype=np.float32)


def _width(frame: Frame, background: Background, xy: Floats, logit: Floats) -> float:
    """Return σ [px] of the frame's FWHM, or the best width for the sources of highest logit."""
    if frame.fwhm is not None or len(xy) == 0:
        return window_sigma(frame)
    rows = np.argsort(-logit, kind="stable")[:_SUREST]
    stamps, _, rows = _some_stamps(frame, background, xy, rows)
    which = _phase(xy[rows])
    summed = []
    for bank in (_phases(_gaussian(sigma))[which] for sigma in _WIDTHS):
        matched = np.einsum("kij,kij->k", stamps, bank)
        matched /= np.sqrt(np.einsum("kij,kij->k", bank, bank))
        # In the logarithm, so that the brightest source does not dominate.
        summed.append(np.log1p(np.maximum(matched, 0)).sum())
    return float(_WIDTHS[int(np.argmax(summed))])


def _some_stamps(
    frame: Frame, background: Background, xy: Floats, rows: npt.NDArray[np.intp]
) -> tuple[Stamps, npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Return stamps of a subset of the sources, masks of their usable pixels, and their rows."""
    rows = rows[:: 1 + rows.size // (8 * _MOST)]
    places = xy[rows]
    parts = []
    for band in _bands(frame.shape[0], places):
        pixels = _pixels(frame, background, band.y0)
        parts += [(some, *pixels.stamps(places[some])) for some in band.groups]
    if not parts:
        none = np.zeros((0, *_R.shape))
        return none.astype(np.float32), none.astype(bool), rows[:0]
    order, stamps, usable = (np.concatenate(p) for p in zip(*parts, strict=True))
    return stamps, usable, rows[order]


def _gaussian(sigma: float) -> Stamps:
    p = np.exp(-(_R**2) / (2 * sigma**2))
    return np.asarray(p / p.sum(), dtype=np.float32)


def _noise_area(profile: Stamps) -> float:
    """Return the noise-equivalent area [px²]; 4π·σ² for a Gaussian."""
    return float(1 / np.sum(profile.astype(np.float64) ** 2))


def _phases(profile: Stamps) -> Stamps:
    """Return the profile at every phase within a pixel, shape (phases² , 11, 11)."""
    steps = (np.arange(_PHASES) + 0.5) / _PHASES - 0.5
    fx, fy = (shift.ravel() for shift in np.meshgrid(steps, steps))
    profiles = np.broadcast_to(profile, (fx.size, *profile.shape))
    return _shifted(profiles, np.column_stack([fx, fy])).astype(np.float32)


def _shifted(stamps: Stamps, xy: Floats) -> Floats:
    """Shift stamps (k, 11, 11), each by its x, y [px], with cubic splines in one call.

    Pixels beyond the edge have the value of the nearest edge pixel.
    """
    n, side, _ = stamps.shape
    wide = np.pad(stamps, ((0, 0), (_GAP, _GAP), (_GAP, _GAP)), mode="edge")
    place = np.arange(side) + _GAP
    y = np.arange(n)[:, None, None] * wide.shape[1] + place[:, None] - xy[:, 1, None, None]
    x = place - xy[:, 0, None, None]
    return np.asarray(
        ndimage.map_coordinates(
            wide.reshape(-1, wide.shape[2]).astype(np.float64), np.broadcast_arrays(y, x), order=3
        )
    )


def _phase(xy: Floats) -> npt.NDArray[np.intp]:
    """Return the index into `_phases` of each position."""
    part = ((xy - np.rint(xy) + 0.5) * _PHASES).astype(np.intp).clip(0, _PHASES - 1)
    return np.asarray(part[:, 1] * _PHASES + part[:, 0])


@dataclass(frozen=True)
class _Pixels:
    """Rows of a frame in units of the noise, and a mask of usable pixels, with a wide margin.

    Unusable pixels, and those beyond the frame, are 0. Row ``first`` of the frame is row ``_BAR``.
    """

    z: Stamps
    usable: npt.NDArray[np.bool_]
    first: int

    def stamps(self, xy: Floats) -> tuple[Stamps, npt.NDArray[np.bool_]]:
        """Return the stamps around positions, and masks of usable pixels, each (k, 11, 11)."""
        rim, side = _BAR - _HALF, 2 * _HALF + 1
        return self._cut(xy, rim, rim, (side, side))

    def bars(self, xy: Floats, axis: int) -> tuple[Stamps, npt.NDArray[np.bool_]]:
        """Return the bars along rows (1) or columns (0), and masks of usable pixels, (k, 49)."""
        side = 2 * _BAR + 1
        cut = self._cut(xy, 0, _BAR, (side, 1)) if axis == 0 else self._cut(xy, _BAR, 0, (1, side))
        return cut[0].reshape(-1, side), cut[1].reshape(-1, side)

    def _cut(
        self, xy: Floats, down: int, right: int, shape: tuple[int, int]
    ) -> tuple[Stamps, npt.NDArray[np.bool_]]:
        x, y = np.rint(xy).astype(np.intp).T
        at = y - self.first + down, x + right
        return (
            np.lib.stride_tricks.sliding_window_view(self.z, shape)[at],
            np.lib.stride_tricks.sliding_window_view(self.usable, shape)[at],
        )


class _Band(NamedTuple):
    """Rows of a frame from ``y0`` on, and the indices of the positions on them, in groups."""

    y0: int
    groups: list[npt.NDArray[np.intp]]


def _bands(ny: int, xy: Floats) -> list[_Band]:
    """Group the positions on a frame of ``ny`` rows by band; empty bands are left out."""
    middle = np.rint(xy[:, 1]).astype(np.intp)
    order = np.argsort(middle, kind="stable")
    bands = []
    for y0 in range(0, ny, _BAND):
        low, high = np.searchsorted(middle[order], (y0, min(ny, y0 + _BAND)))
        starts = range(low, high, _AT_ONCE)
        if starts:
            bands.append(_Band(y0, [order[i : min(i + _AT_ONCE, high)] for i in starts]))
    return bands


def _pixels(frame: Frame, background: Background, y0: int) -> _Pixels:
    """Return the pixels of a band with its margin."""
    ny = frame.shape[0]
    y1 = min(ny, y0 + _BAND)
    top, bottom = max(0, y0 - _BAR), min(ny, y1 + _BAR)
    part = slice(top, bottom)
    usable = ~frame.bad[part]
    z = (frame.data[part] - background.level[part]) / background.rms[part]
    z[~usable] = 0
    rim = ((_BAR - (y0 - top), _BAR - (bottom - y1)), (_BAR, _BAR))
    return _Pixels(np.pad(z.astype(np.float32, copy=False), rim), np.pad(usable, rim), y0)


def _measured(pixels: _Pixels, xy: Floats, banks: Stamps) -> Stamps:
    """Measure the first eleven features of proposals in one band."""
    x, y = np.rint(xy).astype(np.int64).T
    at = (y - pixels.first + _BAR) * pixels.z.shape[1] + x + _BAR
    fast = context_features(pixels.z, pixels.usable, at, _phase(xy), banks)
    return _around(pixels, xy, banks) if fast is None else fast


def _around(pixels: _Pixels, xy: Floats, banks: Stamps) -> Stamps:
    """Measure them with numpy."""
    stamps, usable = pixels.stamps(xy)
    which = _phase(xy)
    matched = []
    for bank in banks:
        profile = bank[which] * usable
        size = np.sqrt(np.einsum("kij,kij->k", profile, profile))
        size[size == 0] = 1
        matched.append(np.einsum("kij,kij->k", stamps, profile) / size)
        if len(matched) == 1:
            own = profile / size[:, None, None]
    rest = stamps - matched[0][:, None, None] * own
    core = rest[:, _R <= _CORE_PX]
    scale = 1 + 0.1 * np.abs(matched[0])
    left = np.log((core**2).mean(axis=1) / (1 + 0.02 * matched[0] ** 2) + 0.05)
    ring = stamps[:, _R > _HALF - 1].clip(-4, 8).mean(axis=1)
    means = []
    offsets = np.abs(np.arange(-_BAR, _BAR + 1))
    for axis in (1, 0):
        bar, fine = pixels.bars(xy, axis)
        bar = bar.clip(-4, 8)
        for some in ((offsets >= 3) & (offsets < 8), offsets >= 8):
            means.append(bar[:, some].sum(axis=1) / np.maximum(fine[:, some].sum(axis=1), 1))
    row, row_far, column, column_far = means
    return np.column_stack(
        [*matched, left, rest[:, _HALF, _HALF] / scale, core.max(axis=1) / scale, ring,
         row, column, row_far, column_far]
    )  # fmt: skip


def _higher_neighbours(xy: Floats, logit: Floats) -> npt.NDArray[np.float32]:
    """Return distance and logit difference of the nearest proposal of higher logit, (k, 2).

    It is searched among the eight nearest proposals.
    """
    fast = nearest_higher(xy, logit, _FARTHEST_PX, _NEIGHBOURS)
    if fast is None:
        return _neighbours(xy, logit)
    return np.column_stack([fast[:, 0], np.minimum(fast[:, 1], 20)]).astype(np.float32)


def _neighbours(xy: Floats, logit: Floats) -> npt.NDArray[np.float32]:
    """Find them with numpy."""
    out = np.tile(np.array([_FARTHEST_PX, 0.0]), (len(xy), 1))
    order = np.argsort(xy[:, 1], kind="stable")
    xy, logit = xy[order], logit[order]
    y = np.ascontiguousarray(xy[:, 1])
    for first in range(0, len(xy), _PAIRED_AT_ONCE):
        some = xy[first : first + _PAIRED_AT_ONCE]
        low, high = np.searchsorted(y, (some[0, 1] - _FARTHEST_PX, some[-1, 1] + _FARTHEST_PX))
        i, j = neighbours(some, xy[low : high + 1], _FARTHEST_PX)
        distance = np.sqrt(((some[i] - xy[low + j]) ** 2).sum(axis=1))
        close = (distance < _FARTHEST_PX) & (first + i != low + j)
        i, j, distance = i[close], j[close], distance[close]
        more = logit[low + j] - logit[first + i]
        higher = more > 0
        nearest = np.full(len(some), np.inf)
        np.minimum.at(nearest, i[higher], distance[higher])
        nearer = np.bincount(i[distance < nearest[i]], minlength=len(some))
        found = higher & (distance == nearest[i]) & (nearer[i] < _NEIGHBOURS)
        rows = order[first + i[found]]
        out[rows, 0] = distance[found]
        out[rows, 1] = np.minimum(more[found], 20)
    return out.astype(np.float32)
