"""Simulated frames have the stated flux, positions, noise and truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.errors import BadInputError
from skyduel.simulation import (
    FAMILIES,
    Aberrations,
    SceneSettings,
    draw_settings,
    draw_training_settings,
    draw_undersampled_settings,
    make_psf,
    simulate,
)
from skyduel.simulation.artefacts import (
    draw_bad_lines,
    draw_cosmic_rays,
    draw_hot_pixels,
    paint_boxes,
    paint_hits,
    readout_smear,
)
from skyduel.simulation.psf import OVERSAMPLING, aureole_kernel
from skyduel.simulation.render import add_aureole, render_points, streak_points
from skyduel.simulation.sampling import sample_magnitudes
from skyduel.simulation.scene import ideal_snr


def centroid(image: np.ndarray) -> tuple[float, float]:
    yy, xx = np.indices(image.shape)
    total = image.sum(dtype=np.float64)
    return float((image * xx).sum() / total), float((image * yy).sum() / total)


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(18, 27),
    y=st.floats(17, 34),
    fwhm=st.sampled_from([1.5, 2.3, 4.0]),
    beta=st.sampled_from([None, 2.5, 4.0]),
)
def test_a_rendered_star_has_its_flux_and_its_centre(x, y, fwhm, beta) -> None:
    psf = make_psf(fwhm, beta, radius=14)
    image = render_points((52, 45), np.array([x]), np.array([y]), np.array([1000.0]), psf, 0.0)
    assert image.sum(dtype=np.float64) == pytest.approx(1000, rel=1e-4)
    cx, cy = centroid(image)
    # Wings cut by a square about the pixel, not the star, pull a heavy-winged centroid.
    assert cx == pytest.approx(x, abs=0.02)
    assert cy == pytest.approx(y, abs=0.02)


def test_the_pixel_values_of_a_gaussian_star_are_its_integrals() -> None:
    from scipy.special import erf

    x, y, fwhm = 20.3, 15.65, 2.5
    sigma = fwhm / np.sqrt(8 * np.log(2))
    psf = make_psf(fwhm, None, radius=12)
    image = render_points((32, 41), np.array([x]), np.array([y]), np.array([1.0]), psf, 0.0)

    def integral(n: int, centre: float) -> np.ndarray:
        edges = (np.arange(n + 1) - 0.5 - centre) / (np.sqrt(2) * sigma)
        return np.diff(erf(edges)) / 2

    expected = integral(32, y)[:, None] * integral(41, x)[None, :]
    # Linear interpolation between phases 1/8 px apart blurs the peak by up to 0.4 % an axis.
    assert np.abs(image - expected).max() < 0.008 * expected.max()


def test_drawing_stars_together_or_apart_is_the_same() -> None:
    rng = np.random.default_rng(4)
    psf = make_psf(2.0, 3.0)
    x, y = rng.uniform(-5, 65, 90), rng.uniform(-5, 45, 90)
    flux = 10 ** rng.uniform(0, 5, 90)
    together = render_points((40, 60), x, y, flux, psf, 0.01)
    apart = sum(
        render_points((40, 60), x[i : i + 1], y[i : i + 1], flux[i : i + 1], psf, 0.01)
        for i in range(90)
    )
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-4)


def test_a_cut_stamp_loses_less_than_it_may() -> None:
    psf = make_psf(2.5, 2.5)
    one = np.array([30.0])
    whole = render_points((60, 60), one, one, np.array([500.0]), psf, 0.0)
    cut = render_points((60, 60), one, one, np.array([500.0]), psf, 0.05)
    assert 0 < np.abs(whole - cut).max() <= 0.05 * 1.01


@pytest.mark.parametrize(
    "aberrations",
    [
        Aberrations(coma=2.0, angle=0.7),
        Aberrations(astigmatism=1.5, defocus=1.0),
        Aberrations(drift=4.0, drift_angle=0.3),
        Aberrations(trefoil=1.5),
    ],
)
def test_an_aberrated_profile_is_wider_and_centred(aberrations: Aberrations) -> None:
    plain, bent = make_psf(2.0, 3.5), make_psf(2.0, 3.5, aberrations)
    middle = bent.bank[OVERSAMPLING // 2, OVERSAMPLING // 2]
    cx, cy = centroid(middle)
    assert cx == pytest.approx(bent.radius, abs=0.03)
    assert cy == pytest.approx(bent.radius, abs=0.03)
    assert bent.psf_sum2 < 0.9 * plain.psf_sum2
    np.testing.assert_allclose(bent.bank.sum(axis=(2, 3)), 1, rtol=1e-4)


def test_fwhm_is_what_was_asked_for_plus_the_pixel() -> None:
    for fwhm in (2.0, 3.0, 5.0):
        assert make_psf(fwhm, None).fwhm == pytest.approx(np.hypot(fwhm, 0.8), rel=0.04)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_psf(0.2), "0.5 <= fwhm <= 20"),
        (lambda: make_psf(2.0, 1.0), "beta > 1"),
        (lambda: make_psf(2.0, radius=1), "radius >= 2"),
        (lambda: draw_settings("nebulae", np.random.default_rng(0)), "one of sparse"),
    ],
)
def test_impossible_arguments_are_named(call, message) -> None:
    with pytest.raises(BadInputError, match=message):
        call()


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(BadInputError, match=r"SceneSettings: required a setting among .*'seeing'"):
        SceneSettings(seeing=2.0)


def test_the_same_state_gives_the_same_frame() -> None:
    settings_ = draw_settings("dirty", np.random.default_rng(8), ny=96, nx=130)
    a, ta = simulate(settings_, np.random.default_rng(5))
    b, tb = simulate(settings_, np.random.default_rng(5))
    c, _ = simulate(settings_, np.random.default_rng(6))
    np.testing.assert_array_equal(a.data, b.data)
    assert ta.table.pformat() == tb.table.pformat()
    assert (a.data != c.data).any()


def test_noise_is_that_of_the_settings() -> None:
    s = SceneSettings(ny=300, nx=400, density=0, sky=900, gain=1.7, read_noise=9.0)
    frame, truth = simulate(s, np.random.default_rng(1))
    assert len(truth) == 0
    assert frame.data.std() == pytest.approx(s.sky_sigma, rel=0.01)
    assert frame.data.mean() == pytest.approx(900, abs=0.5)
    low = SceneSettings(ny=300, nx=400, density=0, sky=4, gain=1.0, read_noise=2.0, quantise=False)
    dark, _ = simulate(low, np.random.default_rng(1))
    # A photon-starved frame clips below zero light, never below zero data unless unquantised.
    assert dark.data.std() == pytest.approx(low.sky_sigma, rel=0.02)


def test_ideal_snr_is_what_a_matched_filter_measures() -> None:
    s = SceneSettings(ny=64, nx=64, density=0, sky=500, gain=2.0, read_noise=5, quantise=False)
    psf = s.psf()
    # A photometric experiment: one star of S/N 20 on 400 noise frames.
    flux = 20 * s.sky_sigma / np.sqrt(psf.psf_sum2)
    where = np.array([31.5])
    star = render_points((64, 64), where, where, np.array([flux]), psf, 0.0)
    rng = np.random.default_rng(3)
    noise = rng.normal(0, s.sky_sigma, (400, 64, 64))
    profile = star / flux
    estimates = ((noise + star) * profile).sum(axis=(1, 2)) / (profile**2).sum()
    assert estimates.mean() / estimates.std() == pytest.approx(20, rel=0.1)
    assert ideal_snr(flux, psf, s.sky_sigma) == pytest.approx(20)


def test_counts_rise_with_the_slope() -> None:
    mags = sample_magnitudes(200_000, 0.3, 8.0, np.random.default_rng(2))
    assert mags.min() >= -8
    assert mags.max() <= 0
    ratio = np.sum(mags > -1) / np.sum((mags > -2) & (mags <= -1))
    assert np.log10(ratio) == pytest.approx(0.3, abs=0.01)
    flat = sample_magnitudes(100_000, 0.0, 5.0, np.random.default_rng(2))
    assert flat.mean() == pytest.approx(-2.5, abs=0.03)


def test_truth_lists_every_source_on_the_frame_and_none_beside_it() -> None:
    s = SceneSettings(ny=128, nx=200, density=0.01, streaks=3, trails=2)
    frame, truth = simulate(s, np.random.default_rng(3))
    assert frame.shape == (128, 200)
    x, y = truth["x"], truth["y"]
    assert ((x >= -0.5) & (x < 199.5) & (y >= -0.5) & (y < 127.5)).all()
    points = ~truth.is_streak
    assert abs(points.sum() - 256) < 4 * 16
    assert truth["snr"][points].min() >= s.min_snr * 0.999
    np.testing.assert_allclose(truth["mag"], 26.5 - 2.5 * np.log10(truth["flux"]))
    streaks = truth.select(truth.is_streak)
    assert len(streaks) >= 2
    assert (streaks["length"] > 10).all()
    assert ((streaks["theta"] >= -np.pi / 2) & (streaks["theta"] < np.pi / 2)).all()


def test_a_trail_ends_at_the_border() -> None:
    s = SceneSettings(ny=100, nx=160, density=0, trails=6)
    _, truth = simulate(s, np.random.default_rng(7))
    assert len(truth) > 1
    for sign in (-1, 1):
        ex = truth["x"] + sign * truth["length"] / 2 * np.cos(truth["theta"])
        ey = truth["y"] + sign * truth["length"] / 2 * np.sin(truth["theta"])
        edge = np.min(np.abs([ex, 159 - ex, ey, 99 - ey]), axis=0)
        np.testing.assert_allclose(edge, 0, atol=1e-6)


def test_streak_light_lies_on_the_segment() -> None:
    x, y = streak_points(50.0, 40.0, 30.0, np.deg2rad(30))
    assert x.mean() == pytest.approx(50)
    assert np.hypot(np.ptp(x), np.ptp(y)) == pytest.approx(30, abs=0.4)
    s = SceneSettings(
        ny=120, nx=160, density=0, streaks=1, streak_length=(40, 41), streak_snr=(50, 51)
    )
    frame, truth = simulate(s, np.random.default_rng(9))
    (row,) = truth.table[truth.is_streak]
    bright = frame.data - np.median(frame.data) > 6 * s.sky_sigma
    yy, xx = np.nonzero(bright)
    across = (yy - row["y"]) * np.cos(row["theta"]) - (xx - row["x"]) * np.sin(row["theta"])
    assert bright.sum() > 60
    assert np.abs(across).max() < 6


def test_saturation_and_quantisation() -> None:
    s = SceneSettings(ny=200, nx=150, density=0.004, max_snr=1e5, saturation=3000, bias=100)
    frame, _ = simulate(s, np.random.default_rng(2))
    assert frame.data.max() == 3000
    assert frame.saturated().sum() > 5
    np.testing.assert_array_equal(frame.data, np.rint(frame.data))


def test_aureole_keeps_the_flux_and_spreads_it() -> None:
    kernel = aureole_kernel(40, 5.0, 2.5)
    psf = make_psf(2.5)
    at, flux = np.array([60.0]), np.array([1e6])
    core = render_points((121, 121), at, at, flux, psf, 0.0)
    halo = add_aureole(core, at, at, flux, kernel, 0.1)
    assert halo.sum(dtype=np.float64) == pytest.approx(1e6, rel=1e-3)
    assert halo[60, 85] > 10 * core[60, 85]
    spiked = aureole_kernel(40, 5.0, 2.5, spikes=4, angle=0.0)
    assert spiked[40, 70] > 5 * spiked[61, 61]


def test_artefacts_are_where_they_should_be() -> None:
    rng = np.random.default_rng(1)
    rays = paint_hits((80, 100), draw_cosmic_rays((80, 100), 10, 10.0, rng))
    assert 10 <= np.count_nonzero(rays) < 400
    assert (rays >= 0).all()
    hot = paint_hits((80, 100), draw_hot_pixels((80, 100), 25, 10.0, rng))
    assert 20 <= np.count_nonzero(hot) <= 25
    for axis in (0, 1):
        lines = paint_boxes((80, 100), draw_bad_lines((80, 100), 3, 10.0, rng, axis))
        assert 1 <= np.count_nonzero(np.any(lines != 0, axis=axis)) <= 9
        # A line ends at the frame's border, wherever it begins.
        last = lines[-1, :] if axis == 0 else lines[:, -1]
        assert np.count_nonzero(last) == np.count_nonzero(np.any(lines != 0, axis=axis))
    light = np.zeros((80, 100), dtype=np.float32)
    light[30, 40] = 1000
    for axis, profile in ((0, lambda s: s[:, 40]), (1, lambda s: s[30, :])):
        smear = readout_smear(light, 0.1, axis)
        assert smear.shape == light.shape
        assert (profile(smear) > 0).all()
        assert np.count_nonzero(smear) == profile(smear).size


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_renders(family: str) -> None:
    rng = np.random.default_rng(5)
    frame, truth = simulate(draw_settings(family, rng, ny=160, nx=192), rng, family)
    assert frame.shape == (160, 192)
    assert frame.fwhm is not None
    assert 1.5 < frame.fwhm < 7
    expected = {"sparse": 10, "crowded": 380}.get(family, 52)
    assert expected / 3 < len(truth) < expected * 3


def test_training_frames_span_density_and_seeing() -> None:
    drawn = [draw_training_settings(np.random.default_rng(i), 64) for i in range(300)]
    density = np.array([s.density for s in drawn])
    assert density.min() == 0
    assert density.max() > 1.5e-2
    assert {s.smear_axis for s in drawn} == {0, 1}
    for switch in (
        "cosmic_rays", "hot_pixels", "bad_columns", "bad_rows", "smear", "smear_lines", "aureole",
        "trails", "streaks", "galaxies", "ghost", "bleeding", "level_steps", "correlation",
        "vignetting", "field_coma", "coma",
    ):  # fmt: skip
        on = np.mean([getattr(s, switch) > 0 for s in drawn])
        assert 0.03 < on < 0.8, switch
    assert 0.4 < np.mean([s.saturation_stated for s in drawn]) < 0.75
    assert 0.1 < np.mean([s.fwhm < 1.7 and s.hot_pixels >= 30 for s in drawn]) < 0.35
    wells = np.array([(s.saturation - s.bias - s.sky) / s.sky_sigma for s in drawn])
    assert 0.05 < np.mean(wells < 2000) < 0.5
    assert wells.min() > 50
    simulate(drawn[0], np.random.default_rng(0))


def test_undersampled_frames_have_narrow_stars_and_hot_pixels() -> None:
    for seed in range(40):
        s = draw_undersampled_settings(np.random.default_rng(seed), 64)
        assert 0.8 <= s.fwhm <= 1.7
        assert (s.coma, s.zones, s.correlation) <= (0.5, 1, 0.0)
        assert s.hot_pixels >= 30


def test_a_frame_may_keep_its_saturation_to_itself() -> None:
    stated = SceneSettings(ny=64, nx=64, saturation=1100.0, max_snr=1e4, density=5e-3)
    silent = stated.model_copy(update={"saturation_stated": False})
    a, b = (simulate(s, np.random.default_rng(3))[0] for s in (stated, silent))
    np.testing.assert_array_equal(a.data, b.data)
    assert a.data.max() == 1100
    assert (a.saturation, b.saturation) == (1100, None)
