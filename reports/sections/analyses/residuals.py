"""Section on measured positions and magnitudes against the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.binned_scores import migrations
from skyduel.reports.figures.residuals import residuals
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
    table_at_point,
)
from skyduel.reports.style import Style, point_name
from skyduel.reports.tables.rows import rows_in_order
from skyduel.reports.tables.run_tables import Table, number, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["RESIDUALS", "residuals_table"]

_MEASURED: Final[Mapping[str, str]] = {
    "x": "x [px]",
    "y": "y [px]",
    "mag": "magnitude [mag]",
    "length_ratio": "length of streaks, found over true",
    "angle": "angle of streaks [deg]",
}


def residuals_table(run: Run, point: str) -> Table | None:
    """Return bias and scatter of the measured positions and magnitudes, all bins together."""
    table = run.analysis("astrometry")
    if not len(table):
        return None
    part = table[(table["bin"] == ALL_BINS) & (table["point"] == point) & (table["n"] > 0)]
    part = part.drop_duplicates(["group", "detector", "quantity"])
    rows = [
        (
            text(row["group"]),
            text(row["detector"]),
            text(_MEASURED.get(row["quantity"], row["quantity"])),
            number(row["bias"], 4),
            number(row["scatter"], 4),
            number(row["rms"], 4),
            number(row["n"]),
        )
        for row in rows_in_order(run, part)
    ]
    return Table(
        f"Found sources measured against the truth, operating point: {point_name(point)}",
        ("Group", "Detector", "Measured", "Bias (median)", "Scatter", "rms", "n"),
        tuple(rows),
        n_heads=3,
        note="Found minus true. Scatter is 1.4826 times the median absolute deviation. Positions "
        "come from pairs, so no error exceeds the pairing radius. Magnitudes are measured in the "
        "common aperture, which is the same for every detector.",
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point, who = run.headline_point, detector_names(run)
    if (astrometry := table_at_point(run, "astrometry")) is not None:
        yield FigureSpec(
            f"residuals-{safe_name(point)}",
            f"Positions and magnitudes against the truth, {at_point(point)}",
            "Upper row: scatter; lower row: bias. The numbers at the foot are the sources in each "
            "bin, given as a range where the detectors found different ones. A detector that finds "
            "more faint sources also measures more sources that are hard to measure.",
            f"Scatter and bias of x, y and magnitude of the sources that {who} found.",
            lambda: residuals(astrometry, point=point, styles=styles),
        )
    if (migration := table_at_point(run, "migration")) is not None:
        yield FigureSpec(
            f"migration-{safe_name(point)}",
            f"Found sources by true and measured magnitude, {at_point(point)}",
            "A source off the outlined diagonal counts in one bin for completeness and in another "
            "bin for purity.",
            f"One matrix a detector ({who}) with the number of found sources in each pair of true "
            "and measured bin.",
            lambda: migrations(migration, point=point),
        )


RESIDUALS = Section(
    name="measures",
    title="Positions and magnitudes",
    figures=_figures,
    tables=lambda run: present(residuals_table(run, run.headline_point)),
)
