"""Images in memory: arrays, masked arrays, Quantity, NDData, CCDData and HDUs become frames."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.wcs import WCS

import skyduel
from skyduel.core import BadInputError, Catalog, Frame
from skyduel.core.io.frames import frame_in_memory

Y, X = np.mgrid[:60, :80]
DATA = np.random.default_rng(3).normal(100.0, 3.0, Y.shape)
for x0, y0 in ((20, 15), (60, 40), (33, 44)):
    DATA = DATA + 900 * np.exp(-((X - x0) ** 2 + (Y - y0) ** 2) / 4.5)
DATA = DATA.astype(np.float32)
MASK = np.zeros(DATA.shape, dtype=bool)
MASK[10:21, 15:26] = True  # over the first star


def header() -> fits.Header:
    cards = {"GAIN": 1.5, "MAGZERO": 25.0, "SATURATE": 6e4, "EXPTIME": 30.0}
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [40.5, 30.5], [-3e-4, 3e-4]
    made = wcs.to_header()
    made.update(cards)
    return made


@pytest.mark.parametrize(
    "image",
    [DATA, DATA.astype(">f4"), DATA.astype(np.float64), DATA.tolist(), DATA * u.adu,
     NDData(DATA), fits.PrimaryHDU(DATA), fits.HDUList([fits.PrimaryHDU(DATA)]),
     fits.ImageHDU(DATA, name="SCI")],
    ids=["float32", "big-endian", "float64", "list", "Quantity", "NDData", "hdu", "hdus", "image"],
)  # fmt: skip
def test_pixels_are_those_given(image: object) -> None:
    frame = frame_in_memory(image)
    assert frame.name == "image"
    np.testing.assert_array_equal(frame.data, DATA)
    assert not frame.bad.any()
    found = skyduel.find_sources(image, "sep")
    expected = skyduel.find_sources(Frame(data=DATA, name="image"), "sep")
    np.testing.assert_array_equal(found.xy, expected.xy)
    assert len(found) == 3


@pytest.mark.parametrize(
    "image",
    [np.ma.masked_array(DATA, MASK), NDData(DATA, mask=MASK), CCDData(DATA, unit="adu", mask=MASK)],
    ids=["masked array", "NDData", "CCDData"],
)
def test_masks_come_along(image: object) -> None:
    np.testing.assert_array_equal(frame_in_memory(image).bad, MASK)
    assert len(skyduel.find_sources(image, "sep")) == 2


def test_a_frame_of_a_masked_array_joins_both_masks() -> None:
    other = np.zeros_like(MASK)
    other[50] = True
    given = np.ma.masked_array(DATA, MASK)
    np.testing.assert_array_equal(Frame(data=given, name="f").bad, MASK)
    np.testing.assert_array_equal(Frame(data=given, mask=other, name="f").bad, MASK | other)
    with pytest.raises(BadInputError, match=r"a mask of the image's shape \(60, 80\)"):
        Frame(data=given, mask=other[1:], name="f")


def test_headers_units_and_coordinates_are_read_as_those_of_a_file() -> None:
    ccd = CCDData(
        DATA, unit="adu", meta=header(), wcs=WCS(header()), uncertainty=StdDevUncertainty(DATA)
    )
    for image in (ccd, fits.PrimaryHDU(DATA, header())):
        frame = skyduel.read_frame(image, name="ngc", fwhm=3.5)
        assert (frame.name, frame.fwhm, frame.gain, frame.zero_point) == ("ngc", 3.5, 1.5, 25.0)
        assert frame.saturation == 6e4
        assert frame.wcs is not None
        found = skyduel.find_sources(frame, "sep")
        assert found["ra"] == pytest.approx(150.0, abs=0.02)
    electrons = skyduel.read_frame(DATA * u.electron)
    assert electrons.gain == pytest.approx(1.0)


def test_a_frame_stays_and_may_be_given_facts() -> None:
    frame = Frame(data=DATA, name="f")
    assert skyduel.read_frame(frame) is frame
    assert skyduel.read_frame(frame, gain=2.0).gain == 2.0


@pytest.mark.parametrize(
    ("image", "required"),
    [
        (DATA[0], "a two-dimensional image"),
        (np.stack([DATA, DATA]), "a two-dimensional image"),
        (np.stack([DATA, DATA]) * u.adu, "a two-dimensional image"),
        (NDData(DATA[0]), "a two-dimensional image"),
        (DATA * np.nan, "at least one usable pixel"),
        (DATA + 1j, "real pixel values"),
        (None, "an array"),
        ({"a": 1}, "an array"),
        ([[1, 2], [3]], "an array"),
        (np.array([["a", "b"]]), "an array"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(image: object, required: str) -> None:
    with pytest.raises(BadInputError, match=required):
        skyduel.find_sources(image, "sep")


def test_score_takes_an_image_and_refuses_what_is_no_catalogue() -> None:
    truth = Catalog.build(x=[20.0, 60.0, 33.0], y=[15.0, 40.0, 44.0])
    found = skyduel.find_sources(DATA, "sep")
    report = skyduel.score(truth, found, frame=DATA)
    assert report.frame.counts.truths_found.sum() == 3
    with pytest.raises(BadInputError, match=r"score: truth: required a Catalog .*; got ndarray"):
        skyduel.score(truth.xy, found)


class Nothing:
    """A detector without settings."""

    name = "nothing"

    def __call__(self, frame: Frame) -> Catalog:
        return Catalog.build(x=[], y=[])


@pytest.mark.parametrize(
    ("detector", "got"),
    [(Nothing(), "Nothing"), (Nothing, "the class Nothing"), (len, "builtin_function_or_method")],
)
def test_what_is_no_detector_is_refused_in_one_line(detector: object, got: str) -> None:
    wanted = f"detector: required something with a name, settings and a call; got {got}"
    with pytest.raises(BadInputError, match=wanted):
        skyduel.find_sources(DATA, detector)


def test_settings_beside_a_detector_are_refused() -> None:
    made = skyduel.make_detector("sep")
    with pytest.raises(BadInputError, match="'sep': required settings only of a detector given"):
        skyduel.find_sources(DATA, made, DETECT_THRESH=2.0)
