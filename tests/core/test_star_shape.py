"""The shape that a frame's stars have in common is measured, and only theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.paths import DATA, needs_data
from helpers.star_shapes import Profile, disc, ring, scattered, sky_with, star_frame, trail

from skyduel.core import Frame, read_frame
from skyduel.core.measure.star_shape import (
    StarShape,
    measure_star_shape,
    quadratic_peak,
    star_shape_note,
)


def as_frame(data: np.ndarray) -> Frame:
    return Frame(data=data.astype(np.float32), name="shapes", gain=2.0)


@pytest.mark.parametrize(
    ("profile", "along", "across", "theta"),
    [
        (trail(8, 0.4, 2.5), 7.6, 2.6, 0.4),
        (trail(15, -1.2), 14.8, 3.1, -1.2),
        (trail(25, math.pi / 2, 4.0), 24.8, 4.1, -math.pi / 2),
    ],
)
def test_trails(profile: Profile, along: float, across: float, theta: float) -> None:
    shape = measure_star_shape(star_frame(profile)[0])
    assert shape is not None
    assert shape.out_of_range
    assert shape.along == pytest.approx(along, rel=0.03)
    assert shape.across == pytest.approx(across, rel=0.06)
    assert abs((shape.theta - theta + math.pi / 2) % math.pi - math.pi / 2) < 0.03
    assert shape.profile.sum() == pytest.approx(1, abs=1e-5)
    assert shape.note.startswith(f"the stars of this frame are elongated {shape.elongation:.2g}:1")
    assert "trained to 2:1" in shape.note


@pytest.mark.parametrize(("radius", "hollow"), [(5.0, 0.75), (8.0, 0.2), (14.0, 0.1)])
def test_rings(radius: float, hollow: float) -> None:
    shape = measure_star_shape(star_frame(ring(radius))[0])
    assert shape is not None
    assert shape.out_of_range
    assert shape.along == pytest.approx(2 * radius, rel=0.03)
    assert shape.elongation < 1.05
    assert shape.centre < hollow
    assert shape.note.startswith("the stars of this frame are rings of ")


@pytest.mark.parametrize("fwhm", [2.5, 5.0, 7.0])
def test_stars_within_the_range_have_no_note(fwhm: float) -> None:
    frame, _ = star_frame(disc(fwhm))
    assert star_shape_note(frame) is None


def test_wide_stars() -> None:
    shape = measure_star_shape(star_frame(disc(12.0))[0])
    assert shape is not None
    assert shape.out_of_range
    assert shape.along == pytest.approx(12, rel=0.03)
    assert shape.note.startswith("the stars of this frame are discs of 11.9 px")


def test_neighbours_do_not_widen_the_profile() -> None:
    rng = np.random.default_rng(5)
    xy = rng.uniform(20, (480, 380), (220, 2))
    flux = np.exp(rng.uniform(np.log(2e3), np.log(1e5), 220))
    shape = measure_star_shape(as_frame(sky_with(trail(15, 0.4), xy, flux, 6)))
    assert shape is not None
    assert shape.along == pytest.approx(14.8, rel=0.05)
    assert shape.across == pytest.approx(3.1, rel=0.08)


@pytest.mark.parametrize("n", [3, 12])
def test_streaks_among_round_stars_are_not_the_stars_shape(n: int) -> None:
    data = sky_with(disc(3.0), scattered(n, n), np.full(n, 3e4), n)
    streak = trail(90, 0.7)(0.0, 0.0)
    half = streak.shape[0] // 2
    for x, y in np.random.default_rng(n).integers(half, (500 - half, 400 - half), (5, 2)):
        data[y - half : y + half + 1, x - half : x + half + 1] += 3e5 * streak
    assert star_shape_note(as_frame(data)) is None


def test_the_pieces_of_one_trail_are_no_stars() -> None:
    # A flashing satellite: pieces of one length and direction, on one line.
    along = np.arange(20, 480, 40.0)
    xy = np.column_stack([along, 40 + 0.6 * along])
    pieces = trail(18, math.atan(0.6))
    data = sky_with(pieces, xy, np.full(len(xy), 3e4), 1)
    assert star_shape_note(as_frame(data)) is None
    # The same pieces scattered over the frame are its stars.
    data = sky_with(pieces, scattered(len(xy), 2), np.full(len(xy), 3e4), 1)
    assert star_shape_note(as_frame(data)) is not None


def test_galaxies_of_any_direction_have_no_common_shape() -> None:
    xy, rng = scattered(24, 3), np.random.default_rng(4)
    data = np.zeros((400, 500))
    for place in xy:
        one = trail(12, float(rng.uniform(-1.5, 1.5)), 4.0)
        data += sky_with(one, place[None], np.array([4e4]), 0, sky=0.0)
    data += rng.normal(500, 16, data.shape)
    assert star_shape_note(as_frame(data)) is None


def test_bad_columns_and_cosmic_rays_have_no_shape() -> None:
    rng = np.random.default_rng(7)
    data = rng.normal(500, 16, (400, 500))
    for x, y in rng.integers(20, (480, 360), (40, 2)):
        data[y : y + 20, x] += 400
    assert measure_star_shape(as_frame(data)) is None


def test_noise_and_extreme_pixels_have_no_shape() -> None:
    rng = np.random.default_rng(8)
    assert measure_star_shape(as_frame(rng.normal(0, 1, (64, 64)))) is None
    assert measure_star_shape(as_frame(rng.normal(0, 1, (3, 5)))) is None
    data = rng.normal(0, 1e-20, (100, 100))
    data[::7, ::9] = 1e25
    assert measure_star_shape(as_frame(data)) is None


def test_a_mask_and_saturation_leave_sources_out() -> None:
    frame, xy = star_frame(trail(15, 0.4))
    mask = np.ones(frame.shape, dtype=bool)
    mask[:120] = False  # the few stars of a strip
    few = int((xy[:, 1] < 120).sum())
    shape = measure_star_shape(frame.with_(mask=mask))
    assert shape is None or shape.n_stars <= few
    peaks = sky_with(trail(15, 0.4), xy[:1], np.array([1.5e5]), 0).max()
    assert measure_star_shape(frame.with_(saturation=float(peaks / 50))) is None


def test_the_shape_is_measured_once_for_a_frame() -> None:
    frame, _ = star_frame(trail(15, 0.4))
    first = measure_star_shape(frame)
    assert isinstance(first, StarShape)
    assert measure_star_shape(frame) is first


def test_a_quadratic_has_its_peak_where_it_is() -> None:
    rng = np.random.default_rng(9)
    dy, dx = np.mgrid[-1:2, -1:2].astype(float)
    for _ in range(200):
        x, y = rng.uniform(-0.5, 0.5, 2)
        a, b = rng.uniform(0.5, 3, 2)
        c = rng.uniform(-0.9, 0.9) * math.sqrt(a * b)
        values = 7 - a * (dx - x) ** 2 - b * (dy - y) ** 2 - 2 * c * (dx - x) * (dy - y)
        assert quadratic_peak(values) == pytest.approx((x, y, 7))
    assert quadratic_peak(np.zeros((3, 3))) == (0.0, 0.0, 0.0)


@needs_data
@pytest.mark.parametrize(
    "name",
    ["panoptes_cygnus/solved.fits.fz", "ystar_streak/long.fits", "wfsat_crops/284.fits",
     "skymaker/aberrated_000.fits.fz", "skymaker/crowded_000.fits.fz"],
)  # fmt: skip
def test_real_and_foreign_frames_are_in_range(name: str) -> None:
    assert star_shape_note(read_frame(DATA / name)) is None
