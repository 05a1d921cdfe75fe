"""ECSV written in a fast way: read back as astropy's own file is, value by value."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.io.tabular import ecsv_tables
from skyduel.core.io.tabular.ecsv_tables import read_ecsv, write_ecsv

ODD = [
    0.0, -0.0, 1.0, -1.5, 1e-5, 9.9e-5, 1e-4, 0.1, 1 / 3, 1e15, 1e16, 123456789012345680.0, 1e22,
    5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, np.inf, -np.inf, np.nan, 2**53 + 2.0,
]  # fmt: skip


def numbers() -> Table:
    rng = np.random.default_rng(1)
    n = len(ODD)
    bits = rng.integers(0, 2**63, n, dtype=np.uint64)
    table = Table(meta={"detector": "sep", "list": [1, 2], "text": "a: b # c"})
    table["odd"] = Column(ODD, unit="pix", description='position, "0-based"')
    table["any"] = bits.view(np.float64)
    table["single"] = rng.normal(0, 1e-3, n).astype(np.float32)
    table["big_endian"] = rng.normal(0, 1e3, n).astype(">f8")
    table["int8"] = rng.integers(-128, 128, n).astype(np.int8)
    table["uint64"] = bits * np.uint64(2)
    table["int64"] = np.array([-(2**63), 2**63 - 1] * (n // 2))
    table["flag"] = rng.random(n) < 0.5
    table["kind"] = np.where(rng.random(n) < 0.5, "streak", "point")
    return table


def same(table: Table, folder: Path) -> None:
    """Compare what is read from our file with what is read from astropy's."""
    write_ecsv(table, folder / "ours.ecsv")
    table.write(folder / "theirs.ecsv", format="ascii.ecsv", overwrite=True)
    ours, theirs = (Table.read(folder / f"{name}.ecsv") for name in ("ours", "theirs"))
    assert ours.colnames == theirs.colnames
    assert ours.meta == theirs.meta
    for name in theirs.colnames:
        one, other = ours[name], theirs[name]
        assert (one.dtype, one.unit, one.description) == (other.dtype, other.unit,
                                                          other.description)  # fmt: skip
        if one.dtype.kind == "f":  # also the sign of zero
            bits = f"u{one.dtype.itemsize}"
            a, b = (np.ascontiguousarray(c, c.dtype.newbyteorder("=")) for c in (one, other))
            assert np.array_equal(np.isnan(a), np.isnan(b))
            keep = ~np.isnan(a)
            np.testing.assert_array_equal(a[keep].view(bits), b[keep].view(bits))
        else:
            np.testing.assert_array_equal(one, other)


def test_numbers_and_words_come_back_as_from_astropys_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ecsv_tables, "_ROWS", 7)  # several parts, the last one shorter
    table = numbers()
    assert ecsv_tables._is_plain(table)
    same(table, tmp_path)
    head = [(tmp_path / f"{n}.ecsv").read_text().split("\nodd any")[0] for n in ("ours", "theirs")]
    assert head[0] == head[1]


@pytest.mark.parametrize(
    "column",
    [
        Column(["a b", "c", "d"]),
        Column(["", "c", "d"]),
        Column(['say "no"', "c", "d"]),
        Column(["#a", "c", "d"]),
        Column(["é", "c", "d"]),
        MaskedColumn([1.0, 2.0, 3.0], mask=[True, False, False]),
        Column([[1, 2], [3, 4], [5, 6]]),
        Column([None, {"a": 1}, [1]], dtype=object),
        Column(np.array([1, 2, 3], dtype=np.float16)),
    ],
    ids=lambda c: f"{c.dtype}-{np.ravel(c)[0]}",
)
def test_other_columns_are_left_to_astropy(column: Column, tmp_path: Path) -> None:
    table = Table({"x": [1.0, 2.0, 3.0], "other": column})
    assert not ecsv_tables._is_plain(table)
    write_ecsv(table, tmp_path / "ours.ecsv")
    table.write(tmp_path / "theirs.ecsv", format="ascii.ecsv")
    assert (tmp_path / "ours.ecsv").read_bytes() == (tmp_path / "theirs.ecsv").read_bytes()


def test_a_table_without_rows_has_its_header(tmp_path: Path) -> None:
    write_ecsv(numbers()[:0], tmp_path / "none.ecsv")
    assert Table.read(tmp_path / "none.ecsv").colnames == numbers().colnames


def test_rows_made_here_are_those_of_arrow() -> None:
    columns = [np.asarray(column) for column in numbers().itercols()]
    assert list(ecsv_tables._rows_of_words(columns)) == ecsv_tables._rows_by_arrow(columns)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_have_the_notation_of_arrow(dtype: str) -> None:
    rng = np.random.default_rng(5)
    size = np.dtype(dtype).itemsize
    bits = rng.integers(0, 256, (4000, size), dtype=np.uint8).view(dtype)[:, 0]
    around_one = rng.normal(0, 1, 4000) * 10.0 ** rng.integers(-9, 13, 4000)
    whole = np.rint(10.0 ** rng.uniform(0, 17, 1000)) * rng.choice([-1, 1], 1000)
    powers = np.concatenate([10.0 ** np.arange(-30, 30), 9.99999 * 10.0 ** np.arange(-9, 12)])
    with np.errstate(all="ignore"):  # some become infinite in single precision
        others = np.concatenate([around_one, whole, powers, np.array(ODD)]).astype(dtype)
    values = np.concatenate([bits, others])
    assert list(ecsv_tables._rows_of_words([values])) == ecsv_tables._rows_by_arrow([values])


def test_long_tables_are_the_same_without_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = numbers()
    long = table[np.arange(ecsv_tables._ROWS_FOR_ARROW + 3) % len(table)]
    write_ecsv(long, tmp_path / "arrow.ecsv")
    monkeypatch.setattr(ecsv_tables, "is_installed", lambda library: False)
    monkeypatch.setattr(ecsv_tables, "_rows_by_arrow", None)
    write_ecsv(long, tmp_path / "without.ecsv")
    assert (tmp_path / "arrow.ecsv").read_bytes() == (tmp_path / "without.ecsv").read_bytes()


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"a": 1, "b": 1.5, "c": True, "d": None, "e": [1, "x", [2.5]], "f": []},
        {"text": "a: b # c", "quotes": 'it\'s "so"', "no": "no", "number": "1.0", "empty": ""},
        {"long": "word " * 60, "json": '{"bf16": null, "device": "auto"}', "é": "µm\nline"},
        {"nested": {"b": 1, "a": 2}},
        {"of numpy": np.float64(1.5), 3: "a key that is no text"},
        {"nan": float("nan"), "inf": float("-inf"), "small": 1e-7, "tuple": (1, 2)},
    ],
    ids=["none", "plain", "odd text", "long", "mapping", "numpy", "floats"],
)
def test_the_header_is_astropys(meta: dict, tmp_path: Path) -> None:
    table = Table({"x": Column([1.0], unit="pix", description="it's 0-based; a: b, " * 9)})
    table["kind"], table["flag"] = ["point"], [True]
    table["flux"] = Column([1.0], unit="adu / s", description="")
    for copy in (table, table.copy()):
        copy.meta.update(meta)
        assert ecsv_tables._header(copy) == ecsv_tables._astropys_header(copy)
        copy["x"].format = "%.2f"
        assert ecsv_tables._header(copy) == ecsv_tables._astropys_header(copy)
        copy["x"].format, copy["x"].meta = None, {"bits": 8}
        assert ecsv_tables._header(copy) == ecsv_tables._astropys_header(copy)
        copy.rename_column("x", "x y")


# -- read ------------------------------------------------------------------------------


def assert_same_table(ours: Table, theirs: Table) -> None:
    assert ours.colnames == theirs.colnames
    assert ours.meta == theirs.meta
    assert len(ours) == len(theirs)
    for name in theirs.colnames:
        one, other = ours[name], theirs[name]
        assert type(one) is type(other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert (one.unit, one.description) == (other.unit, other.description)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes(), name


def read_both(lines: list[str]) -> None:
    """Read lines with astropy and with `read_ecsv`: one table, or both refuse."""
    try:
        theirs = Table.read(lines, format="ascii.ecsv")
    except Exception as error:
        with pytest.raises(type(error)):
            read_ecsv(lines)
        return
    assert_same_table(read_ecsv(lines), theirs)


def plain_lines(table: Table, folder: Path) -> list[str]:
    write_ecsv(table, folder / "a.ecsv")
    return (folder / "a.ecsv").read_text().split("\n")


def test_plain_tables_are_read_as_by_astropy_without_it(tmp_path, monkeypatch) -> None:
    table = numbers()["odd", "any", "int64", "kind"]
    lines = plain_lines(table, tmp_path)
    theirs = Table.read(lines, format="ascii.ecsv")
    read_ecsv(lines)  # the header is known from here on
    with monkeypatch.context() as patched:
        patched.setattr(Table, "read", None)
        ours = read_ecsv(lines)
        again = read_ecsv(lines)
    assert_same_table(ours, theirs)
    ours["odd"][:] = 7
    ours.meta["list"].append(3)
    assert_same_table(again, theirs)  # tables of one header share nothing


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    types=st.lists(st.sampled_from(["float64", "int64", "string", "bool", "float32"]),
                   min_size=1, max_size=4),
    rows=st.lists(st.lists(st.sampled_from(
        ["1", "-0.0", "1e400", "nan", "inf", "NaN", "1_0", "a", "", '""', '"a b"', "#", "+5", "0x1",
         "99999999999999999999", "True", "1.5", "point", "-", "--", "é"]),
        min_size=1, max_size=5), max_size=4),
    ends=st.sampled_from([[], [""], ["", ""], [" "]]),
    space=st.sampled_from([" ", " ", " ", "  ", "\t", ","]),
)  # fmt: skip
def test_any_rows_are_read_or_refused_as_by_astropy(types, rows, ends, space) -> None:
    names = [f"c{k}" for k in range(len(types))]
    header = ["# %ECSV 1.0", "# ---", "# datatype:"]
    header += [f"# - {{name: {n}, datatype: {t}}}" for n, t in zip(names, types, strict=True)]
    read_both([*header, " ".join(names), *(space.join(row) for row in rows), *ends])


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("# delimiter: ','", "a,b"),
        ("# meta: !!omap\n# - {k: [1, 2]}", "a b"),
        ("# schema: astropy-2.0", "a b"),
        ("# schema: astropy-2.0", "b a"),
        ("# schema: astropy-2.0", "a  b"),
        ("# schema: astropy-2.0", "a"),
        ("# schema: [", "a b"),
    ],
)
def test_headers_are_read_or_refused_as_by_astropy(line, names) -> None:
    header = ["# %ECSV 1.0", "# ---", "# datatype:", "# - {name: a, datatype: float64, unit: pix}",
              "# - {name: b, datatype: int64, subtype: 'int64[2]'}"]  # fmt: skip
    for second in (header[-1], "# - {name: b, datatype: int64}"):
        mark = "," if "," in names else " "
        for _ in range(2):
            read_both([*header[:-1], second, *line.split("\n"), names, mark.join(("1.5", "2")), ""])
