"""Compare the decoding of proposals with loops, and test streaks of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skyduel.core import Catalog
from skyduel.detect.inference.decode import (
    STREAK_CHANNELS,
    StreakRules,
    find_streaks,
    propose,
)
from skyduel.detect.training.targets import make_targets

SHAPE = (180, 230)


def oracle(maps: np.ndarray, floor: float, most: int) -> np.ndarray:
    """x, y, logit of proposals: every cell against its 24 neighbours, one by one."""
    logit, h, w = maps[0], *maps.shape[1:]
    cx, cy = np.arange(w) * 2 + 0.5, np.arange(h) * 2 + 0.5
    x = (cx[None, :] + maps[1]).astype(np.float32)
    y = (cy[:, None] + maps[2]).astype(np.float32)
    kept = []
    for r in range(h):
        for c in range(w):
            if 1 / (1 + np.exp(-float(logit[r, c]))) <= floor:
                continue
            beaten = False
            for rr in range(max(r - 2, 0), min(r + 3, h)):
                for cc in range(max(c - 2, 0), min(c + 3, w)):
                    if (rr, cc) == (r, c):
                        continue
                    better = logit[rr, cc] > logit[r, c] or (
                        logit[rr, cc] == logit[r, c] and (rr, cc) < (r, c)
                    )
                    near = (x[rr, cc] - x[r, c]) ** 2 + (y[rr, cc] - y[r, c]) ** 2 < 1
                    beaten |= bool(better and near)
            if not beaten:
                kept.append((-logit[r, c], r, c))
    kept.sort()
    return np.array([(x[r, c], y[r, c], -v) for v, r, c in kept[:most]]).reshape(-1, 3)


# Few different values, so that ties are common.
few = st.integers(-3, 3)


@given(
    logit=hnp.arrays(np.float32, (6, 9), elements=few),
    dx=hnp.arrays(np.float32, (6, 9), elements=few),
    dy=hnp.arrays(np.float32, (6, 9), elements=few),
    floor=st.sampled_from([0.02, 0.3, 0.6]),
    most=st.integers(1, 60),
)
@settings(max_examples=100, deadline=None)
def test_proposals_are_those_of_the_loops(logit, dx, dy, floor: float, most: int) -> None:
    maps = np.zeros((8, 6, 9), np.float32)
    maps[0], maps[1], maps[2] = logit, dx * 0.61, dy * 0.61
    xy, logits = propose(maps, floor, most)
    want = oracle(maps, floor, most)
    np.testing.assert_array_equal(xy, want[:, :2])
    np.testing.assert_array_equal(logits, want[:, 2])


def test_no_more_than_asked_for_and_the_surest_of_them() -> None:
    rng = np.random.default_rng(1)
    maps = rng.normal(0, 2, (8, 30, 20)).astype(np.float32)
    everything, all_logits = propose(maps, 0.1, 10_000)
    some, logits = propose(maps, 0.1, 17)
    assert len(everything) > 17
    assert np.array_equal(some, everything[:17])
    assert np.array_equal(logits, all_logits[:17])
    assert (np.diff(logits) <= 0).all()


def test_an_empty_map_proposes_nothing() -> None:
    xy, logits = propose(np.full((8, 5, 7), -9.0, np.float32), 0.05, 100)
    assert xy.shape == (0, 2)
    assert logits.shape == (0,)
    assert xy.dtype == logits.dtype == np.float32


def test_the_layout_of_the_maps_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    maps = rng.integers(-3, 4, (8, 20, 13)).astype(np.float32)
    last = np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    for here, there in zip(propose(maps, 0.3, 30), propose(last, 0.3, 30), strict=True):
        assert np.array_equal(here, there)
        assert len(here) == 30


# --- streaks


def streak_maps(
    streaks: list[tuple[float, float, float, float]],
    rng: np.random.Generator | None = None,
    noise: float = 0.0,
) -> np.ndarray:
    """What a good network says of x, y, length, theta, on a frame of `SHAPE`."""
    s = np.array(streaks, dtype=float).reshape(-1, 4)
    truth = Catalog.build(
        x=s[:, 0], y=s[:, 1], length=s[:, 2], theta=s[:, 3],
        kind=np.full(len(s), "streak"), snr=np.full(len(s), 50.0),
    )  # fmt: skip
    maps = make_targets(truth, SHAPE).maps[:8][STREAK_CHANNELS].copy()
    on = maps[0] > 0
    maps[0] = np.where(on, 3.0, -6.0)
    if rng is not None:
        maps[0] += on * rng.normal(0, 0.8, on.shape)
        maps[1:] += on * rng.normal(0, noise, (4, *on.shape))
    return maps.astype(np.float32)


def turn(a: float, b: float) -> float:
    """Angle between two directions [deg]."""
    return float(np.rad2deg(np.abs((a - b + np.pi / 2) % np.pi - np.pi / 2)))


def wrapped(theta: float) -> float:
    return (theta + np.pi / 2) % np.pi - np.pi / 2


def test_single_streaks_have_their_length_angle_and_place() -> None:
    rng = np.random.default_rng(11)
    for _ in range(60):
        length = float(np.exp(rng.uniform(np.log(14), np.log(150))))
        theta = float(rng.uniform(-np.pi / 2, np.pi / 2))
        x, y = rng.uniform(88, 92), rng.uniform(88, 92)
        found = find_streaks(streak_maps([(x, y, length, theta)], rng, 0.12))
        assert found.shape == (1, 5)
        fx, fy, flength, ftheta, score = found[0]
        assert flength == pytest.approx(length, rel=0.1)
        assert turn(ftheta, theta) < 3
        assert np.hypot(fx - x, fy - y) < 1
        assert -np.pi / 2 <= ftheta < np.pi / 2
        assert 0.6 < score < 1


@pytest.mark.parametrize("angle", [15, 30, 45, 60, 90])
@pytest.mark.parametrize("second", [110.0, 70.0])
def test_two_that_cross_are_two(angle: float, second: float) -> None:
    rng = np.random.default_rng(angle)
    for _ in range(8):
        first = float(rng.uniform(-np.pi / 2, np.pi / 2))
        other = wrapped(first + np.deg2rad(angle))
        truth = [(90, 90, 120, first), (*rng.uniform(85, 95, 2), second, other)]
        found = find_streaks(streak_maps(truth, rng, 0.1))
        assert len(found) == 2
        order = np.argsort([turn(theta, first) for theta in found[:, 3]])
        for (_, _, length, theta), row in zip(truth, found[order], strict=True):
            assert turn(row[3], theta) < 3
            assert row[2] == pytest.approx(length, rel=0.15)


@pytest.mark.parametrize("apart", [6.0, 9.0, 20.0])
def test_parallel_ones_are_kept_apart(apart: float) -> None:
    rng = np.random.default_rng(4)
    for _ in range(6):
        theta = float(rng.uniform(-np.pi / 2, np.pi / 2))
        shift = apart * np.array([-np.sin(theta), np.cos(theta)])
        truth = [(90, 90, 80, theta), (90 + shift[0], 90 + shift[1], 70, theta)]
        found = find_streaks(streak_maps(truth, rng, 0.1))
        assert len(found) == 2
        assert sorted(found[:, 2]) == pytest.approx([70, 80], rel=0.1)


def test_a_broken_trail_is_one() -> None:
    theta = 0.35
    c, s = np.cos(theta), np.sin(theta)
    pieces = [(at, length) for at, length in [(-60, 40), (-15, 16), (30, 22), (75, 24)]]
    truth = [(110 + at * c, 90 + at * s, length, theta) for at, length in pieces]
    found = find_streaks(streak_maps(truth))
    assert len(found) == 1
    start, stop = -60 - 20, 75 + 12
    middle = (start + stop) / 2
    assert found[0, 2] == pytest.approx(stop - start, rel=0.05)
    assert turn(found[0, 3], theta) < 1
    assert np.hypot(found[0, 0] - 110 - middle * c, found[0, 1] - 90 - middle * s) < 1.5
    # Each gap is below 40 px; with a smaller gap limit the pieces stay separate.
    assert len(find_streaks(streak_maps(truth), StreakRules(gap_px=3))) == 4


def test_a_trail_across_the_frame_ends_at_its_border() -> None:
    found = find_streaks(streak_maps([(115, 90, 2000, 0.2)]))
    assert len(found) == 1
    assert found[0, 2] == pytest.approx(229 / np.cos(0.2), abs=4)


def test_short_doubtful_and_absent_ones_are_none() -> None:
    assert find_streaks(streak_maps([])).shape == (0, 5)
    assert len(find_streaks(streak_maps([(50, 50, 3.0, 0.3)]))) == 0
    doubtful = streak_maps([(90, 90, 60, 0.3)])
    doubtful[0] = np.minimum(doubtful[0], -1.1)  # probability 0.25: above low, never above high
    assert len(find_streaks(doubtful)) == 0
    assert len(find_streaks(np.full((5, 1, 1), -20, np.float32))) == 0


def test_many_streaks_in_reasonable_time_and_none_lost() -> None:
    truth = [
        (15 + 22 * i, 10 + 16 * j, 12.0, float((i * 7 + j * 3) % 10) / 10 - 0.5)
        for i in range(10)
        for j in range(11)
    ]
    rules = StreakRules(gap_px=0)
    found = find_streaks(streak_maps(truth), rules)
    assert len(found) == len(truth)
