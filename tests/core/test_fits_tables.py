"""FITS tables whose stored numbers are not the values: scaled, unsigned, compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.errors import BadInputError
from skyduel.core.io.tables import read_catalog
from skyduel.core.io.tabular.fits_tables import read_fits, write_fits

INT16 = np.array([-32768, -9999, 0, 1000, 32767], dtype=np.int16)


def write_stored(path: Path, stored: np.ndarray, name: str = "v", **cards: Any) -> None:
    """Write positions and a column of integers as they are stored, with more cards."""
    letters = {1: "B", 2: "I", 4: "J", 8: "K"}
    place = np.arange(float(len(stored)))
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("x", format="D", array=place), fits.Column("y", format="D", array=place),
         fits.Column(name, format=letters[stored.dtype.itemsize], array=stored)]
    )  # fmt: skip
    for key, value in cards.items():
        hdu.header[f"{key}3"] = value
    hdu.writeto(path)


def values(path: Path) -> list[Any]:
    """Return column ``v``, None where there is no value."""
    given_table = read_fits(path.read_bytes(), None, lambda names: "x" in names)
    assert given_table is not None
    column = given_table.table["v"]
    missing = np.ma.getmaskarray(column)
    return [
        None if gone else v
        for v, gone in zip(np.ma.getdata(column).tolist(), missing.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("cards", "right"),
    [
        # 20 + 0.001 · -9999 would be a star of magnitude 10.
        ({"TSCAL": 0.001, "TZERO": 20.0, "TNULL": -9999}, [-12.768, None, 20.0, 21.0, 52.767]),
        # A value of -9999 after scaling is none that is missing.
        ({"TSCAL": 1.0, "TZERO": 1.0, "TNULL": 1000}, [-32767, -9998, 1, None, 32768]),
        ({"TZERO": 32768, "TNULL": -32768}, [None, 22769, 32768, 33768, 65535]),
        ({"TZERO": 32768, "TNULL": 0}, [0, 22769, None, 33768, 65535]),
        ({"TZERO": 32768, "TNULL": 12}, [0, 22769, 32768, 33768, 65535]),
        ({"TNULL": -9999}, [-32768, None, 0, 1000, 32767]),
    ],
)
def test_a_missing_integer_is_told_by_what_is_stored(
    tmp_path: Path, cards: dict[str, Any], right: list[Any]
) -> None:
    write_stored(tmp_path / "a.fits", INT16, **cards)

    got = values(tmp_path / "a.fits")

    assert [v is None for v in got] == [v is None for v in right]
    assert [v for v in got if v is not None] == pytest.approx([v for v in right if v is not None])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_unsigned_ones_of_more_bytes(tmp_path: Path, dtype: type[np.signedinteger[Any]]) -> None:
    low = int(np.iinfo(dtype).min)
    stored = np.array([low, low + 7, 0, 5], dtype=dtype)
    write_stored(tmp_path / "a.fits", stored, TZERO=-low, TNULL=0)

    assert values(tmp_path / "a.fits") == [0, 7, None, 5 - low]


def test_a_missing_magnitude_is_nan(tmp_path: Path) -> None:
    write_stored(tmp_path / "a.fits", INT16[1:4], "mag", TSCAL=0.001, TZERO=20.0, TNULL=-9999)

    np.testing.assert_allclose(read_catalog(tmp_path / "a.fits")["mag"], [np.nan, 20.0, 21.0])


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8"])
def test_unsigned_columns_of_astropy(tmp_path: Path, dtype: str) -> None:
    # astropy states the value itself, 999999 cut to the bits, where FITS has the stored one.
    column = MaskedColumn(np.array([1, 2, 3], dtype), mask=[True, False, False])
    Table({"x": [0.0, 1, 2], "y": [0.0, 1, 2], "v": column}).write(tmp_path / "a.fits")

    assert values(tmp_path / "a.fits") == [None, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
def test_written_integers_are_the_stored_ones(
    dtype: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    # An oracle that knows only the standard: stored · TSCAL + TZERO, missing where it is TNULL.
    info = np.iinfo(dtype)
    numbers = st.lists(st.integers(info.min, info.max) | st.none(), min_size=1, max_size=6)
    given_values = data.draw(numbers)
    column = MaskedColumn(
        np.array([0 if v is None else v for v in given_values], dtype),
        mask=[v is None for v in given_values],
    )
    path = tmp_path_factory.mktemp("fits") / "a.fits"
    place = np.arange(float(len(column)))
    write_fits(Table({"x": place, "y": place, "v": column}), path)

    with fits.open(path) as hdus:
        header, raw = hdus[1].header, hdus[1].data.view(np.ndarray)["v"]
        stored, zero = [int(v) for v in raw], int(header.get("TZERO3", 0))
        null = header.get("TNULL3")
    assert [None if v == null else v + zero for v in stored] == given_values
    assert values(path) == given_values


def test_a_compressed_table_is_named(tmp_path: Path) -> None:
    # As `fpack -table` writes it: one row, of descriptors.
    packed = fits.BinTableHDU.from_columns(
        [fits.Column(n, format="1QB(3)", array=np.array([[1, 2, 3]], dtype=object)) for n in "xy"]
    )
    packed.header["ZTABLE"] = True
    packed.writeto(tmp_path / "cat.fits.fz")

    with pytest.raises(BadInputError, match=r"cat.fits.fz: required .*not compressed \(funpack\)"):
        read_catalog(tmp_path / "cat.fits.fz")
