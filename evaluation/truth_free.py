"""Purity estimates without a truth: from a sign-flipped frame, and from repeated exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, inf
from numbers import Integral, Real
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import nbinom

from skyduel.core.errors import BadInputError, as_numbers, as_positions, takes
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.rules import MOST_RESAMPLES
from skyduel.evaluation.statistics.intervals import check_confidence, poisson, wilson
from skyduel.evaluation.table_keys import NOMINAL_PURITY

__all__ = [
    "CHANCE_SHIFTS",
    "FlipEstimate",
    "RepeatEstimate",
    "check_areas",
    "flip_estimate",
    "flip_threshold",
    "repeat_estimate",
    "times_seen",
]

Ints = npt.NDArray[np.int64]

#: Shifts, in radii, at which chance pairs are counted; far enough to leave every true pair.
CHANCE_SHIFTS: Final = ((8.0, 0.0), (-8.0, 0.0), (0.0, 8.0), (0.0, -8.0), (9.0, 7.0), (-9.0, -7.0))


@dataclass(frozen=True, kw_only=True)
class FlipEstimate:
    """Purity estimate from a sign-flipped frame.

    Attributes
    ----------
    n_found, n_flipped : int
        Detections on the frame and on the flipped one.
    mpix, mpix_flipped : float
        Usable area of both [Mpix].
    false_per_mpix, false_lo, false_hi : float
        Detections per Mpix of the flipped frame, with their Poisson interval.
    purity, purity_lo, purity_hi : float
        ``1 - n_flipped·(mpix / mpix_flipped) / n_found``, not below 0; NaN
        without a detection. The interval is that of the purity of this very
        frame: both the flipped and the real number of false ones are random.
    """

    n_found: int
    n_flipped: int
    mpix: float
    mpix_flipped: float
    false_per_mpix: float
    false_lo: float
    false_hi: float
    purity: float
    purity_lo: float
    purity_hi: float


@takes(n_found=Integral, n_flipped=Integral, mpix=Real, mpix_flipped=Real)
def flip_estimate(
    n_found: int, n_flipped: int, mpix: float, mpix_flipped: float, *, confidence: float = 0.95
) -> FlipEstimate:
    """Estimate false detections from noise, and an upper limit of purity, from a flipped frame.

    Parameters
    ----------
    n_found, n_flipped : int
        Detections on the frame and on the flipped one; sums over frames are legal.
    mpix, mpix_flipped : float
        Usable area of both [Mpix], > 0.
    confidence : float
        Level of the intervals.

    Raises
    ------
    BadInputError
        If an area is not positive and finite, a number is negative, or the confidence is not
        between 0 and 1.

    Notes
    -----
    If noise alone gives false detections at the rate λ in both, the number on the
    frame, given n on the flipped one, is negative binomial with n + 1/2 successes
    and probability 1/(1 + mpix/mpix_flipped) (Poisson numbers, Jeffreys' prior of
    λ). The ends of the purity's interval are that distribution's quantiles.

    Only noise is counted: what a detector wrongly makes of real light (spikes,
    halos, cosmic rays, split sources) has no counterpart in the flipped frame, so
    the purity is an upper limit.
    """
    check_confidence(confidence)
    check_areas(mpix, mpix_flipped)
    if n_found < 0 or n_flipped < 0:
        raise BadInputError("flip_estimate", "numbers >= 0", f"{n_found} and {n_flipped}")
    low, high = poisson(n_flipped, confidence)
    ratio = mpix / mpix_flipped
    tail = (1 - confidence) / 2
    share = 1 / (1 + ratio)
    few, many = (float(nbinom.ppf(q, n_flipped + 0.5, share)) for q in (tail, 1 - tail))

    def purity(false: float) -> float:
        return float(max(1 - false / n_found, 0.0)) if n_found else float("nan")

    return FlipEstimate(
        n_found=n_found,
        n_flipped=n_flipped,
        mpix=mpix,
        mpix_flipped=mpix_flipped,
        false_per_mpix=n_flipped / mpix_flipped,
        false_lo=float(low) / mpix_flipped,
        false_hi=float(high) / mpix_flipped,
        purity=purity(n_flipped * ratio),
        purity_lo=purity(many),
        purity_hi=purity(few),
    )


@takes(mpix=Real, mpix_flipped=Real, purity=Real)
def flip_threshold(
    found: npt.ArrayLike,
    flipped: npt.ArrayLike,
    mpix: float,
    mpix_flipped: float,
    purity: float = NOMINAL_PURITY,
) -> float:
    """Return the lowest score from which on noise alone allows a purity; NaN if there is none.

    Parameters
    ----------
    found, flipped : array_like, shape (n,) and (m,)
        Scores of all detections on the frame and on the flipped one; NaN never counts.
    mpix, mpix_flipped : float
        Usable area of both [Mpix], > 0.
    purity : float
        The purity wanted, between 0 and 1.

    Raises
    ------
    BadInputError
        If scores are no numbers, an area is not positive and finite, or the purity is not
        between 0 and 1.

    Notes
    -----
    As `flip_estimate`, at every threshold. False detections that are no noise have no counterpart
    in the flipped frame, so the threshold for this purity may have to be higher. Purity need not
    rise with the threshold; the lowest that qualifies is taken, as in the threshold sweep.
    """
    check_areas(mpix, mpix_flipped)
    if not 0 < purity < 1:
        raise BadInputError("flip_threshold", "a purity between 0 and 1", f"{purity:g}")
    real, false = (
        np.sort(as_numbers(name, scores).reshape(-1))
        for name, scores in (("found", found), ("flipped", flipped))
    )
    real, false = real[~np.isnan(real)], false[~np.isnan(false)]
    at = np.unique(real)
    kept = real.size - np.searchsorted(real, at)
    wrong = (false.size - np.searchsorted(false, at)) * (mpix / mpix_flipped)
    good = at[1 - wrong / kept >= purity]
    return float(good[0]) if good.size else float("nan")


def check_areas(mpix: float, mpix_flipped: float) -> None:
    """Raise BadInputError unless both areas [Mpix] are positive and finite."""
    if not (0 < mpix < inf and 0 < mpix_flipped < inf):
        raise BadInputError("mpix", "finite areas > 0 Mpix", f"{mpix:g} and {mpix_flipped:g}")


def times_seen(exposures: Sequence[npt.ArrayLike], radius_px: float) -> list[Ints]:
    """Count the exposures in which each detection was seen, its own included.

    Parameters
    ----------
    exposures : sequence of array_like, each of shape (n_i, 2)
        Positions [px] in one common frame of reference.
    radius_px : float
        Largest distance of a pair [px], inclusive.

    Returns
    -------
    list of ndarray of int64, each of shape (n_i,)
        From 1 to the number of exposures. Every two exposures are paired one to
        one by `pair`; there is no chain from neighbour to neighbour, so crowding
        cannot join sources to one that was seen everywhere.
    """
    positions = [as_positions(f"exposures[{k}]", e) for k, e in enumerate(exposures)]
    seen = [np.ones(len(xy), dtype=np.int64) for xy in positions]
    for a, b in combinations(range(len(positions)), 2):
        pairs = pair(positions[a], positions[b], radius_px)
        seen[a][pairs.truth_index] += 1
        seen[b][pairs.found_index] += 1
    return seen


@dataclass(frozen=True, kw_only=True)
class RepeatEstimate:
    """Purity estimate from repeated exposures of a field.

    Attributes
    ----------
    n_exposures : int
        How many.
    detections : tuple of int, of length n_exposures
        Detections seen in exactly 1, 2, … exposures, over all exposures.
    once, once_lo, once_hi : float
        Share of the detections seen only once, with its Wilson interval; NaN
        without a detection.
    chance : float
        Probability that a detection pairs by chance with one of another exposure.
    purity_least : float
        Purity if nothing that was seen once were real.
    purity, purity_lo, purity_hi : float
        Purity less the once-seen ones that must be real, given how many were seen
        twice and three times; NaN for fewer than three exposures. Still a lower
        limit, with its interval.
    """

    n_exposures: int
    detections: tuple[int, ...]
    once: float
    once_lo: float
    once_hi: float
    chance: float
    purity_least: float
    purity: float
    purity_lo: float
    purity_hi: float


@takes(exposures=Sequence, radius_px=Real, n_bootstrap=Integral, seed=Integral)
def repeat_estimate(
    exposures: Sequence[npt.ArrayLike],
    radius_px: float,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> RepeatEstimate:
    """Estimate purity from repeated exposures of a field.

    Parameters
    ----------
    exposures : sequence of array_like, each of shape (n_i, 2)
        Positions [px] of one detector's detections in each exposure of the field,
        in one frame of reference and of the area common to all; two or more.
    radius_px : float
        Largest distance of a pair [px], inclusive.
    confidence : float
        Level of the intervals.
    n_bootstrap, seed : int
        Resamples for the interval of the purity, and their seed.

    Raises
    ------
    BadInputError
        If there are fewer than two exposures, positions cannot be such, the radius is not
        positive, the confidence is not between 0 and 1, or there is no resample.

    Notes
    -----
    False detections are assumed to fall at random places, different in each exposure; those that
    recur (hot pixels, spikes, halos) pass for real. Of N detections, N₁ were seen
    once and f_k = N_k/k sources k times. A false one is seen once with probability
    (1 - c)^(n-1), c being `chance`, measured by pairing shifted exposures. So

    - ``purity_least = 1 - N₁/(1 - c)^(n-1)/N``.

    A source seen with probability p, whatever the distribution of p over sources,
    adds to the moments m_k = E f_k / C(n, k) of its odds, for which m₂² ≤ m₁ m₃
    (Cauchy and Schwarz): at least n·m₂²/m₃ of those seen once are real, as in
    Chao's (1984, Scand. J. Statist. 11, 265) estimate of unseen species. Taking these off N₁
    gives ``purity``, exact if all sources were equally likely to be seen.
    Its interval draws every f_k from a Poisson distribution.
    """
    n = len(exposures)
    if n < 2:
        raise BadInputError("repeat_estimate", "at least two exposures", str(n))
    check_confidence(confidence)
    if n_bootstrap < 1:
        raise BadInputError("n_bootstrap", "1 at least", repr(n_bootstrap))
    if n_bootstrap > MOST_RESAMPLES:
        raise BadInputError("n_bootstrap", f"{MOST_RESAMPLES} at most", repr(n_bootstrap))
    positions = [as_positions(f"exposures[{k}]", e) for k, e in enumerate(exposures)]
    all_seen = np.concatenate(times_seen(positions, radius_px))
    detections = np.bincount(all_seen, minlength=n + 1)[1:]
    total = int(detections.sum())
    chance = _chance(positions, radius_px)
    once_lo, once_hi = wilson(detections[0], total, confidence)
    alone = max((1 - chance) ** (n - 1), 1e-6)
    sources = detections / np.arange(1, n + 1)
    low = high = float("nan")
    if n >= 3 and total:
        drawn = np.random.default_rng(seed).poisson(sources, (n_bootstrap, n)).astype(np.float64)
        tail = (1 - confidence) / 2
        low, high = np.quantile(_purity(drawn, alone), [tail, 1 - tail])
    return RepeatEstimate(
        n_exposures=n,
        detections=tuple(int(d) for d in detections),
        once=float(detections[0] / total) if total else float("nan"),
        once_lo=float(once_lo),
        once_hi=float(once_hi),
        chance=chance,
        purity_least=(
            float(max(1 - detections[0] / alone / total, 0.0)) if total else float("nan")
        ),
        purity=float(_purity(sources[None], alone)[0]) if n >= 3 and total else float("nan"),
        purity_lo=float(low),
        purity_hi=float(high),
    )


def _purity(sources: npt.NDArray[np.float64], alone: float) -> npt.NDArray[np.float64]:
    """Return the purity for sources seen 1, 2, … n times, shape (m, n) to (m,)."""
    n = sources.shape[1]
    total = np.maximum((sources * np.arange(1, n + 1)).sum(axis=1), 1.0)
    twice, thrice = sources[:, 1] / comb(n, 2), sources[:, 2] / comb(n, 3)
    # Nothing seen three times says nothing of how many seen once are real.
    real = np.where(thrice > 0, n * twice**2 / np.where(thrice > 0, thrice, 1), 0)
    false = np.maximum(sources[:, 0] - real, 0) / alone
    return np.asarray(np.maximum(1 - false / total, 0))


def _chance(positions: Sequence[npt.NDArray[np.float64]], radius_px: float) -> float:
    """Return the share of detections that pair with another exposure shifted against theirs."""
    hits = tries = 0
    for a, b in combinations(range(len(positions)), 2):
        for shift in CHANCE_SHIFTS:
            moved = positions[b] + np.array(shift) * radius_px
            hits += 2 * len(pair(positions[a], moved, radius_px))
            tries += len(positions[a]) + len(positions[b])
    return hits / tries if tries else 0.0
