"""Fit how much less scores promise on one telescope, without a truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, expit, log_expit, logit
from scipy.stats import chi2

from skyduel.core.errors import BadInputError, as_numbers, takes
from skyduel.evaluation.repeat_scores import scored_exposures, share_by_chance
from skyduel.evaluation.statistics.intervals import check_confidence
from skyduel.evaluation.truth_free import check_areas, times_seen

__all__ = ["LEAST_FITTED_SCORE", "ScoreShift", "fit_score_shift"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Minus the log of a likelihood with a prior, at each of some shifts.
_Term = Callable[[Floats], Floats]

#: Detections of lower scores are not used: most are noise, which says nothing of the others.
LEAST_FITTED_SCORE: Final = 0.3
#: Standard deviations of the priors: of the shift, of the log of the factor by which flipped noise
#: may differ in number from the frame's, and of the log odds that a real source recurs.
_SHIFT_SD: Final = 1.0
_FACTOR_SD: Final = 0.5
_RECURS_SD: Final = 0.3
#: How a real source of log odds u recurs in another exposure: with a probability of a beta
#: distribution of mean expit(a + b·u), and its sum of parameters. Fitted on simulated frames.
_RECURS: Final = (0.71, 0.35)
_RECURS_SUM: Final = 3.14
#: Shifts that are tried, first coarsely, then around the best.
_SHIFTS: Final = np.linspace(-6, 0, 61)
_FINE: Final = np.linspace(-0.1, 0.1, 21)
_FARTHEST_LOG_ODDS: Final = 30.0
#: Log odds are rounded to as many digits, so that their number bounds the work.
_DIGITS: Final = 2


@dataclass(frozen=True, kw_only=True)
class ScoreShift:
    """How far the log odds of scores are too high.

    Attributes
    ----------
    shift, shift_lo, shift_hi : float
        To be added to the log odds, at most 0, with its interval.
    n_found, n_flipped : int
        Detections used on the frames and on the flipped ones.
    n_repeats, n_recur : int
        Detections used in the area common to all exposures, and those that recur in another one.
    """

    shift: float
    shift_lo: float
    shift_hi: float
    n_found: int
    n_flipped: int
    n_repeats: int
    n_recur: int


@takes(mpix=Real, mpix_flipped=Real, exposures=Sequence, scores=Sequence, radius_px=Real)
def fit_score_shift(
    found: npt.ArrayLike,
    flipped: npt.ArrayLike,
    mpix: float,
    mpix_flipped: float,
    *,
    exposures: Sequence[npt.ArrayLike] = (),
    scores: Sequence[npt.ArrayLike] = (),
    radius_px: float = 2.0,
    confidence: float = 0.95,
) -> ScoreShift:
    """Fit the shift of the log odds with which scores hold as probabilities.

    Parameters
    ----------
    found, flipped : array_like, shape (n,) and (m,)
        Scores from 0 to 1 of all detections on the frames and on the flipped ones.
    mpix, mpix_flipped : float
        Usable area of both [Mpix], > 0.
    exposures : sequence of array_like, each of shape (n_i, 2)
        Positions [px] of the detections in exposures of one field, as `scores_on_repeats`
        takes them; none: only flipped noise is used.
    scores : sequence of array_like, each of shape (n_i,)
        Their scores.
    radius_px : float
        Largest distance of a pair [px], inclusive.
    confidence : float
        Level of the interval.

    Raises
    ------
    BadInputError
        If scores are not between 0 and 1, areas are not positive and finite, or exposures are
        not such.

    Notes
    -----
    Of detections with the score s let p be the probability to be real. For each of them
    there are (1 - p)·r·f on the flipped frames, with r the ratio of areas, flipped to whole,
    and f a factor near 1, as dips of faint sources and skewed noise change the number. So a
    detection of both together is a flipped one with a known probability, which gives the
    likelihood of p. In repeats a detection is found k times in the m other exposures: a false one
    with the binomial probability of chance, a real one with a beta-binomial probability, the
    recurrence of simulated sources of that score, up to a common factor of the odds. The map is
    p = expit(logit(s) + shift) with shift <= 0: false detections that neither method sees would
    otherwise raise the scores. The shift and both factors have normal priors in the logarithm;
    the most probable shift is returned, and where twice the log posterior falls by the quantile
    of χ². The interval is approximate: it takes no account of the use of the same detections
    twice.

    The form was chosen on simulated telescopes with noise unknown to the network
    (``benchmarks/accuracy/score_map_telescopes.py``). Flipped noise alone helps little there, and
    isotonic regression of it is worse than no map.
    """
    check_confidence(confidence)
    check_areas(mpix, mpix_flipped)
    on_frame, upside_down = (_log_odds(n, s) for n, s in (("found", found), ("flipped", flipped)))
    terms: list[_Term] = []
    if on_frame.size + upside_down.size:
        terms.append(_flip_term(on_frame, upside_down, mpix_flipped / mpix))
    n_repeats = n_recur = 0
    if len(exposures):
        positions, kept = scored_exposures(exposures, scores)
        score = np.concatenate(kept)
        seen = np.concatenate(times_seen(positions, radius_px)) - 1
        use = score >= LEAST_FITTED_SCORE
        n_repeats, n_recur = int(use.sum()), int(np.count_nonzero(seen[use]))
        if n_repeats:
            chance = share_by_chance(positions, radius_px)[use].mean()
            others = len(positions) - 1
            each = 1 - (1 - min(max(chance, 1e-4), 0.9)) ** (1 / others)
            terms.append(_repeat_term(_clipped_logit(score[use]), seen[use], others, each))

    def against(shifts: Floats) -> Floats:
        prior = 0.5 * (shifts / _SHIFT_SD) ** 2
        return np.asarray(prior + sum(term(shifts) for term in terms))

    coarse = against(_SHIFTS)
    fine = np.unique(np.minimum(_SHIFTS[int(coarse.argmin())] + _FINE, 0))
    close = against(fine)
    best = int(close.argmin())
    limit = close[best] + float(chi2.ppf(confidence, 1)) / 2
    inside = np.concatenate([_SHIFTS[coarse <= limit], fine[close <= limit]])
    return ScoreShift(
        shift=round(float(fine[best]), 4) + 0.0,
        shift_lo=round(float(inside.min()), 4) + 0.0,
        shift_hi=round(float(inside.max()), 4) + 0.0,
        n_found=on_frame.size,
        n_flipped=upside_down.size,
        n_repeats=n_repeats,
        n_recur=n_recur,
    )


def _log_odds(name: str, scores: npt.ArrayLike) -> Floats:
    """Return the log odds of the scores that are used."""
    score = as_numbers(name, scores).reshape(-1)
    wrong = score[~((score >= 0) & (score <= 1))]
    if wrong.size:
        raise BadInputError(name, "scores from 0 to 1", f"{wrong[0]:g}")
    return _clipped_logit(score[score >= LEAST_FITTED_SCORE])


def _clipped_logit(score: Floats) -> Floats:
    return np.asarray(np.clip(logit(score), -_FARTHEST_LOG_ODDS, _FARTHEST_LOG_ODDS))


def _flip_term(found: Floats, flipped: Floats, ratio: float) -> _Term:
    """Return the term of flipped noise, at the best factor for each shift."""
    factors = np.linspace(-4, 4, 41) * _FACTOR_SD
    prior = 0.5 * (factors / _FACTOR_SD) ** 2
    both = [np.unique(np.round(u, _DIGITS), return_counts=True) for u in (found, flipped)]

    def term(shifts: Floats) -> Floats:
        out = np.empty(len(shifts))
        for i, shift in enumerate(shifts):
            # Log odds that one of both is a flipped one, for each factor.
            (a, n), (b, m) = (
                (log_expit(-(u + shift)) + np.log(ratio) + factors[:, None], count)
                for u, count in both
            )
            out[i] = np.min(prior - log_expit(-a) @ n - log_expit(b) @ m)
        return out

    return term


def _repeat_term(u: Floats, seen: Ints, others: int, chance: float) -> _Term:
    """Return the term of recurrences, at the best factor of the odds to recur for each shift."""
    factors = np.linspace(-3, 3, 13) * _RECURS_SD
    prior = 0.5 * (factors / _RECURS_SD) ** 2
    alike, count = np.unique(
        np.column_stack([np.round(u, _DIGITS), seen]), axis=0, return_counts=True
    )
    u, k = alike.T
    false = chance**k * (1 - chance) ** (others - k)
    mean = expit(_RECURS[0] + factors[:, None] + _RECURS[1] * u)
    a, b = _RECURS_SUM * mean, np.maximum(_RECURS_SUM * (1 - mean), 1e-9)
    real = np.exp(betaln(a + k, b + others - k) - betaln(a, b))

    def term(shifts: Floats) -> Floats:
        out = np.empty(len(shifts))
        for i, shift in enumerate(shifts):
            p = expit(u + shift)
            out[i] = np.min(prior - np.log(np.maximum(p * real + (1 - p) * false, 1e-300)) @ count)
        return out

    return term
