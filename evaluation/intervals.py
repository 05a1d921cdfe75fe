"""Intervals: Wilson for proportions, exact Poisson for rates, the frame bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from astropy.stats import binom_conf_interval
from scipy.stats import chi2

__all__ = ["frame_weights", "percentile", "poisson", "wilson"]

Floats = npt.NDArray[np.float64]


def wilson(k: npt.ArrayLike, n: npt.ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return the Wilson interval of k out of n, two arrays of their shape; NaN where n is 0.

    Wilson (1927), as in `astropy.stats.binom_conf_interval`.
    """
    k, n = np.broadcast_arrays(np.asarray(k, dtype=np.int64), np.asarray(n, dtype=np.int64))
    lo, hi = np.full(k.shape, np.nan), np.full(k.shape, np.nan)
    some = n > 0
    if some.any():
        lo[some], hi[some] = binom_conf_interval(
            k[some], n[some], confidence_level=confidence, interval="wilson"
        )
    return np.clip(lo, 0.0, 1.0), np.clip(hi, 0.0, 1.0)


def poisson(k: npt.ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return the exact central interval of a Poisson mean after k events.

    Garwood (1936): quantiles of chi squared with 2k and 2k + 2 degrees.
    """
    k = np.asarray(k, dtype=np.float64)
    tail = (1 - confidence) / 2
    lo = np.where(k > 0, chi2.ppf(tail, np.maximum(2 * k, 1)) / 2, 0.0)
    return lo, np.asarray(chi2.ppf(1 - tail, 2 * k + 2) / 2)


def frame_weights(n_frames: int, n_bootstrap: int, seed: int) -> Floats:
    """Return how often each frame is drawn in each resample, shape (n_bootstrap, n_frames).

    Depends on the number of frames and the seed alone, so detectors judged on
    the same frames are resampled together.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_frames, np.full(n_frames, 1 / n_frames), n_bootstrap).astype(float)


def percentile(samples: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the percentile interval over axis 0.

    Undefined resamples are left out; where more than half are, so is the interval.
    """
    tail = (1 - confidence) / 2
    lo = np.full(samples.shape[1:], np.nan)
    hi = np.full(samples.shape[1:], np.nan)
    enough = np.isfinite(samples).mean(axis=0) > 0.5
    if np.any(enough):
        lo[enough], hi[enough] = np.nanquantile(samples[:, enough], [tail, 1 - tail], axis=0)
    return lo, hi
