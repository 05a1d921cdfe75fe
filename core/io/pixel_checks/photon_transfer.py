"""Measure the gain of a single frame from the photon noise of its own bright sources.

The scatter of pixels grows with the light in them: its variance is that of the sky plus the light
over the gain. On a single frame the light itself is in the way. A difference filter of fourth
order along both axes sees next to nothing of a well sampled star, whose image holds hardly any
light at the highest frequencies, but all of the photon noise, which is white.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["MOST_ERROR", "PhotonTransfer", "photon_transfer"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

#: A gain with a larger relative error is not used.
MOST_ERROR: Final = 0.2
#: A stated gain that is off by more than this factor, beyond so many sigma, is contradicted.
_FACTOR, _SURE_SIGMA = 3.0, 2.0
#: Differences of fourth order, of unit norm: with independent noise they keep its variance.
_DIFFERENCE: Final[Floats] = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / math.sqrt(70.0)
_REACH: Final = 2
#: Noise is measured on second differences of pixels so far apart, of one colour on a mosaic [px].
_APART_PX: Final = 4
#: Side of the meshes that level and noise of the sky are measured in [px], and their fewest pixels.
_MESH_PX: Final = 64
_FEWEST_IN_MESH: Final = 200
#: Mean of 3 x 3 px over the noise of a pixel, from which it is a source's and to which the sky's.
_SOURCE_SIGMA, _SKY_SIGMA = 2.0, 1.0
#: A pixel that exceeds its third brightest neighbour by this part of itself is no star's.
_SHARP: Final = 0.55
_SHARP_SIGMA: Final = 6.0
#: Pixels near one above this part of the saturation level are not used: not linear, or trails.
_LINEAR: Final = 0.6
_NEAR_SATURATED_PX: Final = 8
#: Squared differences beyond so many times their mean are outliers (one of 2000 of a normal
#: distribution), and so are regions whose mean is beyond so many sigma of its own scatter.
_OUTLIER, _OUTLIER_SIGMA = 12.0, 4.5
#: Neighbouring differences share pixels: so many are about one independent value.
_SHARED: Final = 5.0
#: Sides of the regions that are outliers as a whole, and left out in turn for the error [px].
_REGION_PX, _BLOCK_PX, _GROUPS = 16, 32, 20
_FEWEST_BLOCKS: Final = 8
_FEWEST_SAMPLES: Final = 50
_MOST_SKY: Final = 3000
#: Variance of the differences over that of the pixels: 1 if the noise is white.
_WHITE: Final = (0.8, 1.25)
#: The part of what is fitted that grows with the square of the light, over the photon noise.
_MOST_LEAK: Final = 0.5
_MEDIAN_OF_SQUARE: Final = 0.45494
#: Searches for outliers, and steps of the fit in each.
_ROUNDS, _STEPS = 3, 40


@dataclass(frozen=True)
class PhotonTransfer:
    """The gain that a frame's own photon noise shows.

    Parameters
    ----------
    per_electron : float
        Variance per unit of light [ADU], the inverse of the gain; 0 if the scatter does not grow.
    error : float
        Its standard error [ADU].
    trusted : bool
        Whether the noise is white and its growth is that of photons: no resampled or stretched
        pixels, and no larger part that grows with the square of the light.
    """

    per_electron: float
    error: float
    trusted: bool

    @property
    def gain(self) -> float:
        """Electrons per ADU; infinite if the scatter does not grow with the light."""
        return 1.0 / self.per_electron if self.per_electron > 0 else math.inf

    @property
    def relative_error(self) -> float:
        """Relative error of the gain."""
        return self.error / self.per_electron if self.per_electron > 0 else math.inf

    @property
    def good(self) -> bool:
        """True if the gain is known to `MOST_ERROR`."""
        return self.trusted and self.relative_error <= MOST_ERROR

    def contradicts(self, gain: float) -> bool:
        """Return True if a gain is wrong by more than a factor of three, with two sigma to spare.

        Parameters
        ----------
        gain : float
            Electrons per ADU.
        """
        low, high = (self.per_electron + k * _SURE_SIGMA * self.error for k in (-1, 1))
        stated = 1.0 / gain
        return self.trusted and (stated * _FACTOR < low or stated > _FACTOR * high)


@dataclass(frozen=True)
class _Samples:
    """Squared differences of pixels, the light in them, and the variance of the sky there."""

    square: Floats
    light: Floats
    sky: Floats
    source: Bools
    region: Ints
    block: Ints
    white: float

    @staticmethod
    def joined(parts: list[_Samples]) -> _Samples:
        """Return the samples of several planes as one."""
        names = ("square", "light", "sky", "source", "region", "block")
        columns = {n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
        return _Samples(**columns, white=float(np.median([part.white for part in parts])))


def photon_transfer(
    pixels: npt.NDArray[np.floating],
    bad: Bools,
    saturation: float | None = None,
    *,
    mosaic: bool = False,
) -> PhotonTransfer | None:
    """Measure the gain of a frame from the photon noise of its sources.

    Parameters
    ----------
    pixels : ndarray, shape (ny, nx)
        Pixels, finite.
    bad : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    saturation : float, optional
        Pixel value from which a pixel is saturated; without it the largest one.
    mosaic : bool
        Whether the pixels are those of a colour mosaic: its four planes are then measured apart.
        This is done too if the noise of the whole is too large, as that of a mosaic is.

    Returns
    -------
    PhotonTransfer or None
        None if there are too few sources, or a sky cannot be measured.

    Notes
    -----
    Squares of the differences are fitted by ``f * sky + light / gain + c * light**2``: the last
    term takes what is seen of undersampled stars, of unequal sensitivities of pixels, and of
    companions. The fit is that of a gamma likelihood (weights are the inverse squares of the
    model), without outliers. The error follows from leaving out twenty groups of blocks of the
    frame in turn.

    The leak of a Gaussian star equals its photon noise at 270 electrons in a pixel if its FWHM
    is 2 px, at 2.8e4 if it is 3 px, and at 1.5e6 if it is 4 px.
    """
    if bad.all() or min(pixels.shape) < 4 * _APART_PX:
        return None
    limit = float(pixels[~bad].max()) if saturation is None else saturation
    found = None if mosaic else _samples(pixels, bad, limit)
    if mosaic or (found is not None and found.white > _WHITE[1]):
        planes = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
        parts = [_samples(pixels[at], bad[at], limit) for at in planes]
        there = [part for part in parts if part is not None]
        found = _Samples.joined(there) if there else None
    return None if found is None else _fitted(found)


def _samples(pixels: npt.NDArray[np.floating], bad: Bools, limit: float) -> _Samples | None:
    """Return the samples of pixels of one colour."""
    # Arrays of the frame's size are dropped as soon as they are used.
    ny, nx = pixels.shape
    levels, noise = _meshes(pixels, ~bad, _median), _far_noise(pixels, ~bad)
    if levels is None or noise is None or not (noise > 0).all():
        return None
    level = _between(levels.shape[0], ny) @ levels @ _between(levels.shape[1], nx).T
    sky = np.subtract(pixels, level, out=level)
    sigma = _between(noise.shape[0], ny) @ np.sqrt(noise) @ _between(noise.shape[1], nx).T
    usable = np.zeros((ny, nx), dtype=bool)
    inside = slice(_REACH + 1, -_REACH - 1)
    usable[inside, inside] = True
    usable &= ~_grown(bad | _spikes(sky, sigma), _REACH)
    usable &= ~_grown(pixels >= _LINEAR * limit, _NEAR_SATURATED_PX)
    mean = ndimage.uniform_filter(sky, 3)
    mean /= sigma
    source = usable & (mean > _SOURCE_SIGMA)
    empty = usable & (np.abs(mean, out=mean) < _SKY_SIGMA)
    del mean, sigma
    if source.sum() < _FEWEST_SAMPLES:
        return None
    rows, columns = np.nonzero(empty)
    some = slice(None, None, max(1, len(rows) // _MOST_SKY))
    lit = np.nonzero(source)
    y, x = (np.concatenate(both) for both in zip(lit, (rows[some], columns[some]), strict=True))
    difference = _along_both(sky, _DIFFERENCE)
    squares = np.square(difference, out=difference)
    square = squares[y, x]
    variance = _meshes(squares, empty, _variance)
    del squares, difference
    far = _far_noise(pixels, empty)
    if variance is None or far is None or not (variance > 0).all() or not (far > 0).all():
        return None
    white = float(np.median(variance) / np.median(far))
    weights = _between(variance.shape[0], ny)[y], _between(variance.shape[1], nx)[x]
    at_sky = np.asarray(((weights[0] @ variance) * weights[1]).sum(axis=1))
    light = _along_both(sky, np.square(_DIFFERENCE))[y, x]
    return _Samples(
        square=square,
        light=np.where(source[y, x], np.maximum(light, 0.0), light),
        sky=at_sky,
        source=source[y, x],
        region=(y // _REGION_PX) * (nx // _REGION_PX + 1) + x // _REGION_PX,
        block=(y // _BLOCK_PX) * (nx // _BLOCK_PX + 1) + x // _BLOCK_PX,
        white=white,
    )


def _fitted(seen: _Samples) -> PhotonTransfer | None:
    """Fit the growth of the variance with the light."""
    lit = seen.source & (seen.light > 0)
    _, block = np.unique(seen.block, return_inverse=True)
    if lit.sum() < _FEWEST_SAMPLES or np.unique(block[lit]).size < _FEWEST_BLOCKS:
        return None
    # In units in which the terms are of about one size.
    unit, bright = float(np.median(seen.sky)), float(np.percentile(seen.light[lit], 90))
    light = seen.light / bright
    terms = np.stack([seen.sky / unit, light, np.square(light)], axis=1)
    square = seen.square / unit
    fit, weight = _fit(terms, square, seen)
    # The error from the normal equations without each group: one step of the fit.
    group = block * 7919 % _GROUPS
    matrices, vectors = np.zeros((_GROUPS, 3, 3)), np.zeros((_GROUPS, 3))
    for k in range(_GROUPS):
        of = group == k
        matrices[k], vectors[k] = _normal(terms[of], square[of], weight[of])
    rest = zip(matrices.sum(axis=0) - matrices, vectors.sum(axis=0) - vectors, strict=True)
    slopes = np.array([_solved(matrix, vector)[1] for matrix, vector in rest])
    variance = (_GROUPS - 1) / _GROUPS * float(np.square(slopes - slopes.mean()).sum())
    factor, slope, leak = (float(value) for value in fit)
    white = all(_WHITE[0] <= value <= _WHITE[1] for value in (seen.white, factor))
    scale = unit / bright
    trusted = white and leak <= _MOST_LEAK * slope
    return PhotonTransfer(slope * scale, math.sqrt(variance) * scale, trusted)


def _fit(terms: Floats, square: Floats, seen: _Samples) -> tuple[Floats, Floats]:
    """Return the factors of the terms, none negative, and the weights; outliers weigh nothing."""
    fit = np.array([1.0, 1.0, 0.1])
    least = 0.3 * terms[:, 0]
    usual = np.ones(len(square), dtype=bool)
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            model = np.maximum(terms @ fit, least)
            kept = usual & (square < _OUTLIER * model)
            weight = np.where(kept, 1.0 / np.square(model), 0.0)
            new = _solved(*_normal(terms, square, weight))
            same = np.allclose(new, fit, rtol=2e-3, atol=1e-4)
            fit = new if same else 0.3 * fit + 0.7 * new
            if same:
                break
        before, usual = usual, _usual(square / np.maximum(terms @ fit, least), seen)
        if (before == usual).all():
            break
    return fit, weight


def _usual(ratio: Floats, seen: _Samples) -> Bools:
    """Return False for the samples of regions whose squares are far above the model."""
    region, index = np.unique(seen.region, return_inverse=True)
    capped = np.where(seen.source, np.minimum(ratio, 4 * _OUTLIER), 0.0)
    number = np.bincount(index, seen.source, minlength=region.size)
    mean = np.bincount(index, capped, minlength=region.size) / np.maximum(number, 1)
    scatter = np.sqrt(2.0 / np.maximum(number / _SHARED, 1.0))
    return np.asarray((mean <= 1 + _OUTLIER_SIGMA * scatter)[index] | ~seen.source)


def _normal(terms: Floats, square: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return the normal equations of a weighted fit."""
    weighted = terms * weight[:, None]
    return weighted.T @ terms, weighted.T @ square


def _solved(matrix: Floats, vector: Floats) -> Floats:
    """Return the solution of normal equations that has no negative factor."""
    from scipy.optimize import nnls  # takes long to load, and few frames need it

    ridge = 1e-9 * np.diag(np.maximum(matrix.diagonal(), 1e-300))
    root = np.linalg.cholesky(matrix + ridge)
    return np.asarray(nnls(root.T, np.linalg.solve(root, vector))[0])


def _along_both(data: Floats, kernel: Floats) -> Floats:
    """Return an image convolved with a kernel along both axes."""
    once = ndimage.convolve1d(data, kernel, axis=0, mode="nearest")
    return np.asarray(ndimage.convolve1d(once, kernel, axis=1, mode="nearest"))


def _grown(marked: Bools, by_px: int) -> Bools:
    """Return True within a square around each marked pixel."""
    if not marked.any():
        return marked
    size = 2 * by_px + 1
    return np.asarray(ndimage.maximum_filter(marked.view(np.uint8), size, mode="nearest") > 0)


def _spikes(sky: Floats, sigma: Floats) -> Bools:
    """Return True for pixels that no star lights: hot or dark ones, and cosmic rays."""
    spikes = sky < -_SHARP_SIGMA * sigma
    y, x = np.nonzero(sky > _SHARP_SIGMA * sigma)
    inside = (y > 0) & (y < sky.shape[0] - 1) & (x > 0) & (x < sky.shape[1] - 1)
    y, x = y[inside], x[inside]
    around = [sky[y + i, x + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    third = np.sort(np.stack(around), axis=0)[-3] if len(y) else np.zeros(0)
    spikes[y, x] = sky[y, x] - third > _SHARP * sky[y, x]
    return spikes


def _variance(squares: Floats) -> float:
    """Return the variance of the normal distribution whose squares have the same median."""
    return float(np.median(squares)) / _MEDIAN_OF_SQUARE


def _median(values: Floats) -> float:
    """Return the median in double precision."""
    return float(np.median(values.astype(np.float64)))


def _far_noise(data: npt.NDArray[np.floating], usable: Bools) -> Floats | None:
    """Return the variance of pixels too far apart to share noise, for each mesh."""
    d = _APART_PX
    middle = np.subtract(data[:, d:-d], 0.5 * data[:, 2 * d :], dtype=np.float64)
    middle -= 0.5 * data[:, : -2 * d]
    all_three = usable[:, d:-d] & usable[:, 2 * d :] & usable[:, : -2 * d]
    variance = _meshes(np.square(middle, out=middle), all_three, _variance)
    return None if variance is None else variance / 1.5


def _meshes(
    values: npt.NDArray[np.floating], usable: Bools, statistic: Callable[[Any], float]
) -> Floats | None:
    """Return a statistic of each mesh, smoothed by a median; None if no mesh has pixels."""
    ny, nx = values.shape
    rows, columns = (max(1, n // _MESH_PX) for n in (ny, nx))
    ys, xs = (np.linspace(0, n, k + 1).astype(int) for n, k in ((ny, rows), (nx, columns)))
    grid = np.full((rows, columns), np.nan)
    for i, j in np.ndindex(rows, columns):
        at = slice(ys[i], ys[i + 1]), slice(xs[j], xs[j + 1])
        chosen = values[at][usable[at]]
        if chosen.size >= _FEWEST_IN_MESH:
            grid[i, j] = statistic(chosen)
    empty = np.isnan(grid)
    if empty.all():
        return None
    if empty.any():
        nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
        grid = grid[tuple(nearest)]
    if min(rows, columns) >= 3:
        grid = ndimage.median_filter(grid, 3, mode="nearest")
    return np.asarray(grid)


def _between(n_meshes: int, n_px: int) -> Floats:
    """Return the matrix that interpolates linearly between the middles of meshes."""
    at = ((np.arange(n_px) + 0.5) / n_px * n_meshes - 0.5).clip(0, n_meshes - 1)
    low = np.minimum(at.astype(int), max(n_meshes - 2, 0))
    matrix = np.zeros((n_px, n_meshes))
    rows = np.arange(n_px)
    matrix[rows, low] = 1 - (at - low)
    matrix[rows, np.minimum(low + 1, n_meshes - 1)] += at - low
    return matrix
