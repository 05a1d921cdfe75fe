"""Measure the time of a report; run from the root.

``python benchmarks/speed/report.py RUN --old CHECKOUT`` writes the report of a finished run by
this code and by that of another checkout, each time on a fresh copy of the folder and in a
process of its own, in turns. It first verifies that both write the same figures with the same
numbers, and that the page holds every number that the old one's tables hold. Then it prints
the median time and its spread, and the size of the page and of the figures.

Prints CPU time of all processes and wall time, the start of Python and all imports included;
compare CPU times on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import tempfile
from pathlib import Path

from commands import measured

NUMBER = re.compile(r'<data value="([^"]*)">')


def write(checkout: Path, run: Path, place: Path) -> tuple[float, float, Path]:
    """Write the report by the code of a checkout; return CPU [s], wall [s] and its folder."""
    folder = place / run.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("report", "data"))
    return *measured(checkout, ["report", str(folder)]), folder / "report"


def table_numbers(page: Path) -> set[str]:
    """Return the numbers of a page's tables, with ten significant digits."""
    return {f"{float(value):.10g}" for value in NUMBER.findall(page.read_text(encoding="utf-8"))}


def verify(old: Path, new: Path) -> tuple[int, int]:
    """Check that two reports agree; return the number of figures and of numbers compared."""
    figures = sorted(p.name for p in (old / "figures").glob("*.csv"))
    lacking = [n for n in figures if not (new / "figures" / n).is_file()]
    assert not lacking, f"figures that the new report lacks: {lacking}"
    for name in figures:
        assert (old / "figures" / name).read_bytes() == (new / "figures" / name).read_bytes(), name
        assert (new / "figures" / name).with_suffix(".svg").is_file(), name
    numbers = table_numbers(old / "index.html")
    lost = numbers - table_numbers(new / "index.html")
    assert not lost, f"{len(lost)} numbers are not on the new page: {sorted(lost)[:5]}"
    return len(figures), len(numbers)


def size(report: Path) -> str:
    """Return the sizes of the page and of the SVG figures [MB]."""
    figures = sum(p.stat().st_size for p in (report / "figures").glob("*.svg"))
    page = (report / "index.html").stat().st_size
    return f"page {page / 1e6:.2f} MB, figures as SVG {figures / 1e6:.2f} MB"


def told(seconds: list[float]) -> str:
    """Return the median and the range of times."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"


def main() -> None:
    """Verify, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--old", type=Path, required=True, help="the checkout to compare with")
    parser.add_argument("--repeat", type=int, default=3, help="times each; default 3")
    options = parser.parse_args()
    code = {"old": options.old.resolve(), "new": Path(__file__).resolve().parents[2]}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in code}
    with tempfile.TemporaryDirectory(prefix="skyduel-report-") as scratch:
        reports = {}
        for turn in range(options.repeat + 1):  # the first fills the caches
            for name, checkout in code.items():
                place = Path(scratch) / name
                cpu, wall, reports[name] = write(checkout, options.run.resolve(), place)
                if turn:
                    times[name].append((cpu, wall))
            if not turn:
                figures, numbers = verify(reports["old"], reports["new"])
                print(f"same: {figures} figures with their numbers, {numbers} numbers in tables")
        for name, report in reports.items():
            cpu, wall = ([t[i] for t in times[name]] for i in (0, 1))
            print(f"{name}: CPU {told(cpu)}, wall {told(wall)}; {size(report)}")
    for i, kind in enumerate(("CPU", "wall")):
        old, new = (statistics.median(t[i] for t in times[name]) for name in code)
        print(f"ratio of {kind} time, old / new: {old / new:.1f}")
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"Python {platform.python_version()}")


if __name__ == "__main__":
    main()
