"""Streak fits improve rough streaks, and leave hopeless ones unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy

from skyduel.core import Frame
from skyduel.core.measure.background import estimate_background
from skyduel.detect.inference.streak_fit import SegmentResidual, refine_streaks
from skyduel.simulation import make_psf
from skyduel.simulation.render import render_points, streak_points

PSF = make_psf(2.6)


def frame_with(
    streak: tuple[float, float, float, float] | None,
    per_fwhm: float,
    seed: int,
    shape: tuple[int, int] = (140, 180),
    stars: int = 6,
) -> Frame:
    """Return noise of σ = 10 with a streak of the given S/N per FWHM, and stars."""
    rng = np.random.default_rng(seed)
    data = rng.normal(1000, 10, shape)
    if streak is not None:
        x, y, length, theta = streak
        px, py = streak_points(x, y, length, theta)
        across = 2.3548 / (2 * np.sqrt(np.pi) * PSF.fwhm)
        flux = per_fwhm * 10 / np.sqrt(across * PSF.fwhm) * length
        data += render_points(shape, px, py, np.full(px.size, flux / px.size), PSF, 0.0)
    sx, sy = rng.uniform(0, shape[1], stars), rng.uniform(0, shape[0], stars)
    data += render_points(shape, sx, sy, 10 ** rng.uniform(2.5, 4, stars), PSF, 0.0)
    return Frame(data=data.astype(np.float32), name="streak")


def fit(frame: Frame, *rough: tuple[float, ...]) -> np.ndarray:
    return refine_streaks(frame, estimate_background(frame), np.array(rough, dtype=float))


def turn(a: float, b: float) -> float:
    return abs((a - b + np.pi / 2) % np.pi - np.pi / 2)


def test_rough_streaks_become_true() -> None:
    rng = np.random.default_rng(1)
    errors = []
    for seed in range(24):
        length = float(rng.uniform(20, 70))
        truth = (rng.uniform(50, 130), rng.uniform(50, 90), length, rng.uniform(-1.57, 1.57))
        frame = frame_with(truth, float(rng.uniform(5, 20)), seed)
        rough = (
            truth[0] + rng.normal(0, 2), truth[1] + rng.normal(0, 1),
            length * rng.uniform(0.75, 1.25), truth[3] + rng.normal(0, 0.04), 0.7,
        )  # fmt: skip
        (got,) = fit(frame, rough)
        errors.append(
            (
                got[2] / length - 1,
                np.rad2deg(turn(got[3], truth[3])),
                np.hypot(got[0] - truth[0], got[1] - truth[1]),
            )
        )
        assert got[4] == 0.7
        assert -np.pi / 2 <= got[3] < np.pi / 2
    scale, angle, place = np.abs(np.array(errors)).T
    assert np.mean(scale < 0.1) > 0.9
    assert np.mean(angle < 3) > 0.9
    assert np.median(place) < 0.5


def test_a_faint_long_streak_gets_longer_than_its_bright_part() -> None:
    truth = (90.0, 70.0, 110.0, 0.35)
    (got,) = fit(frame_with(truth, 6.0, 3, stars=3), (80.0, 66.5, 75.0, 0.36, 0.5))
    assert got[2] == pytest.approx(110, rel=0.08)
    assert got[0] == pytest.approx(90, abs=3)


def test_a_known_star_beyond_an_end_is_not_taken_for_the_streak() -> None:
    wrong = {"unknown": 0, "known": 0}
    for seed in range(12):
        theta = 0.25 * seed - 1.4
        truth = (90.0, 70.0, 26.0, theta)
        frame = frame_with(truth, 8.0, seed, stars=0)
        at = 26.0 / 2 + 6.0
        star = np.array([[90.0 + at * np.cos(theta), 70.0 + at * np.sin(theta)]])
        data = frame.data + render_points(frame.shape, *star.T, np.array([4000.0]), PSF, 0.0)
        frame = Frame(data=data.astype(np.float32), name="star", fwhm=PSF.fwhm)
        rough, sky = np.array([[90.0, 70.0, 26.0, theta, 0.7]]), estimate_background(frame)
        for name, points in (("unknown", None), ("known", star)):
            (got,) = refine_streaks(frame, sky, rough, points)
            wrong[name] += abs(got[2] / 26.0 - 1) > 0.1
    assert wrong["unknown"] > 6
    assert wrong["known"] <= 2


def test_a_point_on_the_streak_is_its_own_light() -> None:
    truth = (90.0, 70.0, 40.0, 0.4)
    frame = frame_with(truth, 8.0, 5)
    rough, sky = np.array([[*truth, 0.7]]), estimate_background(frame)
    on_it = np.array([[90.0 + r * np.cos(0.4), 70.0 + r * np.sin(0.4)] for r in (-18, 0, 19)])
    np.testing.assert_array_equal(
        refine_streaks(frame, sky, rough, on_it), refine_streaks(frame, sky, rough)
    )


def test_noise_is_left_alone() -> None:
    rough = (90.0, 70.0, 40.0, 0.3, 0.4)
    left = [
        np.array_equal(fit(frame_with(None, 0, seed, stars=0), rough)[0], rough)
        for seed in range(10)
    ]
    assert sum(left) >= 9


def test_masked_pixels_take_no_part() -> None:
    truth = (90.0, 70.0, 40.0, 0.2)
    clean = frame_with(truth, 12.0, 5, stars=0)
    data, mask = clean.data.copy(), np.zeros(clean.shape, dtype=bool)
    mask[:, 100:104] = True
    data[mask] = 60000
    (got,) = fit(clean.with_(data=data, mask=mask), (*truth, 0.8))
    assert got[2] == pytest.approx(40, rel=0.08)
    assert turn(got[3], 0.2) < 0.03


def test_streaks_end_at_the_border() -> None:
    frame = frame_with((175.0, 70.0, 60.0, 0.0), 12.0, 6, stars=0)
    (got,) = fit(frame, (165.0, 70.0, 30.0, 0.02, 0.9))
    assert got[0] + got[2] / 2 == pytest.approx(179.5, abs=0.3)
    assert got[0] - got[2] / 2 == pytest.approx(145.0, abs=1.0)


def test_a_trail_across_the_frame_and_none_at_all() -> None:
    truth = (300.0, 150.0, 560.0, 0.4)
    frame = frame_with(truth, 6.0, 7, shape=(300, 600))
    (got,) = fit(frame, (310.0, 153.0, 500.0, 0.405, 0.9))
    assert got[2] == pytest.approx(560, rel=0.03)
    assert turn(got[3], 0.4) < 0.005
    nothing = refine_streaks(frame, estimate_background(frame), np.zeros((0, 5)))
    assert nothing.shape == (0, 5)
    outside = (5.0, 2.0, 3.0, 0.0, 0.5)
    assert np.isfinite(fit(frame_with(None, 0, 8, (16, 16), 0), outside)).all()


def pixels_of_a_segment(seed: int, sign: float = 1.0) -> SegmentResidual:
    """Return a noisy segment of 21 px at the angle 0.05, on pixels that are not evenly placed."""
    rng = np.random.default_rng(seed)
    along, across = rng.uniform(-30, 30, 900), rng.uniform(-8, 8, 900)
    light = sign * 6.0 * np.exp(-0.5 * ((across - 0.05 * along) / 1.4) ** 2) * (abs(along) < 10.5)
    return SegmentResidual(along, across, light + rng.normal(2.0, 1.0, 900))


def test_the_derivatives_are_those_of_the_residuals() -> None:
    rng = np.random.default_rng(11)
    for seed in range(20):
        pixels = pixels_of_a_segment(seed)
        low, high = [-5.0, -2.0, 3.0, -0.13, 0.6], [5.0, 2.0, 45.0, 0.13, 4.0]
        p = rng.uniform(low, high)
        expected = np.empty((900, 5))
        for column, step in enumerate(np.diag([1e-5, 1e-5, 1e-5, 1e-6, 1e-5])):
            expected[:, column] = (pixels(p + step) - pixels(p - step)) / (2 * step[column])
        assert np.abs(expected).max(axis=0).min() > 0.01
        # Also asked for at another place than the residuals last were.
        np.testing.assert_allclose(pixels.jacobian(p), expected, rtol=1e-6, atol=1e-7)


def test_a_dark_segment_has_no_brightness_and_no_derivatives() -> None:
    pixels = pixels_of_a_segment(0, sign=-1.0)
    p = np.array([0.5, 0.1, 20.0, 0.04, 1.5])
    np.testing.assert_array_equal(pixels.jacobian(p), np.zeros((900, 5)))
    np.testing.assert_array_equal(pixels(p), pixels(p + 0.01))


def test_the_fit_is_that_with_numerical_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    cases = []
    for seed in range(16):
        length = float(rng.uniform(12, 70))
        x, y, theta = rng.uniform(50, 130), rng.uniform(50, 90), rng.uniform(-1.57, 1.57)
        # Every fourth is noise.
        per_fwhm = 0.0 if seed % 4 == 0 else float(rng.uniform(2, 20))
        rough = x + rng.normal(0, 2), y + rng.normal(0, 1), length * 1.2, theta + 0.04, 0.7
        frame = frame_with((x, y, length, theta) if per_fwhm else None, per_fwhm, seed)
        cases.append((frame, rough))
    exact = np.array([fit(*case)[0] for case in cases])
    solve, asked = scipy.optimize.least_squares, []

    def numerical(*args: Any, **options: Any) -> Any:
        asked.append(options.pop("jac"))
        return solve(*args, jac="2-point", **options)

    monkeypatch.setattr(scipy.optimize, "least_squares", numerical)
    other = np.array([fit(*case)[0] for case in cases])
    assert len(asked) == len(cases)
    rough = np.array([case[1] for case in cases])
    left = (exact == rough).all(axis=1)
    np.testing.assert_array_equal(left, (other == rough).all(axis=1))
    assert 0 < left.sum() < 8
    assert np.hypot(*(exact - other)[:, :2].T).max() <= 0.01
    assert np.abs(exact - other)[:, 2].max() <= 0.02
    assert max(turn(a, b) for a, b in zip(exact[:, 3], other[:, 3], strict=True)) < 1e-4
