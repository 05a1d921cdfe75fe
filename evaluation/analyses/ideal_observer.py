"""Ideal observer: the best possible detection of a point source in noise.

The ideal observer knows the profile, the noise and every other source. It filters the
frame with the profile; the result, in units of its noise, is a Gaussian field of unit
variance in which a source of ideal S/N s is a peak of height s. It reports every peak
above a threshold t.

*False alarms* are the peaks of the noise. Their number follows from the theory of
Gaussian random fields (Longuet-Higgins 1957; Bond & Efstathiou 1987, appendix 1). The
filtered noise of a Gaussian profile of standard deviation sigma has the correlation
exp(-r^2 / 4 sigma^2). In the notation of the latter, gamma^2 = 1/2 and
theta_* = sigma: the number of false alarms is proportional to the density of maxima above t,
divided by sigma^2.

*Completeness.* At the position of the source the field is Gaussian about s, and exceeds t with
probability Phi(s - t). However, the value compared with t is that of the peak nearby, which is
higher: noise adds a slope, and for a height z at the position, the peak is higher by an
exponential variable of mean 1/z. The search for the highest point increases the false alarms
of a finder, so it must be included here too; otherwise SEP would exceed this bound by 0.1 mag.
Half completeness is at about t - 0.25.

The FWHM is that of the profile after integration over pixels. If it is less than two
pixels, sampling loses up to a fifth of the peaks, or 0.06 in t.

Noise is the only limit of the ideal observer: sources are isolated, profiles Gaussian, and
all other properties are known. For crowded fields, artefacts and other profiles it is an upper
bound.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

__all__ = [
    "expected_finds",
    "half_snr",
    "peak_completeness",
    "peak_density",
    "tail_completeness",
    "threshold_for_density",
    "threshold_for_purity",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Thresholds of the tables.
_T: Final = np.linspace(0.5, 12.0, 1151)
_T_PURITY: Final = _T[::10]
#: Steps of S/N by which sources are binned, up to a value at which none is missed.
_STEP: Final = 0.04
_BRIGHT: Final = 20.0
_GRID: Final = np.linspace(0.0, _BRIGHT, 501)
#: Number of units whose sources are binned at a time.
_UNITS: Final = 4096
#: Nodes of the integral over the height at the position of the source.
_NODES: Final = np.polynomial.legendre.leggauss(24)


def peak_density(threshold: npt.ArrayLike) -> Floats:
    """Return the density of noise peaks above each threshold, in units of 1 / sigma^2.

    These are the maxima of white noise filtered with a Gaussian of standard deviation
    sigma; the density of all maxima is 1 / (4 pi sqrt(3)).
    Interpolated from the integral of Bond & Efstathiou (1987),
    equation A1.9, with an error below 0.1 %.
    """
    t = np.asarray(threshold, dtype=np.float64)
    at, log_density = _log_peaks()
    return np.exp(np.interp(t, at, log_density, right=-np.inf))


@cache
def _log_peaks() -> tuple[Floats, Floats]:
    """Tabulate heights from -8 to 40 and the log of the density of maxima above them."""
    nu = np.linspace(-8.0, 40.0, 24001)
    gamma2 = 0.5
    x, rest, wide = np.sqrt(gamma2) * nu, 1 - gamma2, 3 - 2 * gamma2
    shape = (
        (x * x - gamma2) * ndtr(x / np.sqrt(rest))
        + x * np.sqrt(rest / (2 * np.pi)) * np.exp(-x * x / (2 * rest))
        + np.exp(-x * x / wide + log_ndtr(x / np.sqrt(rest * wide))) / np.sqrt(wide)
    )
    density = np.exp(-nu * nu / 2) * np.maximum(shape, 0) / (2 * np.pi) ** 1.5
    strips = (density[1:] + density[:-1]) / 2 * np.diff(nu)
    above = np.cumsum(strips[::-1])[::-1]
    return nu[:-1], np.log(np.maximum(above, 1e-300))


def threshold_for_density(density: npt.ArrayLike) -> Floats:
    """Return the threshold above which noise peaks have a density [1 / sigma^2].

    The inverse of `peak_density`, between 0.5 and 12; NaN if the density is outside
    this range, or NaN.
    """
    given = np.asarray(density, dtype=np.float64)
    log_t = np.log(peak_density(_T))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.interp(-np.log(given), -log_t, _T, left=np.nan, right=np.nan))


def tail_completeness(snr: npt.ArrayLike, threshold: npt.ArrayLike) -> Floats:
    """Return Phi(s - t), the probability that the field exceeds t at a source's position."""
    return np.asarray(ndtr(np.subtract(snr, threshold)))


def peak_completeness(snr: npt.ArrayLike, threshold: npt.ArrayLike) -> Floats:
    """Return the probability that the peak of a source of S/N s exceeds t > 0, broadcast.

    Phi(s - t), plus the peaks whose height z at the position of the source is below t: these
    exceed t with probability exp(-z (t - z)). Only z > t / 2 count; below it the
    peak is due to the noise, not the source. Within 0.015 of simulations for
    FWHM of 1.8 to 4 px and S/N of 3 to 5 (``tests/test_evaluation_ideal.py``).
    """
    if np.ndim(threshold) == 0 and np.size(snr) > _GRID.size:
        # For one threshold, completeness depends on the S/N only, so it is tabulated.
        known = peak_completeness(_GRID, threshold)
        return np.interp(np.asarray(snr, dtype=np.float64), _GRID, known)
    s, t = np.broadcast_arrays(
        np.asarray(snr, dtype=np.float64), np.asarray(threshold, dtype=np.float64)
    )
    gain = np.zeros(s.shape)
    for x, w in zip(*_NODES, strict=True):
        z = t * (0.75 + 0.25 * x)
        gain += w * np.exp(-z * (t - z) - (z - s) ** 2 / 2)
    return np.asarray(ndtr(s - t) + gain * t / 4 / np.sqrt(2 * np.pi))


def half_snr(threshold: npt.ArrayLike) -> Floats:
    """Return the S/N of half completeness at each threshold, NaN outside 0.5 ... 12."""
    t, s = _half_table()
    return np.asarray(
        np.interp(np.asarray(threshold, dtype=np.float64), t, s, left=np.nan, right=np.nan),
        dtype=np.float64,
    )


@cache
def _half_table() -> tuple[Floats, Floats]:
    t = np.linspace(0.5, 12.0, 116)
    low, high = t - 3.0, t + 1.0
    for _ in range(40):
        middle = (low + high) / 2
        above = peak_completeness(middle, t) > 0.5
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return t, (low + high) / 2


def expected_finds(snr: npt.NDArray[np.float64], unit: Ints, n_units: int) -> Floats:
    """Return the ideal observer's expected finds in each unit, for `threshold_for_purity`.

    Parameters
    ----------
    snr : ndarray, shape (n,)
        Ideal S/N of sources.
    unit : ndarray of int, shape (n,)
        Index of the frame or block that holds each source, 0 ... n_units - 1.

    Returns
    -------
    ndarray, shape (n_units, n_thresholds)
        Expected finds, additive over units.
    """
    table = _found_table()
    step = np.minimum(np.clip(snr, 0, None) / _STEP, table.shape[0] - 1).astype(np.int64)
    out = np.empty((n_units, table.shape[1]))
    # A limited number of units at a time: there are far more steps of S/N than sources per unit.
    for first in range(0, n_units, _UNITS):
        some = min(_UNITS, n_units - first)
        here = (unit >= first) & (unit < first + some)
        cell = (unit[here] - first) * table.shape[0] + step[here]
        held = np.bincount(cell, minlength=some * table.shape[0]).astype(np.float64)
        np.matmul(held.reshape(some, -1), table, out=out[first : first + some])
    return out


@cache
def _found_table() -> Floats:
    """Return completeness per step of S/N and threshold, shape (n_steps, n_thresholds)."""
    middle = (np.arange(round(_BRIGHT / _STEP)) + 0.5) * _STEP
    return peak_completeness(middle[:, None], _T_PURITY[None])


def threshold_for_purity(finds: Floats, beams: npt.ArrayLike, purity: npt.ArrayLike) -> Floats:
    """Return the lowest threshold at which the ideal observer expects a purity, shape (b,).

    The purity is the expected finds over expected finds plus false alarms; NaN if no
    threshold between 0.5 and 12 reaches it.

    Parameters
    ----------
    finds : ndarray, shape (b, n_thresholds)
        Output of `expected_finds`, summed over the units of each set.
    beams : array_like, shape (b,)
        Area of each set in units of sigma^2.
    purity : array_like, shape (b,) or ()
        The requested purity.
    """
    t, wanted = _T_PURITY, np.asarray(purity, dtype=np.float64)
    false = wanted * np.asarray(beams, dtype=np.float64)
    excess = finds * (1 - wanted)[..., None] - false[:, None] * peak_density(t)
    pure = excess >= 0
    first = np.argmax(pure, axis=1)
    rows, before = np.arange(first.size), np.maximum(first - 1, 0)
    low, high = excess[rows, before], excess[rows, first]
    between = (first > 0) & (high > low)
    share = np.divide(-low, high - low, out=np.zeros_like(low), where=between)
    return np.where(pure.any(axis=1), t[before] + share * (t[first] - t[before]), np.nan)
