"""Tests of the common schema of truths and detections."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import SCHEMA, Catalog
from skyduel.core.columnar_catalogs import pack_catalogs
from skyduel.core.errors import BadInputError


def test_positions_alone_make_a_catalogue() -> None:
    catalog = Catalog.build(x=[1, 2, 3], y=[4, 5, 6])
    assert len(catalog) == 3
    np.testing.assert_array_equal(catalog.xy, [[1, 4], [2, 5], [3, 6]])
    assert np.isnan(catalog["flux"]).all()
    assert (catalog["kind"] == "point").all()
    assert (catalog["length"] == 0).all()
    assert (catalog["flags"] == 0).all()
    assert not catalog.is_streak.any()
    for name in Catalog.OPTIONAL:
        assert name not in catalog


def test_every_column_has_its_type_and_unit() -> None:
    given_ = {name: ["point"] if name == "kind" else [1] for name in SCHEMA}
    catalog = Catalog.build(**given_)
    for name, column in SCHEMA.items():
        assert catalog[name].dtype.kind == np.dtype(column.dtype).kind
        unit = catalog.table[name].unit
        assert unit is None if column.unit is None else unit == u.Unit(column.unit)
        assert catalog.table[name].description == column.description


def test_no_rows() -> None:
    catalog = Catalog.empty("nothing")
    assert len(catalog) == 0
    assert catalog.xy.shape == (0, 2)
    assert catalog.is_streak.shape == (0,)
    assert len(catalog.select(np.zeros(0, bool))) == len(catalog.select([])) == 0
    assert len(catalog.with_columns(score=[])) == 0


def test_units_are_converted() -> None:
    table = QTable({"x": [1.0], "y": [2.0], "theta": [90] * u.deg, "ra": [10] * u.hourangle})
    catalog = Catalog(table)
    assert catalog["theta"][0] == pytest.approx(np.pi / 2)
    assert catalog["ra"][0] == pytest.approx(150)


@pytest.mark.parametrize(("column", "unit"), [("theta", "m"), ("flux", "Jy"), ("x", "nonsense")])
def test_units_that_cannot_be(column: str, unit: str) -> None:
    table = Table({"x": [1.0], "y": [2.0], "theta": [1.0], "flux": [1.0]})
    table[column].unit = u.Unit(unit, parse_strict="silent")
    with pytest.raises(BadInputError, match=f"'{column}' in a unit convertible to"):
        Catalog(table)


def test_missing_values_become_the_default() -> None:
    mask = [True, False]
    table = Table({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    for name, values in {
        "flux": [5.0, 6.0],
        "flags": [7, 8],
        "kind": ["streak", "streak"],
        "ignore": [True, True],
    }.items():
        table[name] = MaskedColumn(values, mask=mask)
    catalog = Catalog(table)
    np.testing.assert_array_equal(catalog["flux"], [np.nan, 6])
    np.testing.assert_array_equal(catalog["flags"], [0, 8])
    np.testing.assert_array_equal(catalog["kind"], ["point", "streak"])
    np.testing.assert_array_equal(catalog["ignore"], [False, True])


def test_nan_in_integers_and_bools_is_missing() -> None:
    catalog = Catalog.build(x=[1, 2], y=[3, 4], flags=[np.nan, 3.0], ignore=[np.nan, 1.0])
    np.testing.assert_array_equal(catalog["flags"], [0, 3])
    np.testing.assert_array_equal(catalog["ignore"], [False, True])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0]}, "required a column 'y'; got columns x"),
        ({"x": [1.0], "y": [np.nan]}, r"a finite 'y' in every row; got nan in row 0 \(1 such"),
        ({"x": [np.inf, 1], "y": [1, 2]}, r"a finite 'x' in every row; got inf in row 0"),
        ({"x": [1.0, 2.0], "y": [1.0]}, r"columns of one length; got \{'x': \(2,\), 'y': \(1,\)\}"),
        (
            {"x": [1.0], "y": [1.0], "kind": ["blob"]},
            "kind 'point', 'streak' or 'galaxy'; got 'blob'",
        ),
        ({"x": ["a"], "y": [1.0]}, "column 'x' of type f8; got <U1: could not convert"),
        ({"x": [[1.0, 2.0]], "y": [[1.0, 2.0]]}, r"one value a row in column 'x'"),
        ({"x": [1.0], "y": [1.0], "flags": [0.5]}, "column 'flags' of type i8; got .*fractions"),
        ({"x": [1.0], "y": [1.0], "ignore": ["so"]}, "'so' is neither true nor false"),
    ],
)
def test_what_is_no_catalogue(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=f"a list: .*{message}"):
        Catalog.build(source="a list", **columns)


def test_columns_outside_the_schema_are_kept() -> None:
    catalog = Catalog.build(x=[1.0], y=[2.0], NUMBER=[7])
    assert catalog["NUMBER"][0] == 7
    assert catalog.table.colnames[-1] == "NUMBER"


def test_the_table_is_a_copy_and_columns_are_read_only() -> None:
    table = Table({"x": [1.0], "y": [2.0]})
    catalog = Catalog(table)
    table["x"][0] = 9
    assert catalog["x"][0] == 1
    with pytest.raises(ValueError, match="read-only"):
        catalog["x"][0] = 5


def test_selecting_and_adding() -> None:
    catalog = Catalog.build(source="s", x=[1.0, 2.0, 3.0], y=[4.0, 5.0, 6.0])
    picked = catalog.select(np.array([2, 0]))
    np.testing.assert_array_equal(picked["x"], [3, 1])
    assert picked.source == "s"
    more = picked.with_columns(score=[0.5, 0.6], note=["a", "b"])
    np.testing.assert_array_equal(more["score"], [0.5, 0.6])
    assert np.isnan(picked["score"]).all()
    with pytest.raises(BadInputError, match=r"s: required 'score' of shape \(2,\); got"):
        picked.with_columns(score=[1.0])
    with pytest.raises(BadInputError, match="s: required a column 'nope'; got columns x, y"):
        picked["nope"]


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=8))
def test_a_mask_selects_what_it_says(mask: list[bool]) -> None:
    n = len(mask)
    catalog = Catalog.build(x=np.arange(n, dtype=float), y=np.zeros(n))
    rows = np.array(mask, dtype=bool)
    np.testing.assert_array_equal(catalog.select(rows)["x"], np.flatnonzero(rows))


def test_catalogues_travel_between_processes() -> None:
    catalog = Catalog.build(source="s", x=[1.0], y=[2.0], kind=["streak"], meta={"a": 1})
    back = pickle.loads(pickle.dumps(catalog))
    assert back.source == "s"
    assert back.is_streak.all()
    assert back.table.meta["a"] == 1
    assert "n=1, streaks=1" in repr(back)


def test_a_packed_catalogue_has_the_same_names() -> None:
    catalog = Catalog.build(x=[1.0], y=[2.0], score=[0.5], other=[3.0])
    (one,) = pack_catalogs([catalog])
    assert one.names == catalog.names == tuple(catalog.table.colnames)
    assert all(name in one for name in one.names)
