"""Tests of the pixel features: sharpness, and lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from skyduel.core import Catalog, Frame, gaussian_sharpness, pixel_features
from skyduel.core.measure.background import Background
from skyduel.core.measure.mask_distance import mask_distance

NY, NX, FWHM, SIGMA = 130, 190, 2.6, 5.0


def frame(data: np.ndarray, fwhm: float | None = FWHM, **facts: object) -> Frame:
    return Frame(data=data.astype(np.float32), name="made", fwhm=fwhm, **facts)


def flat(shape: tuple[int, int], sigma: float = SIGMA) -> Background:
    level = np.zeros(shape, np.float32)
    return Background(level, np.full(shape, sigma, np.float32), 0.0, sigma)


def star(x: float, y: float, peak: float, fwhm: float = FWHM) -> np.ndarray:
    rows, columns = np.mgrid[:NY, :NX]
    return peak * np.exp(-4 * np.log(2) * ((columns - x) ** 2 + (rows - y) ** 2) / fwhm**2)


def facts(data: np.ndarray, x: object, y: object, **options: object) -> Catalog:
    made = frame(data, **options)
    return pixel_features(made, Catalog.build(x=x, y=y), background=flat(made.shape))


@given(dx=st.floats(-0.5, 0.5), dy=st.floats(-0.5, 0.5), fwhm=st.floats(1.2, 5.0))
@settings(max_examples=25, deadline=None)
def test_no_star_is_sharper_than_one_centred_on_its_pixel(
    dx: float, dy: float, fwhm: float
) -> None:
    x, y = 60 + dx, 41 + dy
    got = facts(star(x, y, 1000.0, fwhm), [x], [y], fwhm=fwhm)["sharpness"][0]
    assert got <= gaussian_sharpness(fwhm) + 1e-6
    centred = facts(star(60, 41, 1000.0, fwhm), [60.0], [41.0], fwhm=fwhm)["sharpness"][0]
    assert centred == pytest.approx(gaussian_sharpness(fwhm), abs=1e-6)


def test_a_lone_pixel_is_one_and_a_plateau_zero() -> None:
    data = np.zeros((NY, NX))
    data[30, 20] = 400.0
    data[60:90, 100:140] = 80.0
    got = facts(data, [21.0, 120.0, 5.0], [30.0, 75.0, 5.0])
    np.testing.assert_allclose(got["sharpness"][:2], [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(got["peak_snr"][:2], [80.0, 16.0], rtol=1e-6)
    assert np.isnan(got["sharpness"][2])  # nothing above the sky


def test_the_peak_counts_its_photons_where_the_gain_is_known() -> None:
    data = np.zeros((NY, NX))
    data[30, 20] = 400.0
    got = facts(data, [20.0], [30.0], gain=2.0)["peak_snr"][0]
    assert got == pytest.approx(400 / np.sqrt(SIGMA**2 + 400 / 2.0))


def test_the_stated_error_is_the_scatter() -> None:
    rng = np.random.default_rng(3)
    n, peak = 400, 60.0
    wide = np.zeros((NY, NX))
    xs, ys = (a.ravel() for a in np.meshgrid(np.arange(6, NX - 6, 9), np.arange(6, NY - 6, 9)))
    xs, ys = xs[:n], ys[:n]
    for x, y in zip(xs, ys, strict=True):
        wide[y - 3 : y + 4, x - 3 : x + 4] += star(20, 20, peak)[17:24, 17:24]
    got = facts(wide + rng.normal(0, SIGMA, wide.shape), xs.astype(float), ys.astype(float))
    true = gaussian_sharpness(FWHM)
    z = (got["sharpness"] - true) * got["peak_snr"] / np.sqrt(1 / 8 + (1 - true) ** 2)
    assert abs(np.mean(z)) < 0.5  # the brightest pixel is a little too bright
    assert 0.8 < np.std(z) < 1.15


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("level", [20.0, -20.0])
def test_a_line_gives_its_level_times_the_chord(axis: int, level: float) -> None:
    rng = np.random.default_rng(5)
    data = rng.normal(0, SIGMA, (NY, NX))
    if axis == 0:
        data[:, 77] += level
        at = (77.0, 50.0)
    else:
        data[50, :] += level
        at = (77.0, 50.0)
    got = facts(data, [at[0], at[0] + 20], [at[1], at[1] + 20])
    error = got["line_flux_err"][0]
    assert abs(got["line_flux"][0] - level * 2 * FWHM) < 4 * error
    assert abs(got["line_flux"][1]) < 5 * got["line_flux_err"][1]
    assert error == pytest.approx(
        SIGMA * 1.2533 / 8 * np.sqrt(sum(4 * (FWHM**2 - k * k) for k in range(-2, 3))), rel=1e-5
    )


def test_a_line_that_begins_within_the_frame_is_seen_where_it_is() -> None:
    data = np.random.default_rng(6).normal(0, SIGMA, (400, NX))
    data[200:, 77] += 30
    got = facts(data, [77.0, 77.0], [60.0, 330.0])
    assert abs(got["line_flux"][0]) < 5 * got["line_flux_err"][0]
    assert got["line_flux"][1] > 20 * got["line_flux_err"][1]


def test_a_star_makes_no_line() -> None:
    data = star(70, 60, 5000.0)
    got = facts(data, [70.0], [60.0])
    assert abs(got["line_flux"][0]) < got["line_flux_err"][0]


def test_masked_pixels_are_left_out() -> None:
    data = np.zeros((NY, NX))
    data[30, 20], data[30, 21] = 4000.0, 90.0
    mask = np.zeros((NY, NX), bool)
    mask[30, 20] = True
    got = facts(data, [20.0], [30.0], mask=mask)
    assert got["peak_snr"][0] == pytest.approx(18.0)
    assert got["sharpness"][0] == pytest.approx(1.0)


def test_edges_absent_sources_and_unknown_seeing_are_normal() -> None:
    data = np.random.default_rng(1).normal(0, SIGMA, (7, 11)) + 100 * np.eye(7, 11)
    got = facts(data, [0.0, 10.4, -0.6, 1e12, 3.0], [0.0, 6.4, 3.0, 3.0, 3.0], fwhm=None)
    on = np.array([True, True, False, False, True])
    for name in ("line_flux", "line_flux_err"):
        np.testing.assert_array_equal(np.isfinite(got[name]), on)
    assert not np.isfinite(got["sharpness"][~on]).any()
    assert len(pixel_features(frame(data), Catalog.empty())) == 0
    assert "sharpness" in pixel_features(frame(data), Catalog.empty())


def test_the_distance_to_a_mask_is_that_to_its_nearest_pixel() -> None:
    mask = np.zeros((NY, NX), dtype=bool)
    mask[40:60, 100:130] = True
    x = np.array([97.0, 79.5, 110.0, 100.0, 131.0, 49.0, 48.9, np.nan])
    y = np.array([50.0, 50.0, 50.0, 40.0, 61.0, 50.0, 50.0, 50.0])
    got = mask_distance(mask, x, y)
    want = [2.5, 20.0, 0.0, 0.0, np.sqrt(2 * 1.5**2), np.nan, np.nan, np.nan]
    np.testing.assert_allclose(got, want)
    assert np.isnan(mask_distance(np.zeros((NY, NX), dtype=bool), x, y)).all()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_distance_to_a_mask_agrees_with_a_search_of_all_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 45, 2))
    mask = rng.random(shape) < rng.choice([0.02, 0.3, 0.8])
    x, y = rng.uniform(-1, shape[1], 30), rng.uniform(-1, shape[0], 30)
    rows, columns = np.nonzero(ndimage.binary_opening(mask, np.ones((3, 3))))
    got = mask_distance(mask, x, y)
    if rows.size == 0:
        assert np.isnan(got).all()
        return
    beside = [np.maximum(np.abs(v[:, None] - at) - 0.5, 0) for v, at in ((x, columns), (y, rows))]
    far = np.hypot(*beside).min(axis=1)
    assert (got >= far - 1e-9).all()
    assert (got <= far + 0.3).all()  # the nearest centre need not be of the nearest pixel


def test_lone_pixels_and_single_columns_have_no_edge() -> None:
    rng = np.random.default_rng(2)
    mask = np.zeros((NY, NX), dtype=bool)
    mask[::4, ::5] = True
    mask[:, 50] = True
    x, y = rng.uniform(0, NX - 1, 50), rng.uniform(0, NY - 1, 50)
    assert np.isnan(mask_distance(mask, x, y)).all()
    made = frame(np.zeros((NY, NX)), mask=mask)
    catalog = pixel_features(made, Catalog.build(x=x, y=y), background=flat(made.shape))
    assert np.isnan(catalog["mask_distance"]).all()
