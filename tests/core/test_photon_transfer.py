"""The gain that a frame's own photon noise shows, where no header states it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.paths import DATA, needs_data
from scipy import ndimage

from skyduel.core import read_frame
from skyduel.core.io.pixel_checks.check_facts import MEASURED_GAIN
from skyduel.core.io.pixel_checks.photon_transfer import MOST_ERROR, photon_transfer
from skyduel.core.used_facts import used_facts
from skyduel.simulation import SceneSettings, simulate

Pixels = np.ndarray


@functools.cache
def scene(gain: float, fwhm: float = 3.5, stars: int = 400, seed: int = 1, **more: float) -> Pixels:
    """Pixels of a simulated frame whose stars are bright and whose sky is 400 electrons."""
    settings = SceneSettings(
        ny=320,
        nx=320,
        gain=gain,
        fwhm=fwhm,
        density=stars / 320**2,
        min_snr=20,
        sky=400 / gain,
        read_noise=3,
        bias=200,
        saturation=1e7,
        **more,
    )
    return simulate(settings, np.random.default_rng(seed))[0].data


def measure(pixels: Pixels, **more: bool):  # type: ignore[no-untyped-def]
    return photon_transfer(pixels, np.zeros(pixels.shape, dtype=bool), 1e7, **more)


@pytest.mark.parametrize("gain", [0.05, 0.25, 1.0, 10.0])
def test_it_is_the_gain_within_its_error(gain: float) -> None:
    found = measure(scene(gain, cosmic_rays=50, hot_pixels=50, gradient=0.3, vignetting=0.2))
    assert found.good
    assert abs(found.per_electron - 1 / gain) < 3 * found.error
    assert found.gain == pytest.approx(gain, rel=0.3)


@pytest.mark.parametrize("fwhm", [3.0, 4.0, 6.0])
def test_errors_are_standard_errors(fwhm: float) -> None:
    found = [measure(scene(1.0, fwhm, seed=seed)) for seed in range(8)]
    pulls = [(f.per_electron - 1.0) / f.error for f in found if f.trusted]
    assert len(pulls) >= 5
    assert np.sqrt(np.mean(np.square(pulls))) < 1.8
    assert abs(np.mean(pulls)) < 1.2


def test_the_unit_of_the_pixels_is_that_of_the_gain() -> None:
    image = scene(1.0)
    at, scaled = measure(image), measure((image - 500.0) * 1e-6)
    # The limit of saturation is far above the pixels both times.
    assert scaled.gain == pytest.approx(1e6 * at.gain, rel=1e-6)
    assert scaled.relative_error == pytest.approx(at.relative_error, rel=1e-6)


def test_undersampled_stars_are_not_trusted() -> None:
    found = measure(scene(1.0, 1.2))
    assert not found.good


def test_resampled_and_stretched_pixels_are_not_trusted() -> None:
    image = scene(1.0).astype(np.float64)
    shifted = ndimage.shift(image, (0.5, 0.5), order=1, mode="nearest")
    for other in (shifted, ndimage.gaussian_filter(image, 0.5), np.arcsinh((image - 600) / 20)):
        found = measure(other)
        assert found is None or not found.good


def test_few_sources_and_blank_frames_have_none() -> None:
    rng = np.random.default_rng(3)
    blank = rng.normal(500, 10, (200, 200))
    coarse = np.round(rng.normal(100, 0.2, (100, 100)))
    for image in (blank, coarse, np.full((64, 64), 7.0), rng.normal(0, 1, (9, 40))):
        found = measure(image)
        assert found is None or not found.good
    assert photon_transfer(np.ones((64, 64)), np.ones((64, 64), dtype=bool)) is None


def test_planes_of_a_mosaic_are_measured_apart() -> None:
    rng = np.random.default_rng(4)
    points = np.zeros((320, 320))
    points[tuple(rng.integers(8, 312, (2, 300)))] = np.geomspace(5e3, 5e5, 300)
    light = ndimage.gaussian_filter(points, 2.5)
    colour = np.tile([[1.0, 0.6], [0.6, 0.4]], (160, 160))
    pixels = rng.poisson((light + 400) * colour * 0.5) / 0.5
    seen, told = measure(pixels), measure(pixels, mosaic=True)
    assert told.per_electron == pytest.approx(2.0, abs=3 * told.error)
    # The pattern of the sky shows that it is a mosaic.
    assert seen.gain == pytest.approx(told.gain)


def write(path: Path, pixels: Pixels, **cards: object) -> Path:
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    fits.writeto(path, pixels.astype(np.float32), header)
    return path


def test_a_frame_of_unknown_gain_has_the_measured_one_and_says_so(tmp_path: Path) -> None:
    image, error = scene(0.25), measure(scene(0.25)).relative_error
    setting = read_frame(write(tmp_path / "a.fits", image, GAIN=(110, "Sub Gain"), SATURATE=1e7))
    silent = read_frame(write(tmp_path / "b.fits", image, SATURATE=1e7))
    assert setting.gain == silent.gain == pytest.approx(0.25, rel=3 * error)
    assert MEASURED_GAIN in str(silent.sources["gain"])
    words = used_facts(setting)
    assert words.used["gain"].startswith(f"{setting.gain:.6g} e- per pixel unit (+/- ")
    (line,) = words.set_aside
    assert line.startswith("GAIN = 110: set aside (a camera's setting: Sub Gain); gain 0.2")
    assert line.endswith(MEASURED_GAIN)
    assert not words.notes
    (note,) = used_facts(silent).notes
    assert note.startswith("b: gain 0.2")
    assert not used_facts(silent).set_aside


def test_a_stated_or_removed_gain_is_not_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", scene(0.25), EGAIN=0.25, SATURATE=1e7)
    assert str(read_frame(path).sources["gain"]) == "EGAIN = 0.25"
    assert read_frame(path, gain=2.0).gain == 2.0
    assert read_frame(path, gain=None).gain is None
    rate = write(tmp_path / "b.fits", scene(0.25), BUNIT="MJy/sr", SATURATE=1e7)
    assert read_frame(rate).gain is None


def test_a_setting_that_agrees_with_the_noise_of_the_sky_is_found_out(tmp_path: Path) -> None:
    # A bias level of so many thousands that the noise of the sky is that of a gain of 45.
    image = scene(1.0) + 19000.0
    frame = read_frame(write(tmp_path / "a.fits", image, GAIN=45, SATURATE=1e7))
    assert frame.gain == pytest.approx(1.0, rel=0.5)
    (line,) = used_facts(frame).set_aside
    assert "GAIN = 45: set aside (a whole number without a unit: a camera's setting" in line or (
        "GAIN = 45: set aside (a camera's setting; the photon noise of its sources is that of"
        in line
    )


def test_a_gain_is_contradicted_beyond_a_factor_and_two_sigma() -> None:
    found = measure(scene(1.0))
    assert found.relative_error < MOST_ERROR
    assert not any(found.contradicts(gain) for gain in (0.4, 1.0, 2.5))
    assert all(found.contradicts(gain) for gain in (0.1, 20.0))


@needs_data
@pytest.mark.parametrize("pattern", ["skymaker/*_000.fits.fz", "sbig_tres1/tres1-*[0-9].fits.fz"])
def test_no_right_gain_of_real_and_skymaker_frames_is_contradicted(pattern: str) -> None:
    for path in sorted(DATA.glob(pattern)):
        frame = read_frame(path)
        assert frame.gain is not None
        found = photon_transfer(frame.data, frame.bad, frame.saturation)
        assert found is None or not found.contradicts(frame.gain)
        if found is not None and found.good:
            assert found.gain == pytest.approx(frame.gain, rel=0.25)
