"""The command `skyduel diff`: two catalogues of one frame, without a truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import pandas as pd
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.commands.options import MaskBits, mask_bits_from
from skyduel.cli.console import out, warn, wide_out
from skyduel.cli.whole_tables import WholeTable
from skyduel.core import (
    TABLE_ENDINGS,
    BadInputError,
    Catalog,
    Frame,
    atomic_path,
    available,
    entry_of,
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

__all__ = ["NAME", "command"]

NAME = "diff"


def command(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="A catalogue, RUN/DETECTOR of a run, or a detector."),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="As A.")],
    frame: Annotated[str, typer.Option(metavar="FRAME", help="The frame of both.")],
    radius_px: Annotated[
        float, typer.Option(help="Largest distance of two rows that are one source, in px.")
    ] = 2.0,
    threshold_a: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Lowest score in A. Default: the threshold that it states."),
    ] = None,
    threshold_b: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Lowest score in B. Default: the threshold that it states."),
    ] = None,
    out_folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="FOLDER", help="Write a page, tables and regions."),
    ] = None,
    mask_bits: MaskBits = None,
) -> None:
    """Show which sources two catalogues share, which only one has, and where these lie.

    Counts are by magnitude, by distance to bright sources and by place on the chip. With --out a
    page shows cut-outs of the sources that only one has. Without a truth nobody knows who is right.
    """
    image = entry_of(frame, mask_bits=mask_bits_from(mask_bits)).read()
    first = _side(a, image, threshold_a)
    second = _side(b, image, threshold_b)
    names = (first.name, second.name)
    if names[0] == names[1]:
        names = (f"{names[0]} (A)", f"{names[1]} (B)")
    made = catalog_difference(
        first.catalog, second.catalog, image, radius_px=radius_px, names=names
    )
    counts = [made.count(where) for where in (BOTH, ONLY_A, ONLY_B)]
    line = (
        f"{counts[0]:,} in both, {counts[1]:,} only in {names[0]}, {counts[2]:,} only in {names[1]}"
    )
    out.print(line, markup=False, highlight=False, soft_wrap=True)
    console = wide_out()
    for title, rows in _tables(made):
        console.print(WholeTable(_table(title, rows, names)))
    if out_folder is not None:
        _write(made, image, out_folder)
        out.print(str(out_folder / "index.html"), markup=False, highlight=False, soft_wrap=True)


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
