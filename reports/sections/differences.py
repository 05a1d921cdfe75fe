"""Section on paired differences between detectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.differences import differences_by_group, differences_by_magnitude
from skyduel.reports.sections.section import FigureSpec, Section, at_point, detector_names
from skyduel.reports.style import Style
from skyduel.reports.tables.run_tables import Table
from skyduel.reports.tables.slivers import differences_told
from skyduel.reports.text.paired_sentences import differences_table
from skyduel.run_folder.read_run import Run

__all__ = ["DIFFERENCES"]


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    table, who = differences_told(run), detector_names(run)
    if not len(table):
        return
    there = set(table["point"].astype(str))
    for point in (p for p in run.points if p in there):
        yield FigureSpec(
            f"differences_by_group-{safe_name(point)}",
            f"Paired differences over all magnitudes, {at_point(point)}",
            "Right of zero the first detector of a pair is better, left of zero the second. A "
            "point has the colour of the better one. It is full where the difference is shown "
            "after Holm’s correction over groups.",
            f"Forest plot of the differences between {who} in completeness, purity, F1 and m50, "
            "with intervals. The numbers are in the table.",
            lambda point=point: differences_by_group(table, point=point, styles=styles),  # type: ignore[misc]
        )
    point = run.headline_point
    if point in there:
        yield FigureSpec(
            f"differences_by_magnitude-{safe_name(point)}",
            f"Paired differences by magnitude, {at_point(point)}",
            "Above zero the first detector of a pair is better, below zero the second. Intervals "
            "of completeness are Newcombe’s for pairs; the others are a bootstrap over frames. A "
            "point is full where the difference is shown after Holm’s correction over bins. "
            "Neighbouring bins share frames.",
            f"Differences between {who} in completeness, purity and F1 against magnitude, with "
            "intervals, one row a pair.",
            lambda: differences_by_magnitude(table, point=point, styles=styles),
        )


def _tables(run: Run) -> tuple[Table, ...]:
    if not len(run.comparisons):
        return ()
    return tuple(t for t in (differences_table(run, p) for p in run.points) if t.rows)


DIFFERENCES = Section(
    name="differences",
    title="Differences between detectors",
    figures=_figures,
    tables=_tables,
    summary=lambda run: (
        (differences_table(run, run.headline_point),) if len(run.comparisons) else ()
    ),
)
