"""Sections on the scores: over all magnitudes, by magnitude, and by group of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.evaluation.scoring.metrics import HEADLINE, listed
from skyduel.reports.figures.scores import scores_by_group, scores_by_magnitude
from skyduel.reports.sections.section import (
    MOST_GROUPS,
    FigureSpec,
    Section,
    at_point,
    detector_names,
)
from skyduel.reports.style import Style, shorten
from skyduel.reports.tables.run_tables import (
    Table,
    and_list,
    bins_table,
    counts_table,
    scores_table,
)
from skyduel.reports.text.verdict import leaders_table
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS

__all__ = ["GROUPS", "MAGNITUDE", "SCORES"]


def _several_groups(run: Run) -> tuple[str, ...]:
    return run.groups if len(run.groups) > 1 else ()


def _overall_figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    yield FigureSpec(
        "f1_by_group",
        "F1 of all magnitudes together",
        "One panel for each operating point. Bars are intervals.",
        f"Dots with interval bars: F1 per group for {detector_names(run)}. The numbers are in the "
        "tables.",
        lambda: scores_by_group(run.scores, HEADLINE, points=run.points, styles=styles),
    )


def _summary(run: Run) -> tuple[Table, ...]:
    groups = _several_groups(run)
    scores = scores_table(run, [ALL_GROUPS, *groups], "Scores over all magnitudes")
    return (leaders_table(run), scores) if groups else (scores,)


def _by_magnitude(run: Run, styles: Mapping[str, Style], group: str, point: str) -> FigureSpec:
    together = group == ALL_GROUPS
    shown = and_list([m.short for m in listed("overview")])
    where = "all frames" if together else f"group {shorten(group)}"
    name = f"scores_by_magnitude-{point}" + ("" if together else f"-group-{group}")
    return FigureSpec(
        safe_name(name),
        f"Scores by magnitude, {where}, {at_point(point)}",
        "Bars are intervals. Within a bin the markers are shifted sideways. The strip below zero "
        "holds the numbers in each bin.",
        f"Panels against magnitude: {shown} for {detector_names(run)}, with interval bars.",
        lambda: scores_by_magnitude(run.scores, group=group, point=point, styles=styles),
    )


def _magnitude_figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    for point in run.points:
        yield _by_magnitude(run, styles, ALL_GROUPS, point)


def _group_figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    for group in _several_groups(run)[:MOST_GROUPS]:
        yield _by_magnitude(run, styles, group, run.headline_point)


def _group_tables(run: Run) -> tuple[Table, ...]:
    groups = _several_groups(run)
    return (scores_table(run, groups, "Scores by group"),) if groups else ()


SCORES = Section(
    name="scores",
    title="Scores over all magnitudes",
    first_tables=lambda run: (
        scores_table(run, [ALL_GROUPS], "Scores over all frames and magnitudes"),
    ),
    figures=_overall_figures,
    tables=lambda run: (counts_table(run),),
    folded_tables=False,
    summary=_summary,
    shown_when_empty=True,
)
MAGNITUDE = Section(
    name="magnitude",
    title="Scores by magnitude",
    figures=_magnitude_figures,
    tables=lambda run: tuple(bins_table(run, point) for point in run.points),
    note=lambda run: "The same scores for every group are in scores.csv in the run folder.",
    shown_when_empty=True,
)
GROUPS = Section(
    name="groups",
    title="Scores by group of frames",
    introduction=lambda run: (
        ""
        if _several_groups(run)
        else "All frames belong to one group. Its scores are those above."
    ),
    first_tables=_group_tables,
    figures=_group_figures,
    shown_when_empty=True,
)
