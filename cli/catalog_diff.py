"""What `skyduel diff` shows and writes: two catalogues of one frame, without a truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.console import out, warn, wide_out
from skyduel.cli.whole_tables import WholeTable
from skyduel.core import (
    TABLE_ENDINGS,
    BadInputError,
    Catalog,
    Frame,
    atomic_path,
    available,
    read_catalog,
    write_regions,
)
from skyduel.core.io.safe_csv import without_formulas
from skyduel.core.operating_point import stated_threshold
from skyduel.core.settings import nearest
from skyduel.evaluation.comparison.catalog_difference import (
    BOTH,
    ONLY_A,
    ONLY_B,
    CatalogDifference,
    catalog_difference,
)
from skyduel.evaluation.matching.matching import rows_at
from skyduel.run_folder.layout import RunPaths

__all__ = ["show_difference"]


def show_difference(
    frame: Frame,
    given: tuple[str, str],
    thresholds: tuple[float | None, float | None],
    radius_px: float,
    folder: Path | None,
) -> None:
    """Print three tables of two catalogues, and write the page, tables and regions.

    Parameters
    ----------
    frame : Frame
        The frame of both.
    given : (str, str)
        Each a catalogue's file, ``RUN/DETECTOR`` or the name of a detector.
    thresholds : (float or None, float or None)
        Lowest scores; None for those that the catalogues state.
    radius_px : float
        Largest distance of two rows that are one source [px].
    folder : Path or None
        Where to write; None to print only.

    Raises
    ------
    BadInputError
        If one of the two names nothing of these, or cannot be read.
    """
    first = _side(given[0], frame, thresholds[0])
    second = _side(given[1], frame, thresholds[1])
    names = (first.name, second.name)
    if names[0] == names[1]:
        names = (f"{names[0]} (A)", f"{names[1]} (B)")
    made = catalog_difference(
        first.catalog, second.catalog, frame, radius_px=radius_px, names=names
    )
    counts = [made.count(where) for where in (BOTH, ONLY_A, ONLY_B)]
    line = (
        f"{counts[0]:,} in both, {counts[1]:,} only in {names[0]}, {counts[2]:,} only in {names[1]}"
    )
    out.print(line, markup=False, highlight=False, soft_wrap=True)
    console = wide_out()
    for title, rows in _tables(made):
        console.print(WholeTable(_table(title, rows, names)))
    if folder is not None:
        _write(made, frame, folder)
        out.print(str(folder / "index.html"), markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two catalogues, under the name it is shown by."""

    name: str
    catalog: Catalog


def _side(given: str, frame: Frame, threshold: float | None) -> _Side:
    """Return the catalogue that an argument names, cut at its threshold."""
    path = Path(given)
    if path.is_file() or path.suffix.lower() in TABLE_ENDINGS:
        found = read_catalog(path, frame=frame)
        cut = stated_threshold(found.table.meta) if threshold is None else threshold
        return _Side(path.name, found.select(rows_at(found, cut)))
    if any(RunPaths(place).record.is_file() for place in (path, path.parent)):
        return _of_run(given, frame, threshold)
    if given not in available():
        close = nearest(given, available())
        raise BadInputError(
            given,
            f"a catalogue, RUN/DETECTOR of a run folder, or a detector ({', '.join(available())})",
            f"none of these{f'; did you mean {close}?' if close else ''}",
        )
    from skyduel.runner.api import find_sources

    return _Side(given, find_sources(frame, given, threshold=threshold))


def _of_run(given: str, frame: Frame, threshold: float | None) -> _Side:
    """Return the catalogue of a run's detector on the frame, at its own threshold."""
    from skyduel.run_folder.compare_runs import run_detector

    one = run_detector(given)
    file = one.run.paths.catalog(one.detector, frame.name)
    if not file.is_file():
        known = ", ".join(one.run.scored_frames[:6])
        raise BadInputError(given, f"the frame {frame.name!r} in the run", f"frames {known}")
    found = read_catalog(file, frame=frame)
    cut = one.record.default_threshold if threshold is None else threshold
    return _Side(f"{one.run.name}/{one.detector}", found.select(rows_at(found, cut)))


def _tables(made: CatalogDifference) -> list[tuple[str, pd.DataFrame]]:
    return [
        ("by magnitude", made.by_magnitude()),
        (f"by distance to the {made.n_bright} brightest sources", made.by_bright_distance()),
        ("by place on the chip", made.by_place()),
    ]


def _table(title: str, rows: pd.DataFrame, names: tuple[str, str]) -> Table:
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for head in ("both", f"only {names[0]}", f"only {names[1]}"):
        table.add_column(Text(head), justify="right")
    for label, *counts in rows.itertuples(index=False):
        table.add_row(Text(str(label)), *(f"{n:,}" for n in counts))
    return table


def _write(made: CatalogDifference, frame: Frame, folder: Path) -> None:
    """Write the page, the tables and region files."""
    from skyduel.reports.page.difference_page import difference_page

    tables = {
        "sources": made.sources,
        "by_magnitude": made.by_magnitude(),
        "by_bright_distance": made.by_bright_distance(),
        "by_place": made.by_place(),
    }
    for name, rows in tables.items():
        with atomic_path(folder / f"{name}.csv") as temporary:
            without_formulas(rows).to_csv(temporary, index=False)
    for where, name, color in ((ONLY_A, "only_a", "orange"), (ONLY_B, "only_b", "cyan")):
        mine = made.sources[made.sources["where"] == where]
        regions = Catalog.build(
            x=mine["x"].to_numpy(), y=mine["y"].to_numpy(), snr=mine["snr"].to_numpy()
        )
        write_regions(regions, folder / f"{name}.reg", label="snr", color=color)
    with atomic_path(folder / "index.html") as temporary:
        temporary.write_text(difference_page(made, frame), encoding="utf-8")
    if not len(made.sources):
        warn("neither catalogue has a source on this frame")
