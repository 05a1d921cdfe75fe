"""The shift of log odds that flipped noise and repeats demand, against known probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from skyduel.core import BadInputError
from skyduel.evaluation import fit_score_shift

Floats = np.ndarray


def world(shift: float, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return scores of n detections, and which are real with log odds of the score + shift."""
    u = rng.uniform(-2.5, 4.5, n)
    return expit(u), rng.random(n) < expit(u + shift)


def upside_down(shift: float, n: int, ratio: float, rng: np.random.Generator) -> Floats:
    """Return flipped scores: as many false ones as on a frame, on a share of its area."""
    score, right = world(shift, n, rng)
    return score[~right & (rng.random(n) < ratio)]


def seen_again(
    score: Floats, right: Floats, n: int, rng: np.random.Generator
) -> tuple[list[Floats], list[Floats]]:
    """Return exposures in which real ones recur as the simulated sources of the model do."""
    places = np.column_stack([np.arange(score.size) * 50.0, np.zeros(score.size)])
    again = rng.beta(
        3.14 * expit(0.71 + 0.35 * logit(score)), 3.14 * expit(-0.71 - 0.35 * logit(score))
    )
    exposures, scores = [places], [score]
    for k in range(1, n):
        here = right & (rng.random(score.size) < again)
        # Below the least score that is fitted, so that only the first exposure is.
        exposures.append(np.vstack([places[here], [[-1e4 * k, 0.0]]]))
        scores.append(np.full(int(here.sum()) + 1, 0.2))
    return exposures, scores


@pytest.mark.parametrize("shift", [0.0, -0.5, -1.2, -2.5])
@pytest.mark.parametrize("ratio", [1.0, 0.6])
def test_flipped_noise_tells_the_shift(shift: float, ratio: float) -> None:
    rng = np.random.default_rng(4)
    score, _ = world(shift, 20_000, rng)
    flipped = upside_down(shift, 20_000, ratio, rng)
    got = fit_score_shift(score, flipped, 2.0, 2.0 * ratio)
    assert got.shift == pytest.approx(shift, abs=0.2)
    assert got.shift_lo <= got.shift <= got.shift_hi <= 0
    assert got.shift_lo - 0.05 <= shift <= got.shift_hi + 0.05
    assert got.n_found == (score >= 0.3).sum()
    assert got.n_flipped == (flipped >= 0.3).sum()
    assert (got.n_repeats, got.n_recur) == (0, 0)


@pytest.mark.parametrize("shift", [0.0, -0.7, -2.0])
@pytest.mark.parametrize("n", [2, 4])
def test_repeats_tell_the_shift_where_flipped_noise_is_too_rare(shift: float, n: int) -> None:
    rng = np.random.default_rng(5)
    score, right = world(shift, 6000, rng)
    # As with skewed noise: a twentieth of the false ones has a counterpart.
    flipped = upside_down(shift, 300, 1.0, rng)
    alone = fit_score_shift(score, flipped, 1.0, 1.0)
    assert alone.shift >= -0.1
    exposures, scores = seen_again(score, right, n, rng)
    got = fit_score_shift(
        np.zeros(0), np.zeros(0), 1.0, 1.0, exposures=exposures, scores=scores, radius_px=2.0
    )
    assert got.shift == pytest.approx(shift, abs=0.2)
    use = score >= 0.3
    assert got.n_repeats == use.sum()
    there = np.isin(exposures[0][:, 0], np.concatenate([e[:, 0] for e in exposures[1:]]))
    assert got.n_recur == (there & use).sum()


def test_scores_that_promise_too_little_are_left_alone() -> None:
    rng = np.random.default_rng(6)
    score, right = world(1.0, 5000, rng)
    exposures, scores = seen_again(score, right, 3, rng)
    flipped = upside_down(1.0, 5000, 1.0, rng)
    got = fit_score_shift(score, flipped, 1.0, 1.0, exposures=exposures, scores=scores)
    assert (got.shift, got.shift_hi) == (0.0, 0.0)


def test_few_detections_shift_little_and_none_leave_the_prior() -> None:
    none = fit_score_shift([], [], 1.0, 1.0)
    assert (none.shift, none.n_found) == (0.0, 0)
    # A normal prior of standard deviation 1, in steps of 0.1.
    assert none.shift_lo == pytest.approx(-1.9)
    few = fit_score_shift([0.6, 0.7], [0.6, 0.7], 1.0, 1.0)
    many = fit_score_shift([0.6, 0.7] * 200, [0.6, 0.7] * 200, 1.0, 1.0)
    assert many.shift < few.shift < 0
    assert many.shift_hi < 0 == few.shift_hi


def test_lower_scores_do_not_matter() -> None:
    rng = np.random.default_rng(7)
    score, flipped = rng.random(500), rng.random(200)
    with_more = fit_score_shift(
        np.append(score, np.full(9000, 0.29)), np.append(flipped, np.full(50, 0.1)), 1.0, 1.0
    )
    assert with_more == fit_score_shift(score, flipped, 1.0, 1.0)


def test_the_shift_is_the_most_probable_one() -> None:
    """The posterior, written out anew, has its maximum there."""
    rng = np.random.default_rng(8)
    score, _ = world(-1.0, 400, rng)
    flipped = upside_down(-1.0, 400, 0.5, rng)
    got = fit_score_shift(score, flipped, 4.0, 2.0)
    a, b = (logit(s[s >= 0.3]) for s in (score, flipped))

    def best_factor(shift: float) -> float:
        return min(against(shift, factor) for factor in np.linspace(-1.5, 1.5, 121))

    def against(shift: float, factor: float) -> float:
        odds_a, odds_b = (np.exp(factor) * 0.5 * expit(-(u + shift)) for u in (a, b))
        likelihood = np.log(1 / (1 + odds_a)).sum() + np.log(odds_b / (1 + odds_b)).sum()
        return float(-likelihood + shift**2 / 2 + (factor / 0.5) ** 2 / 2)

    shifts = np.arange(-75, 1) / 25
    values = [best_factor(shift) for shift in shifts]
    assert got.shift == pytest.approx(shifts[int(np.argmin(values))], abs=0.04)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"found": [1.2]}, "found: required scores from 0 to 1; got 1.2"),
        ({"flipped": [float("nan")]}, "flipped: required scores from 0 to 1; got nan"),
        ({"mpix": 0.0}, "finite areas > 0"),
        ({"exposures": [[[1.0, 2.0]]], "scores": [[0.5]]}, "at least two exposures"),
        ({"exposures": [[[1.0, 2.0]]] * 2, "scores": [[0.5]]}, "as many exposures as scores"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_what_cannot_be_fitted_is_refused(given: dict[str, object], said: str) -> None:
    arguments = {"found": [0.5], "flipped": [0.5], "mpix": 1.0, "mpix_flipped": 1.0, **given}
    with pytest.raises(BadInputError, match=said):
        fit_score_shift(**arguments)  # type: ignore[arg-type]
