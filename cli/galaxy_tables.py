"""Tables of galaxies over size and magnitude, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.whole_tables import WholeTable
from skyduel.core import Catalog
from skyduel.evaluation.rules import auto_bins
from skyduel.evaluation.scoring.counts import bin_index, bin_table
from skyduel.evaluation.scoring.galaxies import SIZE_EDGES
from skyduel.reports.text.galaxies import told_apart
from skyduel.run_folder import Run
from skyduel.run_folder.read_run import bin_label, size_label
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS

__all__ = ["completeness_tables", "injected_table"]

_SIZE: Final = "r½ px"


def injected_table(galaxies: Catalog, frame: str) -> WholeTable:
    """Return the number of galaxies injected into a frame by half-light radius and magnitude."""
    edges = auto_bins(galaxies["mag"])
    size = np.searchsorted(SIZE_EDGES, galaxies["half_light_px"], side="right") - 1
    mag = bin_index(galaxies["mag"], edges)
    n = np.zeros((len(SIZE_EDGES) - 1, len(edges) + 2), dtype=np.int64)
    np.add.at(n, (size, mag), 1)
    bins = bin_table(edges).to_dict("records")
    columns = {
        k: bin_label(bins[k]["bin"], bins[k]["bin_lo"], bins[k]["bin_hi"], len(edges) - 1)
        for k in np.flatnonzero(n.any(axis=0)).tolist()
    }
    cells = {(s, k): str(n[s, k]) for s in np.flatnonzero(n.any(axis=1)).tolist() for k in columns}
    sizes = {s: size_label(SIZE_EDGES[s], SIZE_EDGES[s + 1]) for s, _ in cells}
    caption = "by half-light radius and total magnitude; `skyduel run` prints how many are found"
    return _table(f"galaxies injected into {frame}", caption, sizes, columns, cells)


def completeness_tables(run: Run, point: str) -> Iterator[WholeTable]:
    """Yield a table of found galaxies by size and magnitude for each detector of a run."""
    rows = run.analysis("galaxies")
    if not len(rows):
        return
    rows = rows[(rows["point"] == point) & (rows["group"] == ALL_GROUPS)]
    galaxies = rows[rows["kind"] == "galaxy"]
    for detector in run.detectors:
        mine = galaxies[galaxies["detector"] == detector]
        held = {(int(r["size_bin"]), int(r["bin"])): r for r in mine.to_dict("records")}
        # All magnitudes, and all sizes, come last.
        n_bins = len(run.record.bins_mag) - 1
        columns = {
            b: bin_label(b, held[s, b]["bin_lo"], held[s, b]["bin_hi"], n_bins)
            for s, b in held
            if s == ALL_BINS
        }
        sizes = {
            s: "all" if s == ALL_BINS else size_label(held[s, b]["size_lo"], held[s, b]["size_hi"])
            for s, b in held
            if b == ALL_BINS
        }
        cells = {key: f"{row['k']}/{row['n']}" for key, row in held.items()}
        caption = f"found / all, {point} point, by half-light radius and total magnitude. "
        yield _table(
            f"galaxies: {detector}", caption + told_apart(rows[rows["detector"] == detector]),
            _last(sizes), _last(columns), cells,
        )  # fmt: skip


def _last(names: Mapping[int, str]) -> dict[int, str]:
    """Return names in the order of their bins, all together last."""
    return dict(sorted(names.items(), key=lambda item: (item[0] == ALL_BINS, item[0])))


def _table(
    title: str,
    caption: str,
    sizes: Mapping[int, str],
    columns: Mapping[int, str],
    cells: Mapping[tuple[int, int], Any],
) -> WholeTable:
    table = Table(
        title=Text(title),
        caption=Text(caption),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(_SIZE, no_wrap=True)
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=True)
    for size, name in sizes.items():
        table.add_row(name, *(str(cells.get((size, k), "–")) for k in columns))
    return WholeTable(table)
