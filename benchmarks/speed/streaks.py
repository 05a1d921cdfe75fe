"""Measure the fit of streaks to the pixels: ``python benchmarks/speed/streaks.py --old CHECKOUT``.

The fit gets what the network finds on simulated frames of the five families with four streaks each
on average, or on the given files. First verifies that the fits of both checkouts agree: the same
streaks are left unchanged, and centres differ by at most 0.01 px, lengths by 0.02 px. Then times
both in turn, frame by frame, in this process. Prints CPU time; it is that of one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from skyduel import read_frame
from skyduel.core import Frame
from skyduel.detect import neural
from skyduel.detect.inference import find_sources
from skyduel.detect.inference.streak_fit import refine_streaks
from skyduel.simulation import FAMILIES, draw_settings, simulate

CENTRE_PX, LENGTH_PX = 0.01, 0.02
Fit = Callable[..., np.ndarray]


def frames(count: int, files: list[Path], seed: int = 20261123) -> Iterator[Frame]:
    """Yield the given frames, or simulate ``count`` of every family with many streaks."""
    yield from map(read_frame, files)
    for number, family in enumerate(() if files else FAMILIES):
        for index in range(count):
            rng = np.random.default_rng([seed, number, index])
            settings = draw_settings(family, rng, ny=512, nx=512)
            yield simulate(settings.model_copy(update={"streaks": 4.0}), rng)[0]


def inputs(made: Iterator[Frame]) -> list[tuple[Any, ...]]:
    """Return what the detector gives to the fit, for each frame with streaks."""
    calls: list[tuple[Any, ...]] = []

    def keep(frame: Frame, background: Any, streaks: np.ndarray, points: np.ndarray) -> np.ndarray:
        if len(streaks):
            calls.append((frame, background, streaks, points))
        return streaks

    find_sources.refine_streaks = keep  # type: ignore[attr-defined]
    detector = neural()
    for frame in made:
        detector(frame)
    return calls


def fit_of(checkout: Path) -> Fit:
    """Return the fit of another checkout, on the other modules of this one."""
    file = checkout / "detect" / "inference" / "streak_fit.py"
    spec = importlib.util.spec_from_file_location("old_streak_fit", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fit: Fit = module.refine_streaks
    return fit


def agree(calls: list[tuple[Any, ...]], old: Fit, new: Fit) -> str:
    """Return how well both agree in words; exit if they do not."""
    rough = np.concatenate([call[2] for call in calls])
    a, b = (np.concatenate([fit(*call) for call in calls]) for fit in (old, new))
    left = (a == rough).all(axis=1)
    other = int((left != (b == rough).all(axis=1)).sum())
    centre, length = np.hypot(*(a - b)[:, :2].T).max(), np.abs(a - b)[:, 2].max()
    words = (
        f"of {len(a)} streaks {left.sum()} are left unchanged, {other} of them by one only; "
        f"centres differ by at most {centre:.1g} px, lengths by {length:.1g} px"
    )
    if other or centre > CENTRE_PX or length > LENGTH_PX:
        raise SystemExit(f"the fits do not agree: {words}")
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="frames; default: simulated ones")
    parser.add_argument("--frames", type=int, default=12, help="of each family, simulated")
    parser.add_argument("--old", type=Path, help="another checkout, to compare with")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    calls = inputs(frames(options.frames, options.files))
    fits = {"new": refine_streaks}
    if options.old:
        fits = {"old": fit_of(options.old), **fits}
        print(agree(calls, fits["old"], fits["new"]))
    used: dict[str, list[float]] = {name: [0.0] * options.repeats for name in fits}
    for repeat in range(options.repeats):
        for number, call in enumerate(calls):
            # Alternately one and the other first.
            for name in list(fits)[:: (-1) ** (number + repeat)]:
                began = time.process_time()
                fits[name](*call)
                used[name][repeat] += time.process_time() - began
    n = sum(len(call[2]) for call in calls)
    print(
        f"{n} streaks of {len(calls)} frames; python {platform.python_version()}, scipy "
        f"{scipy.__version__}, {platform.machine()}; load {os.getloadavg()[0]:.1f}"
    )
    for name, seconds in used.items():
        low, middle, high = np.percentile(np.array(seconds) / n * 1e3, [0, 50, 100])
        print(f"  {name}: CPU {low:.2f} {middle:.2f} {high:.2f} ms a streak (min, median, max)")
    if options.old:
        ratios = np.array(used["old"]) / np.array(used["new"])
        print(f"  old/new {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
