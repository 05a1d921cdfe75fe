"""Time the networks and SEP side by side: ``benchmarks/speed/networks.py [--old CHECKOUT]``.

On a 2048² field frame and a crowded one: the shipped networks (full and small), our detector
``sep``, SEP itself (background and extraction with the settings of ``sep``), and with ``--old``
the network of another checkout of this project, built in place. Each runs in a process of its
own, one after another in turn, so that a varying load affects all equally; SEP uses one core.
First verifies that they agree: of the full network's detections of score 0.9 or more, at
least 98 % are detections of the other networks, of score 0.5 or more and within 1 px, and
at least as many of SEP's objects are rows of ``sep`` within 3 px. Prints
medians, spread and the ratios of the medians.
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
from importlib.metadata import version
from pathlib import Path

import numpy as np
from inputs import FRAME_PX, frame_of
from scipy.spatial import KDTree

from skyduel.core import make_detector, read_frame, write_frame

FAMILIES = ("field", "crowded")
LEAST_SHARE = 0.98


def detector_call(label: str, path: Path) -> Callable[[], np.ndarray]:
    """Return a function that detects on the frame and returns x, y and score of the points."""
    frame = read_frame(path)
    if label == "bare SEP":
        from sep_baseline import bare

        def alone() -> np.ndarray:
            found = bare(frame)
            return np.column_stack([found["x"], found["y"], np.ones(len(found))])

        return alone
    use = "sep" if label == "sep" else "neural"
    detector = make_detector(use, {"weights": "small"} if label == "small" else {})

    def call() -> np.ndarray:
        found = detector(frame)
        score = found["score"] if use == "neural" else np.ones(len(found))
        return np.column_stack([found.xy, score])[~found.is_streak]

    return call


def serve(label: str, path: Path, out: Path) -> None:
    """Keep a first catalogue, then detect once for each line read and print the seconds."""
    call = detector_call(label, path)
    np.save(out, call())
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        call()
        print(time.perf_counter() - began, flush=True)


def start(label: str, checkout: Path | None, path: Path, out: Path) -> subprocess.Popen[str]:
    here = Path(__file__).resolve()
    environment = dict(os.environ)
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout.resolve() / "src")
    child = subprocess.Popen(
        [sys.executable, here, "--serve", label, path, out],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert child.stdout is not None
    if child.stdout.readline().strip() != "ready":
        raise SystemExit(f"{label}: the process ended before it was ready")
    return child


def share_of(a: np.ndarray, b: np.ndarray, radius: float) -> float:
    """Return the share of the positions a that have one of b within a radius [px]."""
    return float((KDTree(b[:, :2]).query(a[:, :2])[0] <= radius).mean())


def verify(found: dict[str, np.ndarray]) -> None:
    full = found["full"]
    sure = full[full[:, 2] >= 0.9]
    for label in ("small", "old"):
        if label in found:
            other = found[label]
            share = share_of(sure, other[other[:, 2] >= 0.5], 1.0)
            print(f"  of {len(sure)} detections of score ≥ 0.9, {label} has {share:.2%}")
            if share < LEAST_SHARE:
                raise SystemExit(f"no agreement: {label} has only {share:.2%}")
    share = share_of(found["bare SEP"], found["sep"], 3.0)
    print(f"  of SEP's {len(found['bare SEP'])} objects, `sep` has {share:.2%}")
    if share < LEAST_SHARE:
        raise SystemExit(f"no agreement: `sep` has only {share:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, metavar="CHECKOUT", help="an earlier build")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], *map(Path, options.serve[1:]))
        return
    cores = len(os.sched_getaffinity(0))
    print(
        f"{platform.machine()}, {cores} cores, torch {version('torch')}, sep {version('sep')}; "
        f"{options.repeats} runs of each in turn"
    )
    mpix = FRAME_PX**2 / 1e6
    labels: dict[str, Path | None] = dict.fromkeys(("full", "small", "sep", "bare SEP"))
    if options.old is not None:
        labels["old"] = options.old
    with tempfile.TemporaryDirectory() as place:
        for family in FAMILIES:
            path = Path(place) / f"{family}.fits"
            write_frame(frame_of(family), path)
            print(f"\n{FRAME_PX}² {family} frame")
            outs = {label: Path(place) / f"{family}-{n}.npy" for n, label in enumerate(labels)}
            children = {
                label: start(label, checkout, path, outs[label])
                for label, checkout in labels.items()
            }
            verify({label: np.load(out) for label, out in outs.items()})
            seconds: dict[str, list[float]] = {label: [] for label in labels}
            for turn in range(options.repeats + 1):
                for label, child in children.items():
                    assert child.stdin is not None
                    assert child.stdout is not None
                    child.stdin.write("go\n")
                    child.stdin.flush()
                    taken = float(child.stdout.readline())
                    if turn:  # the first warms the caches
                        seconds[label].append(taken)
            for child in children.values():
                child.communicate()
            middle = {label: statistics.median(values) for label, values in seconds.items()}
            first = "old" if "old" in middle else "full"
            for label, values in seconds.items():
                print(
                    f"  {label:<9} {min(values):6.3f} {middle[label]:6.3f} {max(values):6.3f} s "
                    f"(min, median, max)  {mpix / middle[label]:6.2f} Mpix/s  "
                    f"{first}/this {middle[first] / middle[label]:5.2f}"
                )
            print(
                f"  small/full {middle['full'] / middle['small']:.2f} times as fast; "
                f"bare SEP/sep {middle['sep'] / middle['bare SEP']:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
