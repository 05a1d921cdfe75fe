"""The interactive parts of the page: the gallery, the viewer and their scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from skyduel.reports.page.gallery import Gallery, gallery
from skyduel.reports.page.viewer import Viewer, viewer
from skyduel.run_folder.read_run import Run

__all__ = ["Interactive", "interactive", "page_scripts"]

#: Scripts of the viewer; each uses those before it.
_VIEWER_SCRIPTS: Final = ("viewer-data.js", "viewer-draw.js", "viewer-facts.js", "viewer.js")
_GALLERY_SCRIPTS: Final = ("gallery.js",)
#: Scripts of every page: the first figure, and the folded sections.
_PAGE_SCRIPTS: Final = ("answer.js", "page.js")


@dataclass(frozen=True)
class Interactive:
    """Gallery and viewer, each None where the run has nothing for it, and their scripts."""

    gallery: Gallery | None
    viewer: Viewer | None
    scripts: tuple[str, ...]


def interactive(run: Run, point: str) -> Interactive:
    """Return the gallery and the viewer of a run at an operating point.

    Parameters
    ----------
    run : Run
        The run.
    point : str
        The operating point of the gallery; the viewer starts with it.

    Raises
    ------
    BadInputError
        If a file of the run is unreadable, or pairs point beyond their tables.
    """
    cuts = gallery(run, point)
    frames = viewer(run, point, cuts.frames if cuts else None)
    names = (_VIEWER_SCRIPTS if frames else ()) + (_GALLERY_SCRIPTS if cuts else ())
    return Interactive(cuts, frames, _sources(names))


def page_scripts() -> tuple[str, ...]:
    """Return the scripts of every page."""
    return _sources(_PAGE_SCRIPTS)


def _sources(names: Sequence[str]) -> tuple[str, ...]:
    place = resources.files("skyduel.reports") / "templates"
    return tuple((place / name).read_text(encoding="utf-8") for name in names)
