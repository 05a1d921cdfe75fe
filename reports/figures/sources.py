"""Figure of one frame with the sources of one catalogue marked on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.reports.figures.frame_overlay import Mark, mark_handle, streak_lines
from skyduel.reports.style import shorten
from skyduel.reports.svg.backend import new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOST_PX", "reduced", "sources_figure"]

#: Longest side of the picture in the figure [px]: the pixels of a larger frame are averaged.
MOST_PX: Final = 2048
#: Longest side of the panel [inches], and pixels of the frame in an inch between these two.
_SIDE_IN: Final = (5.0, 12.0)
_PX_PER_IN: Final = 120.0
#: Width of a mark [pt]: as much as the mean distance of the marks allows, within these two, or up
#: to so many pixels of the frame where they are large, so that a star is inside its mark.
_MARK_PT: Final = (2.5, 7.0)
_MARK_PX: Final = 12.0
_FILLED: Final = 0.4

# Bright on a dark picture, and of different shapes, so that colour is not needed.
_MARKS: Final[Mapping[str, Mark]] = {
    "point": Mark("#56B4E9", "o", 34, "-", "point"),
    "galaxy": Mark("#FF6FB5", "s", 34, "-", "galaxy"),
    "streak": Mark("#F0E442", "_", 90, "-", "streak"),
}


def reduced(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture of at most `MOST_PX` a side: the means of squares of pixels.

    A last row or column of incomplete squares is the mean of those pixels that there are.
    """
    step = -(-max(picture.shape) // MOST_PX)
    if step == 1:
        return picture
    starts = [np.arange(0, n, step) for n in picture.shape]
    rows = np.add.reduceat(picture, starts[0], axis=0, dtype=np.uint32)
    sums = np.add.reduceat(rows, starts[1], axis=1)
    ny, nx = (np.diff([*at, n]) for at, n in zip(starts, picture.shape, strict=True))
    return np.asarray(np.rint(sums / np.outer(ny, nx)), dtype=np.uint8)


def sources_figure(
    picture: npt.NDArray[np.uint8], shape: tuple[int, int], found: Catalog, title: str, said: str
) -> Figure:
    """Return a figure of a frame and its sources: circles, squares for galaxies, lines for streaks.

    Parameters
    ----------
    picture : ndarray of uint8
        Stretched pixels of the whole frame, row 0 first; it may be smaller than the frame
        (`reduced`).
    shape : tuple of int
        Rows and columns of the frame [px].
    found : Catalog
        Its sources.
    title : str
        Name of the frame; cut if it is long.
    said : str
        Second line of the title: what the sources are and how many.
    """
    ny, nx = shape
    side = float(np.clip(max(shape) / _PX_PER_IN, *_SIDE_IN))
    width, height = side * nx / max(shape), side * ny / max(shape)
    least, most = _MARK_PT
    most = max(most, _MARK_PX * 72 * side / max(shape))
    size = float(np.clip(_FILLED * 72 * np.sqrt(width * height / max(len(found), 1)), least, most))
    with plot_style():
        from matplotlib.patheffects import withStroke

        edge = 1.1 * min(max(size / 7.0, 0.6), 1.0)
        dark = [withStroke(linewidth=edge + 1.2, foreground="black")]  # seen on a bright star, too
        figure = new_figure(max(width + 0.8, 4.5), max(height + 1.2, 3.0))
        ax = figure.subplots()
        if (layout := figure.get_layout_engine()) is not None:
            layout.set(h_pad=0.06)  # type: ignore[call-arg]  # between the axis and the legend
        step = -(-max(shape) // max(picture.shape))  # pixels a side of a square
        extent = (-0.5, picture.shape[1] * step - 0.5, -0.5, picture.shape[0] * step - 0.5)
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255, origin="lower", extent=extent)
        handles = []
        for kind, mark in _MARKS.items():
            rows = np.flatnonzero(found["kind"] == kind)
            if not rows.size:
                continue
            x, y = found["x"][rows], found["y"][rows]
            if kind == "streak":
                path = streak_lines(x, y, found["length"][rows], found["theta"][rows])
                ax.plot(path[:, 0], path[:, 1], color=mark.color, linewidth=1.2,
                        path_effects=dark)  # fmt: skip
            else:
                ax.plot(x, y, linestyle="none", color=mark.color, marker=mark.marker,
                        markersize=size, markerfacecolor="none", markeredgewidth=edge,
                        path_effects=dark)  # fmt: skip
            handles.append(mark_handle(mark, f"{rows.size:,} {_plural(mark.label, rows.size)}"))
        ax.set_aspect("equal")
        ax.set_xlim(-0.5, nx - 0.5)
        ax.set_ylim(-0.5, ny - 0.5)
        ax.set_xlabel("x [px]")
        ax.set_ylabel("y [px]")
        figure.suptitle(f"{shorten(title, 60)}\n{said}", fontsize=9)
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles),
                          framealpha=1.0, facecolor="#1c1c1c", labelcolor="white",
                          fontsize=7.5)  # fmt: skip
    return figure


def _plural(noun: str, n: int) -> str:
    return noun if n == 1 else {"galaxy": "galaxies"}.get(noun, f"{noun}s")
