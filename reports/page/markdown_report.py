"""The report as Markdown, for a code review: the verdict and the main tables."""

from __future__ import annotations

import html
import re

from skyduel.core.errors import takes
from skyduel.reports.sections.all_sections import SECTIONS
from skyduel.reports.tables.run_tables import Table
from skyduel.reports.text.headline import headline
from skyduel.reports.text.verdict import cautions, confidence, verdict
from skyduel.run_folder.read_run import Run

__all__ = ["markdown", "markdown_cell"]


@takes(run=Run)
def markdown(run: Run) -> str:
    """Return the headline, the verdict and the main tables as Markdown; text from files is escaped.

    The tables are the `summary` of each section, in the order of the page.
    """
    lines = [f"# {markdown_cell(run.name)}", "", f"**{markdown_cell(headline(run))}**", ""]
    for part in verdict(run):
        lines += [f"## {markdown_cell(part.title)}", ""]
        lines += [f"- {markdown_cell(s)}" for s in part.sentences] + [""]
    lines += [markdown_cell(confidence(run)), ""]
    warnings = cautions(run)
    if warnings:
        lines += ["## Before trusting it", "", *(f"- {markdown_cell(s)}" for s in warnings), ""]
    for section in SECTIONS:
        for table in section.summary(run):
            lines += [*_table(table), ""]
    return "\n".join(lines)


def markdown_cell(text: str) -> str:
    """Return text that Markdown shows as it is, in one line and inside a table's cell."""
    flat = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(flat, quote=False))


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
