"""Where figures are drawn: on matplotlib's figures, or as small SVG for the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

from skyduel.reports.svg.figure import Figure as SvgFigure
from skyduel.reports.svg.legend import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["as_svg", "entry", "new_figure", "patch", "plot_style"]

_AS_SVG: Final[ContextVar[bool]] = ContextVar("as_svg", default=False)

#: Settings of matplotlib.
_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "standard",
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "text.usetex": False,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.unicode_minus": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "skyduel",
}


@contextmanager
def as_svg() -> Iterator[None]:
    """Let the functions of `skyduel.reports.figures` return a `SvgFigure` inside this context.

    Elsewhere they return figures of matplotlib, which is not loaded before that.
    """
    token = _AS_SVG.set(True)
    try:
        yield
    finally:
        _AS_SVG.reset(token)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size [inches], laid out when it is drawn."""
    if _AS_SVG.get():
        # It has the methods that the figures of this package call.
        return cast("Figure", SvgFigure((width, height)))
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def entry(label: str, **look: Any) -> Any:
    """Return a line with a marker for a legend; `look` is that of matplotlib's ``Line2D``."""
    if _AS_SVG.get():
        return Entry(label, **look)
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def patch(label: str, color: str, hatch: str) -> Any:
    """Return a filled and hatched patch for a legend."""
    if _AS_SVG.get():
        return Entry(label, color=color, hatch=hatch)
    from matplotlib.patches import Patch

    return Patch(facecolor=color, hatch=hatch, edgecolor="white", label=label)


def plot_style() -> AbstractContextManager[Any]:
    """Return a context with fixed matplotlib settings, whatever the user's defaults are."""
    if _AS_SVG.get():
        return nullcontext()
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)
