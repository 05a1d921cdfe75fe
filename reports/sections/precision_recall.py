"""Section on purity against completeness, with average precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from skyduel.reports.figures.scores import precision_recall
from skyduel.reports.sections.section import FigureSpec, Section, detector_names, present
from skyduel.reports.style import Style
from skyduel.reports.tables.rows import all_groups_only, table_groups
from skyduel.reports.tables.run_tables import Table, number, text
from skyduel.run_folder.read_run import Run

__all__ = ["PRECISION_RECALL", "precision_table"]

_METHODS: Final[Mapping[str, str]] = {
    "position": "by position",
    "coco50": "boxes, IoU 0.5",
    "coco50_95": "boxes, IoU 0.50 … 0.95",
    "voc07": "boxes, IoU 0.5, 11 recalls",
}


def precision_table(run: Run) -> Table | None:
    """Return average precision: one row a group, method and kind."""
    table = run.analysis("average_precision")
    if not len(table):
        return None
    of = {
        (str(r["group"]), str(r["method"]), str(r["kind"]), str(r["detector"])): r
        for r in table.to_dict("records")
    }
    rows = []
    for group in table_groups(run):
        for method, kind in dict.fromkeys((m, k) for g, m, k, _ in of if g == group):
            found = [of.get((group, method, kind, d)) for d in run.detectors]
            if not any(f is not None and np.isfinite(f["value"]) for f in found):
                continue
            rows.append(
                (
                    text(group),
                    text(_METHODS.get(method, method)),
                    text(kind),
                    *(number(None if f is None else f["value"], 3) for f in found),
                    number(next(f["truths"] for f in found if f is not None)),
                )
            )
    return Table(
        "Average precision",
        ("Group", "Pairs", "Kind", *run.detectors, "n truths"),
        tuple(rows),
        n_heads=3,
        note="The area under the precision-recall curve, whatever the operating point. By position "
        "it uses the same pairs as all other scores. By boxes it is COCO’s average precision; over "
        "11 recalls it is that of PASCAL VOC 2007, whose mean over kinds is the mAP of Jia et al. "
        "(2020). A detector that returns "
        "few false rows cannot reach far along the curve.",
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    yield FigureSpec(
        "precision_recall",
        "Purity against completeness as the score threshold is swept",
        "Nearer to the upper right is better. Dotted lines join points of equal F1. Markers are "
        "the operating points, with intervals.",
        f"Curves of purity against completeness for {detector_names(run)}, one panel a group, the "
        "operating points marked.",
        lambda: precision_recall(run.sweep, run.scores, styles=styles),
    )


PRECISION_RECALL = Section(
    name="curves",
    title="Purity against completeness",
    figures=_figures,
    tables=lambda run: present(precision_table(run)),
    summary=lambda run: tuple(map(all_groups_only, present(precision_table(run)))),
    shown_when_empty=True,
)
