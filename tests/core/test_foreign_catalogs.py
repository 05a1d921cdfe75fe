"""Catalogues of observatories and other programs, as they are found in archives."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS

from skyduel.core import BadInputError, Catalog, Frame, read_catalog, write_catalog
from skyduel.core.io.column_names import parse_columns
from skyduel.core.io.tabular.placement import NOTES

X, Y = np.array([10.25, 40.5, 31.0]), np.array([5.0, 22.75, 40.0])
MAG = np.array([18.0, 19.5, 20.25])


def plane(**facts: Any) -> Frame:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 2.0], [30.0, 20.0], [-1 / 3600, 1 / 3600]
    return Frame(data=np.arange(2700.0).reshape(45, 60), name="sky", **{"wcs": wcs, **facts})


RA, DEC = plane().wcs.all_pix2world(X, Y, 0)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# -- unmeasured magnitudes -----------------------------------------------------------------


@pytest.mark.parametrize("none", [-999.0, 99.0, 99.99, 99.9, -99.0, -9999.0, 9999.0, 999.0, 999.99,
                                  -999.9, 1e20, -99.99, 37.5, np.inf, 55.0])  # fmt: skip
@pytest.mark.parametrize("name", ["mag", "MAG_AUTO", "gmag", "aper_mag"])
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_marks_of_an_unmeasured_magnitude(
    tmp_path: Path, name: str, none: float, kind: str
) -> None:
    Table({"x": X, "y": Y, name: np.array([18.0, none, -25.5], kind)}).write(tmp_path / "a.fits")
    column = "aper_mag" if name == "aper_mag" else "mag"
    got = read_catalog(tmp_path / "a.fits", zero_point=25.0)
    np.testing.assert_array_equal(got[column], [18.0, np.nan, -25.5])
    if column == "mag":
        np.testing.assert_array_equal(np.isnan(got["flux"]), [False, True, False])


def test_a_detectors_own_marks_are_unmeasured_too() -> None:
    got = Catalog.build(x=X, y=Y, mag=[99, 20, -999])
    np.testing.assert_array_equal(got["mag"], [np.nan, 20, np.nan])


# -- positions -----------------------------------------------------------------------------


def sexagesimal(sep: str) -> tuple[list[str], list[str]]:
    sky = SkyCoord(RA * u.deg, DEC * u.deg)
    return (list(sky.ra.to_string(unit="hour", sep=sep, precision=5)),
            list(sky.dec.to_string(unit="deg", sep=sep, precision=4, alwayssign=True)))  # fmt: skip


SKY: dict[str, Any] = {
    "degrees as text": ({"ra": [f"{v:.8f}" for v in RA], "dec": [f"{v:.8f}" for v in DEC]}, {}),
    "degrees as text with unit": (
        {"ra": [f"{v:.8f}" for v in RA], "dec": [f"{v:.8f}" for v in DEC]},
        {"ra": "deg", "dec": "deg"},
    ),
    "hours as text with unit": (
        {"ra": [f"{v / 15:.9f}" for v in RA], "dec": [f"{v:.8f}" for v in DEC]},
        {"ra": "hourangle"},
    ),
    "hours": ({"ra": RA / 15, "dec": DEC}, {"ra": "h", "dec": "deg"}),
    "hourangle": ({"RAJ2000": RA / 15, "DEJ2000": DEC}, {"RAJ2000": "hourangle"}),
    "hours by name": ({"ra_hours": RA / 15, "dec_deg": DEC}, {}),
    "colons": (dict(zip(("ra", "dec"), sexagesimal(":"), strict=True)), {}),
    "blanks": (dict(zip(("RAJ2000", "DEJ2000"), sexagesimal(" "), strict=True)),
               {"RAJ2000": '"h:m:s"', "DEJ2000": '"d:m:s"'}),
    "letters": (dict(zip(("ra", "dec"), sexagesimal("fromunit"), strict=True)), {}),
    "sexagesimal degrees": (
        {"ra": [str(v) for v in SkyCoord(RA * u.deg, DEC * u.deg).ra.to_string(
            unit="deg", sep=":", precision=4)], "dec": DEC}, {}),
    "radians": ({"coord_ra": np.deg2rad(RA), "coord_dec": np.deg2rad(DEC)},
                {"coord_ra": "rad", "coord_dec": "rad"}),
    "radians by range": ({"coord_ra": np.deg2rad(RA), "coord_dec": np.deg2rad(DEC)}, {}),
    "LSST DP1": ({"coord_ra": RA, "coord_dec": DEC}, {}),
    "VizieR": ({"_RAJ2000": RA, "_DEJ2000": DEC}, {}),
    "SExtractor windowed": ({"ALPHAWIN_J2000": RA, "DELTAWIN_J2000": DEC}, {}),
    "2MASS": ({"ra": RA, "decl": DEC}, {}),
    "units in names": ({"RA (deg)": RA, "Dec (deg)": DEC}, {}),
    "hours in names": ({"RA [hourangle]": RA / 15, "Dec [deg]": DEC}, {}),
    "galactic": (
        {"GLON": SkyCoord(RA * u.deg, DEC * u.deg).galactic.l.deg,
         "GLAT": SkyCoord(RA * u.deg, DEC * u.deg).galactic.b.deg}, {}),
    "CDS": (
        {"RAh": np.full(3, 10), "RAm": np.full(3, 0), "RAs": (RA - 150) * 240,
         "DE-": ["+"] * 3, "DEd": np.full(3, 2), "DEm": np.full(3, 0), "DEs": (DEC - 2) * 3600},
        {}),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".fits", ".vot", ".ecsv", ".csv"])
@pytest.mark.parametrize("which", SKY)
def test_sky_positions_in_every_notation(tmp_path: Path, which: str, ending: str) -> None:
    columns, units = SKY[which]
    if ending == ".csv" and (units and "text" not in which and which not in {"blanks"}):
        pytest.skip("CSV has no units")
    if ending == ".csv" and which == "hours as text with unit":
        pytest.skip("CSV has no units")
    if ending == ".fits" and "hourangle" in units.values():
        pytest.skip("astropy writes no hour angles into FITS")
    table = Table(columns)
    for name, unit in units.items():
        table[name].unit = u.Unit(unit, parse_strict="silent")
    kind = {".vot": "votable", ".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}.get(ending)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units and names that the formats do not know
        table.write(tmp_path / f"a{ending}", format=kind)
    got = read_catalog(tmp_path / f"a{ending}", frame=plane())
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]), atol=0.01)
    np.testing.assert_allclose(got["ra"], RA, atol=2e-6)


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        ([150.0, -999.0], [2.0, -999.0], r"'ra' from -360 to 720 deg; got -999 in row 1"),
        ([150.0, 150.0], [2.0, 95.0], r"'dec' from -90 to 90 deg; got 95 in row 1 \(1 such"),
    ],
)
def test_positions_that_none_can_have(
    tmp_path: Path, ra: list[float], dec: list[float], message: str
) -> None:
    Table({"ra": ra, "dec": dec}).write(tmp_path / "a.csv")
    with pytest.raises(BadInputError, match=message):
        read_catalog(tmp_path / "a.csv", frame=plane())


def test_zeros_of_an_image_without_coordinates_are_no_positions(tmp_path: Path) -> None:
    zeros = np.zeros(3)
    Table({"X_IMAGE": X + 1, "Y_IMAGE": Y + 1, "ALPHA_J2000": zeros, "DELTA_J2000": zeros}).write(
        tmp_path / "a.fits"
    )
    got = read_catalog(tmp_path / "a.fits")
    assert "ra" not in got
    np.testing.assert_allclose(got["x"], X)


@pytest.mark.parametrize(
    "names",
    [
        ("x_center", "y_center"), ("x_centroid", "y_centroid"), ("xcenter", "ycenter"),
        ("pixel_centroid_x", "pixel_centroid_y"), ("slot_Centroid_x", "slot_Centroid_y"),
        ("x_peak", "y_peak"), ("x_fit", "y_fit"), ("bx", "by"), ("x [pix]", "y [pix]"),
    ],
)  # fmt: skip
def test_pixel_positions_from_zero(tmp_path: Path, names: tuple[str, str]) -> None:
    Table({names[0]: X, names[1]: Y}).write(tmp_path / "a.csv")
    np.testing.assert_allclose(read_catalog(tmp_path / "a.csv").xy, np.column_stack([X, Y]))


@pytest.mark.parametrize(
    "names",
    [("X_IMAGE", "Y_IMAGE"), ("X_IMAGE_DBL", "Y_IMAGE_DBL"), ("XWIN_IMAGE", "YWIN_IMAGE"),
     ("XPSF_IMAGE", "YPSF_IMAGE"), ("XPEAK_IMAGE", "YPEAK_IMAGE")],
)  # fmt: skip
def test_pixel_positions_from_one(tmp_path: Path, names: tuple[str, str]) -> None:
    Table({names[0]: X + 1, names[1]: Y + 1}).write(tmp_path / "a.csv")
    np.testing.assert_allclose(read_catalog(tmp_path / "a.csv").xy, np.column_stack([X, Y]))


@pytest.mark.parametrize(
    "card",
    [("AN_FILE", "XYLS"), ("AN_FILE", "AXY"),
     ("COMMENT", "The X and Y points are specified assuming 1,1 is the center"), None],
)  # fmt: skip
def test_astrometry_net_counts_from_one_where_it_says_so(tmp_path: Path, card: Any) -> None:
    primary = fits.PrimaryHDU()
    if card:
        primary.header.append(card)
    table = fits.table_to_hdu(Table({"X": (X + 1).astype("f4"), "Y": (Y + 1).astype("f4")}))
    fits.HDUList([primary, table]).writeto(tmp_path / "a.axy")
    expected = X if card else X + 1
    np.testing.assert_allclose(read_catalog(tmp_path / "a.axy")["x"], expected)


def test_astrometry_net_matches(tmp_path: Path) -> None:
    Table({"field_x": X + 1, "field_y": Y + 1, "index_x": X + 1.1, "index_y": Y + 1.1,
           "field_ra": RA, "field_dec": DEC}).write(tmp_path / "a.corr", format="fits")  # fmt: skip
    got = read_catalog(tmp_path / "a.corr")
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]))
    np.testing.assert_allclose(got["ra"], RA)


DAOFIND = """\
#K IRAF       = NOAO/IRAFV2.16          version    %-23s
#K IMAGE      = a.fits                  imagename  %-23s
#
#N XCENTER   YCENTER   MAG      SHARPNESS   SROUND      GROUND      ID         \\
#U pixels    pixels    #        #           #           #           #          \\
#F %-13.3f   %-10.3f   %-9.3f   %-12.3f     %-12.3f     %-12.3f     %-6d       \\
#
   11.250    6.000     -2.126   0.574       0.060       0.040       1
   41.500    23.750    INDEF    0.510       0.020       0.010       2
   32.000    41.000    -1.000   0.510       0.020       0.010       3
"""
ALLSTAR = """\
 NL   NX   NY  LOWBAD HIGHBAD  THRESH     AP1  PH/ADU  RNOISE    FRAD
  1   60   45     5.0 30000.0   20.00    4.00    2.00    3.00    2.00

      1   11.250    6.000   12.126   0.0123   500.1     4.   0.95   0.012
      2   41.500   23.750   13.500   0.0223   500.2     4.   1.05  -0.012
      3   32.000   41.000   14.250   0.0323   500.3     4.   1.05  -0.012
"""


def test_irafs_list_counts_from_one(tmp_path: Path) -> None:
    got = read_catalog(written(tmp_path / "a.coo.1", DAOFIND))
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]))
    np.testing.assert_array_equal(got["mag"], [-2.126, np.nan, -1.0])


def test_daophots_list_counts_from_one(tmp_path: Path) -> None:
    got = read_catalog(written(tmp_path / "a.als", ALLSTAR))
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]))
    np.testing.assert_array_equal(got["mag"], [12.126, 13.5, 14.25])
    two_lines = ALLSTAR.replace("  1   60", "  2   60", 1)
    with pytest.raises(BadInputError, match=r"one line a star \(NL = 1\); got NL = 2"):
        read_catalog(written(tmp_path / "a.ap", two_lines))


def test_pixels_of_another_image_give_way_to_the_sky(tmp_path: Path) -> None:
    both = Table({"x": X * 0.4 + 900, "y": Y * 0.4 + 1200, "ra": RA, "dec": DEC})
    both.write(tmp_path / "a.csv")
    got = read_catalog(tmp_path / "a.csv", frame=plane())
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]), atol=1e-6)
    assert "x, y lie 14" in got.table.meta[NOTES][0]
    # Nothing to compare with: the pixels stand.
    np.testing.assert_allclose(read_catalog(tmp_path / "a.csv")["x"], both["x"])
    assert NOTES not in read_catalog(tmp_path / "a.csv", frame=plane(wcs=None)).table.meta


@pytest.mark.parametrize("shift", [0.0, 0.4, 2.5])
def test_pixels_of_this_image_stand(tmp_path: Path, shift: float) -> None:
    Table({"x": X + shift, "y": Y, "ra": RA, "dec": DEC}).write(tmp_path / "a.csv")
    got = read_catalog(tmp_path / "a.csv", frame=plane())
    np.testing.assert_array_equal(got["x"], X + shift)
    assert NOTES not in got.table.meta


def test_pixels_that_seem_to_count_from_one_are_told(tmp_path: Path) -> None:
    Table({"x": X + 1, "y": Y + 1, "ra": RA, "dec": DEC}).write(tmp_path / "a.csv")
    got = read_catalog(tmp_path / "a.csv", frame=plane())
    np.testing.assert_array_equal(got["x"], X + 1)
    assert "do they count from 1?" in got.table.meta[NOTES][0]


# -- several tables ------------------------------------------------------------------------


def chip(rows: slice, **more: Any) -> fits.BinTableHDU:
    table = Table({"X_IMAGE": X[rows], "Y_IMAGE": Y[rows], "MAG_AUTO": MAG[rows],
                   "ALPHA_J2000": RA[rows], "DELTA_J2000": DEC[rows], **more})  # fmt: skip
    return fits.BinTableHDU(table, name="LDAC_OBJECTS")


def test_ldac_of_two_chips(tmp_path: Path) -> None:
    path = tmp_path / "two.ldac"
    head = fits.BinTableHDU(Table({"card": ["x"]}), name="LDAC_IMHEAD")
    hdus = [fits.PrimaryHDU(), head, chip(slice(0, 1)), head.copy(), chip(slice(1, 3))]
    fits.HDUList(hdus).writeto(path)
    got = read_catalog(path, frame=plane())
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]), atol=1e-6)
    assert got["chip"].tolist() == [1, 2, 2]
    assert len(read_catalog(path, on_sky=True)) == 3
    assert len(read_catalog(f"{path}[4]")) == 2
    assert len(read_catalog(f"{path}[LDAC_OBJECTS,1]")) == 1
    with pytest.raises(BadInputError, match=r"one chip, .*; got 2 tables LDAC_OBJECTS: \[2\], \[4"):
        read_catalog(path)


def test_one_of_several_tables(tmp_path: Path) -> None:
    positions = Table({"x": X, "y": Y})
    notes = Table({"warning": ["none"]})
    for name, tables in {"one": [notes, positions], "two": [positions, positions]}.items():
        hdus = [fits.BinTableHDU(t, name=f"T{i}") for i, t in enumerate(tables)]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / f"{name}.fits")
        resource = ""
        for i, t in enumerate(tables):
            t.write(tmp_path / "t.vot", format="votable", table_id=f"T{i}", overwrite=True)
            text = (tmp_path / "t.vot").read_text()
            resource += text[text.index("<RESOURCE") : text.index("</VOTABLE>")]
            head = text[: text.index("<RESOURCE")]
        written(tmp_path / f"{name}.vot", head + resource + "</VOTABLE>")
    for ending in ("fits", "vot"):
        assert len(read_catalog(tmp_path / f"one.{ending}")) == 3
        with pytest.raises(BadInputError, match=r"one table, or \[NAME\].*; got 2 tables: T0 \[1"):
            read_catalog(tmp_path / f"two.{ending}")
        for choice in ("T1", "t1", "2"):
            assert len(read_catalog(f"{tmp_path / f'two.{ending}'}[{choice}]")) == 3
        with pytest.raises(BadInputError, match="no table 'T7' among"):
            read_catalog(f"{tmp_path / f'two.{ending}'}[T7]")


# -- columns -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".fits", ".vot", ".ecsv"])
def test_vector_columns_give_their_first_value(tmp_path: Path, ending: str) -> None:
    apertures = np.column_stack([MAG, MAG - 0.5])
    table = Table({"X_IMAGE": X, "Y_IMAGE": Y, "MAG_APER": apertures})
    table.write(tmp_path / f"a{ending}", format="votable" if ending == ".vot" else None)
    got = read_catalog(tmp_path / f"a{ending}")
    np.testing.assert_allclose(got["mag"], MAG)
    np.testing.assert_allclose(got["MAG_APER"], apertures)
    second = read_catalog(tmp_path / f"a{ending}", columns={"mag": "MAG_APER_1"})
    np.testing.assert_allclose(second["mag"], MAG - 0.5)


@pytest.mark.parametrize("ending", [".csv", ".cat"])
def test_vectors_become_columns_where_a_format_has_none(tmp_path: Path, ending: str) -> None:
    assoc = np.column_stack([X, Y, np.arange(len(X))])
    given = Catalog.build(x=X, y=Y, NUMBER_ASSOC=np.arange(len(X)) + 1)
    given = Catalog(Table({**given.table, "VECTOR_ASSOC": assoc}))
    path = tmp_path / f"a{ending}"
    write_catalog(given, path)
    got = read_catalog(path)
    for k, name in enumerate(("VECTOR_ASSOC", "VECTOR_ASSOC_1", "VECTOR_ASSOC_2")):
        np.testing.assert_allclose(got[name], assoc[:, k])
    np.testing.assert_array_equal(got["NUMBER_ASSOC"], np.arange(len(X)) + 1)
    if ending == ".cat":  # as astropy reads the program's own files
        plain = Table.read(path, format="ascii.sextractor")
        np.testing.assert_allclose(plain["VECTOR_ASSOC_2"], assoc[:, 2])
    cube = Catalog(Table({**given.table, "cube": np.zeros((len(X), 2, 2))}))
    with pytest.raises(BadInputError, match="cube"):
        write_catalog(cube, path)


def test_words_in_columns_of_numbers_stay_beside(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "x,y,flags,length,theta\n1,2,BLEND,long,0.5\n3,4,,,\n")
    got = read_catalog(path)
    assert got["flags"].tolist() == [0, 0]
    assert got["length"].tolist() == [0, 0]
    assert got["flags_given"].tolist() == ["BLEND", ""]
    np.testing.assert_array_equal(got["theta"], [0.5, 0.0])
    with pytest.raises(BadInputError, match="a column 'flags' that can be 'flags'; got <U5"):
        read_catalog(path, columns={"flags": "flags"})


def test_lengths_in_another_unit_stay_beside(tmp_path: Path) -> None:
    table = Table({"x": X, "y": Y, "length": [1.0, 2.0, 3.0]})
    table["length"].unit = "km"
    table.write(tmp_path / "a.ecsv")
    got = read_catalog(tmp_path / "a.ecsv")
    assert got["length"].tolist() == [0, 0, 0]
    assert got["length_given"].tolist() == [1, 2, 3]


def test_large_ids_beside_missing_ones_keep_every_digit(tmp_path: Path) -> None:
    import pandas as pd

    ids = pd.array([2**62 + 1, None, 3], dtype="Int64")
    truths = pd.array([True, None, False], "boolean")
    frame = pd.DataFrame({"x": X, "y": Y, "id": ids, "ok": truths})
    frame.to_parquet(tmp_path / "a.parquet")
    column = read_catalog(tmp_path / "a.parquet").table["id"]
    assert column.dtype == np.int64
    assert [v if v is not np.ma.masked else None for v in column] == [2**62 + 1, None, 3]
    ok = read_catalog(tmp_path / "a.parquet").table["ok"]
    assert ok.dtype == bool
    assert ok.mask.tolist() == [False, True, False]


TEXTS = {
    "savetxt": ("a.csv", "# x,y,mag\n{0}"),
    "savetxt spaced": ("a.csv", "# x, y, mag\n{0}"),
    "savetxt as text": ("a.txt", "# made by hand\n# x,y,mag\n{0}"),
    "semicolons and decimal commas": ("a.csv", "x;y;mag\n{1}"),
    "tabs in csv": ("a.csv", "x\ty\tmag\n{2}"),
    "units in names": ("a.csv", "x (pix),y (pix),mag (AB)\n{0}"),
    "CRLF": ("a.csv", "x,y,mag\r\n{0}"),
}


@pytest.mark.parametrize("which", TEXTS)
def test_text_of_many_makers(tmp_path: Path, which: str) -> None:
    name, form = TEXTS[which]
    rows = [(f"{a:.18e}", f"{b:.18e}", f"{c}") for a, b, c in zip(X, Y, MAG, strict=True)]
    plain = "\n".join(",".join(row) for row in rows) + "\n"
    commas = "\n".join(f"{a:g};{b:g};{c:g}".replace(".", ",")
                       for a, b, c in zip(X, Y, MAG, strict=True))  # fmt: skip
    path = written(tmp_path / name, form.format(plain, commas, plain.replace(",", "\t")))
    got = read_catalog(path)
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]))
    np.testing.assert_allclose(got["mag"], MAG)


VIZIER = """\
#
#   VizieR Astronomical Server
#RESOURCE=yCat_1355
#Table	I_355_gaiadr3:

RA_ICRS	DE_ICRS	Source	Gmag
deg	deg	 	mag
-----	-----	-----	-----
{rows}

"""


def test_vizier(tmp_path: Path) -> None:
    mags = ["18.0", "      ", "20.25"]
    cells = [(f"{a:.9f}", f"{b:.9f}", f"{2**60 + 1}", m)
             for a, b, m in zip(RA, DEC, mags, strict=True)]  # fmt: skip
    rows = "\n".join(map("\t".join, cells))
    text = VIZIER.format(rows=rows)
    got = read_catalog(written(tmp_path / "a.tsv", text), frame=plane())
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]), atol=1e-3)
    np.testing.assert_array_equal(got["mag"], [18.0, np.nan, 20.25])
    assert got["Source"].tolist() == [2**60 + 1] * 3
    other = text.replace("I_355_gaiadr3", "II_246_out")
    two = written(tmp_path / "two.tsv", text + other)
    with pytest.raises(BadInputError, match=r"got 2 tables: I_355_gaiadr3 \[1\], II_246_out \[2\]"):
        read_catalog(two, frame=plane())
    assert len(read_catalog(f"{two}[II_246_out]", frame=plane())) == 3


def test_photutils(tmp_path: Path) -> None:
    sky = SkyCoord(RA * u.deg, DEC * u.deg)
    table = Table({"label": [1, 2, 3], "x_centroid": X, "y_centroid": Y, "sky_centroid": sky})
    table["segment_flux"], table["segment_flux_err"] = [5.0, 6.0, 7.0], [0.1, 0.2, 0.3]
    table.write(tmp_path / "a.ecsv")
    got = read_catalog(tmp_path / "a.ecsv")
    np.testing.assert_allclose(got.xy, np.column_stack([X, Y]))
    np.testing.assert_allclose(got["ra"], RA)
    np.testing.assert_allclose(got["flux_err"], [0.1, 0.2, 0.3])


def test_results_of_coco(tmp_path: Path) -> None:
    def result(image: Any, x: float) -> dict[str, Any]:
        return {"image_id": image, "category_id": 1, "bbox": [x - 2, 3.0, 5, 5], "score": 0.5}

    path = written(tmp_path / "r.json", json.dumps([result(7, 10.0), result(7, 20.0)]))
    got = read_catalog(path)
    np.testing.assert_allclose(got["x"], [10, 20])
    np.testing.assert_allclose(got["score"], 0.5)
    written(path, json.dumps([result(7, 10.0), result(12, 20.0), result("a.1", 5.0)]))
    assert read_catalog(f"{path}[12]")["x"].tolist() == [20.0]
    assert read_catalog(f"{path}[a.1]")["x"].tolist() == [5.0]
    named = Frame(data=np.arange(9.0).reshape(3, 3), name="000000000012")
    assert read_catalog(path, frame=named)["x"].tolist() == [20.0]
    with pytest.raises(BadInputError, match=r"one image.*; got 3 images"):
        read_catalog(path)


def test_images_of_coco_whose_names_hold_dots(tmp_path: Path) -> None:
    from skyduel.core import write_coco

    catalogs = {f"night.{k}.fits": Catalog.build(x=[float(k)], y=[1.0]) for k in range(3)}
    write_coco(catalogs, tmp_path / "c.json")
    for k in range(3):
        for name in (f"night.{k}", f"night.{k}.fits", f"folder/night.{k}.fits.fz"):
            frame = Frame(data=np.arange(9.0).reshape(3, 3), name=name)
            assert read_catalog(tmp_path / "c.json", frame=frame)["x"].tolist() == [float(k)]


# -- a mapping by hand ---------------------------------------------------------------------


def test_a_mapping_is_parsed() -> None:
    expected = {"ra": "RAJ2000", "mag": "rmag"}
    for text in ("ra=RAJ2000,mag=rmag", "ra=RAJ2000; mag=rmag", " ra=RAJ2000 mag=rmag "):
        assert parse_columns(text) == expected
    for text, message in (
        ("ra", "pairs as in ra=RAJ2000,mag=rmag; got 'ra'"),
        ("", "pairs as in"),
        ("z=a", "one of the columns x, y"),
        ("x=a,x=b", "every column once; got 'x' twice"),
    ):
        with pytest.raises(BadInputError, match=message):
            parse_columns(text)


def test_missing_words_and_numbers_of_fits(tmp_path: Path) -> None:
    table = Table({"x": X, "y": Y})
    table["n"] = MaskedColumn([1, 2, 3], mask=[False, True, False])
    table["w"] = ["a", "", "c"]
    table.write(tmp_path / "a.fits")
    got = read_catalog(tmp_path / "a.fits")
    assert got["n"].tolist() == [1, 0, 3]
    assert got["w"].tolist() == ["a", "", "c"]
