"""Measure the detector ``sep`` against bare SEP: ``python benchmarks/speed/sep_baseline.py``.

Bare SEP is `sep.Background` and `sep.extract` with the settings of ``sep``. The detector also
measures Kron fluxes, windowed positions, scores and flags. First verifies that it finds the same
objects as bare SEP and, with ``--old CHECKOUT`` (another checkout of this project), that its
catalogues equal those of that checkout in every digit of every column: of ``sep`` and
``sep-matched``, on frames of all kinds, with and without masked pixels. Then times both in turn,
in one process of one thread for each checkout. Prints user CPU time and wall time; compare CPU
times on a busy machine.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sep

import skyduel
from skyduel.baseline import sep_default, sep_matched
from skyduel.core import Frame
from skyduel.simulation import FAMILIES, draw_settings, simulate

TIMED = ("field", "crowded")


def frame_of(family: str, side: int, seed: int = 2026) -> Frame:
    rng = np.random.default_rng(seed)
    return simulate(draw_settings(family, rng, ny=side, nx=side), rng, family)[0]


def bare(frame: Frame) -> np.ndarray:
    """Return the objects of SEP alone, with the settings of ``sep``."""
    mask = frame.bad.copy() if frame.bad.any() else None
    data = frame.data.copy()
    sky = sep.Background(data, mask=mask, bw=64, bh=64, fw=3, fh=3)
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
    return sep.extract(
        data - sky, 1.5, err=sky.globalrms, minarea=3, filter_kernel=kernel, deblend_nthresh=32,
        deblend_cont=0.005, clean=True, clean_param=1.0,
    )  # fmt: skip


def small_frames() -> Iterator[Frame]:
    """Yield a frame of each kind, and the same with a mask and in small physical units."""
    for family in FAMILIES:
        frame = frame_of(family, 512, 7)
        yield frame
        mask = frame.bad | (np.random.default_rng(1).random(frame.shape) < 0.002)
        mask[100:120, 200:320] = True
        yield frame.with_(data=(frame.data * np.float32(1e-17)), mask=mask, gain=None)


def catalogues(side: int) -> dict[str, np.ndarray]:
    """Return the columns of all catalogues that are compared."""
    out = {}
    frames = [*small_frames(), *(frame_of(family, side) for family in TIMED)]
    for k, frame in enumerate(frames):
        for detector in (sep_default(), sep_matched()):
            found = detector(frame)
            for name in found.table.colnames:
                out[f"{k}/{detector.name}/{name}"] = np.asarray(found.table[name])
    return out


def seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[list[float]]]:
    """Return the user CPU and wall seconds of each call, in alternation."""
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            wall, user = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
            call()
            user = resource.getrusage(resource.RUSAGE_SELF).ru_utime - user
            times[name].append([user, time.perf_counter() - wall])
    return times


def child(side: int, repeats: int, target: Path) -> None:
    """Write catalogues and times of the checkout that is imported."""
    sep.set_extract_pixstack(4_000_000)
    sep.set_sub_object_limit(4096)
    np.savez(target / "catalogues.npz", **catalogues(side))
    times = {}
    detector = sep_default()
    for family in TIMED:
        frame = frame_of(family, side)
        n, found = len(bare(frame)), len(detector(frame))
        if n != found:
            raise SystemExit(f"{family}: bare SEP finds {n} objects, the detector {found}")
        calls = {"bare SEP": lambda f=frame: bare(f), "detector sep": lambda f=frame: detector(f)}
        times[f"{side}² {family} frame, {n} objects"] = seconds(calls, repeats)
    (target / "times.json").write_text(json.dumps(times))


def same(one: Path, other: Path) -> int:
    """Exit if any column differs; return the number of columns."""
    with np.load(one) as a, np.load(other) as b:
        if set(a) != set(b):
            raise SystemExit("the catalogues have other columns")
        for name in a:
            x, y = a[name], b[name]
            if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                raise SystemExit(f"column {name} differs")
        return len(set(a))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, help="another checkout, to compare with")
    parser.add_argument("--side", type=int, default=2048, help="of the timed frames [px]")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.side, options.repeats, options.child)
        return
    checkouts = {"this checkout": Path(skyduel.__file__).parents[2]}
    if options.old:
        checkouts = {"the old checkout": options.old.resolve()} | checkouts
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, sep {sep.__version__}, "
        f"{platform.machine()}, one thread; load {os.getloadavg()[0]:.1f} "
        f"on {len(os.sched_getaffinity(0))} cores"
    )
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        for name, checkout in checkouts.items():
            target = Path(folder) / name.split()[1]
            target.mkdir()
            flags = ["--side", options.side, "--repeats", options.repeats, "--child", target]
            environment = os.environ | {
                "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1",
            }  # fmt: skip
            subprocess.run(
                [sys.executable, __file__, *map(str, flags)], check=True, env=environment
            )
            results[name] = target
        if options.old:
            columns = same(*(target / "catalogues.npz" for target in results.values()))
            print(f"both checkouts: the same catalogues, {columns} columns in every digit")
        for name, target in results.items():
            print(f"\n{name}")
            show(json.loads((target / "times.json").read_text()), options.side**2 / 1e6)


def show(times: dict[str, dict[str, list[list[float]]]], mpix: float) -> None:
    """Print the times of a checkout, and the detector's rate as a fraction of bare SEP's."""
    for title, calls in times.items():
        print(f"  {title}")
        middle = {}
        for call, values in calls.items():
            user, wall = ([v[k] for v in values] for k in (0, 1))
            middle[call] = statistics.median(user)
            print(
                f"    {call:<13} user {min(user):.3f} {middle[call]:.3f} {max(user):.3f} s "
                f"(min, median, max), wall {statistics.median(wall):.3f} s; "
                f"{mpix / middle[call]:.1f} Mpix/s"
            )
        print(f"    rate over bare SEP's: {middle['bare SEP'] / middle['detector sep']:.2f}")


if __name__ == "__main__":
    main()
