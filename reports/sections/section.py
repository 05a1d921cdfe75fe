"""A section of the report: its title, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from skyduel.reports.style import Style, point_name, shorten
from skyduel.reports.tables.run_tables import Table
from skyduel.run_folder.read_run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "MOST_GROUPS",
    "FigureSpec",
    "Section",
    "at_point",
    "detector_names",
    "present",
    "table_at_point",
]

#: This many groups get figures of their own; the tables hold all.
MOST_GROUPS: Final = 8


@dataclass(frozen=True)
class FigureSpec:
    """A figure of the report, drawn when `draw` is called.

    Parameters
    ----------
    name : str
        Name of its files, and anchor on the page after ``figure-``.
    title, caption : str
        Text below the figure.
    alt : str
        Description for readers who do not see it.
    draw : callable
        Takes nothing; returns the figure and the table of the drawn numbers.
    frame : str
        The frame whose picture it shows; empty for none.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], tuple[Figure, pd.DataFrame]]
    frame: str = ""


def _no_text(run: Run) -> str:
    return ""


def _no_tables(run: Run) -> Sequence[Table]:
    return ()


def _no_figures(run: Run, styles: Mapping[str, Style]) -> Iterable[FigureSpec]:
    return ()


def _no_values(run: Run) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Section:
    """One section of the report.

    The page shows, in this order: title, `introduction`, `first_tables`,
    `figures`, `tables`, `note`.

    Parameters
    ----------
    name : str
        Anchor on the page.
    title : str
        Heading, and entry of the table of contents.
    introduction, note : callable
        Take the run; return a paragraph, empty for none.
    first_tables : callable
        Takes the run; returns the tables above the figures.
    figures : callable
        Takes the run and the style of each detector; returns the figures.
    tables : callable
        Takes the run; returns the tables below the figures.
    summary : callable
        Takes the run; returns the tables that the Markdown report holds.
    folded_tables : bool
        Whether `tables` are folded away under their captions.
    opened : bool
        Whether the section is unfolded when the page opens.
    shown_when_empty : bool
        Whether a section without table, figure and value is shown.
    css_class : str
        Class of its element.
    template : str
        Template that writes the whole section instead; it reads `values`.
    values : callable
        Takes the run; returns the values for `template`.
    """

    name: str
    title: str
    introduction: Callable[[Run], str] = _no_text
    first_tables: Callable[[Run], Sequence[Table]] = _no_tables
    figures: Callable[[Run, Mapping[str, Style]], Iterable[FigureSpec]] = _no_figures
    tables: Callable[[Run], Sequence[Table]] = _no_tables
    note: Callable[[Run], str] = _no_text
    summary: Callable[[Run], Sequence[Table]] = _no_tables
    folded_tables: bool = True
    opened: bool = False
    shown_when_empty: bool = False
    css_class: str = ""
    template: str = ""
    values: Callable[[Run], Mapping[str, Any]] = _no_values


def at_point(point: str) -> str:
    """Return ``operating point: NAME``."""
    return f"operating point: {point_name(point)}"


def detector_names(run: Run) -> str:
    """Return the names of a run's detectors, as an alternative text lists them."""
    return ", ".join(map(shorten, run.detectors))


def present(*tables: Table | None) -> tuple[Table, ...]:
    """Return the tables that are there."""
    return tuple(table for table in tables if table is not None)


def table_at_point(run: Run, analysis: str) -> pd.DataFrame | None:
    """Return an analysis if it has rows at the run's headline operating point, else None."""
    table = run.analysis(analysis)
    there = len(table) and run.headline_point in set(table["point"].astype(str))
    return table if there else None
