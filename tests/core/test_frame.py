"""A frame is validated at construction and cannot be changed."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from astropy.wcs import WCS

from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame

NY, NX = 4, 7


def image() -> np.ndarray:
    return np.arange(NY * NX, dtype=float).reshape(NY, NX)


@pytest.mark.parametrize("dtype", [">i2", "<u2", ">f4", "f8", "i8", "u1", bool])
def test_any_real_pixels_become_native_float32(dtype: Any) -> None:
    frame = Frame(data=image().astype(dtype), name="f")
    assert frame.data.dtype == np.float32
    assert frame.data.flags.c_contiguous
    assert frame.shape == (NY, NX)
    np.testing.assert_array_equal(frame.data, image().astype(dtype).astype(float))


def test_a_transposed_view_is_laid_out_anew() -> None:
    frame = Frame(data=image().T, name="f")
    assert frame.shape == (NX, NY)
    assert frame.data.flags.c_contiguous


def test_what_is_not_finite_is_masked() -> None:
    data = image()
    data[0, 1], data[1, 2], data[2, 3], data[3, 4] = np.nan, np.inf, -np.inf, 1e300
    mask = np.zeros((NY, NX))
    mask[3, 6] = 2
    frame = Frame(data=data, mask=mask, name="f")
    assert frame.bad.sum() == 5
    assert frame.bad[3, 6]
    assert np.isfinite(frame.data).all()


def test_the_callers_arrays_stay_the_callers() -> None:
    data, mask = image().astype(np.float32), np.zeros((NY, NX), bool)
    frame = Frame(data=data, mask=mask, name="f")
    data[0, 0], mask[0, 0] = 99, True
    assert frame.data[0, 0] == 0
    assert not frame.bad[0, 0]


@pytest.mark.parametrize("array", ["data", "mask"])
def test_arrays_are_read_only_also_after_a_journey(array: str) -> None:
    frame = pickle.loads(pickle.dumps(Frame(data=image(), name="f", header={"A": 1})))
    assert frame.header["A"] == 1
    with pytest.raises(ValueError, match="read-only"):
        getattr(frame, array)[0, 0] = 1
    with pytest.raises(TypeError, match="item assignment"):
        frame.header["A"] = 2


def test_a_frame_with_a_wcs_travels() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-0.001, 0.001]
    back = pickle.loads(pickle.dumps(Frame(data=image(), name="f", wcs=wcs)))
    np.testing.assert_allclose(back.wcs.all_pix2world([[3, 4]], 0), wcs.all_pix2world([[3, 4]], 0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(5), r"two-dimensional image \(ny, nx\); got 1-D, shape \(5,\)"),
        (np.zeros((2, 3, 4)), r"got 3-D, shape \(2, 3, 4\)"),
        (np.zeros((0, 4)), r"an image with pixels; got shape \(0, 4\)"),
        (np.zeros((2, 3), complex), "real pixel values; got type complex128"),
        (np.full((2, 3), "a"), "real pixel values; got type <U1"),
        (np.full((2, 3), np.nan), "at least one usable pixel"),
    ],
)
def test_images_that_are_none(data: np.ndarray, message: str) -> None:
    with pytest.raises(BadInputError, match=f"bad one: required .*{message}"):
        Frame(data=data, name="bad one")


@pytest.mark.parametrize("fact", ["gain", "saturation", "exposure_s", "fwhm", "pixel_scale_arcsec"])
@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "high", [1, 2], 1j])
def test_facts_must_be_positive(fact: str, value: Any) -> None:
    with pytest.raises(BadInputError, match=f"f: required {fact} > 0; got"):
        Frame(data=image(), name="f", **{fact: value})


def test_read_noise_and_zero_point_have_their_own_limits() -> None:
    frame = Frame(data=image(), name="f", read_noise=0, zero_point=-3.5)
    assert (frame.read_noise, frame.zero_point) == (0, -3.5)
    with pytest.raises(BadInputError, match="read_noise >= 0; got -1"):
        frame.with_(read_noise=-1)
    with pytest.raises(BadInputError, match="a finite zero_point; got nan"):
        frame.with_(zero_point=float("nan"))


def test_saturation_is_at_and_above() -> None:
    frame = Frame(data=image(), name="f", saturation=26)
    assert frame.saturated().sum() == 2
    assert not Frame(data=image(), name="f").saturated().any()


def test_a_mask_of_another_shape() -> None:
    with pytest.raises(BadInputError, match=r"image's shape \(4, 7\); got shape \(7, 4\)"):
        Frame(data=image(), mask=np.zeros((NX, NY)), name="f")


def test_changes_make_a_new_frame() -> None:
    frame = Frame(data=image(), name="f", gain=2.0)
    other = frame.with_(gain=None, name="g")
    assert (frame.gain, other.gain, other.name) == (2.0, None, "g")
    assert repr(frame) == "Frame('f', ny=4, nx=7, masked=0, gain=2)"


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BadInputError("a", "b", "c")))
    assert (error.source, error.required, error.got) == ("a", "b", "c")
    assert str(error) == "a: required b; got c"


def test_positions_are_usable_masked_or_on_no_pixel() -> None:
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = True
    frame = Frame(data=np.ones((3, 4), np.float32), mask=mask, name="a")
    x = np.array([2.0, 1.49, 1.5, 2.49, -0.5, -0.51, 3.5, 3.49, np.nan, 1e30, 0.0])
    y = np.array([1.0, 1.0, 0.5, 1.49, 2.49, 0.0, 0.0, 0.0, 1.0, 1.0, 2.5])
    masked = [True, False, True, True, *[False] * 7]
    usable = [False, True, False, False, True, False, False, True, False, False, False]
    assert frame.masked_at(x, y).tolist() == masked
    assert frame.usable_at(x, y).tolist() == usable
