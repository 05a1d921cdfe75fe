"""Write the report of a run: figures, page and Markdown, from the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from skyduel.core.errors import PATH, takes
from skyduel.reports.page.html_page import PageFigure, inline_svg, page_html
from skyduel.reports.page.interactive import Interactive, interactive, page_scripts
from skyduel.reports.page.markdown_report import markdown
from skyduel.reports.page.write_files import csv_text, figure_bytes, write_file
from skyduel.reports.sections.all_sections import HALVES, report_figures
from skyduel.reports.sections.section import Section
from skyduel.reports.svg.backend import as_svg
from skyduel.reports.svg.figure import Figure
from skyduel.run_folder.read_run import Run, load_run

__all__ = ["write_report"]


@takes(run_folder=(*PATH, Run))
def write_report(
    run_folder: str | Path | Run, *, png: bool = False, pool: Executor | None = None
) -> Path:
    """Write the report of a run into its folder; return the path of the page.

    Parameters
    ----------
    run_folder : str, Path or Run
        A run folder (`docs/run-folder.md`), or the run that was loaded from it.
    png : bool
        Whether each figure is also written as PNG, drawn by matplotlib, which
        takes several times as long as everything else.
    pool : Executor, optional
        Of processes. One of them makes half of the report meanwhile.

    Returns
    -------
    Path
        ``report/index.html``. Beside it stand ``report.md`` and, under
        ``figures/``, each figure as SVG and the CSV of what it draws.
        Every file is replaced as a whole; PNG files of an earlier report are
        removed unless they are written anew. Writing twice gives the same bytes.

    Raises
    ------
    BadInputError
        If the folder is not a run that this version reads, or cannot be
        written to.
    """
    run = run_folder if isinstance(run_folder, Run) else load_run(run_folder)
    paths = run.paths
    later = None if pool is None else pool.submit(_second_half_of, run.path)
    figures = _drawn(run, HALVES[0], {})
    text = markdown(run)
    try:
        parts, rest = _second_half(run) if later is None else later.result()
    except BrokenProcessPool:
        parts, rest = _second_half(run)
    figures += rest
    for figure in figures:
        write_file(paths.figure(figure.name, "svg"), figure.svg)
        write_file(paths.figure(figure.name, "csv"), figure.csv)
    _write_pngs(run, png=png)
    write_file(paths.markdown, text)
    page = page_html(
        run,
        [f.entry for f in figures],
        gallery=parts.gallery,
        viewer=parts.viewer,
        scripts=(*page_scripts(), *parts.scripts),
        png=png,
    )
    return write_file(paths.page, page)


@dataclass(frozen=True)
class _Drawn:
    """A figure: its files, and what the page shows."""

    name: str
    svg: str
    csv: str
    entry: PageFigure


def _drawn(run: Run, sections: Sequence[Section], held: Mapping[str, str]) -> list[_Drawn]:
    """Draw the figures of some sections.

    ``held`` names the pictures of frames that the page holds, by frame.
    """
    figures = []
    with as_svg():
        for section, spec in report_figures(run, sections):
            drawn, data = spec.draw()
            figure = cast("Figure", drawn)
            on_page = figure.svg(held[spec.frame]) if spec.frame in held else ""
            svg = figure.svg()
            picture = inline_svg(on_page or svg, spec.name, spec.alt)
            entry = PageFigure(spec.name, section.name, spec.title, spec.caption, picture)
            figures.append(_Drawn(spec.name, svg, csv_text(data), entry))
    return figures


def _second_half(run: Run) -> tuple[Interactive, list[_Drawn]]:
    """Return the gallery and the viewer, and the figures of the later sections."""
    parts = interactive(run, run.headline_point)
    held = {p.frame: p.id for p in parts.viewer.pictures} if parts.viewer else {}
    return parts, _drawn(run, HALVES[1], held)


def _second_half_of(run_folder: Path) -> tuple[Interactive, list[_Drawn]]:
    return _second_half(load_run(run_folder))


def _write_pngs(run: Run, *, png: bool) -> None:
    """Write every figure as PNG, or remove those of an earlier report, which may differ."""
    for _, spec in report_figures(run):
        path = run.paths.figure(spec.name, "png")
        if png:
            write_file(path, figure_bytes(spec.draw()[0]))
        else:
            path.unlink(missing_ok=True)
