"""Many small catalogues in little memory: their columns end to end, each catalogue a view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from catalog.sources import KINDS, Catalog

__all__ = ["PackedCatalog", "pack_catalogs"]

#: Catalogues whose columns are joined; more only delay the first of them.
_TOGETHER: Final = 512
_KINDS: Final = np.array(KINDS)

_Columns = dict[str, npt.NDArray[Any]]


class PackedCatalog(Catalog):
    """A catalogue whose columns are parts of arrays that it shares with others.

    Reads as any other; `Catalog.table` is made anew each time it is asked for. An
    astropy table of a dozen rows takes 20 KiB, this takes its values and 0.5 KiB.
    """

    def __init__(self, columns: _Columns, rows: slice, source: str) -> None:
        for name, value in (("_columns", columns), ("_rows", rows), ("source", source)):
            object.__setattr__(self, name, value)

    _columns: _Columns
    _rows: slice

    @property
    def table(self) -> Table:
        """The table, without its units."""
        return Table({name: self[name] for name in self._columns})

    def __len__(self) -> int:
        return int(self._rows.stop - self._rows.start)

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._columns:
            return super().__getitem__(name)  # says what there is
        values = self._columns[name][self._rows]
        if name == "kind":
            values = _KINDS[values]
            values.flags.writeable = False
        return values

    @property
    def is_streak(self) -> npt.NDArray[np.bool_]:
        """Which rows are streaks, shape (n,)."""
        return np.asarray(self._columns["kind"][self._rows] == KINDS.index("streak"))


def pack_catalogs(catalogs: Iterable[Catalog]) -> Iterator[Catalog]:
    """Yield the same catalogues, packed, in order; the given ones need not be kept.

    Neighbours with the same columns share their arrays, some hundred at a time.
    """
    waiting: list[Catalog] = []
    kept: tuple[Any, ...] | None = None
    for catalog in catalogs:
        alike = tuple((n, catalog[n].dtype.kind, catalog[n].shape[1:]) for n in _names(catalog))
        if waiting and (alike != kept or len(waiting) == _TOGETHER):
            yield from _packed(waiting)
            waiting = []
        kept = alike
        waiting.append(catalog)
    yield from _packed(waiting)


def _names(catalog: Catalog) -> list[str]:
    return list(catalog.table.colnames)


def _packed(catalogs: list[Catalog]) -> Iterator[Catalog]:
    if not catalogs:
        return
    columns: _Columns = {}
    for name in _names(catalogs[0]):
        values = np.concatenate([c[name] for c in catalogs])
        if name == "kind":
            values = (values == "streak").astype(np.uint8)
        values.flags.writeable = False
        columns[name] = values
    first = 0
    for catalog in catalogs:
        rows = slice(first, first + len(catalog))
        yield PackedCatalog(columns, rows, catalog.source)
        first += len(catalog)
