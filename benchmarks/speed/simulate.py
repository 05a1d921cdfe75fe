"""Measure the time of simulating a frame: ``python benchmarks/speed/simulate.py``.

First verifies the results (the flux of the stars is in the frame, and the same seed gives
the same pixels), then prints medians and spreads. The reference is the minimum
of any simulator: drawing the read and photon noise of the frame.

Then times training crops with channels and labels: made one by one on the host, and in
batches on the device (a GPU if there is one, otherwise the CPU). The reference is the host;
the parts that always run on the host have a separate line.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from skyduel.detect.training.crops import TRAINING_STREAM, SimulatedCrops
from skyduel.detect.training.ondevice.batches import DrawnScenes, make_batch
from skyduel.detect.training.ondevice.frames import expected_light
from skyduel.detect.training.ondevice.profiles import ProfileNumbers
from skyduel.detect.training.targets import source_targets
from skyduel.simulation import (
    FAMILIES,
    SceneSettings,
    draw_settings,
    draw_training_settings,
    simulate,
)
from skyduel.simulation.render import LADDER
from skyduel.simulation.scene import assign_flux, extended_points, truth_columns, wings
from skyduel.simulation.scene import expected_light as expected_light_on_host
from skyduel.simulation.variable_psf import Zones

REPEATS = 15


def timed(call: Callable[[int], object]) -> tuple[float, float, float]:
    """Return the minimum, median and maximum seconds over seeds, after a warm-up."""
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
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches(device)


def batches(device: torch.device) -> None:
    """Print the time of a training crop of 256² made on the host and on the device."""
    scenes, crops = DrawnScenes(1, 256, 10_000), SimulatedCrops(1, TRAINING_STREAM, 256, 10_000)
    for here, there in zip(
        range(4), expected_light([scenes[i] for i in range(4)], device)[0], strict=False
    ):
        s, sky, _ = scenes[here]
        field = s.field()
        wanted = expected_light_on_host(s, sky, assign_flux(s, sky, field), field)
        assert np.abs(there.cpu().numpy() - wanted).max() < 0.1 * np.sqrt(wanted.max() + 1)
    many = 64 if device.type == "cuda" else 8
    drawn = {seed: [scenes[many * seed + i] for i in range(many)] for seed in range(REPEATS)}

    def made(seed: int) -> object:
        batch = make_batch(drawn[seed], device, torch.Generator(device).manual_seed(seed))
        return float(batch["image"].sum())  # a GPU is done when it can say this

    def numbers(seed: int) -> object:
        # The part of `made` on the host, without the cost of the profiles.
        out = []
        for s, sky, _ in drawn[seed]:
            zones = Zones((s.ny, s.nx), [_NUMBERS] * s.zones**2)
            lit = assign_flux(s, sky, zones)
            out.append((extended_points(s, lit), wings(s), source_targets(truth_columns(s, lit))))
        return out

    print(
        f"\ntraining crops, 256² [ms a crop]; batches of {many} on {device.type}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    rows = (
        ("all on the host, one by one", lambda seed: crops[seed], 1),
        ("drawing a scene", lambda seed: scenes[seed], 1),
        (f"numbers on the host, pixels on {device.type}", made, many),
        ("the former of these", numbers, many),
    )
    peer = None
    for name, call, crops_a_call in rows:
        low, middle, high = (1e3 * s / crops_a_call for s in timed(call))
        peer = peer or middle
        print(f"{name:<34}{low:8.2f}{middle:8.2f}{high:8.2f}        {middle / peer:10.2f}")


_NUMBERS = ProfileNumbers(2.5, 0.1, np.full(len(LADDER), 1e-4), np.ones((2, 49)))


def row(
    name: str, call: Callable[[int], object], peer: float | None = None
) -> tuple[float, float, float]:
    low, middle, high = (1e3 * s for s in timed(call))
    ratio = "" if peer is None else f"{middle / peer:10.1f}"
    print(f"{name:<34}{low:8.1f}{middle:8.1f}{high:8.1f}        {ratio}")
    return low, middle, high


if __name__ == "__main__":
    main()
