"""Schema of a run folder: version, tables with their columns and keys, operating points.

Names of columns come from `skyduel.evaluation.scoring.table_columns`; type, unit and meaning from
`skyduel.run_folder.columns`; paths from `skyduel.run_folder.layout`. No module that computes a
table is loaded, for what reads a run does not need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from skyduel.evaluation.scoring.metrics import listed
from skyduel.evaluation.scoring.table_columns import (
    ANALYSIS_COLUMNS,
    COMPARISON_COLUMNS,
    COUNTS_COLUMNS,
    LIMITS_COLUMNS,
    SCORES_COLUMNS,
    SUSPECT_COLUMNS,
    SUSPECTS_IGNORED_COLUMNS,
    sweep_columns,
)
from skyduel.evaluation.table_keys import (
    ALL_BINS,
    ALL_GROUPS,
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
    OUTCOMES,
    PAIR_COLUMNS,
    POINTS,
)
from skyduel.run_folder.columns import Column, describe

__all__ = [
    "ALL_BINS",
    "ALL_GROUPS",
    "ANALYSIS_TABLES",
    "CALIBRATED_POINT",
    "COMPARISONS",
    "COMPLETE",
    "COUNTS",
    "DEFAULT_POINT",
    "EQUAL_PURITY_POINT",
    "LIMITS",
    "NOMINAL_PURITY",
    "OUTCOMES",
    "PAIRS",
    "POINTS",
    "RUNNING",
    "SCHEMA_VERSION",
    "SCORES",
    "SUSPECTS",
    "SUSPECTS_IGNORED",
    "TRIALS",
    "WITH_FAILURES",
    "TableSchema",
    "run_tables",
    "sweep_table",
    "table_schema",
]

#: Version of the format. It is raised when a file or a column is renamed, dropped or given
#: another meaning, not when one is added.
SCHEMA_VERSION: Final = 1

#: Values of ``status``: the run is not finished, it is, or it is with frames that failed.
RUNNING: Final = "running"
COMPLETE: Final = "complete"
WITH_FAILURES: Final = "complete with failures"


@dataclass(frozen=True)
class TableSchema:
    """One table of a run folder.

    Parameters
    ----------
    name : str
        Name of the table and of its file.
    columns : tuple of str
        In the order of the file.
    keys : tuple of str
        Columns that identify a row; empty where none do.
    later : tuple of str
        Columns that runs of older versions lack.
    required : bool
        Whether a run cannot be read without it.
    """

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    required: bool = False

    @property
    def first(self) -> tuple[str, ...]:
        """Columns that every version has written."""
        return tuple(c for c in self.columns if c not in self.later)

    def column(self, name: str) -> Column:
        """Return type, unit and meaning of a column."""
        return describe(self.name, name)

    def is_text(self, column: str) -> bool:
        """Return True if a column holds text, False if it holds numbers."""
        return self.column(column).kind == "text"


COUNTS: Final = TableSchema(
    "counts",
    COUNTS_COLUMNS,
    keys=("detector", "point", "frame", "group", "bin"),
    required=True,
)
SCORES: Final = TableSchema(
    "scores",
    SCORES_COLUMNS,
    keys=("detector", "point", "group", "bin", "quantity"),
    required=True,
)
LIMITS: Final = TableSchema(
    "limits",
    LIMITS_COLUMNS,
    keys=("detector", "point", "group"),
    later=LIMITS_COLUMNS[LIMITS_COLUMNS.index("n_frames") + 1 :],
)
COMPARISONS: Final = TableSchema(
    "comparisons",
    COMPARISON_COLUMNS,
    keys=("detector_a", "detector_b", "point", "group", "bin", "quantity", "interval"),
)
#: Pairs of one detector at one operating point on one frame.
PAIRS: Final = TableSchema("pairs", PAIR_COLUMNS)
#: Trials of every tuned detector.
TRIALS: Final = TableSchema(
    "trials",
    ("detector", "fold", "group", "trial", "chosen", "failed", "reached", "value", "threshold",
     "completeness", "purity", "f1", "f2", "settings"),
    keys=("detector", "fold", "group", "trial"),
)  # fmt: skip

#: Suspects in the truth, of all detectors together.
SUSPECTS: Final = TableSchema("suspects", SUSPECT_COLUMNS)
#: Scores with and without the suspects that the user asked to be ignored.
SUSPECTS_IGNORED: Final = TableSchema(
    "suspects_ignored", SUSPECTS_IGNORED_COLUMNS, keys=("detector", "point", "quantity")
)

#: Tables in ``analyses/``.
ANALYSIS_TABLES: Final[tuple[TableSchema, ...]] = (
    *(TableSchema(name, columns) for name, columns in ANALYSIS_COLUMNS.items()),
    SUSPECTS,
    SUSPECTS_IGNORED,
)


def sweep_table() -> TableSchema:
    """Return the schema of the table ``sweep``: it has a column for every swept metric."""
    later = tuple(m.name for m in listed("swept") if not m.in_first_schema)
    return TableSchema("sweep", sweep_columns(), later=later)


def run_tables() -> tuple[TableSchema, ...]:
    """Return the schemas of the tables of the whole run, in the folder itself."""
    return (COUNTS, SCORES, sweep_table(), LIMITS, COMPARISONS)


def table_schema(name: str) -> TableSchema:
    """Return the schema of the table of this name, of the whole run or an analysis."""
    return next(t for t in (*run_tables(), *ANALYSIS_TABLES) if t.name == name)
