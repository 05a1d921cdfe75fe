"""Whether scores hold as probabilities on frames without a truth: which detections recur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError, as_numbers, as_positions, takes
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.statistics.intervals import wilson
from skyduel.evaluation.truth_free import CHANCE_SHIFTS, times_seen

__all__ = [
    "LEAST_SCORE",
    "ScoresOnRepeats",
    "scored_exposures",
    "scores_on_repeats",
    "share_by_chance",
]

Floats = npt.NDArray[np.float64]

#: Detections of lower scores neither count nor confirm others.
LEAST_SCORE: Final = 0.1
#: Edges of the bins of the scores: whole tenths, as they are written.
_EDGES: Final = np.arange(1, 11) / 10


@dataclass(frozen=True, kw_only=True)
class ScoresOnRepeats:
    """Detections of one range of scores, and how many of them recur in another exposure.

    Attributes
    ----------
    score_lo, score_hi : float
        The range, half-open except at a score of 1.
    n, k : int
        Detections over all exposures, and those of them that recur.
    predicted : float
        Their mean score: the share that is real, if scores are probabilities; NaN without one.
    chance : float
        Share that recurs when the other exposures are shifted.
    real_least, real_lo, real_hi : float
        Least share that is real, with its interval: ``(k/n - chance) / (1 - chance)``.
    """

    score_lo: float
    score_hi: float
    n: int
    k: int
    predicted: float
    chance: float
    real_least: float
    real_lo: float
    real_hi: float


@takes(exposures=Sequence, scores=Sequence, radius_px=Real)
def scores_on_repeats(
    exposures: Sequence[npt.ArrayLike],
    scores: Sequence[npt.ArrayLike],
    radius_px: float,
    *,
    confidence: float = 0.95,
) -> tuple[ScoresOnRepeats, ...]:
    """Compare scores with how often detections recur in other exposures of the same field.

    Parameters
    ----------
    exposures : sequence of array_like, each of shape (n_i, 2)
        Positions [px] of one detector's detections in each exposure, in one frame of reference
        and of the area common to all; two or more. All detections, also below the threshold.
    scores : sequence of array_like, each of shape (n_i,)
        Their scores, from 0 to 1.
    radius_px : float
        Largest distance of a pair [px], inclusive.
    confidence : float
        Level of the intervals.

    Returns
    -------
    tuple of ScoresOnRepeats
        Nine ranges of a tenth from `LEAST_SCORE` on, and last the whole of them.

    Raises
    ------
    BadInputError
        If there are fewer than two exposures, positions or scores cannot be such, their numbers
        differ, or scores are not between 0 and 1.

    Notes
    -----
    A detection recurs if at least one other exposure has a detection of any score from
    `LEAST_SCORE` on, paired one to one within the radius. Of the real ones a share q recurs, of the
    false ones the share `chance`, measured with shifted exposures. With the share ρ of real ones
    the share of those that recur is ρ·(q + (1 - q)·chance) + (1 - ρ)·chance, which gives
    ρ = (k/n - chance) / (q·(1 - chance)). q is not known but at most 1, so q = 1 gives a lower
    limit. It is near ρ for scores at which a source is rarely missed by all other exposures.
    False detections that recur (hot pixels, spikes) count as real.

    The interval is Wilson's, for as many independent sources as the detections stand for: one
    that is seen m times is m detections of one source.
    """
    positions, kept = scored_exposures(exposures, scores)
    score = np.concatenate(kept)
    seen = np.concatenate(times_seen(positions, radius_px))
    by_chance = share_by_chance(positions, radius_px)
    tenth = np.clip(np.searchsorted(_EDGES, score, side="right") - 1, 0, len(_EDGES) - 2)
    ranges = [(tenth == i, lo, hi) for i, (lo, hi) in enumerate(pairwise(_EDGES))]
    ranges.append((np.ones(score.size, dtype=bool), LEAST_SCORE, 1.0))
    return tuple(
        _of_range(float(lo), float(hi), score[here], seen[here], by_chance[here], confidence)
        for here, lo, hi in ranges
    )


def scored_exposures(
    exposures: Sequence[npt.ArrayLike], scores: Sequence[npt.ArrayLike]
) -> tuple[list[Floats], list[Floats]]:
    """Return positions and scores of the detections with `LEAST_SCORE` or more.

    Raises
    ------
    BadInputError
        As `scores_on_repeats`.
    """
    if len(exposures) < 2:
        raise BadInputError("scores_on_repeats", "at least two exposures", str(len(exposures)))
    if len(exposures) != len(scores):
        both = f"{len(exposures)} and {len(scores)}"
        raise BadInputError("scores_on_repeats", "as many exposures as scores", both)
    positions, kept = [], []
    for i, (xy, score) in enumerate(zip(exposures, scores, strict=True)):
        place, score = as_positions(f"exposures[{i}]", xy), as_numbers(f"scores[{i}]", score)
        if score.shape != (len(place),):
            wanted = f"one score of each of {len(place)} detections"
            raise BadInputError(f"scores[{i}]", wanted, f"shape {score.shape}")
        if not ((score >= 0) & (score <= 1)).all():
            wrong = score[~((score >= 0) & (score <= 1))][0]
            raise BadInputError("scores_on_repeats", "scores from 0 to 1", f"{wrong:g}")
        counts = score >= LEAST_SCORE
        positions.append(place[counts])
        kept.append(score[counts])
    return positions, kept


def _of_range(
    lo: float,
    hi: float,
    score: Floats,
    seen: npt.NDArray[np.int64],
    by_chance: Floats,
    confidence: float,
) -> ScoresOnRepeats:
    n, k = score.size, int(np.count_nonzero(seen > 1))
    if n == 0:
        nan = float("nan")
        return ScoresOnRepeats(
            score_lo=lo, score_hi=hi, n=0, k=0, predicted=nan, chance=nan,
            real_least=nan, real_lo=nan, real_hi=nan,
        )  # fmt: skip
    chance = float(by_chance.mean())
    # Rounded, since three thirds, summed, may be less than a whole.
    independent = max(int(np.round((1 / seen).sum(), 6)), 1)
    low, high = wilson(round(independent * k / n), independent, confidence)

    def real(share: float) -> float:
        return float(np.clip((share - chance) / max(1 - chance, 1e-6), 0, 1))

    return ScoresOnRepeats(
        score_lo=lo,
        score_hi=hi,
        n=n,
        k=k,
        predicted=float(score.mean()),
        chance=chance,
        real_least=real(k / n),
        real_lo=real(min(float(low), k / n)),
        real_hi=real(max(float(high), k / n)),
    )


def share_by_chance(positions: Sequence[Floats], radius_px: float) -> Floats:
    """Return the share of shifts at which each detection pairs with any other exposure."""
    shares = []
    for a, here in enumerate(positions):
        hits = np.zeros(len(here))
        for shift in CHANCE_SHIFTS:
            paired = np.zeros(len(here), dtype=bool)
            for b, there in enumerate(positions):
                if b != a:
                    moved = there + np.array(shift) * radius_px
                    paired[pair(here, moved, radius_px).truth_index] = True
            hits += paired
        shares.append(hits / len(CHANCE_SHIFTS))
    return np.concatenate(shares)
