"""Tables as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

__all__ = ["html_cell", "html_table"]


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as HTML; all text is escaped, for it may come from files.

    Parameters
    ----------
    caption : str
        Text above the table.
    head : sequence of str
        Names of the columns.
    rows : iterable of sequences
        Cells; numbers are shortened by `html_cell`.
    """
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(html_cell(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def html_cell(value: object) -> str:
    """Return a value as text: floats with six significant digits, NaN as a dash."""
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.6g}"
    return str(value)
