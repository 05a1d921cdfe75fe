"""How long pairing takes; run with ``python benchmarks/pairing.py [N]`` from the root.

First proves, on small crowded fields, that the fast pairing makes as many pairs
and the same total separation as one dense assignment over the whole field; then
times it on N truths and N detections (default a million), 4 in 5 truths
detected, at two densities.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluation import pair

RADIUS_PX = 2.0


def field(n: int, density: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truths and detections, n each, at so many sources a pixel."""
    rng = np.random.default_rng(seed)
    side = np.sqrt(n / density)
    truth = rng.uniform(0, side, (n, 2))
    seen = truth[: int(0.8 * n)]
    spurious = rng.uniform(0, side, (n - len(seen), 2))
    found = np.concatenate([seen + rng.normal(0, 0.5, seen.shape), spurious])
    return truth, rng.permutation(found)


def dense(truth: np.ndarray, found: np.ndarray) -> tuple[int, float]:
    """Return pairs and total separation of one assignment over everything."""
    d = np.hypot(*(truth[:, None] - found[None]).transpose(2, 0, 1))
    # No pair costs as much as a thousand radii: enough for 500 sources, and exact.
    cost = np.where(d <= RADIUS_PX, d, 1000 * RADIUS_PX)
    i, j = linear_sum_assignment(cost)
    kept = d[i, j] <= RADIUS_PX
    return int(kept.sum()), float(d[i, j][kept].sum())


def prove() -> None:
    """Compare with the dense assignment; exit if anything differs."""
    for seed in range(30):
        truth, found = field(500, [0.01, 0.05, 0.2][seed % 3], seed)
        pairs = pair(truth, found[:431], RADIUS_PX)
        n, total = dense(truth, found[:431])
        if len(pairs) != n or abs(pairs.separation.sum() - total) > 1e-9 * total:
            sys.exit(f"seed {seed}: {len(pairs)} pairs, dense assignment {n}")
    print("agrees with the dense assignment on 30 fields of 500 x 431")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"{platform.machine()}, one thread"
    )
    prove()
    for density in (0.002, 0.01, 0.025):
        truth, found = field(options.n, density, 0)
        seconds, cpu = [], []
        for _ in range(options.repeats):
            start, cpu_start = time.perf_counter(), time.process_time()
            pairs = pair(truth, found, RADIUS_PX)
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        print(
            f"{options.n:,} x {options.n:,} at {density}/px, radius {RADIUS_PX:g} px: "
            f"median {statistics.median(seconds):.2f} s "
            f"(min {min(seconds):.2f}, max {max(seconds):.2f}), "
            f"CPU {statistics.median(cpu):.2f} s, {len(pairs):,} pairs"
        )


if __name__ == "__main__":
    main()
