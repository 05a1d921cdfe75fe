"""Tables are whole at any width of the terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich import box
from rich.console import Console
from rich.table import Table

from skyduel.cli.whole_tables import FirstThatFits, WholeTable

CELLS = [[f"{row}.{column}{'5' * column} [0.123, 0.456] {10**column}/99999" for column in range(6)]
         for row in range(3)]  # fmt: skip


def printed(width: int, keys: int = 1, style: box.Box = box.SIMPLE_HEAD) -> str:
    table = Table(title="a title of some length " * 4, caption="a caption, too " * 9, box=style)
    table.add_column("key", no_wrap=True)
    for column in range(6):
        table.add_column(f"column{column}", justify="right", no_wrap=True)
    for row in range(3):
        table.add_row(f"key{row}", *CELLS[row])
    file = io.StringIO()
    Console(file=file, width=width).print(WholeTable(table, keys))
    return file.getvalue()


@pytest.mark.parametrize("width", [50, 80, 120, 400])
@pytest.mark.parametrize("style", [box.SIMPLE_HEAD, box.HEAVY_HEAD])
def test_no_cell_is_cut_or_wrapped(width: int, style: box.Box) -> None:
    text = printed(width, style=style)
    for row in CELLS:
        for cell in row:
            assert cell in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_every_part_names_its_rows() -> None:
    assert printed(400).count("key1") == 1
    text = printed(80)
    parts = text.count("key1")
    assert parts > 1
    assert len(re.findall(r"column\d", text)) == 6
    assert text.count("a title") == 4
    # With two keys the first column of numbers stands in every part.
    assert printed(80, keys=2).count("column0") > 1


def test_a_word_wider_than_the_terminal_is_folded() -> None:
    text = printed(20)
    assert "…" not in text
    joined = "".join(text.split())
    for digit in ("0.0", "2.55", "99999"):
        assert digit in joined or digit[:3] in joined


def test_a_table_of_keys_alone() -> None:
    table = Table()
    table.add_column("only")
    table.add_row("this")
    file = io.StringIO()
    Console(file=file, width=40).print(WholeTable(table))
    assert "this" in file.getvalue()


@pytest.mark.parametrize(("width", "columns"), [(40, 1), (70, 2), (100, 3), (400, 3)])
def test_the_first_table_that_fits_is_shown_whole(width: int, columns: int) -> None:
    cells = ["0.123 [0.100, 0.150] 12/99"] * 3

    def table(n: int) -> Table:
        made = Table(box=box.SIMPLE_HEAD)
        for k in range(n):
            made.add_column(f"column{k}", no_wrap=True)
        made.add_row(*cells[:n])
        return made

    file = io.StringIO()
    Console(file=file, width=width).print(FirstThatFits([table(3), table(2), table(1)]))
    assert file.getvalue().count("column") == columns
    assert file.getvalue().count(cells[0]) == columns
    assert max(map(len, file.getvalue().splitlines())) <= width
