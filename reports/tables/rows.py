"""Order and heads of rows, the same in every table of an analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from skyduel.reports.style import point_name
from skyduel.reports.tables.run_tables import Cell, Table, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS

__all__ = ["HEADS", "all_groups_only", "heads", "rows_in_order", "table_groups"]

#: Columns that name a row, as `heads` fills them.
HEADS: Final = ("Group", "Operating point", "Detector")


def table_groups(run: Run) -> Sequence[str]:
    """Return the groups of a table's rows: all together, then each if there are several."""
    return [ALL_GROUPS, *run.groups] if len(run.groups) > 1 else [ALL_GROUPS]


def heads(row: Mapping[Any, Any]) -> tuple[Cell, Cell, Cell]:
    """Return the cells that name a row: group, operating point, detector."""
    return text(row["group"]), text(point_name(str(row["point"]))), text(row["detector"])


def rows_in_order(run: Run, table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """Yield rows by group, operating point and detector; the table may lack points."""
    groups, points = list(table_groups(run)), list(run.points)
    detectors = list(run.detectors)
    if "point" not in table:
        table, points = table.assign(point=""), [""]
    rows = [
        r
        for r in table.to_dict("records")
        if r["group"] in groups and r["point"] in points and r["detector"] in detectors
    ]
    rows.sort(
        key=lambda r: (
            groups.index(r["group"]),
            points.index(r["point"]),
            detectors.index(r["detector"]),
        )
    )
    yield from rows


def all_groups_only(table: Table) -> Table:
    """Return a table's rows of all groups together, without those of single groups."""
    return replace(table, rows=tuple(r for r in table.rows if r[0].text == ALL_GROUPS))
