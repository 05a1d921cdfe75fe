"""Figures and the report page, drawn from the files of a run.

The page, the Markdown and every figure of a run folder come from
`write_report`, its PDF from `write_pdf`; the ``plot_*`` functions draw on
one's own axis, and every function that draws returns the numbers it drew.
"""

from __future__ import annotations

from skyduel.reports.figures.binned_scores import (
    binned_scores_overview,
    ignore_limits,
    migrations,
    plot_binned_scores,
    plot_ignore_limit,
    plot_migration,
)
from skyduel.reports.figures.calibration import (
    plot_purity_choice,
    plot_reliability,
    purity_choices,
    reliability_diagrams,
)
from skyduel.reports.figures.differences import (
    differences_by_group,
    differences_by_magnitude,
    plot_differences,
    plot_forest,
)
from skyduel.reports.figures.error_kinds import (
    error_kinds_by_group,
    error_kinds_by_magnitude,
    plot_error_kinds,
    plot_error_kinds_by_magnitude,
)
from skyduel.reports.figures.frame_overlay import frame_figure, frame_marks, plot_marks
from skyduel.reports.figures.ideal_observer import (
    completeness_and_ideal,
    completeness_curves,
    fitted_completeness,
    ideal_distance,
    plot_completeness_curve,
    plot_ideal,
)
from skyduel.reports.figures.jia2020 import jia2020_layout, plot_jia2020
from skyduel.reports.figures.residuals import plot_residuals, residuals
from skyduel.reports.figures.score_axes import plot_groups, plot_precision_recall, plot_score
from skyduel.reports.figures.scores import (
    limits_by_group,
    precision_recall,
    scores_by_group,
    scores_by_magnitude,
)
from skyduel.reports.page.markdown_report import markdown
from skyduel.reports.page.pdf import find_browser, write_pdf
from skyduel.reports.report import write_report
from skyduel.reports.style import Style, detector_styles
from skyduel.reports.tables.summary_table import summary_table
from skyduel.reports.text.verdict import cautions, verdict

__all__ = [
    "Style",
    "binned_scores_overview",
    "cautions",
    "completeness_and_ideal",
    "completeness_curves",
    "detector_styles",
    "differences_by_group",
    "differences_by_magnitude",
    "error_kinds_by_group",
    "error_kinds_by_magnitude",
    "find_browser",
    "fitted_completeness",
    "frame_figure",
    "frame_marks",
    "ideal_distance",
    "ignore_limits",
    "jia2020_layout",
    "limits_by_group",
    "markdown",
    "migrations",
    "plot_binned_scores",
    "plot_completeness_curve",
    "plot_differences",
    "plot_error_kinds",
    "plot_error_kinds_by_magnitude",
    "plot_forest",
    "plot_groups",
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
    "precision_recall",
    "purity_choices",
    "reliability_diagrams",
    "residuals",
    "scores_by_group",
    "scores_by_magnitude",
    "summary_table",
    "verdict",
    "write_pdf",
    "write_report",
]
