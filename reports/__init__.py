"""The report of a run: figures and one page, from the files of the run folder.

`write_report` writes the page, the Markdown and all figures of a run;
`write_pdf` prints the page. The ``plot_*`` functions draw on a given axis and
return the table of the drawn numbers. `detector_styles` gives every detector
the colour and marker that it has in the report. The functions that return
whole figures are in the modules of `skyduel.reports.figures`.
"""

from __future__ import annotations

from skyduel.reports.figures.binned_scores import (
    plot_binned_scores,
    plot_ignore_limit,
    plot_migration,
)
from skyduel.reports.figures.calibration import plot_purity_choice, plot_reliability
from skyduel.reports.figures.differences import plot_differences, plot_forest
from skyduel.reports.figures.error_kinds import plot_error_kinds, plot_error_kinds_by_magnitude
from skyduel.reports.figures.frame_overlay import frame_marks, plot_marks
from skyduel.reports.figures.ideal_observer import plot_completeness_curve, plot_ideal
from skyduel.reports.figures.jia2020 import plot_jia2020
from skyduel.reports.figures.residuals import plot_residuals
from skyduel.reports.figures.score_axes import plot_precision_recall, plot_score
from skyduel.reports.page.markdown_report import markdown
from skyduel.reports.page.pdf import write_pdf
from skyduel.reports.report import write_report
from skyduel.reports.style import detector_styles
from skyduel.reports.tables.summary_table import summary_table
from skyduel.reports.text.verdict import cautions, verdict

__all__ = [
    "cautions",
    "detector_styles",
    "frame_marks",
    "markdown",
    "plot_binned_scores",
    "plot_completeness_curve",
    "plot_differences",
    "plot_error_kinds",
    "plot_error_kinds_by_magnitude",
    "plot_forest",
    "plot_ideal",
    "plot_ignore_limit",
    "plot_jia2020",
    "plot_marks",
    "plot_migration",
    "plot_precision_recall",
    "plot_purity_choice",
    "plot_reliability",
    "plot_residuals",
    "plot_score",
    "summary_table",
    "verdict",
    "write_pdf",
    "write_report",
]
