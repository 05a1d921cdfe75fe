"""Print the budgets of a small computer: ``python benchmarks/speed/budgets.py``; Linux only.

What was wanted stands beside what is measured, with torch and with onnxruntime in the same run:
the size of an installation, the processor time from a cold start to a catalogue, peak memory, the
latency of a warm `skyduel watch`, and the dense part of the network in 8 bits. Runs
``speed/edge.py`` and prints its tables as well. One thread throughout.

Sizes are those of the files of the installed packages that the extra asks for, without bytecode.
The latency is wall time from a frame renamed into the folder to its catalogue on the disk; the
processor time of the watch for a frame stands beside it, for machines that are busy.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from edge import FRAMES, RUNTIMES, Starts, dense, machine, starts
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from skyduel.core import write_frame
from skyduel.simulation import draw_settings, simulate

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "skyduel"
WATCH = "import sys; from skyduel.cli.main import main; main(sys.argv[1:])"
WAIT_S = 600.0
#: Extra that each runtime needs.
EXTRAS = {"torch": "neural", "onnx": "onnx", "onnx-int8": "onnx"}
#: What was wanted without torch: megabytes and seconds.
INSTALL_MB, COLD_S, WATCH_S = 320, 0.8, 0.3
MEMORY_MB = dict(zip(FRAMES, (200, 420, 500), strict=True))
#: How many times as fast as the full network by torch in bf16 the dense part in 8 bits shall be.
FASTER = {"full": 1.2, "small": 2.4}


def package_mb(name: str) -> float:
    """Return the size of an installed package, without bytecode [MB]."""
    there = distribution(name)
    paths = (Path(str(there.locate_file(file))) for file in there.files or ())
    kept = (path for path in paths if path.suffix != ".pyc" and path.is_file())
    return sum(path.stat().st_size for path in kept) / 1e6


def own_mb() -> float:
    """Return the size of this package [MB]."""
    return sum(n for p, n in files(PACKAGE) if p.suffix not in (".pyc", ".cpp", ".cu", ".h")) / 1e6


def station_mb() -> float:
    """Return the size of the package with `distribution/station.txt` [MB]."""
    text = (PACKAGE.parents[1] / "distribution" / "station.txt").read_text()
    names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    return own_mb() + sum(map(package_mb, names))


def installed_mb(extra: str) -> dict[str, float]:
    """Return the size of the package with an extra, and of each package that it needs [MB]."""
    sizes = {"skyduel": own_mb()}
    left, seen = [Requirement(f"skyduel[{extra}]")], set()
    while left:
        one = left.pop()
        name, extras = canonicalize_name(one.name), tuple(sorted(one.extras))
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            there = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"required {name}, which skyduel[{extra}] needs; got none")
        if name not in sizes:
            sizes[name] = package_mb(name)
        for text in there.requires or ():
            wanted = Requirement(text)
            marker = wanted.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                left.append(wanted)
    return sizes


def files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files below a folder and their sizes, through links."""
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(place, name)
            yield path, path.stat().st_size


def watched(folder: Path, frame: Path, runtime: str, count: int) -> tuple[float, float]:
    """Return latency and processor time of a warm watch for a frame, medians [s]."""
    place, out = folder / f"watched-{runtime}", folder / f"out-{runtime}"
    place.mkdir()
    words = ["--out", str(out), "--with", "neural", "--set", f"neural.runtime={runtime}"]
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH, "watch", str(place), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        used = []
        await_file(out / "events.jsonl", process)
        for k in range(count + 2):
            before = processor_s(process.pid)
            hidden = place / f".frame_{k}"
            shutil.copy(frame, hidden)
            hidden.rename(place / f"frame_{k}.fits")
            await_file(out / f"frame_{k}.ecsv", process)
            used.append(processor_s(process.pid) - before)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    late = [e["latency_s"] for e in events if e["event"] == "catalog"]
    # The first two frames warm up.
    return statistics.median(late[2:]), statistics.median(used[2:])


def await_file(path: Path, process: subprocess.Popen) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + WAIT_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"the watch made no {path.name}: exit status {process.poll()}")
        time.sleep(0.005)


def processor_s(pid: int) -> float:
    """Return the processor time of a process so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(
    sizes: dict[str, float], cold: Starts, late: dict[str, tuple[float, float]], ratios: dict
) -> Iterator[tuple[str, ...]]:
    """Yield the rows: what, wanted, one cell for each runtime."""
    station = f"{sizes['station']:,.0f}"
    yield ("install [MB]", f"≤ {INSTALL_MB}", *(f"{sizes[EXTRAS[r]]:,.0f}" for r in RUNTIMES))
    yield ("install of a station [MB]", f"≤ {INSTALL_MB}", "", station, station)
    for (family, side), of_runtime in cold.items():
        what = f"{side}² {family}"
        seconds = [f"{of_runtime[r][0]:.2f}" for r in RUNTIMES]
        memory = [f"{of_runtime[r][1]:,.0f}" for r in RUNTIMES]
        if side == FRAMES[0][1]:
            yield (f"cold start to a catalogue, {what}, processor [s]", f"≤ {COLD_S}", *seconds)
        else:
            yield (f"the same, {what} [s]", "", *seconds)
        yield (f"peak memory, {what} [MB]", f"≤ {MEMORY_MB[family, side]}", *memory)
    yield (
        "warm watch, 512², latency [s]",
        f"≤ {WATCH_S}",
        *(f"{late[r][0]:.2f}" for r in RUNTIMES),
    )
    yield ("warm watch, 512², processor [s]", "", *(f"{late[r][1]:.2f}" for r in RUNTIMES))
    for size, least in FASTER.items():
        forms = [f"{size}, torch bf16", f"{size}, onnx fp32", f"{size}, onnx int8"]
        cells = [f"{1 / ratios[form]:.2f}" for form in forms]
        yield (f"dense part, {size} network, rate", f"≥ {least} (8 bits)", *cells)


def main() -> None:
    """Print the tables."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--repeats", type=int, default=3, help="starts of each")
    words.add_argument("--largest", type=int, default=2048, help="leave larger frames out [px]")
    words.add_argument("--frames", type=int, default=20, help="frames of the watch")
    options = words.parse_args()
    print(machine())
    sizes = {"station": station_mb()}
    for extra in dict.fromkeys(EXTRAS.values()):
        parts = installed_mb(extra)
        sizes[extra] = sum(parts.values())
        largest = sorted(parts, key=parts.__getitem__, reverse=True)[:8]
        print(f"skyduel[{extra}]: {sizes[extra]:,.0f} MB in {len(parts)} packages, of them "
              + ", ".join(f"{name} {parts[name]:,.0f}" for name in largest))  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cold = starts(folder, options.repeats, options.largest)
        rng = np.random.default_rng(20261130)
        frame, _ = simulate(draw_settings("field", rng, ny=512, nx=512), rng)
        write_frame(frame, folder / "frame.fits")
        late = {r: watched(folder, folder / "frame.fits", r, options.frames) for r in RUNTIMES}
    ratios = dense(512, 4 * options.repeats)
    print("\n" + "\n".join("| " + " | ".join(row) + " |" for row in [
        ("", "wanted", *RUNTIMES), ("---", *["---:"] * (1 + len(RUNTIMES))),
        *table(sizes, cold, late, ratios),
    ]))  # fmt: skip
    print(machine())


if __name__ == "__main__":
    main()
