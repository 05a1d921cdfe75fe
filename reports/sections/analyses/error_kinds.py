"""Section on the kinds of error: missed sources and false detections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.error_kinds import ERROR_KINDS, SIDES, error_kind
from skyduel.reports.figures.error_kinds import error_kinds_by_group, error_kinds_by_magnitude
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
    table_at_point,
)
from skyduel.reports.style import Style, point_name
from skyduel.reports.tables.rows import table_groups
from skyduel.reports.tables.run_tables import Table, number, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["ERROR_KINDS_SECTION", "error_kinds_table"]


def error_kinds_table(run: Run, point: str, side: str) -> Table | None:
    """Return the numbers of each kind of error: one row a group and detector."""
    mistakes = run.analysis("mistakes")
    if not len(mistakes):
        return None
    part = mistakes[
        (mistakes["bin"] == ALL_BINS) & (mistakes["point"] == point) & (mistakes["side"] == side)
    ]
    if not len(part):
        return None
    there = [k for k in ERROR_KINDS if k in set(part["kind"])]
    kinds = there + sorted(set(part["kind"]) - set(ERROR_KINDS))
    of = {(str(r["group"]), str(r["detector"]), str(r["kind"])): r for r in part.to_dict("records")}
    rows = []
    for group in table_groups(run):
        for detector in run.detectors:
            found = [of.get((group, detector, k)) for k in kinds]
            if any(f is not None for f in found):
                cells = [number(None if f is None else f["n"]) for f in found]
                rows.append((text(group), text(detector), *cells))
    return Table(
        f"{SIDES[side]} by kind, operating point: {point_name(point)}",
        ("Group", "Detector", *(error_kind(k).title for k in kinds)),
        tuple(rows),
        n_heads=2,
        note="Each has exactly one kind, the first whose rule applies, so the kinds add up to the "
        "total.",
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    table, point = table_at_point(run, "mistakes"), run.headline_point
    if table is None:
        return
    yield FigureSpec(
        f"mistakes_by_group-{safe_name(point)}",
        f"Kinds of mistake, {at_point(point)}",
        "Shares of the missed sources and of the false detections. Their number stands at the "
        "right of each bar.",
        f"Stacked bars: the shares of the kinds of mistake of {detector_names(run)} in each "
        "group. The numbers are in the tables.",
        lambda: error_kinds_by_group(table, point=point),
    )
    yield FigureSpec(
        f"mistakes_by_magnitude-{safe_name(point)}",
        f"Kinds of mistake by magnitude, all groups, {at_point(point)}",
        "Missed sources by true magnitude, false detections by measured magnitude. Each row of "
        "panels shares its scale.",
        f"Stacked bars: the numbers of each kind of mistake of {detector_names(run)} in each "
        "magnitude bin.",
        lambda: error_kinds_by_magnitude(table, point=point),
    )


ERROR_KINDS_SECTION = Section(
    name="mistakes",
    title="Kinds of mistake",
    figures=_figures,
    tables=lambda run: present(*(error_kinds_table(run, run.headline_point, s) for s in SIDES)),
)
