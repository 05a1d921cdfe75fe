"""`skyduel report`: draw a run's report again from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from duel.console import out

__all__ = ["NAME", "command"]

NAME = "report"


def command(folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]) -> None:
    """Draw the report of a run again, from the files of its folder alone.

    Writes report/index.html, report/report.md and the figures with their tables;
    computes nothing anew, and needs neither the frames nor the detectors.
    """
    from reports import write_report

    out.print(str(write_report(folder)), markup=False, highlight=False, soft_wrap=True)
