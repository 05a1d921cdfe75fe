"""Write the tables of a run, each whole or not at all; counts and pairs part by part.

Every page of a Parquet file has a checksum, so that a damaged table is refused when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skyduel.core import atomic_path
from skyduel.core.io.safe_csv import without_formulas
from skyduel.evaluation import FrameScore
from skyduel.run_folder.layout import CSV, RunPaths
from skyduel.run_folder.schema import COUNTS

__all__ = ["CountsWriter", "write_pairs", "write_table"]

_DIGITS: Final = "%.6g"


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, and beside it as CSV for people.

    Parameters
    ----------
    path : Path
        The Parquet file.
    table : DataFrame
        The table; its index is not written.
    """
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True)
    with atomic_path(path.with_suffix(CSV)) as temporary:
        without_formulas(table).to_csv(temporary, index=False, float_format=_DIGITS)


def write_pairs(paths: RunPaths, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
    """Write the pairs of a detector's frames at an operating point, one file a frame."""
    for score in frames:
        with atomic_path(paths.pairs(detector, point, score.source.frame)) as temporary:
            table = score.pairing.to_table()
            table.to_parquet(temporary, index=False, write_page_checksum=True)


class CountsWriter:
    """Writer of ``counts`` and ``pairs/`` while an evaluation goes on (`evaluation.Sink`).

    A context manager: the files of the counts appear when it is left without an error.

    Parameters
    ----------
    folder : Path
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = RunPaths(folder)
        self._stack = ExitStack()
        self._parquet: pq.ParquetWriter | None = None
        self._header = True

    def __enter__(self) -> Self:
        table = self._paths.table(COUNTS.name)
        self._table = self._stack.enter_context(atomic_path(table))
        self._csv = self._stack.enter_context(atomic_path(table.with_suffix(CSV)))
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
        except OSError as late:  # no space for the end of the table: then there is no table
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def counts(self, table: pd.DataFrame) -> None:
        """Append rows to ``counts``."""
        if table.empty:
            return
        part = pa.Table.from_pandas(table, preserve_index=False)
        if self._parquet is None:
            # pandas' own metadata holds the number of rows, of this part alone.
            schema = part.schema.remove_metadata()
            self._parquet = pq.ParquetWriter(self._table, schema, write_page_checksum=True)
        self._parquet.write_table(part.cast(self._parquet.schema))
        without_formulas(table).to_csv(
            self._csv, mode="a", header=self._header, index=False, float_format=_DIGITS
        )
        self._header = False

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        """Write the pairs of frames at an operating point."""
        write_pairs(self._paths, detector, point, frames)
