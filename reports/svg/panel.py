"""Drawing of one panel in its place: grid, data, frame, ticks, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from skyduel.reports.svg import elements as svg
from skyduel.reports.svg.axes import Axes, Box
from skyduel.reports.svg.legend import legend_size, legend_svg
from skyduel.reports.svg.text_width import text_width

__all__ = ["Margins", "draw_panel", "margins"]

_INK: Final = "#444444"
_TICK: Final = "#333333"
_GRID: Final = "#d9d9d9"
_SIZE: Final = 9.0
#: Length of a tick, and distance between it and its label, and between labels [pt].
_TICK_PT: Final = 3.5
_GAP_PT: Final = 3.5


@dataclass(frozen=True)
class Margins:
    """Room that the decoration of a panel needs on each side [pt]."""

    left: float
    right: float
    top: float
    bottom: float


def margins(ax: Axes, width: float, height: float) -> Margins:
    """Return the margins of a panel of about the given size [pt]."""
    left = right = 2.0
    bottom = top = 2.0
    x_ticks, y_ticks = ax.xaxis.shown_ticks(width), ax.yaxis.shown_ticks(height)
    if ax.left_ticks and y_ticks:
        left += _TICK_PT
    if ax.left_labels and y_ticks:
        left += _GAP_PT + max(text_width(said, ax.yaxis.size) for _, said in y_ticks)
        top = max(top, 0.5 * ax.yaxis.size)
    if ax.ylabel.text:
        left += _GAP_PT + 1.1 * ax.ylabel.size
    bottom += _TICK_PT if x_ticks else 0.0
    if ax.bottom_labels and x_ticks:
        bottom += _GAP_PT + _label_height(ax)
        if not ax.xaxis.rotation:
            last, said = max(x_ticks, key=lambda pair: float(ax.xaxis.place(pair[0])))
            beyond = text_width(said, ax.xaxis.size) / 2
            right = max(right, beyond - width * (1 - float(ax.xaxis.place(last))))
    if ax.xlabel.text:
        bottom += _GAP_PT + 1.2 * ax.xlabel.size
    if ax.title.text:
        top += 1.2 * ax.title.size * (1 + ax.title.text.count("\n")) + 4.0
    for x, transform, wide in ax.notes:
        at = x if transform in ("axes", "y") else float(ax.xaxis.place(x))
        if 1.0 <= at < 1.1:  # text beside the panel
            right = max(right, (at - 1) * width + wide + 2)
    for handles, look in ax.legends:
        if look.get("bbox_to_anchor"):
            bottom += legend_size(handles, look)[1] + 4
    return Margins(left, right, top, bottom)


def _label_height(ax: Axes) -> float:
    labels = [said for _, said in ax.xaxis.shown_ticks(1e9)]
    wide = max((text_width(said, ax.xaxis.size) for said in labels), default=0.0)
    lines = max((1 + said.count("\n") for said in labels), default=1)
    turn = np.radians(ax.xaxis.rotation)
    return float(abs(np.sin(turn)) * wide + abs(np.cos(turn)) * 1.1 * lines * ax.xaxis.size)


def draw_panel(ax: Axes, box: Box) -> str:
    """Return the SVG of a panel whose data area is `box`."""
    if ax.equal:
        box = _equal(ax, box)

    def at_x(values: Any, *, panel: bool = False) -> Any:
        place = np.asarray(values, dtype=float) if panel else ax.xaxis.place(values)
        return box.x + place * box.width

    def at_y(values: Any, *, panel: bool = False) -> Any:
        place = np.asarray(values, dtype=float) if panel else ax.yaxis.place(values)
        return box.y + (1 - place) * box.height

    x_ticks = [(float(at_x(t)), said) for t, said in ax.xaxis.shown_ticks(box.width)]
    y_ticks = [(float(at_y(t)), said) for t, said in ax.yaxis.shown_ticks(box.height)]
    right, bottom = box.x + box.width, box.y + box.height
    parts = []
    if ax.background != "white":
        parts.append(svg.rect(box.x, box.y, box.width, box.height, ax.background))
    grid = [(u, v) for t, _ in x_ticks if ax.grid_x for u, v in ((t, box.y), (t, bottom))]
    grid += [(u, v) for t, _ in y_ticks if ax.grid_y for u, v in ((box.x, t), (right, t))]
    inner = ""
    if grid:
        us = [c for i, (u, _) in enumerate(grid) for c in ([u, np.nan] if i % 2 else [u])]
        vs = [c for i, (_, v) in enumerate(grid) for c in ([v, np.nan] if i % 2 else [v])]
        inner += svg.polyline(us, vs, _GRID, 0.6)
    items = sorted(ax.items)
    inner += "".join(item.draw(at_x, at_y) for item in items if item.clipped)
    # An inner svg element clips what it holds, and needs no id.
    place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    frame = svg.attributes(**{k: f"{v:.2f}" for k, v in place.items()})
    view = " ".join(f"{v:.2f}" for v in place.values())
    parts.append(f'<svg{frame} viewBox="{view}" aria-hidden="true">{inner}</svg>')
    spine = [box.y, bottom, bottom]
    parts.append(svg.polyline([box.x, box.x, right], spine, _INK, 0.8))
    parts.append(_ticks(ax, box, x_ticks, y_ticks))
    parts += [item.draw(at_x, at_y) for item in items if not item.clipped]
    parts.append(_labels(ax, box))
    parts += [_legend(handles, look, box) for handles, look in ax.legends]
    return "".join(parts)


def _ticks(
    ax: Axes, box: Box, x_ticks: list[tuple[float, str]], y_ticks: list[tuple[float, str]]
) -> str:
    bottom = box.y + box.height
    us: list[float] = []
    vs: list[float] = []
    said = []
    for u, text in x_ticks:
        us += [u, u, np.nan]
        vs += [bottom, bottom + _TICK_PT, np.nan]
        if not ax.bottom_labels:
            continue
        turn = ax.xaxis.rotation
        ha = "center" if turn % 90 == 0 else "right"
        y = bottom + _TICK_PT + _GAP_PT
        said.append(svg.text(text, u, y, ax.xaxis.size, ha=ha, va="top", rotation=turn))
    for v, text in y_ticks:
        if ax.left_ticks:
            us += [box.x - _TICK_PT, box.x, np.nan]
            vs += [v, v, np.nan]
        if ax.left_labels:
            u = box.x - _TICK_PT - _GAP_PT
            said.append(svg.text(text, u, v, ax.yaxis.size, ha="right", va="center"))
    return svg.polyline(us, vs, _TICK, 0.8) + f'<g fill="{_TICK}">{"".join(said)}</g>'


def _labels(ax: Axes, box: Box) -> str:
    parts = []
    if ax.xlabel.text:
        y = box.y + box.height + _TICK_PT + _GAP_PT
        if ax.bottom_labels and ax.xaxis.shown_ticks(box.width):
            y += _label_height(ax) + _GAP_PT
        middle = box.x + box.width / 2
        parts.append(svg.text(ax.xlabel.text, middle, y, ax.xlabel.size, ha="center", va="top"))
    if ax.ylabel.text:
        ticks = ax.yaxis.shown_ticks(box.height)
        x = box.x - 2 * _GAP_PT
        if ax.left_labels and ticks:
            x -= _GAP_PT + max(text_width(said, ax.yaxis.size) for _, said in ticks)
        size = ax.ylabel.size
        if text_width(ax.ylabel.text, size) > box.height + 20:
            size *= max((box.height + 20) / text_width(ax.ylabel.text, size), 0.7)
        y = box.y + box.height / 2
        parts.append(svg.text(ax.ylabel.text, x, y, size, ha="right", va="center", rotation=90))
    if ax.title.text:
        x = box.x if ax.title.loc == "left" else box.x + box.width / 2
        ha = "left" if ax.title.loc == "left" else "center"
        title = ax.title
        parts.append(
            svg.text(
                title.text, x, box.y - 6, title.size, ha=ha, weight=title.weight, va="baseline"
            )
        )
    return "".join(parts)


def _legend(handles: Any, look: dict[str, Any], box: Box) -> str:
    wide, high = legend_size(handles, look)
    if look.get("bbox_to_anchor"):
        return legend_svg(handles, look, box.x + (box.width - wide) / 2, box.y + box.height + 34)
    x = box.x + 4 if "left" in look.get("loc", "") else box.x + box.width - wide - 4
    y = box.y + 3 if "upper" in look.get("loc", "") else box.y + box.height - high - 3
    return legend_svg(handles, look, x, y)


def _equal(ax: Axes, box: Box) -> Box:
    """Return the largest box inside `box` in which units of x and y are equally long."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    wide, tall = abs(right - left) or 1.0, abs(high - low) or 1.0
    unit = min(box.width / wide, box.height / tall)
    width, height = unit * wide, unit * tall
    return Box(box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height)
