"""Many small catalogues in little memory: views of concatenated columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyduel.core.catalog import KINDS, Catalog
from skyduel.core.errors import require_kind, takes

__all__ = ["PackedCatalog", "pack_catalogs", "packed"]

#: Catalogues whose columns are joined; more only delay the first of them.
_TOGETHER: Final = 512
_KINDS: Final = np.array(KINDS)

_Columns = dict[str, npt.NDArray[Any]]


class PackedCatalog(Catalog):
    """A catalogue whose columns are parts of arrays that it shares with others.

    It reads as any other; `Catalog.table` is built at each access. An
    astropy table of a dozen rows takes 20 KiB, this takes its values and 0.5 KiB.
    """

    def __init__(self, columns: _Columns, rows: slice, source: str) -> None:
        for name, value in (("_columns", columns), ("_rows", rows), ("source", source)):
            object.__setattr__(self, name, value)

    _columns: _Columns
    _rows: slice

    @classmethod
    def of(cls, columns: _Columns, source: str) -> PackedCatalog:
        """Return the catalogue of whole columns, which become read-only; ``kind`` in words."""
        numbered = columns | {"kind": _numbers_of(columns["kind"])}
        return cls(_sealed(numbered), slice(0, len(columns["x"])), source)

    @property
    def table(self) -> Table:
        """The table, without its units."""
        return Table({name: self[name] for name in self._columns})

    def __len__(self) -> int:
        return int(self._rows.stop - self._rows.start)

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

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

    @property
    def is_galaxy(self) -> npt.NDArray[np.bool_]:
        """Which rows are galaxies, shape (n,)."""
        return np.asarray(self._columns["kind"][self._rows] == KINDS.index("galaxy"))

    def select(self, rows: npt.NDArray[Any]) -> Catalog:
        """Return the given rows, packed: no table is made for them."""
        rows = np.asarray(rows)
        if rows.size == 0 and rows.dtype.kind != "b":
            rows = rows.astype(np.intp)
        columns = {name: values[self._rows][rows] for name, values in self._columns.items()}
        return PackedCatalog(_sealed(columns), slice(0, len(columns["x"])), self.source)

    def with_columns(self, **columns: npt.ArrayLike) -> Catalog:
        """Return a copy with columns added or replaced, each of shape (n,).

        Positions alone are replaced in place of a table, which takes a hundred times as long.
        """
        given = {name: np.array(values, dtype=np.float64) for name, values in columns.items()
                 if name in self.REQUIRED}  # fmt: skip
        sound = (v.shape == (len(self),) and bool(np.isfinite(v).all()) for v in given.values())
        if len(given) < len(columns) or not all(sound):
            return super().with_columns(**columns)  # says what is wrong, if anything is
        rest = {name: values[self._rows] for name, values in self._columns.items()}
        return PackedCatalog(_sealed(rest | given), slice(0, len(self)), self.source)


@takes(catalogs=Iterable)
def pack_catalogs(catalogs: Iterable[Catalog]) -> Iterator[Catalog]:
    """Yield the same catalogues, packed, in order; the given ones need not be kept.

    Neighbours with the same columns share their arrays, some hundred at a time.
    """
    waiting: list[Catalog] = []
    kept: tuple[Any, ...] | None = None
    for k, catalog in enumerate(catalogs):
        require_kind(f"pack_catalogs: catalogs[{k}]", catalog, Catalog)
        alike = tuple((n, catalog[n].dtype.kind, catalog[n].shape[1:]) for n in _names(catalog))
        if waiting and (alike != kept or len(waiting) == _TOGETHER):
            yield from _packed(waiting)
            waiting = []
        kept = alike
        waiting.append(catalog)
    yield from _packed(waiting)


def packed(catalog: Catalog) -> Catalog:
    """Return the same catalogue, packed."""
    return catalog if isinstance(catalog, PackedCatalog) else next(pack_catalogs([catalog]))


def _sealed(columns: _Columns) -> _Columns:
    """Return the columns after making them read-only."""
    for values in columns.values():
        values.flags.writeable = False
    return columns


def _names(catalog: Catalog) -> list[str]:
    return list(catalog.names)


def _numbers_of(kinds: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the place of each kind in `KINDS`; the first is that of all others."""
    numbers = np.zeros(len(kinds), dtype=np.uint8)
    for number, kind in enumerate(KINDS[1:], start=1):
        numbers[kinds == kind] = number
    return numbers


def _packed(catalogs: list[Catalog]) -> Iterator[Catalog]:
    if not catalogs:
        return
    columns: _Columns = {}
    for name in _names(catalogs[0]):
        values = np.concatenate([c[name] for c in catalogs])
        if name == "kind":
            values = _numbers_of(values)
        columns[name] = values
    _sealed(columns)
    first = 0
    for catalog in catalogs:
        rows = slice(first, first + len(catalog))
        yield PackedCatalog(columns, rows, catalog.source)
        first += len(catalog)
