"""Figures and the report page, drawn from the files of a run.

The page, the Markdown and every figure of a run folder come from
`write_report`, its PDF from `write_pdf`; the ``plot_*`` functions draw on
one's own axis, and every function that draws returns the numbers it drew.
"""

from __future__ import annotations

from reports.axes import plot_groups, plot_precision_recall, plot_score
from reports.binnings import (
    facets_overview,
    ignore_limits,
    migrations,
    plot_facet,
    plot_ignore_limit,
    plot_migration,
)
from reports.calibration import (
    plot_purity_choice,
    plot_reliability,
    purity_choices,
    reliability_diagrams,
)
from reports.differences import (
    differences_by_group,
    differences_by_magnitude,
    plot_differences,
    plot_forest,
)
from reports.figures import (
    limits_by_group,
    precision_recall,
    scores_by_group,
    scores_by_magnitude,
)
from reports.folder import Run, load_run
from reports.frames import frame_figure, frame_marks, plot_marks
from reports.ideal import (
    completeness_and_ideal,
    completeness_curves,
    fitted_completeness,
    ideal_distance,
    plot_completeness_curve,
    plot_ideal,
)
from reports.mistakes import (
    mistakes_by_group,
    mistakes_by_magnitude,
    plot_mistakes,
    plot_mistakes_by_magnitude,
)
from reports.paper import original_layout, plot_original
from reports.pdf import find_browser, write_pdf
from reports.report import write_report
from reports.residuals import plot_residuals, residuals
from reports.style import Style, styles
from reports.summary import markdown, summary_table
from reports.verdict import cautions, verdict

__all__ = [
    "Run",
    "Style",
    "cautions",
    "completeness_and_ideal",
    "completeness_curves",
    "differences_by_group",
    "differences_by_magnitude",
    "facets_overview",
    "find_browser",
    "fitted_completeness",
    "frame_figure",
    "frame_marks",
    "ideal_distance",
    "ignore_limits",
    "limits_by_group",
    "load_run",
    "markdown",
    "migrations",
    "mistakes_by_group",
    "mistakes_by_magnitude",
    "original_layout",
    "plot_completeness_curve",
    "plot_differences",
    "plot_facet",
    "plot_forest",
    "plot_groups",
    "plot_ideal",
    "plot_ignore_limit",
    "plot_marks",
    "plot_migration",
    "plot_mistakes",
    "plot_mistakes_by_magnitude",
    "plot_original",
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
    "styles",
    "summary_table",
    "verdict",
    "write_pdf",
    "write_report",
]
