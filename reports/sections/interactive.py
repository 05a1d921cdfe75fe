"""Sections whose content the page supplies: the gallery of errors and the frame viewer."""

from __future__ import annotations

from skyduel.reports.sections.section import Section

__all__ = ["GALLERY", "VIEWER"]

#: Its value ``gallery`` is a `skyduel.reports.page.gallery.Gallery`.
GALLERY = Section(name="gallery", title="Gallery", template="gallery.html.j2")
#: Its value ``viewer`` is a `skyduel.reports.page.viewer.Viewer`.
VIEWER = Section(name="viewer", title="Frame viewer", template="viewer.html.j2")
