"""One panel of an SVG figure: what is drawn on it, in data coordinates, and its decoration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from skyduel.reports.svg import elements as svg
from skyduel.reports.svg.axis import Axis
from skyduel.reports.svg.text_width import text_width

__all__ = ["Axes", "Box"]

_INK: Final = "#444444"
_TICK: Final = "#333333"
_GRID: Final = "#d9d9d9"
_SIZE: Final = 9.0
#: Length of a tick, and its distance from the label [pt].
_REACH: Final = 3.5


@dataclass(frozen=True)
class Box:
    """The place of a panel [pt]: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class _Label:
    text: str = ""
    size: float = _SIZE
    weight: str = ""
    loc: str = "center"


@dataclass(order=True, frozen=True)
class _Item:
    """Something drawn: `draw` takes the functions from data to page coordinates."""

    zorder: float
    number: int
    draw: Callable[[Any, Any], str] = field(compare=False)
    clipped: bool = field(compare=False, default=True)


def _series(*values: Any) -> list[Any]:
    return [np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in values]


def _each(value: Any, n: int) -> list[Any]:
    """Return one value for each of `n`, from one for all or from a list."""
    return [value] * n if isinstance(value, str) else list(value)


class Axes:
    """A panel that records what is drawn; methods and arguments are those of matplotlib."""

    transAxes = "axes"

    def __init__(self, xaxis: Axis, yaxis: Axis) -> None:
        self.xaxis, self.yaxis = xaxis, yaxis
        self.items: list[_Item] = []
        self.notes: list[tuple[float, str, float]] = []
        self.visible, self.removed = True, False
        self.bottom_labels, self.left_labels, self.left_ticks = True, True, True
        self.background, self.equal = "white", False
        self.grid_x, self.grid_y = False, False
        self.xlabel, self.ylabel, self.title = _Label(), _Label(), _Label()
        self.legends: list[tuple[Sequence[Any], dict[str, Any]]] = []
        self.outer: tuple[bool, bool] = (True, True)
        self.picture: Any = None
        self.extent: tuple[float, ...] = (0.0, 1.0, 0.0, 1.0)

    def get_xaxis_transform(self) -> str:
        """Return the transform with x of the data and y of the panel."""
        return "x"

    def get_yaxis_transform(self) -> str:
        """Return the transform with x of the panel and y of the data."""
        return "y"

    def _add(self, zorder: float, draw: Callable[[Any, Any], str], *, clipped: bool = True) -> None:
        self.items.append(_Item(zorder, len(self.items), draw, clipped))

    def plot(
        self,
        x: Any,
        y: Any,
        *,
        color: str = "#000000",
        linewidth: float = 1.5,
        linestyle: Any = "-",
        marker: str | None = None,
        markersize: float = 6.0,
        markerfacecolor: str | None = None,
        markeredgewidth: float = 1.0,
        alpha: float | None = None,
        zorder: float = 2.0,
    ) -> None:
        """Draw a line, markers, or both."""
        x, y = _series(x, y)
        there = np.isfinite(x) & np.isfinite(y)
        self.xaxis.see(x[there])
        self.yaxis.see(y[there])

        def draw(at_x: Any, at_y: Any) -> str:
            u, v = at_x(x), at_y(y)
            drawn = ""
            if linestyle not in ("none", "None", ""):
                drawn += svg.polyline(u, v, color, linewidth, linestyle, alpha)
            if marker:
                drawn += svg.marks(
                    u.tolist(),
                    v.tolist(),
                    marker,
                    size=markersize,
                    color=color,
                    face=markerfacecolor,
                    edge_width=markeredgewidth,
                    alpha=alpha,
                )
            return drawn

        self._add(zorder, draw)

    def errorbar(
        self,
        x: Any,
        y: Any,
        *,
        xerr: Any = None,
        yerr: Any = None,
        color: str = "#000000",
        marker: str = "o",
        markersize: float = 6.0,
        markerfacecolor: str | None = None,
        markerfacecoloralt: str = "white",
        markeredgewidth: float = 1.0,
        fillstyle: str = "full",
        elinewidth: float = 1.5,
        linestyle: str = "none",
        alpha: float | None = None,
        zorder: float = 2.0,
    ) -> None:
        """Draw markers with bars of the given lengths; lines between them are not drawn."""
        assert linestyle == "none"
        x, y = _series(x, y)
        ends_x = None if xerr is None else np.broadcast_to(np.asarray(xerr, float), (2, len(x)))
        ends_y = None if yerr is None else np.broadcast_to(np.asarray(yerr, float), (2, len(x)))
        self.xaxis.see(x, *([x - ends_x[0], x + ends_x[1]] if ends_x is not None else []))
        self.yaxis.see(y, *([y - ends_y[0], y + ends_y[1]] if ends_y is not None else []))

        def draw(at_x: Any, at_y: Any) -> str:
            bar_x: list[float] = []
            bar_y: list[float] = []
            u, v = at_x(x), at_y(y)
            if ends_x is not None:
                low, high = at_x(x - ends_x[0]), at_x(x + ends_x[1])
                for a, b, c in zip(low, high, v, strict=True):
                    bar_x += [a, b, np.nan]
                    bar_y += [c, c, np.nan]
            if ends_y is not None:
                low, high = at_y(y - ends_y[0]), at_y(y + ends_y[1])
                for a, b, c in zip(low, high, u, strict=True):
                    bar_x += [c, c, np.nan]
                    bar_y += [a, b, np.nan]
            return svg.polyline(bar_x, bar_y, color, elinewidth, "-", alpha) + svg.marks(
                u.tolist(),
                v.tolist(),
                marker,
                size=markersize,
                color=color,
                face=markerfacecolor,
                edge_width=markeredgewidth,
                alpha=alpha,
                fill=fillstyle,
                alternative=markerfacecoloralt,
            )

        self._add(zorder, draw)

    def text(
        self,
        x: float,
        y: float,
        s: str,
        *,
        transform: str = "data",
        fontsize: float = _SIZE,
        color: str = "#000000",
        ha: str = "left",
        va: str = "baseline",
        rotation: float = 0.0,
        fontweight: str = "",
        clip_on: bool = False,
        zorder: float = 3.0,
    ) -> None:
        """Write text at a place of the data, or of the panel."""
        in_panel = (transform in ("axes", "y"), transform in ("axes", "x"))

        def draw(at_x: Any, at_y: Any) -> str:
            u = float(at_x(x, panel=in_panel[0]))
            v = float(at_y(y, panel=in_panel[1]))
            return svg.text(
                s,
                u,
                v,
                fontsize,
                ha=ha,
                va=va,
                color=color,
                rotation=rotation,
                weight=fontweight,
            )

        if ha == "left" and not rotation:
            self.notes.append((float(x), transform, text_width(s, fontsize)))
        self._add(zorder, draw, clipped=clip_on)

    def axhline(
        self, y: float, *, color: str, linewidth: float = 1.5, linestyle: Any = "-"
    ) -> None:
        """Draw a line across the panel at one y."""
        self.yaxis.see_beyond(y)
        self._add(2.0, self._across(None, y, color, linewidth, linestyle))

    def axvline(
        self, x: float, *, color: str, linewidth: float = 1.5, linestyle: Any = "-"
    ) -> None:
        """Draw a line across the panel at one x."""
        self.xaxis.see_beyond(x)
        self._add(2.0, self._across(x, None, color, linewidth, linestyle))

    def _across(
        self, x: float | None, y: float | None, color: str, width: float, style: Any
    ) -> Callable[[Any, Any], str]:
        def draw(at_x: Any, at_y: Any) -> str:
            ends = [(at_x(e, panel=True), at_y(e, panel=True)) for e in (0.0, 1.0)]
            us = [float(e[0]) if x is None else float(at_x(x)) for e in ends]
            vs = [float(e[1]) if y is None else float(at_y(y)) for e in ends]
            return svg.polyline(us, vs, color, width, style)

        return draw

    def axhspan(
        self, low: float, high: float, *, color: str, linewidth: float = 0, zorder: float = 1.0
    ) -> None:
        """Fill a band across the panel."""

        def draw(at_x: Any, at_y: Any) -> str:
            left, right = float(at_x(0.0, panel=True)), float(at_x(1.0, panel=True))
            v = sorted((float(at_y(low)), float(at_y(high))))
            return svg.rect(left, v[0], right - left, v[1] - v[0], color)

        self.yaxis.see(low, high)
        self._add(zorder, draw)

    def _rectangles(
        self, x0: Any, x1: Any, y0: Any, y1: Any, zorder: float, color: Any, **look: Any
    ) -> None:
        x0, x1, y0, y1 = np.broadcast_arrays(*_series(x0, x1, y0, y1))
        self.xaxis.see(x0, x1)
        self.yaxis.see(y0, y1)
        colors = _each(color, len(x0))

        def draw(at_x: Any, at_y: Any) -> str:
            u = np.sort([at_x(x0), at_x(x1)], axis=0)
            v = np.sort([at_y(y0), at_y(y1)], axis=0)
            by_color: dict[str, list[tuple[float, float, float, float]]] = {}
            for a, b, c, d, one in zip(*u, *v, colors, strict=True):
                by_color.setdefault(one, []).append((a, c, b - a, d - c))
            return "".join(svg.rectangles(boxes, one, **look) for one, boxes in by_color.items())

        self._add(zorder, draw)

    def bar(
        self,
        x: Any,
        height: Any,
        *,
        width: Any = 0.8,
        bottom: Any = 0.0,
        color: Any,
        hatch: str = "",
        edgecolor: str | None = None,
        linewidth: float = 0.0,
        zorder: float = 1.0,
    ) -> None:
        """Draw upright bars; `color` may be one for each."""
        x, height, width, bottom = _series(x, height, width, bottom)
        self.yaxis.sticky |= set(bottom.tolist())
        look = {"hatch": hatch, "edge": edgecolor, "edge_width": linewidth}
        top = bottom + height
        self._rectangles(x - width / 2, x + width / 2, bottom, top, zorder, color, **look)

    def barh(
        self,
        y: Any,
        width: Any,
        *,
        height: float = 0.8,
        left: Any = 0.0,
        color: Any,
        hatch: str = "",
        edgecolor: str | None = None,
        linewidth: float = 0.0,
        zorder: float = 1.0,
    ) -> None:
        """Draw lying bars."""
        y, width, left = _series(y, width, left)
        self.xaxis.sticky |= set(left.tolist())
        look = {"hatch": hatch, "edge": edgecolor, "edge_width": linewidth}
        right = left + width
        self._rectangles(left, right, y - height / 2, y + height / 2, zorder, color, **look)

    def stairs(
        self,
        values: Any,
        edges: Any,
        *,
        baseline: float = 0.0,
        color: str,
        linewidth: float = 1.0,
        zorder: float = 1.0,
    ) -> None:
        """Draw the outline of a histogram."""
        heights = np.repeat(np.asarray(values, dtype=float), 2)
        y = np.concatenate([[baseline], heights, [baseline]])
        x = np.repeat(np.asarray(edges, dtype=float), 2)
        self.plot(x, y, color=color, linewidth=linewidth, zorder=zorder)

    def imshow(self, picture: Any, *, extent: Sequence[float], **look: Any) -> None:
        """Draw a grey picture of values 0 … 1 whose first row is the lowest."""
        self.picture, self.extent = picture, tuple(extent)

        def draw(at_x: Any, at_y: Any) -> str:
            left, right, bottom, top = self.extent
            place = svg.attributes(
                x=f"{float(at_x(left)):.2f}",
                y=f"{float(at_y(top)):.2f}",
                width=f"{float(at_x(right) - at_x(left)):.2f}",
                height=f"{float(at_y(bottom) - at_y(top)):.2f}",
            )
            # The figure, or the page, holds the picture once.
            rows, columns = self.picture.shape
            return (
                f'<svg{place} viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" '
                'aria-hidden="true">'
                f'<use href="#{svg.PICTURE}"/></svg>'
            )

        self._add(0.0, draw)

    def set_xlim(self, low: float, high: float) -> None:
        """Set the limits of x."""
        self.xaxis.fixed = (float(low), float(high))

    def set_ylim(self, low: float, high: float) -> None:
        """Set the limits of y."""
        self.yaxis.fixed = (float(low), float(high))

    def get_xlim(self) -> tuple[float, float]:
        """Return the limits of x."""
        return self.xaxis.limits

    def get_ylim(self) -> tuple[float, float]:
        """Return the limits of y."""
        return self.yaxis.limits

    def set_xscale(self, scale: str, linthresh: float = 1.0) -> None:
        """Set the scale of x: ``log`` or ``symlog``."""
        self.xaxis.scale, self.xaxis.linthresh = scale, linthresh

    def minorticks_off(self) -> None:
        """Do nothing: there are no minor ticks."""

    def set_xticks(
        self,
        ticks: Iterable[float],
        labels: Sequence[str] | None = None,
        *,
        fontsize: float = _SIZE,
        rotation: float = 0.0,
    ) -> None:
        """Set the ticks of x and their labels."""
        self.xaxis.set_ticks(list(ticks), labels, fontsize, rotation)

    def set_yticks(
        self,
        ticks: Iterable[float],
        labels: Sequence[str] | None = None,
        *,
        fontsize: float = _SIZE,
    ) -> None:
        """Set the ticks of y and their labels."""
        self.yaxis.set_ticks(list(ticks), labels, fontsize, 0.0)

    def get_xticks(self) -> list[float]:
        """Return the ticks of x that were set."""
        return self.xaxis.ticks or []

    def get_xticklabels(self) -> list[Any]:
        """Return the labels of x that were set, as objects with ``get_text``."""
        labels = self.xaxis.labels or []
        return [SimpleNamespace(get_text=lambda said=said: said) for said in labels]

    def grid(self, shown: bool, axis: str = "both") -> None:
        """Draw lines at the ticks."""
        if axis in ("both", "x"):
            self.grid_x = shown
        if axis in ("both", "y"):
            self.grid_y = shown

    def set_xlabel(self, said: str) -> None:
        """Set the label of x."""
        self.xlabel = _Label(said)

    def set_ylabel(self, said: str) -> None:
        """Set the label of y."""
        self.ylabel = _Label(said)

    def set_title(
        self, said: str, *, fontsize: float = 10.0, fontweight: str = "", loc: str = "center"
    ) -> None:
        """Set the title."""
        self.title = _Label(said, fontsize, fontweight, loc)

    def tick_params(
        self,
        *,
        labelbottom: bool | None = None,
        labelleft: bool | None = None,
        left: bool | None = None,
    ) -> None:
        """Show or hide the labels of ticks, and the ticks on the left."""
        if labelbottom is not None:
            self.bottom_labels = labelbottom
        if labelleft is not None:
            self.left_labels = labelleft
        if left is not None:
            self.left_ticks = left

    def label_outer(self) -> None:
        """Leave labels to the panels of the last row and the first column."""
        last_row, first_column = self.outer
        if not last_row:
            self.xlabel, self.bottom_labels = _Label(), False
        if not first_column:
            self.ylabel, self.left_labels = _Label(), False

    def set_aspect(self, aspect: str) -> None:
        """Make units of x and y equally long."""
        self.equal = aspect == "equal"

    def set_facecolor(self, color: str) -> None:
        """Set the colour of the panel."""
        self.background = color

    def set_visible(self, visible: bool) -> None:
        """Show or hide the panel."""
        self.visible = visible

    def remove(self) -> None:
        """Take the panel out of the figure."""
        self.removed = True

    def legend(self, handles: Sequence[Any], **look: Any) -> None:
        """Put a legend into the panel, or below it."""
        self.legends.append((handles, look))
