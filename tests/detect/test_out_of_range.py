"""Trailed and defocused stars: one row a star, measured on the frame itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.star_shapes import Profile, disc, ring, scattered, sky_with, star_frame, trail
from scipy.spatial import KDTree

from skyduel.core import Catalog, Frame, estimate_background
from skyduel.core.measure.star_shape import StarShape, measure_star_shape
from skyduel.detect import detector as detector_module
from skyduel.detect.detector import OUT_OF_RANGE, neural
from skyduel.detect.inference.compact_frame import CoarseGrid, compact_frame
from skyduel.detect.inference.profile_match import ProfileMatch
from skyduel.simulation import sign_flipped


@pytest.fixture(scope="module")
def network() -> object:
    return neural(threads=1)


def shape_of(frame: Frame) -> StarShape:
    shape = measure_star_shape(frame)
    assert shape is not None
    return shape


def match(frame: Frame) -> ProfileMatch:
    return ProfileMatch(frame, estimate_background(frame), shape_of(frame))


def sure(found: Catalog) -> Catalog:
    return found.select(found["score"] >= 0.5)


@pytest.mark.parametrize(
    "profile",
    [trail(8, 0.4, 2.5), trail(15, -0.9), trail(25, 1.5), ring(5), ring(10), ring(14), disc(11.0)],
)
def test_one_row_for_a_star(network, profile: Profile) -> None:
    frame, xy = star_frame(profile)
    rows = sure(network(frame))
    assert 30 <= len(rows) <= 32
    apart, nearest = KDTree(rows.xy).query(xy)
    assert len(set(nearest)) == 30
    assert apart.max() < 1
    assert (rows["flags"] == OUT_OF_RANGE).all()
    assert not rows.is_streak.any()
    # Positions scatter as they say: 3 sigma in x and in y.
    assert np.mean(apart < 3 * math.sqrt(2) * rows["xy_err"][nearest]) > 0.9


@pytest.mark.parametrize("profile", [trail(15, -0.9), ring(10)])
def test_a_flipped_frame_is_looked_at_like_the_frame_itself(network, profile: Profile) -> None:
    frame, _ = star_frame(profile)
    flipped = sign_flipped(frame, keep_sigma=math.inf).frame
    assert measure_star_shape(flipped) is shape_of(frame)
    false = network(flipped)
    assert len(sure(false)) <= 1
    assert (false["flags"] == OUT_OF_RANGE).all()


def test_fluxes_are_those_of_whole_stars(network) -> None:
    xy = scattered(12, 3)
    flux = np.full(12, 6e4)
    frame = Frame(
        data=sky_with(ring(9), xy, flux, 4).astype(np.float32), name="r", gain=2.0, zero_point=25.0
    )
    rows = sure(network(frame))
    assert len(rows) == 12
    assert np.median(rows["flux"]) == pytest.approx(0.92 * 6e4, rel=0.04)
    assert np.median(rows["mag"]) == pytest.approx(25 - 2.5 * math.log10(0.92 * 6e4), abs=0.05)
    # The common aperture of 3 px lies in the hole of the ring.
    assert np.median(rows["aper_flux"]) < 0.1 * 6e4


def test_a_satellite_is_a_streak_among_trails(network) -> None:
    frame, xy = star_frame(trail(15, 0.4))
    streak = trail(220, -0.6)(0.0, 0.0)
    half = streak.shape[0] // 2
    data = frame.data.astype(np.float64)
    data[200 - half : 201 + half, 250 - half : 251 + half] += 2e5 * streak
    rows = sure(network(frame.with_(data=data.astype(np.float32))))
    line = rows.select(rows.is_streak)
    assert len(line) == 1
    assert line["length"][0] == pytest.approx(220, rel=0.05)
    assert line["theta"][0] == pytest.approx(-0.6, abs=0.02)
    assert math.hypot(line["x"][0] - 250, line["y"][0] - 200) < 5
    away = np.abs((xy - [250, 200]) @ [math.sin(-0.6), -math.cos(-0.6)]) > 20
    apart, _ = KDTree(rows.select(~rows.is_streak).xy).query(xy[away])
    assert apart.max() < 1


def test_frames_in_range_are_seen_as_they_are(network, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, _ = star_frame(disc(3.0))
    found = network(frame)
    assert (found["flags"] == 0).all()
    monkeypatch.setattr(detector_module, "measure_star_shape", lambda *_: None)
    again = network(frame)
    for name in found.table.colnames:
        np.testing.assert_array_equal(again[name], found[name])


def test_variants_see_the_same_frame(network) -> None:
    frame, _ = star_frame(trail(15, 0.4))
    (same, wider) = network.variants(frame, [{}, {"nms_sigma": 0.9}])
    np.testing.assert_array_equal(same["score"], network(frame)["score"])
    assert len(sure(wider)) == len(sure(same))


@pytest.mark.parametrize("theta", [0.0, 0.4, -1.1, math.pi / 2])
def test_a_grid_covers_the_frame(theta: float) -> None:
    stars = StarShape(14.0, 3.5, theta, 0.9, 9, np.ones((3, 3), np.float32) / 9)
    grid = CoarseGrid.of(stars, (90, 140))
    assert grid.steps == (4.0, 1.0)
    rng = np.random.default_rng(1)
    uv = rng.uniform(0, grid.shape[::-1], (100, 2)) - 0.5
    step = grid.to_frame(uv + np.array([1, 0])) - grid.to_frame(uv)
    np.testing.assert_allclose(
        step, np.tile([4 * math.cos(theta), 4 * math.sin(theta)], (100, 1)), atol=1e-9
    )
    # Every pixel of the frame lies in a pixel of the grid.
    frame = Frame(data=rng.normal(0, 1, (90, 140)).astype(np.float32), name="g")
    seen, _ = compact_frame(frame, estimate_background(frame), grid)
    assert np.count_nonzero(~seen.bad) * 4 == pytest.approx(90 * 140, rel=0.06)
    # A direction on the grid and a length along it are those of its points on the frame.
    for angle in (0.0, 0.3, -1.2):
        ends = grid.to_frame(np.array([[0, 0], [math.cos(angle), math.sin(angle)]]))
        (dx, dy) = ends[1] - ends[0]
        turn = grid.direction(np.array([angle]))[0] - math.atan2(dy, dx)
        assert math.sin(turn) == pytest.approx(0, abs=1e-9)
        assert grid.stretch(np.array([angle]))[0] == pytest.approx(math.hypot(dx, dy))


@pytest.mark.parametrize("theta", [0.0, 0.4])
def test_noise_on_the_grid_is_that_of_its_area(theta: float) -> None:
    stars = StarShape(14.0, 7.0, theta, 0.9, 9, np.ones((3, 3), np.float32) / 9)
    rng = np.random.default_rng(2)
    frame = Frame(data=rng.normal(100, 5, (400, 400)).astype(np.float32), name="n")
    grid = CoarseGrid.of(stars, frame.shape)
    seen, background = compact_frame(frame, estimate_background(frame), grid)
    inner = seen.data[40:160, 20:80]
    blocks = inner.reshape(20, 6, 10, 6).sum(axis=(1, 3)) / 6
    assert blocks.std() == pytest.approx(1, abs=0.15)
    assert (background.level == 0).all()


def test_masked_pixels_leave_masked_coarse_ones() -> None:
    data = np.random.default_rng(3).normal(100, 5, (120, 160)).astype(np.float32)
    mask = np.zeros(data.shape, dtype=bool)
    mask[:, 80:] = True
    frame = Frame(data=data, mask=mask, name="m")
    stars = StarShape(14.0, 14.0, 0.0, 0.1, 9, np.ones((3, 3), np.float32) / 9)
    seen, _ = compact_frame(frame, estimate_background(frame), CoarseGrid.of(stars, frame.shape))
    np.testing.assert_array_equal(seen.bad, np.arange(40) >= 20 + 0 * np.arange(30)[:, None])


def test_close_pairs_stay_apart() -> None:
    xy = scattered(30, 5)
    turn = np.linspace(0, math.pi, 10)
    pairs = xy[:10] + 12 * np.column_stack([np.cos(turn), np.sin(turn)])
    places = np.concatenate([xy, pairs])
    data = sky_with(ring(10), places, np.full(40, 5e4), 6)
    found = match(Frame(data=data.astype(np.float32), name="p", gain=2.0))
    bright = found.xy[found.snr > 8]
    assert len(bright) == 40
    apart, nearest = KDTree(bright).query(places)
    assert len(set(nearest)) == 40
    assert apart.max() < 1


def test_hot_pixels_are_no_stars() -> None:
    frame, xy = star_frame(ring(8))
    data = frame.data.copy()
    rng = np.random.default_rng(8)
    data[tuple(rng.integers(0, (400, 500), (200, 2)).T)] += 4000
    found = match(frame.with_(data=data))
    bright = found.xy[found.snr > 8]
    assert len(bright) == 30
    assert KDTree(bright).query(xy)[0].max() < 1


def test_noise_peaks_are_as_many_as_expected() -> None:
    # The probability is one half where sources and peaks of the noise are equally many.
    stars = shape_of(star_frame(trail(12, 0.4))[0])
    found, expected = 0, 0.0
    for seed in range(6):
        data = np.random.default_rng(seed).normal(500, 16, (400, 500)).astype(np.float32)
        noise = Frame(data=data, name="noise")
        peaks = ProfileMatch(noise, estimate_background(noise), stars)
        found += int((peaks.snr > 4).sum())
        # Sources are one per interval of ln u: the odds are the peaks per interval.
        u = np.linspace(4, 7, 301)
        p = peaks.probability(u, np.zeros(u.size, dtype=bool))
        expected += float(np.trapezoid((1 - p) / p / u, u))
    assert found == pytest.approx(expected, abs=3 * math.sqrt(expected) + 3)


def test_probability_grows_with_the_signal() -> None:
    frame, _ = star_frame(trail(12, 0.4))
    found = match(frame)
    p = found.probability(np.linspace(0, 60, 500), np.zeros(500, dtype=bool))
    assert (np.diff(p) >= 0).all()
    assert p[0] < 0.01
    assert p[-1] > 0.999
    # The more sure sources there are, the likelier is a faint one.
    few = found.probability(np.r_[4.5, np.full(2, 50.0)], np.ones(3, dtype=bool))
    many = found.probability(np.r_[4.5, np.full(200, 50.0)], np.ones(201, dtype=bool))
    assert many[0] > few[0]
    assert (np.diff(found.position_error(np.linspace(1, 100, 50))) <= 0).all()
    assert found.radius(0.9) == pytest.approx(6, abs=1.5)
