"""Tests of the perceptron that combines network and context features."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.special import expit

from skyduel.detect.calibration.fit_rescoring import fit_rescoring
from skyduel.detect.model.score_model import CONTEXT_FEATURES, Calibration, Rescoring

N = len(CONTEXT_FEATURES) + 1


def drawn(k: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Proposals of which a column of context_features tells more than the logit."""
    rng = np.random.default_rng(seed)
    logit, context_features = rng.normal(0, 2, k), rng.normal(0, 3, (k, N - 1))
    return (
        logit,
        context_features,
        rng.random(k) < expit(logit + 2 * np.tanh(context_features[:, 3])),
    )


def cross_entropy(logit: np.ndarray, right: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(right, -logit, logit)).mean())


@pytest.fixture(scope="module")
def taught() -> Rescoring:
    logit, context_features, right = drawn(12000, 1)
    return fit_rescoring(logit, context_features, right, np.ones(len(right)), seed=3)


def test_it_learns_from_the_context_features(taught: Rescoring) -> None:
    logit, context_features, right = drawn(8000, 2)
    best = logit + 2 * np.tanh(context_features[:, 3])
    before, after = (
        cross_entropy(logit, right),
        cross_entropy(taught(logit, context_features), right),
    )
    bound = cross_entropy(best, right)
    assert after - bound < 0.25 * (before - bound)


def test_the_same_seed_gives_the_same_and_no_other_generator_notices() -> None:
    logit, context_features, right = drawn(3000, 4)
    torch.manual_seed(11)
    want = torch.rand(3)
    torch.manual_seed(11)
    first = fit_rescoring(logit, context_features, right, np.ones(3000), seed=5)
    assert torch.equal(torch.rand(3), want)
    assert fit_rescoring(logit, context_features, right, np.ones(3000), seed=5) == first
    assert fit_rescoring(logit, context_features, right, np.ones(3000), seed=6) != first


def test_weights_decide_what_is_learned() -> None:
    logit, context_features = np.zeros(4000), np.random.default_rng(7).normal(0, 1, (4000, N - 1))
    right = np.arange(4000) % 2 == 0
    heavy = fit_rescoring(logit, context_features, right, np.where(right, 9.0, 1.0))
    assert expit(heavy(logit, context_features)).mean() == pytest.approx(0.9, abs=0.05)


def test_it_travels_as_json_within_the_calibration(taught: Rescoring) -> None:
    whole = Calibration(1.1, -0.2, (0.5, 0.6, 0.7), taught)
    back = Calibration.from_dict(json.loads(json.dumps(whole.as_dict())))
    assert back == whole
    logit, context_features, _ = drawn(50, 8)
    np.testing.assert_array_equal(
        back.score(logit, context_features), whole.score(logit, context_features)
    )
    np.testing.assert_allclose(
        whole.score(logit, context_features), expit(1.1 * taught(logit, context_features) - 0.2)
    )
    np.testing.assert_allclose(whole.score(logit), expit(1.1 * logit - 0.2))


def test_nothing_is_extrapolated(taught: Rescoring) -> None:
    _, context_features, _ = drawn(40, 9)
    far = taught(np.zeros(40), np.sign(context_features) * 1e30)
    farther = taught(np.zeros(40), np.sign(context_features) * 1e300)
    np.testing.assert_array_equal(far, farther)
    assert np.isfinite(far).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d["mean"].pop(),
        lambda d: d["scale"].__setitem__(0, 0.0),
        lambda d: d["layers"].pop(),
        lambda d: d["layers"][0].pop(),
        lambda d: [row.pop() for row in d["layers"][1]],
        lambda d: d["layers"].clear(),
    ],
)
def test_shapes_that_do_not_fit_are_refused(taught: Rescoring, damage) -> None:
    given = json.loads(json.dumps(asdict(taught)))
    damage(given)
    with pytest.raises(ValueError, match="a perceptron of 16 inputs"):
        Rescoring.from_dict(given)
