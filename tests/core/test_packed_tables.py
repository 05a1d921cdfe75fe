"""Catalogues of a run read without tables of astropy equal those that `read_catalog` returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import skyduel.core.io.packed_tables as packed_tables
from skyduel.core import BadInputError, Catalog, pack_catalogs, read_catalog, write_catalog
from skyduel.core.io.packed_tables import read_packed
from skyduel.core.io.tabular.parquet_tables import write_parquet


def assert_equal(one: Catalog, other: Catalog) -> None:
    assert one.names == other.names
    assert (one.source, len(one)) == (other.source, len(other))
    for name in one.names:
        assert one[name].dtype.kind == other[name].dtype.kind, name
        kind = one[name].dtype.kind
        assert np.array_equal(one[name], other[name], equal_nan=kind == "f"), name
        assert not other[name].flags.writeable
    assert np.array_equal(one.is_streak, other.is_streak)
    assert np.array_equal(one.is_galaxy, other.is_galaxy)


def assert_read_as_slowly(path: Path, fast: bool) -> None:
    (expected,) = pack_catalogs([read_catalog(path)])
    (got,) = read_packed([path])
    assert_equal(expected, got)
    assert (packed_tables._columns(path) is not None) == fast


FLOATS = st.floats(width=64) | st.sampled_from([99.0, -999.0, 37.5, 0.0, -0.0, np.nan, np.inf])
COLUMNS = ("flux", "flux_err", "mag", "score", "length", "theta", "snr", "xy_err", "aper_flux",
           "aper_mag", "half_light_px", "extendedness", "peak_snr", "sharpness")  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_what_is_written_is_read_as_read_catalog_reads_it(tmp_path_factory, data) -> None:
    n = data.draw(st.integers(0, 7))
    columns = {name: data.draw(arrays("f8", n, elements=st.floats(-1e9, 1e9))) for name in "xy"}
    for name in data.draw(st.sets(st.sampled_from(COLUMNS))):
        columns[name] = data.draw(arrays("f8", n, elements=FLOATS))
    if data.draw(st.booleans()):
        kinds = st.lists(st.sampled_from(["point", "streak", "galaxy"]), min_size=n, max_size=n)
        columns["kind"] = np.array(data.draw(kinds), dtype=str)
    if data.draw(st.booleans()):
        columns["ignore"] = data.draw(arrays(bool, n))
        columns["flags"] = data.draw(arrays("i8", n))
    path = tmp_path_factory.mktemp("tables") / "a.parquet"
    write_catalog(Catalog.build(**columns), path)
    assert_read_as_slowly(path, fast=True)


def built(**more) -> Catalog:
    return Catalog.build(x=[1.0, 2.0], y=[3.0, 4.0], mag=[20.0, 99.0], **more)


@pytest.mark.parametrize(
    ("more", "fast"),
    [
        ({"ra": [10.0, 11.0], "dec": [1.0, 2.0]}, True),
        ({"ra": [0.0, 0.0], "dec": [0.0, 0.0]}, False),  # no positions
        ({"ra": [0.0, 1.0], "dec": [0.0, 0.0]}, True),
        ({"ignore": [True, False], "ignore_reason": ["saturated", ""]}, True),
        ({"words": ["ä", "=b"]}, True),
        ({"FLAGS": [1, 2]}, True),
        ({"small": np.array([1, 2], "i2")}, False),  # another type in the file
        ({"X_IMAGE": [7.0, 8.0], "Y_IMAGE": [9.0, 8.0]}, None),  # a choice between two pairs
        ({"glon": [7.0, 8.0], "glat": [9.0, 8.0]}, None),  # from which sky positions follow
        ({"A_IMAGE": [7.0, 8.0]}, None),
        ({"class": ["star", "galaxy"]}, None),
    ],
)
def test_further_columns(tmp_path, more, fast) -> None:
    path = tmp_path / "a.parquet"
    write_catalog(built(**more), path)
    (expected,) = pack_catalogs([read_catalog(path)])
    (got,) = read_packed([path])
    assert_equal(expected, got)
    if fast is not None:
        assert (packed_tables._columns(path) is not None) == fast


def test_columns_of_other_names_units_and_types_are_read_as_by_read_catalog(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    for columns in (
        {"X_IMAGE": [1.0, 2.0], "Y_IMAGE": [3.0, 4.0]},  # pixels from 1
        {"x": [1, 2], "y": [3, 4]},
        {"x": [1.0, 2.0], "y": [3.0, 4.0], "vector": np.ones((2, 3))},
        {"x": [1.0, 2.0], "y": [3.0, 4.0], "theta": [10.0, 20.0] * u.deg},
        {"x": [1.0, 2.0], "y": [3.0, 4.0], "flux": [10.0, 20.0] * u.nJy},
        {"x": [1.0, 2.0], "y": [3.0, 4.0], "kind": ["Star", "trail"]},
        {"x": [1.0, 2.0], "y": [3.0, 4.0], "flags": MaskedColumn([1, 2], mask=[True, False])},
        {"x": [1.0, 2.0], "y": [3.0, 4.0], "flags": [1.5, 2.0]},
    ):
        write_parquet(Table(columns), path)
        assert_read_as_slowly(path, fast=False)


def test_files_of_several_kinds_come_in_their_order(tmp_path) -> None:
    paths = [tmp_path / f"{k}.parquet" for k in range(6)]
    for k, path in enumerate(paths):
        if k == 3:
            write_parquet(Table({"X_IMAGE": [1.0], "Y_IMAGE": [2.0]}), path)
        else:
            write_catalog(built(**({"peak_snr": [k, k + 0.5]} if k % 2 else {})), path)
    for expected, got in zip(map(read_catalog, paths), read_packed(paths), strict=True):
        assert_equal(next(pack_catalogs([expected])), got)


def test_a_damaged_file_is_refused_as_by_read_catalog(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(BadInputError, match="an existing file"):
        list(read_packed([path]))
    write_catalog(built(), path)
    content = path.read_bytes()

    def slowly() -> list[Catalog]:
        return list(pack_catalogs([read_catalog(path)]))

    refused = 0
    for k in range(4, len(content), 7):
        path.write_bytes(content[:k] + bytes([content[k] ^ 255]) + content[k + 1 :])
        said = []
        for read in (slowly, lambda: read_packed([path])):
            try:
                said.append(list(read()))
            except BadInputError as error:
                said.append(str(error))
        if isinstance(said[0], str):
            refused += 1
            assert said[0] == said[1]
        else:
            assert_equal(said[0][0], said[1][0])
    assert refused > 20
    write_parquet(Table({"x": [np.nan], "y": [1.0]}), path)
    with pytest.raises(BadInputError, match="a finite 'x' in every row"):
        list(read_packed([path]))
    write_parquet(Table({"x": [1.0], "y": [1.0], "kind": ["comet"]}), path)
    with pytest.raises(BadInputError, match="kind 'point', 'streak' or 'galaxy'"):
        list(read_packed([path]))
