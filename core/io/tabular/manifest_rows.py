"""Rows of a manifest, the table of a data set, as text."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from astropy.table import Table

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import existing_file

__all__ = ["manifest_rows"]


def manifest_rows(manifest: Path) -> Iterator[Mapping[str, str]]:
    """Yield a manifest's rows as text by column, names in lower case."""
    content = existing_file(manifest).read_bytes()
    try:
        text = content.decode("utf-8-sig")
        if text.startswith("# %ECSV"):
            table = Table.read(text.splitlines(), format="ascii.ecsv")
            names = [name.strip().lower() for name in table.colnames]
            lists = [
                ["" if v is None else str(v) for v in table[c].tolist()] for c in table.colnames
            ]
            cells: Iterable[list[str]] = (
                [column[i] for column in lists] for i in range(len(table))
            )
        else:
            lines = csv.reader(text.splitlines(), strict=True)
            names = [name.strip().lower() for name in next(lines, [])]
            cells = [line for line in lines if line]
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            raise ValueError(f"column {twice[0]!r} twice")
        for number, line in enumerate(cells, start=1):
            if len(line) != len(names):
                raise ValueError(f"{len(line)} cells in row {number} under {len(names)} columns")
            yield dict(zip(names, (cell.strip() for cell in line), strict=True))
    except BadInputError:
        raise
    except Exception as error:  # parsers raise a dozen types on damaged files
        raise BadInputError(str(manifest), "a manifest as CSV or ECSV", one_line(error)) from error
