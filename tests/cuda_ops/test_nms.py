"""Soft-NMS and NMS: the compiled versions against the O(N²) ones and torchvision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import nms as stock_nms

from skyduel import cuda_ops
from skyduel.cuda_ops import reference

METHODS = ["gaussian", "linear", "hard"]


def field(
    count: int, area: float = 60.0, sizes: tuple[float, float] = (10.0, 10.0), seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Boxes at random over an oblong frame, one every `area` px²."""
    generator = torch.Generator().manual_seed(seed)
    side = (max(count, 1) * area) ** 0.5
    corner = torch.rand((count, 2), generator=generator) * torch.tensor([side * 2, side / 2])
    size = sizes[0] + (sizes[1] - sizes[0]) * torch.rand((count, 2), generator=generator)
    return torch.cat([corner, corner + size], dim=1), torch.rand(count, generator=generator)


def clustered(count: int = 300, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand((6, 2), generator=generator) * 5000
    at = centre[torch.randint(0, 6, (count,), generator=generator)]
    corner = at + 6 * torch.randn((count, 2), generator=generator)
    return torch.cat([corner, corner + 9], dim=1), torch.rand(count, generator=generator)


def tied(count: int = 300) -> tuple[Tensor, Tensor]:
    boxes, scores = field(count, 20.0, seed=3)
    return boxes.round(), (scores * 4).ceil() / 4


def mixed_sizes(count: int = 300) -> tuple[Tensor, Tensor]:
    boxes, scores = field(count, 80.0, (0.1, 3.0), seed=4)
    boxes[:12, 2:] += 150
    boxes[12:20, 2] += 70
    return boxes, scores


SCENES = {
    "none": lambda: field(0),
    "one": lambda: field(1),
    "dense": lambda: field(400, 8.0, (4.0, 10.0)),
    "sparse": lambda: field(400, 1e6),
    "clustered": clustered,
    "tied": tied,
    "mixed sizes": mixed_sizes,
    "identical": lambda: (torch.tensor([[1.0, 2, 9, 7]]).repeat(50, 1), torch.full((50,), 0.5)),
    "negative coordinates": lambda: (field(200)[0] - 1e4, field(200)[1]),
    "far apart": lambda: (
        torch.cat([field(100)[0], field(100, seed=8)[0] + 1e7]),
        torch.cat([field(100)[1], field(100, seed=8)[1]]),
    ),
}


def assert_same(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    assert found[0].dtype == torch.int64
    assert torch.equal(found[0], wanted[0])
    # One rounding of the exponential apart, at most.
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_kinds", [False, True])
@pytest.mark.parametrize("scene", SCENES)
def test_soft_nms_is_the_greedy_algorithm(scene, with_kinds, dtype, method):
    boxes, scores = (each.to(dtype) for each in SCENES[scene]())
    kinds = torch.arange(len(boxes)) % 3 * 5 - 2 if with_kinds else None
    found = cuda_ops.soft_nms(boxes, scores, kinds, method)
    assert_same(found, reference.soft_nms(boxes, scores, kinds, method))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scene", SCENES)
def test_nms_is_torchvisions(scene, dtype):
    boxes, scores = (each.to(dtype) for each in SCENES[scene]())
    for threshold in (0.0, 0.3, 0.7):
        kept = cuda_ops.nms(boxes, scores, threshold)
        assert torch.equal(kept, stock_nms(boxes, scores, threshold))
        assert torch.equal(kept, reference.nms(boxes, scores, threshold))


def test_nms_on_the_threshold_is_torchvisions():
    # 10 x 3 over 10 x 10 shifted by 3: overlap exactly 0.3 of the union or near.
    shifts = torch.linspace(0, 12, 4001)
    first = torch.tensor([0.0, 0.0, 10.0, 10.0])
    for k in range(0, 4001, 40):
        second = first + torch.stack([shifts[k], torch.tensor(0.0)] * 2)
        boxes = torch.stack([first, second])
        scores = torch.tensor([0.9, 0.8])
        overlap = float(cuda_ops.paired_iou(first, second))
        for threshold in (overlap, math.nextafter(overlap, 0.0), math.nextafter(overlap, 1.0)):
            threshold = min(max(threshold, 0.0), 1.0)
            assert torch.equal(
                cuda_ops.nms(boxes, scores, threshold), stock_nms(boxes, scores, threshold)
            )


def test_batched_nms_keeps_kinds_apart():
    boxes, scores = field(300, 10.0)
    kinds = torch.arange(300) % 4
    kept = cuda_ops.batched_nms(boxes, scores, kinds, 0.2)
    assert torch.equal(kept, reference.nms(boxes, scores, 0.2, kinds))
    each = [torch.nonzero(kinds == kind)[:, 0] for kind in range(4)]
    apart = torch.cat([own[cuda_ops.nms(boxes[own], scores[own], 0.2)] for own in each])
    assert torch.equal(kept.sort().values, apart.sort().values)


@pytest.mark.parametrize("method", METHODS)
def test_a_hundred_thousand_boxes(method):
    # The oracle takes hours here; what is checked is what defines the answer:
    # the selection runs downhill, and each kept score is the input's score
    # times the decay by exactly the overlapping boxes selected before it.
    boxes, scores = field(100_000, seed=11)
    index, left = cuda_ops.soft_nms(boxes, scores, method=method)
    assert bool((left[1:] <= left[:-1]).all())
    assert index.unique().numel() == index.numel()
    place = torch.full((100_000,), 200_000)
    place[index] = torch.arange(index.numel())
    for here in torch.randint(0, index.numel(), (200,), generator=torch.Generator().manual_seed(0)):
        own = int(index[here])
        overlap = cuda_ops.box_iou(boxes[own : own + 1].double(), boxes.double())[0]
        earlier = overlap[place < here]
        if method == "gaussian":
            factor = torch.exp(-(earlier**2) / 0.6).prod()
        elif method == "linear":
            factor = torch.where(earlier > 0.3, 1 - earlier, 1.0).prod()
        else:
            factor = (earlier <= 0.3).all().double()
        assert float(left[here]) == pytest.approx(float(scores[own].double() * factor), rel=1e-6)


def test_a_pile_of_boxes_that_all_touch():
    # All of them touch one another, so nothing is local.
    corner = torch.rand((3000, 2), generator=torch.Generator().manual_seed(2))
    boxes = torch.cat([corner, corner + 20], dim=1)
    scores = torch.rand(3000, generator=torch.Generator().manual_seed(3))
    assert_same(cuda_ops.soft_nms(boxes, scores), reference.soft_nms(boxes, scores))


boxes_strategy = st.lists(
    st.tuples(
        st.integers(-20, 20),
        st.integers(-20, 20),
        st.integers(1, 30),
        st.integers(1, 12),
        st.integers(0, 6),
    ),
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(rows=boxes_strategy, method=st.sampled_from(METHODS), floor=st.sampled_from([0.0, 0.2]))
def test_small_integers_with_many_ties(rows, method, floor):
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    boxes = torch.cat([table[:, :2], table[:, :2] + table[:, 2:4]], dim=1)
    scores = table[:, 4] / 6
    found = cuda_ops.soft_nms(boxes, scores, None, method, score_threshold=floor)
    assert_same(found, reference.soft_nms(boxes, scores, None, method, score_threshold=floor))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), dx=st.integers(-64, 64), dy=st.integers(-64, 64))
def test_a_common_shift_and_the_order_of_rows_change_nothing(seed, dx, dy):
    boxes, scores = field(120, 15.0, seed=seed)
    boxes = (boxes * 16).round() / 16
    index, left = cuda_ops.soft_nms(boxes, scores)
    moved = cuda_ops.soft_nms(boxes + torch.tensor([dx, dy, dx, dy]), scores)
    assert torch.equal(index, moved[0])
    assert torch.equal(left, moved[1])
    shuffle = torch.randperm(120, generator=torch.Generator().manual_seed(seed))
    other = cuda_ops.soft_nms(boxes[shuffle], scores[shuffle])
    if scores.unique().numel() == 120:
        assert torch.equal(shuffle[other[0]], index)
        torch.testing.assert_close(other[1], left, rtol=1e-6, atol=0)


def test_hard_soft_nms_is_nms_and_lone_boxes_keep_their_scores():
    boxes, scores = field(500, 15.0)
    hard = cuda_ops.soft_nms(boxes, scores, method="hard", score_threshold=0.0)
    assert torch.equal(hard[0], cuda_ops.nms(boxes, scores, 0.3))
    assert torch.equal(hard[1], scores[hard[0]])
    apart, values = field(300, 1e5)
    index, left = cuda_ops.soft_nms(apart, values, score_threshold=0.0)
    lone = (cuda_ops.box_iou(apart, apart) > 0).sum(dim=1) == 1
    assert torch.equal(left[lone[index]], values[index][lone[index]])


def test_two_boxes_by_hand():
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4]])
    scores = torch.tensor([0.5, 0.8])
    overlap = 8 / 24  # with "+1" areas it would be 15 / 35
    index, left = cuda_ops.soft_nms(boxes, scores)
    assert index.tolist() == [1, 0]
    assert left.tolist() == pytest.approx([0.8, 0.5 * math.exp(-(overlap**2) / 0.6)], rel=1e-6)
    _, left = cuda_ops.soft_nms(boxes, scores, method="linear")
    assert left.tolist() == pytest.approx([0.8, 0.5 * (1 - overlap)], rel=1e-6)
    index, _ = cuda_ops.soft_nms(boxes, scores, method="hard")
    assert index.tolist() == [1]


def test_batched_is_image_by_image():
    sets = [field(50, 12.0, seed=1), field(0), field(70, 12.0, seed=2)]
    kinds = [torch.arange(len(s)) % 2 for _, s in sets]
    together = cuda_ops.batched_soft_nms([b for b, _ in sets], [s for _, s in sets], kinds)
    for (boxes, scores), own, found in zip(sets, kinds, together, strict=True):
        alone = cuda_ops.soft_nms(boxes, scores, own)
        assert torch.equal(found[0], alone[0])
        assert torch.equal(found[1], alone[1])
    assert cuda_ops.batched_soft_nms([], []) == []
    with pytest.raises(ValueError, match="each of 1 images; got 0"):
        cuda_ops.batched_soft_nms([torch.zeros(0, 4)], [])


def test_strided_input_and_any_integer_kinds():
    boxes, scores = field(200, 12.0)
    wide = torch.stack([boxes, boxes], dim=2).flatten(1)[:, ::2]
    assert not wide.is_contiguous()
    kinds = (torch.arange(400) % 6)[::2].to(torch.int16)
    assert_same(
        cuda_ops.soft_nms(wide, scores.double()[:, None].expand(-1, 3)[:, 1], kinds),
        reference.soft_nms(boxes, scores.double(), kinds.long()),
    )


def test_the_same_bits_for_any_number_of_threads():
    boxes, scores = field(20_000)
    kinds = torch.arange(20_000) % 7
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(cuda_ops.soft_nms(boxes, scores, kinds))
    finally:
        torch.set_num_threads(before)
    for index, left in results[1:]:
        assert torch.equal(index, results[0][0])
        assert torch.equal(left, results[0][1])


def test_opcheck():
    boxes, scores = field(40, 12.0)
    kinds = torch.arange(40) % 2
    torch.library.opcheck(torch.ops.skyduel.nms, (boxes, scores, None, 0.3))
    torch.library.opcheck(torch.ops.skyduel.nms, (boxes, scores, kinds, 0.3))
    torch.library.opcheck(torch.ops.skyduel.soft_nms, (boxes, scores, kinds, 0, 0.6, 0.3, 0.001))


@pytest.mark.parametrize("backend", ["compiled", "reference"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": torch.tensor([[0, 0, float("nan"), 2]])}, ValueError, "boxes: required finite"),
        ({"boxes": torch.tensor([[0, 0, float("inf"), 2]])}, ValueError, "boxes: required finite"),
        ({"boxes": torch.tensor([[0.0, 0, 0, 2]])}, ValueError, "got an empty box"),
        ({"boxes": torch.tensor([[0.0, 3, 1, 2]])}, ValueError, "got an empty box"),
        ({"boxes": torch.zeros(1, 5)}, ValueError, r"required shape \(N, 4\); got \(1, 5\)"),
        ({"boxes": torch.ones(1, 4).half()}, TypeError, "half precision rounds positions"),
        ({"scores": torch.tensor([float("nan")])}, ValueError, "scores: required finite"),
        ({"scores": torch.zeros(2)}, ValueError, r"scores: required shape \(1,\)"),
        ({"scores": torch.zeros(1, dtype=torch.int64)}, TypeError, "scores: required float32"),
        ({"kinds": torch.zeros(2, dtype=torch.int64)}, ValueError, "kinds: required shape"),
        ({"kinds": torch.zeros(1)}, TypeError, "kinds: required integers"),
        ({"method": "best"}, ValueError, "method: required one of"),
        ({"sigma": 0.0}, ValueError, "sigma: required positive"),
        ({"iou_threshold": 1.5}, ValueError, r"iou_threshold: required in 0\.\.1"),
        ({"score_threshold": -0.1}, ValueError, "score_threshold: required"),
    ],
)
def test_bad_input_is_refused(change, error, message, backend):
    arguments = {"boxes": torch.tensor([[0.0, 0, 1, 2]]), "scores": torch.tensor([0.5])}
    with pytest.raises(error, match=message):
        cuda_ops.soft_nms(**(arguments | change), backend=backend)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scene", SCENES)
def test_cuda_agrees_with_cpu(scene, method):
    boxes, scores = SCENES[scene]()
    kinds = torch.arange(len(boxes)) % 3
    here = cuda_ops.soft_nms(boxes, scores, kinds, method)
    there = cuda_ops.soft_nms(boxes.cuda(), scores.cuda(), kinds.cuda(), method)
    assert_same((there[0].cpu(), there[1].cpu()), here)
    kept = cuda_ops.nms(boxes.cuda(), scores.cuda(), 0.3)
    assert torch.equal(kept.cpu(), cuda_ops.nms(boxes, scores, 0.3))
