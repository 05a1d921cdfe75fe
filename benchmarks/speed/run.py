"""Measure a whole ``skyduel run``; run from the root.

``python benchmarks/speed/run.py --old CHECKOUT`` runs the default detectors on the built-in set,
or on ``--set FOLDER``, by this code and by that of another checkout, each time into a new folder
and in a process of its own, in turns: start, frames, truths, detection, scores and page. It first
verifies that both write the same truths, catalogues, pairs, previews and tables, byte for byte.
Then it prints the median time and its spread. Without ``--old`` it measures this code alone.

Prints wall time and the CPU time of all processes; compare CPU times on a busy machine. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
from pathlib import Path

from commands import measured

#: What a run writes that holds no time.
FOLDERS = ("truth", "catalogs", "pairs", "analyses", "previews")


def run(checkout: Path, folder: Path, options: list[str]) -> tuple[float, float]:
    """Run once by the code of a checkout into a new folder; return CPU [s] and wall [s]."""
    shutil.rmtree(folder, ignore_errors=True)
    return measured(checkout, ["run", *options, "--out", str(folder)])


def results(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that must not change, by name."""
    paths = [p for name in FOLDERS for p in (folder / name).rglob("*") if p.is_file()]
    paths += [*folder.glob("*.parquet"), *folder.glob("*.csv")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.suffix != ".json"}


def verify(old: Path, new: Path) -> int:
    """Exit unless two runs have the same results; return the number of files compared."""
    one, other = results(old), results(new)
    if one.keys() != other.keys():
        raise SystemExit(f"other files: {sorted(one.keys() ^ other.keys())[:5]}")
    differ = [name for name in one if one[name] != other[name]]
    if differ:
        raise SystemExit(f"{len(differ)} files differ: {sorted(differ)[:5]}")
    return len(one)


def told(seconds: list[float]) -> str:
    """Return the median and the range of times."""
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f}–{max(seconds):.1f})"


def main() -> None:
    """Verify, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--old", type=Path, help="the checkout to compare with")
    parser.add_argument("--set", type=Path, help="a data set; default: the built-in one")
    parser.add_argument("--with", action="append", default=[], help="detectors; default: three")
    parser.add_argument("--repeat", type=int, default=1, help="times each, after the first")
    options = parser.parse_args()
    words = [] if options.set is None else [str(options.set.resolve())]
    words += [word for name in vars(options)["with"] for word in ("--with", name)]
    code = {"new": Path(__file__).resolve().parents[2]}
    if options.old is not None:
        code = {"old": options.old.resolve(), **code}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in code}
    with tempfile.TemporaryDirectory(prefix="skyduel-run-") as scratch:
        for turn in range(options.repeat + 1):  # the first fills the caches
            for name, checkout in code.items():
                taken = run(checkout, Path(scratch) / name / "run", words)
                if turn or not options.repeat:
                    times[name].append(taken)
            if not turn and len(code) == 2:
                n = verify(*(Path(scratch) / name / "run" for name in code))
                print(f"same: {n} files of truths, catalogues, pairs and tables", flush=True)
    for name in code:
        cpu, wall = ([t[i] for t in times[name]] for i in (0, 1))
        print(f"{name}: CPU {told(cpu)}, wall {told(wall)}")
    if len(code) == 2:
        for i, kind in enumerate(("CPU", "wall")):
            old, new = (statistics.median(t[i] for t in times[name]) for name in code)
            print(f"ratio of {kind} time, old / new: {old / new:.2f}")
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"Python {platform.python_version()}")


if __name__ == "__main__":
    main()
