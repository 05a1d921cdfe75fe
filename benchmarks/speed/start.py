"""Measure what the command line costs before it works; run from the root.

``python benchmarks/speed/start.py`` starts the program for ``--version``, ``--help``, the help
of a command and ``import skyduel``, each in a new process, and prints the median of the
processor time and of the modules that are loaded. A bare interpreter is timed beside them.
With ``--other SRC``, the folder ``src`` of another checkout, every call of this checkout is
followed by the same call of the other, and the ratio of the medians is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

CALLS = {
    "bare interpreter": "pass",
    "import skyduel": "import skyduel",
    **{
        f"skyduel {words}": f"from skyduel.cli.main import main; main({words.split()!r})"
        for words in ("--version", "--help", "score --help", "run --help", "gate --help")
    },
}
ENDING = "import sys, atexit; atexit.register(lambda: print(len(sys.modules), file=sys.stderr)); "


def once(code: str, source: Path) -> tuple[float, int]:
    """Return the processor seconds, user and system, of a new process, and its modules."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", ENDING + code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stderr.split()[-1])


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--other", type=Path, help="the folder src of another checkout")
    words.add_argument("--repeats", type=int, default=9, help="processes per call and checkout")
    options = words.parse_args()
    sources = [Path(__file__).resolve().parents[2] / "src"]
    sources += [options.other.resolve()] if options.other else []
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]}")
    print(f"{'call':<22} {'CPU s':>7} {'spread':>13} {'modules':>8}", end="")
    print(f" {'other s':>8} {'modules':>8} {'ratio':>6}" if len(sources) > 1 else "")
    for name, code in CALLS.items():
        for source in sources:  # bytecode and the page cache
            once(code, source)
        taken = [[once(code, source) for source in sources] for _ in range(options.repeats)]
        line = f"{name:<22}"
        medians = []
        for k in range(len(sources)):
            seconds = sorted(row[k][0] for row in taken)
            medians.append(statistics.median(seconds))
            spread = f"{seconds[0]:.3f}–{seconds[-1]:.3f}"
            line += f" {medians[k]:>7.3f} {spread:>13}" if k == 0 else f" {medians[k]:>8.3f}"
            line += f" {taken[0][k][1]:>8}"
        print(line + (f" {medians[1] / medians[0]:>6.1f}" if len(medians) > 1 else ""))


if __name__ == "__main__":
    main()
