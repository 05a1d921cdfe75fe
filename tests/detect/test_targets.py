"""Compare training targets with loops over every cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import BadInputError, Catalog
from skyduel.detect.inference.decode import propose
from skyduel.detect.training.targets import TargetRules, make_targets

SHAPE = (20, 34)  # ny, nx
RULES = TargetRules()


def catalogue(
    points: list[tuple[float, float, float]],
    streaks: list[tuple[float, float, float, float]] = (),
    **columns: np.ndarray,
) -> Catalog:
    n, m = len(points), len(streaks)
    p, s = np.array(points).reshape(-1, 3), np.array(streaks).reshape(-1, 4)
    return Catalog.build(
        x=np.concatenate([p[:, 0], s[:, 0]]),
        y=np.concatenate([p[:, 1], s[:, 1]]),
        snr=np.concatenate([p[:, 2], np.full(m, 20.0)]),
        kind=np.array(["point"] * n + ["streak"] * m, dtype="U6"),
        length=np.concatenate([np.zeros(n), s[:, 2]]),
        theta=np.concatenate([np.zeros(n), s[:, 3]]),
        **columns,
    )


def point_oracle(
    points: list[tuple[float, float, float]], row: int, col: int
) -> tuple[float, float, float, float] | None:
    """Presence, dx, dy and weight of one cell; None where rounding decides."""
    cx, cy = 2 * col + 0.5, 2 * row + 0.5
    known, unsure = [], []
    for x, y, snr in points:
        d = math.hypot(x - cx, y - cy)
        if min(abs(d - RULES.reach_px), abs(d - RULES.ring_px)) < 1e-5:
            return None
        if snr >= RULES.positive_snr:
            known.append((d, x - cx, y - cy))
        elif snr >= RULES.ignore_snr:
            unsure.append(d)
    known.sort()
    if len(known) > 1 and known[1][0] - known[0][0] < 1e-5:
        return None
    if known and known[0][0] < RULES.reach_px:
        return 1.0, known[0][1], known[0][2], 1.0
    ring = bool(known) and known[0][0] < RULES.ring_px
    near = bool(unsure) and min(unsure) < RULES.reach_px
    return 0.0, 0.0, 0.0, 0.0 if ring or near else 1.0


positions = st.tuples(
    st.floats(-1, SHAPE[1]), st.floats(-1, SHAPE[0]), st.sampled_from([0.9, 1.2, 2.0, 2.5, 40.0])
)


@given(points=st.lists(positions, max_size=9))
@settings(max_examples=60, deadline=None)
def test_point_labels_are_those_of_the_loops(points: list[tuple[float, float, float]]) -> None:
    labels = make_targets(catalogue(points), SHAPE)
    assert labels.maps.shape == (10, 10, 17)
    for row in range(10):
        for col in range(17):
            want = point_oracle(points, row, col)
            if want is not None:
                got = labels.maps[[0, 1, 2, 8], row, col]
                np.testing.assert_allclose(got, want, atol=1e-5, err_msg=f"{row}, {col}")
    assert not labels.maps[3:8].any()
    assert (labels.maps[9] == 1).all()
    kept = [(x, y, float(s >= 2.5), 2.0) for x, y, s in points if s >= 1.2]
    np.testing.assert_allclose(labels.points, np.array(kept).reshape(-1, 4), atol=1e-5)


def segment(x: float, y: float, streak: tuple[float, float, float, float]) -> tuple[float, float]:
    """Vector from a place to the nearest point of a segment, by dense sampling."""
    sx, sy, length, theta = streak
    t = np.linspace(-length / 2, length / 2, 20001)
    dx, dy = sx + t * np.cos(theta) - x, sy + t * np.sin(theta) - y
    best = int(np.argmin(np.hypot(dx, dy)))
    return float(dx[best]), float(dy[best])


@pytest.mark.parametrize(
    "streaks",
    [
        [(15.2, 9.1, 12.0, 0.4)],
        [(15.2, 9.1, 300.0, -1.1)],  # a trail longer than the frame
        [(33.0, 2.0, 10.0, 1.5), (8.0, 12.0, 9.0, -0.7)],
        [(16.0, 10.0, 20.0, 0.3), (16.0, 10.0, 14.0, -1.0)],  # crossing
    ],
)
def test_streak_cells_know_their_direction_and_the_way_to_the_ridge(streaks: list) -> None:
    maps = make_targets(catalogue([], streaks), SHAPE).maps
    seen = 0
    for row in range(10):
        for col in range(17):
            vectors = [segment(2 * col + 0.5, 2 * row + 0.5, s) for s in streaks]
            distances = [math.hypot(*v) for v in vectors]
            order = np.argsort(distances)
            d = distances[order[0]]
            tied = len(streaks) > 1 and distances[order[1]] - d < 0.01
            if tied or min(abs(d - 1.5), abs(d - 3.5)) < 0.01:
                continue
            cell = maps[:, row, col]
            assert cell[3] == (d < 1.5)
            assert cell[9] == (d < 1.5 or d > 3.5)
            if d < 1.5:
                theta = streaks[order[0]][3]
                np.testing.assert_allclose(cell[4:6], [np.cos(2 * theta), np.sin(2 * theta)], 1e-5)
                np.testing.assert_allclose(cell[6:8], vectors[order[0]], atol=0.02)
                seen += 1
            else:
                assert not cell[4:8].any()
    assert seen > 5
    assert not maps[:3].any()


def test_unknown_and_ignored_truths_are_neither() -> None:
    truth = catalogue(
        [(8.5, 8.5, np.nan), (20.5, 8.5, 50.0), (30.5, 8.5, 50.0)],
        ignore=np.array([False, True, False]),
    )
    labels = make_targets(truth, SHAPE)
    assert labels.maps[8, 4, 4] == labels.maps[8, 4, 10] == 0
    assert labels.maps[0].sum() == labels.maps[0, 4, 15] == 1
    assert labels.points[:, 2].tolist() == [0, 0, 1]


def test_a_galaxy_excuses_everything_in_it_but_a_star() -> None:
    truth = Catalog.build(
        x=[16.5, 19.5, 30.5],
        y=[10.5, 11.5, 10.5],
        snr=[50.0, 20.0, 50.0],
        ignore=np.array([True, False, False]),
        radius=[3.0, 0.0, 0.0],
    )
    labels = make_targets(truth, SHAPE)
    yy, xx = np.mgrid[0:10, 0:17] * 2 + 0.5
    inside = np.hypot(xx - 16.5, yy - 10.5) < 5.9
    star = np.hypot(xx - 19.5, yy - 11.5) < 1.5
    assert star.sum() >= 3
    assert (labels.maps[8][star] == 1).all()
    assert (labels.maps[8][inside & ~star] == 0).all()
    beside = (np.hypot(xx - 16.5, yy - 10.5) > 6.1) & (xx < 16)
    assert (labels.maps[8][beside] == 1).all()
    assert labels.points[:, 3].tolist() == [6.0, 2.0, 2.0]


def test_an_undetectable_streak_is_ignored() -> None:
    truth = catalogue([], [(15.2, 9.1, 12.0, 0.4)])
    for snr, there in ((4.9, 0.0), (5.1, 1.0)):
        maps = make_targets(truth.with_columns(snr=np.array([snr])), SHAPE).maps
        on = np.hypot(maps[6], maps[7]) > 0
        assert on.sum() > 5
        assert (maps[3][on] == there).all()
        assert (maps[9][on] == there).all()


def test_without_snr_every_truth_is_known_and_none_is_fine() -> None:
    labels = make_targets(Catalog.build(x=[8.5], y=[4.5]), SHAPE)
    assert labels.points.tolist() == [[8.5, 4.5, 1.0, 2.0]]
    empty = make_targets(Catalog.empty(), SHAPE)
    assert empty.points.shape == (0, 4)
    assert empty.points.dtype == np.float32
    assert not empty.maps[:8].any()
    assert (empty.maps[8:] == 1).all()


def test_an_odd_frame_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"multiples of 2; got \(20, 33\)"):
        make_targets(Catalog.empty(), (20, 33))


def test_labels_decode_to_the_catalogue_they_came_from() -> None:
    # Targets, cells and decoding share one frame of reference over the whole map.
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(6, 90, 9.0), np.arange(5, 60, 9.0)), -1).reshape(-1, 2)
    xy = grid + rng.uniform(-1.5, 1.5, grid.shape)
    labels = make_targets(catalogue([(x, y, 9.0) for x, y in xy]), (64, 98))
    maps = labels.maps[:8].copy()
    maps[0] = 12 * maps[0] - 6
    found, _ = propose(maps, 0.5, 1000)
    assert len(found) == len(xy)
    nearest = np.linalg.norm(xy[:, None] - found[None], axis=2).min(axis=1)
    assert nearest.max() < 1e-4
