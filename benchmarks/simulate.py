"""How long a simulated frame takes: ``python benchmarks/simulate.py``.

First proves that what is timed is right (the flux of the stars is in the frame,
and the same seed gives the same pixels), then prints medians and spreads. The peer is
the least that any simulator must do: drawing the frame's read and photon noise.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from simulation import FAMILIES, SceneSettings, draw_settings, draw_training_settings, simulate

REPEATS = 15


def timed(call: Callable[[int], object]) -> tuple[float, float, float]:
    """Return minimum, median and maximum seconds over seeds, after a warm-up."""
    call(0)
    seconds = []
    for seed in range(REPEATS):
        began = time.perf_counter()
        call(seed)
        seconds.append(time.perf_counter() - began)
    return min(seconds), statistics.median(seconds), max(seconds)


def prove() -> None:
    s = SceneSettings(quantise=False, sky=100, read_noise=1)
    frame, truth = simulate(s, np.random.default_rng(1))
    again, _ = simulate(s, np.random.default_rng(1))
    np.testing.assert_array_equal(frame.data, again.data)
    inner = truth.select(
        (truth["x"] > 30) & (truth["x"] < 480) & (truth["y"] > 30) & (truth["y"] < 480)
    )
    light = float((frame.data - 100).sum(dtype=np.float64))
    assert 0.95 * inner["flux"].sum() < light, "stars are missing light"


def noise(seed: int) -> object:
    rng = np.random.default_rng(seed)
    electrons = np.full((512, 512), 1500.0, dtype=np.float32)
    electrons += np.sqrt(electrons) * rng.standard_normal(electrons.shape, dtype=np.float32)
    return electrons + 6 * rng.standard_normal(electrons.shape, dtype=np.float32)


def main() -> None:
    prove()
    print(f"agreement proven; {platform.processor() or platform.machine()}, numpy {np.__version__}")
    print(f"{'frame':<34}{'min':>8}{'median':>8}{'max':>8}  [ms]   ratio to noise alone")
    _, peer, _ = row("noise alone, 512²", noise)
    plain = SceneSettings()
    row("500 stars, 512²", lambda seed: simulate(plain, np.random.default_rng(seed)), peer)

    def family(name: str) -> Callable[[int], object]:
        def call(seed: int) -> object:
            rng = np.random.default_rng(seed)
            return simulate(draw_settings(name, rng), rng)

        return call

    for name in FAMILIES:
        row(f"{name}, 512², a new telescope each", family(name), peer)

    def training(seed: int) -> object:
        rng = np.random.default_rng(seed)
        return simulate(draw_training_settings(rng), rng)

    row("training frame, 256²", training, peer)


def row(
    name: str, call: Callable[[int], object], peer: float | None = None
) -> tuple[float, float, float]:
    low, middle, high = (1e3 * s for s in timed(call))
    ratio = "" if peer is None else f"{middle / peer:10.1f}"
    print(f"{name:<34}{low:8.1f}{middle:8.1f}{high:8.1f}        {ratio}")
    return low, middle, high


if __name__ == "__main__":
    main()
