"""Catalogues of many programs are read, and written back unchanged."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS
from helpers.paths import DATA, needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import SCHEMA, Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.ds9_regions import write_regions
from skyduel.core.io.frames import read_frame
from skyduel.core.io.tables import TABLE_ENDINGS, read_catalog, write_catalog
from skyduel.core.wcs import add_sky_positions, pixel_positions

ENDINGS = [".ecsv", ".fits", ".vot", ".csv", ".parquet"]

SEXTRACTOR = """\
#   1 NUMBER                 Running object number
#   2 X_IMAGE                Object position along x                       [pixel]
#   3 Y_IMAGE                Object position along y                       [pixel]
#   4 FLUX_AUTO              Flux within a Kron-like elliptical aperture   [count]
#   5 FLUXERR_AUTO           RMS error for AUTO flux                       [count]
#   6 MAG_AUTO               Kron-like elliptical aperture magnitude       [mag]
#   7 THETA_IMAGE            Position angle (CCW/x)                        [deg]
#   8 FLAGS                  Extraction flags
         1    10.5000    20.2500  1500.0  12.0  -7.94   45.0   0
         2     1.0000    11.2500   -30.0  11.0  99.00  -90.0   4
"""


def catalog() -> Catalog:
    return Catalog.build(
        source="made here",
        x=[0.1 + 0.2, 99.0, -1 / 3],
        y=[5.0, 1e-7, 40.25],
        flux=[1.5e4, np.nan, -2.0],
        mag=[17.25, np.nan, 20.0],
        score=[0.999, 1 / 7, np.nan],
        kind=["point", "streak", "point"],
        length=[0.0, 33.5, 0.0],
        theta=[0.0, -1.25, 0.0],
        flags=[0, 2**40, 7],
        ignore=[False, True, False],
        snr=[10.0, 2.0, np.nan],
        name=["A", "längst", "c d"],
    )


def same(one: Catalog, other: Catalog) -> None:
    assert set(one.table.colnames) == set(other.table.colnames)
    for name in one.table.colnames:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        if name in SCHEMA:
            assert one[name].dtype.kind == other[name].dtype.kind


def frame(nx: int = 60, ny: int = 45, **facts: Any) -> Frame:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [30.0, 20.0]
    wcs.wcs.cdelt = [-2 / 3600, 2 / 3600]
    return Frame(
        data=np.random.default_rng(0).normal(size=(ny, nx)), name="sky", **{"wcs": wcs, **facts}
    )


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# -- there and back ----------------------------------------------------------------------


@pytest.mark.parametrize("ending", [*ENDINGS, ".fit", ".votable", ".xml", ".pq", ".CSV"])
def test_written_catalogues_come_back(tmp_path: Path, ending: str) -> None:
    given_ = catalog()
    if ending in {".fits", ".fit"}:
        given_ = given_.with_columns(name=["A", "b", "c d"])  # FITS knows ASCII only
    write_catalog(given_, tmp_path / f"c{ending}")
    same(read_catalog(tmp_path / f"c{ending}"), given_)
    assert [p.name for p in tmp_path.iterdir()] == [f"c{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows_come_back(tmp_path: Path, ending: str) -> None:
    write_catalog(Catalog.empty(), tmp_path / f"c{ending}")
    back = read_catalog(tmp_path / f"c{ending}")
    assert len(back) == 0
    assert back["kind"].dtype.kind == "U"


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".vot", ".parquet"])
def test_units_are_written(tmp_path: Path, ending: str) -> None:
    write_catalog(catalog().with_columns(name=[1, 2, 3]), tmp_path / f"c{ending}")
    if ending == ".parquet":
        facts = pq.read_schema(tmp_path / f"c{ending}").field("theta").metadata
        assert facts[b"unit"] == b"rad"
        assert b"angle of a streak" in facts[b"description"]
    else:
        table = Table.read(tmp_path / f"c{ending}")
        assert table["theta"].unit == u.rad
        assert "angle of a streak" in table["theta"].description


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6),
            st.floats(-1e6, 1e6),
            st.floats(allow_nan=True, allow_infinity=False),
            st.integers(-(2**62), 2**62),
            st.sampled_from(["point", "streak"]),
        ),
        max_size=5,
    ),
    st.sampled_from(ENDINGS),
)
def test_any_values_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], ending: str
) -> None:
    x, y, flux, flags, kind = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    given_ = Catalog.build(
        x=np.array(x, float),
        y=np.array(y, float),
        flux=np.array(flux, float),
        flags=np.array(flags, np.int64),
        kind=np.array(kind, "U6"),
    )
    path = tmp_path_factory.mktemp("c") / f"c{ending}"
    write_catalog(given_, path)
    same(read_catalog(path), given_)


def test_an_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"c\.xlsx: required an ending of \.ecsv, \.fits"):
        write_catalog(catalog(), tmp_path / "c.xlsx")


def test_a_column_that_csv_cannot_hold(tmp_path: Path) -> None:
    table = Table({"x": [1.0], "y": [2.0], "stamp": np.zeros((1, 3, 3))})
    with pytest.raises(BadInputError, match=r"columns that CSV can hold; got stamp with shape"):
        write_catalog(Catalog(table), tmp_path / "c.csv")
    assert list(tmp_path.iterdir()) == []
    for ending in (".ecsv", ".parquet", ".fits"):
        write_catalog(Catalog(table), tmp_path / f"c{ending}")
        assert len(read_catalog(tmp_path / f"c{ending}")) == 1


def test_overwriting_can_be_refused(tmp_path: Path) -> None:
    write_catalog(catalog(), tmp_path / "c.csv")
    write_catalog(Catalog.empty(), tmp_path / "c.csv")
    with pytest.raises(BadInputError, match="does not exist yet"):
        write_catalog(catalog(), tmp_path / "c.csv", overwrite=False)
    assert len(read_catalog(tmp_path / "c.csv")) == 0


def test_every_ending_has_a_writer(tmp_path: Path) -> None:
    for ending in TABLE_ENDINGS:
        write_catalog(Catalog.empty(), tmp_path / f"c{ending}")
        assert (tmp_path / f"c{ending}").stat().st_size > 0


# -- other programs' files ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.cat", "a.sex", "a.txt", "a"])
@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress, bz2.compress])
def test_sextractor_text(tmp_path: Path, name: str, pack: Any) -> None:
    (tmp_path / name).write_bytes(pack(SEXTRACTOR.encode()))
    got = read_catalog(tmp_path / name)
    np.testing.assert_allclose(got.xy, [[9.5, 19.25], [0.0, 10.25]])
    np.testing.assert_allclose(got["flux"], [1500, -30])
    np.testing.assert_allclose(got["flux_err"], [12, 11])
    np.testing.assert_array_equal(got["mag"], [-7.94, np.nan])
    np.testing.assert_allclose(got["theta"], [np.pi / 4, -np.pi / 2])
    np.testing.assert_array_equal(got["flags"], [0, 4])
    np.testing.assert_array_equal(got["NUMBER"], [1, 2])


def test_sextractor_text_without_sources(tmp_path: Path) -> None:
    header = "".join(line for line in SEXTRACTOR.splitlines(True) if line.startswith("#"))
    assert len(read_catalog(write(tmp_path / "a.cat", header))) == 0


def test_fits_ldac(tmp_path: Path) -> None:
    imhead = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", "80A", array=np.array(["SIMPLE"]))], name="LDAC_IMHEAD"
    )
    objects = fits.BinTableHDU.from_columns(
        [
            fits.Column("X_IMAGE", "E", unit="pixel", array=np.array([3.0, 8.0])),
            fits.Column("Y_IMAGE", "E", unit="pixel", array=np.array([4.0, 9.0])),
            fits.Column("FLUX_APER", "2E", array=np.ones((2, 2))),
            fits.Column("FLUX_AUTO", "E", unit="count", array=np.array([5.0, 6.0])),
            fits.Column("ALPHA_J2000", "D", unit="deg", array=np.array([150.0, 151.0])),
            fits.Column("DELTA_J2000", "D", unit="deg", array=np.array([2.0, 2.5])),
        ],
        name="LDAC_OBJECTS",
    )
    fits.HDUList([fits.PrimaryHDU(), imhead, objects]).writeto(tmp_path / "a.cat")
    got = read_catalog(tmp_path / "a.cat")
    np.testing.assert_allclose(got.xy, [[2, 3], [7, 8]])
    np.testing.assert_allclose(got["flux"], [5, 6])
    np.testing.assert_allclose(got["ra"], [150, 151])
    assert got["FLUX_APER"].shape == (2, 2)
    with pytest.raises(BadInputError, match="got columns Field Header Card"):
        read_catalog(f"{tmp_path / 'a.cat'}[LDAC_IMHEAD]")
    with pytest.raises(BadInputError, match="a table; got no table 0"):
        read_catalog(f"{tmp_path / 'a.cat'}[0]")


@pytest.mark.parametrize(
    ("header", "row", "column", "value"),
    [
        ("X,Y,Probability", "1,2,0.5", "score", 0.5),
        ("x,y,CONF", "1,2,0.5", "score", 0.5),
        ("x,y,SNR", "1,2,7", "snr", 7.0),
        ("x,y,magnitude", "1,2,20.5", "mag", 20.5),
        ("x,y,MAG_AUTO,mag", "1,2,20.5,3", "mag", 3.0),
        ("xcentroid,ycentroid", "1,2", "x", 1.0),
        ("XWIN_IMAGE,YWIN_IMAGE,x_px", "1,2,7", "x", 0.0),
        ("x,y,X_IMAGE,Y_IMAGE", "1,2,7,8", "y", 2.0),
        ("x,y,RAJ2000,DEJ2000", "1,2,150.5,-3.5", "dec", -3.5),
        ("x,y,ra,dec", "1,2,10:30:00,-03:30:00", "ra", 157.5),
        ("x,y,ra,dec", "1,2,10:30:00,-03:30:00", "dec", -3.5),
        ("x,y,theta_deg", "1,2,90", "theta", np.pi / 2),
        ("x,y,kind", "1,2, Trail", "kind", "streak"),
        ("x,y,kind", "1,2,STAR", "kind", "point"),
        ("x,y,kind", "1,2,", "kind", "point"),
        ("x,y,class", "1,2,satellite", "kind", "streak"),
        ("x,y,type", "1,2,QSO", "kind", "point"),
        ("x,y,type", "1,2,QSO", "type", "QSO"),
        ("x,y,ignore", "1,2,True", "ignore", True),
        ("x,y,ignore", "1,2,no", "ignore", False),
        ("x,y,flux,e_flux", "1,2,3,4", "flux_err", 4.0),
        ("x,y,flags", "1,2,", "flags", 0),
    ],
)
def test_aliases(tmp_path: Path, header: str, row: str, column: str, value: Any) -> None:
    got = read_catalog(write(tmp_path / "a.csv", f"{header}\n{row}\n"))
    assert got[column][0] == (pytest.approx(value) if isinstance(value, float) else value)


def test_positions_are_taken_in_pairs(tmp_path: Path) -> None:
    # x alone must not be joined with Y_IMAGE, which counts from 1.
    got = read_catalog(write(tmp_path / "a.csv", "x,X_IMAGE,Y_IMAGE\n5,11,21\n"))
    np.testing.assert_allclose(got.xy, [[10, 20]])
    assert got["x_given"][0] == 5


def test_columns_chosen_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,X_IMAGE,Y_IMAGE,px,py,mag,psfmag_r\n7,1,1,5,6,3,21.5\n")
    got = read_catalog(path, columns={"x": "px", "y": "PY", "mag": "psfmag_r"})
    np.testing.assert_allclose(got.xy, [[5, 6]])
    assert got["mag"][0] == 21.5
    assert got["mag_given"][0] == 3
    np.testing.assert_allclose(
        read_catalog(path, columns={"x": "X_IMAGE", "y": "Y_IMAGE"}).xy, [[0, 0]]
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": "nope"}, r"a column 'nope' for 'x'; got columns x, y"),
        ({"z": "x"}, r"one of the columns x, y, xy_err, flux.*; got 'z'"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_catalog(write(tmp_path / "a.csv", "x,y\n1,2\n"), columns=columns)


def test_a_flux_in_another_unit_stays_beside(tmp_path: Path) -> None:
    table = Table({"x": [1.0], "y": [2.0], "flux": [3.0]})
    table["flux"].unit = u.Unit("nmgy", parse_strict="silent")
    table["mag"] = [20.0]
    table["mag"].unit = u.Unit("mag(AB)")
    table.write(tmp_path / "a.ecsv")
    got = read_catalog(tmp_path / "a.ecsv")
    assert np.isnan(got["flux"][0])
    assert got["flux_given"][0] == 3
    assert got["mag"][0] == 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "# made somewhere\n#\nx,y,score\n1,2,0.5\n3,4,N/A\n"),
        ("a.csv", "x;y;score\n1;2;0.5\n3;4;\n"),
        ("a.txt", "x;y;score\n1;2;0.5\n3;4;null\n"),
        ("a.txt", "# x y score\n1 2 0.5\n3 4 nan\n"),
        ("a.tsv", "x\ty\tscore\n1\t2\t0.5\n3\t4\tNA\n"),
        ("a.csv", "\ufeffx,y,score\r\n1,2,0.5\r\n3,4,--\r\n"),
        ("a.dat", "x,y,score\n1,2,0.5\n3,4,\n"),
        ("a.csv", "sep=;\nx;y;score\n1;2;0,5\n3;4;\n"),
        ("a.md", "| x | y | score |\n|--:|:-:|---|\n| 1 | 2 | 0.5 |\n| 3 | 4 |  |\n"),
        ("a.txt", "+---+---+-----+\n| x | y | score |\n+---+---+-----+\n| 1 | 2 | 0.5 |\n"
                  "| 3 | 4 | NULL |\n+---+---+-----+\n"),
        # A comment that begins with a number is no header of SExtractor.
        ("a.txt", "# 2 stars of field A\n# x y score\n1 2 0.5\n3 4 nan\n"),
        ("a.txt", "# 2 stars of field A\nx y score\n1 2 0.5\n3 4 nan\n"),
        ("a.csv", "# 2 stars of field A\nx,y,score\n1,2,0.5\n3,4,\n"),
        ("a.csv", "# 2 stars of field A\n# x,y,score\n1,2,0.5\n3,4,\n"),
        # As Siril lists stars: names in a comment, a column of words.
        ("a.lst", "# 2 stars found\n# layer=1\n# star#\tX\tY\tscore\tProfile\n"
                  "1\t1\t2\t0.5\tGaussian\n2\t3\t4\tnan\tMoffat\n"),
    ],
)  # fmt: skip
def test_text_in_many_hands(tmp_path: Path, name: str, text: str) -> None:
    got = read_catalog(write(tmp_path / name, text))
    np.testing.assert_allclose(got.xy, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(got["score"], [0.5, np.nan])


def test_rows_of_no_known_layout_are_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "! made by a program\n x y mag\n 1 2 18\n 3 4 19\n")
    with pytest.raises(BadInputError, match=r"a text table; got rows like '! made by a program'\Z"):
        read_catalog(path)


def test_units_as_people_write_them(tmp_path: Path) -> None:
    text = (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, unit: px, datatype: float64}\n"
        "# - {name: y, unit: pixels, datatype: float64}\n"
        "# - {name: theta, unit: degrees, datatype: float64}\nx y theta\n1 2 90\n"
    )
    got = read_catalog(write(tmp_path / "a.ecsv", text))
    np.testing.assert_allclose(got.xy, [[1, 2]])
    assert got["theta"][0] == pytest.approx(np.pi / 2)


def test_missing_values_take_the_default(tmp_path: Path) -> None:
    table = Table({"X_IMAGE": [4.0, 5.0], "Y_IMAGE": [6.0, 7.0]})
    table["mag_auto"] = MaskedColumn([20.0, 99.0], mask=[True, False])
    table["flags"] = MaskedColumn([3, 4], mask=[True, False])
    table["score"] = MaskedColumn([0.5, 0.6], mask=[False, True])
    for ending in (".ecsv", ".fits", ".vot"):
        table.write(tmp_path / f"a{ending}", format={".vot": "votable"}.get(ending))
        got = read_catalog(tmp_path / f"a{ending}")
        np.testing.assert_allclose(got.xy, [[3, 5], [4, 6]])
        assert np.isnan(got["mag"]).all()
        np.testing.assert_array_equal(got["flags"], [0, 4])
        np.testing.assert_array_equal(got["score"], [0.5, np.nan])


def test_parquet_of_pandas(tmp_path: Path) -> None:
    frame_ = pd.DataFrame(
        {"x": [1.0, 2.0], "y": [3, 4], "kind": ["trail", None], "n": pd.array([1, None], "Int64")}
    )
    frame_.to_parquet(tmp_path / "a.parquet")
    got = read_catalog(tmp_path / "a.parquet")
    np.testing.assert_allclose(got.xy, [[1, 3], [2, 4]])
    np.testing.assert_array_equal(got["kind"], ["streak", "point"])


def test_flux_and_magnitude_make_each_other(tmp_path: Path) -> None:
    by_mag = write(tmp_path / "m.csv", "x,y,mag\n1,2,20\n3,4,nan\n")
    by_flux = write(tmp_path / "f.csv", "x,y,flux\n1,2,100\n3,4,-5\n")
    np.testing.assert_allclose(read_catalog(by_mag, zero_point=25)["flux"], [100, np.nan])
    got = read_catalog(by_flux, frame=frame(zero_point=25.0))
    np.testing.assert_allclose(got["mag"], [20, np.nan])
    assert np.isnan(read_catalog(by_mag)["flux"]).all()


# -- sky ---------------------------------------------------------------------------------


def test_sky_positions_fall_on_the_frame(tmp_path: Path) -> None:
    field = frame()
    x, y = np.array([0.0, 30.5, 59.0]), np.array([44.0, 7.25, 0.0])
    ra, dec = field.wcs.all_pix2world(x, y, 0)
    # Two more: outside, and on the far side of the sky.
    ra, dec = np.append(ra, [151.0, 330.0]), np.append(dec, [2.0, -2.0])
    Table({"RA_ICRS": ra, "DE_ICRS": dec, "mag": np.arange(5.0)}).write(tmp_path / "a.ecsv")
    got = read_catalog(tmp_path / "a.ecsv", frame=field)
    np.testing.assert_allclose(got.xy, np.column_stack([x, y]), atol=1e-6)
    np.testing.assert_array_equal(got["mag"], [0, 1, 2])
    assert got.table.meta["outside_frame"] == 2
    again = add_sky_positions(field, got)
    np.testing.assert_allclose(again["ra"], ra[:3])
    np.testing.assert_allclose(again["dec"], dec[:3])


def test_no_sky_positions_at_all() -> None:
    field = frame()
    assert len(add_sky_positions(field, Catalog.empty())) == 0
    assert "ra" in add_sky_positions(field, Catalog.empty())
    assert pixel_positions(np.zeros(0), np.zeros(0), field)[0].shape == (0,)
    assert np.isnan(pixel_positions(np.array([330.0]), np.array([-2.0]), field)[0]).all()


def test_sky_without_a_frame_or_a_wcs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "ra,dec\n150,2\n")
    with pytest.raises(BadInputError, match="to place ra and dec on; got no frame"):
        read_catalog(path)
    with pytest.raises(BadInputError, match="got frame sky without a WCS"):
        read_catalog(path, frame=frame(wcs=None))
    with pytest.raises(BadInputError, match=r"sky: required a frame with celestial"):
        add_sky_positions(frame(wcs=None), Catalog.empty())


def test_a_sky_position_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "ra,dec\n150,2\n150,nan\n")
    with pytest.raises(BadInputError, match="a finite 'dec' in every row; got none in row 1"):
        read_catalog(path, frame=frame())


# -- broken files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a file with content; got an empty file"),
        ("a.csv", b"id,value\n1,2\n", r"columns x and y, or ra and dec.*; got columns id, value"),
        ("a.list", b"100.0 1.5 2.5\n100.0 3.5 4.5\n", "got columns col1, col2, col3"),
        ("a.csv", b"x,y\nleft,2\n", "column 'x' of type f8"),
        ("a.csv", b"x,y\n,2\n", "a finite 'x' in every row"),
        ("a.csv", b"x,y,kind\n1,2,blob\n", "kind 'point', 'streak' or 'galaxy'; got 'blob'"),
        ("a.csv", b"x,y,ignore\n1,2,maybe\n", "'maybe' is neither true nor false"),
        ("a.csv", b"x,y,ra,dec\n1,2,noon,x\n", "sexagesimal or decimal positions in 'ra'"),
        ("a.csv", b"x,y\n1,2,3\n", "required a CSV table; got"),
        ("a.csv", b"x,y\n1,\xff\n", "required a CSV table; got"),
        ("a.ecsv", b"# %ECSV 1.0\n# ---\n# [\nx y\n1 2\n", "required a ECSV table"),
        ("a.vot", b"<VOTABLE><RESOURCE>", "required a VOTable table"),
        ("a.vot", b"<html>not found</html>", "required a VOTable table"),
        ("a.parquet", b"PAR1 and nothing more", "required a Parquet table"),
        ("a.fits", b"SIMPLE  = maybe", "required a FITS table"),
        ("a.csv.gz", gzip.compress(b"x,y\n1,2\n", mtime=0)[:-9], "complete compressed file"),
        ("a.bin", b"\x7fELF\x00\x01\x02", "a table of a known format; got binary"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        read_catalog(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no\.csv: required an existing file"):
        read_catalog(tmp_path / "no.csv")
    with pytest.raises(BadInputError, match="required a file; got a folder"):
        read_catalog(tmp_path)


def test_an_image_is_no_table(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(tmp_path / "a.fits")
    with pytest.raises(BadInputError, match="required a table; got none"):
        read_catalog(tmp_path / "a.fits")


# -- regions -----------------------------------------------------------------------------


def test_regions_count_from_one(tmp_path: Path) -> None:
    found = Catalog.build(
        x=[10.0, 20.0],
        y=[5.0, 30.0],
        kind=["point", "streak"],
        length=[0.0, 10.0],
        theta=[0.0, np.pi / 2],
        score=[0.98765, np.nan],
    )
    write_regions(found, tmp_path / "a.reg", radius_px=4)
    lines = (tmp_path / "a.reg").read_text().splitlines()
    assert lines[2:] == [
        "image",
        "circle(11.000,6.000,4.000) # text={0.9877}",
        "line(21.000,26.000,21.000,36.000) # line=0 0",
    ]


def test_text_cannot_leave_its_braces(tmp_path: Path) -> None:
    found = Catalog.build(x=[1.0], y=[2.0], note=["a} # color={red}\nbox(1,2,3,4)"])
    write_regions(found, tmp_path / "a.reg", label="note")
    lines = (tmp_path / "a.reg").read_text().splitlines()
    assert len(lines) == 4
    assert lines[3].endswith("text={a) # color=(red) box(1,2,3,4)}")


def test_regions_of_nothing_and_bad_arguments(tmp_path: Path) -> None:
    write_regions(Catalog.empty(), tmp_path / "a.reg")
    assert (tmp_path / "a.reg").read_text().endswith("image\n")
    with pytest.raises(BadInputError, match="a column 'nope'"):
        write_regions(Catalog.empty(), tmp_path / "a.reg", label="nope")
    with pytest.raises(BadInputError, match="color: required a colour's name"):
        write_regions(Catalog.empty(), tmp_path / "a.reg", color="red\nbox(1,1,1,1)")


# -- the tables beside the project -------------------------------------------------------


@pytest.fixture(scope="module")
def sdss() -> Frame:
    return read_frame(DATA / "sdss_s82" / "frame-r-000094-1-0012.fits.bz2")


@needs_data
class TestRealTables:
    def test_skymaker_truth(self) -> None:
        paths = sorted((DATA / "skymaker").glob("*.ecsv"))
        assert len(paths) == 20
        trails = 0
        for path in paths:
            truth = read_catalog(path)
            assert len(truth) > 30
            assert np.isfinite(truth["mag"][~truth.is_streak]).all()
            trails += int((truth.is_streak & np.isnan(truth["mag"])).sum())
        assert trails >= 1

    def test_wide_field_truth(self) -> None:
        folder = DATA / "widefield_lens"
        truth = read_catalog(folder / "Alt60_Azi45_truth.csv")
        sky = read_catalog(
            folder / "Alt60_Azi45_truth.csv",
            columns={"mag": "g_gaia"},
            frame=read_frame(folder / "Alt60_Azi45.fits.fz"),
        )
        np.testing.assert_allclose(sky.xy, truth.xy)
        assert np.isnan(truth["mag"]).all()
        assert (sky["mag"] == truth["g_gaia"])[np.isfinite(sky["mag"])].all()

    def test_wide_field_positions_follow_from_the_sky(self) -> None:
        folder = DATA / "widefield_lens"
        image = read_frame(folder / "Alt60_Azi45.fits.fz")
        truth = read_catalog(folder / "Alt60_Azi45_truth.csv")
        x, y = pixel_positions(truth["ra"], truth["dec"], image)
        assert np.nanmedian(np.hypot(x - truth["x"], y - truth["y"])) < 0.01

    def test_sdss_truth_through_the_sky(self, sdss: Frame) -> None:
        folder = DATA / "sdss_s82"
        truth = read_catalog(
            folder / "stripe82_coadd_94_1_12.fits", columns={"mag": "psfmag_r"}, frame=sdss
        )
        assert len(truth) + truth.table.meta["outside_frame"] == 901
        ny, nx = sdss.shape
        inside = (truth["x"] > -0.5) & (truth["x"] < nx - 0.5)
        inside &= (truth["y"] > -0.5) & (truth["y"] < ny - 0.5)
        assert inside.sum() == pytest.approx(814, abs=2)
        assert len(truth) > inside.sum()  # a margin of a few pixels stays

    def test_sdss_objects_agree_with_their_own_pixels(self, sdss: Frame) -> None:
        folder = DATA / "sdss_s82"
        objects = read_catalog(folder / "photoObj_subset_94_1_12.fits", frame=sdss)
        # SDSS counts the centre of the first pixel as 0.5.
        shift = np.hypot(
            objects["x"] - (objects["OBJC_COLC"] - 0.5), objects["y"] - (objects["OBJC_ROWC"] - 0.5)
        )
        assert np.median(shift) < 0.5

    def test_hand_made_lists_need_names(self) -> None:
        path = DATA / "wfsat_crops" / "242.list"
        with pytest.raises(BadInputError, match="got columns col1, col2, col3"):
            read_catalog(path)
        labels = read_catalog(path, columns={"x": "col2", "y": "col3"})
        assert len(labels) == len(path.read_text().splitlines())
