"""Section with the figure of Jia et al. (2020) in its own layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.jia2020 import FAULTS, jia2020_layout
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    table_at_point,
)
from skyduel.reports.style import Style
from skyduel.run_folder.read_run import Run

__all__ = ["JIA2020"]


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point, table = run.headline_point, table_at_point(run, "jia2020")
    if table is None:
        return
    yield FigureSpec(
        f"original_layout-{safe_name(point)}",
        f"In the layout of Jia et al. (2020), {at_point(point)}",
        "Upper row: by the rules of that paper. Lower row: by the rules of this program. Faults of "
        f"the paper’s rules: {FAULTS}. Black marks are its published values, where a bin has the "
        "same edges; they were measured on other frames.",
        f"Recall and precision, F1 and F2 of {detector_names(run)} against magnitude, by the "
        "paper’s rules and by sound ones.",
        lambda: jia2020_layout(table, run.scores, point=point, styles=styles),
    )


JIA2020 = Section(name="paper", title="The original paper’s figure", figures=_figures)
