"""Escape text cells that a spreadsheet would interpret as a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_cell", "to_cell", "without_formulas"]

# Programs evaluate cells that start with one of these (and may start other programs).
_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_cell(text: str) -> str:
    r"""Escape text for a cell: add an apostrophe if it starts with ``= + - @ \t \r \n``.

    Text that starts with apostrophes and then such a character gets one more, so that
    `from_cell` is exact.
    """
    return f"'{text}" if text.lstrip("'").startswith(_STARTS) else text


def from_cell(text: str) -> str:
    """Return the original text of a cell made by `to_cell`; other text is unchanged."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_STARTS) else text


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Escape the text cells and column names of a table that look like formulas.

    Numbers are unchanged, including negative ones.
    """
    import pandas as pd  # large: what reads catalogues only does not need it

    def cell(value: Any) -> Any:
        return to_cell(value) if isinstance(value, str) else value

    changed = {
        name: column.map(cell)
        for name, column in table.items()
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))
    }
    return table.assign(**{str(n): c for n, c in changed.items()}).rename(columns=cell)
