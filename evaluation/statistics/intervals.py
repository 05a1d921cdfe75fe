"""Intervals: Wilson or Jeffreys for proportions, exact Poisson for rates, the bootstrap.

Their coverage is tested by simulation; ``docs/measuring.md`` states it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.stats import binom_conf_interval

from skyduel.core.errors import BadInputError, as_numbers, require_kind
from skyduel.evaluation.statistics.distributions import (
    chi2_quantile,
    normal_tail,
    student_quantile,
)
from skyduel.evaluation.table_keys import FEWEST_FOR_PERCENTILES

__all__ = [
    "PROPORTION_INTERVALS",
    "bootstrap_interval",
    "bootstrap_spread",
    "check_confidence",
    "frame_weights",
    "jeffreys",
    "percentile",
    "poisson",
    "proportion",
    "resampled",
    "tail_for",
    "wilson",
]

Floats = npt.NDArray[np.float64]

#: Names that `proportion` takes.
PROPORTION_INTERVALS: Final = ("wilson", "jeffreys")
#: Draws turned into floating numbers at a time, and kept as bytes for the next who asks.
_DRAWS_AT_A_TIME: Final = 4_000_000
_DRAWS_KEPT: Final = 2**27


def proportion(
    k: npt.ArrayLike, n: npt.ArrayLike, confidence: float, interval: str = "wilson"
) -> tuple[Floats, Floats]:
    """Return the named interval of k out of n, two arrays of their shape; NaN where n is 0.

    It contains k / n, exactly.

    Raises
    ------
    BadInputError
        If the interval is not one of `PROPORTION_INTERVALS`, k or n are no whole numbers or have
        shapes that do not fit, k is not from 0 to n, or the confidence is not between 0 and 1.
    """
    if interval not in PROPORTION_INTERVALS:
        raise BadInputError("interval", " or ".join(PROPORTION_INTERVALS), repr(interval))
    check_confidence(confidence)
    k, n = _whole("k", k), _whole("n", n)
    try:
        k, n = np.broadcast_arrays(k, n)
    except ValueError:
        raise BadInputError("k and n", "equal shapes", f"{k.shape} and {n.shape}") from None
    lo, hi = np.full(k.shape, np.nan), np.full(k.shape, np.nan)
    some = n > 0
    wrong = np.flatnonzero((n < 0) | some & ((k < 0) | (k > n)))
    if wrong.size:
        at = wrong[0]
        raise BadInputError("k and n", "0 <= k <= n", f"k {k.flat[at]} of n {n.flat[at]}")
    if some.any():
        lo[some], hi[some] = binom_conf_interval(
            k[some], n[some], confidence_level=confidence, interval=interval
        )
    # In floating point the end at 0 of n or n of n misses 0 or 1 by a rounding, and an interval
    # without its own point estimate is no error bar. Astropy cuts the ends at 0 and 1.
    estimate = np.divide(k, n, out=np.full(k.shape, np.nan), where=some)
    return np.fmin(lo, estimate), np.fmax(hi, estimate)


def check_confidence(confidence: float) -> None:
    """Refuse a level of intervals that is not between 0 and 1.

    Raises
    ------
    BadInputError
        Such as 95 in place of 0.95.
    """
    require_kind("confidence", confidence, Real)
    if not 0 < confidence < 1:
        raise BadInputError("confidence", "a number between 0 and 1", repr(confidence))


def _whole(name: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return whole numbers as such, whatever their type."""
    numbers = as_numbers(name, values)
    if not (np.isfinite(numbers) & (numbers == np.rint(numbers))).all():
        raise BadInputError(name, "whole numbers", f"{numbers}")
    return numbers.astype(np.int64)


def wilson(k: npt.ArrayLike, n: npt.ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return the Wilson interval of k out of n, two arrays of their shape; NaN where n is 0.

    Wilson (1927), as in `astropy.stats.binom_conf_interval`.
    """
    return proportion(k, n, confidence, "wilson")


def jeffreys(k: npt.ArrayLike, n: npt.ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return the Jeffreys interval of k out of n, two arrays of their shape; NaN where n is 0.

    Quantiles of a beta distribution with k + 1/2 and n - k + 1/2; the lower end is
    0 where k is 0 and the upper 1 where k is n (Brown, Cai & DasGupta 2001, section 3.1.3).
    """
    return proportion(k, n, confidence, "jeffreys")


def poisson(k: npt.ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return the exact central interval of a Poisson mean after k events.

    Garwood (1936): quantiles of chi squared with 2k and 2k + 2 degrees.
    """
    k = np.asarray(k, dtype=np.float64)
    tail = (1 - confidence) / 2
    lo = np.where(k > 0, chi2_quantile(tail, np.maximum(2 * k, 1)) / 2, 0.0)
    return lo, chi2_quantile(1 - tail, 2 * k + 2) / 2


def frame_weights(n_frames: int, n_bootstrap: int, seed: int) -> Floats:
    """Return the number of draws of each frame in each resample, (n_bootstrap, n_frames).

    The draws depend only on the number of frames and the seed. So detectors scored on
    the same frames are resampled together.
    """
    return np.concatenate(list(_draws(n_frames, n_bootstrap, seed))).astype(float)


def resampled(n_bootstrap: int, seed: int, *values: npt.NDArray[np.generic]) -> tuple[Floats, ...]:
    """Return the sums of values of frames in each resample, `frame_weights` times values.

    Parameters
    ----------
    n_bootstrap, seed : int
        Of the resamples.
    *values : ndarray, shape (n_frames, ...)
        At least one, all of the same number of frames.

    Returns
    -------
    tuple of ndarray of float64, each of shape (n_bootstrap, ...)

    Notes
    -----
    A few resamples at a time: the weights of 10⁵ frames in 1000 resamples are 0.8 GB.
    """
    n = len(values[0])
    flat = [np.asarray(v, dtype=np.float64) for v in values]
    flat = [v if v.ndim == 1 else v.reshape(n, -1) for v in flat]
    sums: list[list[Floats]] = [[] for _ in values]
    for draws in _draws(n, n_bootstrap, seed):
        weights = draws.astype(float)
        for out, v in zip(sums, flat, strict=True):
            out.append(weights @ v)
    return tuple(
        np.concatenate(out).reshape(n_bootstrap, *v.shape[1:])
        for out, v in zip(sums, values, strict=True)
    )


def _draws(n_frames: int, n_bootstrap: int, seed: int) -> Iterator[npt.NDArray[np.integer]]:
    """Yield how often each frame is drawn in some resamples, until all have been told."""
    some = max(1, _DRAWS_AT_A_TIME // n_frames)
    if n_frames * n_bootstrap > _DRAWS_KEPT:
        yield from _drawn(n_frames, n_bootstrap, seed, some)
        return
    kept = _kept_draws(n_frames, n_bootstrap, seed, some)
    for first in range(0, n_bootstrap, some):
        yield kept[first : first + some]


@lru_cache(maxsize=1)
def _kept_draws(n_frames: int, n_bootstrap: int, seed: int, some: int) -> npt.NDArray[np.integer]:
    return np.concatenate(
        [d.astype(np.min_scalar_type(d.max())) for d in _drawn(n_frames, n_bootstrap, seed, some)]
    )


def _drawn(
    n_frames: int, n_bootstrap: int, seed: int, some: int
) -> Iterator[npt.NDArray[np.integer]]:
    rng, equal = np.random.default_rng(seed), np.full(n_frames, 1 / n_frames)
    for first in range(0, n_bootstrap, some):
        yield rng.multinomial(n_frames, equal, min(some, n_bootstrap - first))


def tail_for(confidence: float, n_units: int | None = None) -> float:
    """Return the share of resamples beyond each end of a percentile interval.

    Parameters
    ----------
    confidence : float
        Level of the interval.
    n_units : int, optional
        Number of frames or blocks that contribute. The tail is then narrowed so
        that, for a mean, the interval becomes Student's: resamples of n units are
        narrower by sqrt((n - 1) / n), and a spread estimated from n units needs t
        instead of the normal quantile (Hesterberg 2015, *The American Statistician*
        69, 371, section 5.3). Without it the plain percentile tail.
    """
    tail = (1 - confidence) / 2
    if n_units is None or n_units < 2:
        return tail
    z = np.sqrt(n_units / (n_units - 1)) * student_quantile(1 - tail, n_units - 1)
    return float(normal_tail(z))


def percentile(
    samples: Floats, confidence: float, n_units: int | None = None
) -> tuple[Floats, Floats]:
    """Return the percentile interval over axis 0, expanded for few units if they are told.

    Undefined resamples are left out; where more than half are, so is the interval.
    See `tail_for`.
    """
    tail = tail_for(confidence, n_units)
    lo = np.full(samples.shape[1:], np.nan)
    hi = np.full(samples.shape[1:], np.nan)
    enough = np.isfinite(samples).mean(axis=0) > 0.5
    if np.any(enough):
        lo[enough], hi[enough] = np.nanquantile(samples[:, enough], [tail, 1 - tail], axis=0)
    return lo, hi


def bootstrap_spread(
    values: Floats, samples: Floats, n_units: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the standard error of bootstrapped values, and where an interval can rest on it.

    The standard deviation over the resamples times sqrt(n / (n - 1)), which makes up for what
    resamples of n units lack in spread (Hesterberg 2015, *The American Statistician* 69, 371).

    Parameters
    ----------
    values : ndarray, shape (m,)
        The values themselves.
    samples : ndarray, shape (n_bootstrap, m)
        The values of each resample; non-finite ones are left out.
    n_units : array_like of int, shape (m,) or ()
        Frames or blocks that contribute to each value.

    Returns
    -------
    spread : ndarray, shape (m,)
    enough : ndarray of bool, shape (m,)
        False where the value is undefined, with fewer than two units, where half of the resamples
        or more are undefined, and where all resamples agree on a value other than 0 (which is too
        few sources, not certainty).
    """
    n = np.asarray(n_units, dtype=np.int64)
    good = np.isfinite(samples)
    count = good.sum(axis=0)
    # From the first defined one, so that equal samples have exactly no spread.
    first = (
        samples[good.argmax(axis=0), np.arange(values.size)]
        if len(samples)
        else np.zeros(values.shape)
    )
    off = np.where(good, samples - np.where(np.isfinite(first), first, 0), 0.0)
    mean = off.sum(axis=0) / np.maximum(count, 1)
    square = (np.where(good, off - mean, 0.0) ** 2).sum(axis=0)
    s = np.sqrt(square / np.maximum(count - 1, 1)) * np.sqrt(n / np.maximum(n - 1, 1))
    enough = np.isfinite(values) & (n >= 2) & (2 * count > max(len(samples), 1)) & (count >= 2)
    return s, enough & ((s > 0) | (values == 0))


def bootstrap_interval(
    values: npt.ArrayLike, samples: Floats, confidence: float, n_units: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Return the intervals of values that were bootstrapped over frames or blocks.

    Percentiles of the resamples, expanded for their number (`tail_for`). With fewer than five
    units the value plus and minus Student's t(n - 1) times `bootstrap_spread`: no percentile
    lies beyond the most extreme unit, so percentiles of n units cover the true value with a
    probability of at most 1 - 2^(1 - n), which is one half for two. There is none where all
    resamples agree, as they do where one unit alone holds the sources: that tells nothing of
    other units.

    Parameters
    ----------
    values : array_like, shape (m,)
        The values themselves; where one is NaN, so is its interval.
    samples : ndarray, shape (n_bootstrap, m)
        The values of each resample, NaN where undefined.
    confidence : float
        Level, such as 0.95.
    n_units : array_like of int, shape (m,) or ()
        Frames or blocks that contribute to each value; of those that hold nothing of it, any
        number may have been resampled, too.

    Returns
    -------
    lo, hi : ndarray, shape (m,)
        They hold the value: percentiles of resamples may all lie on one side of it, and an
        interval without its own estimate is no error bar.
    """
    value = np.asarray(values, dtype=np.float64)
    n = np.broadcast_to(np.asarray(n_units, dtype=np.int64), value.shape)
    s, enough = bootstrap_spread(value, samples, n)
    half = student_quantile(0.5 + confidence / 2, np.maximum(n - 1, 1)) * s
    lo, hi = value - half, value + half
    for many in np.unique(n[n >= FEWEST_FOR_PERCENTILES]):
        at = n == many
        lo[at], hi[at] = percentile(samples[:, at], confidence, int(many))
    told = enough & (s > 0)
    lo, hi = np.minimum(lo, value), np.maximum(hi, value)
    return np.where(told, lo, np.nan), np.where(told, hi, np.nan)
