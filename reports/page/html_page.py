"""The report page: one self-contained HTML file that needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from skyduel.core.errors import BadInputError
from skyduel.reports.page.viewer import safe_json
from skyduel.reports.sections.all_sections import SECTIONS
from skyduel.reports.sections.section import Section
from skyduel.reports.svg.elements import PICTURE
from skyduel.reports.tables.run_tables import Table
from skyduel.reports.text.no_break import no_break
from skyduel.run_folder.read_run import Run

__all__ = ["PageFigure", "inline_svg", "page_html"]


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page: the name of its section, its texts, and its picture as safe markup."""

    name: str
    section: str
    title: str
    caption: str
    picture: Markup


@dataclass(frozen=True)
class _ShownSection:
    """A section as the template reads it: its texts, tables, figures and values for one run."""

    name: str
    title: str
    introduction: str
    first_tables: tuple[Table, ...]
    figures: tuple[PageFigure, ...]
    tables: tuple[Table, ...]
    note: str
    folded_tables: bool
    opened: bool
    css_class: str
    template: str
    values: Mapping[str, Any]


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("skyduel.reports"),
    autoescape=True,  # names and reasons come from files
    undefined=StrictUndefined,
    trim_blocks=False,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["safe_json"] = safe_json
_ENVIRONMENT.filters["no_break"] = no_break


def page_html(
    run: Run,
    figures: Sequence[PageFigure],
    *,
    gallery: Any = None,
    viewer: Any = None,
    scripts: Sequence[str] = (),
    png: bool = False,
) -> str:
    """Return the page of a run.

    Parameters
    ----------
    run : Run
        The run.
    figures : sequence of PageFigure
        Its figures.
    gallery, viewer : object, optional
        Values of ``gallery.html.j2`` and ``viewer.html.j2``. A section whose
        value is None is left out.
    scripts : sequence of str
        JavaScript of these two sections, written by this package and not read
        from a file of the run. The page allows only scripts with the hashes of
        these.
    png : bool
        Whether the figures are there as PNG, too.

    Returns
    -------
    str
        HTML. Everything that came from files is escaped; no address outside
        the page is named.
    """
    given = {"gallery": gallery, "viewer": viewer}
    shown = [_shown(section, run, figures, given.get(section.name)) for section in SECTIONS]
    return _ENVIRONMENT.get_template("report.html.j2").render(
        name=run.name,
        subtitle=_subtitle(run),
        sections=[s for s in shown if s is not None],
        gallery=gallery,
        viewer=viewer,
        scripts=[_script(s) for s in scripts],
        script_policy=_script_policy(scripts),
        endings=("png", "svg", "csv") if png else ("svg", "csv"),
    )


def _shown(
    section: Section, run: Run, figures: Sequence[PageFigure], given: Any
) -> _ShownSection | None:
    """Return a section with its content, or None if it is empty and not shown then."""
    mine = tuple(f for f in figures if f.section == section.name)
    first, below = tuple(section.first_tables(run)), tuple(section.tables(run))
    values = dict(section.values(run)) if given is None else {section.name: given}
    if not (mine or first or below or any(values.values()) or section.shown_when_empty):
        return None
    return _ShownSection(
        name=section.name,
        title=section.title,
        introduction=section.introduction(run),
        first_tables=first,
        figures=mine,
        tables=below,
        note=section.note(run),
        folded_tables=section.folded_tables,
        opened=section.opened,
        css_class=section.css_class,
        template=section.template,
        values=values,
    )


def inline_svg(svg: str, name: str, alt: str) -> Markup:
    """Return an SVG of `skyduel.reports.svg` as an element of the page.

    Ids are prefixed with `name`, so that those of two figures differ.
    """
    opening, body = re.match(r"<svg[^>]*>", svg), svg
    assert opening
    if "<defs>" in svg:
        body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
        body = body.replace(f'href="#{PICTURE}"', f'href="#{name}-{PICTURE}"')
        body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    box = re.search(r'viewBox="\S+ \S+ (\S+) [^"]*"', opening.group())
    assert box
    # Text has the same size in all figures where there is room.
    style = f"max-width: {1.5 * float(box.group(1)):.0f}px"
    fonts = " ".join(re.findall(r'font-[a-z]+="[^"]*"', opening.group()))
    start = f'<svg {box.group()} {fonts} style="{style}" role="img" '
    start += f'aria-label="{html.escape(alt)}">'
    return Markup(start + body[opening.end() :])


def _script(source: str) -> Markup:
    if "</" in source or "<!--" in source:
        raise BadInputError("a script of the page", "no '</' or '<!--' inside", "one")
    return Markup(source)


def _script_policy(scripts: Sequence[str]) -> Markup:
    """Return the part of the page's content security policy that allows only these scripts."""
    digests = [hashlib.sha256(s.encode("utf-8")).digest() for s in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(d).decode('ascii')}'" for d in digests)
    return Markup(f"; script-src {hashes}" if hashes else "")


def _subtitle(run: Run) -> str:
    record = run.record
    n = len(run.scored_frames)
    parts = [
        f"{len(run.detectors)} detector{'' if len(run.detectors) == 1 else 's'}",
        f"{n} frame{'' if n == 1 else 's'} scored",
        f"data set {record.dataset.name or 'unnamed'}",
        f"status: {record.status or 'unknown'}",
    ]
    if record.finished_utc:
        parts.append(f"finished {record.finished_utc}")
    return " · ".join(parts)
