"""Compare the background with SEP, and test frames that SEP cannot handle."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import forced_photometry
from skyduel.core.measure.background import Background, estimate_background


def sky(ny: int = 150, nx: int = 210, level: float = 100.0, rms: float = 5.0) -> np.ndarray:
    return np.random.default_rng(7).normal(level, rms, (ny, nx)).astype(np.float32)


def test_it_is_what_sep_says() -> None:
    image = sky() + np.linspace(0, 40, 210, dtype=np.float32)
    mask = np.zeros(image.shape, dtype=bool)
    mask[10:30, 50:90] = True
    image[10:30, 50:90] = 1e5
    got = estimate_background(Frame(data=image, mask=mask, name="f"), mesh_px=32, filter_meshes=5)
    want = sep.Background(image, mask=mask, bw=32, bh=32, fw=5, fh=5)
    np.testing.assert_array_equal(got.level, want.back())
    np.testing.assert_array_equal(got.rms, want.rms())
    assert (got.global_level, got.global_rms) == (want.globalback, want.globalrms)


def test_it_follows_a_gradient() -> None:
    ramp = np.linspace(0, 60, 210, dtype=np.float32)
    got = estimate_background(Frame(data=sky() + ramp, name="f"), mesh_px=32)
    inner = got.level[20:-20, 20:-20] - (100 + ramp)[20:-20]
    assert np.abs(inner).max() < 6
    assert 4 < np.median(got.rms) < 6.5


@pytest.mark.parametrize("dtype", [">i2", ">u2", "<i4", ">f4", ">f8", "u1"])
def test_any_pixel_type(dtype: str) -> None:
    got = estimate_background(Frame(data=sky().astype(dtype), name="f"))
    assert got.level.dtype == got.rms.dtype == np.float32
    assert got.global_level == pytest.approx(100, abs=2)
    assert got.global_rms == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (1, 40), (3, 2), (20, 31), (64, 65), (63, 200)])
def test_frames_smaller_than_a_mesh(shape: tuple[int, int]) -> None:
    image = sky()[: shape[0], : shape[1]]
    got = estimate_background(Frame(data=image, name="f"))
    assert got.level.shape == got.rms.shape == shape
    assert np.abs(got.level - 100).max() < 20
    assert (got.rms > 0).all()


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
def test_heavy_masks_keep_level_and_noise(fraction: float) -> None:
    # SEP alone reports level 0 and noise 1 from 0.5 on.
    image = sky()
    mask = np.random.default_rng(1).random(image.shape) < fraction
    image[mask] = -1e6
    got = estimate_background(Frame(data=image, mask=mask, name="f"))
    assert got.global_level == pytest.approx(100, abs=2)
    assert got.global_rms == pytest.approx(5, rel=0.15)
    np.testing.assert_allclose(got.level, 100, atol=4)


def test_one_small_usable_corner() -> None:
    image = sky()
    mask = np.ones(image.shape, dtype=bool)
    mask[:20, :25] = False
    got = estimate_background(Frame(data=image, mask=mask, name="f"))
    np.testing.assert_allclose(got.level, 100, atol=2)
    np.testing.assert_allclose(got.rms, 5, rtol=0.2)


def test_a_constant_region_does_not_make_zero_noise() -> None:
    image = sky()
    image[:, :64] = 0.0
    got = estimate_background(Frame(data=image, name="f"), mesh_px=32)
    assert got.rms.min() == pytest.approx(0.1 * np.median(got.rms), rel=0.3)
    assert got.rms.min() > 0


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_quantised_to_a_constant_the_noise_is_rounding(step: float) -> None:
    image = np.full((80, 130), 7 * step, dtype=np.float32)
    image[40, 3] += step
    image[40, 4] += 3 * step
    got = estimate_background(Frame(data=image, name="f"))
    assert got.global_level == pytest.approx(7 * step, rel=0.01)
    assert 0 < got.rms.min() < step


def test_exactly_constant_data_has_some_noise() -> None:
    got = estimate_background(Frame(data=np.zeros((30, 50)), name="f"))
    assert isinstance(got, Background)
    np.testing.assert_allclose(got.rms, 1 / np.sqrt(12), rtol=1e-6)
    assert got.global_rms > 0


def test_a_sentinel_pixel_is_outvoted() -> None:
    image = sky()
    image[5, 6] = -1e30
    image[7, 8] = 1e30
    got = estimate_background(Frame(data=image, name="f"))
    assert got.global_level == pytest.approx(100, abs=2)


def test_the_arrays_are_read_only_and_the_frame_untouched() -> None:
    frame = Frame(data=sky(), name="f")
    before = frame.data.copy()
    got = estimate_background(frame)
    np.testing.assert_array_equal(frame.data, before)
    with pytest.raises(ValueError, match="read-only"):
        got.level[0, 0] = 1


def test_values_beyond_single_precision_are_an_error() -> None:
    rng = np.random.default_rng(0)
    frame = Frame(data=rng.normal(2e38, 1e36, (100, 120)), name="huge")
    with pytest.raises(BadInputError, match=r"huge: required pixel values .* got values up to"):
        estimate_background(frame)


@pytest.mark.parametrize("name", ["mesh_px", "filter_meshes"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(BadInputError, match=f"{name}: required a size of at least 1; got 0"):
        estimate_background(Frame(data=sky(), name="f"), **{name: 0})


def rounded(rms: float, step: float = 1.0, level: float = 100.4, seed: int = 3) -> np.ndarray:
    """A blank frame [ADU] whose values are multiples of a step."""
    smooth = np.random.default_rng(seed).normal(level, rms, (256, 320))
    return (np.rint(smooth / step) * step).astype(np.float32)


@pytest.mark.parametrize("step", [1.0, 16.0, 0.37])
@pytest.mark.parametrize("steps", [1.0, 1.2, 2.0, 3.3, 6.0, 9.0])
def test_coarsely_quantized_frames_have_no_biased_level(steps: float, step: float) -> None:
    rms = steps * step
    frame = Frame(data=rounded(rms, step, level=100.4 * step), name="f")
    got = estimate_background(frame)
    # The mean of a mesh is known to rms/64; nine of them are filtered, and the mode is noisier.
    assert abs(np.mean(got.level) - 100.4 * step) < 0.03 * rms + 0.01 * step
    assert np.abs(got.level - 100.4 * step).max() < 0.12 * rms + 0.05 * step
    # Rounding adds step^2/12 of its own.
    assert np.median(got.rms) == pytest.approx(np.hypot(rms, step / np.sqrt(12)), rel=0.04)


def test_sextractors_own_estimate_is_biased_and_can_be_had() -> None:
    image = rounded(2.0)
    plain = estimate_background(Frame(data=image, name="f"), dither=False)
    np.testing.assert_array_equal(plain.level, sep.Background(image).back())
    assert np.abs(plain.level - 100.4).max() > 0.3


@pytest.mark.parametrize("image", [rounded(12.0), rounded(2.0, step=1e-3), sky(rms=2.0)],
                         ids=["fine noise", "fine steps", "floats"])  # fmt: skip
def test_frames_that_are_not_coarse_keep_seps_estimate(image: np.ndarray) -> None:
    got = estimate_background(Frame(data=image, name="f"))
    np.testing.assert_array_equal(got.level, sep.Background(image).back())


def test_the_dither_is_the_same_in_every_call_and_respects_the_mask() -> None:
    image = rounded(1.5)
    mask = np.random.default_rng(2).random(image.shape) < 0.7
    image[mask] = -5000.0
    frame = Frame(data=image, mask=mask, name="f")
    first, second = estimate_background(frame), estimate_background(frame)
    np.testing.assert_array_equal(first.level, second.level)
    assert np.abs(first.level - 100.4).max() < 0.2
    assert frame.data[mask].max() == -5000.0


@pytest.mark.parametrize("rms", [1.2, 2.0, 5.0])
def test_forced_photometry_of_nothing_is_nothing_on_whole_numbers(rms: float) -> None:
    frame = Frame(data=rounded(rms), fwhm=3.0, name="f")
    x, y = (a.ravel() for a in np.meshgrid(np.arange(12.0, 309, 12), np.arange(12.0, 245, 12)))
    measured = forced_photometry(frame, Catalog.build(x=x, y=y))
    flux = np.asarray(measured["aper_flux"])
    assert abs(flux.mean()) < 4 * flux.std() / np.sqrt(flux.size)


@pytest.mark.parametrize("level", [-3e38, 0.0, 3e38])
def test_pixels_at_the_end_of_single_precision_give_no_warning(level: float) -> None:
    rng = np.random.default_rng(8)
    image = level + rng.normal(0, 1e36, (70, 90))
    if level == 0:
        image = np.where(rng.random((70, 90)) < 0.5, 3e38, -3e38)
    frame = Frame(data=image.astype(np.float32), name="f")
    if level < 0:
        got = estimate_background(frame)
        assert np.isfinite(got.level).all()
        assert (got.rms > 0).all()
    else:  # SEP's own sums overflow
        with pytest.raises(BadInputError, match="single precision can hold"):
            estimate_background(frame)
