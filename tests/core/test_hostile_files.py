"""Malicious files are refused in one printable line without much memory."""

# ruff: noqa: E501 - bytes of files read worse in pieces

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.paths import ROOT
from hypothesis import given
from hypothesis import strategies as st

from skyduel.core import (
    BadInputError,
    Catalog,
    open_dataset,
    read_catalog,
    read_frame,
    write_catalog,
)
from skyduel.core.errors import printable
from skyduel.core.io.atomic_files import safe_name
from skyduel.core.io.safe_csv import from_cell, to_cell, without_formulas
from skyduel.core.io.size_limits import check_cells, check_unpacked, most_bytes


def header(*cards: str) -> bytes:
    """Return a FITS header of these cards."""
    text = "".join(card.ljust(80) for card in (*cards, "END"))
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


def image(ny: int, nx: int, bitpix: int = -32) -> bytes:
    cards = (
        "SIMPLE  =                    T",
        f"BITPIX  = {bitpix:>20}",
        "NAXIS   =                    2",
    )
    return header(*cards, f"NAXIS1  = {nx:>20}", f"NAXIS2  = {ny:>20}")


# -- what would take all memory --------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        (image(10**6, 10**6), "at most 8589934592 pixels; got 1000000 x 1000000"),
        (image(60_000, 60_000), "a complete image"),
        (image(10**6, 10**6).replace(b"                   2", b"                 999"), "required"),
        (image(-5, 7), "required a two-dimensional image"),
        (image(9, 9).replace(b"-32", b"-33"), "required"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_image_that_promises_more_than_there_is(tmp_path, cards, message, pack) -> None:
    (tmp_path / "a.fits").write_bytes(pack(cards + bytes(5760)))
    with pytest.raises(BadInputError, match=message):
        read_frame(tmp_path / "a.fits")


def test_a_tiled_image_that_unpacks_to_more_than_its_file_can_hold(tmp_path) -> None:
    data = np.arange(400, dtype=np.int16).reshape(20, 20)
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data)]).writeto(path)
    content = path.read_bytes()
    for axis in (b"ZNAXIS1 ", b"ZNAXIS2 "):
        at = content.index(axis)
        content = content[:at] + axis + b"=                60000" + content[at + 30 :]
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="an image of 60000 x 60000 pixels of at most"):
        read_frame(path)


BOMBS = {
    "frame.fits.gz": lambda: gzip.compress(image(30_000, 30_000) + bytes(600 * 2**20), 9),
    "frame.fits.bz2": lambda: bz2.compress(image(30_000, 30_000) + bytes(600 * 2**20), 1),
    "table.csv.xz": lambda: lzma.compress(b"x,y\n" + b"1,2\n" * (150 * 2**20), preset=0),
}


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_header_of_endless_columns_is_refused_before_it_takes_an_hour(
    tmp_path, name, mark
) -> None:
    line = mark.join(["a"] * 300_000)
    (tmp_path / name).write_text(f"# comment\n\n{line}\n{line}\n")
    with pytest.raises(BadInputError, match="at most 4096 columns; got 300000"):
        read_catalog(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_refused_before_it_has_unpacked(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())
    reader = "read_frame" if "fits" in name else "read_catalog"
    assert "content of at most 512 MiB" in refusal_under(
        1500, f"{reader}({str(tmp_path / name)!r})"
    )


def refusal_under(mebibytes: int, call: str) -> str:
    """Return the refusal of a call in a process that has so much address space more than it uses."""
    code = f"""
import resource, sys
from pathlib import Path
from skyduel.core import BadInputError, read_catalog, read_frame
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {mebibytes} * 2**20,) * 2)
try:
    {call}
except BadInputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


def test_small_bombs_against_small_bounds(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("skyduel.core.io.size_limits._ALWAYS", 2**20)
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(image(2000, 2000) + bytes(16 * 10**6), 9))
    with pytest.raises(BadInputError, match="content of at most"):
        read_frame(tmp_path / "a.fits.gz")
    ones = pa.table({"x": np.ones(10**6), "y": np.ones(10**6)})
    pq.write_table(ones, tmp_path / "a.parquet", row_group_size=10**6)
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    with pytest.raises(BadInputError, match=r"a\.parquet: required content of at most"):
        read_catalog(tmp_path / "a.parquet")
    words = pa.table({"x": np.ones(999), "y": np.ones(999), "note": ["a"] * 998 + ["w" * 9999]})
    pq.write_table(words, tmp_path / "b.parquet")
    with pytest.raises(BadInputError, match="text of 9999 characters in 999 rows"):
        read_catalog(tmp_path / "b.parquet")


def test_one_long_word_in_many_rows(tmp_path) -> None:
    wide = tmp_path / "a.csv"
    wide.write_bytes(b"x,y,note\n" + b"1,2,a\n" * 40_000 + b"1,2," + b"w" * 200_000 + b"\n")
    with pytest.raises(BadInputError, match="text of 200004 characters in 40002 rows"):
        read_catalog(wide)


def test_the_bounds_leave_honest_files_alone() -> None:
    check_unpacked(400 * 2**20, 4000, "an empty mask", "content")
    check_unpacked(10 * 2**30, 2**30, "a mosaic", "content", in_memory=False)
    check_cells([120] * 10**5, 12 * 10**6, "a table")
    with pytest.raises(
        BadInputError, match=r"a\.gz: required content of at most 600 MiB for a file"
    ):
        check_unpacked(601 * 2**20, 2 * 2**20, "a.gz", "content")
    assert 2**28 < most_bytes() < 2**50


# -- what would act --------------------------------------------------------------------


def ecsv(*yaml: str) -> bytes:
    lines = ["%ECSV 1.0", "---", *yaml, "datatype:", "- {name: x, datatype: float64}"]
    text = [*lines, "- {name: y, datatype: float64}", "schema: astropy-2.0"]
    return ("\n".join(f"# {line}" for line in text) + "\nx y\n1 2\n").encode()


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (["meta: !!python/object/apply:os.system ['touch DONE']"], "YAML tag .*python/object"),
        (["meta: !!python/name:os.system"], "YAML tag"),
        (["meta: !numpy.ndarray {dtype: O}"], "YAML tag '!numpy.ndarray'"),
        (["meta: &a {k: 1}", "more: {<<: [*a, *a]}"], "a YAML merge key"),
        ([f"meta: {'[' * 60}{']' * 60}"], "nested at most 50 deep"),
        (["meta: &a [1]", f"more: [{', '.join(['*a'] * 1001)}]"], "at most 1000 aliases"),
        (["meta: [1"], "its header as YAML"),
    ],
)
def test_yaml_that_is_more_than_data(tmp_path, monkeypatch, yaml, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.ecsv").write_bytes(ecsv(*yaml))
    with pytest.raises(BadInputError, match=message):
        read_catalog("a.ecsv")
    assert not Path("DONE").exists()


def test_yaml_of_astropys_own_columns_is_read(tmp_path) -> None:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    table = Table({"x": [1.0, 2.0] * u.pix, "y": [3.0, 4.0]})
    table["place"] = SkyCoord([1, 2] * u.deg, [3, 4] * u.deg)
    table.write(tmp_path / "a.ecsv")
    assert read_catalog(tmp_path / "a.ecsv").xy.tolist() == [[1, 3], [2, 4]]


def test_yaml_in_the_comments_of_a_fits_table(tmp_path) -> None:
    path = tmp_path / "a.fits"
    write_catalog(Catalog.build(x=[1.0], y=[2.0]), path)
    content = path.read_bytes()
    assert b"COMMENT --BEGIN-ASTROPY-SERIALIZED-COLUMNS--" in content
    at = content.index(b"COMMENT datatype:")
    path.write_bytes(
        content[:at] + b"COMMENT datatype: !!python/name:os.system".ljust(80) + content[at + 80 :]
    )
    with pytest.raises(BadInputError, match="YAML tag"):
        read_catalog(path)


def votable(
    before: str = "", data: str = "<TABLEDATA><TR><TD>1</TD><TD>2</TD></TR></TABLEDATA>"
) -> bytes:
    fields = '<FIELD name="x" datatype="double"/><FIELD name="y" datatype="double"/>'
    return (
        f'<?xml version="1.0"?>{before}<VOTABLE version="1.4"><RESOURCE><TABLE>'
        f"{fields}<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
    ).encode()


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 9))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (votable(f'<!DOCTYPE V [<!ENTITY l0 "ha">{LAUGHS}]>'), "an entity 'l0'"),
        (votable('<!DOCTYPE V [<!ENTITY f SYSTEM "file:///etc/passwd">]>'), "an entity 'f'"),
        (votable('<!DOCTYPE V [<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;]>'), "an entity 'p'"),
        (votable(data='<BINARY><STREAM href="file:///etc/passwd"/></BINARY>'), "lies elsewhere"),
        (
            votable(data='<BINARY2><STREAM encoding=">" href="http://127.0.0.1:9/"/></BINARY2>'),
            "elsewhere",
        ),
        (votable(data='<FITS><STREAM href="file:///etc/passwd"/></FITS>'), "lies elsewhere"),
        (votable(data="<a>" * 60 + "</a>" * 60), "nested deeper than 50"),
        (votable(f'<!DOCTYPE V [<!ENTITY l0 "ha">{LAUGHS}]>').decode().encode("utf-16-le"), "'l0'"),
        (votable()[:-9], "a VOTable"),
    ],
)
def test_xml_that_is_more_than_a_table(tmp_path, content, message) -> None:
    (tmp_path / "a.vot").write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        read_catalog(tmp_path / "a.vot")


def test_xml_with_a_document_type_alone_is_read(tmp_path) -> None:
    doctype = '<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">'
    (tmp_path / "a.vot").write_bytes(votable(doctype))
    assert read_catalog(tmp_path / "a.vot").xy.tolist() == [[1, 2]]


# -- what was found by damage at random ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"# ra dec mag\n10.0 ,1 18\n", "required"),
        ("a.csv", "x\u202e,z\n1,2\n".encode(), r"got columns x\\u202e, z"),
        ("a.csv", b"x\x1b[2J,z\n1,2\n", r"columns x\\x1b\[2J, z"),
        ("a.csv", b"x,y\n1," + b"9" * 400 + b"\n", "finite 'y' in every row"),
        (
            "a.json",
            json.dumps({"images": [], "categories": [], "annotations": 1e999}).encode(),
            "COCO",
        ),
        ("a.csv", b"x,y,flags\n1,2,1e999\n", "column 'flags' of type i8"),
        ("a.csv", b"x,y,flags\n1,2,1e19\n", "column 'flags' of type i8"),
        ("a.cat", b"#   1 X_IMAGE\n# 888888888888 Y_IMAGE\n1 2\n", "at most 10000 columns"),
        ("a.json", b'{"a":' + b"[" * 100_000, "required"),
    ],
)
def test_damage_is_told_in_one_printable_line(tmp_path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        read_catalog(tmp_path / name)
    assert str(caught.value).isprintable()


def test_bytes_that_are_no_text_in_a_fits_table(tmp_path) -> None:
    table = Table({"x": [1.0], "y": [2.0], "kind": np.array([b"po\xffint"])})
    table.write(tmp_path / "a.fits")
    with pytest.raises(BadInputError, match="kind 'point', 'streak' or 'galaxy'"):
        read_catalog(tmp_path / "a.fits")


def test_complex_numbers_are_no_magnitudes(tmp_path) -> None:
    Table({"x": [1.0], "y": [2.0], "mag": [1 + 2j]}).write(tmp_path / "a.fits")
    with pytest.raises(BadInputError, match="complex numbers"):
        read_catalog(tmp_path / "a.fits")


def test_a_fits_table_of_more_rows_than_there_are(tmp_path) -> None:
    path = tmp_path / "a.fits"
    Table({"x": [1.0], "y": [2.0]}).write(path)
    content = path.read_bytes().replace(
        b"NAXIS2  =                    1", b"NAXIS2  =           9999999999"
    )
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="9999999999 rows of 16 bytes"):
        read_catalog(path)


@pytest.mark.parametrize("second", [False, True])
def test_more_axes_than_the_standard_allows(tmp_path, second) -> None:
    axes = b"NAXIS   =           1" + b"0" * 17
    bad = header("XTENSION= 'IMAGE   '", "BITPIX  =                    8", axes[:40].decode())
    first = image(0, 0).replace(b"                   2", b"                   0")
    content = (
        first + bad if second else image(9, 9).replace(b"NAXIS   =                    2", axes[:30])
    )
    (tmp_path / "a.fits").write_bytes(content + bytes(2880))
    for read in (read_frame, read_catalog, lambda path: open_dataset(path.parent)):
        with pytest.raises(BadInputError, match="required"):
            read(tmp_path / "a.fits").entries[0].read()


@pytest.mark.parametrize("fields", ["9223372036854775807", "1000", "-1", "'A'"])
def test_a_fits_table_of_more_columns_than_the_standard_allows(tmp_path, fields) -> None:
    path = tmp_path / "a.fits"
    Table({"x": [1.0], "y": [2.0]}).write(path)
    content = path.read_bytes()
    at = content.index(b"TFIELDS =")
    path.write_bytes(content[: at + 10] + f"{fields:>20}".encode() + content[at + 30 :])
    with pytest.raises(BadInputError, match="required"):
        read_catalog(path)


def test_a_manifest_with_endless_digits(tmp_path) -> None:
    (tmp_path / "manifest.csv").write_text(f"frame,mask,mask_bits\na.fits,m.fits,{'9' * 5000}\n")
    with pytest.raises(BadInputError, match="sum of powers of two") as caught:
        open_dataset(tmp_path)
    assert len(str(caught.value)) < 1500


@given(st.text(max_size=900))
def test_messages_are_one_bounded_printable_line(text: str) -> None:
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    assert not set(shown) & set("\u2028\u2029\u202a\u202b\u202d\u202e\u2066\u2067\u200f")
    assert len(shown.splitlines()) <= 1
    if text.isascii() and text.isprintable() and len(text) <= 600:
        assert shown == text


# -- names ------------------------------------------------------------------------------

NAMES = ["../../x", "/etc/passwd", "a\x00b", "x" * 300, "CON", "nul.txt", "com1", "-rf", "--help", ".",
         "..", "", ".hidden", "a/b", "a\\b", "\u202ea", "é" * 200, "a\nb", "~", "$(x)", "*", "C:\\x", "lpt9.fits"]  # fmt: skip


@given(st.one_of(st.sampled_from(NAMES), st.text(max_size=320)))
def test_a_safe_name_is_one_harmless_component(name: str) -> None:
    safe = safe_name(name)
    assert Path("base", safe).parent == Path("base")
    assert 0 < len(safe.encode()) <= 200
    assert safe.isascii()
    assert safe[0] not in ".-"
    assert not set(safe) & set('/\\\x00:*?"<>| \n')
    assert safe.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert safe == safe_name(name)


def test_safe_names_stay_apart() -> None:
    assert len({safe_name(name) for name in NAMES}) == len(NAMES)
    assert safe_name("field_000") == "field_000"
    assert safe_name("sep+a.b-c") == "sep+a.b-c"
    assert safe_name("console") == "console"


# -- spreadsheets -----------------------------------------------------------------------


@given(st.text(max_size=20))
def test_a_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = to_cell(text)
    assert from_cell(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_words_are_marked_and_numbers_are_not() -> None:
    table = pd.DataFrame(
        {"name": ["=1+1", "@x", "a", None], "v": [-1.5, 2, np.nan, 0], "=c": [1, 2, 3, 4]}
    )
    made = without_formulas(table)
    assert made["name"].tolist()[:3] == ["'=1+1", "'@x", "a"]
    assert made["v"].tolist()[:2] == [-1.5, 2]
    assert list(made.columns) == ["name", "v", "'=c"]
    assert table["name"][0] == "=1+1"


def test_a_catalogue_as_csv_has_no_formulas_and_is_read_back(tmp_path) -> None:
    words = ["=cmd|' /C calc'!A0", "-1", "'=quoted", "plain", ""]
    given_ = Catalog.build(x=np.arange(5.0), y=np.arange(5.0) - 9, note=words, **{"@n": [1] * 5})
    write_catalog(given_, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert "'@n" in lines[0]
    assert not any(cell.startswith(("=", "@", '"=')) for line in lines for cell in line.split(","))
    back = read_catalog(tmp_path / "a.csv")
    assert list(back["note"])[:4] == words[:4]
    assert back["y"].tolist() == given_["y"].tolist()
    assert "@n" in back
