"""Quantiles and tails of a few distributions, with the values of `scipy.stats`.

`scipy.stats` takes every process half a second to load; these are the functions of
`scipy.special` that it calls.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = [
    "chi2_quantile",
    "fair_coin_tail",
    "normal_tail",
    "poisson_tail",
    "student_quantile",
    "student_tail",
]

Floats = npt.NDArray[np.float64]


def student_quantile(p: npt.ArrayLike, freedom: npt.ArrayLike) -> Floats:
    """Return quantiles of Student's t, for probabilities between 0 and 1, broadcast."""
    return _floats(special.stdtrit(_floats(freedom), _floats(p)))


def student_tail(t: npt.ArrayLike, freedom: npt.ArrayLike) -> Floats:
    """Return the probability that Student's t exceeds a value, broadcast."""
    return _floats(special.stdtr(_floats(freedom), -_floats(t)))


def chi2_quantile(p: npt.ArrayLike, freedom: npt.ArrayLike) -> Floats:
    """Return quantiles of chi squared, for probabilities between 0 and 1, broadcast."""
    return _floats(2 * special.gammaincinv(_floats(freedom) / 2, _floats(p)))


def normal_tail(z: npt.ArrayLike) -> Floats:
    """Return the probability that a standard normal number exceeds a value."""
    return _floats(special.ndtr(-_floats(z)))


def poisson_tail(k: npt.ArrayLike, mean: npt.ArrayLike) -> Floats:
    """Return the probability of more than ``k`` events, for integers ``k >= 0``, broadcast."""
    return _floats(special.pdtrc(_floats(k), _floats(mean)))


def fair_coin_tail(k: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """Return the probability of at most ``k`` heads in ``n`` tosses of a fair coin, broadcast.

    For integers ``0 <= k <= n``.
    """
    heads, tosses = _floats(k), _floats(n)
    # No tosses, or heads alone, are certain and no arguments of the incomplete beta function.
    some = heads < tosses
    tails = np.where(some, tosses - heads, 1.0)
    return _floats(np.where(some, special.betainc(tails, heads + 1, 0.5), 1.0))


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
