"""Tables as a file holds them, and the choice among several tables of one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from skyduel.core.errors import BadInputError

__all__ = ["GivenTable", "choose_table", "plain_meta", "plain_table"]

# An error message names at most this number of tables.
_MOST_NAMED: Final = 12


@dataclass(frozen=True, eq=False)
class GivenTable:
    """One table of a file with the conventions that its format states.

    Parameters
    ----------
    table : astropy.table.Table
        Columns under the names of the file.
    from_one : bool
        True if the format counts pixels from 1 (astrometry.net, IRAF, DAOPHOT).
    chips : str
        How to choose one chip, if the rows are those of several chips, whose
        pixel positions belong to different images; otherwise empty.
    """

    table: Table
    from_one: bool = False
    chips: str = ""


def plain_meta(table: Table) -> dict[str, bool | int | float | str]:
    """Return those metadata of a table that every format can hold: numbers and words."""
    return {str(k): v for k, v in table.meta.items() if isinstance(v, bool | int | float | str)}


def choose_table(
    labels: Sequence[str],
    names: Sequence[Sequence[str]],
    numbers: Sequence[int],
    choice: Any,
    has_positions: Callable[[Sequence[str]], bool],
) -> int:
    """Choose one of several tables by name, by number or by its columns.

    Parameters
    ----------
    labels : sequence of str
        The tables' names.
    names : sequence of sequences of str
        The column names of each table.
    numbers : sequence of int
        The number by which each table is chosen in brackets.
    choice : str, int or None
        What stands in brackets behind the file's name.
    has_positions : callable
        Whether columns of these names hold positions.

    Returns
    -------
    int
        Index of the table. Without a choice it is the only table with positions,
        or the first one if no table has positions.

    Raises
    ------
    BadInputError
        If the choice fits no table, or several tables have positions and
        none is chosen.
    """
    shown = [f"{label or 'a table'} [{n}]" for label, n in zip(labels, numbers, strict=True)]
    if len(shown) > _MOST_NAMED:
        shown = [*shown[:_MOST_NAMED], f"{len(shown) - _MOST_NAMED} more"]
    if choice is not None:
        if choice in numbers:
            return list(numbers).index(choice)
        wanted = str(choice).lower()
        fitting = [i for i, label in enumerate(labels) if label.lower() == wanted]
        if len(fitting) == 1:
            return fitting[0]
        got = f"no table {choice!r}" if not fitting else f"{len(fitting)} tables {choice!r}"
        raise BadInputError("", "a table", f"{got} among {', '.join(shown) or 'none'}")
    fitting = [i for i, columns in enumerate(names) if has_positions(columns)]
    if len(fitting) > 1:
        required = "one table, or [NAME] or [N] behind the file's name to choose one"
        raise BadInputError("", required, f"{len(fitting)} tables: {', '.join(shown)}")
    return fitting[0] if fitting else 0


def plain_table(table: Table) -> Table:
    """Return a table of plain columns: native byte order, text as str, sky positions in degrees.

    Values under a mask become NaN, 0, False or empty text, whatever the file
    held there. A column of sky positions becomes two columns of ICRS degrees,
    ``NAME.ra`` and ``NAME.dec``; times become ISO text.
    """
    plain = Table(meta=dict(table.meta))
    for name in table.colnames:
        column = table[name]
        if hasattr(column, "icrs"):
            sky = column.icrs
            plain[f"{name}.ra"] = Column(np.asarray(sky.ra.deg), unit="deg")
            plain[f"{name}.dec"] = Column(np.asarray(sky.dec.deg), unit="deg")
            continue
        if hasattr(column, "isot"):
            column = Column(np.asarray(column.isot, dtype=str))
        plain[name] = _plain_column(column)
    return plain


def _plain_column(column: Any) -> Any:
    values = np.ma.getdata(np.ma.asanyarray(getattr(column, "value", column)))
    values = np.array(values, copy=True)
    mask = getattr(column, "mask", None)
    mask = np.zeros(values.shape, bool) if mask is None else np.array(mask, dtype=bool)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    elif values.dtype.kind in "biufc":
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if mask.any() and values.dtype.kind in "biufcUO":
        values[mask] = {"f": np.nan, "c": np.nan, "U": "", "O": ""}.get(values.dtype.kind, 0)
    made = MaskedColumn(values, mask=mask) if mask.any() else Column(values)
    made.unit = getattr(column, "unit", None)
    made.description = getattr(getattr(column, "info", column), "description", None)
    return made
