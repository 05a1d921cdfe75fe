"""Section on completeness and purity along other axes than magnitude."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from skyduel.core.io.atomic_files import safe_name
from skyduel.evaluation.scoring.metrics import metric
from skyduel.evaluation.table_keys import range_label
from skyduel.reports.figures.binned_scores import binned_scores_overview
from skyduel.reports.sections.section import (
    FigureSpec,
    Section,
    at_point,
    detector_names,
    present,
    table_at_point,
)
from skyduel.reports.style import Style, point_name
from skyduel.reports.tables.run_tables import Cell, Table, interval, number, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS

__all__ = ["BINNED_SCORES", "binned_scores_table"]

_FACETS: Final[Mapping[str, str]] = {
    "snr": "ideal S/N",
    "density": "sources per 1000 px²",
    "neighbour": "nearest source [FWHM]",
    "radius": "distance from the centre [half diagonals]",
    "kind": "kind",
    "measured_snr": "measured S/N",
}


def binned_scores_table(run: Run, point: str, quantity: str) -> Table | None:
    """Return completeness or purity along other axes, all groups together."""
    facets = run.analysis("facets")
    if not len(facets):
        return None
    part = facets[
        (facets["point"] == point)
        & (facets["group"] == ALL_GROUPS)
        & (facets["quantity"] == quantity)
        & facets["facet"].isin(list(_FACETS))
        & (facets["n"] > 0)
    ]
    of = {(str(r["facet"]), int(r["bin"]), str(r["detector"])): r for r in part.to_dict("records")}
    edges = part.drop_duplicates(["facet", "bin"])
    rows = []
    for edge in edges.sort_values(["facet", "bin"], kind="stable").to_dict("records"):
        found = [of.get((str(edge["facet"]), int(edge["bin"]), d)) for d in run.detectors]
        cells: list[Cell] = []
        for f in found:
            cells += [interval(f, ("value", "lo", "hi"), 3), number(None if f is None else f["n"])]
        lo, hi = float(edge["bin_lo"]), float(edge["bin_hi"])
        label = str(edge["label"]) or (
            f"{lo:.4g} or more" if np.isinf(hi) else range_label(lo, hi, ".4g")
        )
        rows.append((text(_FACETS[str(edge["facet"])]), text(label), *cells))
    if not rows:
        return None
    return Table(
        f"{metric(quantity).label} along other axes, operating point: {point_name(point)}",
        ("Axis", "Bin", *(c for d in run.detectors for c in (d, "n"))),
        tuple(rows),
        n_heads=2,
    )


def _figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point, table = run.headline_point, table_at_point(run, "facets")
    if table is None:
        return
    yield FigureSpec(
        f"facets-{safe_name(point)}",
        f"Completeness and purity along other axes, {at_point(point)}",
        "All bins are drawn equally wide, with their edges between them. The strip below zero "
        "holds the numbers in each bin.",
        f"Nine panels: completeness of {detector_names(run)} by S/N, density, neighbour, place "
        "and kind, and purity by S/N, place, kind and score.",
        lambda: binned_scores_overview(table, point=point, styles=styles),
    )


def _tables(run: Run) -> tuple[Table, ...]:
    quantities = ("completeness", "purity")
    return present(*(binned_scores_table(run, run.headline_point, q) for q in quantities))


BINNED_SCORES = Section(name="binnings", title="Along other axes", figures=_figures, tables=_tables)
