"""Sections at the head of the report: the verdict, the cautions, and the failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skyduel.reports.sections.section import Section
from skyduel.reports.tables.run_tables import Table, failures_table
from skyduel.reports.text.verdict import cautions, confidence, leaders_table, rules, verdict
from skyduel.run_folder.read_run import Run

__all__ = ["CAUTIONS", "FAILURES", "VERDICT"]


def _verdict(run: Run) -> Mapping[str, Any]:
    return {
        "verdict": verdict(run),
        "leaders": leaders_table(run) if len(run.groups) > 1 else None,
        "rules": (confidence(run), *rules(run)),
    }


def _failures(run: Run) -> tuple[Table, ...]:
    return (failures_table(run),) if run.failures else ()


VERDICT = Section(name="verdict", title="Verdict", template="verdict.html.j2", values=_verdict)
CAUTIONS = Section(
    name="cautions",
    title="Before trusting it",
    template="cautions.html.j2",
    values=lambda run: {"cautions": cautions(run)},
)
FAILURES = Section(
    name="failures",
    title="Failures",
    first_tables=_failures,
    summary=_failures,
    opened=True,
    css_class="wrap",
)
