"""Tests of injected sources: their light, their noise, and unchanged pixels."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from skyduel.core import BadInputError, Catalog, Frame, estimate_background
from skyduel.simulation import (
    InjectionSettings,
    SceneSettings,
    draw_injected,
    holds_integers,
    inject,
    make_psf,
    measure_psf,
    read_psf,
    sign_flipped,
    simulate,
)
from skyduel.simulation.measured_psf_model import Moffat
from skyduel.simulation.render import render_points

NY, NX = 300, 420


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene(**changes: object) -> SceneSettings:
    """A frame of stars bright enough to measure its PSF from."""
    return SceneSettings.model_validate(
        {"ny": NY, "nx": NX, "sky": 150.0, "density": 250 / (NY * NX), "min_snr": 8.0, **changes}
    )


def noise_frame(sigma: float = 10.0, gain: float | None = 1e4, ny: int = NY, nx: int = NX) -> Frame:
    """Gaussian noise; so high a gain that the light itself is almost without noise."""
    data = rng(5).normal(500.0, sigma, (ny, nx)).astype(np.float32)
    return Frame(data=data, name="noise", gain=gain)


def pixel(v: np.ndarray) -> np.ndarray:
    """The pixels that hold coordinates."""
    return np.floor(v + 0.5).astype(int)


def psf_flux(image: np.ndarray, x: float, y: float, flux: float, psf: object) -> float:
    """Flux of a source by fitting the profile to an image without noise of its own."""
    model = render_points(image.shape, np.array([x]), np.array([y]), np.ones(1), psf, 0.0)  # type: ignore[arg-type]
    return float((model * image).sum(dtype=float) / np.square(model, dtype=float).sum())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fwhm": 1.2, "beta": 2.5},
        {"fwhm": 2.5, "coma": 1.2, "defocus": 0.6, "aberration_angle": 1.0},
    ],
    ids=["round", "undersampled", "comatic"],
)
def test_injected_flux_is_recovered_with_the_true_profile_within_a_percent(changes: dict) -> None:
    s = scene(**changes)
    frame, truth = simulate(s, rng(3))
    measured = measure_psf(frame, truth.xy)
    assert measured.n_stars >= 10
    assert measured.misfit < 0.05
    ny, nx = 80, 90
    quiet = Frame(data=rng(4).normal(0, 1, (ny, nx)), name="quiet", gain=1e9)
    places = [(20.3, 30.1), (55.75, 21.5), (60.0, 60.0), (31.2, 58.9)]
    ratios = []
    for x, y in places:
        source = Catalog.build(x=[x], y=[y], flux=[1e5])
        light = inject(quiet, source, measured.psf, rng(6)).data - quiet.data
        ratios.append(psf_flux(light.astype(float), x, y, 1e5, s.psf()) / 1e5)
        assert light.sum(dtype=float) == pytest.approx(1e5, rel=1e-3)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)


def test_measured_shape_is_the_rendered_one() -> None:
    s = scene(fwhm=2.2, beta=3.5)
    frame, truth = simulate(s, rng(8))
    measured = measure_psf(frame, truth.xy)
    assert measured.psf.fwhm == pytest.approx(s.psf().fwhm, rel=0.03)
    assert measured.psf.psf_sum2 == pytest.approx(s.psf().psf_sum2, rel=0.03)


def test_few_stars_are_refused_in_one_line() -> None:
    with pytest.raises(BadInputError, match=r"isolated unsaturated stars .* give the PSF instead"):
        measure_psf(noise_frame(), [[30.0, 40.0], [100.0, 90.0]])
    with pytest.raises(BadInputError, match="0 among 0 sources"):
        measure_psf(noise_frame(), np.zeros((0, 2)))


def test_saturated_and_masked_stars_take_no_part() -> None:
    s = scene()
    frame, truth = simulate(s, rng(3))
    clean = measure_psf(frame, truth.xy)
    brightest = np.argsort(-truth["flux"])[:5]
    mask = np.zeros(frame.shape, dtype=bool)
    data = frame.data.copy()
    for row in brightest:
        x, y = (round(float(v)) for v in truth.xy[row])
        mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        data[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 0  # would wreck any fit
    measured = measure_psf(frame.with_(data=data, mask=mask), truth.xy)
    assert measured.psf.fwhm == pytest.approx(clean.psf.fwhm, rel=0.03)


def test_completeness_of_the_matched_filter_is_the_gaussian_tail() -> None:
    # One source at a time would be ideal; far apart on one frame is the same.
    frame, psf = noise_frame(ny=700, nx=900), make_psf(2.5)
    wanted = InjectionSettings(number=450, snr=(5.0, 5.0), separation=10.0)
    sources = draw_injected(frame, psf, wanted, rng(2))
    assert len(sources) == 450
    image = inject(frame, sources, psf, rng(3)).data - np.float32(500.0)
    significance = []
    for x, y in sources.xy:
        ix, iy = int(x + 0.5), int(y + 0.5)
        lo = [max(v - 20, 0) for v in (iy, ix)]
        box = image[lo[0] : iy + 21, lo[1] : ix + 21].astype(float)
        at = np.array([x - lo[1]]), np.array([y - lo[0]])
        model = render_points(box.shape, *at, np.ones(1), psf, 0.0).astype(float)
        significance.append((model * box).sum() / (10.0 * np.sqrt(np.square(model).sum())))
    values = np.array(significance)
    # S/N as stated is exact up to the sub-pixel phase and the measured noise: 1 %.
    assert values.mean() == pytest.approx(5.0, abs=0.05 + 3 / np.sqrt(450))
    for threshold in (4.0, 5.0, 6.0):
        found, tail = int((values > threshold).sum()), stats.norm.sf(threshold - 5.0)
        assert stats.binomtest(found, 450, tail).pvalue > 1e-3


def test_photon_noise_is_that_of_the_light_alone() -> None:
    gain = 2.0
    frame, psf = noise_frame(gain=gain), make_psf(2.5)
    x, y = (g.ravel() for g in np.meshgrid(np.arange(20, NX - 20, 25), np.arange(20, NY - 20, 25)))
    sources = Catalog.build(x=x, y=y, flux=np.full(x.size, 4000.0))
    light = inject(frame, sources, psf, rng(9)).data.astype(float) - frame.data
    sums = [light[b - 12 : b + 13, a - 12 : a + 13].sum() for a, b in zip(x, y, strict=True)]
    assert np.mean(sums) == pytest.approx(4000, rel=0.01)
    assert np.std(sums) == pytest.approx(np.sqrt(4000 / gain), rel=0.2)
    plain = inject(frame.with_(gain=None), sources, psf, rng(9)).data.astype(float) - frame.data
    silent = [plain[b - 12 : b + 13, a - 12 : a + 13].sum() for a, b in zip(x, y, strict=True)]
    assert np.std(silent) < 0.5


def test_a_frame_of_integers_stays_one_and_loses_no_light_below_half_a_step() -> None:
    data = np.rint(noise_frame().data)
    frame = Frame(data=data, name="integers")
    assert holds_integers(frame)
    faint = Catalog.build(x=[100.0], y=[90.0], flux=[20.0])  # at most 2.6 ADU in a pixel
    changes = [
        (inject(frame, faint, make_psf(2.5), rng(seed)).data.astype(float) - data).sum()
        for seed in range(60)
    ]
    assert holds_integers(inject(frame, faint, make_psf(2.5), rng(0)))
    assert np.mean(changes) == pytest.approx(20.0, abs=4 * np.std(changes) / np.sqrt(60))
    assert not holds_integers(noise_frame())


def test_masked_saturated_and_unreached_pixels_stay_bit_for_bit() -> None:
    base = noise_frame()
    data, mask = base.data.copy(), np.zeros((NY, NX), dtype=bool)
    data[100, 103], mask[101, 97] = 950.0, True
    frame = base.with_(data=data, mask=mask, saturation=900.0)
    source = Catalog.build(x=[100.0], y=[100.0], flux=[5e4])
    after = inject(frame, source, make_psf(2.5), rng(1))
    assert after.data[100, 100] == 900.0
    assert after.data[100, 103] == 950.0
    assert after.data[101, 97] == frame.data[101, 97]
    assert after.data[:, 180:].tobytes() == frame.data[:, 180:].tobytes()
    assert after.saturation == 900.0
    assert after.bad.tobytes() == frame.bad.tobytes()


def test_no_sources_is_the_frame_itself_and_a_flux_of_nothing_is_refused() -> None:
    frame = noise_frame()
    assert inject(frame, Catalog.empty(), make_psf(2.0), rng()) is frame
    with pytest.raises(BadInputError, match="a flux > 0 in every row; got -3"):
        inject(frame, Catalog.build(x=[5.0], y=[5.0], flux=[-3.0]), make_psf(2.0), rng())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 40), streaks=st.integers(0, 3))
def test_injected_sources_keep_clear(seed: int, n: int, streaks: int) -> None:
    mask = np.zeros((NY, NX), dtype=bool)
    mask[:, 200:230] = True
    frame = noise_frame().with_(mask=mask)
    there = Catalog.build(x=[50.0, 300.0], y=[60.0, 200.0])
    wanted = InjectionSettings(number=n, streaks=streaks, separation=4.0, avoid=15.0)
    psf = make_psf(2.0)
    sources = draw_injected(frame, psf, wanted, rng(seed), there=there)
    assert len(sources) == n + streaks
    assert sources.is_streak.sum() == streaks
    assert (sources["nearest_px"] >= 15.0).all()
    assert not mask[pixel(sources["y"]), pixel(sources["x"])].any()
    points = sources.xy[~sources.is_streak]
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    assert (apart[np.triu_indices(len(points), 1)] >= 4.0 * psf.fwhm).all()
    again = draw_injected(frame, psf, wanted, rng(seed), there=there)
    assert again.xy.tobytes() == sources.xy.tobytes()


def test_where_there_is_no_room_fewer_are_placed() -> None:
    frame = noise_frame(ny=60, nx=80)
    wanted = InjectionSettings(number=500, separation=10.0)
    assert 1 <= len(draw_injected(frame, make_psf(2.5), wanted, rng())) < 30


def test_snr_follows_the_local_noise_and_magnitudes_the_zero_point() -> None:
    data = rng(1).normal(100, 5, (256, 768))
    data[:, 384:] = rng(2).normal(100, 20, (256, 384))
    frame = Frame(data=data, name="two halves", zero_point=25.0)
    psf = make_psf(2.5)
    sources = draw_injected(frame, psf, InjectionSettings(number=60, snr=(10, 10)), rng(3))
    ratio = np.median(sources["flux"][sources["x"] > 560]) / np.median(
        sources["flux"][sources["x"] < 200]
    )
    assert ratio == pytest.approx(4.0, rel=0.15)
    assert sources["snr"] == pytest.approx(10.0)
    assert sources["mag"] == pytest.approx(25 - 2.5 * np.log10(sources["flux"]))
    bright = InjectionSettings(number=20, snr=None, mag=(18.0, 18.0))
    assert draw_injected(frame, psf, bright, rng(3))["flux"] == pytest.approx(10 ** (0.4 * 7))


@pytest.mark.parametrize("changes", [{"snr": (5, 2)}, {"mag": (1, 2)}, {"snr": None}])
def test_settings_that_contradict_themselves_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"from low to high|either snr or mag"):
        InjectionSettings(**changes)


def test_psf_from_text_and_from_images(tmp_path) -> None:
    wanted = make_psf(2.4, 3.0)
    assert read_psf("moffat:2.4,3").psf.bank.tobytes() == wanted.bank.tobytes()
    assert read_psf("gaussian:2.4").psf.bank.tobytes() == make_psf(2.4, None).bank.tobytes()
    k = 8
    fine = np.zeros((k * 31, k * 31))
    for i in range(k):
        for j in range(k):
            fine[k - 1 - i :: k, k - 1 - j :: k] = wanted.bank[i, j, 9:40, 9:40]
    fine = fine[: k * 31 - 1, : k * 31 - 1]  # odd sides, the source in the middle
    for sampling, image in ((8, fine), (1, wanted.bank[4, 4])):
        path = tmp_path / f"psf{sampling}.fits"
        fits.PrimaryHDU(image, fits.Header({"OVERSAMP": sampling})).writeto(path)
        got = read_psf(str(path))
        assert got.psf.psf_sum2 == pytest.approx(wanted.psf_sum2, rel=0.02)
        assert got.psf.fwhm == pytest.approx(wanted.fwhm, rel=0.02)
        assert got.n_stars == 0
    even = tmp_path / "even.fits"
    fits.PrimaryHDU(np.ones((4, 5))).writeto(even)
    for text, match in (
        ("moffat:3", "moffat:FWHM,BETA"),
        ("moffat:a,b", "moffat:FWHM,BETA"),
        ("nowhere.fits", "an existing FITS image"),
        (str(even), "odd sides"),
    ):
        with pytest.raises(BadInputError, match=match):
            read_psf(text)


def test_moffat_holds_its_flux_and_turns_with_its_ellipticity() -> None:
    axis = np.arange(-60, 61, dtype=float)
    for e1, e2 in ((0.0, 0.0), (0.3, 0.0), (0.0, -0.25)):
        light = Moffat(3.0, 3.0, e1, e2).per_pixel(axis[None, :], axis[:, None])
        assert light.sum() == pytest.approx(1.0, abs=2e-3)
    flat = Moffat(3.0, 3.0, 0.3, 0.0).per_pixel(axis[None, :], axis[:, None])
    assert flat[60, 63] > flat[63, 60]  # long along x
    tilted = Moffat(3.0, 3.0, 0.0, 0.3).per_pixel(axis[None, :], axis[:, None])
    assert tilted[63, 63] > tilted[63, 57]  # long along x = y


def test_a_flipped_frame_flips_the_noise_and_keeps_the_stars() -> None:
    frame, truth = simulate(scene(), rng(3))
    upside_down = sign_flipped(frame)
    flipped = upside_down.frame
    sky = estimate_background(frame)
    bright = truth.select(truth["snr"] > 30)
    assert len(bright) > 10
    inside = (bright["x"] > 0) & (bright["x"] < NX - 1) & (bright["y"] > 0) & (bright["y"] < NY - 1)
    x, y = (np.rint(bright.xy[inside, k]).astype(int) for k in (0, 1))
    assert (flipped.data[y, x] == frame.data[y, x]).all()
    assert not upside_down.counted[y, x].any()
    free = upside_down.counted
    assert 0.3 < free.mean() < 0.95
    assert np.median(flipped.data[free]) == pytest.approx(np.median(sky.level), abs=1.0)
    turned = np.isclose(frame.data + flipped.data, 2 * sky.level, atol=1e-2)
    assert turned[free].all()
    # What stays is within 3 px of a bright pixel; 3 px more do not count.
    stays = ndimage.distance_transform_edt(turned)
    assert stays[free].min() > 3
    assert (flipped.bad == frame.bad).all()
    assert (flipped.gain, flipped.fwhm) == (frame.gain, frame.fwhm)
    assert (upside_down.sky.bad == ~free).all()
    assert (upside_down.sky.data == flipped.data).all()
    whole = sign_flipped(frame, keep_sigma=np.inf, background=sky)
    assert whole.counted.all()
    assert np.allclose(frame.data + whole.frame.data, 2 * sky.level, atol=1e-2)


def test_a_frame_without_sky_cannot_be_flipped() -> None:
    frame = noise_frame(ny=40, nx=50)
    with pytest.raises(BadInputError, match="some sky between the sources"):
        sign_flipped(frame, keep_sigma=0.01, grow_px=9)
    with pytest.raises(BadInputError, match="sigmas > 0"):
        sign_flipped(frame, keep_sigma=0)
