"""Paired statistics: the same truths, or the same frames, under two detectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.statistics.distributions import (
    fair_coin_tail,
    student_quantile,
    student_tail,
)
from skyduel.evaluation.statistics.intervals import bootstrap_spread, wilson

__all__ = ["frame_interval", "holm", "mcnemar", "newcombe"]

Floats = npt.NDArray[np.float64]


def mcnemar(a_only: npt.ArrayLike, b_only: npt.ArrayLike) -> Floats:
    """Return the p-value of the exact two-sided McNemar test, broadcast.

    The binomial test of the discordant pairs against one half (McNemar 1947);
    1 where there are none.

    Parameters
    ----------
    a_only, b_only : array_like of int
        Pairs in which only the first, and only the second, succeeded.
    """
    b, c = np.asarray(a_only, dtype=np.int64), np.asarray(b_only, dtype=np.int64)
    # As near as possible to one half each: the probability is one half or more, but for rounding.
    level = np.abs(b - c) <= 1
    return np.where(level, 1.0, 2 * fair_coin_tail(np.minimum(b, c), b + c))


def newcombe(
    both: npt.ArrayLike,
    a_only: npt.ArrayLike,
    b_only: npt.ArrayLike,
    neither: npt.ArrayLike,
    confidence: float,
) -> tuple[Floats, Floats]:
    """Return the interval of the difference of two paired proportions, first minus second.

    Newcombe (1998, Statistics in Medicine 17, 2635), method 10: the Wilson
    intervals of both proportions, squared and added with the continuity-corrected
    correlation of the pairs. NaN where there are no pairs.

    Parameters
    ----------
    both, a_only, b_only, neither : array_like of int, one shape
        Pairs in which both, one or neither succeeded.
    confidence : float
        Level, such as 0.95.
    """
    e, f, g, h = (np.asarray(v, dtype=np.int64) for v in (both, a_only, b_only, neither))
    n = e + f + g + h
    some = n > 0
    below = np.where(some, n, 1)
    p, q = (e + f) / below, (e + g) / below
    p_lo, p_hi = wilson(e + f, n, confidence)
    q_lo, q_hi = wilson(e + g, n, confidence)
    product = e.astype(float) * h - f.astype(float) * g
    product = np.where(product > 0, np.maximum(product - n / 2, 0), product)
    margins = np.sqrt((e + f).astype(float) * (g + h) * (e + g) * (f + h))
    phi = np.divide(product, margins, out=np.zeros_like(margins), where=margins > 0)

    def width(first: Floats, second: Floats) -> Floats:
        # Rounding may leave the smallest of negative numbers.
        square = first**2 - 2 * phi * first * second + second**2
        return np.asarray(np.sqrt(np.maximum(square, 0)))

    lo = p - q - width(p - p_lo, q_hi - q)
    hi = p - q + width(p_hi - p, q - q_lo)
    return np.where(some, lo, np.nan), np.where(some, hi, np.nan)


def holm(p: npt.ArrayLike) -> Floats:
    """Return Holm's step-down p-values of one family, shape (n,); NaN stays NaN.

    Holm (1979): the k-th smallest of m is multiplied by m - k + 1, never falls
    below one before it and never exceeds 1.
    """
    values = np.asarray(p, dtype=np.float64)
    out = np.full(values.shape, np.nan)
    told = np.flatnonzero(np.isfinite(values))
    order = told[np.argsort(values[told], kind="stable")]
    steps = values[order] * np.arange(order.size, 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def frame_interval(
    delta: npt.ArrayLike, samples: Floats, n_frames: npt.ArrayLike, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Return interval and two-sided p-value of differences bootstrapped by frame.

    ``delta`` plus and minus t(n - 1) times s sqrt(n / (n - 1)), where s is the
    standard deviation over the resamples. Student's t and the factor make up
    for what a resample of n frames lacks in spread; percentiles of resamples
    are far too narrow for the few frames that a set usually has (Hesterberg
    2015, The American Statistician 69, 371). Interval and p-value agree: 0 is
    outside exactly if p < 1 - confidence.

    Parameters
    ----------
    delta : array_like, shape (m,)
        The differences.
    samples : ndarray, shape (n_bootstrap, m)
        The differences of each resample; non-finite ones are left out.
    n_frames : array_like of int, shape (m,)
        Frames that contribute to each difference.
    confidence : float
        Level, such as 0.95.

    Returns
    -------
    lo, hi, p : ndarray, shape (m,)
        NaN where ``delta`` is, with fewer than two frames, where more than
        half of the resamples are undefined, and where all resamples agree on
        a difference (which is too few sources, not certainty). If all agree
        on none, lo = hi = 0 and p = 1.
    """
    d, n = np.asarray(delta, dtype=np.float64), np.asarray(n_frames, dtype=np.int64)
    s, enough = bootstrap_spread(d, samples, n)
    freedom = np.maximum(n - 1, 1)
    half = student_quantile(0.5 + confidence / 2, freedom) * s
    p = np.where(s > 0, 2 * student_tail(np.abs(d) / np.where(s > 0, s, 1.0), freedom), 1.0)
    return tuple(np.where(enough, v, np.nan) for v in (d - half, d + half, p))  # type: ignore[return-value]
