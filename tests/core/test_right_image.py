"""Which image of a FITS file is read, with which mask, and what its pixel values mean."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from skyduel.core import Sectioning, entry_of, estimate_background, open_large_image
from skyduel.core.errors import BadInputError
from skyduel.core.io.fits_frames import write_frame
from skyduel.core.io.frames import frame_name, masked_pixels, read_frame
from skyduel.core.io.images.image_formats import open_image
from skyduel.core.io.images.image_reader import NOTES_KEY, CubePlane
from skyduel.core.sections import large_image

NY, NX = 30, 47


def sky(seed: int = 0, shape: tuple[int, int] = (NY, NX)) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 5, shape).astype("f4")


def put(path: Path, *hdus: Any) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def ext(name: str, seed: int = 0, ver: int = 1, dtype: str = "f4") -> fits.ImageHDU:
    return fits.ImageHDU(sky(seed).astype(dtype), name=name, ver=ver)


def read_by_boxes(path: str | Path, mask_bits: int | None = None) -> np.ndarray:
    """Read an image in two boxes, as large images are read; NaN where it is masked."""
    boxes = [(slice(0, 11), slice(0, NX)), (slice(11, NY), slice(0, NX))]
    with closing(open_image(path, whole=False)) as image:
        assert image.shape == (NY, NX)
        joined = np.concatenate([image.read_box(*box) for box in boxes]).astype("f4")
        own = image.own_mask(mask_bits)
    if own is None:
        return joined
    with closing(own):
        flags = np.concatenate([own.read_box(*box) for box in boxes])
    return np.where(masked_pixels(flags, mask_bits, "mask"), np.nan, joined)


# -- images that are not of the sky ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("APERTURE", "i4"), ("WHT", "f4"), ("CTX", "i4"), ("VARIANCE", "f4"), ("VAR_POISSON", "f4"),
        ("ERR", "f4"), ("ERR1", "f4"), ("DQ", "i2"), ("PIXELDQ", "i4"), ("AREA", "f4"),
        ("EXPMAP", "f4"), ("EXP", "f4"), ("chi2", "f4"), ("maskbits", "i4"),
        ("ERRDATA", "f4"), ("QUALDATA", "i4"), ("galdepth", "f4"), ("SNR", "f4"), ("rrhr", "f4"),
         ("MASK", "u1"), ("im_mask", "u1"), ("MSK", "i2"),
        ("WGT", "f4"), ("CCDID 1-1.RMS", "f4"), ("CAMERA.CCD 1.1 uncert", "f4"), ("UNCERT", "f4"),
        ("IVAR", "f4"), ("STAT", "f4"), ("SEGMENTATION", "i4"), ("BACKGROUND", "f4"),
        ("SAMP", "i2"), ("TIME", "f4"), ("weight_map", "f4"),
    ],
)  # fmt: skip
def test_an_image_that_is_not_of_the_sky(tmp_path: Path, name: str, dtype: str) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), ext(name, dtype=dtype))
    with pytest.raises(BadInputError, match="a two-dimensional image of the sky; got HDUs") as got:
        read_frame(path)
    assert f"f.fits[{name}]".upper() in str(got.value).upper()
    assert read_frame(f"{path}[1]").shape == (NY, NX)
    # The first image of the sky counts, wherever it stands.
    with_sky = put(tmp_path / "g.fits", fits.PrimaryHDU(), ext(name, dtype=dtype), ext("SCI", 7))
    frame = read_frame(with_sky)
    np.testing.assert_array_equal(frame.data, sky(7))
    assert "notes" not in frame.header or "not read" not in str(frame.header["notes"])


@pytest.mark.parametrize(
    "name", ["SCI", "IMAGE", "DATA", "CHIP1", "N4", "ccd07", "S29", "exp1", "FLUX", "im1", "R", ""]
)
def test_names_of_images_of_the_sky(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), ext(name, 3))
    np.testing.assert_array_equal(read_frame(path).data, sky(3))


@pytest.mark.parametrize(
    ("key", "value"),
    [("EXTTYPE", "VARIANCE"), ("HDUCLAS2", "ERROR"), ("HDUCLAS3", "DATAMASK"),
     ("PRODTYPE", "dqmask"), ("PRODTYPE", "wtmap")],
)  # fmt: skip
def test_cards_that_state_another_kind(tmp_path: Path, key: str, value: str) -> None:
    one = ext("S29")
    one.header[key] = value
    with pytest.raises(BadInputError, match="image of the sky"):
        read_frame(put(tmp_path / "f.fits", fits.PrimaryHDU(), one))


def test_a_target_pixel_file(tmp_path: Path) -> None:
    column = fits.Column("FLUX", "121E", dim="(11,11)", array=np.ones((5, 11, 11)))
    pixels = fits.BinTableHDU.from_columns([column], name="PIXELS")
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), pixels, ext("APERTURE", dtype="i4"))
    with pytest.raises(BadInputError, match=r"1 PIXELS no image; 2 APERTURE \(30, 47\)"):
        read_frame(path)


def test_a_mask_file_may_be_called_mask(tmp_path: Path) -> None:
    bad = np.zeros((NY, NX), "u1")
    bad[3, 5] = 1
    frame = put(tmp_path / "f.fits", fits.PrimaryHDU(sky()))
    put(tmp_path / "f_mask.fits", fits.PrimaryHDU(), fits.ImageHDU(bad, name="MASK"))
    np.testing.assert_array_equal(entry_of(frame).read().bad, bad > 0)


# -- chips -------------------------------------------------------------------------------


def chips(path: Path, n: int) -> Path:
    return put(path, fits.PrimaryHDU(), *(ext("SCI", k, ver=k) for k in range(1, n + 1)))


@pytest.mark.parametrize(
    ("n", "note"),
    [
        (2, "chips.fits: read SCI,1; not read: SCI,2"),
        (3, "chips.fits: read SCI,1; not read: SCI,2, SCI,3"),
        (
            9,
            "chips.fits: read SCI,1; not read: SCI,2, SCI,3, SCI,4, SCI,5, SCI,6, SCI,7 and 2 more",
        ),
    ],
)
def test_other_chips_are_named(tmp_path: Path, n: int, note: str) -> None:
    path = chips(tmp_path / "chips.fits", n)
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.data, sky(1))
    assert frame.header["notes"] == (note,)
    chosen = read_frame(f"{path}[SCI,2]")
    np.testing.assert_array_equal(chosen.data, sky(2))
    assert "notes" not in chosen.header


# -- cubes -------------------------------------------------------------------------------


def cube(n: int, **cards: Any) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.stack([sky(k) for k in range(n)]), name="SCI")
    hdu.header.update(cards)
    return hdu


@pytest.mark.parametrize(
    ("brackets", "plane", "name"),
    [("[SCI][0]", 0, "f_SCI_p0"), ("[1][2]", 2, "f_1_p2"), ("[SCI,1][3]", 3, "f_SCI_1_p3")],
)
def test_a_plane_of_a_cube(tmp_path: Path, brackets: str, plane: int, name: str) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), cube(4))
    frame = read_frame(f"{path}{brackets}")
    np.testing.assert_array_equal(frame.data, sky(plane))
    assert frame.name == frame_name(f"{path}{brackets}") == name
    np.testing.assert_array_equal(read_by_boxes(f"{path}{brackets}"), sky(plane))
    np.testing.assert_array_equal(read_frame(path, hdu=CubePlane(1, plane)).data, sky(plane))


@pytest.mark.parametrize(
    ("brackets", "message"),
    [
        ("", r"two-dimensional image; got .*choose a plane as f.fits\[SCI\]\[0\] to f.fits.*3\]"),
        ("[SCI]", r"HDU 1 SCI; got shape \(4, 30, 47\); choose a plane as f.fits\[SCI\]\[0\]"),
        ("[SCI][4]", "a plane 0 to 3 of HDU 1 SCI; got 4"),
        ("[SCI][G]", "a plane 0 to 3 of HDU 1 SCI; got 'G'"),
        ("[G]", "required an HDU 'G'"),
        ("[SCI][0,1]", r"a plane as \[0\] or \[G\]"),
    ],
)  # fmt: skip
def test_a_cube_is_refused_with_the_way_to_choose(
    tmp_path: Path, brackets: str, message: str
) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), cube(4))
    with pytest.raises(BadInputError, match=message):
        read_frame(f"{path}{brackets}")


@pytest.mark.parametrize(
    "cards",
    [{"CTYPE3": "RGB"}, {"PROGRAM": "Siril 1.2.0"}, {"INSTRUME": "Seestar S50"},
     {"CREATOR": "ZWO Seestar S50"}, {"BAYERPAT": "RGGB"},
     {"PLANE1": "R", "PLANE2": "G", "PLANE3": "B"}],
)  # fmt: skip
@pytest.mark.parametrize("brackets", ["[G]", "[g]", "[SCI][G]", "[1][G]", "[1][1]"])
def test_one_of_three_colours(tmp_path: Path, cards: dict[str, str], brackets: str) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), cube(3, **cards))
    np.testing.assert_array_equal(read_frame(f"{path}{brackets}").data, sky(1))
    with pytest.raises(BadInputError, match=r"choose a plane as f.fits\[SCI\]\[R\] \(also G, B\)"):
        read_frame(path)


def test_colours_as_the_fastest_axis(tmp_path: Path) -> None:
    image = np.stack([sky(0), sky(1), sky(2)], axis=-1)
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(image, fits.Header({"CTYPE3": "RGB"})))
    for name, seed in (("R", 0), ("B", 2)):
        np.testing.assert_array_equal(read_frame(f"{path}[{name}]").data, sky(seed))
        np.testing.assert_array_equal(read_by_boxes(f"{path}[{name}]"), sky(seed))


def test_planes_of_four_axes_and_in_tiles(tmp_path: Path) -> None:
    four = np.stack([sky(k) for k in range(6)]).reshape(2, 3, NY, NX)
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(four))
    np.testing.assert_array_equal(read_frame(f"{path}[0][4]").data, sky(4))
    tiles = fits.CompImageHDU(four[0], compression_type="GZIP_2", quantize_level=0.0, name="SCI")
    packed = put(tmp_path / "g.fits.fz", fits.PrimaryHDU(), tiles)
    np.testing.assert_array_equal(read_frame(f"{packed}[SCI][2]").data, sky(2))


# -- masks in the same file --------------------------------------------------------------


def bits(dtype: str = "i2") -> np.ndarray:
    values = np.zeros((NY, NX), dtype)
    values[2, 3], values[4, 5], values[6, 7] = 1, 4, 5
    return values


def test_the_mask_of_ccddata(tmp_path: Path) -> None:
    bad = bits() > 0
    path = tmp_path / "ccd.fits"
    CCDData(sky(), unit="adu", mask=bad).write(path)
    np.testing.assert_array_equal(read_frame(path).bad, bad)
    np.testing.assert_array_equal(np.isnan(read_by_boxes(path)), bad)


@pytest.mark.parametrize(("chosen", "level"), [(1, [1, 5]), (4, [4, 5]), (5, [1, 4, 5]), (2, [])])
@pytest.mark.parametrize("name", ["DQ", "MASK", "MSK", "FLAGS", "PIXELDQ"])
def test_bit_planes_by_choice(tmp_path: Path, name: str, chosen: int, level: list[int]) -> None:
    dq = fits.ImageHDU(bits(), name=name)
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(), ext("SCI"), ext("ERR"), dq)
    frame = read_frame(path)
    assert not frame.bad.any()
    assert ("the bits of extension MASK" in str(frame.header.get("notes"))) == (name == "MASK")
    wanted = np.isin(bits(), level) & (bits() > 0)
    np.testing.assert_array_equal(read_frame(path, mask_bits=chosen).bad, wanted)
    np.testing.assert_array_equal(np.isnan(read_by_boxes(path, mask_bits=chosen)), wanted)


def test_each_chip_has_its_own_mask(tmp_path: Path) -> None:
    masks = [fits.ImageHDU((bits() == k).astype("u1"), name="MASK", ver=v)
             for v, k in ((1, 1), (2, 4))]  # fmt: skip
    by_version = [ext("SCI", 1, 1), ext("SCI", 2, 2), *masks]
    in_turn = [ext("A", 1), masks[0], ext("B", 2), masks[1]]
    for name, hdus, chosen in (("f", by_version, "[SCI,2]"), ("g", in_turn, "[B]")):
        path = put(tmp_path / f"{name}.fits", fits.PrimaryHDU(), *hdus)
        np.testing.assert_array_equal(read_frame(path).bad, bits() == 1)
        np.testing.assert_array_equal(read_frame(f"{path}{chosen}").bad, bits() == 4)


def test_mask_bits_without_a_mask(tmp_path: Path) -> None:
    path = put(tmp_path / "f.fits", fits.PrimaryHDU(sky()))
    with pytest.raises(BadInputError, match="a mask for mask_bits to choose from; got no mask"):
        read_frame(path, mask_bits=1)


# -- pixel values ------------------------------------------------------------------------


def test_asinh_pixels_become_linear(tmp_path: Path) -> None:
    flux = np.geomspace(1, 1e6, NY * NX).reshape(NY, NX) - 50
    softening, offset = 6.3, -0.7
    # The inverse of Pan-STARRS: x = a asinh((I - BOFFSET) / (2 BSOFTEN)), a = 2.5 log10(e).
    stored = 1.0857362 * np.arcsinh((flux - offset) / (2 * softening))
    hdu = fits.PrimaryHDU(stored)
    hdu.header["BSOFTEN"], hdu.header["BOFFSET"] = softening, offset
    path = put(tmp_path / "f.fits", hdu)
    frame = read_frame(path)
    np.testing.assert_allclose(frame.data, flux, rtol=2e-6, atol=1e-5)
    # 10^(0.4 x) by hand for one value: x = 5 gives BOFFSET + BSOFTEN (100 - 1/100).
    one = fits.PrimaryHDU(np.array([[5.0, 0.0]]))
    one.header["BSOFTEN"], one.header["BOFFSET"] = softening, offset
    got = read_frame(put(tmp_path / "one.fits", one)).data
    np.testing.assert_allclose(got, [[offset + softening * 99.99, offset]], rtol=1e-6)
    # Written pixels are linear and are not made linear twice.
    write_frame(frame, tmp_path / "g.fits")
    np.testing.assert_array_equal(read_frame(tmp_path / "g.fits").data, frame.data)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_an_impossible_softening(tmp_path: Path, value: float) -> None:
    hdu = fits.PrimaryHDU(sky())
    hdu.header["BSOFTEN"], hdu.header["BOFFSET"] = value, 0.0
    with pytest.raises(BadInputError, match="BSOFTEN > 0 of asinh pixels"):
        read_frame(put(tmp_path / "f.fits", hdu))


# -- sections ----------------------------------------------------------------------------

LEFT, WHOLE = (slice(None), slice(0, 4)), None


@pytest.mark.parametrize(
    ("cards", "blind"),
    [
        ({"DATASEC": "[5:47,1:30]"}, LEFT),
        ({"DATASEC": "[47:5,1:30]"}, LEFT),
        ({"DATASEC": "[47:5, 30:1]"}, LEFT),
        ({"DATASEC": "[5:47,*]"}, LEFT),
        ({"TRIMSEC": "[5:47,1:30]"}, LEFT),
        ({"DATASEC": "[1:47,1:30]", "TRIMSEC": "[5:47,1:30]"}, LEFT),
        ({"BIASSEC": "[1:4,1:30]"}, LEFT),
        ({"DATASEC": "[5:47,1:30]", "BIASSEC": "[1:4,1:30]"}, LEFT),
        ({"DATASECA": "[5:25,1:30]", "DATASECB": "[26:47,1:30]"}, LEFT),
        ({"DATASEC": "[1:47,3:30]"}, (slice(0, 2), slice(None))),
        ({"DATASEC1": "[1:20,1:30]", "DATASEC2": "[25:47,1:30]"}, (slice(None), slice(20, 24))),
        ({"DATASEC": "[1:47,1:30]"}, WHOLE),
        ({"DATASEC": "[5:51,1:30]"}, WHOLE),  # of the image before it was trimmed
        ({"DATASEC": "[1:2048,1:4096]"}, WHOLE),
        ({"DATASEC": "[1:10,1:10]"}, WHOLE),  # one exposure of a mosaic
        ({"DATASEC": "[0:0,0:0]"}, WHOLE),
        ({"DATASEC": "", "TRIMSEC": "none", "BIASSEC": 3}, WHOLE),
    ],
)
def test_sections_that_see_the_sky(tmp_path: Path, cards: dict[str, Any], blind: Any) -> None:
    hdu = fits.PrimaryHDU(sky())
    hdu.header.update(cards)
    path = put(tmp_path / "f.fits", hdu)
    wanted = np.zeros((NY, NX), bool)
    if blind is not None:
        wanted[blind] = True
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.bad, wanted)
    np.testing.assert_array_equal(np.isnan(read_by_boxes(path)), wanted)
    np.testing.assert_array_equal(frame.data[~wanted], sky()[~wanted])


@pytest.mark.parametrize("text", ["[5:51,1:30]", "[1:10,1:10]"])
def test_a_section_of_another_image_is_set_aside_in_words(tmp_path: Path, text: str) -> None:
    hdu = fits.PrimaryHDU(sky())
    hdu.header["DATASEC"] = text
    frame = read_frame(put(tmp_path / "f.fits", hdu))
    assert any("DATASEC" in line for line in frame.header["ignored_facts"])


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_an_overscan_does_not_change_the_sky_beside_it(tmp_path: Path, level: float) -> None:
    image = sky(5, (256, 300))
    image[:, :24] = level + sky(6, (256, 24)) / 100
    hdu = fits.PrimaryHDU(image)
    hdu.header["BIASSEC"] = "[1:24,1:256]"
    background = estimate_background(read_frame(put(tmp_path / "f.fits", hdu)))
    # The noise of one mesh of 64 x 64 px with the mode's error is about 0.2.
    assert np.abs(background.level[:, 24:40] - 100).max() < 1.0
    assert math.isclose(float(np.median(background.rms[:, 24:40])), 5.0, rel_tol=0.1)


@pytest.mark.parametrize("width", [1, 4, 16, 24, 40, 70])
@pytest.mark.parametrize("value", [0.0, 65535.0])
@pytest.mark.parametrize("side", ["left", "right", "bottom", "frame"])
def test_a_constant_border_does_not_change_the_sky_beside_it(
    tmp_path: Path, width: int, value: float, side: str
) -> None:
    image = sky(5, (256, 300))
    border = np.zeros(image.shape, bool)
    if side in ("left", "frame"):
        border[:, :width] = True
    if side in ("right", "frame"):
        border[:, -width:] = True
    if side in ("bottom", "frame"):
        border[:width] = True
    image[border] = value
    frame = read_frame(put(tmp_path / "f.fits", fits.PrimaryHDU(image)))
    np.testing.assert_array_equal(frame.bad, border)
    assert (
        f"{border.sum()} pixels in strips of constant value are masked" in frame.header["notes"][-1]
    )
    background = estimate_background(frame)
    assert np.abs(background.level[~border] - 100).max() < 1.5
    assert math.isclose(float(np.median(background.rms[~border])), 5.0, rel_tol=0.1)


def test_strips_that_are_kept(tmp_path: Path) -> None:
    # A value of the sky, a bad column inside, and an image that is mostly constant.
    dark = np.maximum(sky(5, (64, 80)) - 100, 0)
    dark[:4] = 0
    column = sky(5, (64, 80))
    column[:, 30] = 0
    empty = np.zeros((64, 80), "f4")
    empty[20:24, 20:24] = 7
    gap = sky(5, (64, 80))
    gap[:, 30:40] = 0
    for name, image, n in (("a", dark, 0), ("b", column, 0), ("c", empty, 0), ("d", gap, 640)):
        frame = read_frame(put(tmp_path / f"{name}.fits", fits.PrimaryHDU(image)))
        assert frame.bad.sum() == n, name


def striped(name: str) -> np.ndarray:
    """Return sky of 150 x 200 pixels with strips of several kinds."""
    image = sky(5, (150, 200))
    if name == "border":
        image[:, -40:], image[:7] = 0.0, -1.0
    elif name == "gap":
        image[60:75], image[:, 90:98] = 0.0, 5.0
    elif name == "of the sky":
        image[:, -20:] = float(np.median(image))
    elif name == "mostly":
        image[:, 40:] = 0.0
    elif name == "not a number":
        image[:, :12], image[20:40] = np.nan, 0.0
    return image


@pytest.mark.parametrize("name", ["none", "border", "gap", "of the sky", "mostly", "not a number"])
@pytest.mark.parametrize("masked", [False, True])
def test_strips_of_sections_are_those_of_the_whole(
    tmp_path: Path, name: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_image, "_BAND_PX", 2000)
    path = put(tmp_path / "a.fits", fits.PrimaryHDU(striped(name)))
    if masked:
        mask = np.zeros((150, 200), "u1")
        mask[30:50, 100:], mask[::7, ::5] = 1, 1
        put(tmp_path / "a_mask.fits", fits.PrimaryHDU(mask))
    entry = entry_of(str(path))
    whole = entry.read()
    image = open_large_image(entry, Sectioning(section_px=128, overlap_px=0))
    assert image is not None
    bad = np.ones(image.shape, dtype=bool)
    for section in image.sections:
        box = slice(section.y0, section.y1), slice(section.x0, section.x1)
        frame = image.read(section)
        if frame is not None:
            bad[box] = frame.bad
            good = ~frame.bad
            np.testing.assert_array_equal(frame.data[good], whole.data[box][good])
    np.testing.assert_array_equal(bad, whole.bad)
    assert image.facts["header"].get(NOTES_KEY) == whole.header.get(NOTES_KEY)
    n = {"none": 0, "border": 40 * 150 + 7 * 160, "gap": 15 * 200 + 8 * 135}.get(name)
    if n is not None and not masked:
        assert whole.bad.sum() == n
