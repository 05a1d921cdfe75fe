"""ECSV tables as astropy writes and reads them, sooner: plain tables are made here."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import yaml
from astropy.table import Column, Table

from skyduel.core.extras import is_installed

__all__ = ["read_ecsv", "write_ecsv"]

#: Rows formatted at a time.
_ROWS: Final = 1 << 16
#: From this number of rows on Arrow saves more time than it takes to load.
_ROWS_FOR_ARROW: Final = 2000
_NUMBERS: Final = (
    "float32",
    "float64",
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
)
#: Words that need no quotes.
_PLAIN: Final = re.compile(r"[\w.:+/-]*", re.ASCII)
#: Characters of rows of numbers and plain words, a space between two.
_PLAIN_ROWS: Final = re.compile(r"[\w.:+/ \n-]*", re.ASCII)
#: Characters of a header that is remembered.
_SHORT_HEADER: Final = 1 << 16


def read_ecsv(lines: Sequence[str]) -> Table:
    """Return the table in the lines of an ECSV file, as astropy reads it.

    Parameters
    ----------
    lines : sequence of str
        Without line ends.

    Notes
    -----
    Rows of 64-bit numbers and plain words are read here if nothing is missing. Astropy reads the
    header, once for all tables that have the same, since that takes far longer than a short table.
    All other tables are left to astropy.

    Raises
    ------
    ValueError
        If it is no ECSV, and what else astropy raises.
    """
    first = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header, rows = "\n".join(lines[: first + 1]), list(lines[first + 1 :])
    empty = _without_rows(header) if len(header) <= _SHORT_HEADER else None
    columns = None if empty is None else _plain_cells(rows, empty)
    if empty is None or columns is None:
        return Table.read(list(lines), format="ascii.ecsv")
    table = Table(meta=deepcopy(empty.meta))
    for column, values in zip(empty.itercols(), columns, strict=True):
        table[column.name] = Column(values, unit=column.unit, description=column.description)
    return table


@lru_cache(maxsize=32)
def _without_rows(header: str) -> Table | None:
    """Return the table of a header and a line of names; None if it is not a plain one."""
    try:
        table = Table.read(header.split("\n"), format="ascii.ecsv")
    except Exception:  # astropy says what is wrong, with the rows
        return None
    plain = all(
        type(c) is Column and c.ndim == 1 and not c.meta and c.format is None
        and (c.dtype.kind == "U" or c.dtype in (np.float64, np.int64))
        for c in table.itercols()
    )  # fmt: skip
    by_spaces = "delimiter" not in header and header.split("\n")[-1].split(" ") == table.colnames
    return table if plain and by_spaces else None


def _plain_cells(rows: list[str], empty: Table) -> list[npt.NDArray[Any]] | None:
    """Return the columns of rows; None if a cell is not a plain one of its column."""
    if rows and not rows[-1]:
        rows.pop()  # behind the last line end
    if not rows or _PLAIN_ROWS.fullmatch("\n".join(rows)) is None:
        return None
    cells = [row.split(" ") for row in rows]
    if any(len(row) != len(empty.colnames) or "" in row for row in cells):
        return None
    columns: list[npt.NDArray[Any]] = []
    for column, words in zip(empty.itercols(), zip(*cells, strict=True), strict=True):
        if column.dtype.kind != "U" and any("_" in word for word in words):
            return None  # Python takes 1_000 for a number
        try:
            columns.append(np.array(words, dtype=str if column.dtype.kind == "U" else column.dtype))
        except (ValueError, OverflowError):
            return None
    return columns


def write_ecsv(table: Table, path: Path) -> None:
    """Write a table as ECSV.

    Parameters
    ----------
    table : Table
        Any table that astropy can write as ECSV.
    path : Path
        The file; one that exists is replaced.

    Notes
    -----
    Rows of numbers and plain words have the fewest digits that give each number back. In long
    tables Arrow formats them, twelve times as fast as astropy; in short ones, and where Arrow is
    not installed, `_rows_of_words` makes the same lines. All other tables (missing values, words
    that need quotes, units attached to values, columns of arrays) are left to astropy.
    """
    if not _is_plain(table):
        table.write(path, format="ascii.ecsv", overwrite=True)
        return
    by_arrow = len(table) >= _ROWS_FOR_ARROW and is_installed("pyarrow")
    rows = _rows_by_arrow if by_arrow else _rows_of_words
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_header(table))
        for first in range(0, len(table), _ROWS):
            columns = [np.asarray(c[first : first + _ROWS]) for c in table.itercols()]
            file.write("\n".join(rows(columns)) + "\n")


def _is_plain(table: Table) -> bool:
    """Return True if no value of a table needs quotes or a notation of its own."""
    return len(table) > 0 and all(_is_plain_column(column) for column in table.itercols())


def _is_plain_column(column: Any) -> bool:
    """Return True if a column has one number, truth value or plain word in every row."""
    if not isinstance(column, Column) or column.ndim != 1 or np.any(getattr(column, "mask", False)):
        return False
    if column.dtype.kind == "U":
        values = np.unique(np.asarray(column)).tolist()
        return all(values) and _PLAIN.fullmatch("".join(values)) is not None
    return column.dtype.kind == "b" or column.dtype.name in _NUMBERS


class _Pairs(dict[str, Any]):
    """Metadata of a table, which ECSV writes as a list of pairs."""


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes the header of ECSV."""


_Dumper.add_representer(
    _Pairs,
    lambda dumper, pairs: dumper.represent_sequence(
        "tag:yaml.org,2002:omap", [{name: value} for name, value in pairs.items()]
    ),
)


def _header(table: Table) -> str:
    """Return the header of a plain table, in every byte that of astropy.

    Astropy loads its sky coordinates for a header, which takes longer than a short table.
    """
    columns = []
    for column in table.itercols():
        name, unit = column.info.name, column.unit
        facts = {"name": name, "unit": None if unit is None else str(unit),
                 "datatype": "string" if column.dtype.kind == "U" else column.dtype.name,
                 "description": column.description}  # fmt: skip
        columns.append({key: value for key, value in facts.items() if value is not None})
        if column.format is not None or column.meta or not (name and _PLAIN.fullmatch(name)):
            return _astropys_header(table)
    if not all(map(_is_plain_value, [*table.meta, *table.meta.values()])):
        return _astropys_header(table)
    parts = {"datatype": columns, "meta": _Pairs(table.meta), "schema": "astropy-2.0"}
    text = yaml.dump(
        {key: part for key, part in parts.items() if part},
        Dumper=_Dumper, default_flow_style=None, width=130, sort_keys=False,
    )  # fmt: skip
    lines = ["%ECSV 1.0", "---", *text.splitlines()]
    return "".join(f"# {line}\n" for line in lines) + " ".join(table.colnames) + "\n"


def _is_plain_value(value: Any) -> bool:
    """Return True for a value of metadata that YAML knows, or a list of such."""
    if type(value) is list:
        return all(map(_is_plain_value, value))
    return value is None or type(value) in {str, int, float, bool}


def _astropys_header(table: Table) -> str:
    head = io.StringIO()
    table[:0].write(head, format="ascii.ecsv")
    return head.getvalue()


def _rows_of_words(columns: list[npt.NDArray[Any]]) -> Iterable[str]:
    """Return the lines of columns, as `_rows_by_arrow` does."""
    words = (
        map(_number, column.astype(str).tolist())
        if column.dtype.kind == "f"
        else column.astype(str).tolist()
        for column in columns
    )
    return map(" ".join, zip(*words, strict=True))


def _number(shortest: str) -> str:
    """Return a number of numpy's fewest digits in Arrow's notation: 0.00001 and 1e+10."""
    if "e" not in shortest and len(shortest.partition(".")[0].lstrip("-")) <= 10:
        return shortest.removesuffix(".0")
    number = Decimal(shortest).normalize()
    return f"{number:f}" if -7 < number.adjusted() < 10 else f"{number:e}"


def _rows_by_arrow(columns: list[npt.NDArray[Any]]) -> Iterable[str]:
    """Return the lines of columns of numbers, truth values and plain words."""
    import pyarrow.compute as pc

    space = _strings(np.array([" "]))[0]
    lines: list[str] = pc.binary_join_element_wise(*map(_words, columns), space).to_pylist()
    return lines


def _words(values: npt.NDArray[Any]) -> Any:
    """Return the values as Arrow's strings."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.dtype.kind == "b":
        values = np.where(values, "True", "False")
    if values.dtype.kind == "U":
        return _strings(values)
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    kind = pa.from_numpy_dtype(native.dtype)
    numbers = pa.Array.from_buffers(kind, len(native), [None, pa.py_buffer(native)])
    return pc.cast(numbers, pa.string())


def _strings(values: npt.NDArray[np.str_]) -> Any:
    """Return ASCII words as Arrow's strings.

    From buffers: `pa.array` and `pa.scalar` load pandas, which takes longer than a small catalogue.
    """
    import pyarrow as pa

    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(np.char.str_len(values), out=offsets[1:])
    text = "".join(values.tolist()).encode("ascii")
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(text))
