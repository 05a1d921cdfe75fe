"""The published network: shapes, anchors, assignment, losses and soft-NMS by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.image_list import ImageList

from skyduel.cuda_ops import box_iou
from skyduel.detect.published.backbone import PublishedBackbone, Pyramid
from skyduel.detect.published.form import FAITHFUL, FORMS, MENDED, Faults
from skyduel.detect.published.matching import best_overlap, match_anchors
from skyduel.detect.published.network import (
    Boxes,
    Head,
    PublishedNetwork,
    PyramidAlign,
    focal_loss,
    pyramid_level,
    suppress,
)


def count_parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def squares(xy: torch.Tensor, half: float) -> torch.Tensor:
    return torch.cat([xy - half, xy + half], dim=1)


def anchors_of(faults: Faults, size: int) -> list[torch.Tensor]:
    """The anchors of each level of an image, cell by cell: shape (h, w, 3, 4)."""
    torch.manual_seed(0)
    network = PublishedNetwork(faults)
    levels = network.levels(torch.zeros(1, 3, size, size))
    (flat,) = network.rpn.anchor_generator(
        ImageList(torch.zeros(1, 3, size, size), [(size, size)]), levels
    )
    counts = [3 * level.shape[2] * level.shape[3] for level in levels]
    return [
        part.reshape(*level.shape[2:], 3, 4)
        for part, level in zip(flat.split(counts), levels, strict=True)
    ]


def test_a_form_is_all_faults_or_none() -> None:
    assert set(FAITHFUL.model_dump().values()) == {True}
    assert set(MENDED.model_dump().values()) == {False}
    assert FORMS == {"faithful": FAITHFUL, "mended": MENDED}


def test_shapes_of_backbone_and_pyramid_for_the_published_input() -> None:
    torch.manual_seed(0)
    stages = PublishedBackbone()(torch.zeros(1, 3, 500, 500))
    assert [tuple(s.shape[1:]) for s in stages] == [
        (64, 250, 250), (128, 125, 125), (256, 63, 63), (512, 63, 63),
    ]  # fmt: skip
    levels = Pyramid()(stages)
    sides = [250, 125, 63, 63, 32]
    assert [tuple(level.shape) for level in levels] == [(1, 64, n, n) for n in sides]
    assert torch.equal(levels[4], levels[3][:, :, ::2, ::2])


def test_parameters_are_those_counted_by_hand() -> None:
    backbone = 0
    for cin, cout in ((3, 6), (6, 16), (16, 16)):
        backbone += 9 * cin * cout
    backbone += 2 * 16
    cin = 16
    for blocks, planes in zip((3, 4, 6, 3), (16, 32, 64, 128), strict=True):
        for block in range(blocks):
            backbone += planes * (cin + 9 * planes + 4 * planes) + 2 * (
                planes + planes + 4 * planes
            )
            # Every first block widens, so its shortcut is a convolution.
            backbone += 4 * planes * cin + 2 * 4 * planes if block == 0 else 0
            cin = 4 * planes
    pyramid = 64 * (64 + 128 + 256 + 512) + 4 * 64 + 3 * (9 * 64 * 64 + 64)
    rpn = 9 * 64 * 128 + 128 + 128 * 3 + 3 + 128 * 12 + 12
    head = 49 * 64 * 256 + 256 + 256 * 256 + 256 + 256 * 64 + 64 + 256 * 12 + 12
    network = PublishedNetwork(MENDED)
    assert count_parameters(network.backbone) == backbone == 1_481_954
    assert count_parameters(network) == backbone + pyramid + rpn + head == 2_618_621


def test_published_anchors_step_by_the_wrong_strides() -> None:
    levels = anchors_of(FAITHFUL, 500)
    assert sum(level[..., 0].numel() for level in levels) == 3 * (
        250**2 + 125**2 + 2 * 63**2 + 32**2
    )
    for level, size, step in zip(levels, (1, 2, 4, 8, 16), (1, 2, 4, 8, 16), strict=True):
        square = level[3, 5, 1]  # ratio 1 of row 3, column 5
        assert square.tolist() == pytest.approx(
            [5 * step - size / 2, 3 * step - size / 2, 5 * step + size / 2, 3 * step + size / 2]
        )
        tall = level[0, 0, 2]
        assert (tall[3] - tall[1]).item() == pytest.approx(size * math.sqrt(2))
        assert (tall[2] - tall[0]).item() == pytest.approx(size / math.sqrt(2))
    # Three levels end before the middle of the frame of 500 px.
    ends = [float(level[..., :2].max()) for level in levels]
    assert all(end < 252 for end in ends[:3])
    assert all(end > 480 for end in ends[3:])


def test_no_published_anchor_reaches_the_overlap_of_a_positive() -> None:
    flat = torch.cat([level.reshape(-1, 4) for level in anchors_of(FAITHFUL, 500)])
    rng = np.random.default_rng(3)
    xy = torch.from_numpy(np.trunc(rng.uniform(10, 490, (60, 2)))).float()
    boxes = squares(xy, 5.0)
    assert float(best_overlap(boxes, flat).max()) < 0.65  # 8² / 10² is the most
    match = match_anchors(boxes, flat, 0.7, 0.3)
    assert 60 <= int((match.label == 1).sum()) <= 180  # the best of each source, and ties


def test_mended_anchors_lie_where_their_cells_look() -> None:
    network_levels = anchors_of(MENDED, 192)
    for level, size, step in zip(
        network_levels, (8, 16, 32, 64, 128), (2, 4, 8, 8, 16), strict=True
    ):
        x = 1.5 + 5 * step
        y = 1.5 + 3 * step
        h = size / 2
        assert level[3, 5, 1].tolist() == pytest.approx([x - h, y - h, x + h, y + h])
    flat = torch.cat([level.reshape(-1, 4) for level in network_levels])
    rng = np.random.default_rng(4)
    boxes = squares(torch.from_numpy(rng.uniform(8, 184, (80, 2))).float(), 4.0)
    overlap = box_iou(boxes, flat).amax(dim=1)
    # On a grid of 2 px, centres differ by 1 px at most in each axis: 7² / (2·8² - 7²).
    assert float(overlap.min()) >= 49 / 79 - 1e-5
    assert float((overlap >= 0.7).float().mean()) > 0.7


def test_a_cell_sees_the_pixels_around_its_mended_anchor() -> None:
    """The pixels that a cell depends on are centred where `FIRST_CELL` and the stride say."""
    backbone = PublishedBackbone()
    for module in backbone.modules():  # positive and linear, so that the gradient has a centre
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1.0 / module.weight[0].numel())
    backbone.stem[3] = torch.nn.Identity()
    backbone.stem[5] = torch.nn.AvgPool2d(3, 2, ceil_mode=True)
    # The first block of a stage, which has the stride, is enough for the centre.
    backbone.stages = torch.nn.ModuleList(stage[:1] for stage in backbone.stages)
    for (block,) in backbone.stages:
        block.norm1 = block.norm2 = block.norm3 = torch.nn.Identity()
        block.shortcut[1] = torch.nn.Identity()
    for level, stride in enumerate((2, 4, 8, 8)):
        size, k = 128, 64 // stride
        image = torch.ones(1, 3, size, size, requires_grad=True)
        backbone(image)[level][0, 0, k, k].backward()
        assert image.grad is not None
        weight = image.grad[0].sum(dim=0).double()
        edges = torch.arange(size, dtype=torch.float64) + 0.5
        centre = float((weight.sum(dim=0) * edges).sum() / weight.sum())
        assert centre == pytest.approx(1.5 + k * stride, abs=1e-3)


def test_matching_is_torchvisions_without_sources_that_nothing_touches() -> None:
    generator = torch.Generator().manual_seed(5)
    for _ in range(4):
        boxes = squares(torch.rand(60, 2, generator=generator) * 100, 4.0)
        half = 2 + torch.rand(4000, 2, generator=generator) * 6
        centre = torch.rand(4000, 2, generator=generator) * 100
        anchors = torch.cat([centre - half, centre + half], dim=1)
        stock = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(boxes, anchors))
        label = (stock >= 0).float()
        label[stock == Matcher.BETWEEN_THRESHOLDS] = -1
        ours = match_anchors(boxes, anchors, 0.7, 0.3)
        assert torch.equal(ours.label, label)
        overlap = box_iou(boxes, anchors)
        best = overlap.amax(dim=0)
        assert torch.equal(best_overlap(boxes, anchors), best)
        # Of several sources with the same overlap either may be taken.
        taken = overlap.gather(0, ours.source[None])[0]
        assert torch.equal(taken[stock >= 0], best[stock >= 0])


def test_a_source_far_from_all_anchors_takes_none() -> None:
    anchors = squares(torch.tensor([[10.0, 10.0], [20.0, 10.0]]), 4.0)
    far = squares(torch.tensor([[90.0, 90.0]]), 4.0)
    assert match_anchors(far, anchors, 0.7, 0.3).label.tolist() == [0, 0]
    none = torch.zeros(0, 4)
    assert match_anchors(none, anchors, 0.7, 0.3).label.tolist() == [0, 0]
    assert best_overlap(none, anchors).tolist() == [0, 0]


def test_anchors_on_ignored_sources_are_not_background() -> None:
    network = PublishedNetwork(MENDED)
    places = squares(torch.tensor([[10.0, 10.0], [30.0, 10.0], [50.0, 50.0]]), 4.0)
    target = {"boxes": places[:1], "ignored": places[1:2]}
    (label,), (match,) = network.rpn.assign_targets_to_anchors([places], [target])
    assert label.tolist() == [1, -1, 0]
    assert torch.equal(match[0], places[0])


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[math.log(0.8), math.log(0.2)], [math.log(0.5), math.log(0.5)]])
    expected = (-(0.2**2) * math.log(0.8) - 0.5**2 * math.log(0.5)) / 2
    assert float(focal_loss(logits, torch.tensor([0, 1]))) == pytest.approx(expected, rel=1e-5)
    plain = (-math.log(0.8) - math.log(0.5)) / 2
    assert float(focal_loss(logits, torch.tensor([0, 1]), gamma=0.0)) == pytest.approx(plain)


def test_level_of_a_box() -> None:
    sides = torch.tensor([[4.0], [10.0], [12.0], [50.0], [100.0], [400.0]])
    boxes = torch.cat([torch.zeros(6, 2), sides, sides], dim=1)
    assert pyramid_level(boxes).tolist() == [2, 2, 3, 4, 5, 5]


def test_regions_come_from_the_level_of_their_size_in_the_order_given() -> None:
    levels = [torch.full((2, 64, 64 // s, 64 // s), float(k)) for k, s in enumerate((2, 4, 8, 8))]
    boxes = [
        torch.tensor([[8.0, 8.0, 58.0, 58.0], [8.0, 8.0, 18.0, 18.0]]),
        torch.tensor([[8.0, 8.0, 20.0, 20.0]]),
    ]
    crops = PyramidAlign()(levels, boxes)
    assert crops.shape == (3, 64, 7, 7)
    assert crops[:, 0, 3, 3].tolist() == pytest.approx([2.0, 0.0, 1.0])


def test_the_published_head_is_linear_and_the_mended_one_is_not() -> None:
    torch.manual_seed(2)
    faithful, mended = (
        PublishedNetwork(FAITHFUL).roi.box_head,
        PublishedNetwork(MENDED).roi.box_head,
    )
    x, y = torch.randn(2, 5, 64, 7, 7)

    def bends(head: Head) -> float:
        middle = head((x + y) / 2)[0] - (head(x)[0] + head(y)[0]) / 2
        return float(middle.detach().abs().max())

    assert bends(faithful) < 1e-5 < 1e-3 < bends(mended)


def test_the_published_stem_and_first_stage_do_not_learn() -> None:
    backbone = PublishedNetwork(FAITHFUL).backbone
    frozen = {n for n, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {
        n for n, _ in backbone.named_parameters() if n.startswith(("stem.", "stages.0."))
    }
    assert all(p.requires_grad for p in PublishedNetwork(MENDED).parameters())


def test_soft_nms_by_hand_with_true_areas_and_with_a_pixel_more() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [0, 0, 4, 4], [20, 20, 24, 24]])
    found = Boxes(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 1, 2, 1]))
    left = suppress(found)
    # Overlap 8 / 24; another class is not touched.
    lowered = 0.8 * math.exp(-((8 / 24) ** 2) / 0.6)
    assert 0.6 < lowered < 0.7
    assert left.scores.tolist() == pytest.approx([0.9, 0.7, lowered, 0.6])
    assert left.labels.tolist() == [1, 2, 1, 1]
    wide = suppress(found, pixel_areas=True)
    # (4 - 2 + 1)(4 + 1) over 2 · 5² less that.
    published = 0.8 * math.exp(-((15 / 35) ** 2) / 0.6)
    assert min(abs(float(s) - published) for s in wide.scores) < 1e-6
    assert torch.equal(wide.boxes.sort(dim=0).values, boxes.sort(dim=0).values)
    none = Boxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert len(suppress(none).boxes) == 0


def test_losses_reach_every_part_and_no_frozen_one() -> None:
    torch.manual_seed(3)
    boxes = squares(torch.tensor([[20.0, 20.0], [40.0, 44.0]]), 4.0)
    target = {"boxes": boxes, "labels": torch.tensor([1, 2]), "ignored": torch.zeros(0, 4)}
    for faults in (FAITHFUL, MENDED):
        network = PublishedNetwork(faults)
        losses = network.losses(torch.randn(1, 3, 64, 64), [target])
        assert set(losses) == {"presence", "proposal", "kind", "box"}
        assert float(losses["presence"].detach()) == pytest.approx(math.log(2), rel=0.05)
        first = (63 / 64) ** 2 * math.log(64)  # of 64 equal outputs
        assert float(losses["kind"].detach()) == pytest.approx(first, rel=0.05)
        torch.stack(list(losses.values())).sum().backward()
        for name, parameter in network.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name


def test_a_frame_without_sources_has_losses_and_without_proposals_no_boxes() -> None:
    torch.manual_seed(4)
    network = PublishedNetwork(MENDED)
    nothing = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "ignored": torch.zeros(0, 4),
    }
    losses = network.losses(torch.randn(1, 3, 64, 64), [nothing])
    assert float(losses["box"].detach()) == 0 == float(losses["proposal"].detach())
    network.eval()
    found = network.detect(torch.randn(3, 64, 64), floor=0.9, proposals=50)
    assert len(found.boxes) == len(found.scores) == len(found.labels) == 0
