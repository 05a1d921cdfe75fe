"""Compare ROIAlign with its definition and with torchvision."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import roi_align as stock_roi_align

from skyduel import cuda_ops
from skyduel.cuda_ops import reference

FORMATS = [torch.contiguous_format, torch.channels_last]
NAN = float("nan")
SETTINGS = [(ratio, aligned) for ratio in (-1, 1, 2, 3) for aligned in (False, True)]
# (channels, rows, columns): fewer channels than a vector, a vector and a rest,
# several blocks; maps narrower and wider than a window of the plane kernels.
SHAPES = [(3, 20, 31), (19, 17, 9), (64, 40, 50), (85, 33, 70)]


def maps(shape: tuple[int, int, int], images: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((images, *shape), generator=generator, dtype=torch.float64)


def rois(count: int, rows: int, columns: int, widest: float = 30.0, seed: int = 1) -> Tensor:
    """Boxes on two images at scale 0.5, some outside, some inverted."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand((count, 2), generator=generator, dtype=torch.float64)
    corner = corner * torch.tensor([columns, rows]) * 2.2 - 4
    size = torch.rand((count, 2), generator=generator, dtype=torch.float64) * widest - 1
    image = torch.randint(0, 2, (count, 1), generator=generator).double()
    return torch.cat([image, corner, corner + size], dim=1)


def run(features: Tensor, boxes: Tensor, ratio: int, aligned: bool, bins=(7, 5)) -> Tensor:
    return cuda_ops.roi_align(features, boxes, bins, 0.5, ratio, aligned)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ratio", "aligned"), SETTINGS)
def test_agrees_with_torchvision_both_ways(shape, memory_format, ratio, aligned):
    features = maps(shape).contiguous(memory_format=memory_format).requires_grad_()
    same = features.detach().contiguous().requires_grad_()
    boxes = rois(40, *shape[1:], widest=90.0)
    ours = run(features, boxes, ratio, aligned)
    stock = stock_roi_align(same, boxes, (7, 5), 0.5, ratio, aligned)
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-12)
    gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2)).double()
    (ours_back,) = torch.autograd.grad(ours, features, gradient)
    (stock_back,) = torch.autograd.grad(stock, same, gradient)
    torch.testing.assert_close(ours_back, stock_back, rtol=0, atol=1e-10)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)])
def test_narrow_types_agree_with_float64(dtype, atol, memory_format):
    shape = (40, 30, 45)
    features = maps(shape).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    wide = features.detach().double().requires_grad_()
    boxes = rois(50, *shape[1:]).float()
    ours = run(features, boxes, 2, True)
    exact = run(wide, boxes.double(), 2, True)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=atol)
    gradient = torch.ones_like(ours)
    (ours_back,) = torch.autograd.grad(ours, features, gradient)
    (exact_back,) = torch.autograd.grad(exact, wide, gradient.double())
    assert ours_back.dtype == dtype
    torch.testing.assert_close(
        ours_back.double(), exact_back, rtol=2**-8 if dtype == torch.bfloat16 else 1e-6, atol=1e-5
    )


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("ratio", "aligned"), SETTINGS)
def test_agrees_with_the_definition(memory_format, ratio, aligned):
    features = maps((5, 20, 31)).contiguous(memory_format=memory_format)
    boxes = rois(25, 20, 31)
    ours = run(features, boxes, ratio, aligned)
    oracle = reference.roi_align(features, boxes, (7, 5), 0.5, ratio, aligned)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(st.floats(-30, 90, width=32), min_size=4, max_size=4),
    rows=st.integers(1, 18),
    columns=st.integers(1, 18),
    ratio=st.integers(0, 4),
    aligned=st.booleans(),
    last=st.booleans(),
)
def test_any_box_agrees_with_the_definition(corners, rows, columns, ratio, aligned, last):
    features = maps((4, 23, 37), images=1)
    if last:
        features = features.contiguous(memory_format=torch.channels_last)
    boxes = torch.tensor([[0.0, *corners]], dtype=torch.float64)
    bins = (rows, columns)
    ours = run(features, boxes, ratio, aligned, bins)
    oracle = reference.roi_align(features, boxes, bins, 0.5, ratio, aligned)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-11)


def test_a_plane_is_sampled_exactly():
    # The map holds its own x coordinate, so a crop's bins are bin centres.
    columns = torch.arange(40.0).expand(1, 1, 12, 40)
    crop = cuda_ops.roi_align(
        columns, torch.tensor([[0.0, 10.5, 3.5, 17.5, 8.5]]), (1, 7), 1, 2, True
    )
    torch.testing.assert_close(crop.flatten(), torch.arange(10.5, 17.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_crops_have_the_memory_format_of_the_maps(memory_format):
    features = maps((6, 20, 31)).contiguous(memory_format=memory_format).requires_grad_()
    crops = run(features, rois(4, 20, 31), 2, True)
    assert crops.is_contiguous(memory_format=memory_format)
    crops.sum().backward()
    assert features.grad is not None
    assert features.grad.is_contiguous(memory_format=memory_format)


def test_strided_maps_boxes_and_gradients_are_read_right():
    features = maps((8, 20, 62))[:, ::2, :, ::2].requires_grad_()
    boxes = rois(9, 20, 31).repeat_interleave(2, dim=1)[:, ::2]
    assert not features.is_contiguous()
    assert not boxes.is_contiguous()
    ours = run(features, boxes, 2, True)
    plain = features.detach().contiguous().requires_grad_()
    same = run(plain, boxes.contiguous(), 2, True)
    torch.testing.assert_close(ours, same, rtol=0, atol=0)
    gradient = torch.randn(9, 4, 5, 7, dtype=torch.float64).mT
    torch.testing.assert_close(
        torch.autograd.grad(ours, features, gradient)[0],
        torch.autograd.grad(same, plain, gradient.contiguous())[0],
        rtol=0,
        atol=0,
    )


def test_a_list_of_boxes_means_the_same_as_rows():
    features = maps((3, 20, 31), images=3)
    first, third = rois(4, 20, 31)[:, 1:], rois(5, 20, 31, seed=9)[:, 1:]
    rows = torch.cat(
        [
            torch.cat([torch.zeros(4, 1), first], dim=1),
            torch.cat([torch.full((5, 1), 2.0), third], dim=1),
        ]
    )
    listed = cuda_ops.roi_align(features, [first, first[:0], third], 3, 0.5, 2, True)
    torch.testing.assert_close(listed, run(features, rows, 2, True, (3, 3)), rtol=0, atol=0)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_boxes_give_no_crops_and_no_gradient(memory_format, dtype):
    features = maps((3, 8, 9)).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    crops = cuda_ops.roi_align(features, torch.zeros(0, 5), 7, 0.5, 2, True)
    assert crops.shape == (0, 3, 7, 7)
    crops.sum().backward()
    torch.testing.assert_close(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_gradcheck_first_and_second(memory_format):
    features = maps((3, 9, 11)).contiguous(memory_format=memory_format).requires_grad_()
    boxes = rois(4, 9, 11, widest=14.0)

    def crops(f: Tensor) -> Tensor:
        return run(f, boxes, 2, True, (3, 2))

    assert torch.autograd.gradcheck(crops, (features,))
    assert torch.autograd.gradgradcheck(crops, (features,))


# opcheck itself looks at the gradient of a copy that is no leaf.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(memory_format, dtype):
    features = maps((5, 20, 31)).to(dtype).contiguous(memory_format=memory_format)
    boxes = rois(6, 20, 31).float()
    torch.library.opcheck(
        torch.ops.skyduel.roi_align,
        (features.requires_grad_(), boxes, 7, 5, 0.5, 2, True),
        rtol=2e-2,
        atol=1e-5,
    )
    gradient = torch.randn(6, 5, 7, 5).to(dtype).requires_grad_()
    torch.library.opcheck(
        torch.ops.skyduel.roi_align_backward,
        (gradient, boxes, 2, 20, 31, 0.5, 2, True, memory_format == torch.channels_last),
        rtol=2e-2,
        atol=1e-5,
    )


def digest(threads: int, memory_format: torch.memory_format, dtype: torch.dtype) -> list[Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        features = maps((64, 90, 100), seed=5).to(dtype)
        features = features.contiguous(memory_format=memory_format).requires_grad_()
        crops = run(features, rois(700, 90, 100, seed=6).float(), 2, True)
        crops.square().sum().backward()
        assert features.grad is not None
        return [crops.detach(), features.grad]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_for_any_number_of_threads(memory_format, dtype):
    once = digest(1, memory_format, dtype)
    for threads in (1, 2, 3):
        again = digest(threads, memory_format, dtype)
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("capability", ["base", "avx2"])
def test_narrower_instruction_sets_agree(capability):
    # The set is chosen once a process, hence another process.
    program = """
import torch
from skyduel import cuda_ops
from torchvision.ops import roi_align as stock
for shape in ((70, 40, 50), (3, 9, 11)):
    for form in (torch.contiguous_format, torch.channels_last):
        f = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        f = f.contiguous(memory_format=form).requires_grad_()
        corner = torch.rand(60, 2, generator=torch.Generator().manual_seed(1)) * 60
        b = torch.cat([torch.arange(60)[:, None] % 2, corner, corner + 20], dim=1)
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            g = f.detach().to(dtype).requires_grad_()
            ours = cuda_ops.roi_align(g, b, 7, 0.5, 2, True)
            theirs = stock(f, b, 7, 0.5, 2, True)
            tolerance = 0.03 if dtype == torch.bfloat16 else 1e-5
            assert torch.allclose(ours.float(), theirs, atol=tolerance)
            (back,) = torch.autograd.grad(ours.float().sum(), g)
            (stock_back,) = torch.autograd.grad(theirs.sum(), f)
            assert torch.allclose(back.float(), stock_back, rtol=0.01, atol=1e-4)
print(cuda_ops.build_info()["cpu_capability"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "SKYDUEL_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    order = ["base", "avx2", "avx512"]
    assert order.index(done.stdout.strip()) <= order.index(capability)


def test_autocast_leaves_features_and_boxes_as_they_are():
    features = maps((4, 20, 31)).bfloat16()
    boxes = rois(5, 20, 31).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(features, boxes, 2, True)
    assert inside.dtype == torch.bfloat16
    assert torch.equal(inside, run(features, boxes, 2, True))


@pytest.mark.slow
def test_compiles_without_a_graph_break():
    features = maps((4, 20, 31)).float().contiguous(memory_format=torch.channels_last)
    features.requires_grad_()
    boxes = rois(5, 20, 31).float()

    def double(f: Tensor, b: Tensor) -> Tensor:
        return 2 * run(f, b, 2, True)

    compiled = torch.compile(double, fullgraph=True, backend="aot_eager")(features, boxes)
    torch.testing.assert_close(compiled, double(features, boxes))
    compiled.sum().backward()
    assert features.grad is not None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"boxes": torch.tensor([[0, 1, 2, NAN, 4]])},
            ValueError,
            "boxes: required finite",
        ),
        ({"boxes": torch.tensor([[0, 1, 2, 1e30, 4]])}, ValueError, r"edges within 2\*\*22"),
        ({"sampling_ratio": 4097}, ValueError, "sampling_ratio: required at most 4096; got 4097"),
        ({"boxes": torch.tensor([[2.0, 1, 2, 3, 4]])}, ValueError, r"index in 0\.\.1; got 2"),
        ({"boxes": torch.tensor([[-1.0, 1, 2, 3, 4]])}, ValueError, "index in"),
        ({"boxes": torch.zeros(3, 4)}, ValueError, r"got shape \(3, 4\)"),
        ({"boxes": [torch.zeros(3, 4)]}, ValueError, "each of 2 images; got 1"),
        ({"boxes": torch.zeros(3, 5).bfloat16()}, TypeError, "half precision rounds positions"),
        ({"features": torch.zeros(2, 3, 4)}, ValueError, "features: required"),
        ({"features": torch.zeros(2, 3, 4, 5, dtype=torch.int32)}, TypeError, "got torch.int32"),
        ({"features": torch.zeros(2, 3, 0, 5)}, ValueError, "required pixels"),
        ({"output_size": 0}, ValueError, "output_size"),
        ({"spatial_scale": 0.0}, ValueError, "spatial_scale"),
        ({"backend": "quick"}, ValueError, "backend: required one of"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = {
        "features": torch.zeros(2, 3, 8, 9),
        "boxes": torch.tensor([[1.0, 1, 2, 3, 4]]),
        "output_size": 7,
        "spatial_scale": 0.5,
        "sampling_ratio": 2,
        "aligned": True,
    }
    with pytest.raises(error, match=message):
        cuda_ops.roi_align(**(arguments | change))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"),
    [
        (torch.float32, 1e-5, 1e-4),
        (torch.float64, 1e-10, 1e-10),
        (torch.float16, 1e-2, 2e-2),
        (torch.bfloat16, 2e-2, 5e-2),
    ],
)
@pytest.mark.parametrize(("ratio", "aligned"), SETTINGS)
def test_cuda_agrees_with_cpu(memory_format, dtype, rtol, atol, ratio, aligned):
    features = maps((19, 20, 31)).to(dtype).contiguous(memory_format=memory_format)
    boxes = rois(200, 20, 31)
    if dtype != torch.float64:
        boxes = boxes.float()
    exact = features.double().requires_grad_()
    there = features.cuda().requires_grad_()
    slow, fast = (
        run(exact, boxes.double(), ratio, aligned),
        run(there, boxes.cuda(), ratio, aligned),
    )
    assert fast.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(fast.cpu().double(), slow, rtol=rtol, atol=atol)
    slow.sum().backward()
    fast.sum().backward()
    torch.testing.assert_close(there.grad.cpu().double(), exact.grad, rtol=rtol, atol=atol)
