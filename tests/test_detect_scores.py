"""Scores from logits: neighbours by loops, bends by hand, old and new numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from detect.scores import Calibration, bend, neighbours, streak_features

FULL = Calibration(1.2, -0.3, 0.25, ((-2.0, -3.0), (0.0, -0.5), (2.0, 2.5)), (0.7, 1.1, -2.0))


@given(n=st.integers(0, 40), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_neighbours_are_those_of_the_loops(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy, logits = rng.uniform(-0.5, [399.5, 250.5], (n, 2)), rng.normal(0, 2, n)
    cell = [(int((x + 0.5) // 32), int((y + 0.5) // 32)) for x, y in xy]
    want = []
    for i, (cx, cy) in enumerate(cell):
        low = [min(c[a] for c in cell) for a in (0, 1)]
        high = [max(c[a] for c in cell) for a in (0, 1)]
        area = np.prod(
            [
                sum(low[a] <= v <= high[a] for v in range(c - 2, c + 3))
                for a, c in enumerate((cx, cy))
            ]
        )
        count = sum(
            logits[j] > 0 and j != i and abs(ox - cx) <= 2 and abs(oy - cy) <= 2
            for j, (ox, oy) in enumerate(cell)
        )
        want.append(count * 25 / area)
    np.testing.assert_allclose(neighbours(xy, logits), want, atol=1e-9)


def test_a_bend_goes_through_its_knots_and_on_with_slope_one() -> None:
    knots = ((-2.0, -3.0), (0.0, -0.5), (2.0, 2.5))
    z = np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0])
    np.testing.assert_allclose(bend(z, knots), [-5, -3, -1.75, -0.5, 1, 2.5, 5.5])
    np.testing.assert_array_equal(bend(z, ()), z)


@given(logits=st.lists(st.floats(-20, 20), min_size=2, max_size=9), near=st.floats(0, 1e4))
@settings(max_examples=50, deadline=None)
def test_scores_rise_with_the_logit_and_are_probabilities(logits: list[float], near: float) -> None:
    z = np.sort(np.array(logits))
    score = FULL.score(z, np.full(z.size, near))
    assert (np.diff(score) >= 0).all()
    assert ((score >= 0) & (score <= 1)).all()


def test_without_the_new_numbers_it_is_a_logistic_function() -> None:
    z = np.linspace(-5, 5, 11)
    old = Calibration.from_dict({"slope": 1.1, "offset": 0.4})
    np.testing.assert_allclose(old.score(z, np.full(11, 50.0)), expit(1.1 * z + 0.4))
    np.testing.assert_array_equal(old.streak_score(np.array([0.4, 0.9]), np.ones(2)), [0.4, 0.9])


def test_numbers_travel_as_json() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(FULL.as_dict()))) == FULL
    with pytest.raises(KeyError, match="offset"):
        Calibration.from_dict({"slope": 1.0})


def test_longer_and_surer_streaks_score_higher() -> None:
    p, length = np.array([0.5, 0.9, 0.5, 1.0]), np.array([20.0, 20.0, 90.0, 1e4])
    score = FULL.streak_score(p, length)
    assert score[1] > score[0]
    assert score[2] > score[0]
    assert np.isfinite(streak_features(p, np.array([0.0, 1, 2, 3]))).all()
