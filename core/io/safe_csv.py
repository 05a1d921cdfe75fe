"""Text cells that a spreadsheet would take for a formula."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

__all__ = ["from_cell", "to_cell", "without_formulas"]

# Any of these at the start, and the programs calculate (or call others) instead of showing.
_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_cell(text: str) -> str:
    r"""Return text as a cell that is shown as it is: one apostrophe before ``= + - @ \t \r \n``.

    One that begins with apostrophes and then such a character gets one more, so that
    `from_cell` is exact.
    """
    return f"'{text}" if text.lstrip("'").startswith(_STARTS) else text


def from_cell(text: str) -> str:
    """Return the text from which `to_cell` made a cell; other text is unchanged."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_STARTS) else text


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose text cells and column names no spreadsheet takes for formulas.

    Numbers stay numbers, negative ones too.
    """

    def cell(value: Any) -> Any:
        return to_cell(value) if isinstance(value, str) else value

    changed = {
        name: column.map(cell)
        for name, column in table.items()
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))
    }
    return table.assign(**{str(n): c for n, c in changed.items()}).rename(columns=cell)
