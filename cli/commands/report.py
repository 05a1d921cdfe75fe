"""The command `skyduel report`: write the report of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skyduel.cli.commands.options import check_runs
from skyduel.cli.console import out

__all__ = ["NAME", "command"]

NAME = "report"


def command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Also print the page to report/report.pdf; needs Chromium."),
    ] = False,
    png: Annotated[
        bool,
        typer.Option("--png", help="Also write each figure as PNG; takes several times as long."),
    ] = False,
) -> None:
    """Write the report of a run again, from the files of its folder.

    Writes report/index.html, report/report.md and the figures with their tables. It
    computes no scores and needs neither the frames nor the detectors.
    """
    check_runs(folder)
    from skyduel.runner.execution.worker_start import start_server

    # It loads the modules of a report while this process does.
    start_server(["skyduel.reports.report"])
    from skyduel.reports import write_pdf, write_report
    from skyduel.runner.execution.process_pool import spare_process

    with spare_process() as pool:
        page = write_report(folder, png=png, pool=pool)
    out.print(str(page), markup=False, highlight=False, soft_wrap=True)
    if pdf:
        out.print(str(write_pdf(page)), markup=False, highlight=False, soft_wrap=True)
