"""Read many Parquet catalogues of a run, packed, without a table of astropy for each.

A table of astropy takes 15 to 20 ms for each file, however short it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skyduel.core.catalog import KINDS, SCHEMA, Catalog, measured_magnitudes
from skyduel.core.columnar_catalogs import PackedCatalog, pack_catalogs
from skyduel.core.errors import BadInputError
from skyduel.core.io.column_names import rename_columns
from skyduel.core.io.size_limits import check_cells
from skyduel.core.io.tables import read_catalog
from skyduel.core.io.tabular.given_table import plain_table
from skyduel.core.io.tabular.parquet_tables import arrow_table, read_arrow

__all__ = ["read_packed"]

_Columns = dict[str, npt.NDArray[Any]]

#: Types of columns that are arrays of numpy as they are, and words.
_NUMBERS: Final = ("double", "int64", "bool")
_WORDS: Final = "string"
_MAGNITUDES: Final = tuple(name for name, column in SCHEMA.items() if column.unit == "mag")
_POSITIONS: Final = Catalog.REQUIRED
_SKY: Final = ("ra", "dec")


def read_packed(paths: Iterable[Path]) -> Iterator[Catalog]:
    """Yield the catalogues in Parquet files, packed, in order.

    Parameters
    ----------
    paths : iterable of Path
        Files as `skyduel.core.write_catalog` writes them; any others are read too, but slowly.

    Yields
    ------
    Catalog
        What `skyduel.core.read_catalog` returns for the file, packed
        (`skyduel.core.columnar_catalogs.pack_catalogs`).

    Raises
    ------
    BadInputError
        As `skyduel.core.read_catalog`.
    """
    return pack_catalogs(map(_read, paths))


def _read(path: Path) -> Catalog:
    columns = _columns(path)
    if columns is None:  # another program's, or a damaged one: there it is also said what is wrong
        return read_catalog(path)
    return PackedCatalog.of(columns, str(path))


def _columns(path: Path) -> _Columns | None:
    """Return the columns of a catalogue that has those of the schema; None of another file."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        if not content.startswith(b"PAR1"):
            return None
        arrow = read_arrow(content)
        names = _names_as_written(_facts(arrow.schema))
        if names is None or any(arrow.column(name).null_count for name in names):
            return None
        columns = {name: _values(arrow.column(name), len(content)) for name in names}
    except Exception:  # a damaged file raises a dozen types
        return None
    for name in _MAGNITUDES:
        if name in columns:
            columns[name] = measured_magnitudes(columns[name])
    if not all(np.isfinite(columns[name]).all() for name in _POSITIONS):
        return None
    if not set(columns["kind"].tolist()) <= set(KINDS):
        return None
    if all(name in columns and not columns[name].any() for name in _SKY) and arrow.num_rows:
        return None  # zeros, where a program knows no position
    return columns


def _values(column: pa.ChunkedArray, n_bytes: int) -> npt.NDArray[Any]:
    if str(column.type) != _WORDS:
        return np.array(column.to_numpy())
    words = column.to_pylist()
    check_cells(map(len, words), n_bytes, "Parquet")
    return np.array(words, dtype=str)


def _facts(schema: pa.Schema) -> tuple[tuple[str, str, bytes], ...]:
    """Return name, type and unit of each column."""
    return tuple((f.name, str(f.type), (f.metadata or {}).get(b"unit", b"")) for f in schema)


@lru_cache(maxsize=64)
def _names_as_written(facts: tuple[tuple[str, str, bytes], ...]) -> tuple[str, ...] | None:
    """Return the columns of a catalogue that are those of the file, in the catalogue's order.

    None if any column of the file has another name, type or unit in the catalogue. A row with a
    value of its own in each column tells.
    """
    fields, arrays = [], []
    for k, (name, kind, unit) in enumerate(facts):
        if kind in _NUMBERS:
            value = pa.array([1 + k if kind == "int64" else True if kind == "bool" else 1 + k / 64])
        elif kind == _WORDS:
            value = pa.array([KINDS[0] if name == "kind" else f"word {k}"])
        else:
            return None
        arrays.append(value)
        fields.append(pa.field(name, value.type, metadata={"unit": unit} if unit else None))
    arrow = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    probe = plain_table(arrow_table(arrow, arrow.nbytes).table)
    try:
        catalog = Catalog(rename_columns(probe))
    except BadInputError:
        return None
    if len(set(probe.colnames)) != len(facts) or set(catalog.names) != set(probe.colnames):
        return None
    same = all(
        probe[n].dtype.kind == catalog[n].dtype.kind and probe[n][0] == catalog[n][0]
        for n in catalog.names
    )
    return catalog.names if same else None
