"""Every format that is written keeps types, large integers and missing values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from helpers.paths import ROOT
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skyduel.core import Catalog, read_catalog, write_catalog

FORMATS = [".ecsv", ".fits", ".vot", ".csv", ".parquet", ".json", ".cat", ".ldac"]
INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def returned(values: Any, mask: Any, ending: str, folder: Path) -> tuple[Any, Any]:
    """Return a column's values and what of it is missing after it was written and read."""
    n = len(values)
    table = Table({"x": np.arange(n) * 1.5, "y": np.arange(n) + 0.25})
    table["extra"] = MaskedColumn(values, mask=mask) if np.any(mask) else values
    path = folder / f"c{ending}"
    write_catalog(Catalog(table), path)
    back = read_catalog(path)
    column = back.table["extra"]
    missing = np.ma.getmaskarray(column) | np.zeros(n, bool)
    data = np.asarray(np.ma.getdata(column))
    if data.dtype.kind == "f":
        missing = missing | np.isnan(data)
    if data.dtype.kind in "US":
        missing = missing | (data == "")
    return data, missing


def same(given_: Any, mask: Any, back: Any, missing: Any) -> None:
    """Compare values; what is missing as NaN or empty text counts as masked."""
    given_, mask = np.asarray(given_), np.array(mask, bool)
    if given_.dtype.kind == "f":
        mask = mask | np.isnan(given_)
    if given_.dtype.kind == "U":
        mask = mask | (given_ == "")
    np.testing.assert_array_equal(missing, mask)
    there = ~mask
    if given_.dtype.kind == "b":
        back = back.astype(bool)
    if given_.dtype.kind in "iu":
        assert back[there].tolist() == given_[there].tolist()
    else:
        np.testing.assert_array_equal(back[there].astype(given_.dtype), given_[there])


words = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)


@st.composite
def columns(draw: Any) -> tuple[Any, Any]:
    n = draw(st.integers(1, 4))
    kind = draw(st.sampled_from([*INTEGERS, "f4", "f8", "?", "U"]))
    if kind == "U":
        values = np.array(draw(st.lists(words.map("w".__add__), min_size=n, max_size=n)), str)
    else:
        elements = {"allow_infinity": False} if kind.startswith("f") else None
        values = draw(hnp.arrays(kind, n, elements=elements and hnp.from_dtype(
            np.dtype(kind), **elements)))  # fmt: skip
    return values, np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))


@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(columns(), st.sampled_from(FORMATS))
def test_any_column_survives(
    tmp_path_factory: pytest.TempPathFactory, column: tuple[Any, Any], ending: str
) -> None:
    values, mask = column
    same(values, mask, *returned(values, mask, ending, tmp_path_factory.mktemp("r")))


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("kind", [*INTEGERS, "?"])
def test_extremes_and_a_missing_value(tmp_path: Path, ending: str, kind: str) -> None:
    if kind == "?":
        values = np.array([True, False, True, False])
    else:
        info = np.iinfo(kind)
        values = np.array([info.min, info.max, info.max // 2, 1], kind)
    for mask in ([0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]):
        same(values, mask, *returned(values, mask, ending, tmp_path))


@pytest.mark.parametrize("ending", FORMATS)
def test_small_signed_integers_are_not_truth_values(tmp_path: Path, ending: str) -> None:
    back, _ = returned(np.array([-1, 0, 2], np.int8), [0, 0, 0], ending, tmp_path)
    assert back.tolist() == [-1, 0, 2]
    assert back.dtype.kind == "i"


@pytest.mark.parametrize("ending", FORMATS)
def test_the_default_mark_of_a_missing_integer_is_a_value(tmp_path: Path, ending: str) -> None:
    # astropy's fill value for integers.
    back, missing = returned(np.array([999999, 7, 8]), [0, 0, 1], ending, tmp_path)
    assert back[:2].tolist() == [999999, 7]
    assert missing.tolist() == [False, False, True]


@pytest.mark.parametrize("ending", FORMATS)
def test_what_lies_under_a_mask_does_not_come_back(tmp_path: Path, ending: str) -> None:
    cases = (([5, 6], 0), (["aa", "bb"], ""), ([1.5, 2.5], np.nan), ([True, True], False))
    for values, fill in cases:
        table = Table({"x": [1.0, 2.0], "y": [3.0, 4.0]})
        table["extra"] = MaskedColumn(values, mask=[False, True])
        write_catalog(Catalog(table), tmp_path / f"c{ending}")
        back = read_catalog(tmp_path / f"c{ending}")
        np.testing.assert_array_equal(back["extra"][1], np.array(fill))
        assert back["extra"][0] == values[0]


@pytest.mark.parametrize("word", ["NA", "None", "null", "--", "=1+1", "a,b", 'say "x"', "ä"])
@pytest.mark.parametrize("ending", [".ecsv", ".csv", ".parquet", ".json", ".vot"])
def test_words_that_look_like_something_else(tmp_path: Path, ending: str, word: str) -> None:
    back, missing = returned(np.array([word, "plain"]), [0, 0], ending, tmp_path)
    assert back.tolist() == [word, "plain"]
    assert not missing.any()


def test_a_vector_column_survives(tmp_path: Path) -> None:
    vectors = np.arange(6.0).reshape(2, 3)
    table = Table({"x": [1.0, 2.0], "y": [3.0, 4.0], "v": vectors})
    for ending in (".ecsv", ".fits", ".vot", ".parquet", ".ldac"):
        write_catalog(Catalog(table), tmp_path / f"c{ending}")
        np.testing.assert_array_equal(read_catalog(tmp_path / f"c{ending}")["v"], vectors)


def test_a_votable_is_written_within_its_buffers(tmp_path: Path) -> None:
    # Rows of every length near 256 bytes, in a process whose allocator checks the end of blocks.
    code = """
import sys
from skyduel.core import Catalog, write_catalog
from pathlib import Path
for n in range(300):
    write_catalog(Catalog.build(x=[1.0], y=[1.0], note=["a" * n]), Path(sys.argv[1]) / "a.vot")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONMALLOC": "debug"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
