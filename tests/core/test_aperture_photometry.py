"""Tests of the common aperture: accuracy, points and streaks, NaN without pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sep
from helpers.paths import DATA, needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.frames import read_frame
from skyduel.core.io.tables import read_catalog
from skyduel.core.measure import aperture_photometry as photometry
from skyduel.core.measure.aperture_photometry import aperture_radius, forced_photometry
from skyduel.core.measure.background import Background, estimate_background

NY, NX = 70, 110


def flat(value: float = 1.0, rms: float = 2.0) -> Background:
    """A background of zero, so that a constant frame measures areas."""
    ones = np.ones((NY, NX), np.float32)
    return Background(ones * 0, ones * rms, 0.0, rms)


def area_frame(**facts: Any) -> Frame:
    return Frame(data=np.ones((NY, NX)), name="areas", **facts)


def star_field(seed: int = 0, fwhm: float = 3.0, **facts: Any) -> tuple[Frame, Catalog]:
    rng = np.random.default_rng(seed)
    x = np.array([20.3, 60.0, 90.8, 40.5])
    y = np.array([15.0, 50.2, 20.6, 35.0])
    flux = np.array([2e4, 5e4, 3e3, 8e3])
    sigma = fwhm / 2.3548
    rows, columns = np.mgrid[:NY, :NX]
    image = 200 + rng.normal(0, 4, (NY, NX))
    for xi, yi, fi in zip(x, y, flux, strict=True):
        r2 = (columns - xi) ** 2 + (rows - yi) ** 2
        image += fi * np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return Frame(data=image, name="stars", fwhm=fwhm, **facts), Catalog.build(x=x, y=y, flux=flux)


@pytest.mark.parametrize(("fwhm", "radius"), [(None, 3.0), (2.5, 2.5), (0.8, 1.5), (6.0, 6.0)])
def test_the_radius(fwhm: float | None, radius: float) -> None:
    assert aperture_radius(area_frame(fwhm=fwhm)) == radius


def test_stars_get_their_flux() -> None:
    frame, truth = star_field(zero_point=25.0, gain=2.0)
    got = forced_photometry(frame, truth)
    inside = 1 - np.exp(-((2.3548) ** 2) / 2)  # a Gaussian within one FWHM
    assert (np.abs(got["aper_flux"] - inside * truth["flux"]) < 4 * got["aper_flux_err"]).all()
    np.testing.assert_allclose(got["aper_mag"], 25 - 2.5 * np.log10(got["aper_flux"]))
    noise = np.sqrt(np.pi * 9 * 16 + got["aper_flux"] / 2)
    np.testing.assert_allclose(got["aper_flux_err"], noise, rtol=0.2)
    np.testing.assert_array_equal(got["x"], truth["x"])


def test_it_is_what_sep_says_inside_the_frame() -> None:
    frame, truth = star_field(gain=1.5)
    sky = estimate_background(frame)
    flux, error, _ = sep.sum_circle(
        frame.data - sky.level,
        truth["x"].copy(),
        truth["y"].copy(),
        4.5,
        err=sky.rms.copy(),
        gain=1.5,
        subpix=0,
    )
    got = forced_photometry(frame, truth, 4.5, background=sky)
    np.testing.assert_allclose(got["aper_flux"], flux, rtol=1e-6)
    np.testing.assert_allclose(got["aper_flux_err"], error, rtol=1e-6)


def test_without_a_zero_point_magnitudes_are_instrumental() -> None:
    frame, truth = star_field()
    got = forced_photometry(frame, truth)
    np.testing.assert_allclose(got["aper_mag"], -2.5 * np.log10(got["aper_flux"]))


def test_negative_flux_has_no_magnitude() -> None:
    frame = Frame(data=-np.ones((NY, NX)), name="f")
    got = forced_photometry(frame, Catalog.build(x=[50.0], y=[30.0]), background=flat())
    assert got["aper_flux"][0] == pytest.approx(-np.pi * 9, rel=1e-6)
    assert np.isnan(got["aper_mag"][0])
    assert got["aper_flux_err"][0] == pytest.approx(2 * np.sqrt(np.pi * 9), rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y"),
    [(0.0, 0.0), (-0.5, 30.0), (NX - 1.0, NY - 1.0), (-2.0, 30.0), (50.0, NY + 1.0), (7.3, 60.1)],
)
def test_edges_are_made_up_for_by_area(x: float, y: float) -> None:
    got = forced_photometry(area_frame(), Catalog.build(x=[x], y=[y]), 3.0, background=flat())
    assert got["aper_flux"][0] == pytest.approx(np.pi * 9, rel=1e-4)


@pytest.mark.parametrize(
    ("x", "y"), [(-10.0, 5.0), (NX + 4.0, 5.0), (5.0, -4.0), (1e300, 5.0), (5.0, -1e18)]
)
@pytest.mark.parametrize("kind", ["point", "streak"])
def test_off_the_frame_is_nan(x: float, y: float, kind: str) -> None:
    length = 0.0 if kind == "point" else 2.0
    found = Catalog.build(x=[x, 30.0], y=[y, 20.0], kind=[kind, "point"], length=[length, 0.0])
    got = forced_photometry(area_frame(), found, 3.0, background=flat())
    assert np.isnan([got[c][0] for c in ("aper_flux", "aper_flux_err", "aper_mag")]).all()
    assert got["aper_flux"][1] == pytest.approx(np.pi * 9, rel=1e-6)


@pytest.mark.parametrize("kind", ["point", "streak"])
def test_masked_pixels_are_left_out_and_made_up_for(kind: str) -> None:
    image = np.ones((NY, NX))
    mask = np.zeros(image.shape, bool)
    mask[:, 50] = True
    image[mask] = 1e6
    found = Catalog.build(x=[50.2], y=[30.0], kind=[kind], length=[8.0 * (kind == "streak")])
    got = forced_photometry(Frame(data=image, mask=mask, name="f"), found, 3.0, background=flat())
    area = np.pi * 9 + (6 * 8.0 if kind == "streak" else 0)
    assert got["aper_flux"][0] == pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize("kind", ["point", "streak"])
def test_wholly_masked_is_nan(kind: str) -> None:
    mask = np.zeros((NY, NX), bool)
    mask[20:50, 30:80] = True
    found = Catalog.build(x=[50.0], y=[35.0], kind=[kind], length=[8.0 * (kind == "streak")])
    got = forced_photometry(area_frame(mask=mask), found, 3.0, background=flat())
    assert np.isnan(got["aper_flux"][0])
    assert np.isnan(got["aper_mag"][0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    x=st.floats(30, 80),
    y=st.floats(30, 40),
    length=st.floats(0.1, 40),
    theta=st.floats(-np.pi / 2, np.pi / 2),
    radius=st.floats(1.5, 8),
)
def test_a_streaks_aperture_has_its_area(
    x: float, y: float, length: float, theta: float, radius: float
) -> None:
    found = Catalog.build(x=[x], y=[y], kind=["streak"], length=[length], theta=[theta])
    rows, columns = np.mgrid[:NY, :NX]
    ramp = 1 + 0.01 * (columns - x) + 0.02 * (rows - y)
    got = forced_photometry(Frame(data=ramp, name="f"), found, radius, background=flat())
    area = 2 * radius * length + np.pi * radius**2
    # A linear ramp integrates to its value at the centre times the area.
    assert got["aper_flux"][0] == pytest.approx(area, rel=5e-3)


def test_a_streaks_aperture_against_brute_force() -> None:
    x, y, length, theta, radius = 47.3, 33.9, 31.0, 0.7, 3.3
    image = np.random.default_rng(5).random((NY, NX))
    n = 20
    fine = (np.arange(n) + 0.5) / n - 0.5
    fy = (np.arange(NY)[:, None] + fine).ravel()[:, None]
    fx = (np.arange(NX)[:, None] + fine).ravel()[None, :]
    ux, uy = np.cos(theta), np.sin(theta)
    along = np.clip((fx - x) * ux + (fy - y) * uy, -length / 2, length / 2)
    inside = np.hypot(fx - x - along * ux, fy - y - along * uy) <= radius
    weight = inside.reshape(NY, n, NX, n).mean(axis=(1, 3))
    found = Catalog.build(x=[x], y=[y], kind=["streak"], length=[length], theta=[theta])
    got = forced_photometry(Frame(data=image, name="f"), found, radius, background=flat())
    assert got["aper_flux"][0] == pytest.approx((weight * image).sum(), rel=2e-3)
    error = 2 * np.sqrt(2 * radius * length + np.pi * radius**2)
    assert got["aper_flux_err"][0] == pytest.approx(error, rel=1e-2)


def test_a_streak_of_no_length_is_a_circle_and_of_unknown_length_nan() -> None:
    found = Catalog.build(
        x=[50.0, 50.0, 50.0],
        y=[30.0, 30.0, 30.0],
        kind=["streak"] * 3,
        length=[0.0, np.nan, 5.0],
        theta=[0.3, 0.3, np.nan],
    )
    got = forced_photometry(area_frame(), found, 3.0, background=flat())
    assert got["aper_flux"][0] == pytest.approx(np.pi * 9, rel=1e-6)
    assert np.isnan(got["aper_flux"][1:]).all()


def test_a_trail_longer_than_the_frame() -> None:
    found = Catalog.build(x=[50.0], y=[30.0], kind=["streak"], length=[5000.0], theta=[0.2])
    got = forced_photometry(area_frame(), found, 3.0, background=flat())
    assert got["aper_flux"][0] == pytest.approx(2 * 3 * 5000 + np.pi * 9, rel=1e-3)


def test_no_sources() -> None:
    got = forced_photometry(area_frame(), Catalog.empty())
    assert len(got) == 0
    assert {"aper_flux", "aper_flux_err", "aper_mag"} <= set(got.table.colnames)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan])
def test_the_radius_must_be_positive(radius: float) -> None:
    with pytest.raises(BadInputError, match="radius_px: required a radius > 0"):
        forced_photometry(area_frame(), Catalog.empty(), radius)


@pytest.mark.parametrize("band", [1, 7, 16, 69])
def test_bands_of_rows_change_nothing(band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    frame, _ = star_field(mask=rng.random((NY, NX)) < 0.02)
    n = 300
    x, y = rng.uniform(-4, NX + 3, n), rng.uniform(-4, NY + 3, n)
    catalog = Catalog.build(x=x, y=y)
    whole = forced_photometry(frame, catalog)
    monkeypatch.setattr(photometry, "_BAND_PX", band)
    in_bands = forced_photometry(frame, catalog)
    assert np.isfinite(whole["aper_flux"]).sum() > 250
    for column in ("aper_flux", "aper_flux_err"):
        np.testing.assert_allclose(in_bands[column], whole[column], rtol=1e-5, atol=1e-3)


def test_the_order_of_rows_changes_nothing() -> None:
    frame, truth = star_field()
    order = np.array([2, 0, 3, 1])
    one = forced_photometry(frame, truth)["aper_flux"][order]
    other = forced_photometry(frame, truth.select(order))["aper_flux"]
    np.testing.assert_array_equal(one, other)


@needs_data
@pytest.mark.parametrize("name", ["field_001", "field_002"])
def test_bright_simulated_stars_keep_their_magnitudes(name: str) -> None:
    frame = read_frame(DATA / "skymaker" / f"{name}.fits.fz")
    truth = read_catalog(DATA / "skymaker" / f"{name}.ecsv")
    rows = (truth["snr"] > 60) & ~truth.is_streak
    got = forced_photometry(frame, truth.select(rows))
    # Saturated cores lose flux: judge the others.
    core = forced_photometry(frame.with_(data=frame.saturated()), truth.select(rows), 3.0)
    saturated = core["aper_flux"] > 0.5
    lost = (got["aper_mag"] - got["mag"])[~saturated]
    assert len(lost) >= 5
    # One radius for all: what the aperture misses is nearly one constant.
    assert 0 < np.median(lost) < 0.4
    assert 1.48 * np.median(np.abs(lost - np.median(lost))) < 0.06
