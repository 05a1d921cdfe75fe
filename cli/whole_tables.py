"""Tables that fit the terminal: columns that do not fit go into a second table below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

__all__ = ["FirstThatFits", "WholeTable"]


class WholeTable:
    """A table no cell of which is ever cut or wrapped, as long as two columns fit.

    Parameters
    ----------
    table : rich.table.Table
        Its title and caption are set in lines of the terminal's width, not of the table's.
    keys : int
        So many first columns stand in every part again, to name the rows.
    """

    def __init__(self, table: Table, keys: int = 1) -> None:
        self._table, self._keys = table, keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._table
        if table.title is not None:
            yield _text(table.title, "italic")
        for columns in _parts(console, options, table, self._keys):
            yield _part(table, columns)
        if table.caption is not None:
            yield _text(table.caption, "dim italic")


class FirstThatFits:
    """The first of some tables that fits the terminal in one part; the last in parts, if need be.

    Parameters
    ----------
    tables : sequence of rich.table.Table
        The same rows, each with fewer or shorter columns than the one before.
    keys : int
        As for `WholeTable`.
    """

    def __init__(self, tables: Sequence[Table], keys: int = 1) -> None:
        self._tables, self._keys = tables, keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in self._tables:
            if _width(console, options, table, range(len(table.columns))) <= options.max_width:
                break
        yield WholeTable(table, self._keys)


def _text(given: object, style: str) -> Text:
    text = given.copy() if isinstance(given, Text) else Text.from_markup(str(given))
    text.stylize_before(style)
    return text


def _parts(
    console: Console, options: ConsoleOptions, table: Table, keys: int
) -> Iterator[Sequence[int]]:
    """Yield the columns of each part: the first ones, and as many others as fit."""
    always = list(range(min(keys, len(table.columns))))
    others = list(range(len(always), len(table.columns)))
    if not others:
        yield always
        return
    here: list[int] = []
    for column in others:
        tried = [*always, *here, column]
        if here and _width(console, options, table, tried) > options.max_width:
            yield [*always, *here]
            here = []
        here.append(column)
    yield [*always, *here]


def _width(console: Console, options: ConsoleOptions, table: Table, columns: Sequence[int]) -> int:
    """Return the width of some columns of a table where nothing is cut or wrapped."""
    natural = options.update(max_width=100_000)
    return Measurement.get(console, natural, _part(table, columns)).maximum


def _part(table: Table, columns: Sequence[int]) -> Table:
    """Return a table of some columns of another."""
    part = Table(box=table.box, pad_edge=table.pad_edge, padding=table.padding)
    chosen = [table.columns[k] for k in columns]
    for column in chosen:
        # A word that is wider than the terminal is folded, not cut.
        part.add_column(column.header, justify=column.justify, style=column.style, overflow="fold")
    for row in zip(*(list(column.cells) for column in chosen), strict=True):
        part.add_row(*row)
    return part
