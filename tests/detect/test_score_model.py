"""Tests of scores of points and of streaks, from old and new weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from skyduel.detect.model.score_model import (
    CONTEXT_FEATURES,
    Calibration,
    PositionErrorModel,
    streak_features,
)

FULL = Calibration(
    1.2,
    -0.3,
    (0.7, 1.1, -2.0),
    network_position_error=PositionErrorModel(0.05, 1.2),
    centroid_error=PositionErrorModel(0.01, 1.1),
    regions_above=-2.5,
    snr_gain=0.75,
)


@given(logits=st.lists(st.floats(-20, 20), min_size=2, max_size=9))
@settings(max_examples=50, deadline=None)
def test_scores_rise_with_the_logit_and_are_probabilities(logits: list[float]) -> None:
    z = np.sort(np.array(logits))
    score = FULL.score(z)
    assert (np.diff(score) >= 0).all()
    assert ((score >= 0) & (score <= 1)).all()


def test_without_the_new_numbers_it_is_a_logistic_function() -> None:
    z = np.linspace(-5, 5, 11)
    old = Calibration.from_dict({"slope": 1.1, "offset": 0.4})
    np.testing.assert_allclose(old.score(z), expit(1.1 * z + 0.4))
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


def features(snr: list[float]) -> np.ndarray:
    """Return rows of features of which only the S/N with the frame's PSF is not 0."""
    rows = np.zeros((len(snr), len(CONTEXT_FEATURES)), dtype=np.float32)
    rows[:, CONTEXT_FEATURES.index("matched")] = snr
    return rows


def test_likely_bright_sources_score_higher() -> None:
    raised = Calibration(1.0, 0.0, snr_gain=1.0)
    odds = np.array([-2.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0])
    score = raised.score(odds, features([80.0, 80.0, 80.0, 80.0, 80.0, 8.0, 3.0]))
    more = np.log(10) * np.array([0, 0, 0.5, 1, 1, 0, 0])
    np.testing.assert_allclose(score, expit(odds + more), rtol=1e-6)
    np.testing.assert_array_equal(raised.score(odds), expit(odds))
    plain = Calibration(1.0, 0.0).score(odds, features([80.0] * 7))
    np.testing.assert_array_equal(plain, expit(odds))


@given(
    odds=st.lists(st.floats(-9, 9), min_size=2, max_size=9),
    snr=st.floats(0, 1e5),
    more=st.floats(1, 100),
)
@settings(max_examples=50, deadline=None)
def test_raised_scores_keep_their_order(odds: list[float], snr: float, more: float) -> None:
    raised = Calibration(1.0, 0.0, snr_gain=1.0)
    z = np.sort(np.array(odds))
    score = raised.score(z, features([snr] * len(z)))
    assert (np.diff(score) >= 0).all()
    assert (raised.score(z, features([snr * more] * len(z))) >= score).all()
    # The default threshold, and those of 95 % purity on simulated frames, are log odds below 1.
    low = z < 1
    np.testing.assert_array_equal(score[low], expit(z[low]))
