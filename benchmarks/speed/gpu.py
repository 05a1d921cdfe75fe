"""Measure the detector on a GPU beside the CPU: ``python benchmarks/speed/gpu.py``.

First verifies that both find the same sources, then prints a Markdown table: the bandwidth of
ROIAlign beside that of a copy in the device's memory, the rate of soft-NMS, the rate of the dense
network alone and of the whole detection. ``--device cpu --small`` runs the same code without a
GPU in a few minutes; the numbers then say nothing about a GPU.

With ``--training-steps 500`` it trains instead, with frames made on the device, and prints the
crops per second and the loss at the beginning and at the end.

``benchmarks/gpu.sh`` runs this with the other programs that need a GPU.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from inputs import frame_of
from ops import field, processor

from skyduel import cuda_ops
from skyduel.core import Catalog, Frame
from skyduel.detect import neural
from skyduel.detect.model.fused import fuse
from skyduel.detect.model.weights import load_weights
from skyduel.detect.training.loop import Progress
from skyduel.detect.training.train import LOSS_WEIGHTS, TrainingSettings, train
from skyduel.evaluation import pair

Work = Callable[[], object]

#: Largest distance at which a source of both devices is the same one [px].
SAME_PX = 0.05
#: Least share of the sure sources (score above 0.9) that the other device has to find.
LEAST_SHARE = 0.99


class Row(NamedTuple):
    """One line of the table: the median, the 10th and the 90th percentile, in ``unit``."""

    measure: str
    unit: str
    middle: float
    low: float
    high: float
    beside: str = ""


def rates(work: Work, amount: float, device: torch.device, repeats: int) -> tuple[float, ...]:
    """Return the median, 10th and 90th percentile of ``amount`` per second, after a warm-up."""

    def once() -> float:
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        return amount / (time.perf_counter() - began)

    once()
    values = sorted(once() for _ in range(repeats))
    return statistics.median(values), values[repeats // 10], values[-1 - repeats // 10]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def bandwidth(device: torch.device, mib: int, repeats: int) -> Row:
    """Return the rate of a copy in the device's memory, each byte read and written once."""
    one = torch.ones(mib * 2**18, device=device)
    other = torch.empty_like(one)
    moved = 2 * one.numel() * one.element_size()
    values = rates(lambda: other.copy_(one), moved / 1e9, device, repeats)
    return Row("copy in memory", "GB/s", *values)


def roi_align(device: torch.device, boxes: int, copy: float, repeats: int) -> Row:
    """Return the rate at which ROIAlign reads its maps once and writes its crops."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((1, 64, 512, 512), generator=generator).to(
        device, torch.bfloat16, memory_format=torch.channels_last
    )
    corner = torch.rand((boxes, 2), generator=generator) * 500
    size = 6 + 4 * torch.rand((boxes, 2), generator=generator)
    rois = torch.cat([torch.zeros(boxes, 1), corner, corner + size], dim=1).to(device)

    def work() -> torch.Tensor:
        return cuda_ops.roi_align(maps, rois, 7, 1.0, 2, True)

    crops = work()
    moved = (maps.numel() + crops.numel()) * maps.element_size()
    values = rates(work, moved / 1e9, device, repeats)
    return Row(
        f"ROIAlign, {boxes:,} boxes of 64 maps, bf16",
        "GB/s",
        *values,
        f"{values[0] / copy:.2f} of the copy's rate",
    )


def soft_nms(device: torch.device, boxes: int, repeats: int) -> Row:
    """Return the boxes per second of soft-NMS, and the ratio to the CPU's in the same run."""
    rate = {}
    for place in (device, torch.device("cpu")):
        here, scores = field(boxes, str(place))
        rate[place] = rates(
            lambda b=here, s=scores: cuda_ops.soft_nms(b, s), boxes / 1e6, place, repeats
        )
    return Row(
        f"soft-NMS, {boxes:,} boxes",
        "million/s",
        *rate[device],
        f"{rate[device][0] / rate[torch.device('cpu')][0]:.1f} × the CPU",
    )


def dense_network(device: torch.device, side: int, batch: int, repeats: int) -> Row:
    """Return the Mpix/s of the network without proposals' second stage and measurements."""
    half = device.type == "cuda" and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if half else torch.float32
    network = fuse(load_weights().network.to(device), dtype)
    images = torch.randn((batch, 4, side, side), device=device)
    images[:, 3] = 0.0  # no pixel is masked

    def work() -> object:
        return network(images)

    values = rates(work, batch * side**2 / 1e6, device, repeats)
    return Row(f"dense network, {batch} × {side}², {str(dtype).split('.')[1]}", "Mpix/s", *values)


def detection(device: torch.device, family: str, frame: Frame, repeats: int) -> Row:
    """Return the Mpix/s of the whole detection, and the ratio to the CPU's in the same run."""
    rate = {}
    for place in (device.type, "cpu"):
        detector = neural(device=place)
        rate[place] = rates(
            lambda d=detector: d(frame), frame.data.size / 1e6, torch.device(place), repeats
        )
    return Row(
        f"detection, {frame.shape[0]}² {family} frame",
        "Mpix/s",
        *rate[device.type],
        f"{rate[device.type][0] / rate['cpu'][0]:.1f} × the CPU",
    )


def agreement(device: torch.device, frame: Frame) -> str:
    """Compare the catalogues of both devices.

    Raises
    ------
    SystemExit
        If fewer than 99 % of the sure sources of one are found by the other.
    """
    there, here = (neural(device=place)(frame) for place in (device.type, "cpu"))
    shares = []
    for one, other in ((there, here), (here, there)):
        sure, all_points = points(one, 0.9), points(other, 0.0)
        shares.append(len(pair(sure.xy, all_points.xy, SAME_PX).truth_index) / len(sure))
    one, other = points(there, 0.0), points(here, 0.0)
    pairs = pair(one.xy, other.xy, SAME_PX)
    moved = np.abs(one["score"][pairs.truth_index] - other["score"][pairs.found_index])
    text = (
        f"{len(here)} rows on the CPU, {len(there)} on {device.type}; of those with a score above "
        f"0.9 the other has {min(shares):.4f} within {SAME_PX} px; scores differ by "
        f"{np.median(moved):.1e} (median), {moved.max():.1e} (most)"
    )
    if min(shares) < LEAST_SHARE:
        raise SystemExit(f"no agreement: {text}")
    return text


def points(found: Catalog, score: float) -> Catalog:
    return found.select(~found.is_streak & (found["score"] >= score))


def training(device: torch.device, steps: int, batch: int, workers: int) -> None:
    """Train from random weights and print the rate after the first tenth, and the loss."""
    done: list[tuple[float, float]] = []

    def note(step: Progress) -> None:
        done.append((time.perf_counter(), sum(LOSS_WEIGHTS[k] * v for k, v in step.losses.items())))

    settings = TrainingSettings(
        steps=steps,
        batch=batch,
        workers=workers,
        device=device.type,
        frames="device",
        validation_crops=16,  # little beside the steps that are measured
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(settings, Path(folder), note)
        ended = time.perf_counter()
    part = max(1, len(done) // 10)
    seconds = done[-1][0] - done[part - 1][0] if len(done) > part else math.nan
    rate = (len(done) - part) * batch / seconds
    first, last = (
        statistics.mean(loss for _, loss in some) for some in (done[:part], done[-part:])
    )
    print(
        f"{steps} steps of {batch} crops of {settings.crop_px}² with {workers} workers on "
        f"{device.type}: {ended - began:.1f} s, {rate:.1f} crops/s after the first {part} steps; "
        f"loss {first:.3f} in the first {part} steps, {last:.3f} in the last {part}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--small", action="store_true", help="small sizes, to try the program")
    parser.add_argument("--training-steps", type=int, default=0, help="train, measure nothing else")
    parser.add_argument("--batch", type=int, default=64, help="crops of a training step")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the scenes")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("a CUDA device is required, none is available; try --device cpu --small")
    device, few = torch.device(options.device), options.repeats
    many = 1 if options.small else 100
    name = processor() if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"{name}; CPU beside it: {processor()}, {torch.get_num_threads()} threads")
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda if device.type == 'cuda' else '-'}")
    if options.training_steps:
        training(device, options.training_steps, options.batch, options.workers)
        return
    side, batch = (512, 1) if options.small else (2048, 8)
    frames = {family: frame_of(family, side) for family in ("field", "crowded")}
    for family, frame in frames.items():
        print(f"\nagreement on the {family} frame: {agreement(device, frame)}")
    rows = [bandwidth(device, 16 * many, few)]
    rows.append(roi_align(device, 1000 * many, rows[0].middle, few))
    rows.append(soft_nms(device, 10_000 * many, max(3, few // 3)))
    rows.append(dense_network(device, side, batch, few))
    rows += [detection(device, family, frame, few) for family, frame in frames.items()]
    print("\n| measure | unit | median | 10 % | 90 % | beside |\n|---|---|---:|---:|---:|---|")
    for row in rows:
        numbers = " | ".join(f"{value:.4g}" for value in (row.middle, row.low, row.high))
        print(f"| {row.measure} | {row.unit} | {numbers} | {row.beside} |")


if __name__ == "__main__":
    main()
