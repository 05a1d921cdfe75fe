"""A run in a few lines: plain data for a terminal, and Markdown for a code review."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skyduel.reports.tables.analysis_tables import ideal_table, precision_table
from skyduel.reports.tables.run_tables import (
    Table,
    cost_table,
    failures_table,
    limits_table,
    scores_table,
)
from skyduel.reports.text.paired_sentences import differences_table
from skyduel.reports.text.verdict import cautions, confidence, leaders_table, verdict
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS

__all__ = ["markdown", "markdown_cell", "summary_table"]

_QUANTITIES = ("completeness", "purity", "f1", "f2", "false_per_mpix")


def summary_table(run: Run, group: str = ALL_GROUPS) -> pd.DataFrame:
    """Return the scores over all bins of one group, one row a detector and operating point.

    Returns
    -------
    DataFrame
        `detector`, `point`; each of `completeness`, `purity`, `f1`, `f2` and
        `false_per_mpix` with its `_lo` and `_hi`; `snr50` with its own;
        `truths`, `detections`, `frames`; `mpix_per_s` and `peak_memory_mib`.
        Undefined is NaN.
    """
    cost = {str(d.get("name")): d for d in run.record.get("detectors", ())}
    scores = run.scores[(run.scores["bin"] == ALL_BINS) & (run.scores["group"] == group)]
    of = {
        (str(r["detector"]), str(r["point"]), str(r["quantity"])): r
        for r in scores.to_dict("records")
    }
    limits = {
        (str(r["detector"]), str(r["point"])): r
        for r in run.limits[run.limits["group"] == group].to_dict("records")
    }
    rows: list[dict[str, Any]] = []
    for point in run.points:
        for detector in run.detectors:
            found = {q: of.get((detector, point, q), {}) for q in _QUANTITIES}
            if not any(found.values()):
                continue
            row: dict[str, Any] = {"detector": detector, "point": point}
            for quantity, values in found.items():
                row[quantity] = values.get("value", np.nan)
                row[f"{quantity}_lo"] = values.get("lo", np.nan)
                row[f"{quantity}_hi"] = values.get("hi", np.nan)
            limit = limits.get((detector, point), {})
            row |= {c: limit.get(c, np.nan) for c in ("snr50", "snr50_lo", "snr50_hi")}
            row["truths"] = found["completeness"].get("n", np.nan)
            row["detections"] = found["purity"].get("n", np.nan)
            row["frames"] = found["completeness"].get("n_frames", np.nan)
            for key in ("mpix_per_s", "peak_memory_mib"):
                value = cost.get(detector, {}).get(key)
                row[key] = np.nan if value is None else float(value)
            rows.append(row)
    columns = ["detector", "point"]
    for quantity in (*_QUANTITIES, "snr50"):
        columns += [quantity, f"{quantity}_lo", f"{quantity}_hi"]
    columns += ["truths", "detections", "frames", "mpix_per_s", "peak_memory_mib"]
    return pd.DataFrame(rows, columns=columns)


def markdown(run: Run) -> str:
    """Return the verdict and the main tables as Markdown; what came from files is escaped."""
    lines = [f"# {markdown_cell(run.name)}", ""]
    for section in verdict(run):
        lines += [f"## {markdown_cell(section.title)}", ""]
        lines += [f"- {markdown_cell(s)}" for s in section.sentences] + [""]
    lines += [markdown_cell(confidence(run)), ""]
    said = cautions(run)
    if said:
        lines += ["## Before trusting it", "", *(f"- {markdown_cell(s)}" for s in said), ""]
    tables = [failures_table(run)] if run.failures else []
    if _several(run):
        tables.append(leaders_table(run))
    tables.append(scores_table(run, [ALL_GROUPS, *_several(run)], "Scores over all magnitudes"))
    if len(run.comparisons):
        tables.append(differences_table(run, run.headline_point))
    if len(run.limits):
        tables.append(limits_table(run))
    tables += [_whole(t) for t in (ideal_table(run), precision_table(run)) if t is not None]
    tables.append(cost_table(run))
    for table in tables:
        lines += [*_table(table), ""]
    return "\n".join(lines)


def markdown_cell(text: str) -> str:
    """Return text that Markdown shows as it is, in one line and inside a table's cell."""
    flat = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(flat, quote=False))


def _several(run: Run) -> tuple[str, ...]:
    return run.groups if len(run.groups) > 1 else ()


def _whole(table: Table) -> Table:
    """Return a table's rows of all groups together; the page has the others."""
    return replace(table, rows=tuple(r for r in table.rows if r[0].text == ALL_GROUPS))


def _table(table: Table) -> list[str]:
    lines = [f"## {markdown_cell(table.caption)}", ""]
    lines.append("| " + " | ".join(markdown_cell(c) for c in table.columns) + " |")
    heads = table.n_heads
    lines.append("|" + "|".join("---" if i < heads else "---:" for i in range(len(table.columns))))
    lines[-1] += "|"
    lines += ["| " + " | ".join(markdown_cell(c.text) for c in row) + " |" for row in table.rows]
    if table.note:
        lines += ["", markdown_cell(table.note)]
    return lines
