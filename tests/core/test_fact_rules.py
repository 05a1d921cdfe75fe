"""Facts of headers: believable values in the right unit, or unknown and said so."""

from __future__ import annotations

import functools
import pickle
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from helpers.paths import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import BadInputError, Frame, entry_of, open_large_image, read_frame, write_frame
from skyduel.core.frame import FactSource
from skyduel.core.io.images.fact_rules import FACT_RULES, facts_table
from skyduel.core.io.images.pixel_units import pixel_unit
from skyduel.core.io.pixel_checks.check_facts import central_box, star_widths
from skyduel.core.sections.large_image import Sectioning

FWHM, SKY = 3.0, 500.0


@functools.cache
def stars(fwhm: float = FWHM, n: int = 36, side: int = 200) -> np.ndarray:
    """Gaussian stars on a grid with noise, sky 500."""
    rng = np.random.default_rng(5)
    image = rng.normal(SKY, 10, (side, side))
    y, x = np.mgrid[:side, :side]
    step = side / 6
    for k in range(n):
        at = (np.array(divmod(k, 6)) + 0.5) * step + rng.uniform(-2, 2, 2)
        square = (y - at[0]) ** 2 + (x - at[1]) ** 2
        image += 3000 * np.exp(-4 * np.log(2) * square / fwhm**2)
    image = image.astype("f4")
    image.flags.writeable = False
    return image


def put(path: Path, image: np.ndarray | None = None, **cards: Any) -> Path:
    hdu = fits.PrimaryHDU(np.array(stars() if image is None else image))
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(path)
    return path


RIGHT: list[tuple[dict[str, Any], str, float]] = [
    ({"GAIN": "1.5"}, "gain", 1.5),
    ({"GAIN": 1.5, "BUNIT": "ADU"}, "gain", 1.5),
    ({"GAIN": 1.5, "BUNIT": "counts"}, "gain", 1.5),
    ({"GAIN": (80, "[e-/ADU]"), "BAYERPAT": "GRBG"}, "gain", 80.0),
    ({"GAIN": 0.25, "BAYERPAT": "GRBG"}, "gain", 0.25),
    ({"GAIN": (0.5, "ADU per electron")}, "gain", 2.0),
    ({"GAIN": (110, "Sub Gain"), "EGAIN": 0.25}, "gain", 0.25),
    ({"EGAIN": 9999, "GAIN": 1.5}, "gain", 1.5),
    ({"GAIN": 2.3, "BUNIT": "electron"}, "gain", 1.0),
    ({"GAIN": 80, "BUNIT": "photon"}, "gain", 1.0),
    ({"BUNIT": "ELECTRONS"}, "gain", 1.0),
    ({"BUNIT": "ELECTRONS/S", "CCDGAIN": 2.0, "EXPTIME": 1000.0}, "gain", 1000.0),
    ({"BUNIT": "e-/s", "EXPTIME": 30.0}, "gain", 30.0),
    ({"BUNIT": "electron s-1", "EXPTIME": 30.0}, "gain", 30.0),
    ({"BUNIT": ("counts/s", "photoelectrons per second"), "EXPTIME": 30.0}, "gain", 30.0),
    ({"BUNIT": "DN / s", "GAIN": 2.0, "EXPTIME": 30.0}, "gain", 60.0),
    ({"BUNIT": "electrons/s", "EXPOSURE": (0.5, "[d] time on source")}, "gain", 43200.0),
    ({"EXPTIME": (1500, "[ms]")}, "exposure_s", 1.5),
    ({"EXPTIME": (2, "exposure in minutes")}, "exposure_s", 120.0),
    ({"EXPTIME": (0.5, "hours")}, "exposure_s", 1800.0),
    ({"XPOSURE": 0.25, "TIMEUNIT": "d"}, "exposure_s", 21600.0),
    ({"EXPTIME": -1, "EXPOSURE": 5.0}, "exposure_s", 5.0),
    ({"FWHM": 3.2}, "fwhm", 3.2),
    ({"SEEING": (3.0, "[pixel]")}, "fwhm", 3.0),
    ({"FWHM": (3.0, "[arcsec]"), "PIXSCALE": 1.0}, "fwhm", 3.0),
    ({"FWHM": 0.0009, "SEEING": 6.0, "SECPIX": 2.0}, "fwhm", 3.0),
    ({"PIXSCALE": (0.5, "[arcsec/pixel]")}, "pixel_scale_arcsec", 0.5),
    ({"PIXSCALE": (0.001, "[deg]")}, "pixel_scale_arcsec", 3.6),
    ({"SATURATE": 6e4}, "saturation", 6e4),
    ({"SATURATE": 6e6, "BUNIT": "adu/s", "EXPTIME": 100.0}, "saturation", 6e4),
    ({"SATURATE": 3e4, "BUNIT": "electron", "GAIN": 2.0}, "saturation", 6e4),
    ({"SATURATE": (3e4, "electrons"), "BUNIT": "electron", "GAIN": 2.0}, "saturation", 3e4),
    ({"SATURATE": (8e4, "[e-]"), "GAIN": 2.0}, "saturation", 4e4),
    ({"RDNOISE": (3.0, "[adu]"), "GAIN": 2.0}, "read_noise", 6.0),
    ({"RDNOISE": (3.0, "[e-]"), "GAIN": 2.0}, "read_noise", 3.0),
    ({"MAGZERO": 99.99, "ZP": 25.0}, "zero_point", 25.0),
    # Units written into the value.
    ({"GAIN": "1.5 e-/ADU"}, "gain", 1.5),
    ({"GAIN": "0.5 adu/e-"}, "gain", 2.0),
    ({"EXPTIME": "1500 ms"}, "exposure_s", 1.5),
    ({"EXPTIME": "2.5E2 s"}, "exposure_s", 250.0),
    ({"SEEING": "3.0 pix"}, "fwhm", 3.0),
    ({"EXPTIME": "2.5E2"}, "exposure_s", 250.0),
    # Decimal commas.
    ({"GAIN": "1,5"}, "gain", 1.5),
    ({"EXPOSURE": "30,0"}, "exposure_s", 30.0),
    ({"EXPTIME": "1500,0 ms"}, "exposure_s", 1.5),
    ({"EXPTIME": "1234,567"}, "exposure_s", 1234.567),
    ({"EXPTIME": "1,5E2"}, "exposure_s", 150.0),
    ({"EXPTIME": "1,000", "EXPOSURE": "60,5"}, "exposure_s", 60.5),
    ({"GAIN": "0,125"}, "gain", 0.125),
    ({"GAIN": "1,5 e-/ADU"}, "gain", 1.5),
    ({"RDNOISE": " 3,25"}, "read_noise", 3.25),
    ({"SATURATE": "65535,0"}, "saturation", 65535.0),
    ({"PIXSCALE": ",75"}, "pixel_scale_arcsec", 0.75),
    ({"MAGZERO": "25,1234"}, "zero_point", 25.1234),
    ({"SEEING": "3,0 pix"}, "fwhm", 3.0),
    # An exposure of 99 s or 999 s is one.
    ({"EXPTIME": 99.0}, "exposure_s", 99.0),
    ({"EXPTIME": 999}, "exposure_s", 999.0),
    ({"BUNIT": "electron/s", "EXPTIME": 99}, "gain", 99.0),
    ({"ITIME": 30.0, "COADDS": 4}, "exposure_s", 120.0),
    ({"EXPTIME": 30.0, "COADDS": 4}, "exposure_s", 30.0),
    ({"EXPOSURE": 0.25, "TIMEUNIT": "d", "TELESCOP": "TESS"}, "exposure_s", 21600.0),
    ({"EXPOSURE": 0.25, "TIMEUNIT": "d", "TELESCOP": "other"}, "exposure_s", 0.25),
    # Zero-points of one second, of one electron, and of rates.
    ({"MAGZERO": (25.0, "[mag] for 1 ADU/s"), "EXPTIME": 100.0}, "zero_point", 30.0),
    ({"MAGZERO": (25.0, "zero point for 1 s"), "EXPTIME": 100.0}, "zero_point", 30.0),
    ({"MAGZERO": (25.0, "[mag] count rate"), "EXPTIME": 100.0}, "zero_point", 30.0),
    ({"MAGZERO": (25.0, "of 1 count/s"), "EXPTIME": 100.0, "BUNIT": "adu/s"}, "zero_point", 25.0),
    ({"MAGZERO": 25.0, "EXPTIME": 100.0, "BUNIT": "adu/s"}, "zero_point", 25.0),
    ({"MAGZERO": 25.0, "EXPTIME": 100.0}, "zero_point", 25.0),
    ({"MAGZERO": (25.0, "mag of 1 electron"), "GAIN": 10.0}, "zero_point", 22.5),
    ({"MAGZERO": (25.0, "[mag] 1 e-/s"), "GAIN": 10.0, "EXPTIME": 100.0}, "zero_point", 27.5),
    ({"MAGZERO": (25.0, "for 1 e-"), "BUNIT": "electron"}, "zero_point", 25.0),
    ({"MAGZPT": 22.5, "EXPTIME": 10.0, "CIR_CPM": 1.0}, "zero_point", 25.0),
    ({"MAGZPT": 22.5, "EXPTIME": 10.0}, "zero_point", 22.5),
    ({"L1ZP": 23.0, "EXPTIME": 100.0}, "zero_point", 28.0),
    ({"HIERARCH FPA.ZP": 25.0, "EXPTIME": 100.0}, "zero_point", 30.0),
    ({"FLUXMAG0": 1e10}, "zero_point", 25.0),
    # Cards of further observatories.
    ({"HIERARCH ESO DET OUT1 CONAD": 2.1, "HIERARCH ESO DET OUT1 GAIN": 0.48}, "gain", 2.1),
    ({"HIERARCH CELL.GAIN": 1.06}, "gain", 1.06),
    ({"GAINA": 4.03, "GAINB": 3.97}, "gain", 4.03),
    ({"CCDGAIN": 1.0, "ATODGAIN": 1.04}, "gain", 1.04),
    ({"ADCGAIN": 5.4}, "gain", 5.4),
    ({"RDNOISEA": 6.1}, "read_noise", 6.1),
    ({"SATURATA": 4.3e4}, "saturation", 4.3e4),
    ({"L1FWHM": 3.0, "PIXSCALE": 1.0}, "fwhm", 3.0),
    ({"PIXLSIZE": (0.4, "[arcsec] pixel size")}, "pixel_scale_arcsec", 0.4),
]


@pytest.mark.parametrize(("cards", "fact", "value"), RIGHT)
def test_right_values(tmp_path: Path, cards: dict[str, Any], fact: str, value: float) -> None:
    frame = read_frame(put(tmp_path / "f.fits", **cards))
    assert getattr(frame, fact) == pytest.approx(value)
    assert isinstance(frame.sources[fact], FactSource)


_EITHER_COMMA = "set aside (its comma may be a decimal one or one of thousands)"
UNKNOWN: list[tuple[dict[str, Any], str, str]] = [
    ({"EXPTIME": "1,000"}, "exposure_s", f"EXPTIME = '1,000': {_EITHER_COMMA}"),
    ({"SATURATE": "65,535 ADU"}, "saturation", f"SATURATE = '65,535 ADU': {_EITHER_COMMA}"),
    ({"EXPTIME": "1,234,567"}, "exposure_s", "EXPTIME = '1,234,567': set aside (no number)"),
    ({"EXPTIME": "1,234.5"}, "exposure_s", "EXPTIME = '1,234.5': set aside (no number)"),
    ({"EXPTIME": "-1,0"}, "exposure_s", "EXPTIME = '-1,0': set aside (sentinel: unknown)"),
    ({"GAIN": (110, "Sub Gain")}, "gain", "GAIN = 110: set aside (a camera's setting: Sub Gain)"),
    ({"GAIN": 80, "BAYERPAT": "GRBG"}, "gain", "beside BAYERPAT"),
    ({"GAIN": 1, "OFFSET": 30}, "gain", "beside OFFSET"),
    ({"GAIN": 5, "INSTRUME": "ZWO ASI294MC"}, "gain", "beside ZWO ASI294MC"),
    ({"GAIN": 139}, "gain", "whole number without a unit: a camera's setting; noise"),
    ({"GAIN": 80, "BLKLEVEL": 30}, "gain", "beside BLKLEVEL"),
    ({"GAIN": (5, "EM gain")}, "gain", "a camera's setting: EM gain"),
    ({"GAIN": (2, "gain index")}, "gain", "a camera's setting: gain index"),
    ({"GAIN": "high"}, "gain", "GAIN = 'high': set aside (no number)"),
    ({"MAGZERO": (25.0, "for 1 ADU/s")}, "zero_point", "of one second, and no exposure time"),
    ({"MAGZERO": (25.0, "for 1 e-")}, "zero_point", "of one electron, and the gain is unknown"),
    ({"FLUXMAG0": -3.0}, "zero_point", "-3 is no flux"),
    ({"EGAIN": 1e5}, "gain", "outside 0.001 to 10000 e-/ADU"),
    ({"GAIN": 2.0, "BUNIT": "MJy/sr"}, "gain", "gain unknown (pixels in MJy/sr"),
    ({"GAIN": 2.0, "BUNIT": "nanomaggy"}, "gain", "gain unknown (pixels in nanomaggy"),
    ({"BUNIT": "ELECTRONS/S"}, "gain", "no exposure time"),
    ({"FWHM": 0.18}, "fwhm", "outside 0.5 to 50 px"),
    ({"FWHM": 1.2}, "fwhm", "its 36 stars measure 3"),
    ({"FWHM": 20.0}, "fwhm", "its 36 stars measure 3"),
    ({"FWHM": 8500.0}, "fwhm", "in an image of 200 x 200 px"),
    ({"SEEING": 999.0, "SECPIX": 0.3}, "fwhm", "SEEING = 999.0: set aside (sentinel: unknown)"),
    ({"SATURATE": 400.0}, "saturation", "SATURATE = 400.0: set aside (the frame's median is 50"),
    ({"PIXSCALE": (9.0, "[um]")}, "pixel_scale_arcsec", "a length on the detector"),
    ({"EXPTIME": 2e6}, "exposure_s", "outside above 0 to 1e+06 s"),
    ({"MAGZERO": 60.0}, "zero_point", "outside -10 to 45 mag"),
    ({"RDNOISE": 5000.0}, "read_noise", "outside 0 to 1000 e-"),
]


@pytest.mark.parametrize(("cards", "fact", "said"), UNKNOWN)
def test_unbelievable_values(tmp_path: Path, cards: dict[str, Any], fact: str, said: str) -> None:
    frame = read_frame(put(tmp_path / "f.fits", **cards))
    assert getattr(frame, fact) is None
    assert fact not in frame.sources
    assert any(said in line for line in frame.header["ignored_facts"])


@pytest.mark.parametrize("value", [99.0, 99.9, 99.99, 999, 9999, -1, -9, -99, -999, "nan", "n/a"])
@pytest.mark.parametrize("fact", FACT_RULES)
def test_sentinels_are_unknown_for_every_fact(tmp_path: Path, fact: str, value: Any) -> None:
    key = FACT_RULES[fact].keys[0]
    frame = read_frame(put(tmp_path / "f.fits", **{key: value}))
    if isinstance(value, float | int) and value in FACT_RULES[fact].real:
        assert getattr(frame, fact) == value
        return
    assert getattr(frame, fact) is None
    assert any(line.startswith(f"{key} = ") for line in frame.header["ignored_facts"])


def sky_of(gain: float, level: float = 400.0, pedestal: float = 0.0) -> np.ndarray:
    """Return a frame of sky alone, with the photon noise of a gain [e- per ADU]."""
    photons = np.random.default_rng(3).poisson(level * gain, (96, 96))
    return (photons / gain + pedestal).astype("f4")


#: Cards, pixels, and words of the gain's source or of the reason it is set aside.
SKIES: dict[str, tuple[dict[str, Any], np.ndarray, str]] = {
    "co-added": ({"GAIN": 45}, sky_of(45.0), "the noise of 2.9"),
    "co-added, not sky-limited": ({"GAIN": 60}, sky_of(30.0), "agrees"),
    "setting": ({"GAIN": 80}, sky_of(0.25), "set aside (a whole number without a unit: a camera's"),
    "setting with a bias": ({"GAIN": 80}, sky_of(0.25, 100.0, 1000.0), "a camera's setting; noise"),
    "many exposures, no sky": ({"GAIN": 45, "NCOMBINE": 30}, sky_of(45.0, 9.0, -9.0), "NCOMBINE"),
    "no sky": ({"GAIN": 45}, sky_of(45.0, 9.0, -9.0), "the sky's level does not tell"),
    "average of many settings": ({"GAIN": 80, "STACKCNT": 9}, sky_of(0.25), "is that of 0.2"),
    "a rate": ({"GAIN": 45, "BUNIT": "adu/s", "EXPTIME": 10.0}, sky_of(450.0), "times the expos"),
    "another card": ({"GAIN": 45, "CCDGAIN": 1.5}, sky_of(1.5), "CCDGAIN = 1.5"),
    "fractions": ({"GAIN": 1.2}, sky_of(1.2) / 65535, "set aside (pixels in another unit"),
    "fractions of counts": ({"GAIN": 5.0, "BUNIT": "adu/s", "EXPTIME": 1e4}, sky_of(1.0) / 1e4,
                            "times the exposure"),
    "a bias level": ({"GAIN": 1.5}, sky_of(1.5, 20.0, 2000.0), "GAIN = 1.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", SKIES)
def test_the_noise_tells_a_gain_from_a_setting(tmp_path: Path, name: str) -> None:
    cards, pixels, words = SKIES[name]
    path = put(tmp_path / "f.fits", pixels, **cards)
    frame = read_frame(path)
    aside = " ".join(frame.header.get("ignored_facts", ()))
    assert words in (f"set {aside}" if frame.gain is None else str(frame.sources["gain"])), aside
    assert (frame.gain is None) == ("gain" not in frame.sources)
    sections = open_large_image(entry_of(str(path)), Sectioning(section_px=64, overlap_px=0))
    assert sections is not None
    assert sections.facts.get("gain") == frame.gain


def test_pixels_near_the_largest_number_have_facts(tmp_path: Path) -> None:
    """A header may scale pixels to the end of float32, where sums of two overflow."""
    counts = np.rint(stars()).astype("i2")
    cards = {"BZERO": 3e38, "BSCALE": 1e34, "SATURATE": 1e5, "GAIN": 2.0, "FWHM": 3.0}
    frame = read_frame(put(tmp_path / "f.fits", counts, **cards))
    assert frame.saturation is None
    assert "the frame's median is 3" in " ".join(frame.header["ignored_facts"])


def test_a_setting_beside_a_gain_is_said(tmp_path: Path) -> None:
    frame = read_frame(put(tmp_path / "f.fits", GAIN=45, CCDGAIN=1.5))
    said = "GAIN = 45: set aside (a whole number without a unit; CCDGAIN is used)"
    assert frame.header["ignored_facts"] == (said,)


def test_a_width_is_checked_against_the_stars(tmp_path: Path) -> None:
    frame = read_frame(put(tmp_path / "f.fits", FWHM=3.0))
    assert frame.sources["fwhm"].card == "FWHM"
    assert "36 stars" in frame.sources["fwhm"].how
    few = read_frame(put(tmp_path / "few.fits", stars(n=5), FWHM=9.0))
    assert few.fwhm == 9.0
    assert few.sources["fwhm"].how == "not checked: too few stars"


@pytest.mark.parametrize("fwhm", [2.0, 3.0, 5.0])
def test_widths_of_stars(fwhm: float) -> None:
    image = np.array(stars(fwhm))
    found = star_widths(image, np.zeros(image.shape, bool))
    assert found is not None
    assert found.median == pytest.approx(fwhm, rel=0.15)


def test_noise_and_constant_frames_have_no_width() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (64, 64)).astype("f4")
    for image in (noise, np.zeros((64, 64), "f4")):
        assert star_widths(image, np.zeros(image.shape, bool)) is None


def test_the_box_is_central_and_bounded() -> None:
    assert central_box((100, 3000)) == (slice(0, 100), slice(988, 2012))


def test_given_values_stand_above_the_stars(tmp_path: Path) -> None:
    path = put(tmp_path / "f.fits", FWHM=3.0)
    frame = read_frame(path, fwhm=20.0)
    assert (frame.fwhm, frame.sources["fwhm"].how) == (20.0, "given")
    with pytest.raises(BadInputError, match=r"f: required fwhm of 0\.5 to 50 px; got 999"):
        read_frame(path, fwhm=999.0)


def test_sections_check_as_whole_frames_do(tmp_path: Path) -> None:
    path = put(tmp_path / "f.fits", FWHM=20.0, SATURATE=400.0)
    image = open_large_image(entry_of(str(path)), Sectioning(section_px=192, overlap_px=64))
    assert image is not None
    whole = read_frame(path)
    assert image.fwhm is whole.fwhm is None
    assert image.facts["header"]["ignored_facts"] == whole.header["ignored_facts"]


def test_sources_travel_and_follow_changes(tmp_path: Path) -> None:
    frame = read_frame(put(tmp_path / "f.fits", GAIN=1.5, FWHM=3.0))
    assert pickle.loads(pickle.dumps(frame)).sources == frame.sources
    assert set(frame.with_(gain=2.0).sources) == {"fwhm"}


@pytest.mark.parametrize("unit", ["adu/s", "electron/s", "electron", "ADU"])
def test_written_frames_keep_gain_and_saturation(tmp_path: Path, unit: str) -> None:
    cards = {"BUNIT": unit, "GAIN": 2.5, "EXPTIME": 20.0, "SATURATE": 1e6}
    frame = read_frame(put(tmp_path / "f.fits", **cards))
    write_frame(frame, tmp_path / "again.fits")
    again = read_frame(tmp_path / "again.fits")
    assert (again.gain, again.saturation) == (frame.gain, frame.saturation)


@pytest.mark.parametrize(
    ("text", "kind", "per_second"),
    [("electron / (pix s)", "electrons", True), ("electron / (s pix)", "electrons", True),
     ("count s^-1 pix^-1", "counts", True), ("DN pix-1 s-1", "counts", True),
     ("cps", "counts", True),
     ("electron(s)", "electrons", False), ("ADU/exposure", "counts", False),
     ("Digital Numbers", "counts", False), ("photons/s/cm2", "calibrated", False),
     ("", "counts", False), ("ADU", "counts", False), ("DN/sec", "counts", True),
     ("count s^-1", "counts", True), ("ELECTRONS/S", "electrons", True), ("e", "electrons", False),
     ("electron/pixel", "electrons", False), ("Jy/beam", "calibrated", False),
     ("10^-17 erg/s/cm^2", "calibrated", False), ("mag", "calibrated", False)],
)  # fmt: skip
def test_pixel_units(text: str, kind: str, per_second: bool) -> None:
    unit = pixel_unit(text)
    assert (unit.kind, unit.per_second) == (kind, per_second)


def test_the_page_holds_the_rules() -> None:
    page = (ROOT / "docs" / "frame-facts.md").read_text()
    assert "\n".join(facts_table()) in page
    for rule in FACT_RULES.values():
        assert rule.fact in Frame.__dataclass_fields__


_VALUE = st.one_of(
    st.sampled_from([0, 1, 2.5, 3.0, 20.0, 80, 99.9, 999, 8500.0, 1e30, -1, 1e-9, "", "1.5", "?"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**40), 2**40),
    st.booleans(),
)
_COMMENT = st.sampled_from(["", "[pixel]", "[arcsec]", "e-/ADU", "[d]", "[ms]", "electrons", "[um]",
                            "ADU per electron", "per second", "[deg]"])  # fmt: skip
_CARD = st.tuples(
    st.sampled_from([key for rule in FACT_RULES.values() for key in rule.keys]), _VALUE, _COMMENT
)
_UNIT = st.sampled_from(["", "adu", "adu/s", "electron/s", "electron", "MJy/sr", "nonsense", "()"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(_CARD, max_size=8), _UNIT)
def test_any_header_is_a_frame_or_one_line(cards: list[tuple[str, Any, str]], unit: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        named = {k if len(k) <= 8 else f"HIERARCH {k}": (v, c) for k, v, c in cards}
        path = put(Path(folder) / "f.fits", BUNIT=unit, **named)
        tracemalloc.start()
        try:
            frame = read_frame(path)
        except BadInputError:
            return  # one line: `BadInputError` writes no line ends
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak < 20 * stars().nbytes  # a few copies of the box, whatever the header says
    for fact in FACT_RULES:
        value = getattr(frame, fact)
        assert value is None or (np.isfinite(value) and value <= 1e13)
    assert frame.fwhm is None or 0.5 <= frame.fwhm <= 50
