"""VOTables, read and written."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io.votable import from_table, parse
from astropy.io.votable.tree import Info, Param
from astropy.table import MaskedColumn, Table

from skyduel.core.io.tabular.fits_tables import null_value
from skyduel.core.io.tabular.given_table import GivenTable, choose_table

__all__ = ["read_votable", "write_votable"]

# VOTable has short, int and long, and of the unsigned only the byte.
_WIDER: Final[Mapping[str, str]] = {"i1": "i2", "u2": "i4", "u4": "i8"}
# A field of text that holds 64-bit unsigned integers.
_UNSIGNED_LONG: Final = "skyduel:uint64"
# Metadata of our own: numbers and logicals as PARAM, text as INFO (astropy 8.0 escapes the text
# of a PARAM twice).
_META: Final = "skyduel_meta_"
_PARAM_TYPES: Final[Mapping[type, str]] = {bool: "boolean", int: "long", float: "double"}


def read_votable(
    content: bytes, choice: Any, has_positions: Callable[[Sequence[str]], bool]
) -> GivenTable | None:
    """Return the chosen table of a VOTable file.

    Parameters
    ----------
    content : bytes
        The file.
    choice : str, int or None
        The table's name or ID, or its number, counted from 1.
    has_positions : callable
        Whether columns of these names hold positions.
    """
    tables = list(parse(io.BytesIO(content), verify="ignore").iter_tables())
    if not tables:
        return None
    fields = [[str(f.name or f.ID) for f in table.fields] for table in tables]
    index = choose_table(
        [str(table.name or table.ID or "") for table in tables],
        fields,
        range(1, len(tables) + 1),
        _by_id(tables, choice),
        has_positions,
    )
    table = tables[index].to_table(use_names_over_ids=True)
    for name in table.colnames:
        if table[name].meta.get("utype") == _UNSIGNED_LONG:
            words = np.asarray(np.ma.getdata(table[name])).astype(str)
            missing = words == ""
            values = np.where(missing, "0", words).astype(np.uint64)
            table[name] = MaskedColumn(values, mask=missing) if missing.any() else values
    given = tables[index]
    for one in (*given.params, *given.infos):
        if str(one.ID).startswith(_META):
            value = one.value
            table.meta[str(one.name)] = value.item() if isinstance(value, np.generic) else value
    return GivenTable(table)


def _by_id(tables: Sequence[Any], choice: Any) -> Any:
    """Return the number of the table with an ID, or the choice as it is."""
    ids = [str(table.ID).lower() if table.ID else None for table in tables]
    names = {str(table.name).lower() for table in tables if table.name}
    wanted = str(choice).lower()
    if isinstance(choice, str) and wanted not in names and ids.count(wanted) == 1:
        return ids.index(wanted) + 1
    return choice


def write_votable(table: Table, path: Path, ucds: Mapping[str, str]) -> None:
    """Write a VOTable whose fields have UCDs, with the scalars of the metadata.

    Integers that VOTable lacks become wider ones; 64-bit unsigned integers
    become text of digits, of which the field's ``utype`` says so.

    Parameters
    ----------
    table : astropy.table.Table
    path : Path
    ucds : mapping of str to str
        UCD by column.
    """
    ready = Table(meta=dict(table.meta))
    for name in table.colnames:
        column = table[name]
        values, mask = np.array(np.ma.getdata(column)), np.ma.getmaskarray(column)
        meta = {"ucd": ucds[name]} if name in ucds else {}
        wider = _WIDER.get(values.dtype.str[1:])
        if wider is not None:
            values = values.astype(wider)
        elif values.dtype.kind == "u" and values.dtype.itemsize == 8:
            values = values.astype(str)
            meta["utype"] = _UNSIGNED_LONG
        made: Any = values
        if mask.any():
            if values.dtype.kind == "f":
                values[mask] = np.nan
            elif values.dtype.kind in "SU":
                values[mask] = ""
            else:
                fill = null_value(values, mask) if values.dtype.kind in "iu" else None
                if fill is None and values.dtype.kind in "iu":
                    values = values.astype(np.int32)
                    fill = int(np.iinfo(np.int32).min)
                made = MaskedColumn(values, mask=mask, fill_value=fill)
        ready[name] = made
        ready[name].unit = column.unit
        ready[name].description = column.description
        ready[name].meta.update(meta)
    made_file = from_table(ready)
    written = made_file.get_first_table()
    for name, value in table.meta.items():
        if isinstance(value, str):
            written.infos.append(Info(ID=_META + name, name=name, value=value))
        elif type(value) in _PARAM_TYPES:
            kind = _PARAM_TYPES[type(value)]
            one = Param(made_file, ID=_META + name, name=name, value=value, datatype=kind)
            written.params.append(one)
    # astropy's compiled writer of rows can write past the end of its buffer.
    made_file.to_xml(str(path), _debug_python_based_parser=True)
