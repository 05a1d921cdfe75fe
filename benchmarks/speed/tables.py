"""Measure the time of writing a catalogue: ``python benchmarks/speed/tables.py``.

A crowded catalogue of 69,000 rows is written as ECSV by this project and by astropy. First verifies
that both files are read back with the same values in every digit, and the same header.
Prints CPU time and wall time; compare CPU times on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import astropy
import numpy as np
import pyarrow as pa
from astropy.table import Table

from skyduel.core import Catalog, write_catalog


def catalogue(n: int) -> Catalog:
    """Return a catalogue with the columns that the network's have on a frame with a WCS."""
    rng = np.random.default_rng(1)
    streak = rng.random(n) < 0.01
    flux = rng.lognormal(5, 2, n)
    return Catalog.build(
        source="neural", meta={"detector": "neural", "threshold": 0.5},
        x=rng.uniform(0, 1e4, n), y=rng.uniform(0, 1e4, n), score=rng.random(n), flux=flux,
        flux_err=rng.lognormal(2, 1, n), mag=25 - 2.5 * np.log10(flux), xy_err=rng.random(n),
        kind=np.where(streak, "streak", "point"), length=np.where(streak, 30 * rng.random(n), 0),
        theta=np.where(streak, rng.random(n), 0), flags=rng.integers(0, 64, n),
        ra=rng.uniform(0, 360, n), dec=rng.uniform(-90, 90, n), aper_flux=flux,
        aper_flux_err=np.where(rng.random(n) < 0.1, np.nan, rng.random(n)), aper_mag=rng.random(n),
    )  # fmt: skip


def same(ours: Path, theirs: Path) -> None:
    """Exit if two files give different tables."""
    a, b = Table.read(ours), Table.read(theirs)
    if a.colnames != b.colnames or a.meta != b.meta:
        raise SystemExit("the files have other headers")
    for name in b.colnames:
        if a[name].dtype != b[name].dtype or not np.array_equal(
            a[name], b[name], equal_nan=b[name].dtype.kind == "f"
        ):
            raise SystemExit(f"column {name} is read back with other values")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=69_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found = catalogue(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.ecsv", Path(folder) / "theirs.ecsv"
        calls: dict[str, Callable[[], object]] = {
            "skyduel": lambda: write_catalog(found, ours),
            "astropy": lambda: found.table.write(theirs, format="ascii.ecsv", overwrite=True),
        }
        for call in calls.values():
            call()
        same(ours, theirs)
        print(
            f"the same {options.rows:,} rows of {len(found.table.colnames)} columns are read back; "
            f"python {platform.python_version()}, astropy {astropy.__version__}, pyarrow "
            f"{pa.__version__}, {platform.machine()}; load {os.getloadavg()[0]:.1f}"
        )
        middle = {}
        for name, call in calls.items():
            cpu, wall = [], []
            for _ in range(options.repeats):
                began, used = time.perf_counter(), time.process_time()
                call()
                wall.append(time.perf_counter() - began)
                cpu.append(time.process_time() - used)
            middle[name] = statistics.median(cpu)
            print(
                f"  {name}: CPU {min(cpu):.3f} {middle[name]:.3f} {max(cpu):.3f} s "
                f"(min, median, max), wall {statistics.median(wall):.3f} s"
            )
        print(f"  astropy/skyduel: {middle['astropy'] / middle['skyduel']:.1f}")


if __name__ == "__main__":
    main()
