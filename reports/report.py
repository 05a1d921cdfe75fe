"""Drawing a run's report: figures, page and Markdown, from the run folder's files alone."""

from __future__ import annotations

from pathlib import Path

from skyduel.reports.figures.figure_list import FRAMES_CHOICE, drawings
from skyduel.reports.page.html_page import PageFigure, inline_picture, inline_svg, page_html
from skyduel.reports.page.interactive import interactive
from skyduel.reports.page.write_files import figure_files, write_file
from skyduel.reports.text.markdown_summary import markdown
from skyduel.run_folder.read_run import load_run

__all__ = ["write_report"]


def write_report(run_folder: str | Path) -> Path:
    """Draw a run's report into its folder; return the page's path.

    Parameters
    ----------
    run_folder : str or Path
        A run folder (`docs/run-folder.md`).

    Returns
    -------
    Path
        ``report/index.html``. Beside it stand ``report.md`` and, under
        ``figures/``, each figure as PNG, SVG and the CSV of what it draws.
        Every file is replaced whole, and drawing twice gives the same bytes.

    Raises
    ------
    BadInputError
        If the folder is not a run that this version reads, or cannot be
        written to.
    """
    run = load_run(run_folder)
    place = run.path / "report"
    entries = []
    for drawing in drawings(run):  # one by one, so that only one is in memory
        files = figure_files(*drawing.draw())
        for ending, content in files.items():
            write_file(place / "figures" / f"{drawing.name}.{ending}", content)
        # A frame's pixels are smaller as a picture; lines and letters are sharper as SVG.
        picture = (
            inline_picture(files["png"], drawing.alt)
            if drawing.section == "frames"
            else inline_svg(files["svg"], drawing.name, drawing.alt)
        )
        entries.append(
            PageFigure(drawing.name, drawing.section, drawing.title, drawing.caption, picture)
        )
    write_file(place / "report.md", markdown(run))
    parts = interactive(run, run.headline_point)
    page = page_html(
        run,
        entries,
        frames_choice=FRAMES_CHOICE,
        gallery=parts.gallery,
        viewer=parts.viewer,
        scripts=parts.scripts,
    )
    return write_file(place / "index.html", page)
