"""Hostile text through every writer: it comes back as it is, or is refused with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyduel.core import BadInputError, Catalog, read_catalog, write_catalog
from skyduel.core.io.ds9_regions import write_regions
from skyduel.core.io.table_writers import TABLE_ENDINGS

ONE_OF_EACH = {kind: ending for ending, kind in reversed(TABLE_ENDINGS.items())}
WORDS = {
    "formula": "=1+1", "minus": "-1+1", "plus": "+cmd", "at": "@sum", "tab": "a\tb",
    "escape": "a\x1b[2Jb", "NUL": "a\x00b", "bell": "\x07", "right to left": "abc\u202edcba",
    "isolate": "\u2066a\u2069", "line end": "a\nb", "return": "a\rb", "next line": "a\x85b",
    "line separator": "a\u2028b", "surrogate": "a\ud800b", "XML": "]]></TD><TD>&amp;<!--",
    "no character": "a\uffffb", "quotes": "\"'`", "quote": "'", "comment": "# a", "mark": "\ufeffa",
    "end of file": "a\x1ab", "script": "<script>alert(1)</script>", "sky": "\U0001f52d",
    "long": "x" * 200_000,
}  # fmt: skip


def outcome(one: Catalog, path: Path) -> Catalog | None:
    """Return what is read back; None if the writer refused, with one printable line."""
    try:
        write_catalog(one, path)
    except BadInputError as error:
        refused = str(error)
    else:
        return read_catalog(path)
    assert refused.isprintable()
    assert len(refused) < 1000
    assert not path.exists()
    return None


@pytest.mark.parametrize("kind", sorted(set(ONE_OF_EACH) - {"DS9 regions"}))
def test_words_come_back_or_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{ONE_OF_EACH[kind]}"
    kept = set()
    for name, word in WORDS.items():
        back = outcome(Catalog.build(x=[1.0, 2.0], y=[1.0, 2.0], note=[word, "b"]), path)
        if back is not None:
            assert list(map(str, back["note"])) == [word, "b"], name
            kept.add(name)
        path.unlink(missing_ok=True)
    assert {"formula", "minus", "script"} <= kept


@pytest.mark.parametrize("kind", sorted(set(ONE_OF_EACH) - {"DS9 regions"}))
def test_names_of_columns_come_back_or_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{ONE_OF_EACH[kind]}"
    for name, word in WORDS.items():
        back = outcome(Catalog.build(x=[1.0], y=[1.0], **{word: [3]}), path)
        if back is not None:
            assert word in back, name
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("FITS", r"1,010 columns; at most 999"),
        ("SExtractor FITS_LDAC", r"1,010 columns; at most 990"),
        ("CSV", r"4,110 columns; at most 4,096"),
        ("SExtractor ASCII_HEAD", r"4,110 columns; at most 4,096"),
    ],
)
def test_more_columns_than_can_be_read_back_are_refused(
    tmp_path: Path, kind: str, message: str
) -> None:
    n = 1000 if "FITS" in kind else 4100
    one = Catalog.build(x=[1.0], y=[1.0], **{f"c{k}": [k] for k in range(n)})
    with pytest.raises(BadInputError, match=message):
        write_catalog(one, tmp_path / f"a{ONE_OF_EACH[kind]}")


@pytest.mark.parametrize(("ending", "most"), [(".fits", 999), (".ldac", 990)])
def test_the_most_columns_of_a_fits_table_are_written(
    tmp_path: Path, ending: str, most: int
) -> None:
    empty = len(Catalog.build(x=[1.0], y=[1.0]).table.colnames)
    extra = {f"c{k}": [k] for k in range(most - empty)}
    write_catalog(Catalog.build(x=[1.0], y=[1.0], **extra), tmp_path / f"a{ending}")


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_label_of_a_region_is_one_printable_line(tmp_path: Path, name: str) -> None:
    one = Catalog.build(x=[1.0, 2.0], y=[1.0, 2.0], note=[WORDS[name], "b} {c"])
    write_regions(one, tmp_path / "a.reg", label="note")
    lines = (tmp_path / "a.reg").read_text().split("\n")
    assert len(lines) == 6
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    assert lines[4].endswith("text={b) (c}")
