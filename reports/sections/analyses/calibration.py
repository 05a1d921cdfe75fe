"""Section on scores as probabilities, and on purity chosen beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.evaluation.scoring.metrics import metric
from skyduel.reports.figures.calibration import purity_choices, reliability_diagrams
from skyduel.reports.sections.section import FigureSpec, Section, present
from skyduel.reports.style import Style
from skyduel.reports.tables.rows import rows_in_order
from skyduel.reports.tables.run_tables import Table, interval, number, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["CALIBRATION", "calibration_table", "purity_table"]


def calibration_table(run: Run) -> Table | None:
    """Return the calibration errors of the scores."""
    errors = run.analysis("calibration_error")
    if not len(errors):
        return None
    errors = errors[errors["bin"] == ALL_BINS]
    rows = [
        (
            text(row["group"]),
            text(row["detector"]),
            text({"fitted": "fitted to the calibration frames"}.get(row["score_is"], "its own")),
            number(row["ece"], 4),
            number(row["ece_chance"], 4),
            number(row["ece_equal_count"], 4),
            number(row["brier"], 4),
            number(row["predicted"], 3),
            number(row["right"], 3),
            number(row["n"]),
        )
        for row in rows_in_order(run, errors)
    ]
    return Table(
        "Calibration of the scores",
        (
            "Group",
            "Detector",
            "Probability",
            "Expected calibration error",
            "if exactly true",
            "in bins of equal count",
            "Brier score",
            "Mean probability",
            "Share right",
            "n detections",
        ),
        tuple(rows),
        n_heads=2,
        note="Less is better. “If exactly true” is the error that chance alone would give.",
    )


def purity_table(run: Run) -> Table | None:
    """Return the purity wanted beforehand and the purity reached."""
    choices = run.analysis("purity_choice")
    if not len(choices):
        return None
    rows = [
        (
            text(row["group"]),
            text(row["detector"]),
            text({"calibration": "calibration frames"}.get(row["chosen_by"], "the score itself")),
            number(row["wanted"], 2),
            number(row["threshold"], 4),
            interval(row, ("purity", "lo", "hi"), 3),
            number(row["n"]),
            interval(row, ("completeness", "completeness_lo", "completeness_hi"), 3),
        )
        for row in rows_in_order(run, choices)
    ]
    return Table(
        "Purity wanted beforehand, and reached on the test frames",
        (
            "Group",
            "Detector",
            "Chosen by",
            "Wanted",
            "Threshold",
            "Purity reached",
            "n detections",
            metric("completeness").label,
        ),
        tuple(rows),
        n_heads=3,
        note="A dash: no threshold reaches the purity.",
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    table, errors = run.analysis("reliability"), run.analysis("calibration_error")
    if len(table) and (table["score_is"] != "unknown").any():
        yield FigureSpec(
            "reliability",
            "How often a detection of a stated probability is right",
            "On the dotted diagonal a score is a true probability. Below the diagonal the detector "
            "is overconfident. Ten bins of equal width. A detector is not drawn if its score is no "
            "probability and could not be turned into one.",
            "Share of right detections against the probability stated, one panel a group, with "
            "the expected calibration error of each detector.",
            lambda: reliability_diagrams(table, errors, styles=styles),
        )
    choices = run.analysis("purity_choice")
    if len(choices):
        yield FigureSpec(
            "purity_choice",
            "Purity wanted beforehand, and reached",
            "The threshold was chosen without the test frames. Bars are intervals. Above the dark "
            "line the purity reached is higher than the purity wanted.",
            "Purity reached on the test frames where 0.9, 0.95 and 0.99 were wanted, one panel a "
            "group. The numbers are in the table.",
            lambda: purity_choices(choices, styles=styles),
        )


CALIBRATION = Section(
    name="calibration",
    title="Calibration of the scores",
    figures=_figures,
    tables=lambda run: present(calibration_table(run), purity_table(run)),
)
