"""Compare the speed of the compiled operators with torchvision's, on the same input.

    python benchmarks/speed/ops.py [--device cpu|cuda] [--threads 2] [--repeats 15] [--quick]

First verifies that both give the same results, then prints medians, the spread
(10th to 90th percentile) and ratios. The two alternate, so that other load on the machine
affects both. On a busy machine use the ratio of processor seconds, which is
printed with the ratio of wall-clock seconds; torchvision's ROIAlign backward and NMS
use one thread, our ROIAlign uses all.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from skyduel import cuda_ops
from skyduel.core.peak_memory import peak_memory_mib

Work = Callable[[], Any]


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return f"{names[0]} x {len(names)}" if names else "unknown processor"


class Clock:
    """Measure wall-clock and processor seconds of alternating calls."""

    def __init__(self, device: str, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def once(self, work: Work) -> tuple[float, float]:
        if self.device == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - wall, time.process_time() - cpu

    def compare(self, name: str, ours: Work, stock: Work, goal: float, stock_repeats: int) -> None:
        self.once(ours)
        if stock_repeats > 1:
            self.once(stock)
        mine, theirs = [], []
        for turn in range(self.repeats):
            mine.append(self.once(ours))
            if turn < stock_repeats:
                theirs.append(self.once(stock))
        wall = [statistics.median(t[0] for t in side) for side in (mine, theirs)]
        cpu = [statistics.median(t[1] for t in side) for side in (mine, theirs)]
        best = [min(t[0] for t in side) for side in (mine, theirs)]
        print(
            f"{name:44s} {spread(mine):>24s} {spread(theirs):>26s} "
            f"{wall[1] / wall[0]:8.1f} {best[1] / best[0]:8.1f} {cpu[1] / cpu[0]:8.1f} "
            f"{goal:8.0f}"
        )


def spread(times: list[tuple[float, float]]) -> str:
    walls = sorted(t[0] * 1e3 for t in times)
    low, high = walls[len(walls) // 10], walls[-1 - len(walls) // 10]
    return f"{statistics.median(walls):.2f} ({low:.2f}-{high:.2f})"


def field(count: int, device: str) -> tuple[Tensor, Tensor]:
    """Return random 10-px boxes, one per 60 px²."""
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand((count, 2), generator=generator) * (60.0 * count) ** 0.5
    boxes = torch.cat([corner, corner + 10], dim=1)
    return boxes.to(device), torch.rand(count, generator=generator).to(device)


def bench_roi_align(clock: Clock, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((1, 64, 250, 250), generator=generator).to(device)
    corner = torch.rand((1000, 2), generator=generator) * 234
    size = 6 + 10 * torch.rand((1000, 2), generator=generator)
    boxes = torch.cat([torch.zeros(1000, 1), corner, corner + size], dim=1).to(device)
    stock_maps = maps.clone().requires_grad_()

    def stock(features: Tensor = stock_maps) -> Tensor:
        crops: Tensor = torchvision.ops.roi_align(features, boxes, 7, 1.0, 2, True)
        return crops

    stock_crops = stock()
    gradient = torch.randn(stock_crops.shape, generator=generator).to(device)
    stock_back = torch.autograd.grad(stock_crops, stock_maps, gradient, retain_graph=True)[0]
    plain = stock_maps.detach()
    formats = [("channels-last", torch.channels_last, 10, 25)]
    formats += [("contiguous", torch.contiguous_format, 5, 12)]
    for name, memory_format, forward_goal, backward_goal in formats:
        own = maps.contiguous(memory_format=memory_format).requires_grad_()
        own_gradient = gradient.contiguous(memory_format=memory_format)
        still = own.detach()
        crops = cuda_ops.roi_align(own, boxes, 7, 1.0, 2, True)
        back = torch.autograd.grad(crops, own, own_gradient, retain_graph=True)[0]
        torch.testing.assert_close(crops, stock_crops, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(back, stock_back, rtol=1e-4, atol=1e-4)
        # torchvision is timed in its fastest memory format.
        clock.compare(
            f"ROIAlign forward, {name}",
            lambda still=still: cuda_ops.roi_align(still, boxes, 7, 1.0, 2, True),
            lambda: stock(plain),
            forward_goal,
            clock.repeats,
        )
        clock.compare(
            f"ROIAlign backward, {name}",
            lambda c=crops, f=own, g=own_gradient: torch.autograd.grad(c, f, g, retain_graph=True),
            lambda: torch.autograd.grad(stock_crops, stock_maps, gradient, retain_graph=True),
            backward_goal,
            min(clock.repeats, 7),
        )


def bench_nms(clock: Clock, device: str, quick: bool) -> None:
    for count, goal in ((10_000, 30), *(() if quick else ((50_000, 150),))):
        boxes, scores = field(count, device)
        kept = cuda_ops.nms(boxes, scores, 0.3)
        assert torch.equal(kept, torchvision.ops.nms(boxes, scores, 0.3))
        hard = cuda_ops.soft_nms(boxes, scores, method="hard", score_threshold=0.0)[0]
        assert torch.equal(kept, hard)
        few = min(clock.repeats, 3 if count <= 10_000 else 1)
        clock.compare(
            f"soft-NMS against hard NMS, {count} boxes",
            lambda b=boxes, s=scores: cuda_ops.soft_nms(b, s),
            lambda b=boxes, s=scores: torchvision.ops.nms(b, s, 0.3),
            goal,
            few,
        )
        clock.compare(
            f"NMS, {count} boxes",
            lambda b=boxes, s=scores: cuda_ops.nms(b, s, 0.3),
            lambda b=boxes, s=scores: torchvision.ops.nms(b, s, 0.3),
            goal,
            few,
        )
    boxes, scores = field(10_000, device)
    ours, oracle = (
        cuda_ops.soft_nms(boxes, scores, backend=name) for name in ("compiled", "reference")
    )
    assert torch.equal(ours[0], oracle[0])
    torch.testing.assert_close(ours[1], oracle[1], rtol=1e-6, atol=0)
    clock.compare(
        "soft-NMS against the O(N²) reference, 10000",
        lambda: cuda_ops.soft_nms(boxes, scores),
        lambda: cuda_ops.soft_nms(boxes, scores, backend="reference"),
        1000,
        1,
    )


def growth(clock: Clock, device: str) -> None:
    print(
        "\nsoft-NMS alone: boxes, median and least wall ms, least processor ms, ns a box and log2 N"
    )
    for count in (10_000, 100_000, 1_000_000):
        boxes, scores = field(count, device)
        times = [clock.once(lambda b=boxes, s=scores: cuda_ops.soft_nms(b, s)) for _ in range(5)]
        wall = [t[0] for t in times]
        cpu = min(t[1] for t in times)
        scaled = cpu / count / (count.bit_length() - 1) * 1e9
        print(
            f"{count:>9d} {statistics.median(wall) * 1e3:9.1f} {min(wall) * 1e3:9.1f} "
            f"{cpu * 1e3:9.1f} {scaled:7.1f}"
        )
    peak = peak_memory_mib() / 2**10
    print(f"peak memory of the whole process: {peak:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="leave out what takes seconds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    info = cuda_ops.build_info()
    print(f"{processor()}, {options.threads} threads, kernels for {info['cpu_capability']}")
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    if options.device == "cuda":
        print(f"GPU: {torch.cuda.get_device_name()}")
    else:
        built = ", ".join(f"sm_{a.replace('.', '')}" for a in info["cuda_architectures"])
        print(
            f"CUDA kernels: {'compiled for ' + built if built else 'not built'}, not run on a GPU"
        )
    print(
        f"\n{'ms: median (10 %-90 %)':44s} {'ours':>24s} {'torchvision':>26s} "
        f"{'ratio':>8s} {'of best':>8s} {'of CPU s':>8s} {'goal':>8s}"
    )
    clock = Clock(options.device, options.repeats)
    bench_roi_align(clock, options.device)
    bench_nms(clock, options.device, options.quick)
    if not options.quick:
        growth(clock, options.device)


if __name__ == "__main__":
    main()
