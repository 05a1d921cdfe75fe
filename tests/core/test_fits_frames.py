"""Reading whatever an observatory hands over, and saying what is wrong with the rest."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers.paths import DATA, needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.errors import BadInputError
from skyduel.core.io.fits_frames import write_frame
from skyduel.core.io.frames import frame_name, read_frame
from skyduel.core.io.images.fits_images import FitsImage

NY, NX = 30, 47


def pixels(dtype: str = "f4") -> np.ndarray:
    image = np.random.default_rng(3).integers(3, 120, (NY, NX))
    image[4, 9] = 125  # lopsided: a swapped axis would show
    return image.astype(dtype)


def put(path: Path, *hdus: Any) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def plain(path: Path, **cards: Any) -> Path:
    hdu = fits.PrimaryHDU(pixels())
    for key, value in cards.items():
        hdu.header[key] = value
    return put(path, hdu)


def celestial(scale_arcsec: float = 2.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [20.0, 10.0]
    wcs.wcs.cdelt = [-scale_arcsec / 3600, scale_arcsec / 3600]
    return wcs


# -- names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("night/a.b.fits.fz", "a.b"),
        ("A.FITS.GZ", "A"),
        ("a.fit", "a"),
        ("a.fts.bz2", "a"),
        ("a.fits.Z", "a"),
        ("a.fits.fz.gz", "a"),
        ("frame-r-000094.v2", "frame-r-000094.v2"),
        ("a.fits[SCI]", "a_SCI"),
        ("a.fits[SCI,2]", "a_SCI_2"),
        ("a.fits.gz[3]", "a_3"),
        (".fits", ".fits"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert frame_name(path) == name
    assert frame_name(Path(path)) == name


# -- pixel types and containers ----------------------------------------------------------


TYPES = ["u1", "i2", "u2", "i4", "u4", "f4", "f8", ">i2", ">f4", "<f8"]


@pytest.mark.parametrize(
    ("ending", "dtype"),
    # Tile compression has no 64-bit integers.
    [(".fits", d) for d in [*TYPES, "i8", "u8"]] + [(".fits.fz", d) for d in TYPES],
)
def test_every_pixel_type(tmp_path: Path, dtype: str, ending: str) -> None:
    image = pixels(dtype)
    path = tmp_path / f"f{ending}"
    if ending == ".fits.fz":
        kind = {"f": "GZIP_2"}.get(np.dtype(dtype).kind, "RICE_1")
        put(
            path,
            fits.PrimaryHDU(),
            fits.CompImageHDU(image, compression_type=kind, quantize_level=0.0),
        )
    else:
        put(path, fits.PrimaryHDU(image))
    frame = read_frame(path)
    assert frame.data.dtype == np.float32
    assert frame.data.dtype.isnative
    np.testing.assert_array_equal(frame.data, pixels())
    assert not frame.bad.any()
    assert frame.name == "f"


@pytest.mark.parametrize("squeeze", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("ending", [".fits", ".dat"])
def test_compression_is_told_by_content(tmp_path: Path, squeeze: Any, ending: str) -> None:
    content = plain(tmp_path / "plain.fits").read_bytes()
    path = tmp_path / f"packed{ending}"
    path.write_bytes(squeeze(content))
    np.testing.assert_array_equal(read_frame(path).data, pixels())


def test_bzero_and_bscale(tmp_path: Path) -> None:
    path = plain(tmp_path / "f.fits")
    hdu = fits.PrimaryHDU(pixels("i2"))
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, -10.0
    hdu.writeto(path, overwrite=True, output_verify="ignore")
    np.testing.assert_allclose(read_frame(path).data, pixels() * 0.5 - 10)


@pytest.mark.parametrize("zero", [0, 32768])
@pytest.mark.parametrize("packed", [False, True])
def test_blank_is_masked_in_signed_and_unsigned(tmp_path: Path, zero: int, packed: bool) -> None:
    raw = pixels("i2")
    hdu: Any = fits.CompImageHDU(raw) if packed else fits.PrimaryHDU(raw)
    hdu.header["BLANK"] = 125
    if zero:
        hdu.header["BZERO"] = zero
        hdu.header["BSCALE"] = 1
    path = tmp_path / "f.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu] if packed else [hdu]).writeto(
        path, output_verify="ignore"
    )
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.bad, raw == 125)
    np.testing.assert_array_equal(frame.data[~frame.bad], (pixels() + zero)[raw != 125])


def as_cfitsio_packs_unsigned(path: Path, image: np.ndarray) -> Path:
    """Write unsigned 16-bit pixels as CFITSIO packs them by PLIO: the values, and BZERO beside."""
    packed = fits.CompImageHDU(image.astype(np.int32), compression_type="PLIO_1")
    put(path.with_suffix(".tmp"), fits.PrimaryHDU(), packed)
    with fits.open(path.with_suffix(".tmp"), disable_image_compression=True) as hdus:
        hdus[1].header["ZBITPIX"] = 16
        hdus[1].header["BZERO"] = 32768
        hdus[1].header["BSCALE"] = 1
        hdus.writeto(path)
    return path


@pytest.mark.parametrize("whole", [True, False])
def test_plio_holds_the_unsigned_values_themselves(tmp_path: Path, whole: bool) -> None:
    # astropy adds BZERO: no pixel of a mask would be 0.
    image = (np.arange(NY * NX).reshape(NY, NX) * 46).astype(np.uint16)
    path = as_cfitsio_packs_unsigned(tmp_path / "a.fits.fz", image)

    if whole:
        np.testing.assert_array_equal(read_frame(path).data, image)
    else:
        box = FitsImage(path).read_box(slice(3, 9), slice(5, 40))
        np.testing.assert_array_equal(box, image[3:9, 5:40])
    mask = as_cfitsio_packs_unsigned(tmp_path / "mask.fits.fz", image > 60000)
    bad = read_frame(plain(tmp_path / "b.fits"), mask=mask).bad
    np.testing.assert_array_equal(bad, image > 60000)


@pytest.mark.skipif(shutil.which("fpack") is None, reason="needs fpack: apt install libcfitsio-bin")
@pytest.mark.parametrize("option", ["-r", "-h", "-g", "-g2"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4"])
def test_what_fpack_writes(tmp_path: Path, option: str, dtype: str) -> None:
    image = pixels(dtype) * np.array(1 if dtype == "u1" else 250, dtype)
    put(tmp_path / "a.fits", fits.PrimaryHDU(image))
    subprocess.run(["fpack", option, str(tmp_path / "a.fits")], check=True, capture_output=True)

    np.testing.assert_array_equal(read_frame(tmp_path / "a.fits.fz").data, image)


def test_nan_and_infinity_are_masked(tmp_path: Path) -> None:
    image = pixels()
    image[2, 3], image[5, 40] = np.nan, -np.inf
    frame = read_frame(put(tmp_path / "f.fits", fits.PrimaryHDU(image)))
    assert frame.bad.sum() == 2
    assert frame.bad[2, 3]
    assert frame.bad[5, 40]


# -- which HDU ---------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path: Path) -> Path:
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"] = 12.0
    primary.header["GAIN"] = 3.0
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))], name="CAT")
    one = fits.ImageHDU(pixels(), name="SCI")
    one.header["GAIN"] = 2.0
    two = fits.ImageHDU(pixels() + 1, name="SCI", ver=2)
    cube = fits.ImageHDU(np.zeros((4, 5, 6), "f4"), name="CUBE")
    line = fits.ImageHDU(np.zeros(6, "f4"), name="LINE")
    return put(tmp_path / "m.fits", primary, cube, table, line, one, two)


@pytest.mark.parametrize(
    ("brackets", "added", "name"),
    [
        ("", 0, "m"),
        ("[SCI]", 0, "m_SCI"),
        ("[sci , 2]", 1, "m_sci_2"),
        ("[5]", 1, "m_5"),
        ("[4]", 0, "m_4"),
    ],
)
def test_choosing_an_hdu(several: Path, brackets: str, added: int, name: str) -> None:
    frame = read_frame(f"{several}{brackets}")
    np.testing.assert_array_equal(frame.data, pixels() + added)
    assert frame.name == name


def test_the_hdu_argument_says_the_same(several: Path) -> None:
    frame = read_frame(several, hdu=("SCI", 2))
    np.testing.assert_array_equal(frame.data, pixels() + 1)
    assert frame.name == "m_SCI_2"


def test_facts_of_the_primary_header_count_but_yield(several: Path) -> None:
    first, second = read_frame(several), read_frame(f"{several}[SCI,2]")
    assert (first.exposure_s, first.gain) == (12.0, 2.0)
    assert (second.exposure_s, second.gain) == (12.0, 3.0)


@pytest.mark.parametrize(
    ("brackets", "message"),
    [
        ("[CAT]", r"two-dimensional image in HDU 2 CAT; got no image"),
        ("[CUBE]", r"two-dimensional image in HDU 1 CUBE; got shape \(4, 5, 6\)"),
        ("[LINE]", r"HDU 3 LINE; got shape \(6,\)"),
        ("[0]", r"HDU 0 PRIMARY; got no image"),
        ("[9]", r"required an HDU 9; got HDUs 0 PRIMARY no image; 1 CUBE \(4, 5, 6\); 2 CAT"),
        ("[WHT]", r"required an HDU 'WHT'; got HDUs 0 PRIMARY"),
        ("[SCI,3]", r"required an HDU \('SCI', 3\)"),
        ("[SCI,x]", r"an HDU as \[2\], \[SCI\] or \[SCI,2\]; got \[SCI,x\]"),
    ],
)
def test_choosing_what_is_not_there(several: Path, brackets: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_frame(f"{several}{brackets}")


def test_brackets_may_be_part_of_a_file_name(tmp_path: Path) -> None:
    assert read_frame(plain(tmp_path / "odd[1]")).name == "odd[1]"


def test_leading_axes_of_one_are_dropped(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(pixels()[np.newaxis, np.newaxis])
    np.testing.assert_array_equal(read_frame(put(tmp_path / "f.fits", hdu)).data, pixels())


# -- masks -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4"])
def test_a_mask_file(tmp_path: Path, dtype: str) -> None:
    bad = np.zeros((NY, NX), dtype)
    bad[3, 40] = 5
    if dtype == "f4":
        bad[4, 41] = np.nan
    mask = put(tmp_path / "mask.fits.fz", fits.PrimaryHDU(), fits.ImageHDU(bad, name="DQ"))
    frame = read_frame(plain(tmp_path / "f.fits"), mask=f"{mask}[DQ]")
    np.testing.assert_array_equal(frame.bad, bad != 0)


def test_a_mask_array_and_a_mask_without_bad_pixels(tmp_path: Path) -> None:
    path = plain(tmp_path / "f.fits")
    mask = np.zeros((NY, NX), bool)
    assert not read_frame(path, mask=mask).bad.any()
    mask[:, 3] = True
    assert read_frame(path, mask=mask).bad.sum() == NY


def test_a_mask_of_another_shape(tmp_path: Path) -> None:
    mask = put(tmp_path / "mask.fits", fits.PrimaryHDU(np.ones((NX, NY), "u1")))
    with pytest.raises(BadInputError, match=r"f: required a mask of the image's shape \(30, 47\)"):
        read_frame(plain(tmp_path / "f.fits"), mask=mask)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"nomask\.fits: required an existing file"):
        read_frame(plain(tmp_path / "f.fits"), mask=tmp_path / "nomask.fits")


# -- facts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "fact", "value"),
    [
        ({"GAIN": 1.5}, "gain", 1.5),
        ({"GAIN": 300, "EGAIN": 0.25}, "gain", 0.25),
        ({"CCDGAIN": "2.5"}, "gain", 2.5),
        ({"EGAIN": 0.0, "GAIN": 1.7}, "gain", 1.7),
        ({"HIERARCH ESO DET OUT1 CONAD": 1.9}, "gain", 1.9),
        ({"RDNOISE": 4.0}, "read_noise", 4.0),
        ({"READNOIS": 0.0}, "read_noise", 0.0),
        ({"RON": 3}, "read_noise", 3.0),
        ({"SATURATE": 65535}, "saturation", 65535.0),
        ({"MAXLIN": 5e4}, "saturation", 5e4),
        ({"EXPTIME": "53.9"}, "exposure_s", 53.9),
        ({"ITIME": 10.0}, "exposure_s", 10.0),
        ({"MAGZERO": 25.3}, "zero_point", 25.3),
        ({"PHOTZP": -2.5}, "zero_point", -2.5),
        ({"ZP": 0.0}, "zero_point", 0.0),
        ({"FWHM": 3.2}, "fwhm", 3.2),
        ({"FWHM": (3.0, "[arcsec] seeing"), "PIXSCALE": 1.5}, "fwhm", 2.0),
        ({"SEEING": 3.0, "SECPIX": 1.5}, "fwhm", 2.0),
        ({"PIXSCALE": 0.4}, "pixel_scale_arcsec", 0.4),
    ],
)
def test_facts_by_their_usual_names(
    tmp_path: Path, cards: dict[str, Any], fact: str, value: float
) -> None:
    frame = read_frame(plain(tmp_path / "f.fits", **cards))
    assert getattr(frame, fact) == pytest.approx(value)


@pytest.mark.parametrize(
    ("cards", "fact", "said"),
    [
        ({"GAIN": "high"}, "gain", "GAIN = 'high'"),
        ({"GAIN": -1.0}, "gain", "GAIN = -1.0"),
        ({"GAIN": True}, "gain", "GAIN = True"),
        ({"EXPTIME": 0}, "exposure_s", "EXPTIME = 0"),
        ({"SATURATE": "nan"}, "saturation", "SATURATE = 'nan'"),
        ({"FWHM": 0.0}, "fwhm", "FWHM = 0.0"),
        ({"SEEING": 2.0}, "fwhm", "SEEING = 2.0: set aside (arcsec, and no pixel scale)"),
        ({"FWHM": (2.0, "arcsec")}, "fwhm", "FWHM = 2.0: set aside (arcsec, and no pixel scale)"),
        ({"RDNOISE": -3.0}, "read_noise", "RDNOISE = -3.0"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN"}, "wcs", "celestial coordinates unusable"),
    ],
)
def test_nonsense_is_ignored_and_listed(
    tmp_path: Path, cards: dict[str, Any], fact: str, said: str
) -> None:
    frame = read_frame(plain(tmp_path / "f.fits", **cards))
    assert getattr(frame, fact) is None
    assert any(said in text for text in frame.header["ignored_facts"])


def test_overrides_stand_above_and_none_removes(tmp_path: Path) -> None:
    path = plain(tmp_path / "f.fits", GAIN=1.5, FWHM=3.0, SATURATE=100.0)
    frame = read_frame(path, gain=7.0, fwhm=None, name="other")
    assert (frame.gain, frame.fwhm, frame.saturation, frame.name) == (7.0, None, 100.0, "other")


def test_seeing_uses_the_pixel_scale_that_was_given(tmp_path: Path) -> None:
    path = plain(tmp_path / "f.fits", SEEING=3.0, PIXSCALE=1.0)
    assert read_frame(path, pixel_scale_arcsec=2.0).fwhm == 1.5


def test_an_unknown_override(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"no fact gani; it knows name, gain"):
        read_frame(plain(tmp_path / "f.fits"), gani=1.0)


def test_an_impossible_override(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"f: required gain > 0; got -1"):
        read_frame(plain(tmp_path / "f.fits"), gain=-1)


def test_wcs_and_the_scale_from_it(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(pixels(), celestial(2.0).to_header())
    frame = read_frame(put(tmp_path / "f.fits", hdu))
    assert frame.wcs is not None
    assert frame.pixel_scale_arcsec == pytest.approx(2.0)
    np.testing.assert_allclose(frame.wcs.all_pix2world([[19.0, 9.0]], 0), [[150.0, 2.0]])
    assert read_frame(tmp_path / "f.fits", wcs=None).wcs is None


def test_a_header_without_sky_promises_none(tmp_path: Path) -> None:
    frame = read_frame(plain(tmp_path / "f.fits", CTYPE1="LINEAR", CTYPE2="LINEAR"))
    assert frame.wcs is None
    assert "ignored_facts" not in frame.header


def test_other_header_values_are_kept(tmp_path: Path) -> None:
    frame = read_frame(plain(tmp_path / "f.fits", OBJECT="M 31", FILTER="r"))
    assert frame.header["OBJECT"] == "M 31"
    assert "NAXIS1" not in frame.header


# -- broken files ------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no\.fits: required an existing file"):
        read_frame(tmp_path / "no.fits")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="required a file; got a folder"):
        read_frame(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "f.fits").touch()
    with pytest.raises(BadInputError, match="got an empty file"):
        read_frame(tmp_path / "f.fits")


def test_text_called_fits(tmp_path: Path) -> None:
    (tmp_path / "f.fits").write_text("hello, I am no image\n" * 400)
    with pytest.raises(BadInputError, match=r"required a FITS file; got a file that starts with"):
        read_frame(tmp_path / "f.fits")


@pytest.mark.parametrize("size", [100, 2880, 4000])
def test_truncated(tmp_path: Path, size: int) -> None:
    path = plain(tmp_path / "f.fits")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadInputError, match=r"cut short at \d+ bytes|readable FITS image"):
        read_frame(path)


def test_truncated_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60000, (200, 90)).astype("u2")
    path = put(tmp_path / "f.fits.fz", fits.PrimaryHDU(), fits.CompImageHDU(image))
    path.write_bytes(path.read_bytes()[:-5760])
    with pytest.raises(BadInputError, match=r"complete image of shape \(200, 90\).*cut short"):
        read_frame(path)


@pytest.mark.parametrize("squeeze", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_truncated_compression(tmp_path: Path, squeeze: Any, keep: float) -> None:
    packed = squeeze(plain(tmp_path / "plain.fits").read_bytes())
    path = tmp_path / "f.fits.gz"
    path.write_bytes(packed[: int(len(packed) * keep)])
    with pytest.raises(BadInputError, match="required a readable, complete compressed file"):
        read_frame(path)


def test_a_damaged_checksum(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(plain(tmp_path / "plain.fits").read_bytes()))
    packed[-8] ^= 0xFF
    (tmp_path / "f.fits.gz").write_bytes(packed)
    with pytest.raises(BadInputError, match="complete compressed file; got CRC"):
        read_frame(tmp_path / "f.fits.gz")


def test_only_the_padding_is_missing(tmp_path: Path) -> None:
    path = plain(tmp_path / "f.fits")
    path.write_bytes(path.read_bytes()[: 2880 + NY * NX * 4])
    np.testing.assert_array_equal(read_frame(path).data, pixels())


def test_a_table_only(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))], name="CAT")
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), table)
    with pytest.raises(
        BadInputError, match="two-dimensional image; got HDUs 0 PRIMARY no image; 1 CAT no image"
    ):
        read_frame(path)


@pytest.mark.parametrize("shape", [(9,), (3, 8, 9)])
def test_one_and_three_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(np.arange(np.prod(shape)).reshape(shape)))
    with pytest.raises(BadInputError, match=r"two-dimensional image; got HDUs 0 PRIMARY \("):
        read_frame(path)


def test_nothing_but_nan(tmp_path: Path) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(np.full((4, 5), np.nan)))
    with pytest.raises(BadInputError, match="f: required at least one usable pixel"):
        read_frame(path)


def test_a_constant_image(tmp_path: Path) -> None:
    image = np.full((4, 5), 7.0)
    image[0, 0] = np.nan
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(image))
    with pytest.raises(BadInputError, match="image whose pixels vary; got 7 in all 19 usable"):
        read_frame(path)


@pytest.mark.parametrize(
    ("nx", "message"),
    [(50_000, "cut short"), (200_000, "at most"), (3_000_000, "readable FITS image")],
)
def test_a_header_that_promises_too_much(tmp_path: Path, nx: int, message: str) -> None:
    path = plain(tmp_path / "f.fits")
    content = path.read_bytes()
    old = f"NAXIS1  = {NX:>20}".encode()
    assert old in content
    content = content.replace(old, f"NAXIS1  = {nx:>20}".encode())
    content = content.replace(f"NAXIS2  = {NY:>20}".encode(), f"NAXIS2  = {nx:>20}".encode())
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        read_frame(path)


def test_scaling_by_words(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(pixels("i2"))
    path = put(tmp_path / "f.fits", hdu)
    card = fits.Card("BSCALE", "much").image.encode()
    content = path.read_bytes()
    end = content.index(b"END" + b" " * 77)
    path.write_bytes(content[:end] + card + content[end : 2880 - 80] + content[2880:])
    with pytest.raises(BadInputError, match=r"f\.fits: required"):
        read_frame(path)


def _template() -> bytes:
    buffer = io.BytesIO()
    hdu = fits.PrimaryHDU(pixels("i2"), celestial().to_header())
    hdu.header["GAIN"] = 2.0
    fits.HDUList([hdu]).writeto(buffer)
    return buffer.getvalue()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(32, 126)), min_size=1, max_size=6))
def test_damage_is_an_error_or_an_image(damage: list[tuple[int, int]]) -> None:
    """Whatever happens to the header's bytes, nothing but BadInputError comes out."""
    content = bytearray(_template())
    for at, byte in damage:
        content[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.fits"
        path.write_bytes(content)
        try:
            frame = read_frame(path)
        except BadInputError as error:
            message = str(error)
        else:
            assert frame.data.ndim == 2
            message = ""
    assert "\n" not in message


# -- writing -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".fits", ".fits.fz", ".fits.gz", ".fits.bz2", ".FIT"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16", "uint16", "int32", "uint32"])
def test_written_frames_come_back(tmp_path: Path, ending: str, dtype: str) -> None:
    path = plain(tmp_path / "in.fits", GAIN=1.23456789, RDNOISE=4.5, SATURATE=124.0)
    mask = np.zeros((NY, NX), bool)
    mask[1, 40] = True
    frame = read_frame(
        path, mask=mask, wcs=celestial(), zero_point=25.1, fwhm=2.7, exposure_s=1 / 3
    )
    frame = frame.with_(header={"OBJECT": "M 31", "seed_of_the_sky": 7, "GAIN": 99.0})
    out = tmp_path / "deep" / f"out{ending}"
    write_frame(frame, out, dtype=dtype)
    back = read_frame(out)
    np.testing.assert_array_equal(back.data, frame.data)
    np.testing.assert_array_equal(back.bad, frame.bad)
    for fact in ("gain", "read_noise", "saturation", "exposure_s", "zero_point", "fwhm"):
        assert getattr(back, fact) == pytest.approx(getattr(frame, fact), rel=1e-14)
    assert back.wcs is not None
    np.testing.assert_allclose(
        back.wcs.all_pix2world([[3.0, 40.0]], 0), celestial().all_pix2world([[3.0, 40.0]], 0)
    )
    assert back.header["OBJECT"] == "M 31"
    assert back.header["seed_of_the_sky"] == 7
    assert list(tmp_path.glob("deep/*")) == [out]


def test_the_same_frame_is_the_same_bytes(tmp_path: Path) -> None:
    frame = read_frame(plain(tmp_path / "in.fits"))
    for name in ("a.fits.gz", "b.fits.gz"):
        write_frame(frame, tmp_path / name)
    assert (tmp_path / "a.fits.gz").read_bytes() == (tmp_path / "b.fits.gz").read_bytes()


def test_pixels_that_do_not_fit(tmp_path: Path) -> None:
    frame = read_frame(plain(tmp_path / "in.fits")).with_(data=pixels() - 10)
    with pytest.raises(BadInputError, match=r"pixels between 0 and 65535 for uint16; got -\d to"):
        write_frame(frame, tmp_path / "f.fits", dtype="uint16")
    assert not (tmp_path / "f.fits").exists()


def test_a_type_that_is_not_written(tmp_path: Path) -> None:
    frame = read_frame(plain(tmp_path / "in.fits"))
    with pytest.raises(BadInputError, match=r"dtype float32, uint8.*; got complex64"):
        write_frame(frame, tmp_path / "f.fits", dtype="complex64")


# -- the frames beside the project -------------------------------------------------------


@needs_data
class TestRealFrames:
    def test_skymaker(self) -> None:
        paths = sorted((DATA / "skymaker").glob("*.fits.fz"))
        assert len(paths) == 20
        for path in paths:
            frame = read_frame(path)
            assert frame.shape == (512, 512)
            assert frame.saturation == 65535
            for fact in ("gain", "read_noise", "exposure_s", "zero_point", "fwhm"):
                assert getattr(frame, fact) > 0
            assert frame.name == path.name.removesuffix(".fits.fz")
            assert "ignored_facts" not in frame.header

    def test_sdss(self) -> None:
        frame = read_frame(DATA / "sdss_s82" / "frame-r-000094-1-0012.fits.bz2")
        assert frame.shape == (1489, 2048)
        assert frame.exposure_s == pytest.approx(53.901312)
        assert frame.pixel_scale_arcsec == pytest.approx(0.396, rel=1e-3)
        assert frame.wcs is not None

    @pytest.mark.parametrize("name", ["Alt40_Azi-135", "Alt40_Azi135", "Alt60_Azi-45"])
    def test_wide_field(self, name: str) -> None:
        frame = read_frame(DATA / "widefield_lens" / f"{name}.fits.fz")
        assert frame.shape == (768, 1024)
        assert frame.pixel_scale_arcsec == pytest.approx(40.2, rel=0.01)
        assert frame.wcs.sip is not None

    def test_bayer(self) -> None:
        frame = read_frame(DATA / "panoptes_cygnus" / "solved.fits.fz")
        assert frame.shape == (700, 700)
        assert frame.data.min() >= 0  # unsigned
        assert frame.exposure_s == pytest.approx(120.4)

    def test_int16(self) -> None:
        frame = read_frame(DATA / "ystar_streak" / "long.fits")
        assert frame.shape == (512, 512)
        assert frame.exposure_s == 60

    @pytest.mark.parametrize("name", ["242", "284"])
    def test_int32(self, name: str) -> None:
        frame = read_frame(DATA / "wfsat_crops" / f"{name}.fits")
        assert frame.shape == (500, 500)
        assert (frame.gain, frame.wcs) == (None, None)
