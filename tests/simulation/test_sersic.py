"""Sérsic galaxies: their light against an independent oracle, and as injected and simulated."""

import numpy as np
import pytest
from astropy.modeling.models import Sersic2D
from scipy import signal, special
from scipy.integrate import quad

from skyduel.core import BadInputError, Catalog, Frame, read_catalog, write_catalog
from skyduel.simulation import (
    FAMILIES,
    FURTHER_FAMILIES,
    InjectionSettings,
    SceneSettings,
    draw_injected,
    draw_settings,
    inject,
    make_psf,
    simulate,
)
from skyduel.simulation.sersic import (
    SersicGalaxy,
    galaxy_stamp,
    render_galaxies,
    sersic_b,
    sersic_radius,
)

FWHM, BETA = 2.0, 3.0
#: Samples of the oracle per px, and per sample in the cusp.
FINE, CUSP = 9, 151


@pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0, 6.0])
def test_b_is_that_of_half_the_light(n: float) -> None:
    b = sersic_b(n)

    def light(r: float) -> float:
        return r * np.exp(-b * r ** (1 / n))

    inside, outside = quad(light, 0, 1)[0], quad(light, 1, np.inf, limit=200)[0]
    assert inside == pytest.approx(outside, rel=1e-6)
    # Ciotti & Bertin (1999), equation 18, for n above 0.5.
    series = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)
    assert b == pytest.approx(series, rel=5e-3)
    assert sersic_radius(n, 0.5) == pytest.approx(1)
    assert sersic_radius(n, 0.9) > 1.5


def oracle(galaxy: SersicGalaxy, half: int) -> np.ndarray:
    """Light in the pixels around the origin: astropy's profile on a fine grid, and a convolution.

    No code is shared with the renderer but b, which `test_b_is_that_of_half_the_light` checks.
    """
    wide = half + 16
    axis = (np.arange((2 * wide + 1) * FINE) + 0.5) / FINE - 0.5 - wide
    profile = Sersic2D(
        amplitude=1, r_eff=galaxy.half_light_px, n=galaxy.sersic, x_0=galaxy.x, y_0=galaxy.y,
        ellip=1 - galaxy.axis_ratio, theta=galaxy.theta,
    )  # fmt: skip
    xx, yy = np.meshgrid(axis, axis)
    image = profile(xx, yy)
    within = ((np.arange(CUSP) + 0.5) / CUSP - 0.5) / FINE
    for i, j in zip(*np.nonzero(np.hypot(xx - galaxy.x, yy - galaxy.y) < 0.35), strict=True):
        image[i, j] = profile(*np.meshgrid(axis[j] + within, axis[i] + within)).mean()
    n, b = galaxy.sersic, sersic_b(galaxy.sersic)
    total = 2 * np.pi * n * galaxy.half_light_px**2 * galaxy.axis_ratio
    total *= np.exp(b) * b ** (-2 * n) * special.gamma(2 * n)
    image /= total * FINE**2
    r = np.arange(-15 * FINE - FINE // 2, 15 * FINE + FINE // 2 + 1) / FINE
    alpha2 = (FWHM / 2) ** 2 / (2 ** (1 / BETA) - 1)
    psf = (1 + (r[:, None] ** 2 + r**2) / alpha2) ** -BETA
    seen = signal.fftconvolve(image, psf / psf.sum(), mode="same")
    side = 2 * wide + 1
    pixels = seen.reshape(side, FINE, side, FINE).sum(axis=(1, 3))
    return pixels[16:-16, 16:-16]


@pytest.mark.parametrize(
    "galaxy",
    [
        SersicGalaxy(0.3, -0.3, 1.0, 1.0, 0.0, 1.0),
        SersicGalaxy(0.3, -0.3, 3.0, 0.5, 0.6, 4.0),
        SersicGalaxy(-0.5, 0.45, 2.0, 0.3, -1.0, 4.0),
        SersicGalaxy(0.0, 0.1, 6.0, 0.2, 0.6, 1.0),
    ],
    ids=["disc", "de Vaucouleurs", "flat de Vaucouleurs", "edge-on disc"],
)
def test_pixels_are_those_of_the_oracle_within_a_percent(galaxy: SersicGalaxy) -> None:
    half = 30
    expected = oracle(galaxy, half)
    stamp, x0, y0 = galaxy_stamp(galaxy, make_psf(FWHM, BETA, radius=15))
    frame = np.zeros((2 * half + 1, 2 * half + 1))
    image, sum2 = render_galaxies(
        frame.shape, [galaxy._replace(x=galaxy.x + half, y=galaxy.y + half)], np.ones(1),
        lambda x, y: make_psf(FWHM, BETA, radius=15),
    )  # fmt: skip
    assert image.sum(dtype=float) == pytest.approx(expected.sum(), rel=0.002)
    assert np.abs(image - expected).max() < 0.006 * expected.max()
    at = (image * np.indices(frame.shape)).sum(axis=(1, 2), dtype=float) / image.sum(dtype=float)
    wanted = (expected * np.indices(frame.shape)).sum(axis=(1, 2)) / expected.sum()
    np.testing.assert_allclose(at, wanted, atol=0.01)
    assert stamp.sum() == pytest.approx(1, abs=0.01)
    assert sum2[0] == pytest.approx(np.square(stamp).sum())
    assert sum2[0] == pytest.approx(np.square(expected).sum(), rel=0.02)
    assert (x0, y0) == tuple(-(side // 2) for side in stamp.shape[::-1])


def test_a_tiny_galaxy_is_a_star_and_a_turned_one_is_turned() -> None:
    psf = make_psf(2.5, 3.0)
    stamp, _, _ = galaxy_stamp(SersicGalaxy(10.0, 20.0, 0.01, 1.0, 0.0, 4.0), psf)
    middle = stamp.shape[0] // 2
    star = psf.bank[4, 4]
    around = stamp[middle - psf.radius : middle + psf.radius + 1,
                   middle - psf.radius : middle + psf.radius + 1]  # fmt: skip
    assert np.abs(around - star).max() < 0.01 * star.max()
    flat = galaxy_stamp(SersicGalaxy(0.0, 0.0, 4.0, 0.3, 0.0, 1.0), psf)[0]
    upright = galaxy_stamp(SersicGalaxy(0.0, 0.0, 4.0, 0.3, np.pi / 2, 1.0), psf)[0]
    assert flat.shape[1] > flat.shape[0]
    np.testing.assert_allclose(flat, upright.T, atol=1e-12)
    # From +x towards +y: the light is in the first and third quadrant.
    turned = galaxy_stamp(SersicGalaxy(0.0, 0.0, 4.0, 0.3, 0.7, 1.0), psf)[0]
    y, x = np.indices(turned.shape) - np.array(turned.shape)[:, None, None] // 2
    assert (turned * x * y).sum() > 0.5


@pytest.mark.parametrize(
    ("galaxy", "message"),
    [
        (SersicGalaxy(0, 0, 2, 1, 0, 9.0), "an index between 0.3 and 6; got 9.0"),
        (SersicGalaxy(0, 0, 0, 1, 0, 1.0), "a half-light radius above 0"),
        (SersicGalaxy(0, 0, 2, 1.2, 0, 1.0), "an axis ratio between 0.05 and 1; got 1.2"),
    ],
)
def test_impossible_galaxies_are_refused(galaxy: SersicGalaxy, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        galaxy_stamp(galaxy, make_psf(2.0))


def quiet(**changes: object) -> Frame:
    data = np.random.default_rng(5).normal(500.0, 10.0, (300, 420))
    return Frame(data=data, name="quiet", zero_point=25.0, **changes)  # type: ignore[arg-type]


def test_injected_galaxies_have_their_flux_snr_and_noise() -> None:
    frame, psf = quiet(gain=2.0, pixel_scale_arcsec=0.4), make_psf(2.5, 3.0)
    wanted = InjectionSettings(number=8, galaxies=12, size=(1, 6), snr=(20, 200), sersic=(1, 2.5))
    sources = draw_injected(frame, psf, wanted, np.random.default_rng(1))
    galaxies = sources.select(sources.is_galaxy)
    assert (len(galaxies), int(sources.is_point.sum())) == (12, 8)
    assert np.isnan(sources["half_light_px"][sources.is_point]).all()
    size = galaxies["half_light_px"]
    assert ((size >= 1) & (size <= 6)).all()
    assert galaxies["half_light_arcsec"] == pytest.approx(0.4 * size)
    assert set(galaxies["sersic"]) == {1.0, 2.5}
    assert galaxies["mag"] == pytest.approx(25 - 2.5 * np.log10(galaxies["flux"]))
    assert ((galaxies["snr"] >= 19) & (galaxies["snr"] <= 201)).all()
    # The same light of sources that do not overlap: photon noise only, mean zero.
    apart = np.hypot(*(sources.xy[:, None] - galaxies.xy[None]).transpose(2, 0, 1))
    reach = 8 * psf.fwhm + 2 * size
    assert (apart[sources.is_point] >= reach).all()
    # A galaxy at the border loses light.
    inner = (galaxies.xy > 60).all(axis=1) & (galaxies.xy < (360, 240)).all(axis=1)
    assert inner.sum() >= 3
    galaxies = galaxies.select(inner)
    noisy = inject(frame, galaxies, psf, np.random.default_rng(2)).data - frame.data
    even = inject(frame.with_(gain=None), galaxies, psf, np.random.default_rng(2)).data - frame.data
    flux = float(galaxies["flux"].sum())
    assert even.sum(dtype=float) == pytest.approx(flux, rel=0.01)
    assert noisy.sum(dtype=float) == pytest.approx(even.sum(dtype=float), abs=5 * (flux / 2) ** 0.5)
    bright = even > 5
    assert np.var((noisy - even)[bright] / np.sqrt(even[bright] / 2)) == pytest.approx(1, abs=0.15)


def test_a_matched_filter_measures_the_stated_snr() -> None:
    frame, psf = quiet(), make_psf(2.5, 3.0)
    source = Catalog.build(
        x=[210.3], y=[150.2], flux=[1.0], kind=["galaxy"], half_light_px=[4.0], axis_ratio=[0.6],
        theta=[0.4], sersic=[1.0],
    )  # fmt: skip
    _, sum2 = render_galaxies(
        frame.shape, [SersicGalaxy(210.3, 150.2, 4.0, 0.6, 0.4, 1.0)], np.ones(1), lambda x, y: psf
    )
    light = inject(
        frame.with_(data=np.zeros(frame.shape), zero_point=None),
        source.with_columns(flux=[1e4]), psf, np.random.default_rng(1),
        background=_flat(frame),
    ).data.astype(float) / 1e4  # fmt: skip
    noise = np.random.default_rng(3).normal(0, 10, (200, *frame.shape))[:, 110:190, 170:250]
    measured = (noise * light[110:190, 170:250]).sum(axis=(1, 2)) / np.square(light).sum()
    assert np.std(measured) == pytest.approx(10 / np.sqrt(sum2[0]), rel=0.12)


def _flat(frame: Frame):
    from skyduel.core.measure.background import Background

    one = np.ones(frame.shape, dtype=np.float32)
    return Background(level=0 * one, rms=one, global_level=0.0, global_rms=1.0)


def test_the_family_of_galaxies_is_no_part_of_the_others() -> None:
    assert list(FURTHER_FAMILIES) == ["galaxies"]
    assert not set(FAMILIES) & set(FURTHER_FAMILIES)
    rng = np.random.default_rng(5)
    settings = draw_settings("galaxies", rng, ny=160, nx=192)
    frame, truth = simulate(settings, rng, "galaxies")
    galaxies = truth.select(truth.is_galaxy)
    assert len(galaxies) > 8
    assert truth.is_point.sum() > 8
    assert "ignore" not in truth
    assert ((galaxies["theta"] >= -np.pi / 2) & (galaxies["theta"] < np.pi / 2)).all()
    assert galaxies["half_light_arcsec"] == pytest.approx(
        galaxies["half_light_px"] * frame.pixel_scale_arcsec
    )
    _, again = simulate(settings, np.random.default_rng(1))
    assert set(again["kind"]) <= {"point", "galaxy"}


def test_a_bright_galaxy_of_a_scene_has_its_flux_and_snr() -> None:
    settings = SceneSettings(
        ny=160, nx=160, density=0, galaxies=1 / 160**2, galaxies_count=True, sky=100,
        galaxy_radius=(2, 3), min_snr=3e4, max_snr=3e4, quantise=False, gain=1e6, read_noise=0,
    )  # fmt: skip
    for seed in range(20):
        frame, truth = simulate(settings, np.random.default_rng(seed))
        inner = (np.abs(truth.xy - 79.5) < 40).all(axis=1)
        if len(truth) == 1 and inner.all():
            break
    assert frame.data.sum(dtype=float) - 100 * frame.data.size == pytest.approx(
        truth["flux"][0], rel=0.02
    )
    assert truth["snr"][0] == pytest.approx(3e4, rel=0.2)  # drawn by an estimate, stated exactly


def test_a_truth_with_galaxies_is_read_as_it_was_written(tmp_path) -> None:
    rng = np.random.default_rng(5)
    _, truth = simulate(draw_settings("galaxies", rng, ny=96, nx=96), rng)
    for name in ("t.ecsv", "t.fits", "t.csv", "t.json"):
        write_catalog(truth, tmp_path / name)
        back = read_catalog(tmp_path / name)
        assert back["kind"].tolist() == truth["kind"].tolist()
        for column in ("half_light_px", "axis_ratio", "sersic", "theta"):
            np.testing.assert_allclose(back[column], truth[column], rtol=1e-12)
