"""Estimates without a truth, number by number: formulae by hand, distributions by sums."""

from __future__ import annotations

import inspect
from math import comb, isnan

import numpy as np
import pytest
from scipy.stats import gamma, poisson

from skyduel.core import BadInputError
from skyduel.evaluation import (
    flip_estimate,
    flip_threshold,
    repeat_estimate,
    scores_on_repeats,
)
from skyduel.evaluation.statistics.intervals import wilson
from skyduel.evaluation.truth_free import CHANCE_SHIFTS

NAN = float("nan")
#: Where other exposures are moved to for pairs by chance, in radii.
SHIFTS = [(8.0, 0.0), (-8.0, 0.0), (0.0, 8.0), (0.0, -8.0), (9.0, 7.0), (-9.0, -7.0)]
#: So far apart that a shift leads to no other source.
SPARSE = np.array([[100.0 * i, 100.0 * j] for i in range(6) for j in range(6)])


def quantile(n: int, mpix: float, flipped: float, q: float) -> int:
    """Return the number of false detections up to which the share q lies.

    A Poisson number whose rate has the posterior of n on the other area by Jeffreys' prior.
    """
    rate = np.linspace(0, 60, 60001)[1:]
    weight = gamma.pdf(rate, n + 0.5, scale=1 / flipped)
    share = [np.trapezoid(poisson.pmf(k, rate * mpix) * weight, rate) for k in range(60)]
    return int(np.flatnonzero(np.cumsum(share) >= q)[0])


@pytest.mark.parametrize(
    ("found", "flipped", "areas", "confidence"),
    [
        (200, 8, (1.0, 0.8), 0.95),
        (60, 3, (0.5, 2.0), 0.8),
        (9, 6, (1.2, 1.0), 0.95),
        (50, 5, (2.0, 1.0), 0.95),
    ],
)
def test_the_purity_of_a_frame_by_its_flipped_one(
    found: int, flipped: int, areas: tuple[float, float], confidence: float
) -> None:
    e = flip_estimate(found, flipped, *areas, confidence=confidence)
    tail = (1 - confidence) / 2
    few, many = (quantile(flipped, *areas, q) for q in (tail, 1 - tail))
    false = flipped * areas[0] / areas[1]
    for got, want in ((e.purity, false), (e.purity_hi, few), (e.purity_lo, many)):
        assert got == pytest.approx(min(max(1 - want / found, 0), 1))
    assert e.false_per_mpix == pytest.approx(flipped / areas[1])
    # Of a mean at its end, as many events or more, or fewer, have the probability of a tail.
    assert poisson.sf(flipped - 1, e.false_lo * areas[1]) == pytest.approx(tail)
    assert poisson.cdf(flipped, e.false_hi * areas[1]) == pytest.approx(tail)
    assert (e.n_found, e.n_flipped, e.mpix, e.mpix_flipped) == (found, flipped, *areas)


def test_no_detection_has_no_purity_and_one_has() -> None:
    none = flip_estimate(0, 0, 1.0, 1.0)
    assert all(isnan(v) for v in (none.purity, none.purity_lo, none.purity_hi))
    assert flip_estimate(1, 0, 1.0, 1.0).purity == 1.0


@pytest.mark.parametrize(
    "areas", [(0.0, 1.0), (1.0, 0.0), (np.inf, 1.0), (1.0, np.inf), (NAN, 1.0)]
)
def test_areas_are_positive_and_finite(areas: tuple[float, float]) -> None:
    with pytest.raises(BadInputError, match="finite areas > 0 Mpix"):
        flip_estimate(1, 1, *areas)
    with pytest.raises(BadInputError, match="finite areas > 0 Mpix"):
        flip_threshold([1.0], [1.0], *areas)


def test_what_estimates_refuse() -> None:
    for numbers in ((-1, 0), (0, -1)):
        with pytest.raises(BadInputError, match="numbers >= 0"):
            flip_estimate(*numbers, 1.0, 1.0)
    for purity in (0.0, 1.0):
        with pytest.raises(BadInputError, match="a purity between 0 and 1"):
            flip_threshold([1.0], [1.0], 1.0, 1.0, purity)
    for estimate in (
        lambda: flip_estimate(1, 1, 1.0, 1.0, confidence=95),
        lambda: repeat_estimate([SPARSE] * 2, 2.0, confidence=95),
    ):
        with pytest.raises(BadInputError, match="confidence: required a number between 0 and 1"):
            estimate()
    with pytest.raises(BadInputError, match="n_bootstrap: required 1 at least; got 0"):
        repeat_estimate([SPARSE] * 2, 2.0, n_bootstrap=0)
    with pytest.raises(BadInputError, match="n_bootstrap: required 1000000 at most; got 1000001"):
        repeat_estimate([SPARSE] * 2, 2.0, n_bootstrap=1_000_001)
    # Of two exposures none are drawn.
    assert repeat_estimate([SPARSE] * 2, 2.0, n_bootstrap=1_000_000).once == 0
    with pytest.raises(BadInputError, match="required at least two exposures; got 1"):
        repeat_estimate([SPARSE], 2.0)


def seen(*patterns: str) -> list[np.ndarray]:
    """Return exposures of sources, each of which is in the exposures whose numbers are given."""
    return [
        SPARSE[[k for k, where in enumerate(patterns) if str(one) in where]]
        for one in range(max(int(c) for p in patterns for c in p) + 1)
    ]


def purity_by_hand(f: np.ndarray, alone: float) -> float:
    """Return the purity of the notes of `repeat_estimate` for f_k sources seen k times."""
    n = len(f)
    total = max(sum(k * f[k - 1] for k in range(1, n + 1)), 1)
    m2, m3 = f[1] / comb(n, 2), f[2] / comb(n, 3)
    real = n * m2**2 / m3 if m3 > 0 else 0
    return min(max(1 - max(f[0] - real, 0) / alone / total, 0), 1)


def test_repeats_by_hand() -> None:
    patterns = [*"0121", "01", "12", "02", "012", "012", "012"]
    e = repeat_estimate(seen(*patterns), 2.0)
    # m2 = 3 / 3 and m3 = 3 / 1: one of the four seen once is real.
    assert e.n_exposures == 3
    assert e.detections == (4, 6, 9)
    assert e.chance == 0
    assert e.once == pytest.approx(4 / 19)
    assert (e.once_lo, e.once_hi) == pytest.approx(wilson(4, 19, 0.95))
    assert e.purity_least == pytest.approx(1 - 4 / 19)
    assert e.purity == pytest.approx(1 - 3 / 19) == purity_by_hand(np.array([4, 3, 3]), 1.0)


@pytest.mark.parametrize(
    ("patterns", "purity"),
    [
        (["0", "1", "2"], 0.0),  # nothing is seen again
        (["0", "01", "12", "02"], 6 / 7),  # nothing is seen three times, which tells nothing
        (["0", "01", "02", "12", "012"], 1.0),  # all that is seen once is real
        (["0", "1", "2", "3", "01", "23", "123", "0123"], 1 - (4 - 16 / 9) / 15),
        (["0", "123"], 3 / 4),
    ],
)
def test_the_purity_of_repeats(patterns: list[str], purity: float) -> None:
    assert repeat_estimate(seen(*patterns), 2.0).purity == pytest.approx(purity)


@pytest.mark.parametrize(("n_bootstrap", "seed", "confidence"), [(300, 3, 0.8), (1, 0, 0.95)])
def test_the_interval_of_repeats_draws_poisson_numbers(
    n_bootstrap: int, seed: int, confidence: float
) -> None:
    patterns = [*"0121002", "01", "12", "02", "012", "012", "012"]
    how = {"n_bootstrap": n_bootstrap, "seed": seed, "confidence": confidence}
    e = repeat_estimate(seen(*patterns), 2.0, **how)
    drawn = np.random.default_rng(seed).poisson([7, 3, 3], (n_bootstrap, 3))
    tail = (1 - confidence) / 2
    want = np.quantile([purity_by_hand(f, 1.0) for f in drawn], [tail, 1 - tail])
    assert (e.purity_lo, e.purity_hi) == pytest.approx(want)
    assert (e.once_lo, e.once_hi) == pytest.approx(wilson(7, 22, confidence))


def test_the_interval_of_repeats_is_that_of_two_thousand_resamples() -> None:
    assert list(CHANCE_SHIFTS) == SHIFTS
    exposures = seen(*"0121002", "01", "12", "02", "012", "012", "012")
    e = repeat_estimate(exposures, 2.0)
    drawn = np.random.default_rng(0).poisson([7, 3, 3], (2000, 3))
    want = np.quantile([purity_by_hand(f, 1.0) for f in drawn], [0.025, 0.975])
    assert (e.purity_lo, e.purity_hi) == pytest.approx(want)
    assert inspect.signature(repeat_estimate).parameters["n_bootstrap"].default == 2000


def test_without_an_interval() -> None:
    for e in (repeat_estimate(seen("0", "01"), 2.0), repeat_estimate([SPARSE[:0]] * 3, 2.0)):
        assert all(isnan(v) for v in (e.purity, e.purity_lo, e.purity_hi))
    assert isnan(e.purity_least)
    assert e.chance == 0
    one = repeat_estimate([SPARSE[:1], SPARSE[:0], SPARSE[:0]], 2.0)
    assert (one.once, one.purity_least, one.purity) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("shift", SHIFTS)
def test_pairs_by_chance_are_those_of_six_shifts(shift: tuple[float, float]) -> None:
    # The other exposure lies where one of the six shifts brings it onto the first.
    moved = SPARSE[:6] - 2.0 * np.array(shift)
    e = repeat_estimate([SPARSE, moved], 2.0)
    assert e.chance == pytest.approx(2 * 6 / (6 * 42))
    # Of 42 detections, all seen once, none is real.
    assert e.purity_least == 0
    assert repeat_estimate([SPARSE, moved, SPARSE[:0]], 2.0).purity == 0
    rows = scores_on_repeats([SPARSE, moved], [np.full(36, 0.35), np.full(6, 0.95)], 2.0)
    assert rows[2].chance == pytest.approx(6 / 36 / 6)
    # The shift is of the other exposures, so that of the second is the opposite, which is another
    # of the six.
    assert rows[8].chance == pytest.approx(1 / 6)
    assert rows[-1].chance == pytest.approx((6 / 6 + 6 / 6) / 42)


def test_three_exposures_of_which_pairs_by_chance_are_taken_off() -> None:
    # All of the first pair with the second after one shift: 12 of 6 x (6 + 6 + 0) x 2 tries.
    first, second = SPARSE[:6], SPARSE[:6] - [16.0, 0.0]
    more = SPARSE[10:16]
    e = repeat_estimate([np.vstack([first, more]), np.vstack([second, more]), more], 2.0)
    chance = 12 / (6 * (24 + 18 + 18))
    assert e.chance == pytest.approx(chance)
    assert e.detections == (12, 0, 18)
    assert e.purity_least == pytest.approx(1 - 12 / (1 - chance) ** 2 / 30)
    assert e.purity == pytest.approx(purity_by_hand(np.array([12, 0, 6]), (1 - chance) ** 2))


def test_scores_in_their_tenths_and_what_is_independent() -> None:
    # Two sources in three exposures, one in two, and three rows that do not recur.
    exposures = seen("012", "012", "01", "0", "1", "2")
    scores = [[0.1, 0.2, 0.2, 0.3], [0.19, 0.7, 0.2, 1.0], [0.9, 0.899, 0.099]]
    rows = scores_on_repeats(exposures, scores, 2.0, confidence=0.8)
    told = [(r.n, r.k) for r in rows]
    assert told == [(2, 2), (3, 3), (1, 0), (0, 0), (0, 0), (0, 0), (1, 1), (1, 1), (2, 1), (10, 8)]
    assert [r.predicted for r in rows if r.n] == pytest.approx(
        [
            0.145,
            0.2,
            0.3,
            0.7,
            0.899,
            0.95,
            np.mean([0.1, 0.19, 0.2, 0.2, 0.2, 0.3, 0.7, 0.899, 0.9, 1.0]),
        ]
    )
    # 3/3 of the first, 3/3 of the second, 2/2 of the third source, and two rows alone: 5 sources.
    low, high = wilson(4, 5, 0.8)
    whole = rows[-1]
    assert (whole.real_least, whole.real_lo, whole.real_hi) == pytest.approx((0.8, low, high))
    # Two thirds of a source are at least one; of 1/3 + 1/2 + 1/2 one.
    for row, (low, high) in ((rows[0], wilson(1, 1, 0.8)), (rows[1], wilson(1, 1, 0.8))):
        assert (row.real_least, row.real_lo, row.real_hi) == pytest.approx((1, low, high))
    assert rows[2].real_lo == rows[2].real_least == 0
    assert all(isnan(v) for v in (rows[3].predicted, rows[3].chance, rows[3].real_least))
    assert all(isnan(v) for v in (rows[3].real_lo, rows[3].real_hi))


def test_the_least_real_share_is_above_chance() -> None:
    # Of six, three recur, and the others do by chance at one shift of six: 3/6 of them 1/12.
    first = SPARSE[:6]
    second = np.vstack([SPARSE[:3], SPARSE[3:6] - [16.0, 0.0]])
    row = scores_on_repeats([first, second], [np.full(6, 0.5)] * 2, 2.0)[4]
    low, high = wilson(round(9 * 6 / 12), 9, 0.95)
    chance = 1 / 12
    real = [(v - chance) / (1 - chance) for v in (0.5, min(low, 0.5), max(high, 0.5))]
    assert row.chance == pytest.approx(chance)
    assert (row.real_least, row.real_lo, row.real_hi) == pytest.approx(tuple(real))


def test_scores_of_one_exposure_or_with_few_or_many_chance_pairs() -> None:
    with pytest.raises(BadInputError, match="required at least two exposures; got 1"):
        scores_on_repeats([SPARSE], [np.full(36, 0.5)], 2.0)
    # Scores of 0 and of 1 are scores; the former do not count.
    rows = scores_on_repeats([SPARSE[:2], SPARSE[:1]], [[0.0, 1.0], [1.0]], 2.0)
    assert (rows[8].n, rows[8].k, rows[8].predicted) == (2, 0, 1.0)
    assert (rows[-1].score_lo, rows[-1].score_hi) == (0.1, 1.0)
    # One of ten recurs, which is less than chance gives: no share is negative.
    moved = [SPARSE[:10] - 2.0 * np.array(shift) for shift in SHIFTS]
    exposures = [np.vstack([SPARSE[:11]]), np.vstack([*moved, SPARSE[10:11]])]
    row = scores_on_repeats(exposures, [np.full(11, 0.5), np.full(61, 0.3)], 2.0)[4]
    assert row.chance == pytest.approx(10 / 11)
    assert row.k == 1
    assert row.real_least == row.real_lo == 0.0


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([[0.5], [-0.1]], r"scores from 0 to 1; got -0\.1"),
        ([[0.5, 1.01, 1.02, 0.2], [0.5]], r"scores from 0 to 1; got 1\.01"),
        ([[0.0, 1.0, -0.2, 2.0], [0.5]], r"scores from 0 to 1; got -0\.2"),
    ],
)
def test_the_first_score_that_is_none_is_named(scores: list, match: str) -> None:
    exposures = [SPARSE[: len(row)] for row in scores]
    with pytest.raises(BadInputError, match=match):
        scores_on_repeats(exposures, scores, 2.0)


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([[0.5]], "as many exposures as scores; got 2 and 1"),
        (
            [[0.5], [0.5, 0.5]],
            r"scores\[1\]: required one score of each of 1 detections; got shape",
        ),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores: list, match: str) -> None:
    with pytest.raises(BadInputError, match=match):
        scores_on_repeats([[[1.0, 2.0]]] * 2, scores, 2.0)
