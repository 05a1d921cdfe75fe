"""Text that a format cannot hold: a file with it would be read back as something else, or not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

__all__ = ["check_text"]

#: The longest word that Python's reader of separated text takes.
_LONGEST_WORD: Final = 131_071
#: The longest name that fits a card of a FITS header.
_LONGEST_NAME: Final = 68
#: The most columns that the readers of text take.
_MOST_COLUMNS: Final = 4096


@dataclass(frozen=True)
class _Unheld:
    """What a format cannot hold: in words, in names of columns, the longest of both, columns."""

    words: str
    names: str
    longest_word: int | None = None
    longest_name: int | None = None
    most_columns: int | None = None


_FORMATS: Final[Mapping[str, _Unheld]] = {
    "ECSV": _Unheld("[\0\r\ud800-\udfff]", "[\0\r\n\ud800-\udfff]", _LONGEST_WORD, _LONGEST_WORD),
    "CSV": _Unheld("[\0\ud800-\udfff]", "[\0\r\n\ud800-\udfff]", None, None, _MOST_COLUMNS),
    # XML 1.0 has no control characters, and makes one line end of all, in attributes a space.
    "VOTable": _Unheld(
        "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]",
        "[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]",
    ),
    "SExtractor ASCII_HEAD": _Unheld(
        "[\0\ud800-\udfff]|^[\"']", "\0", _LONGEST_WORD, None, _MOST_COLUMNS
    ),
    "FITS": _Unheld("(?!)", "(?!)", None, _LONGEST_NAME, 999),
    "SExtractor FITS_LDAC": _Unheld("(?!)", "(?!)", None, _LONGEST_NAME, 990),
}  # fmt: skip


def check_text(table: Table, kind: str) -> None:
    """Refuse words and names of columns that a format would not give back.

    Parameters
    ----------
    table : Table
        What is to be written.
    kind : str
        The format, one of the values of `skyduel.core.io.table_writers.TABLE_ENDINGS`.

    Raises
    ------
    ValueError
        If there is such text; the message names the column.
    """
    unheld = _FORMATS.get(kind)
    if unheld is None:
        return
    if unheld.most_columns is not None and len(table.colnames) > unheld.most_columns:
        raise ValueError(f"{len(table.colnames):,} columns; at most {unheld.most_columns:,}")
    for name in table.colnames:
        if re.search(unheld.names, name):
            raise ValueError(f"the name of a column with {_found(unheld.names, name)}")
        if unheld.longest_name is not None and len(name) > unheld.longest_name:
            raise ValueError(f"the name of a column of {len(name):,} characters")
        values = np.ma.getdata(table[name])
        if values.dtype.kind not in "USO" or _is_plain(values, unheld):
            continue
        for word in _words(values):
            if re.search(unheld.words, word):
                raise ValueError(f"{name} with {_found(unheld.words, word)} in a word")
            if unheld.longest_word is not None and len(word) > unheld.longest_word:
                raise ValueError(f"{name} with a word of {len(word):,} characters")


def _is_plain(values: npt.NDArray[Any], unheld: _Unheld) -> bool:
    """Return True if the words are short and of printable ASCII without quotes.

    Most are, and there may be millions.
    """
    if values.dtype.kind != "U" or not values.size:
        return values.size == 0
    if unheld.longest_word is not None and values.dtype.itemsize > 4 * unheld.longest_word:
        return False
    codes = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    within = int(np.count_nonzero((codes > 0x27) & (codes < 0x7F)))
    return within == int(np.strings.str_len(values).sum())  # a NUL inside a word is no filling


def _words(values: npt.NDArray[Any]) -> set[str]:
    flat = values.reshape(-1).tolist()
    return {v.decode("latin-1") if isinstance(v, bytes) else v
            for v in flat if isinstance(v, str | bytes)}  # fmt: skip


def _found(pattern: str, text: str) -> str:
    """Return the first character at fault by its number."""
    found = re.search(pattern, text)
    assert found is not None
    return f"U+{ord(found[0][0]):04X}"
