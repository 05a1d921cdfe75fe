"""An SVG figure: panels in rows and columns, a title above and a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from skyduel.reports.pictures import small_uri
from skyduel.reports.svg import elements as svg
from skyduel.reports.svg.axes import Axes, Box
from skyduel.reports.svg.axis import Axis
from skyduel.reports.svg.legend import legend_size, legend_svg
from skyduel.reports.svg.markers import short
from skyduel.reports.svg.panel import Margins, draw_panel, margins
from skyduel.reports.svg.text_width import FONTS, text_width

__all__ = ["Figure"]

#: Points in an inch, and the room between panels and around the figure [pt].
_INCH: Final = 72.0
_GAP: Final = 7.0
_EDGE: Final = 3.0


class Figure:
    """A figure whose methods and arguments are those of matplotlib's ``Figure``.

    Parameters
    ----------
    figsize : tuple of float
        Width and height [inches].
    """

    def __init__(self, figsize: tuple[float, float]) -> None:
        self.width, self.height = figsize[0] * _INCH, figsize[1] * _INCH
        self.grid: list[list[Axes]] = []
        self._title, self._title_size = "", 10.8
        self._legends: list[tuple[Sequence[Any], dict[str, Any]]] = []

    def get_figwidth(self) -> float:
        """Return the width [inches]."""
        return self.width / _INCH

    def subplots(
        self,
        rows: int = 1,
        columns: int = 1,
        *,
        sharex: bool | str = False,
        sharey: bool | str = False,
        squeeze: bool = True,
    ) -> Any:
        """Return an array of new panels; ``sharex`` and ``sharey`` are a bool or ``col``."""

        def shared(how: bool | str) -> list[list[Axis]]:
            whole = Axis()
            by_column = [Axis() for _ in range(columns)]
            return [
                [
                    whole if how is True else by_column[c] if how == "col" else Axis()
                    for c in range(columns)
                ]
                for _ in range(rows)
            ]

        of_x, of_y = shared(sharex), shared(sharey)
        self.grid = [[Axes(of_x[r][c], of_y[r][c]) for c in range(columns)] for r in range(rows)]
        for r, row in enumerate(self.grid):
            for c, ax in enumerate(row):
                ax.outer = (r == rows - 1, c == 0)
                if sharex and r < rows - 1:
                    ax.bottom_labels = False
                if sharey is True and c:
                    ax.left_labels = False
        array = np.empty((rows, columns), dtype=object)
        for r, row in enumerate(self.grid):
            array[r] = row
        if not squeeze:
            return array
        return array.item() if array.size == 1 else array.squeeze()

    def suptitle(self, said: str, *, fontsize: float = 10.8) -> None:
        """Set the title above the panels."""
        self._title, self._title_size = said, fontsize

    def legend(self, handles: Sequence[Any], **look: Any) -> None:
        """Put a legend below the panels."""
        self._legends.append((handles, look))

    def svg(self, picture: str = "") -> str:
        """Return the figure as an SVG document.

        Parameters
        ----------
        picture : str
            Id of an image that the page has already, in place of the figure's own picture;
            it is as many units wide and high as the picture has pixels.
        """
        left, top, width, bottom = _EDGE, _EDGE, self.width - 2 * _EDGE, self.height - _EDGE
        parts = []
        if self._title:
            lines = 1 + self._title.count("\n")
            size = min(
                self._title_size,
                self._title_size * width / max(text_width(self._title, self._title_size), 1.0),
            )
            middle = self.width / 2
            parts.append(svg.text(self._title, middle, top + 2, size, ha="center", va="top"))
            top += 1.2 * size * lines + 7
        for handles, look in reversed(self._legends):
            wide, high = legend_size(handles, look)
            bottom -= high
            parts.append(legend_svg(handles, look, (self.width - wide) / 2, bottom))
            bottom -= 3
        if not picture:
            self._crop()
        parts.append(self._panels(Box(left, top, width, bottom - top)))
        body = "".join(parts)
        if picture:
            body = body.replace(f'href="#{svg.PICTURE}"', f'href="#{picture}"')
        size_pt = f"{short(self.width)} {short(self.height)}"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'width="{short(self.width)}pt" height="{short(self.height)}pt" '
            f'viewBox="0 0 {size_pt}" font-family="{FONTS}" font-size="{svg.TEXT_SIZE:g}">'
            f'{self._definitions(body, picture)}<rect width="100%" height="100%" fill="#ffffff"/>'
            f"{body}</svg>"
        )

    def _panels(self, box: Box) -> str:
        rows, columns = len(self.grid), len(self.grid[0]) if self.grid else 0
        if not rows:
            return ""
        wide, high = box.width / columns, box.height / rows
        there = [
            (r, c, ax)
            for r, row in enumerate(self.grid)
            for c, ax in enumerate(row)
            if not ax.removed
        ]
        # Margins depend on the ticks, these on the size: the second time it is near enough.
        room = {(r, c): Margins(30, 5, 15, 30) for r, c, _ in there}
        for _ in range(2):
            lefts = [max((m.left for (_, k), m in room.items() if k == c), default=0) for c in
                     range(columns)]  # fmt: skip
            rights = [max((m.right for (_, k), m in room.items() if k == c), default=0) for c in
                      range(columns)]  # fmt: skip
            tops = [max((m.top for (k, _), m in room.items() if k == r), default=0) for r in
                    range(rows)]  # fmt: skip
            bottoms = [max((m.bottom for (k, _), m in room.items() if k == r), default=0) for r in
                       range(rows)]  # fmt: skip
            wide = (box.width - sum(lefts) - sum(rights) - _GAP * (columns - 1)) / columns
            high = (box.height - sum(tops) - sum(bottoms) - _GAP * (rows - 1)) / rows
            wide, high = max(wide, 10.0), max(high, 10.0)
            room = {(r, c): margins(ax, wide, high) for r, c, ax in there}
        parts = []
        for r, c, ax in there:
            if not ax.visible:
                continue
            x = box.x + sum(lefts[: c + 1]) + sum(rights[:c]) + (wide + _GAP) * c
            y = box.y + sum(tops[: r + 1]) + sum(bottoms[:r]) + (high + _GAP) * r
            parts.append(draw_panel(ax, Box(x, y, wide, high)))
        return "".join(parts)

    def _crop(self) -> None:
        """Keep of the picture what the limits show."""
        for ax in (ax for row in self.grid for ax in row):
            if ax.removed or ax.picture is None:
                continue
            rows, columns = ax.picture.shape
            (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
            scale_x = columns / (ax.extent[1] - ax.extent[0])
            scale_y = rows / (ax.extent[3] - ax.extent[2])
            c0 = max(int(np.floor((left + 0.5) * scale_x)), 0)
            c1 = min(int(np.ceil((right + 0.5) * scale_x)), columns)
            r0 = max(int(np.floor((low + 0.5) * scale_y)), 0)
            r1 = min(int(np.ceil((high + 0.5) * scale_y)), rows)
            ax.picture = ax.picture[r0:r1, c0:c1]
            ax.extent = (
                c0 / scale_x - 0.5, c1 / scale_x - 0.5, r0 / scale_y - 0.5, r1 / scale_y - 0.5,
            )  # fmt: skip

    def _definitions(self, body: str, picture: str) -> str:
        """Return the picture and the patterns that the body refers to."""
        out = []
        pictures = [ax.picture for row in self.grid for ax in row if ax.picture is not None]
        if pictures and not picture:
            rows, columns = pictures[0].shape
            out.append(
                f'<image id="{svg.PICTURE}" width="{columns}" height="{rows}" '
                f'style="image-rendering:pixelated" href="{small_uri(_grey(pictures[0]))}"/>'
            )
        for hatch, path in svg.HATCHES.items():
            if f"#{svg.hatch_id(hatch)})" in body:
                dots = ' stroke-width="1.1"' if hatch == "...." else ' stroke-width=".9"'
                out.append(
                    f'<pattern id="{svg.hatch_id(hatch)}" width="5" height="5" '
                    f'patternUnits="userSpaceOnUse"><path d="{path}" stroke="#ffffff"{dots} '
                    'fill="none"/></pattern>'
                )
        return f"<defs>{''.join(out)}</defs>" if out else ""


def _grey(picture: npt.NDArray[Any]) -> Image.Image:
    """Return an array whose first row is the lowest as a picture of 8 bits."""
    return Image.fromarray(np.rint(picture[::-1] * 255).astype(np.uint8))
