"""The sections of the report, in the order of the page.

The page, its table of contents, the figure files and the Markdown report follow
from this list. A new section is one module and one entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from skyduel.reports.sections.analyses.binned_scores import BINNED_SCORES
from skyduel.reports.sections.analyses.calibration import CALIBRATION
from skyduel.reports.sections.analyses.chance_matches import CHANCE_MATCHES
from skyduel.reports.sections.analyses.error_kinds import ERROR_KINDS_SECTION
from skyduel.reports.sections.analyses.galaxies import GALAXIES
from skyduel.reports.sections.analyses.ideal_observer import IDEAL_OBSERVER
from skyduel.reports.sections.analyses.jia2020 import JIA2020
from skyduel.reports.sections.analyses.residuals import RESIDUALS
from skyduel.reports.sections.analyses.snr_limit import SNR_LIMIT
from skyduel.reports.sections.analyses.suspects import SUSPECTS_SECTION
from skyduel.reports.sections.answer import ANSWER
from skyduel.reports.sections.depth import DEPTH
from skyduel.reports.sections.differences import DIFFERENCES
from skyduel.reports.sections.interactive import GALLERY, VIEWER
from skyduel.reports.sections.precision_recall import PRECISION_RECALL
from skyduel.reports.sections.run_record import COST, FRAMES, HOW_IT_WAS_MADE, TERMS
from skyduel.reports.sections.scores import GROUPS, MAGNITUDE, SCORES
from skyduel.reports.sections.section import FigureSpec, Section
from skyduel.reports.sections.verdict import CAUTIONS, FAILURES, VERDICT
from skyduel.reports.style import detector_styles
from skyduel.run_folder.read_run import Run

__all__ = ["HALVES", "SECTIONS", "report_figures"]

#: All sections, in the order of the page.
SECTIONS: Final[tuple[Section, ...]] = (
    ANSWER,
    VERDICT,
    CAUTIONS,
    FAILURES,
    SCORES,
    MAGNITUDE,
    GROUPS,
    PRECISION_RECALL,
    DEPTH,
    IDEAL_OBSERVER,
    GALAXIES,
    DIFFERENCES,
    ERROR_KINDS_SECTION,
    GALLERY,
    SUSPECTS_SECTION,
    VIEWER,
    CALIBRATION,
    RESIDUALS,
    BINNED_SCORES,
    SNR_LIMIT,
    CHANCE_MATCHES,
    JIA2020,
    COST,
    FRAMES,
    HOW_IT_WAS_MADE,
    TERMS,
)
#: The sections in two parts. Gallery and viewer, which the second part makes as well, take as long
#: as all figures but those with the picture of a frame, which share it with the viewer.
HALVES: Final = (SECTIONS[: SECTIONS.index(FRAMES)], SECTIONS[SECTIONS.index(FRAMES) :])


def report_figures(
    run: Run, sections: Sequence[Section] = SECTIONS
) -> Iterator[tuple[Section, FigureSpec]]:
    """Yield each figure of a run's report with its section, in the order of the page.

    Parameters
    ----------
    run : Run
        The run. A figure is left out where it lacks its table.
    sections : sequence of Section
        The sections; by default all. Every detector has the same style in all figures.
    """
    styles = detector_styles(run.detectors)
    for section in sections:
        for figure in section.figures(run, styles):
            yield section, figure
