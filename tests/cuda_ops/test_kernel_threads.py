"""Run the code of the CUDA threads one by one on the CPU."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from torch import Tensor

from skyduel import cuda_ops

HERE = Path(__file__).resolve().parent
COMPILER = shutil.which(os.environ.get("CXX", "c++"))


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    built = tmp_path_factory.mktemp("threads") / "threads.so"
    command = [COMPILER, "-std=c++20", "-O2", "-ffp-contract=off", "-fPIC", "-shared"]
    command += ["-I", str(ROOT / "cuda_ops" / "csrc" / "cuda")]
    command += [str(HERE / "cuda_ops_threads.cpp"), "-o", str(built)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(built))


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def integer(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("ratio", "aligned"), [(0, False), (2, True), (3, False), (0, True)])
def test_roi_align_both_ways(threads, memory_format, ratio, aligned):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 3, 20, 31), generator=generator, dtype=torch.float64)
    maps = maps.contiguous(memory_format=memory_format).requires_grad_()
    corner = torch.rand((30, 2), generator=generator, dtype=torch.float64) * 60 - 4
    size = torch.rand((30, 2), generator=generator, dtype=torch.float64) * 40 - 1
    image = torch.arange(30)[:, None] % 2
    boxes = torch.cat([image.double(), corner, corner + size], dim=1)
    wanted = cuda_ops.roi_align(maps, boxes, (4, 5), 0.5, ratio, aligned)
    last = memory_format == torch.channels_last
    shape = torch.tensor([2, 3, 20, 31, 4, 5])
    settings = (
        pointer(shape),
        integer(30),
        ctypes.c_double(0.5),
        integer(ratio),
        integer(aligned),
        integer(last),
        pointer(boxes),
    )
    crops = torch.empty_like(wanted)
    threads.roi_align(*settings, pointer(maps), pointer(crops), integer(0))
    torch.testing.assert_close(crops, wanted, rtol=0, atol=1e-12)
    gradient = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    gradient = gradient.contiguous(memory_format=memory_format)
    (back,) = torch.autograd.grad(wanted, maps, gradient)
    sums = torch.zeros_like(back)
    threads.roi_align(*settings, pointer(sums), pointer(gradient), integer(1))
    torch.testing.assert_close(sums, back, rtol=0, atol=1e-12)


def crops_of(threads, boxes: Tensor, maps: Tensor, ratio: int, aligned: bool) -> Tensor:
    shape = torch.tensor([*maps.shape, 4, 5])
    crops = torch.empty((boxes.shape[0], maps.shape[1], 4, 5), dtype=torch.float64)
    threads.roi_align(
        pointer(shape), integer(boxes.shape[0]), ctypes.c_double(0.5), integer(ratio),
        integer(aligned), integer(0), pointer(boxes), pointer(maps), pointer(crops), integer(0),
    )  # fmt: skip
    return crops


FAR = 2.0**23  # at half scale 2**22 map pixels


@pytest.mark.parametrize(("ratio", "aligned"), [(0, False), (3, True), (0, True)])
def test_a_box_as_large_as_may_be_takes_no_longer_than_its_map(threads, ratio, aligned):
    maps = torch.randn((1, 2, 9, 13), dtype=torch.float64, generator=torch.Generator())
    boxes = torch.tensor(
        [[0, -FAR, -FAR, FAR, FAR], [0, -9, 2, FAR, 30], [0, 8, -FAR, 7, FAR], [0, FAR, 0, 9, 9]],
        dtype=torch.float64,
    )
    # Each value alone would look at 10¹² samples: not in the life of this test.
    wanted = cuda_ops.roi_align(maps, boxes, (4, 5), 0.5, ratio, aligned)
    torch.testing.assert_close(crops_of(threads, boxes, maps, ratio, aligned), wanted)


@pytest.mark.parametrize("value", [2.1 * FAR / 2, -1.1 * FAR, 1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_a_box_that_the_cpu_refuses_is_nan_to_a_thread_and_gets_no_gradient(threads, value, column):
    maps = torch.ones((1, 1, 6, 7), dtype=torch.float64)
    boxes = torch.tensor([[0.0, 1, 2, 8, 9], [0, 1, 2, 8, 9]], dtype=torch.float64)
    boxes[1, column] = value
    with pytest.raises(ValueError, match=r"finite|within 2\*\*22"):
        cuda_ops.roi_align(maps, boxes, (4, 5), 0.5)
    crops = crops_of(threads, boxes, maps, 0, False)
    assert bool(torch.isfinite(crops[0]).all())
    assert bool(torch.isnan(crops[1]).all())
    sums, gradient = torch.zeros_like(maps), torch.ones((1, 1, 4, 5), dtype=torch.float64)
    bad, shape = boxes[1:].clone(), torch.tensor([*maps.shape, 4, 5])
    threads.roi_align(
        pointer(shape), integer(1), ctypes.c_double(0.5), integer(0),
        integer(0), integer(0), pointer(bad), pointer(sums), pointer(gradient), integer(1),
    )  # fmt: skip
    assert not bool(sums.any())


@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
@pytest.mark.parametrize("area", [10.0, 60.0, 1e5])
@pytest.mark.parametrize("ties", [False, True])
def test_rounds_of_suppression_are_the_greedy_algorithm(threads, method, area, ties):
    count = 2000
    generator = torch.Generator().manual_seed(4)
    corner = torch.rand((count, 2), generator=generator) * (count * area) ** 0.5
    boxes = torch.cat([corner, corner + 4 + 6 * torch.rand((count, 2), generator=generator)], 1)
    scores = torch.rand(count, generator=generator)
    if ties:
        boxes, scores = boxes.round(), (scores * 5).round() / 5
    kinds = torch.arange(count) % 3
    index, left = cuda_ops.soft_nms(boxes, scores, kinds, method)
    kept = torch.zeros(count, dtype=torch.uint8)
    final = torch.zeros(count, dtype=torch.float64)
    wide = scores.double()
    rounds = threads.suppress(
        integer(count),
        pointer(boxes),
        pointer(wide),
        pointer(kinds),
        integer(["gaussian", "linear", "hard"].index(method)),
        ctypes.c_double(0.6),
        ctypes.c_double(0.3),
        ctypes.c_double(0.001),
        pointer(kept),
        pointer(final),
    )
    assert rounds < 200
    assert int(kept.sum()) == index.numel()
    order = torch.sort(torch.where(kept.bool(), final, -1.0), stable=True, descending=True).indices[
        : index.numel()
    ]
    # The very same bits, since both multiply in the same order.
    assert torch.equal(order, index)
    assert torch.equal(final[order].float(), left)
