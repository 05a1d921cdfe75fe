"""Parquet tables, read and written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table

from skyduel.core.io.size_limits import check_cells, check_unpacked
from skyduel.core.io.tabular.given_table import GivenTable, plain_meta

__all__ = ["arrow_table", "read_arrow", "read_parquet", "write_parquet"]


def read_parquet(content: bytes) -> GivenTable:
    """Return a Parquet table with the units that `write_parquet` left in it.

    Missing integers and logicals are masked and the others keep every digit.
    """
    return arrow_table(read_arrow(content), len(content))


def read_arrow(content: bytes) -> pa.Table:
    """Return a Parquet table as Arrow has it.

    Raises
    ------
    BadInputError
        If it is too large for its file (`skyduel.core.io.size_limits.check_unpacked`).
    """
    import pyarrow.parquet as pq  # after the start of the program, which other formats share

    file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
    batches, n_bytes = [], 0
    # A page may state any number of equal values in a few bytes.
    for batch in file.iter_batches(batch_size=1 << 16):
        n_bytes += batch.nbytes
        check_unpacked(n_bytes, len(content), "Parquet", "content")
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=file.schema_arrow)


def arrow_table(arrow: pa.Table, n_bytes: int) -> GivenTable:
    """Return a table of Arrow with the units that `write_parquet` left in it.

    Parameters
    ----------
    arrow : pyarrow.Table
    n_bytes : int
        Size of the files that it is from [bytes], against which text is checked.
    """
    table = Table(meta=json.loads((arrow.schema.metadata or {}).get(b"skyduel_meta", b"{}")))
    for field, column in zip(arrow.schema, arrow.columns, strict=True):
        facts = field.metadata or {}
        missing = np.asarray(column.is_null())
        values = _values(column, field.type, n_bytes)
        if missing.any() and values.dtype.kind != "f":
            table[field.name] = MaskedColumn(values, mask=missing)
        else:
            table[field.name] = Column(values)
        if b"unit" in facts:
            table[field.name].unit = u.Unit(facts[b"unit"].decode(), parse_strict="silent")
        if facts.get(b"description"):
            table[field.name].description = facts[b"description"].decode()
    return GivenTable(table)


def _values(column: pa.ChunkedArray, kind: pa.DataType, n_bytes: int) -> np.ndarray[Any, Any]:
    """Return a column as an array, with zeros, empty text or NaN where there is no value."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_decimal(kind):
        kind = pa.float64()
        column = column.cast(kind)
    if pa.types.is_temporal(kind):
        kind = pa.string()
        column = column.cast(kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        kind = pa.string()
        column = column.cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.asarray(column.fill_null(pa.scalar(0).cast(kind)).to_numpy())
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return np.array(column.to_pylist())
    words = ["" if word is None else str(word) for word in column.to_pylist()]
    check_cells(map(len, words), n_bytes, "Parquet")
    return np.array(words, dtype=str)


def write_parquet(table: Table, path: Path) -> None:
    """Write Parquet with units and descriptions as metadata of the fields, and checksums.

    Raises
    ------
    ValueError
        If Arrow cannot hold a column.
    """
    try:
        _write(table, path)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _write(table: Table, path: Path) -> None:
    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        values = np.asarray(np.ma.getdata(column))
        missing = np.ma.getmaskarray(column)
        if values.ndim == 1:
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            words = native.dtype.kind in "SU"
            array = pa.array(
                native.astype(str).tolist() if words else native,
                type=pa.string() if words else None,
                mask=missing if missing.any() else None,
            )
        else:
            array = pa.array(values.tolist())
        facts = {"description": column.description or ""}
        if column.unit is not None:
            facts["unit"] = column.unit.to_string()
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=facts))
    schema = pa.schema(fields, metadata={"skyduel_meta": json.dumps(plain_meta(table))})
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, write_page_checksum=True)
