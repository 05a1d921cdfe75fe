"""`Run` and `load_run`: read a run folder (`docs/run-folder.md`)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from skyduel.core.errors import PATH, BadInputError, one_line, takes
from skyduel.core.html_tables import html_table
from skyduel.core.io.atomic_files import existing_folder
from skyduel.evaluation.table_keys import range_label
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.previews import read_preview
from skyduel.run_folder.read_counts import check_kinds, read_counts
from skyduel.run_folder.record import FailureRecord, FrameRecord, RunRecord, read_record
from skyduel.run_folder.schema import (
    ALL_BINS,
    ALL_GROUPS,
    CALIBRATED_POINT,
    COMPARISONS,
    COUNTS,
    DEFAULT_POINT,
    LIMITS,
    PAIRS,
    SCORES,
    TableSchema,
    sweep_table,
)
from skyduel.run_folder.show_page import show_page

__all__ = ["Run", "bin_label", "load_run", "size_label"]

#: Cells of tables of single frames that a run keeps in memory: gallery, viewer and figures read
#: the same ones.
_MOST_CELLS: Final = 4_000_000


class _LatestTables:
    """Tables that were read last, up to a number of cells in all."""

    def __init__(self) -> None:
        self._tables: OrderedDict[Path, pd.DataFrame] = OrderedDict()  # the latest come last
        self._cells = 0

    def get(self, path: Path) -> pd.DataFrame | None:
        if path in self._tables:
            self._tables.move_to_end(path)
        return self._tables.get(path)

    def put(self, path: Path, table: pd.DataFrame) -> None:
        self._tables[path] = table
        self._cells += table.size
        while self._cells > _MOST_CELLS:
            _, first = self._tables.popitem(last=False)
            self._cells -= first.size


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, read from its folder.

    Parameters
    ----------
    path : Path
        The run folder.
    record : RunRecord
        ``run.json``.
    counts, scores, sweep, limits : DataFrame
        The tables, the counts summed over magnitude bins (`read_counts`).
        `sweep` and `limits` have no rows where their file is absent; `missing`
        names such files.
    missing : tuple of str
        Files of the format that the folder lacks.
    """

    path: Path
    record: RunRecord
    counts: pd.DataFrame
    scores: pd.DataFrame
    sweep: pd.DataFrame
    limits: pd.DataFrame
    missing: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return the name, the detectors and the number of frames in one line."""
        detectors, n = ", ".join(self.detectors), len(self.scored_frames)
        frames = f"{n} scored frame{'' if n == 1 else 's'}"
        return f"Run({self.name!r}: {detectors}; {frames}; {self.path})"

    def _repr_html_(self) -> str:
        """Return the scores of all magnitudes as a table, for notebooks."""
        rows = self.scores[(self.scores["bin"] == ALL_BINS) & (self.scores["group"] == ALL_GROUPS)]
        names = ("completeness", "purity", "f1")
        value = rows.set_index(["detector", "point", "quantity"])["value"].to_dict()
        keys = list(dict.fromkeys(zip(rows["detector"], rows["point"], strict=True)))
        cells = [(*key, *(value.get((*key, name), float("nan")) for name in names)) for key in keys]
        caption = f"{self.name}: {len(self.scored_frames)} test frames, all magnitudes"
        return html_table(caption, ("detector", "point", *names), cells)

    def show(self, height_px: int = 800) -> None:
        """Show the run's page: inline in a notebook, else in the browser.

        Parameters
        ----------
        height_px : int
            Height of the frame in a notebook [px]. The notebook then holds the page, at most
            some 4 MB, so that it also shows it elsewhere.

        Raises
        ------
        BadInputError
            If the page has not been made: `skyduel.write_report` makes it.
        """
        show_page(self.paths.page, height_px)

    @property
    def paths(self) -> RunPaths:
        """Paths of the files of the run."""
        return RunPaths(self.path)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name if self.record.name is None else self.record.name

    @cached_property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors in the order of the record, then any that only tables name."""
        named = [d.name for d in self.record.detectors]
        return tuple(dict.fromkeys([*named, *self.scores["detector"].astype(str)]))

    @cached_property
    def points(self) -> tuple[str, ...]:
        """Operating points that have scores, in the order of the record."""
        there = [str(p) for p in self.scores["point"].drop_duplicates()]
        return tuple(p for p in dict.fromkeys([*self.record.points, *there]) if p in there)

    @property
    def headline_point(self) -> str:
        """Operating point of the verdict: ``calibrated``, else ``default``, else the first."""
        there = self.points
        preferred = (p for p in (CALIBRATED_POINT, DEFAULT_POINT) if p in there)
        return next(preferred, (*there, DEFAULT_POINT)[0])

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups in alphabetical order, without ``all``."""
        return tuple(sorted(set(self.scores["group"].astype(str)) - {ALL_GROUPS}))

    @property
    def frames(self) -> tuple[FrameRecord, ...]:
        """Frames of the data set, of all splits."""
        return self.record.dataset.frames

    @cached_property
    def scored_frames(self) -> tuple[str, ...]:
        """Names of the frames that were counted, in the order of the record."""
        there = dict.fromkeys(self.counts["frame"].drop_duplicates().astype(str))
        named = [f.name for f in self.frames]
        return tuple(n for n in dict.fromkeys([*named, *there]) if n in there)

    @property
    def failures(self) -> tuple[FailureRecord, ...]:
        """What failed, on which frame, of which detector (None for the frame itself)."""
        return self.record.failures

    @cached_property
    def _analyses(self) -> dict[str, pd.DataFrame]:
        return {}  # filled as they are read

    @cached_property
    def _frame_of(self) -> dict[str, FrameRecord]:
        return {f.name: f for f in reversed(self.frames)}  # the first of a name, as listed

    def frame(self, name: str) -> FrameRecord:
        """Return the record of a frame; one without values if the run does not list it."""
        return self._frame_of.get(name) or FrameRecord(name)

    def truth(self, frame: str) -> pd.DataFrame | None:
        """Read the truth of a frame as it was scored; None without the file."""
        return self._of_frame(self.paths.truth(frame))

    def catalog(self, detector: str, frame: str) -> pd.DataFrame | None:
        """Read the catalogue that a detector returned on a frame; None without the file."""
        return self._of_frame(self.paths.catalog(detector, frame))

    def pairs(self, detector: str, point: str, frame: str) -> pd.DataFrame | None:
        """Read the pairs of a detector at an operating point on a frame; None without the file."""
        return self._of_frame(self.paths.pairs(detector, point, frame), PAIRS.columns)

    @cached_property
    def _kept(self) -> _LatestTables:
        return _LatestTables()

    def _of_frame(self, path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame | None:
        """Read a table of one frame, or return it if it was read lately; None without the file."""
        table = self._kept.get(path)
        if table is None:
            table = _optional(path, columns)
            if table is None:
                return None
            self._kept.put(path, table)
        return table.copy(deep=False)  # a column that a caller adds is the caller's alone

    def analysis(self, name: str) -> pd.DataFrame:
        """Read the table of an analysis; without rows and columns if the run has none."""
        if name not in self._analyses:
            table = _optional(self.paths.analysis(name))
            self._analyses[name] = pd.DataFrame() if table is None else table
        return self._analyses[name]

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Paired comparisons of the detectors; without rows and columns if the run has none."""
        table = _optional(self.paths.table(COMPARISONS.name))
        return pd.DataFrame() if table is None else table

    def preview(self, frame: str) -> npt.NDArray[np.float32] | None:
        """Read the preview of a frame in [0, 1], shape (ny, nx), row 0 first; None if absent."""
        picture = read_preview(self.preview_path(frame))
        if picture is None:
            return None
        # The file has the frame's first row at the bottom.
        return np.asarray(picture, dtype=np.float32)[::-1] / np.float32(255)

    def preview_path(self, frame: str) -> Path:
        """Return the path of the preview of a frame, which may be absent."""
        return self.paths.preview(frame)


@takes(path=PATH)
def load_run(path: str | Path) -> Run:
    """Load a run from its folder.

    Parameters
    ----------
    path : str or Path
        A run folder.

    Returns
    -------
    Run
        The record and the tables. Truths, catalogues, pairs and previews are read
        when they are asked for; the tables read last are kept.

    Raises
    ------
    BadInputError
        If the folder, its ``run.json``, its counts or its scores are absent or
        unreadable, if the format is not the one this code reads, or if a table
        lacks a column or holds a row twice.
    """
    folder = existing_folder(path, "a run folder")
    paths = RunPaths(folder)
    record = read_record(paths.record)
    missing: list[str] = []
    tables: dict[str, pd.DataFrame] = {}
    for schema in (COUNTS, SCORES, sweep_table(), LIMITS):
        file = paths.table(schema.name)
        table = read_counts(file) if schema is COUNTS else _table(file, schema)
        if table is None:
            if schema.required:
                raise BadInputError(
                    str(file),
                    f"the run's table of {schema.name}",
                    f"no such file (the run's status is {record.status!r})",
                )
            missing.append(file.name)
            table = pd.DataFrame(
                {c: pd.Series(dtype=object if schema.is_text(c) else float) for c in schema.columns}
            )
        tables[schema.name] = table
    return Run(folder, record, missing=tuple(missing), **tables)


def bin_label(number: int, lo: float, hi: float, n_bins: int) -> str:
    """Return the label of a magnitude bin.

    Parameters
    ----------
    number : int
        The bin: 0 … `n_bins` − 1, or −2, −1, `n_bins`, `n_bins` + 1.
    lo, hi : float
        Its edges [mag].
    n_bins : int
        Number of bins that have two edges.
    """
    if number == ALL_BINS:
        return "all"
    if number == -1:
        return "brighter" if not np.isfinite(hi) else range_label(lo, hi)
    if number == n_bins:
        return "fainter" if not np.isfinite(lo) else range_label(lo, hi)
    if number > n_bins:
        return "no magnitude"
    return range_label(lo, hi)


def size_label(low: float, high: float) -> str:
    """Return the label of a bin of half-light radii [px]."""
    if np.isnan(low):
        return "no size"
    return range_label(low, high)


def _table(path: Path, schema: TableSchema) -> pd.DataFrame | None:
    """Read a table of the whole run and check it; None without the file."""
    table = _optional(path, schema.first)
    if table is None:
        return None
    check_kinds(table, schema, schema.first, path)
    later = [c for c in schema.later if c not in table.columns]
    table = table.assign(**dict.fromkeys(later, np.nan))
    keys = list(schema.keys)
    twice = table[table.duplicated(keys)] if keys else table.iloc[:0]
    if len(twice):
        raise BadInputError(
            str(path),
            f"one row for each {', '.join(keys)}",
            f"two for {', '.join(str(twice[k].iloc[0]) for k in keys)}",
        )
    return table


def _optional(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """Read a Parquet table that has at least `columns`; None without the file."""
    if not path.is_file():
        return None
    try:
        # As pandas reads it, without a dataset and threads, which take longer than a small file.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table: pd.DataFrame = file.read(use_threads=False).to_pandas()
    except Exception as error:  # a damaged schema raises a dozen types
        raise BadInputError(str(path), "a readable Parquet table", one_line(error)) from error
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise BadInputError(
            str(path), f"columns {', '.join(lacking)}", f"columns {', '.join(map(str, table))}"
        )
    return table
