"""Plot helpers: points with error bars, legends, grids of panels, bins of a low count."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.errors import BadInputError, require_each, require_kind, takes
from skyduel.reports.style import Style, detector_styles, shorten
from skyduel.reports.svg.backend import entry, new_figure
from skyduel.run_folder.schema import ALL_GROUPS, table_schema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "LOW_COUNT",
    "MOST_PANELS",
    "PALE",
    "annotate_empty",
    "bars",
    "bin_numbers",
    "count_frames",
    "dodge",
    "draws",
    "errorbar_points",
    "group_order",
    "group_title",
    "handle",
    "handles",
    "legend",
    "low_count_handle",
    "panels",
    "require_axes",
    "shade",
    "shown_groups",
    "styles_of",
]

_Given = ParamSpec("_Given")
_Drawn = TypeVar("_Drawn")

#: A bin whose denominator is below this is drawn hollow and pale.
LOW_COUNT: Final = 10
#: Opacity of a bin of a low count.
PALE: Final = 0.45
#: This many groups get a panel of their own; the tables hold all.
MOST_PANELS: Final = 9


_PALE_BLUE: Final = (247, 251, 255)
_DARK_BLUE: Final = (8, 48, 107)


#: Types of the arguments that plots have in common.
_ARGUMENTS: Final[Mapping[str, type]] = {
    "pair": Sequence,
    "styles": Mapping,
    **dict.fromkeys(("binning", "detector", "facet", "group", "match", "point", "quantity",
                     "side", "statistic"), str),
}  # fmt: skip


def require_axes(source: str, ax: object) -> None:
    """Refuse what cannot be drawn on: axes of matplotlib, or of `skyduel.reports.svg`."""
    if not (hasattr(ax, "plot") and hasattr(ax, "set_title")):
        raise BadInputError(source, "an Axes (of matplotlib)", type(ax).__name__)


def _check_parts(plot: str, given: Mapping[str, Any]) -> None:
    """Refuse axes, a pair or styles whose parts a plot cannot use."""
    if "ax" in given:
        require_axes(f"{plot}: ax", given["ax"])
    if isinstance(pair := given.get("pair"), Sequence):
        require_each(f"{plot}: pair", pair, str)
        if len(pair) != 2:
            raise BadInputError(f"{plot}: pair", "two names", f"{len(pair)}")
    if isinstance(styles := given.get("styles"), Mapping):
        for name, style in styles.items():
            require_kind(f"{plot}: styles[{name!r}]", style, Style)


def draws(**tables: str) -> Callable[[Callable[_Given, _Drawn]], Callable[_Given, _Drawn]]:
    """Let a plot refuse, in one line, what is not the table of a run folder that it draws.

    Columns that the plot does not need may be missing.

    Parameters
    ----------
    **tables
        The name of a table, such as ``scores``, by the name of the parameter.

    Raises
    ------
    BadInputError
        When the plot is called with no DataFrame, or with one that lacks a column it needs.
    """

    def wrap(plot: Callable[_Given, _Drawn]) -> Callable[_Given, _Drawn]:
        signature = inspect.signature(plot)
        kinds = {n: kind for n, kind in _ARGUMENTS.items() if n in signature.parameters}
        typed = takes(**kinds, **dict.fromkeys(tables, pd.DataFrame))(plot)

        @functools.wraps(plot)
        def checked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Drawn:
            _check_parts(plot.__name__, signature.bind_partial(*args, **kwargs).arguments)
            try:
                return typed(*args, **kwargs)
            except KeyError as error:
                given = signature.bind(*args, **kwargs).arguments
                for parameter, value in given.items():
                    if isinstance(value, str) and error.args[:1] == (value,):
                        raise BadInputError(
                            f"{plot.__name__}: {parameter}", "a value that its documentation names",
                            repr(value),
                        ) from error  # fmt: skip
                for parameter, name in tables.items():
                    schema = table_schema(name)
                    lacks = [c for c in schema.first if c not in given[parameter]]
                    if lacks:
                        raise BadInputError(
                            f"{plot.__name__}: {parameter}",
                            f"the table {name} of a run, with columns {', '.join(schema.first)}",
                            f"a DataFrame without {', '.join(lacks)}",
                        ) from error
                raise

        return checked

    return wrap


def shade(share: float) -> str:
    """Return a blue between the palest (0) and the darkest (1)."""
    ends = zip(_PALE_BLUE, _DARK_BLUE, strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in ends)


def low_count_handle() -> Any:
    """Return the legend entry for a bin of a low count."""
    return entry(
        color="#777777",
        marker="o",
        markerfacecolor="white",
        linestyle="none",
        label=f"hollow: n < {LOW_COUNT}",
    )


def styles_of(table: pd.DataFrame, styles: Mapping[str, Style] | None) -> Mapping[str, Style]:
    """Return `styles`, or by default `detector_styles` of the detectors in the table."""
    return detector_styles(table["detector"].astype(str)) if styles is None else styles


def group_order(groups: Iterable[Any]) -> list[str]:
    """Return the groups with ``all`` first, the others by name."""
    return sorted({str(g) for g in groups}, key=lambda g: (g != ALL_GROUPS, g))


def shown_groups(table: pd.DataFrame) -> list[str]:
    """Return the groups that get a panel: ``all`` alone where there is only one other."""
    groups = group_order(table["group"]) if "group" in table else []
    return groups[:1] if len(groups) == 2 and groups[0] == ALL_GROUPS else groups[:MOST_PANELS]


def group_title(group: str) -> str:
    """Return the title of a group's panel."""
    return "all groups" if group == ALL_GROUPS else shorten(group)


def count_frames(n: float) -> str:
    """Return ``1 frame`` or ``7 frames``."""
    return f"{int(n)} frame{'' if int(n) == 1 else 's'}"


def annotate_empty(ax: Axes, text: str) -> None:
    """Write a sentence in the middle of an axis that has nothing to draw."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#555555")


def bars(value: Any, lo: Any, hi: Any) -> npt.NDArray[np.float64]:
    """Return the two bar lengths of intervals, shape (2, n); NaN where one is undefined."""
    v, low, high = (np.atleast_1d(np.asarray(a, dtype=float)) for a in (value, lo, hi))
    lengths = np.stack([v - low, high - v])
    lengths[:, ~np.isfinite(lengths).all(axis=0)] = np.nan
    return np.asarray(np.maximum(lengths, 0.0))


def dodge(i: int, n: int, width: float, most: float = 0.13) -> float:
    """Return the horizontal dodge of detector `i` of `n` from the middle of a bin of `width`."""
    return (i - (n - 1) / 2) * min(most, 0.6 / max(n, 1)) * width


def errorbar_points(
    ax: Axes,
    x: Any,
    value: Any,
    style: Style,
    *,
    lo: Any = None,
    hi: Any = None,
    low_count: Any = None,
    line: str = "-",
    size: float = 5.0,
) -> None:
    """Draw points with error bars, joined by a thin line; those of a low count hollow and pale."""
    x, value = np.asarray(x, dtype=float), np.asarray(value, dtype=float)
    hollow = np.zeros(len(x), dtype=bool)
    if low_count is not None:
        hollow = np.asarray(low_count, dtype=bool)
    if line:
        ax.plot(x, value, color=style.color, linewidth=1.0, linestyle=line, alpha=0.6, zorder=2)
    for those, pale in ((~hollow, False), (hollow, True)):
        at = those & np.isfinite(value)
        if not at.any():
            continue
        error = (
            None
            if lo is None or hi is None
            else bars(value[at], np.asarray(lo, dtype=float)[at], np.asarray(hi, dtype=float)[at])
        )
        ax.errorbar(
            x[at],
            value[at],
            yerr=error,
            color=style.color,
            marker=style.marker,
            markersize=size,
            markerfacecolor="white" if pale else style.color,
            elinewidth=1.1,
            linestyle="none",
            alpha=PALE if pale else 1.0,
            zorder=3,
        )


def bin_numbers(ax: Axes, drawn: pd.DataFrame) -> None:
    """Write each bin's `n` at the panel's lower edge: a range where detectors differ."""
    by_bin = drawn.groupby("bin")["n"]
    low, high = by_bin.min(), by_bin.max()
    for number, least, most in zip(low.index, low, high, strict=True):
        ax.text(
            float(number),
            0.012,
            f"{least:g}" if least == most else f"{least:g}–{most:g}",
            fontsize=6,
            color="#555555",
            ha="center",
            va="bottom",
            rotation=90 if len(low) > 4 else 0,
            transform=ax.get_xaxis_transform(),
            zorder=1,
        )


def handle(style: Style, label: str, **more: Any) -> Any:
    """Return a legend entry."""
    settings: dict[str, Any] = {
        "color": style.color,
        "marker": style.marker,
        "markersize": 5,
    } | more
    return entry(label=label, **settings)


def handles(styles: Mapping[str, Style]) -> list[Any]:
    """Return one legend entry a detector."""
    return [handle(style, shorten(name)) for name, style in styles.items()]


def legend(figure: Figure, entries: Sequence[Any], **more: Any) -> None:
    """Put one legend below a figure, in as few lines as its width allows."""
    lengths = [len(str(h.get_label())) + 7 for h in entries]
    room = figure.get_figwidth() * 13  # about as many characters as a line holds
    columns = len(entries)
    while columns > 1 and sum(max(lengths[i::columns]) for i in range(columns)) > room:
        columns -= 1
    if entries:
        figure.legend(
            handles=list(entries),
            loc="outside lower center",
            ncols=max(columns, 1),
            frameon=False,
            **more,
        )


def panels(
    n: int,
    *,
    columns: int = 3,
    width: float = 3.6,
    height: float = 2.9,
    extra: float = 0.8,
    **more: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `n` panels (at least one) in rows, and their axes."""
    n = max(n, 1)
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = new_figure(max(width * columns, 5.4), height * rows + extra)
    axes = list(figure.subplots(rows, columns, squeeze=False, **more).ravel())
    for ax in axes[n:]:
        ax.remove()
    for i, ax in enumerate(axes[:n]):  # with shared axes too, a panel at the edge has its labels
        if i + columns >= n:
            ax.tick_params(labelbottom=True)
    return figure, axes[:n]
