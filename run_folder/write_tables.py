"""Tables of a run, written whole or not at all; those that grow with the frames part by part."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skyduel.core import atomic_path, safe_name
from skyduel.core.io.safe_csv import without_formulas
from skyduel.evaluation import FrameScore

__all__ = ["Results", "write_table"]

_DIGITS = "%.6g"


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as ``path.parquet``, and as CSV for people."""
    with atomic_path(path.with_name(f"{path.name}.parquet")) as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_path(path.with_name(f"{path.name}.csv")) as temporary:
        without_formulas(table).to_csv(temporary, index=False, float_format=_DIGITS)


class Results:
    """Writes ``counts`` and ``pairs/`` as an evaluation makes them (`evaluation.Sink`).

    A context: the counts appear under their names when it is left without an error.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._parquet: pq.ParquetWriter | None = None
        self._header = True

    def __enter__(self) -> Self:
        self._table = self._stack.enter_context(atomic_path(self._folder / "counts.parquet"))
        self._csv = self._stack.enter_context(atomic_path(self._folder / "counts.csv"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._parquet is not None:
                self._parquet.close()
        except OSError as late:  # no room for the end of the table: then there is no table
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def counts(self, table: pd.DataFrame) -> None:
        """Append rows to ``counts``."""
        if table.empty:
            return
        part = pa.Table.from_pandas(table, preserve_index=False)
        if self._parquet is None:
            # pandas' own note holds the number of rows, of this part alone.
            schema = part.schema.remove_metadata()
            self._parquet = pq.ParquetWriter(self._table, schema)
        self._parquet.write_table(part.cast(self._parquet.schema))
        without_formulas(table).to_csv(
            self._csv, mode="a", header=self._header, index=False, float_format=_DIGITS
        )
        self._header = False

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        """Write the pairs of every frame."""
        place = self._folder / "pairs" / safe_name(detector) / point
        for score in frames:
            with atomic_path(place / f"{safe_name(score.source.frame)}.parquet") as temporary:
                score.pairing.to_table().to_parquet(temporary, index=False)
