"""Ignore areas: DS9 regions, MOCs and masks cover the right pixels."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from skyduel.core import BadInputError, Frame
from skyduel.core.areas.ignore_area import read_ignore_area

NY, NX = 90, 120
SCALE = 2.0  # arcsec / px
needs_regions = pytest.mark.skipif(
    importlib.util.find_spec("regions") is None, reason="regions is not installed"
)
needs_mocpy = pytest.mark.skipif(
    importlib.util.find_spec("mocpy") is None, reason="mocpy is not installed"
)
Y, X = np.mgrid[:NY, :NX]


def wcs(angle_deg: float = 0.0) -> WCS:
    """North up (turned by an angle), east to the left, pixel (60, 40) at RA 150, Dec 20."""
    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crval = 150.0, 20.0
    made.wcs.crpix = 61.0, 41.0
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    made.wcs.cd = SCALE / 3600 * np.array([[-c, s], [s, c]])
    made.wcs.radesys = "ICRS"
    return made


def frame(**facts: object) -> Frame:
    data = np.random.default_rng(0).normal(100, 5, (NY, NX))
    return Frame(data=data, name="made", **{"wcs": wcs(), **facts})


def area(path: Path, text: str, **facts: object) -> np.ndarray:
    """Return the mask of a region file's text."""
    path = path / "a.reg"
    path.write_text(text)
    return drawn(path, frame(**facts))


def drawn(path: Path, plane: Frame) -> np.ndarray:
    packed = read_ignore_area(path, plane)
    return packed[Y.ravel(), X.ravel()].reshape(NY, NX)


CIRCLE = np.hypot(X - 30, Y - 50) < 7.0


@needs_regions
@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("image\ncircle(31,51,7)\n", CIRCLE),
        ("# Region file format: DS9 version 4.1\nglobal color=green dashlist=8 3 width=1\n"
         "image\ncircle(31,51,7) # color=red text={a; b (c)} tag={x}\n", CIRCLE),
        ("image; circle(31,51,7)", CIRCLE),
        ("circle(31,51,7)", CIRCLE),  # DS9 assumes physical coordinates
        ("physical\ncircle 31 51 7", CIRCLE),
        ("IMAGE;CIRCLE(31,51,7);POINT(80,20) # point=x 11\nline(1,1,20,20) # line=0 0", CIRCLE),
        ("image\nbox(51,41,20,10,0)", (abs(X - 50) < 10) & (abs(Y - 40) < 5)),
        ("image\nellipse(51,41,20.5,10.5,0)",
         ((X - 50) / 20.5) ** 2 + ((Y - 40) / 10.5) ** 2 < 1),
        ("image\nannulus(31,51,3.5,7)", CIRCLE & (np.hypot(X - 30, Y - 50) > 3.5)),
        ("image\npolygon(10.5,10.5,40.5,10.5,10.5,40.5)", (X > 9.5) & (Y > 9.5) & (X + Y < 49)),
        ("image\ncircle(31,51,7)\ncircle(91,21,4)\n-circle(31,51,3.5)",
         (CIRCLE & (np.hypot(X - 30, Y - 50) > 3.5)) | (np.hypot(X - 90, Y - 20) < 4)),
        ("image\n-circle(31,51,7)", ~CIRCLE),  # out of the whole field
        ("image\n-circle(31,51,7)\nfk5\ncircle(10.0,-80.0,5\")", np.zeros((NY, NX), bool)),
        ("image;circle(31,51,7) || circle(91,21,4) # color=red text={a || b # c}",
         CIRCLE | (np.hypot(X - 90, Y - 20) < 4)),
        ("image\n# composite(31,51,0) || composite=1\ncircle(31,51,7) || # width=2\n"
         "-circle(31,51,3.5)", CIRCLE & (np.hypot(X - 30, Y - 50) > 3.5)),
        ("image\npoint(80,20) || circle 31 51 7 # text='a || b'", CIRCLE),
        ("image;circle(91,21,4);+circle(31,51,7);-circle(91,21,4) # a", CIRCLE),
        ("image\ncircle(31,51,7) # include=0", ~CIRCLE),
        ("# Region file format: DS9\nglobal color=green\n", np.zeros((NY, NX), bool)),
        ("image\ncircle(-30,51,7)\ncircle(1e5,1e5,3)", np.zeros((NY, NX), bool)),
    ],
)  # fmt: skip
def test_regions_cover_their_pixels(tmp_path: Path, text: str, want: np.ndarray) -> None:
    np.testing.assert_array_equal(area(tmp_path, text), want)


@needs_regions
def test_physical_coordinates_are_those_of_the_detector(tmp_path: Path) -> None:
    # A section that begins at physical (101, 201): image = physical - 100, - 200.
    header = {"LTV1": -100.0, "LTV2": -200.0}
    got = area(tmp_path, "physical\ncircle(131,251,7)\nimage\ncircle(91,21,4)", header=header)
    np.testing.assert_array_equal(got, CIRCLE | (np.hypot(X - 90, Y - 20) < 4))
    # Binned by 2: the first image pixel is physical 1 and 2, image = physical / 2 + 0.25.
    header = {"LTV1": 0.25, "LTV2": 0.25, "LTM1_1": 0.5, "LTM2_2": 0.5}
    got = area(tmp_path, "physical\ncircle(61.5,101.5,14)", header=header)
    np.testing.assert_array_equal(got, CIRCLE)


@needs_regions
def test_sky_regions_follow_the_world_coordinates(tmp_path: Path) -> None:
    want = np.hypot(X - 60, Y - 40) < 15 / SCALE
    sky = SkyCoord(150.0, 20.0, unit="deg")
    fk4, galactic = sky.fk4, sky.galactic
    for text in (
        'fk5\ncircle(150.0,20.0,15")',
        'icrs;circle(10:00:00.0,+20:00:00.0,15")',
        "j2000\ncircle(10h00m00s,+20d00m00s,0.25')",
        f'galactic\ncircle({galactic.l.deg:.9f},{galactic.b.deg:.9f},15")',
        f'fk4\ncircle({fk4.ra.deg:.9f},{fk4.dec.deg:.9f},15")',
        'fk5\ncircle(150.0,20.0,15")\ncircle(330.0,-20.0,15")',  # the antipode
    ):
        got = area(tmp_path, text)
        assert (got != want).sum() <= 2, text  # FK5 is not quite ICRS
    # 30" x 60" along RA and Dec, on a frame that is turned.
    turned = wcs(30.0)
    got = area(tmp_path, 'icrs\nbox(150.0,20.0,30",60",0)', wcs=turned)
    at = SkyCoord(*turned.all_pix2world(X.ravel(), Y.ravel(), 0), unit="deg")
    east, north = (o.arcsec.reshape(NY, NX) for o in sky.spherical_offsets_to(at))
    inside = (abs(east) < 15) & (abs(north) < 30)
    border = (abs(abs(east) - 15) < 0.1) | (abs(abs(north) - 30) < 0.1)
    np.testing.assert_array_equal(got[~border], inside[~border])
    assert got.sum() == pytest.approx(30 * 60 / SCALE**2, abs=20)


@needs_regions
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image\ncircle(31,51)", r"a\.reg: required a DS9 region file"),
        ("image\ncircle(31,51,x)", r"a\.reg: required a DS9 region file"),
        ('image\ncircle(31,51,7")', "a DS9 region file"),
        ("image\nsquare(31,51,7)", r"shapes among .*circle.*; got 'square\(31,51,7\)' in line 2"),
        ("image\npanda(31,51,0,360,4,3,7,1)", "shapes among .*panda"),
        ("detector\ncircle(31,51,7)", "coordinates among .*; got 'detector'"),
        ("image\ncircle(31,51,7) & circle(91,21,4)", r"joined by ; or \|\|; got .* in line 2"),
        ("image\ncircle(31,51,7) circle(91,21,4)", r"joined by ; or \|\|; got .* in line 2"),
        ("image\ncircle(31,51,7) || circle(91,21,4", r"got 'circle\(91,21,4' in line 2"),
        ("image\ncircle(31,51,7,9)", r"circle\(x, y, r\).*; got .*,9\)' in line 2"),
        (
            "image circle(31,51,7)",
            "coordinates alone on a line or before a semicolon; got 'image c",
        ),
        ("fk5 circle 150 20 0.1", "coordinates alone on a line or before a semicolon"),
        ("global include=0\nimage\ncircle(31,51,7)", "a minus sign before excluded shapes"),
        ("image\ncircle(nan,51,7)", "shapes at finite coordinates; got nan"),
        ("image\npolygon(1,1,9,1e999,9,9)", "shapes at finite coordinates; got inf"),
        ("fk5\ncircle(nan,20.0,3)", "shapes at finite coordinates; got nan"),
        ("{\x1b[31m", "shapes among .*in line 1"),
        ("", "a file with content; got an empty file"),
        ("ra,dec\n150.0,20.0\n", r"got 'ra,dec' in line 1"),
    ],
)
def test_damaged_regions_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        area(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@needs_regions
def test_areas_on_the_sky_need_world_coordinates(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"world coordinates in made for shapes on the sky"):
        area(tmp_path, 'fk5\ncircle(150.0,20.0,15")', wcs=None)
    assert area(tmp_path, "image\ncircle(31,51,7)", wcs=None).sum() == CIRCLE.sum()


@needs_mocpy
@pytest.mark.parametrize("order", [11, 13])
def test_a_moc_covers_its_cells(tmp_path: Path, order: int) -> None:
    from mocpy import MOC

    longitude, latitude = 150.0 * units.deg, 20.0 * units.deg
    moc = MOC.from_cone(longitude, latitude, radius=40 * units.arcsec, max_depth=order)
    moc.save(str(tmp_path / "a.moc.fits"), format="fits")
    plane = frame(wcs=wcs(20.0))
    got = drawn(tmp_path / "a.moc.fits", plane)
    ra, dec = plane.wcs.all_pix2world(X.ravel(), Y.ravel(), 0)
    want = moc.contains_lonlat(ra * units.deg, dec * units.deg).reshape(NY, NX)
    assert 0 < want.sum() < want.size
    np.testing.assert_array_equal(got, want)
    # A cell of order 14 is 41,253 / (12 * 4^14) square degrees.
    cell = MOC.from_lonlat([150.0] * units.deg, [20.0] * units.deg, max_norder=14)
    cell.save(str(tmp_path / "b.fits"), format="fits")
    n_pixels = 4 * np.pi * (180 / np.pi * 3600) ** 2 / (12 * 4**14) / SCALE**2
    assert drawn(tmp_path / "b.fits", plane).sum() == pytest.approx(n_pixels, abs=8)
    with pytest.raises(BadInputError, match="world coordinates in made for a MOC"):
        read_ignore_area(tmp_path / "a.moc.fits", frame(wcs=None))


def test_an_image_covers_what_is_not_zero(tmp_path: Path) -> None:
    mask = np.zeros((NY, NX), dtype=np.int16)
    mask[20:30, 40:60] = 4
    fits.writeto(tmp_path / "a_ignore.fits", mask)
    np.testing.assert_array_equal(drawn(tmp_path / "a_ignore.fits", frame()), mask > 0)
    fits.writeto(tmp_path / "b_ignore.fits", mask[:, :50])
    with pytest.raises(BadInputError, match=r"ignore areas of the image's shape \(90, 120\)"):
        read_ignore_area(tmp_path / "b_ignore.fits", frame())


def test_a_missing_file_and_a_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.reg"):
        read_ignore_area(tmp_path / "none.reg", frame())
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(3))])
    table.writeto(tmp_path / "t.fits")
    with pytest.raises(BadInputError, match="a DS9 region file"):
        read_ignore_area(tmp_path / "t.fits", frame())


@pytest.mark.parametrize("library", ["regions", "mocpy"])
def test_a_missing_library_is_named(
    tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    path = tmp_path / "a.reg"
    path.write_text("image\ncircle(1,2,3)\n")
    if library == "mocpy":
        path = tmp_path / "a.fits"
        table = fits.BinTableHDU.from_columns([fits.Column("UNIQ", "K", array=np.arange(4, 8))])
        table.header["MOCORDER"] = 0
        table.writeto(path)
    with pytest.raises(BadInputError, match=rf"{library} \(pip install 'skyduel\[regions\]'\)"):
        read_ignore_area(path, frame())
