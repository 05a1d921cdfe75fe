"""Intervals that stay valid however often one looks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.statistics.distributions import student_quantile

__all__ = ["ANYTIME_VARIANCE", "anytime_radius", "widening"]

#: Variance of the prior of the effect size, in squared standard deviations of a frame. It sets
#: where the interval is narrowest: near 20 frames.
ANYTIME_VARIANCE = 0.8


def anytime_radius(n: npt.ArrayLike, confidence: float) -> npt.NDArray[np.float64]:
    """Return the half-width of an anytime-valid interval of a mean, in standard errors.

    Parameters
    ----------
    n : array_like of int
        Values so far.
    confidence : float
        Probability that the mean stays inside the interval at every n at once.

    Returns
    -------
    ndarray of float64, the shape of ``n``
        Infinite for so few values that no interval is bounded.

    Notes
    -----
    The interval holds the means whose t-test has an e-value below 1 / (1 - confidence). The
    e-value is the Bayes factor of a normal prior with variance g on the effect size, and the
    right Haar prior on the scale. It is a martingale under the null whatever the scale is, so
    that by Ville's inequality it ever reaches 1 / alpha with a probability of at most alpha
    (Wang & Ramdas 2025, *Sequential Analysis* 44, 56; Perez-Ortiz, Lardy, de Heide & Grünwald
    2024, *Annals of Statistics* 52, 1410). With nu = n - 1 and t the statistic it is
    (1 + n g)^(-1/2) [(1 + t²/nu) / (1 + t²/(nu (1 + n g)))]^(n/2), solved for t here.
    """
    size = np.asarray(n, dtype=np.float64)
    ratio = 1.0 + size * ANYTIME_VARIANCE
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        level = ((1.0 - confidence) ** -2 * ratio) ** (1.0 / size)
        square = (size - 1) * (level - 1) / (1 - level / ratio)
        return np.where((size >= 2) & (level < ratio), np.sqrt(square), np.inf)


def widening(n: int, confidence: float) -> float:
    """Return how much wider than Student's interval the anytime-valid one is."""
    return float(
        anytime_radius(n, confidence) / student_quantile(0.5 + confidence / 2, max(n - 1, 1))
    )
