"""Section on depth: S/N and magnitude at which half of the sources are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.ideal_observer import completeness_curves
from skyduel.reports.figures.scores import limits_by_group
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
)
from skyduel.reports.style import Style
from skyduel.reports.tables.rows import HEADS, heads, rows_in_order
from skyduel.reports.tables.run_tables import Table, interval, limits_table, number
from skyduel.reports.tables.slivers import limits_told
from skyduel.run_folder.read_run import Run

__all__ = ["DEPTH", "shape_table"]


def shape_table(run: Run) -> Table | None:
    """Return the fitted completeness curves: depth at 90 %, width, floor and ceiling."""
    limits = limits_told(run)
    limits = limits[limits["width_mag"].notna()]
    if not len(limits):
        return None
    rows = [
        (
            *heads(row),
            interval(row, ("m90", "m90_lo", "m90_hi"), 2),
            interval(row, ("snr90", "snr90_lo", "snr90_hi"), 2),
            interval(row, ("width_mag", "width_mag_lo", "width_mag_hi"), 3),
            number(row["floor"], 3),
            number(row["ceiling"], 3),
        )
        for row in rows_in_order(run, limits)
    ]
    return Table(
        "The completeness curve: where nine tenths are found, and its shape",
        (*HEADS, "m90 [mag]", "S/N90", "Width [mag]", "Floor", "Ceiling"),
        tuple(rows),
        n_heads=3,
        note="A logistic with floor and ceiling, fitted to the point sources one by one.",
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point, who = run.headline_point, detector_names(run)
    if limits_told(run)["snr50"].notna().any():  # none where the truth states no S/N
        yield FigureSpec(
            "snr50_by_group",
            "S/N at which half of the sources are found",
            "Further left is better. Only the panel of equal purity compares like with like.",
            f"Dots with interval bars: S/N of half completeness per group for {who}. The numbers "
            "are in the table of limits.",
            lambda: limits_by_group(limits_told(run), points=run.points, styles=styles),
        )
    if limits_told(run)["width_mag"].notna().any():
        yield FigureSpec(
            f"completeness_curves-{safe_name(point)}",
            f"Completeness and its fitted curve, {at_point(point)}",
            "Points are the bins. Lines are the logistic with floor and ceiling, fitted to the "
            "point sources one by one. Ticks with bars near 0.5 and 0.9 are m50 and m90 with their "
            "intervals, shifted vertically so that none covers another.",
            f"Binned completeness against true magnitude with fitted curves for {who}, one panel a "
            "group. The limits are in the tables.",
            lambda: completeness_curves(run.scores, limits_told(run), point=point, styles=styles),
        )


def _limits(run: Run) -> tuple[Table, ...]:
    return (limits_table(run),) if len(run.limits) else ()


DEPTH = Section(
    name="limits",
    title="Limits",
    introduction=lambda run: "" if len(run.limits) else "The run folder has no limits.",
    first_tables=_limits,
    figures=_figures,
    tables=lambda run: present(shape_table(run)),
    summary=_limits,
    shown_when_empty=True,
)
