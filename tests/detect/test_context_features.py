"""Tests of the context features: the PSF and the surroundings of a position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

import skyduel.core.native.context
import skyduel.detect.inference.context_features
from skyduel.core import native
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.detect.inference.context_features import measure_context_features, measure_profile
from skyduel.detect.model.score_model import CONTEXT_FEATURES

NY, NX = 90, 130
COLUMN = {name: i for i, name in enumerate(CONTEXT_FEATURES)}


def flat(ny: int = NY, nx: int = NX, rms: float = 1.0) -> Background:
    level = np.full((ny, nx), 100.0, dtype=np.float32)
    return Background(level, np.full((ny, nx), rms, dtype=np.float32), 100.0, rms)


def stars(
    xy: np.ndarray, amplitude: np.ndarray, sigma: float, *, noise: float = 0.0, **facts: object
) -> Frame:
    y, x = np.mgrid[:NY, :NX]
    data = 100 + noise * np.random.default_rng(1).standard_normal((NY, NX))
    for (px, py), a in zip(xy, amplitude, strict=True):
        data += a * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return Frame(data=data.astype(np.float32), name="stars", **facts)


def grid(step: int = 20) -> np.ndarray:
    x, y = np.meshgrid(np.arange(15, NX - 10, step), np.arange(15, NY - 10, step))
    xy = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    return xy + np.random.default_rng(2).uniform(-0.5, 0.5, xy.shape)


def gaussian(sigma: float) -> np.ndarray:
    g = np.arange(-5, 6)
    p = np.exp(-(g[:, None] ** 2 + g[None, :] ** 2) / (2 * sigma**2))
    return p / p.sum()


@pytest.mark.parametrize("sigma", [1.0, 1.7])
def test_the_profile_is_that_of_the_stars_on_the_frame(sigma: float) -> None:
    xy = grid()
    frame = stars(xy, np.geomspace(40, 500, len(xy)), sigma, noise=1.0, fwhm=9.0)
    profile = measure_profile(frame, flat(), xy, np.full(len(xy), 6.0))
    assert profile.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(profile - gaussian(sigma)).max() < 0.06 * gaussian(sigma).max()


def test_without_bright_sure_stars_it_is_the_stated_one() -> None:
    xy = grid()
    want = gaussian(2.4 / 2.3548)
    unsure = stars(xy, np.full(len(xy), 200.0), 1.5, fwhm=2.4)
    faint = stars(xy, np.full(len(xy), 0.5), 1.5, fwhm=2.4)
    for frame, logit in ((unsure, 1.0), (faint, 9.0)):
        profile = measure_profile(frame, flat(), xy, np.full(len(xy), logit))
        np.testing.assert_allclose(profile, want, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.55, 1.3, 2.5])
def test_with_nothing_stated_it_is_as_wide_as_suits_the_surest(sigma: float) -> None:
    xy = grid(40)
    frame = stars(xy, np.full(len(xy), 14.0), sigma, noise=1.0)
    assert frame.fwhm is None
    profile = measure_profile(frame, flat(), xy, np.full(len(xy), 0.5))
    area = 1 / (profile**2).sum()
    assert area == pytest.approx(1 / (gaussian(sigma) ** 2).sum(), rel=0.35)
    nothing = measure_profile(frame, flat(), np.zeros((0, 2)), np.zeros(0))
    assert 1 / (nothing**2).sum() == pytest.approx(4 * np.pi * (3 / 2.3548) ** 2, rel=0.05)


@given(seed=st.integers(0, 200), amplitude=st.floats(0.5, 20), rms=st.sampled_from([1.0, 7.0]))
@settings(max_examples=25, deadline=None)
def test_matched_is_the_signal_to_noise_of_the_best_filter(
    seed: int, amplitude: float, rms: float
) -> None:
    rng = np.random.default_rng(seed)
    place = rng.uniform((20, 20), (NX - 20, NY - 20), (1, 2))
    frame = stars(place, np.array([amplitude * rms]), 1.5, fwhm=1.5 * 2.3548)
    got = measure_context_features(frame, flat(rms=rms), place, np.zeros(1))[0]
    # Within the error of a phase of at most 1/8 px in x and y.
    best = amplitude * np.sqrt(np.pi * 1.5**2)
    assert got[COLUMN["matched"]] == pytest.approx(best, rel=0.02)
    assert got[COLUMN["narrow"]] < got[COLUMN["matched"]]
    assert got[COLUMN["wide"]] < got[COLUMN["matched"]]
    assert abs(got[COLUMN["highest"]]) < 0.3


def test_a_cosmic_ray_is_narrower_and_a_galaxy_wider_than_the_profile() -> None:
    xy = np.array([[40.0, 40.0], [90.0, 40.0]])
    frame = stars(xy, np.zeros(2), 1.0, fwhm=3.0)
    data = frame.data.copy()
    data[40, 40] += 30
    y, x = np.mgrid[:NY, :NX]
    data += 10 * np.exp(-((x - 90) ** 2 + (y - 40) ** 2) / (2 * 3.5**2)).astype(np.float32)
    ray, galaxy = measure_context_features(frame.with_(data=data), flat(), xy, np.zeros(2))
    assert ray[COLUMN["narrow"]] > 1.4 * ray[COLUMN["matched"]]
    assert ray[COLUMN["centre"]] > 4
    assert galaxy[COLUMN["wide"]] > 1.2 * galaxy[COLUMN["matched"]]
    assert galaxy[COLUMN["ring"]] > 0.5
    assert abs(ray[COLUMN["ring"]]) < 0.1


def test_lines_are_told_by_their_direction() -> None:
    xy = np.array([[40.0, 50.0], [100.0, 20.0]])
    data = np.full((NY, NX), 100, dtype=np.float32)
    data[:, 40] += 3
    data[20, :] += 2
    column, row = measure_context_features(Frame(data=data, name="lines"), flat(), xy, np.zeros(2))
    for name, want in (("column", 3), ("column_far", 3), ("row", 0), ("row_far", 0)):
        assert column[COLUMN[name]] == pytest.approx(want, abs=1e-4)
    for name, want in (("row", 2), ("row_far", 2), ("column", 0)):
        assert row[COLUMN[name]] == pytest.approx(want, abs=1e-4)


def test_masked_pixels_and_the_rim_take_no_part() -> None:
    rng = np.random.default_rng(4)
    data = (100 + rng.standard_normal((NY, NX))).astype(np.float32)
    mask = np.zeros((NY, NX), dtype=bool)
    mask[38:43, 40] = True
    xy = np.array([[41.0, 40.0], [0.2, 0.3], [NX - 0.6, NY - 0.6], [-0.4, 50.0]])
    one = measure_context_features(Frame(data=data, mask=mask, name="a"), flat(), xy, np.zeros(4))
    data[mask] += 5000
    other = measure_context_features(Frame(data=data, mask=mask, name="b"), flat(), xy, np.zeros(4))
    np.testing.assert_array_equal(one, other)
    assert np.isfinite(one).all()
    everything = Frame(data=data, mask=~mask, name="c")
    assert np.isfinite(measure_context_features(everything, flat(), xy, np.zeros(4))).all()


def test_it_does_not_matter_in_which_groups_places_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    xy = np.concatenate([grid(), rng.uniform((0, 0), (NX - 1, NY - 1), (60, 2))])
    frame = stars(xy, rng.uniform(0, 90, len(xy)), 1.3, noise=1.0)
    logit = rng.normal(2, 3, len(xy))
    want = measure_context_features(frame, flat(), xy, logit)
    monkeypatch.setattr(skyduel.detect.inference.context_features, "_BAND", 17)
    monkeypatch.setattr(skyduel.detect.inference.context_features, "_AT_ONCE", 7)
    np.testing.assert_allclose(measure_context_features(frame, flat(), xy, logit), want, atol=1e-5)
    order = rng.permutation(len(xy))
    turned = measure_context_features(frame, flat(), xy[order], logit[order])
    np.testing.assert_allclose(turned, want[order], atol=1e-5)


@given(seed=st.integers(0, 500), n=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_nearest_surer_one_is_that_of_the_definition(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(20, 50, (n, 2))
    logit = rng.integers(-2, 3, n).astype(float)
    frame = Frame(data=np.full((NY, NX), 100, dtype=np.float32), name="blank")
    got = measure_context_features(frame, flat(), xy, logit)[
        :, [COLUMN["nearest"], COLUMN["excess"]]
    ]
    for i in range(n):
        distance = np.hypot(*(xy - xy[i]).T)
        eight = [j for j in np.argsort(distance) if j != i][:8]
        surer = [j for j in eight if logit[j] > logit[i] and distance[j] < 12]
        want = (distance[surer[0]], logit[surer[0]] - logit[i]) if surer else (12, 0)
        np.testing.assert_allclose(got[i], want, rtol=1e-5)


def test_of_nothing_nothing_is_said_and_a_crowd_is_counted_per_area() -> None:
    frame = Frame(data=np.full((NY, NX), 100, dtype=np.float32), name="blank")
    assert measure_context_features(frame, flat(), np.zeros((0, 2)), np.zeros(0)).shape == (0, 15)
    xy = grid()
    for sure in (0, 9):
        logit = np.where(np.arange(len(xy)) < sure, 5.0, 0.0)
        got = measure_context_features(frame, flat(), xy, logit)[:, COLUMN["crowd"]]
        np.testing.assert_allclose(got, np.log10(sure / (NY * NX) * 1e6 + 10), rtol=1e-6)


def nearest_higher(xy: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Distance and logit difference of the nearest higher one of the eight nearest within 12 px."""
    out = np.tile([12.0, 0.0], (len(xy), 1))
    for k, (distance, index) in enumerate(
        zip(*KDTree(xy).query(xy, np.arange(2, 10), distance_upper_bound=12.0), strict=True)
    ):
        for d, j in zip(distance, index, strict=True):
            if np.isfinite(d) and logit[j] > logit[k]:
                out[k] = d, min(logit[j] - logit[k], 20)
                break
    return out.astype(np.float32)


@pytest.mark.parametrize(("n", "side", "at_once"), [(1, 9, 7), (400, 60, 37), (900, 1500, 1000)])
def test_the_nearest_proposal_of_higher_logit_is_found_in_every_digit(
    n: int, side: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n)
    xy, logit = rng.uniform(0, side - 1, (n, 2)), rng.normal(0, 12, n).round()
    monkeypatch.setattr(
        skyduel.detect.inference.context_features, "_PAIRED_AT_ONCE", at_once, raising=True
    )
    features = measure_context_features(
        Frame(data=rng.normal(100, 1, (side, side)).astype(np.float32), name="noise"),
        flat(side, side), xy, logit,
    )  # fmt: skip
    np.testing.assert_array_equal(features[:, 13:], nearest_higher(xy, logit))


@pytest.mark.skipif(not native.is_available(), reason="core/native has not been built")
@pytest.mark.parametrize("masked", [False, True])
def test_the_kernel_agrees_with_numpy(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    xy = rng.uniform([-0.4, -0.4], [NX - 0.6, NY - 0.6], (400, 2))  # to the very border
    frame = stars(xy[:60], rng.uniform(5, 900, 60), 1.2, noise=1.0)
    if masked:
        frame = replace(frame, mask=rng.random((NY, NX)) < 0.2)
    logit = rng.normal(1, 4, len(xy)).round(1)  # some are equal
    xy[200:260] = xy[:60] + rng.uniform(-3, 3, (60, 2))
    xy = xy.clip(-0.4, [NX - 0.6, NY - 0.6])
    fast = measure_context_features(frame, flat(), xy, logit)
    monkeypatch.setattr(skyduel.core.native.context, "library", lambda: None)
    slow = measure_context_features(frame, flat(), xy, logit)
    np.testing.assert_allclose(fast, slow, rtol=2e-5, atol=2e-5)
    assert (slow[:, 13] < 12).mean() > 0.5


@pytest.mark.skipif(not native.is_available(), reason="core/native has not been built")
@given(seed=st.integers(0, 10_000), n=st.integers(0, 80), spread=st.sampled_from([8.0, 60.0, 3e4]))
@settings(max_examples=60, deadline=None)
def test_the_nearest_higher_neighbour_is_that_of_all_pairs(
    seed: int, n: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    xy, value = rng.uniform(0, spread, (n, 2)), rng.integers(0, 6, n).astype(float)
    want = np.tile([12.0, 0.0], (n, 1))
    for k in range(n):
        distance = np.sqrt(((xy - xy[k]) ** 2).sum(axis=1))
        near = [j for j in np.argsort(distance) if j != k and distance[j] < 12.0]
        for nearer, j in enumerate(near[:8]):
            if value[j] > value[k]:
                want[k] = distance[j], value[j] - value[k]
                assert nearer < 8
                break
    found = native.nearest_higher(xy, value, 12.0, 8)
    assert found is not None
    np.testing.assert_array_equal(found, want)
