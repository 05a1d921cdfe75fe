"""Section on the ignore limit: the S/N below which truths are ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.evaluation.scoring.metrics import listed
from skyduel.reports.figures.binned_scores import ignore_limits
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
    table_at_point,
)
from skyduel.reports.style import Style, point_name
from skyduel.reports.tables.run_tables import Table, and_list, number, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS

__all__ = ["SNR_LIMIT", "ignore_table"]


def ignore_table(run: Run, point: str) -> Table | None:
    """Return the scores at each ignore limit."""
    table = run.analysis("ignore_limit")
    if not len(table):
        return None
    part = table[(table["point"] == point) & (table["group"] == ALL_GROUPS)]
    rows = [
        (
            number(row["min_snr"], 1),
            text(row["detector"]),
            *(number(row[m.name], m.digits) for m in listed("brief")),
            number(row["truths"]),
            number(row["truths_ignored"]),
            number(row["detections"]),
            number(row["detections_ignored"]),
        )
        for row in part.sort_values("min_snr", kind="stable").to_dict("records")
    ]
    return Table(
        f"Scores against the ignore limit, all groups, operating point: {point_name(point)}",
        (
            "Ignored below S/N",
            "Detector",
            *(m.head for m in listed("brief")),
            "Truths",
            "Truths ignored",
            "Detections",
            "Detections ignored",
        ),
        tuple(rows),
        n_heads=2,
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point, table = run.headline_point, table_at_point(run, "ignore_limit")
    if table is None:
        return
    shown = and_list([m.short for m in listed("brief")])
    yield FigureSpec(
        f"ignore_limit-{safe_name(point)}",
        f"Scores against the ignore limit, {at_point(point)}",
        "Where the order of the detectors changes along the axis, it depends on the choice of the "
        "limit.",
        f"{shown[0].upper()}{shown[1:]} of {detector_names(run)} against the S/N below which "
        "truths are ignored.",
        lambda: ignore_limits(table, point=point, styles=styles),
    )


SNR_LIMIT = Section(
    name="ignore",
    title="The ignore limit",
    introduction=lambda run: (
        "Truths that are too faint to be demanded are ignored. The limit is a choice. This "
        "section shows how far the scores depend on it; the detections stay the same."
    ),
    figures=_figures,
    tables=lambda run: present(ignore_table(run, run.headline_point)),
)
