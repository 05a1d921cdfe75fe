"""Measure the speed of the detector: ``python benchmarks/speed/detect.py``.

Times one training step (eight crops of 256²) and the detection on a 2048² frame, with our
operators and with those of torchvision: ROIAlign, and hard NMS in place of soft-NMS, which
torchvision lacks. First verifies that both find the same sources, then times them
alternately, with SEP on the same frame. The last number is the limit of the processor:
the multiplications of the frame at the speed of one large matrix product.
``--mosaic`` also detects on a 10,240² frame in a separate process and prints its peak memory.

On a GPU (``--device cuda --workers 8 --batch 64``) the training step runs on the GPU, with crops
simulated on it. Several processes share it, because one cannot prepare frames fast enough.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from inputs import FRAME_PX, frame_of
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import skyduel.detect.detector
import skyduel.detect.inference.roi_features
from skyduel.baseline import sep_default
from skyduel.core import Frame
from skyduel.core.peak_memory import peak_memory_mib
from skyduel.detect import neural
from skyduel.detect.inference.decode import propose
from skyduel.detect.inference.memory import give_freed_memory_back
from skyduel.detect.inference.torch_runtime import choose_bf16
from skyduel.detect.model.layout import source_boxes
from skyduel.detect.model.network import Network
from skyduel.detect.model.weights import SHIPPED
from skyduel.detect.training.ondevice.batches import DrawnScenes, made_batches
from skyduel.detect.training.train import TrainingSettings, compute_losses, weighted_sum
from skyduel.evaluation import pair


def stock_roi_align(
    features: Tensor, rois: Tensor, size: int, scale: float, sampling: int, aligned: bool
) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        crops = torchvision.ops.roi_align(features.float(), rois, size, scale, sampling, aligned)
    return crops.to(features.dtype)


def stock_suppress(xy: Any, logits: Any, sigma: float = 0.25) -> tuple[Any, Any]:
    boxes = torch.from_numpy(source_boxes(xy, 4.0)).float()
    kept = torchvision.ops.nms(boxes, torch.from_numpy(logits).float(), 0.38).numpy()
    return kept, logits[kept]


@contextmanager
def stock() -> Iterator[None]:
    """Replace our operators with those of torchvision."""
    ours = skyduel.detect.inference.roi_features.roi_align, skyduel.detect.detector.suppress
    skyduel.detect.inference.roi_features.roi_align = stock_roi_align  # type: ignore[assignment]
    skyduel.detect.detector.suppress = stock_suppress  # type: ignore[assignment]
    try:
        yield
    finally:
        skyduel.detect.inference.roi_features.roi_align, skyduel.detect.detector.suppress = ours


def prove(detector: Any, frame: Frame) -> None:
    """Verify that the sources of high score are the same, to a hundredth of a pixel."""
    found = detector(frame)
    with stock():
        other = detector(frame)
    a = found.xy[(found["score"] > 0.9) & ~found.is_streak]
    b = other.xy[(other["score"] > 0.5) & ~other.is_streak]
    pairs = pair(a, b, 0.01)
    share = len(pairs.truth_index) / len(a)
    if share < 0.99:
        raise SystemExit(f"no agreement: only {share:.3f} of the sure sources are the same")


def alternate(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call, in alternation so that varying load affects all equally."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def show(title: str, seconds: dict[str, list[float]], mpix: float | None = None) -> None:
    print(f"\n{title}")
    base = statistics.median(seconds.get("stock operators", [float("nan")]))
    for name, values in seconds.items():
        middle = statistics.median(values)
        rate = "" if mpix is None else f"  {mpix / middle:6.2f} Mpix/s"
        ratio = "" if math.isnan(base) else f"  stock/this {base / middle:5.2f}"
        print(
            f"  {name:<22}{min(values):8.3f}{middle:8.3f}{max(values):8.3f} s (min, median, max)"
            f"{rate}{ratio}"
        )


def in_workers(weights: Path | None, device: str, family: str, workers: int, frames: int) -> float:
    """Return the Mpix/s of single-threaded processes, as with ``skyduel run --workers``."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=spawned, initializer=_begin, initargs=(weights, device, family)
    ) as pool:
        # Two tasks per process at first, because the assignment to processes is unknown.
        list(pool.map(_detect, range(2 * workers)))
        began = time.perf_counter()
        list(pool.map(_detect, range(frames)))
        seconds = time.perf_counter() - began
    return frames * FRAME_PX**2 / 1e6 / seconds


_worker: dict[str, Any] = {}


def _begin(weights: Path | None, device: str, family: str) -> None:
    torch.set_num_threads(1)
    _worker["detector"] = neural(weights=weights, device=device)
    _worker["frame"] = frame_of(family)
    _detect(0)


def _detect(_: int) -> int:
    return len(_worker["detector"](_worker["frame"]))


def with_stock(call: Callable[[], object]) -> Callable[[], object]:
    def wrapped() -> object:
        with stock():
            return call()

    return wrapped


def bound(mpix: float, dtype: torch.dtype) -> None:
    """Print the speed of the dense network at the rate of one matrix product."""
    network = Network().eval().requires_grad_(False)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 4, 256, 256))
    per_mpix = counter.get_total_flops() / 256**2 * 1e6
    a = torch.randn(2048, 2048).to(dtype)
    (a @ a).sum()
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - began)
    speed = 2 * 2048**3 / statistics.median(seconds)
    print(
        f"\nthe dense network takes {per_mpix / 1e9:.0f} GFLOP a Mpix; a 2048² matrix product "
        f"({str(dtype).removeprefix('torch.')}) runs at {speed / 1e9:.0f} GFLOP/s here:\n"
        f"  no faster than {speed / per_mpix:.2f} Mpix/s, whatever else costs nothing "
        f"({mpix / (speed / per_mpix):.2f} s for this frame)"
    )


def mosaic() -> None:
    """Detect on a 10,240² frame: noise with a star every 45 px, and print the peak memory."""
    side = 10240
    rng = np.random.default_rng(7)
    data = rng.standard_normal((side, side), dtype=np.float32)
    data *= 8.0
    data += 500.0
    n = side * side // 2000
    row, col = rng.integers(2, side - 2, (2, n))
    height = 40.0 * 10 ** rng.exponential(0.5, n).astype(np.float32)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            np.add.at(data, (row + dy, col + dx), height * np.exp(-(dx * dx + dy * dy) / 2.2))
    frame = Frame(data=data, name="mosaic")
    del data
    give_freed_memory_back()  # memory from making the frame
    before = peak_memory_mib() / 2**10
    began = time.perf_counter()
    found = neural()(frame)
    seconds = time.perf_counter() - began
    peak = peak_memory_mib() / 2**10
    print(
        f"\ndetection of a {side}² frame of {n} stars: {len(found)} rows, {seconds:.1f} s, "
        f"{side * side / 1e6 / seconds:.2f} Mpix/s; peak memory {peak:.2f} GiB, of which "
        f"{before:.2f} GiB the program and the making of the frame"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mosaic", action="store_true", help="a 10,240² frame too")
    parser.add_argument("--only-mosaic", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help="default: the shipped ones")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--workers", type=int, help="processes together; default: the threads")
    parser.add_argument("--batch", type=int, default=8, help="crops of a training step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only_mosaic:
        mosaic()
        return
    device = torch.device(options.device)
    workers = options.workers or options.threads
    detector = neural(weights=options.weights, device=options.device)
    frames = {family: frame_of(family) for family in ("field", "crowded")}
    prove(detector, frames["field"])
    print(
        f"agreement proven; {platform.machine()}, {options.threads} threads, torch "
        f"{torch.__version__}, torchvision {torchvision.__version__}, on "
        f"{'the processor' if device.type == 'cpu' else torch.cuda.get_device_name()}"
    )

    s = TrainingSettings(batch=options.batch)
    scenes = DrawnScenes(s.seed, s.crop_px, s.batch)
    batch = next(made_batches(scenes, s.batch, range(s.batch), 0, device))
    network = Network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Trained weights propose as many regions as in a training.
    tensors = load_file(options.weights or SHIPPED)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0)

    def step() -> object:
        losses = compute_losses(network, batch, s, torch.Generator().manual_seed(0))
        optimiser.zero_grad(set_to_none=True)
        weighted_sum(losses).backward()
        optimiser.step()
        return float(losses["point"].detach())  # a GPU is done when it can say this

    def regions() -> int:
        maps = network(batch["image"]).maps.detach()
        each = [propose(one.numpy(), s.proposal_floor, 10**6)[0] for one in maps]
        return sum(min(s.proposals, len(xy)) for xy in each)

    print(f"regions in a training step: {regions()}")
    calls = {"our operators": step, "stock operators": with_stock(step)}
    show(f"training step, {s.batch} crops of {s.crop_px}²", alternate(calls, options.repeats))

    baseline = sep_default()
    for family, frame in frames.items():

        def run(frame: Frame = frame) -> object:
            return detector(frame)

        def rival(frame: Frame = frame) -> object:
            return baseline(frame)

        calls = {"our operators": run, "stock operators": with_stock(run), "SEP (one core)": rival}
        n = int((detector(frame)["score"] >= 0.5).sum())
        title = f"detection of a {FRAME_PX}² {family} frame ({n} sources)"
        mpix = frame.data.size / 1e6
        # As in a run: alternating calls would change caches and freed memory for each other.
        alone = alternate({"alone": run}, 2 * options.repeats)["alone"]
        show(title + ", one after another", {"our operators": alone}, mpix)
        rate = in_workers(options.weights, options.device, family, workers, 8 * workers)
        print(f"  {workers} workers of one thread: {rate:.2f} Mpix/s together")
        show(title + ", in turn", alternate(calls, options.repeats), mpix)
    if device.type == "cpu":
        bound(
            FRAME_PX**2 / 1e6, torch.bfloat16 if choose_bf16(torch.device("cpu")) else torch.float32
        )
    if options.mosaic:  # a separate process, for its peak memory
        flags = ["--only-mosaic", "--threads", str(options.threads)]
        subprocess.run([sys.executable, __file__, *flags], check=True)


if __name__ == "__main__":
    main()
