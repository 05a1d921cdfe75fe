"""Text tables: CSV, VizieR's TSV, lists of IRAF and DAOPHOT, SExtractor's ASCII_HEAD, ECSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy import units as u
from astropy.io.ascii import InconsistentTableError
from astropy.table import MaskedColumn, Table

from skyduel.core.errors import BadInputError
from skyduel.core.io.safe_csv import from_cell, to_cell
from skyduel.core.io.tabular.ecsv_tables import read_ecsv
from skyduel.core.io.tabular.given_table import GivenTable, choose_table

__all__ = ["FORMATS", "MISSING", "read_text", "text_format", "typed_column", "write_csv"]

#: What other programs write where there is no value.
MISSING: Final = ("", "NA", "N/A", "n/a", "null", "NULL", "None", "--", "INDEF", "\\N", "<NA>")
#: Names of the text formats that `text_format` tells apart.
FORMATS: Final = ("ECSV", "SExtractor ASCII_HEAD", "IRAF", "DAOPHOT", "VizieR TSV", "CSV", "text")
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")
# The first column is number 1: a comment such as "# 250 stars" is none of its headers.
_SEXTRACTOR: Final = re.compile(r"\A#\s*1\s+[A-Za-z_]\w*")
_DAOPHOT: Final = re.compile(r"\A\s*NL\s+NX\s+NY\s")
_DASHES: Final = re.compile(r"-[-\t;|, ]*\Z")
# The first line by which a spreadsheet is told the delimiter, and a line drawn between rows.
_EXCEL: Final = re.compile(r"\Asep=[,;\t|]\s*\Z")
_RULE: Final = re.compile(r"[|+][-+|:= ]*-[-+|:= ]*\Z")
_DELIMITERS: Final = (",", ";", "\t", "|")
_COMMA: Final = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?\Z")
_FORTRAN: Final = re.compile(r"[+-]?\d+\.?\d*[dD][+-]?\d+\Z")
_TRUE: Final = frozenset({"True", "TRUE", "true"})
_FALSE: Final = frozenset({"False", "FALSE", "false"})
# Columns of a list of DAOPHOT with one line a star, by the number of columns.
_STETSON: Final = ("ID", "X", "Y", "MAG", "MAGERR", "SKY", "NITER", "CHI", "SHARP")


def text_format(content: bytes, file: Path) -> str:
    """Return the name of a text's format, one of `FORMATS`, from its content first."""
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").decode("utf-8", "replace")
    if start.startswith("# %ECSV"):
        return "ECSV"
    if _SEXTRACTOR.match(start):
        return "SExtractor ASCII_HEAD"
    if start.startswith(("#K ", "#N ")) and re.search(r"^#N ", start, re.MULTILINE):
        return "IRAF"
    if _DAOPHOT.match(start):
        return "DAOPHOT"
    rows = [r for r in _LINE_ENDS.split(content[: 1 << 16].decode("utf-8", "replace"))
            if r.strip() and not r.startswith("#")]  # fmt: skip
    if len(rows) >= 3 and _DASHES.match(rows[2]) and len({_cells(r) for r in rows[:3]}) == 1:
        return "VizieR TSV"
    return "CSV" if ".csv" in (s.lower() for s in file.suffixes) else "text"


def _cells(row: str) -> int:
    """Return the number of cells of a row, by whichever mark it holds."""
    return 1 + max(row.count(mark) for mark in _DELIMITERS)


def read_text(
    content: bytes, form: str, choice: Any, has_positions: Callable[[Sequence[str]], bool]
) -> GivenTable:
    """Return a table written as text.

    Parameters
    ----------
    content : bytes
        UTF-8.
    form : str
        One of `FORMATS`.
    choice : str, int or None
        Which of several tables; VizieR's files may hold more than one.
    has_positions : callable
        Whether columns of these names hold positions.
    """
    # Only these end a line: str.splitlines takes a dozen characters for line ends.
    lines = _LINE_ENDS.split(content.decode("utf-8-sig"))
    if form == "VizieR TSV":
        return _read_vizier(lines, choice, has_positions)
    if choice is not None:
        raise BadInputError("", "a table", f"no table {choice!r}, but one of text")
    if form == "ECSV":
        return GivenTable(read_ecsv(lines))
    if form == "SExtractor ASCII_HEAD":
        fill = [("--", "0")]
        full = [line for line in lines if line.strip()]
        table = Table.read(full, format="ascii.sextractor", fill_values=fill)
        for name in table.colnames:  # astropy has unsigned 64-bit integers as text
            if table[name].dtype.kind == "U":
                numbers = typed_column(np.ma.filled(table[name], "--").tolist())
                if numbers.dtype.kind == "u":
                    table[name] = numbers
        return GivenTable(table)
    if form == "IRAF":
        return _read_iraf(lines)
    if form == "DAOPHOT":
        return _read_daophot(lines)
    return GivenTable(_read_rows(lines, form))


def _read_rows(lines: list[str], form: str) -> Table:
    """Return a table of rows of cells below a line of names."""
    if lines and _EXCEL.match(lines[0]):
        lines = lines[1:]
    lines = _unframed(lines)
    first = next((i for i, s in enumerate(lines) if s.strip() and not s.startswith("#")), None)
    if first is None:
        return Table.read(lines, format="ascii.csv" if form == "CSV" else "ascii")
    try:
        return _read_below(lines, first, form)
    except InconsistentTableError as error:  # astropy lists all that it tried
        if "guess" not in str(error):
            raise
        raise ValueError(f"rows like {lines[first][:60]!r}") from error


def _read_below(lines: list[str], first: int, form: str) -> Table:
    """Return a table whose first row, of names or of cells, is known."""
    rest = lines[first:]
    mark = next((m for m in _DELIMITERS if m in rest[0]), None)
    names = _commented_names(lines[:first], rest[0], mark)
    if names is not None:
        rest = [names, *rest]
    blank = [("", "0")]
    if mark == "," and (form == "CSV" or names is not None):
        table = Table.read(rest, format="ascii.csv", fill_values=blank)
    elif mark is not None and mark != "|" and (form == "CSV" or mark == ";" or names is not None):
        table = Table.read(rest, format="ascii.basic", delimiter=mark, fill_values=blank)
    elif form == "CSV" and (mark is None or mark == "|"):
        table = Table.read(rest, format="ascii.csv", fill_values=blank)
    else:
        fill = [(text, "0") for text in MISSING]
        if names is None:
            table = Table.read(lines, format="ascii", fill_values=fill)
        else:
            table = Table.read(rest, format="ascii.basic", fill_values=fill)
    return _typed(table, comma=mark == ";")


def _unframed(lines: list[str]) -> list[str]:
    """Return lines without the frame that Markdown and databases draw around cells."""
    rows = [s.strip() for s in lines if s.strip() and not s.startswith("#")]
    cells = [s for s in rows if not _RULE.match(s)]
    # The header of IPAC has no such line.
    if len(cells) == len(rows) or not all(s[0] == "|" == s[-1] for s in cells):
        return lines
    return ["\t".join(word.strip() for word in s.strip("|").split("|")) for s in cells]


def _commented_names(before: Sequence[str], row: str, mark: str | None) -> str | None:
    """Return the names in a comment above rows of numbers, as ``numpy.savetxt`` writes them."""
    numbers = [_is_number(word) for word in row.split(mark)]
    if 2 * sum(numbers) <= len(numbers):  # the names themselves
        return None
    comments = [line for line in before if line.startswith("#")]
    if not comments:
        return None
    names = [word.strip() for word in comments[-1].lstrip("# ").split(mark)]
    fits = len(names) == len(row.split(mark)) and len(set(names)) == len(names)
    if not fits or "" in names or all(_is_number(word) for word in names):
        return None
    return (mark or " ").join(names)


def _is_number(word: str) -> bool:
    word = word.strip().strip('"')
    if word in MISSING:
        return True
    try:
        float(word)
    except ValueError:
        return False
    return True


def _typed(table: Table, *, comma: bool = False) -> Table:
    """Return a table whose text columns of numbers are numbers, and whose words are as written."""
    typed = Table(meta=dict(table.meta))
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind in "US":
            words = np.asarray(np.ma.getdata(column)).astype(str).astype(object)
            words[np.ma.getmaskarray(column)] = ""
            column = typed_column(words.tolist(), comma=comma)
        plain = from_cell(name)
        typed[plain if plain not in typed.colnames else name] = column
    return typed


def typed_column(words: Sequence[str], *, comma: bool = False) -> Any:
    """Return a column of integers, floats, truth values or words, whichever all cells are.

    Parameters
    ----------
    words : sequence of str
        The cells. A cell among `MISSING` is masked in a column of numbers or
        truth values; in a column of words only an empty one is.
    comma : bool
        Whether ``1,5`` is one and a half.

    Returns
    -------
    MaskedColumn or ndarray
        Integers keep all digits: 64 bits, signed or unsigned.
    """
    stripped = [word.strip() for word in words]
    missing = np.array([word in MISSING for word in stripped], dtype=bool)
    filled = [w for w, none in zip(stripped, missing.tolist(), strict=True) if not none]
    if filled and comma and all(_COMMA.match(w) or _is_number(w) for w in filled):
        stripped = [w.replace(",", ".") for w in stripped]
        filled = [w.replace(",", ".") for w in filled]
    if filled and any(_FORTRAN.match(w) for w in filled):
        swap = [re.sub("[dD]", "e", w) if _FORTRAN.match(w) else w for w in stripped]
        if all(_is_number(w) for w in swap):
            stripped = swap
            filled = [w for w, none in zip(swap, missing.tolist(), strict=True) if not none]
    for parse in (_integers, _floats, _truths):
        values = parse(stripped, missing, filled) if filled else None
        if values is not None:
            return MaskedColumn(values, mask=missing) if missing.any() else values
    plain = np.array([from_cell(word) for word in words], dtype=str)
    empty = plain == ""
    return MaskedColumn(plain, mask=empty) if empty.any() else plain


def _integers(words: Sequence[str], missing: Any, filled: Sequence[str]) -> Any:
    if not all(re.fullmatch(r"[+-]?\d{1,20}", word) for word in filled):
        return None
    numbers = [0 if none else int(w) for w, none in zip(words, missing.tolist(), strict=True)]
    for kind in (np.int64, np.uint64):
        info = np.iinfo(kind)
        if min(numbers) >= info.min and max(numbers) <= info.max:
            return np.array(numbers, dtype=kind)
    return None


def _floats(words: Sequence[str], missing: Any, filled: Sequence[str]) -> Any:
    try:
        found = [float("nan") if none else float(w)
                 for w, none in zip(words, missing.tolist(), strict=True)]  # fmt: skip
    except ValueError:
        return None
    # Python reads 1_000 as a number; no table means one by it.
    return None if any("_" in word for word in filled) else np.array(found)


def _truths(words: Sequence[str], missing: Any, filled: Sequence[str]) -> Any:
    if not all(word in _TRUE or word in _FALSE for word in filled):
        return None
    return np.array([word in _TRUE for word in words], dtype=bool)


def _read_vizier(
    lines: Sequence[str], choice: Any, has_positions: Callable[[Sequence[str]], bool]
) -> GivenTable:
    """Return a table of VizieR's TSV: a line of names, one of units, one of dashes, then rows."""
    starts = [
        i for i in range(2, len(lines))
        if _DASHES.match(lines[i]) and _cells(lines[i]) == _cells(lines[i - 1])
        == _cells(lines[i - 2]) and not lines[i - 2].startswith("#") and lines[i - 2].strip()
    ]  # fmt: skip
    labels, names = [], []
    for start in starts:
        above = [s for s in lines[:start] if s.startswith(("#Table", "#Name:"))]
        label = re.split(r"[\t:]", above[-1], maxsplit=1)[1].strip() if above else ""
        labels.append(label.split(":")[0] if label.startswith(("I", "V", "_")) else label)
        mark = next((m for m in ("\t", *_DELIMITERS) if m in lines[start]), "\t")
        names.append([name.strip() for name in lines[start - 2].split(mark)])
    index = choose_table(labels, names, range(1, len(starts) + 1), choice, has_positions)
    start = starts[index]
    mark = next((m for m in ("\t", *_DELIMITERS) if m in lines[start]), "\t")
    rows: list[list[str]] = []
    for line in lines[start + 1 :]:
        if not line.strip() or line.startswith("#"):
            break
        row = line.split(mark)
        if len(row) != len(names[index]):
            number = len(rows) + 1
            raise ValueError(f"{len(row)} cells in row {number} of {len(names[index])} columns")
        rows.append(row)
    table = Table()
    for at, (name, unit) in enumerate(zip(names[index], lines[start - 1].split(mark), strict=True)):
        table[name] = typed_column([row[at].strip() for row in rows])
        if unit.strip():
            table[name].unit = u.Unit(unit.strip(), parse_strict="silent")
    return GivenTable(table)


def _read_iraf(lines: Sequence[str]) -> GivenTable:
    """Return a list of IRAF's daofind, phot, psf or allstar, whose pixels count from 1."""
    table = Table.read(list(lines), format="ascii.daophot")
    for name in ("MAG", "MERR", "FLUX"):  # of several apertures the first
        if name not in table.colnames and f"{name}1" in table.colnames:
            table.rename_column(f"{name}1", name)
    return GivenTable(table, from_one=True)


def _read_daophot(lines: Sequence[str]) -> GivenTable:
    """Return a list of DAOPHOT II or ALLSTAR, whose pixels count from 1."""
    rows = [line.split() for line in lines if line.strip()]
    if len(rows) < 2 or rows[1][0] != "1":
        got = f"NL = {rows[1][0]}" if len(rows) > 1 else "a header only"
        raise BadInputError("", "a list of DAOPHOT with one line a star (NL = 1)", got)
    stars = rows[2:]
    width = len(stars[0]) if stars else 3
    if width < 3 or any(len(row) != width for row in stars):
        raise ValueError("rows of different lengths")
    names = [*_STETSON[: min(width, 4)], *(f"col{k}" for k in range(5, width + 1))]
    if width == len(_STETSON):
        names = list(_STETSON)
    table = Table()
    for at, name in enumerate(names):
        table[name] = typed_column([row[at] for row in stars])
        if not stars:
            table[name] = np.zeros(0)
    return GivenTable(table, from_one=True)


def _single_values(table: Table) -> Iterator[tuple[str, Any]]:
    """Yield columns of one value a row with their names, those of vectors one by one."""
    for name in table.colnames:
        column = table[name]
        if column.ndim > 2:
            raise ValueError(f"{name} with shape {column.shape[1:]} in each row")
        if column.ndim == 1:
            yield name, column
            continue
        for k in range(column.shape[1]):
            part = f"{name}_{k}" if k else name
            if k and part in table.colnames:
                raise ValueError(f"{name} beside {part}, the name of its second value")
            yield part, column[:, k]


def write_csv(table: Table, path: Path) -> None:
    """Write CSV; a missing value is an empty cell.

    The values of a vector ``NAME`` are the columns ``NAME``, ``NAME_1``, ``NAME_2``, …

    Raises
    ------
    ValueError
        If a column has an array a row, or a word holds a line end.
    """
    ready = Table()
    for name, column in _single_values(table):
        values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
        cells: Any = np.asarray(values)
        if cells.dtype.kind in "USO":
            pairs = zip(cells.astype(str).tolist(), mask.tolist(), strict=True)
            words = ["" if none else to_cell(word) for word, none in pairs]
            if any("\n" in word or "\r" in word for word in words):
                raise ValueError(f"{name} with line ends in a word")
            ready[to_cell(name)] = np.array(words, dtype=str)
        elif mask.any() and cells.dtype.kind != "f":
            ready[to_cell(name)] = MaskedColumn(cells, mask=mask)
        else:
            if mask.any():
                cells = np.where(mask, np.nan, cells)
            ready[to_cell(name)] = cells
    ready.write(path, format="ascii.csv")
