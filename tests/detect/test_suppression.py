"""Compare soft-NMS of sources with its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from skyduel.detect.inference.suppression import suppress


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of 4 px squares centred on two places."""
    sides = np.maximum(4 - np.abs(a - b), 0)
    shared = float(sides[0] * sides[1])
    return shared / (32 - shared)


def oracle(xy: np.ndarray, logits: np.ndarray, sigma: float) -> dict[int, float]:
    """Probability left to each source, by taking the surest again and again."""
    score = dict(enumerate(expit(logits)))
    left: dict[int, float] = {}
    while score:
        best = max(score, key=lambda i: (score[i], -i))
        left[best] = score.pop(best)
        for other in score:
            score[other] *= np.exp(-(overlap(xy[best], xy[other]) ** 2) / sigma)
    return left


@given(
    places=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 40)), max_size=14, unique=True),
    sigma=st.sampled_from([0.05, 0.25, 1.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_what_is_left_is_what_the_definition_leaves(places, sigma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy = np.array(places, dtype=float).reshape(-1, 2) / 7 + 5000
    logits = rng.normal(0, 2, len(xy))
    index, got = suppress(xy, logits, sigma)
    want = {i: p for i, p in oracle(xy, logits, sigma).items() if p > 2e-3}
    assert len(got) >= len(want)
    assert len(set(index)) == len(index)
    for i, value in zip(index, got, strict=True):
        if i in want:
            assert expit(value) == pytest.approx(want[i], abs=2e-3)
    assert set(want) <= set(index)
    assert (got <= logits[index] + 1e-12).all()


def test_a_lone_source_keeps_its_logit() -> None:
    logits = np.array([3.123456789, -1.987654321])
    index, left = suppress(np.array([[10.0, 10.0], [50.0, 10.0]]), logits)
    np.testing.assert_allclose(left, logits, atol=1e-6)
    np.testing.assert_array_equal(index, [0, 1])


def test_neighbours_are_told_apart_far_from_the_origin() -> None:
    xy = np.array([[200_000.25, 90_000.0], [200_001.25, 90_000.0]])
    far = suppress(xy, np.array([2.0, 1.0]))[1]
    near = suppress(xy - [200_000, 90_000], np.array([2.0, 1.0]))[1]
    np.testing.assert_allclose(far, near, atol=1e-4)
    assert far[1] == pytest.approx(logit(expit(1.0) * np.exp(-(0.6**2) / 0.25)), abs=1e-4)


def test_nothing_is_left_of_nothing() -> None:
    index, left = suppress(np.zeros((0, 2)), np.zeros(0))
    assert index.shape == (0,)
    assert left.shape == (0,)
