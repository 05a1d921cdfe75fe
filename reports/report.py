"""Write the report of a run: figures, page and Markdown, from the files of its folder."""

from __future__ import annotations

from pathlib import Path

from skyduel.reports.page.html_page import PageFigure, inline_picture, inline_svg, page_html
from skyduel.reports.page.interactive import interactive
from skyduel.reports.page.markdown_report import markdown
from skyduel.reports.page.write_files import figure_files, write_file
from skyduel.reports.sections.all_sections import report_figures
from skyduel.run_folder.read_run import load_run

__all__ = ["write_report"]


def write_report(run_folder: str | Path) -> Path:
    """Write the report of a run into its folder; return the path of the page.

    Parameters
    ----------
    run_folder : str or Path
        A run folder (`docs/run-folder.md`).

    Returns
    -------
    Path
        ``report/index.html``. Beside it stand ``report.md`` and, under
        ``figures/``, each figure as PNG, SVG and the CSV of what it draws.
        Every file is replaced as a whole. Writing twice gives the same bytes.

    Raises
    ------
    BadInputError
        If the folder is not a run that this version reads, or cannot be
        written to.
    """
    run = load_run(run_folder)
    paths = run.paths
    entries = []
    for section, spec in report_figures(run):  # one by one, so that only one is in memory
        files = figure_files(*spec.draw())
        for ending, content in files.items():
            write_file(paths.figure(spec.name, ending), content)
        # A frame's pixels are smaller as a picture; lines and letters are sharper as SVG.
        picture = (
            inline_picture(files["png"], spec.alt)
            if spec.raster
            else inline_svg(files["svg"], spec.name, spec.alt)
        )
        entries.append(PageFigure(spec.name, section.name, spec.title, spec.caption, picture))
    write_file(paths.markdown, markdown(run))
    parts = interactive(run, run.headline_point)
    page = page_html(
        run, entries, gallery=parts.gallery, viewer=parts.viewer, scripts=parts.scripts
    )
    return write_file(paths.page, page)
