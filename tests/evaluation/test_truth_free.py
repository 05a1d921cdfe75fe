"""Compare truth-free purity estimates with frames of known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import BadInputError
from skyduel.evaluation import (
    flip_estimate,
    flip_threshold,
    repeat_estimate,
    scores_on_repeats,
)
from skyduel.evaluation.repeat_scores import LEAST_SCORE
from skyduel.evaluation.truth_free import times_seen

SIZE = np.array([900.0, 700.0])


def test_flip_numbers_by_hand() -> None:
    e = flip_estimate(200, 8, 1.0, 0.8)
    assert e.false_per_mpix == pytest.approx(10.0)
    assert e.purity == pytest.approx(1 - 10 / 200)
    assert e.purity_lo < e.purity < e.purity_hi <= 1
    # Garwood's interval of 8: 3.454 to 15.763.
    assert (e.false_lo, e.false_hi) == pytest.approx((3.4538 / 0.8, 15.7632 / 0.8), rel=1e-4)


def test_flip_without_detections_is_undefined_and_without_false_ones_not_certain() -> None:
    assert np.isnan(flip_estimate(0, 3, 1.0, 1.0).purity)
    none = flip_estimate(100, 0, 1.0, 1.0)
    assert none.purity == none.purity_hi == 1.0
    assert 0.9 < none.purity_lo < 1.0
    assert flip_estimate(5, 50, 1.0, 1.0).purity == 0.0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [((1, 1, 0.0, 1.0), "areas > 0"), ((-1, 1, 1.0, 1.0), "numbers >= 0")],
)
def test_flip_refuses_what_cannot_be(arguments: tuple, match: str) -> None:
    with pytest.raises(BadInputError, match=match):
        flip_estimate(*arguments)


def test_flip_threshold_by_hand() -> None:
    found = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    # From 3 on: 8 found, 1 false on half the area stands for 2: a purity of 0.75.
    assert flip_threshold(found, [1.5, 2.5, 3.5], 1.0, 0.5, 0.75) == 3.0
    assert flip_threshold(found, [1.5, 2.5, 3.5], 1.0, 0.5, 0.76) == 4.0
    assert flip_threshold(found, [], 1.0, 1.0) == 1.0
    assert flip_threshold([*found, np.nan], [np.nan], 1.0, 1.0) == 1.0
    assert np.isnan(flip_threshold(found, [11.0], 1.0, 1.0))
    assert np.isnan(flip_threshold([], [1.0], 1.0, 1.0))
    # A false one exactly at the threshold counts.
    assert flip_threshold(found, [10.0], 1.0, 1.0, 0.85) == 1.0
    assert np.isnan(flip_threshold([10.0], [10.0], 1.0, 1.0, 0.5))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([1.0], [], 0.0, 1.0), "areas > 0"),
        (([1.0], [], 1.0, 1.0, 1.5), "between 0 and 1; got 1.5"),
    ],
)
def test_flip_threshold_refuses(arguments: tuple, match: str) -> None:
    with pytest.raises(BadInputError, match=match):
        flip_threshold(*arguments)


def test_flip_threshold_has_the_purity_where_noise_is_symmetric() -> None:
    rng = np.random.default_rng(4)
    noise, other, real = rng.exponential(1, 4000), rng.exponential(1, 2800), rng.normal(6, 2, 1500)
    threshold = flip_threshold(np.concatenate([noise, real]), other, 1.0, 0.7)
    right, wrong = (real >= threshold).sum(), (noise >= threshold).sum()
    assert right / (right + wrong) == pytest.approx(0.95, abs=0.01)


def test_flip_interval_covers_the_purity() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(800):
        rate, mpix, flipped, real = rng.uniform(5, 40), 1.0, 0.7, 150
        false = rng.poisson(rate * mpix)
        e = flip_estimate(real + false, int(rng.poisson(rate * flipped)), mpix, flipped)
        inside += e.purity_lo <= real / (real + false) <= e.purity_hi
    assert 0.93 <= inside / 800 <= 0.985  # whole numbers: a little more than 95 %


positions = st.lists(
    st.tuples(st.floats(0, 30, allow_nan=False), st.floats(0, 20, allow_nan=False)), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(exposures=st.lists(positions, min_size=1, max_size=4))
def test_times_seen_is_symmetric_and_bounded(exposures: list) -> None:
    arrays = [np.array(e, dtype=float).reshape(-1, 2) for e in exposures]
    seen = times_seen(arrays, 2.0)
    assert [len(s) for s in seen] == [len(a) for a in arrays]
    for s in seen:
        assert ((s >= 1) & (s <= len(arrays))).all()
    turned = times_seen(arrays[::-1], 2.0)[::-1]
    assert sum(int(s.sum()) for s in seen) == sum(int(s.sum()) for s in turned)
    # A detection without another exposure's within the radius is alone.
    for k, a in enumerate(arrays):
        others = [b for j, b in enumerate(arrays) if j != k and len(b)]
        for row in range(len(a)):
            near = any(np.hypot(*(b - a[row]).T).min() <= 2.0 for b in others)
            assert near or seen[k][row] == 1


def test_times_seen_by_hand() -> None:
    one = [[10.0, 10.0], [50.0, 10.0], [80.0, 40.0]]
    two = [[10.5, 10.0], [80.0, 41.0]]
    three = [[10.0, 11.0]]
    assert [s.tolist() for s in times_seen([one, two, three], 2.0)] == [[3, 1, 2], [3, 2], [3]]


def repeats(n: int, probabilities: np.ndarray, false: float, seed: int) -> tuple[list, float]:
    """Positions of n exposures, and the purity of them together."""
    rng = np.random.default_rng(seed)
    real = rng.uniform(0, SIZE, (len(probabilities), 2))
    out, right, total = [], 0, 0
    for _ in range(n):
        seen = real[rng.random(len(real)) < probabilities]
        wrong = rng.uniform(0, SIZE, (rng.poisson(false), 2))
        out.append(np.concatenate([seen + rng.normal(0, 0.2, seen.shape), wrong]))
        right, total = right + len(seen), total + len(seen) + len(wrong)
    return out, right / total


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("false", [0.0, 20.0, 120.0])
def test_repeats_come_near_the_purity_from_below(n: int, false: float) -> None:
    # Bright sources always seen, faint ones at every probability.
    rng = np.random.default_rng(7)
    probabilities = np.concatenate([np.ones(350), rng.uniform(0.05, 1, 250)])
    exposures, purity = repeats(n, probabilities, false, seed=n)
    e = repeat_estimate(exposures, 2.0)
    assert sum(e.detections) == sum(len(x) for x in exposures)
    assert e.purity_least <= e.purity
    assert e.purity <= purity + 0.015
    assert e.purity > purity - 0.05
    assert e.purity_lo <= e.purity <= e.purity_hi


def test_equal_sources_make_the_estimate_exact_and_the_interval_cover() -> None:
    inside = 0
    for seed in range(30):
        exposures, purity = repeats(4, np.full(400, 0.6), 40.0, seed)
        e = repeat_estimate(exposures, 1.5, n_bootstrap=400)
        inside += e.purity_lo - 0.005 <= purity <= e.purity_hi + 0.005
        assert e.purity == pytest.approx(purity, abs=0.06)
    assert inside >= 26


def test_chance_is_the_share_of_sky_within_the_radius() -> None:
    rng = np.random.default_rng(3)
    exposures = [rng.uniform(0, SIZE, (1500, 2)) for _ in range(3)]
    e = repeat_estimate(exposures, 2.0)
    covered = 1 - np.exp(-1500 * np.pi * 4 / np.prod(SIZE))
    assert e.chance == pytest.approx(covered, rel=0.15)
    assert e.purity_least < 0.04  # nothing is real, and what coincides is known to


def test_two_exposures_and_none_at_all() -> None:
    exposures, purity = repeats(2, np.ones(200), 20.0, 1)
    e = repeat_estimate(exposures, 2.0)
    assert np.isnan(e.purity)
    assert e.purity_least == pytest.approx(purity, abs=0.03)
    empty = repeat_estimate([np.zeros((0, 2))] * 3, 2.0)
    assert np.isnan(empty.once)
    assert np.isnan(empty.purity)
    assert empty.detections == (0, 0, 0)
    with pytest.raises(BadInputError, match="at least two exposures; got 1"):
        repeat_estimate(exposures[:1], 2.0)


def test_scores_on_repeats_by_hand() -> None:
    one = [[10.0, 10.0], [50.0, 10.0], [80.0, 40.0], [200.0, 100.0]]
    two = [[10.5, 10.0], [80.0, 41.0], [50.0, 10.0], [300.0, 300.0]]
    rows = scores_on_repeats([one, two], [[0.95, 0.55, 0.35, 0.65], [1.0, 0.3, 0.09, 0.0]], 2.0)
    assert [(r.score_lo, r.score_hi) for r in rows[:-1]] == [
        pytest.approx((k / 10, (k + 1) / 10)) for k in range(1, 10)
    ]
    # At (50, 10) the other exposure has a score below the least one: it confirms nothing.
    by_bin = {round(r.score_lo, 1): (r.n, r.k, r.predicted) for r in rows[:-1] if r.n}
    assert by_bin == {
        0.3: (2, 2, pytest.approx(0.325)),
        0.5: (1, 0, 0.55),
        0.6: (1, 0, 0.65),
        0.9: (2, 2, pytest.approx(0.975)),
    }
    whole = rows[-1]
    assert (whole.score_lo, whole.score_hi) == (LEAST_SCORE, 1.0)
    assert (whole.n, whole.k, whole.chance) == (6, 4, 0.0)
    assert whole.real_least == pytest.approx(4 / 6)
    assert whole.real_lo < whole.real_least < whole.real_hi
    assert np.isnan(rows[0].real_least)


def scored(
    n: int, real: int, false: int, seed: int, promise: float = 0.0
) -> tuple[list, list, list]:
    """Positions, scores that hold (or promise more log odds), and which are real."""
    rng = np.random.default_rng(seed)
    sources, strength = rng.uniform(0, SIZE, (real, 2)), rng.normal(2.5, 2.0, real)
    exposures, scores, labels = [], [], []
    for _ in range(n):
        # Normal log odds of both kinds: their ratio gives the probability that a score states.
        of_real = strength + rng.normal(0, 1, real)
        of_false = rng.normal(-2.5, np.sqrt(5.0), false)
        height = np.concatenate([of_real, of_false])
        odds = height + np.log(real / false)  # d = (μ₁ - μ₀)·x / σ², with μ = ±2.5 and σ² = 5
        exposures.append(
            np.concatenate(
                [sources + rng.normal(0, 0.2, sources.shape), rng.uniform(0, SIZE, (false, 2))]
            )
        )
        scores.append(1 / (1 + np.exp(-(odds + promise))))
        labels.append(np.arange(real + false) < real)
    return exposures, scores, labels


@pytest.mark.parametrize("n", [2, 4])
def test_real_share_of_scores_is_a_lower_limit_near_the_true_one(n: int) -> None:
    exposures, scores, labels = scored(n, 1500, 1500, seed=n)
    every, real = np.concatenate(scores), np.concatenate(labels)
    for row in scores_on_repeats(exposures, scores, 1.5):
        here = (every >= row.score_lo) & (every < row.score_hi)
        true = real[here].mean()
        assert true == pytest.approx(row.predicted, abs=0.06)  # these scores hold
        assert row.real_lo <= true + 0.02
        if row.score_lo >= 0.5:  # a source of this strength is rarely missed by all others
            assert row.real_least == pytest.approx(true, abs=0.12 if n == 2 else 0.06)


def test_scores_that_promise_too_much_are_seen() -> None:
    exposures, scores, labels = scored(4, 1500, 1500, seed=9, promise=1.5)
    rows = {round(r.score_lo, 1): r for r in scores_on_repeats(exposures, scores, 1.5)[:-1]}
    every, real = np.concatenate(scores), np.concatenate(labels)
    for k in (0.5, 0.6, 0.7):
        true = real[(every >= k) & (every < k + 0.1)].mean()
        assert rows[k].predicted > rows[k].real_hi  # more than could be, if the sky were so
        assert rows[k].real_least == pytest.approx(true, abs=0.08)


def test_nothing_is_real_where_nothing_recurs_but_by_chance() -> None:
    rng = np.random.default_rng(3)
    exposures = [rng.uniform(0, SIZE, (1500, 2)) for _ in range(3)]
    rows = scores_on_repeats(exposures, [rng.uniform(0.1, 1, 1500) for _ in range(3)], 2.0)
    covered = 1 - np.exp(-3000 * np.pi * 4 / np.prod(SIZE))
    assert rows[-1].chance == pytest.approx(covered, rel=0.15)
    assert rows[-1].k > 100
    assert rows[-1].real_lo == 0.0
    assert rows[-1].real_least < 0.02


@pytest.mark.parametrize(
    ("exposures", "scores", "match"),
    [
        ([[[1.0, 2.0]]], [[0.5]], "at least two exposures; got 1"),
        ([[[1.0, 2.0]]] * 2, [[0.5], [7.5]], "scores from 0 to 1; got 7.5"),
        ([[[1.0, 2.0]]] * 2, [[0.5], [np.nan]], "scores from 0 to 1; got nan"),
    ],
)
def test_scores_on_repeats_refuses(exposures: list, scores: list, match: str) -> None:
    with pytest.raises(BadInputError, match=match):
        scores_on_repeats(exposures, scores, 2.0)
