"""Section on galaxies: completeness over size and magnitude; points told from extended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.galaxies import galaxy_completeness
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
    table_at_point,
)
from skyduel.reports.style import Style, point_name
from skyduel.reports.tables.rows import all_groups_only, table_groups
from skyduel.reports.tables.run_tables import Cell, Table, interval, number, text
from skyduel.reports.text.galaxies import NOT_TOLD
from skyduel.run_folder.read_run import Run, size_label
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["GALAXIES", "galaxies_table"]

_ALL_SIZES = "all galaxies"


def galaxies_table(run: Run, point: str) -> Table | None:
    """Return completeness, and how often points and extended are told apart, by size."""
    rows = table_at_point(run, "galaxies")
    if rows is None:
        return None
    rows = rows[(rows["point"] == point) & (rows["bin"] == ALL_BINS)]
    keys = ["group", "kind", "size_bin"]
    of = {(*(r[k] for k in keys), str(r["detector"])): r for r in rows.to_dict("records")}
    named = rows.drop_duplicates(keys).sort_values(["kind", "size_bin"], kind="stable")
    shown = []
    for group in table_groups(run):
        for edge in named[named["group"] == group].to_dict("records"):
            cells: list[Cell] = []
            for detector in run.detectors:
                row = of.get((*(edge[k] for k in keys), detector))
                cells += [
                    interval(row, ("value", "lo", "hi"), 3),
                    number(None if row is None else row["n"]),
                    text("–")
                    if row is None or not row["told"]
                    else interval(row, ("told_share", "told_lo", "told_hi"), 3),
                ]
            shown.append((text(group), text(_label(edge)), *cells))
    return Table(
        f"Galaxies by half-light radius, operating point: {point_name(point)}",
        ("Group", "r½ [px]", *(c for d in run.detectors for c in (d, "n", "told right"))),
        tuple(shown),
        n_heads=2,
        note="Completeness, and of the sources found whose detection says whether it is extended "
        f"the share that is told right. –: {NOT_TOLD}, which costs a detector nothing.",
    )


def _label(row: Mapping[Any, Any]) -> str:
    if row["kind"] == "point":
        return "points"
    if row["size_bin"] == ALL_BINS:
        return _ALL_SIZES
    return size_label(row["size_lo"], row["size_hi"])


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point, table = run.headline_point, table_at_point(run, "galaxies")
    if table is None:
        return
    yield FigureSpec(
        f"galaxies-{safe_name(point)}",
        f"Completeness of galaxies over size and magnitude, {at_point(point)}",
        "Half-light radii along the major axis, before the seeing; total magnitudes. Darker is "
        "more complete; the small number is that of the truths. A galaxy is found if a detection "
        "lies within its half-light radius, or within the radius of points if that is larger.",
        f"A matrix for each of {detector_names(run)}: completeness by half-light radius and true "
        "magnitude, with rows for all galaxies and for points. The numbers are in the tables.",
        lambda: galaxy_completeness(table, point=point),
    )


def _summary(run: Run) -> tuple[Table, ...]:
    return tuple(map(all_groups_only, present(galaxies_table(run, run.headline_point))))


GALAXIES = Section(
    name="galaxies",
    title="Galaxies",
    figures=_figures,
    tables=lambda run: present(galaxies_table(run, run.headline_point)),
    summary=_summary,
)
