"""Measure the scoring of a finished run: ``python benchmarks/speed/scoring.py RUN --old CHECKOUT``.

Reads the catalogues of a run folder, e.g. that of ``skyduel run`` on the built-in set, and
computes all its tables: matching, scores, depths with their resamples, analyses, comparisons.
With ``--old CHECKOUT`` (another checkout of this project) both compute them in turn, each time in
a process of its own, and every table must be the same: words and counts equal, numbers within
1e-9 of their size or of 1. Prints user CPU and wall seconds of the scoring, without imports and
reading.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import skyduel
from skyduel.core import pack_catalogs, read_catalog
from skyduel.evaluation import (
    FrameInput,
    ScoringRules,
    choose_edges,
    evaluate_detector,
    merge,
)
from skyduel.evaluation.comparison.compare import compare_all
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.record import read_record

#: Largest difference of numbers, relative to their size or to 1.
TOLERANCE = 1e-9


def inputs(run: Path, detector: str, truths: dict[str, object]) -> list[FrameInput]:
    """Return the frames of one detector; the truths are packed once."""
    paths = RunPaths(run)
    frames = read_record(paths.record).dataset.frames
    if not truths:
        packed = pack_catalogs(read_catalog(paths.truth(f.name)) for f in frames)
        truths |= dict(zip([f.name for f in frames], packed, strict=True))
    found = pack_catalogs(read_catalog(paths.catalog(detector, f.name)) for f in frames)
    return [
        FrameInput(
            frame=f.name, truth=truths[f.name], found=catalog, mpix=f.mpix, group=f.group,
            split=f.split, fwhm=f.fwhm, shape=(f.ny, f.nx),
        )
        for f, catalog in zip(frames, found, strict=True)
    ]  # fmt: skip


def child(run: Path, target: Path) -> None:
    """Write the tables of a run and the seconds that they took."""
    record = read_record(RunPaths(run).record)
    truths: dict[str, object] = {}
    frames = {d.name: inputs(run, d.name, truths) for d in record.detectors}
    rules = ScoringRules()
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    edges = choose_edges(next(iter(frames.values())), rules)
    parts = [
        evaluate_detector(
            d.name, frames[d.name], rules, edges, default_threshold=d.default_threshold
        )
        for d in record.detectors
    ]
    result = merge(parts, edges)
    tables = {"counts": result.counts, "scores": result.scores, "sweep": result.sweep}
    tables |= {"limits": result.limits, **result.analyses}
    tables["comparisons"] = compare_all(result.comparison_samples, rules)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime - used
    wall = time.perf_counter() - began
    for name, table in tables.items():
        table.to_parquet(target / f"{name}.parquet")
    (target / "seconds.json").write_text(json.dumps([used, wall]))


def differences(one: Path, other: Path) -> list[tuple[float, str]]:
    """Return the largest difference of each table's columns; exit if a table is another one."""
    worst = []
    for path in sorted(one.glob("*.parquet")):
        a, b = pd.read_parquet(path), pd.read_parquet(other / path.name)
        if list(a.columns) != list(b.columns) or len(a) != len(b) or (a.dtypes != b.dtypes).any():
            raise SystemExit(f"{path.stem}: other rows, columns or types")
        for name in a:
            where = f"{path.stem}.{name}"
            if a[name].dtype.kind != "f":
                if not a[name].equals(b[name]):
                    raise SystemExit(f"{where} differs")
                continue
            x, y = a[name].to_numpy(), b[name].to_numpy()
            with np.errstate(invalid="ignore"):
                off = np.where(x == y, 0.0, np.abs(x - y) / np.maximum(1.0, np.abs(x)))
            if (np.isnan(x) != np.isnan(y)).any() or np.nanmax(off, initial=0.0) > TOLERANCE:
                raise SystemExit(f"{where} differs by {np.nanmax(off, initial=0.0):.3g}")
            worst.append((float(np.nanmax(off, initial=0.0)), where))
    return sorted(worst, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--old", type=Path, help="another checkout, to compare with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.run, options.child)
        return
    checkouts = {"new": Path(skyduel.__file__).parents[2]}
    if options.old:
        checkouts = {"old": options.old.resolve()} | checkouts
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}, "
        f"{platform.machine()}, {options.threads} threads; load {os.getloadavg()[0]:.1f}"
    )
    seconds: dict[str, list[list[float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            for name, checkout in checkouts.items():
                target = Path(folder) / name
                target.mkdir(exist_ok=True)
                environment = os.environ | {
                    "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(options.threads),
                }  # fmt: skip
                words = [sys.executable, __file__, str(options.run), "--child", str(target)]
                subprocess.run(words, check=True, env=environment)
                seconds[name].append(json.loads((target / "seconds.json").read_text()))
        if options.old:
            worst = differences(Path(folder) / "old", Path(folder) / "new")
            said = ", ".join(f"{where} {off:.1e}" for off, where in worst[:4] if off)
            print(f"the same tables; largest differences: {said or 'none'}")
    middle = {}
    for name, values in seconds.items():
        user, wall = ([v[k] for v in values] for k in (0, 1))
        middle[name] = statistics.median(user)
        print(
            f"  {name}: user {min(user):.2f} {middle[name]:.2f} {max(user):.2f} s "
            f"(min, median, max), wall {statistics.median(wall):.2f} s"
        )
    if options.old:
        print(f"  old/new {middle['old'] / middle['new']:.2f}")


if __name__ == "__main__":
    main()
