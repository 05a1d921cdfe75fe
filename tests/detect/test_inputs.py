"""The input channels are in units of the noise and independent of the unit of the data."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core import Frame, estimate_background
from skyduel.detect.model.inputs import CHANNELS, frame_channels


def noise(shape: tuple[int, int] = (160, 224), seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(300.0, 7.0, shape).astype(np.float32)


def channels_of(frame: Frame) -> np.ndarray:
    return frame_channels(frame, estimate_background(frame))


def test_the_channels_are_in_units_of_the_noise() -> None:
    out = channels_of(Frame(data=noise(), name="noise"))
    assert out.shape == (len(CHANNELS), 160, 224)
    assert out.dtype == np.float32
    linear, asinh, smooth, unusable = out * 4
    assert linear.mean() == pytest.approx(0, abs=0.05)
    assert linear.std() == pytest.approx(1, abs=0.05)
    # The matched map of white noise has a standard deviation of 1 as well.
    assert smooth.std() == pytest.approx(1, abs=0.06)
    np.testing.assert_allclose(asinh, np.arcsinh(linear), atol=1e-5)
    assert not unusable.any()


def test_a_bright_pixel_is_clipped_in_one_channel_and_kept_apart_in_the_other() -> None:
    data = noise()
    data[50, 70], data[50, 150] = 300 + 7 * 1000, 300 + 7 * 9000
    frame = Frame(data=data, name="bright")
    sky = estimate_background(frame)
    out = frame_channels(frame, estimate_background(frame)) * 4
    assert out[0, 50, 70] == out[0, 50, 150] == out[2, 50, 150] == 12
    for x in (70, 150):
        z = (data[50, x] - sky.level[50, x]) / sky.rms[50, x]
        assert out[1, 50, x] == pytest.approx(np.arcsinh(z), rel=1e-5)
    assert frame_channels(frame, estimate_background(frame))[0].min() >= -6 / 4


def test_masked_pixels_are_marked_and_empty_saturated_ones_half_marked() -> None:
    data = noise()
    data[20, 30] = 5000
    data[40, 60] = 5000
    mask = np.zeros(data.shape, bool)
    mask[40, 60] = mask[100:110, 7] = True
    out = channels_of(Frame(data=data, mask=mask, saturation=4000, name="marks"))
    assert (out[3][mask] == 1).all()
    assert out[3, 20, 30] == 0.5
    assert out[3].sum() == mask.sum() + 0.5
    assert not out[:2, mask].any()
    assert out[2, 40, 60] < 1.0, "a masked bright pixel must not leak into the smoothed map"


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0.0), (8.0, 1000.0), (1.7, -400.0)])
def test_the_frame_s_own_unit_does_not_matter(scale: float, offset: float) -> None:
    data = noise()
    data[30:33, 40:43] += 60
    plain = channels_of(Frame(data=data, name="a"))
    other = channels_of(Frame(data=data * np.float32(scale) + np.float32(offset), name="b"))
    np.testing.assert_allclose(other, plain, atol=0.02)
    assert np.abs(other - plain).mean() < 2e-3


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (37, 1), (5, 9), (70, 33)])
@pytest.mark.parametrize("constant", [True, False])
def test_every_frame_with_a_usable_pixel_gives_finite_channels(
    shape: tuple[int, int], constant: bool
) -> None:
    data = np.full(shape, 12.0) if constant else noise(shape)
    mask = np.ones(shape, bool)
    mask[0, 0] = False
    for m in (None, mask):
        out = channels_of(Frame(data=data, mask=m, name="odd"))
        assert out.shape == (4, *shape)
        assert np.isfinite(out).all()


@pytest.mark.parametrize("box", [(0, 40, 0, 50), (37, 91, 64, 161), (120, 160, 200, 224)])
def test_a_part_is_that_part_of_the_whole(box: tuple[int, int, int, int]) -> None:
    data = noise()
    data[40, 60:63] = data[118:121, 203] = 9000
    mask = np.zeros(data.shape, bool)
    mask[90:93, 150:170] = True
    frame = Frame(data=data, mask=mask, saturation=4000, name="parts")
    y0, y1, x0, x1 = box
    whole = frame_channels(frame, estimate_background(frame))[:, y0:y1, x0:x1]
    np.testing.assert_array_equal(frame_channels(frame, estimate_background(frame), box), whole)
