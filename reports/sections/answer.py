"""Section that answers the run in one screen: a sentence, one figure, one small table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from skyduel.evaluation.scoring.metrics import metric
from skyduel.evaluation.table_keys import range_label
from skyduel.reports.figures.plot_helpers import LOW_COUNT
from skyduel.reports.figures.scores import completeness_and_purity
from skyduel.reports.sections.section import (
    MOST_GROUPS,
    FigureSpec,
    Section,
    at_point,
    detector_names,
)
from skyduel.reports.style import Style, detector_styles, point_name, shorten
from skyduel.reports.tables.run_tables import Table, interval, number, text
from skyduel.reports.tables.slivers import limits_told
from skyduel.reports.text.headline import headline
from skyduel.reports.text.pitfalls import pitfall_sentences
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import (
    ALL_BINS,
    ALL_GROUPS,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
)

__all__ = ["ANSWER", "answer_data", "answer_table"]

_QUANTITIES: Final = ("completeness", "purity")
_COLUMNS: Final = ("completeness", "purity", "f1")


def answer_table(run: Run) -> Table:
    """Return the main scores over all frames, one row a detector, at the headline point."""
    point, s = run.headline_point, run.scores
    part = s[(s["point"] == point) & (s["group"] == ALL_GROUPS) & (s["bin"] == ALL_BINS)]
    of = {(str(r["detector"]), str(r["quantity"])): r for r in part.to_dict("records")}
    limits = limits_told(run)
    at = limits[(limits["group"] == ALL_GROUPS) & (limits["point"] == EQUAL_PURITY_POINT)]
    limit = {str(r["detector"]): r for r in at.to_dict("records")}
    rows = []
    for d in run.detectors:
        record = run.record.detector(d)
        rows.append(
            (
                text(d),
                *(interval(of.get((d, q)), ("value", "lo", "hi"), 3) for q in _COLUMNS),
                *((number(limit[d]["m50"] if d in limit else None, 2),) if limit else ()),
                number(record.mpix_per_s, 1),
            )
        )
    return Table(
        f"All frames and magnitudes, {at_point(point)}",
        (
            "Detector",
            *(metric(q).short.capitalize() for q in _COLUMNS),
            *((f"m50 at {100 * NOMINAL_PURITY:g} % purity",) if limit else ()),
            "Mpix/s",
        ),
        tuple(rows),
        note="Value (interval). m50: the magnitude at which half of the sources are found; a dash: "
        "no threshold has that purity without leaving out most of the sources."
        if limit
        else "Value (interval).",
    )


def answer_data(run: Run) -> Mapping[str, Any]:
    """Return what the figure's script draws: detectors, groups, points, bins and their values.

    ``values`` has, by group, operating point, quantity and detector, one entry a bin: value,
    lower and upper end of its interval, and n; None where the value is undefined.
    """
    s = run.scores
    groups = [ALL_GROUPS, *run.groups[:MOST_GROUPS]] if len(run.groups) > 1 else [ALL_GROUPS]
    edges = np.isfinite(s["bin_lo"].astype(float)) & np.isfinite(s["bin_hi"].astype(float))
    rows = s[(s["bin"] >= 0) & edges & s["quantity"].isin(_QUANTITIES) & s["group"].isin(groups)]
    bins = rows.drop_duplicates("bin").sort_values("bin")
    order = {int(b): i for i, b in enumerate(bins["bin"])}
    detectors, points = list(run.detectors), list(run.points)
    values: list[Any] = [
        [[[[None] * len(order) for _ in detectors] for _ in _QUANTITIES] for _ in points]
        for _ in groups
    ]
    columns = ["group", "point", "quantity", "detector", "bin", "value", "lo", "hi", "n"]
    for g, p, q, d, b, value, *rest in rows[columns].itertuples(index=False):
        if p in points and d in detectors and np.isfinite(value):
            cell = [_short(value), *map(_short, rest[:2]), int(rest[2])]
            at = values[groups.index(g)][points.index(p)][_QUANTITIES.index(q)]
            at[detectors.index(d)][order[int(b)]] = cell
    styles = detector_styles(detectors)
    return {
        "detectors": [[shorten(d), styles[d].color, styles[d].marker] for d in detectors],
        "groups": ["all frames", *(shorten(g) for g in groups[1:])],
        "points": [point_name(p) for p in points],
        "start": points.index(run.headline_point) if run.headline_point in points else 0,
        "few": LOW_COUNT,
        "quantities": [[metric(q).label, metric(q).axis, metric(q).counted] for q in _QUANTITIES],
        "bins": [
            [float(lo), float(hi)] for lo, hi in zip(bins["bin_lo"], bins["bin_hi"], strict=True)
        ],
        "labels": [
            range_label(lo, hi) for lo, hi in zip(bins["bin_lo"], bins["bin_hi"], strict=True)
        ],
        "values": values,
    }


def _short(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point = run.headline_point
    yield FigureSpec(
        "answer",
        f"Completeness and purity by magnitude, all frames, {at_point(point)}",
        "Bars are intervals; hollow: few sources. The strip below zero holds the numbers in each "
        "bin.",
        f"Completeness and purity against magnitude for {detector_names(run)}, with interval "
        "bars. The numbers are in the tables below.",
        lambda: completeness_and_purity(run.scores, point=point, styles=styles),
    )


def _values(run: Run) -> Mapping[str, Any]:
    return {
        "headline": headline(run),
        "pitfalls": pitfall_sentences(run),
        "table": answer_table(run),
        "data": answer_data(run),
    }


ANSWER = Section(
    name="answer", title="Answer", figures=_figures, template="answer.html.j2", values=_values
)
