"""Figures and the report page, drawn from the files of a run.

The page, the Markdown and every figure of a run folder come from
`write_report`; the ``plot_*`` functions draw on one's own axis.
"""

from __future__ import annotations

from reports.axes import plot_groups, plot_precision_recall, plot_score
from reports.figures import (
    limits_by_group,
    precision_recall,
    scores_by_group,
    scores_by_magnitude,
)
from reports.folder import Run, load_run
from reports.frames import frame_figure, frame_marks, plot_marks
from reports.report import write_report
from reports.style import Style, styles
from reports.summary import markdown, summary_table
from reports.verdict import cautions, verdict

__all__ = [
    "Run",
    "Style",
    "cautions",
    "frame_figure",
    "frame_marks",
    "limits_by_group",
    "load_run",
    "markdown",
    "plot_groups",
    "plot_marks",
    "plot_precision_recall",
    "plot_score",
    "precision_recall",
    "scores_by_group",
    "scores_by_magnitude",
    "styles",
    "summary_table",
    "verdict",
    "write_report",
]
