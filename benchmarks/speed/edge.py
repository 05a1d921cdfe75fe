"""Measure the detector with torch and with onnxruntime side by side; run from the root.

``python benchmarks/speed/edge.py`` starts ``skyduel detect`` in new processes, one for each
runtime and frame, turn by turn, and prints the processor time from the start to the written
catalogue, the peak memory and the rows. Then it times the dense part of the network alone, in
one process, turn by turn. One thread throughout.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skyduel.core import write_frame
from skyduel.simulation import draw_settings, simulate

RUNTIMES = ("torch", "onnx", "onnx-int8")
#: Kind and side of the frames.
FRAMES = (("field", 512), ("field", 2048), ("crowded", 2048))
#: Processor seconds and peak memory [MB], by kind and side of the frame, and by runtime.
Starts = dict[tuple[str, int], dict[str, tuple[float, float]]]
#: Runs a command line, then prints processor seconds and peak memory of the process [KiB].
CODE = """
import resource, sys
from skyduel.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    if stop.code:
        raise
used = resource.getrusage(resource.RUSAGE_SELF)
print("USED", used.ru_utime + used.ru_stime, used.ru_maxrss, "torch" in sys.modules)
"""


def once(frame: Path, runtime: str, out: Path) -> tuple[float, float, int]:
    """Return processor seconds, peak memory [MB] and rows of one start."""
    words = ["detect", str(frame), "--runtime", runtime, "--all", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds, kib, torch = done.stdout.split("USED")[1].split()
    if (torch == "True") != (runtime == "torch"):
        sys.exit(f"{runtime}: torch was {'' if torch == 'True' else 'not '}loaded")
    rows = sum(not line.startswith("#") for line in out.read_text().splitlines()) - 1
    return float(seconds), int(kib) * 1024 / 1e6, rows


def starts(folder: Path, repeats: int, largest: int) -> Starts:
    """Print the table of the starts, and return it by frame and runtime."""
    table: Starts = {}
    print(f"{'frame':<16} {'runtime':<10} {'CPU s':>7} {'peak MB':>8} {'rows':>7}")
    for family, side in FRAMES:
        if side > largest:
            continue
        rng = np.random.default_rng(20261130)
        frame, _ = simulate(draw_settings(family, rng, ny=side, nx=side), rng)
        path = folder / f"{family}_{side}.fits"
        write_frame(frame, path)
        taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in RUNTIMES}
        for _ in range(repeats):
            for name in RUNTIMES:
                taken[name].append(once(path, name, folder / f"{name}.ecsv"))
        for name, each in taken.items():
            seconds, memory, rows = (statistics.median(v) for v in zip(*each, strict=True))
            table.setdefault((family, side), {})[name] = seconds, memory
            print(
                f"{family + ' ' + str(side):<16} {name:<10} {seconds:7.2f} {memory:8.0f} {rows:7}"
            )
    return table


def dense(side: int, repeats: int) -> dict[str, float]:
    """Print the time of the dense part of both shipped networks, beside the full one by torch.

    Returns the times by name, in units of that of torch in bf16.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from skyduel.detect.engine import load_engine

    torch.set_num_threads(1)
    runtimes = {}
    for size in ("full", "small"):
        weights = Path(size)
        runtimes |= {
            f"{size}, torch bf16": load_engine(weights, "torch", device="cpu", bf16=True).runtime,
            f"{size}, torch fp32": load_engine(weights, "torch", device="cpu", bf16=False).runtime,
            f"{size}, onnx fp32": load_engine(weights, "onnx").runtime,
            f"{size}, onnx int8": load_engine(weights, "onnx-int8").runtime,
        }
    image = np.random.default_rng(1).normal(0, 0.3, (4, side, side)).astype(np.float32)
    image[3] = 0
    taken: dict[str, list[float]] = {name: [] for name in runtimes}
    for turn in range(repeats + 1):
        for name, runtime in runtimes.items():
            seconds = timed(lambda made=runtime: made.dense(image))
            if turn:  # the first turn warms up
                taken[name].append(seconds)
    print(f"\n{'dense part, ' + str(side) + '²':<22} {'ms/Mpix':>8} {'of torch bf16':>14}")
    first, ratios = taken["full, torch bf16"], {}
    for name, each in taken.items():
        ratio = statistics.median(a / b for a, b in zip(each, first, strict=True))
        ratios[name] = ratio
        print(f"{name:<22} {statistics.median(each) / side**2 * 1e9:8.0f} {ratio:14.2f}")
    return ratios


def machine() -> str:
    """Return one line on the machine and how busy it is."""
    load = os.getloadavg()[0]
    what = f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}"
    return f"{what}, Python {platform.python_version()}"


def timed(call: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print both tables."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--repeats", type=int, default=3, help="starts, and turns of the dense part")
    words.add_argument("--largest", type=int, default=2048, help="leave larger frames out [px]")
    words.add_argument("--side", type=int, default=512, help="side of the dense part's image [px]")
    options = words.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        starts(Path(folder), options.repeats, options.largest)
    dense(options.side, 4 * options.repeats)


if __name__ == "__main__":
    main()
