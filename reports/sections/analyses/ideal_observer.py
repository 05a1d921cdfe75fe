"""Section on the ideal observer: the most that any detector could find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.ideal_observer import completeness_and_ideal, ideal_distance
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
)
from skyduel.reports.style import Style
from skyduel.reports.tables.rows import HEADS, all_groups_only, heads, rows_in_order
from skyduel.reports.tables.run_tables import Table, interval, number, text
from skyduel.reports.tables.slivers import ideal_told
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["IDEAL_OBSERVER", "ideal_table"]


def ideal_table(run: Run) -> Table | None:
    """Return the distance of each detector from the ideal observer."""
    ideal = ideal_told(run)
    if not len(ideal):
        return None
    ideal = ideal[(ideal["bin"] == ALL_BINS) & (ideal["match"] == "false_rate")]
    rows = [
        (
            *heads(row),
            interval(row, ("distance_mag", "distance_lo", "distance_hi"), 2),
            number(row["snr50"], 2),
            number(row["snr50_ideal"], 2),
            number(row["m50_ideal"], 2),
            interval(row, ("found", "found_lo", "found_hi"), 3),
            number(row["ideal"], 3),
            number(row["n"]),
            text("yes: a bug or a leak" if bool(row["beats"]) else "no"),
        )
        for row in rows_in_order(run, ideal)
    ]
    return Table(
        "Distance from the ideal observer, which has as many false detections per Mpix",
        (
            *HEADS,
            "Behind [mag]",
            "S/N50",
            "its S/N50",
            "its m50 [mag]",
            "Completeness of point sources",
            "its completeness",
            "n point sources",
            "More than can be?",
        ),
        tuple(rows),
        n_heads=3,
        note="The ideal observer knows the PSF, the noise and every other source. “Its” columns "
        "are what it would find. A distance below zero, or a completeness above its completeness, "
        "is chance if the interval allows it.",
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    table, point, who = ideal_told(run), run.headline_point, detector_names(run)
    if not len(table) or table["ideal"].isna().all():  # the truth or the PSF does not tell it
        return
    yield FigureSpec(
        f"completeness_and_ideal-{safe_name(point)}",
        f"Point sources found, and the most that could be, {at_point(point)}",
        "Dashed, in each detector’s colour: the ideal observer, which knows the PSF, the noise and "
        "all other sources, with as many false detections per Mpix as that detector. The gap below "
        "it is the possible gain. A detector above it points to a bug or a leak.",
        f"Completeness of point sources against true magnitude for {who} below the curves of the "
        "ideal observer, one panel a group.",
        lambda: completeness_and_ideal(table, point=point, styles=styles),
    )
    yield FigureSpec(
        "ideal_distance",
        "Magnitudes behind the ideal observer",
        "Distance at half completeness. The ideal observer has as many false detections per Mpix "
        "as the detector. Further left is better. Where one value is far from the others, the axis "
        "is a symmetric logarithm.",
        f"Dots with interval bars: distance from the ideal observer per group for {who}. The "
        "numbers are in the table.",
        lambda: ideal_distance(table, points=run.points, styles=styles),
    )


def _summary(run: Run) -> tuple[Table, ...]:
    return tuple(map(all_groups_only, present(ideal_table(run))))


IDEAL_OBSERVER = Section(
    name="ideal",
    title="Beside the ideal observer",
    figures=_figures,
    tables=lambda run: present(ideal_table(run)),
    summary=_summary,
)
