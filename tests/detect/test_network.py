"""Tests of the network: shapes, locality, registration to the frame, folding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from skyduel.detect.inference.decode import propose
from skyduel.detect.inference.roi_features import region_features
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.backbones.resnet import Bottleneck
from skyduel.detect.model.layout import (
    DENSE_CHANNELS,
    ROI_BOX_PX,
    cell_centres,
    source_boxes,
)
from skyduel.detect.model.network import Network, NetworkSettings

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


def lively(seed: int = 0) -> Network:
    """A tiny network whose blocks and heads all do something."""
    torch.manual_seed(seed)
    network = Network(TINY)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Bottleneck):
                module.residual.fill_(0.7)
        network.dense.weight.normal_(std=0.3)
        network.roi_out.weight.normal_(std=0.3)
    return network.eval().requires_grad_(False)


def noise(ny: int, nx: int, seed: int = 1) -> Tensor:
    return torch.randn(1, 4, ny, nx, generator=torch.Generator().manual_seed(seed))


def test_the_shipped_shape_has_below_four_million_parameters() -> None:
    n = sum(p.numel() for p in Network().parameters())
    assert 1.8e6 < n < 4e6


@pytest.mark.parametrize(("ny", "nx"), [(16, 16), (32, 80), (112, 48)])
def test_maps_have_half_the_sides_of_the_frame(ny: int, nx: int) -> None:
    output = lively()(noise(ny, nx).expand(3, -1, -1, -1))
    assert output.maps.shape == (3, len(DENSE_CHANNELS), ny // 2, nx // 2)
    assert output.maps.dtype == torch.float32
    assert output.features.shape == (3, TINY.pyramid, ny // 2, nx // 2)
    logits, shift = lively().classify(torch.zeros(5, TINY.pyramid, 7, 7))
    assert logits.shape == (5, 3)
    assert shift.shape == (5, 2)


def test_classifying_nothing_is_fine() -> None:
    logits, shift = lively().classify(torch.zeros(0, TINY.pyramid, 7, 7))
    assert logits.shape == (0, 3)
    assert shift.shape == (0, 2)


def test_a_new_network_expects_few_sources() -> None:
    torch.manual_seed(3)
    maps = Network(TINY).eval()(noise(64, 64)).maps
    assert torch.sigmoid(maps[:, [0, 3]]).max() < 0.1


def test_blocks_start_as_the_identity() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 8, 10)
    same = Bottleneck(16, 4, 1)
    assert torch.equal(same(x), x)
    wider = Bottleneck(8, 4, 2)
    assert wider(x[:, :8]).shape == (2, 16, 4, 5)
    with torch.no_grad():
        same.residual.fill_(0.5)
    assert not torch.allclose(same(x), x)


def test_shifting_the_frame_by_the_coarsest_stride_shifts_the_maps() -> None:
    network, frame = lively(), noise(192, 240)
    maps = network(frame).maps
    moved = network(torch.roll(frame, (16, 32), dims=(2, 3))).maps
    inner = (slice(None), slice(None), slice(40, 70), slice(48, 88))
    want = torch.roll(maps, (8, 16), dims=(2, 3))[inner]
    assert maps.std() > 0.05
    torch.testing.assert_close(moved[inner], want, atol=2e-5, rtol=1e-4)


def test_what_is_found_at_a_place_depends_on_its_surroundings_only() -> None:
    network, frame = lively(), noise(64, 320)
    crowd = frame.clone()
    crowd[..., :100] = 30 * noise(64, 100, seed=9)
    difference = (network(frame).maps - network(crowd).maps).abs().amax(dim=(0, 1, 2))
    assert difference[:50].min() > 0.01
    assert difference[90:].max() < 1e-5, "a crowd 80 px away changes a sparse corner"


def test_neighbours_in_a_batch_do_not_matter() -> None:
    network = lively()
    a, b = noise(48, 64), 50 * noise(48, 64, seed=4)
    torch.testing.assert_close(
        network(torch.cat([a, b])).maps[:1], network(a).maps, atol=1e-5, rtol=1e-4
    )


def test_folding_changes_nothing_but_time() -> None:
    network, frame = lively(), noise(48, 80)
    before = network(frame)
    rois = torch.randn(4, TINY.pyramid, 7, 7)
    head = network.classify(rois)
    folded = network.fold()
    assert folded is network
    again = network.fold()(frame)  # twice is as good as once
    torch.testing.assert_close(again.maps, before.maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(again.features, before.features, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.classify(rois), head)


def test_cells_are_centred_on_their_two_by_two_pixels() -> None:
    x, y = cell_centres(3, 5)
    assert x.shape == y.shape == (3, 5)
    assert x[0].tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert y[:, 0].tolist() == [0.5, 2.5, 4.5]


@pytest.mark.parametrize("at", [10, 11, 24, 31])
def test_the_stem_is_centred_on_its_cells(at: int) -> None:
    # A uniform stem answers to a lone pixel in the cells around it; the pixel pair
    # of one cell is answered symmetrically about that cell's centre.
    network = lively().fold()
    network.backbone.stem.weight.fill_(1.0)
    network.backbone.stem.bias.zero_()
    frame = torch.zeros(1, 4, 32, 64)
    frame[0, 0, 12, at] = 1.0
    answer = network.backbone.stem(frame)[0, 0]
    x, y = (torch.tensor(v) for v in cell_centres(*answer.shape))
    total = answer.sum()
    assert total > 0
    assert float((answer * x).sum() / total) == pytest.approx(at // 2 * 2 + 0.5)
    assert float((answer * y).sum() / total) == pytest.approx(12.5)


def blank(bias: tuple[float, ...]) -> Network:
    """A network that says the same of every cell."""
    network = lively().fold()
    network.dense.weight.zero_()
    network.dense.bias.copy_(torch.tensor(bias))
    return network


@pytest.mark.parametrize("bf16", [False, True])
def test_proposals_are_registered_to_the_frame_at_any_distance(bf16: bool) -> None:
    # The published system laid its cells at half their spacing; and in half precision
    # positions beyond 256 px have steps of 2 px.
    network = blank((3.0, 0.37, -0.81, -9.0, 0.0, 0.0, 0.0, 0.0))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        maps = network(noise(16, 2048)).maps[0]
    xy, logits = propose(maps.numpy(), 0.5, 10**6)
    assert xy.dtype == np.float32
    want_x = np.arange(1024) * 2 + 0.5 + 0.37
    want_y = np.arange(8) * 2 + 0.5 - 0.81
    assert len(xy) == 8 * 1024
    got = xy.reshape(8, 1024, 2)  # equal logits: in the order of the cells
    np.testing.assert_allclose(got[..., 0], np.broadcast_to(want_x, (8, 1024)), atol=0.005)
    np.testing.assert_allclose(got[..., 1], np.broadcast_to(want_y[:, None], (8, 1024)), atol=0.005)
    np.testing.assert_allclose(logits, 3.0, atol=0.01)


def test_boxes_lie_around_the_centre_of_their_pixel() -> None:
    boxes = source_boxes(np.array([[3.0, 7.25]]), 4.0)
    assert boxes.tolist() == [[1.5, 5.75, 5.5, 9.75]]
    assert source_boxes(np.zeros((0, 2))).shape == (0, 4)
    assert float(source_boxes(np.zeros((1, 2)))[0, 2]) == 0.5 + ROI_BOX_PX / 2


def test_regions_are_cut_where_the_source_is() -> None:
    # Maps that hold their own cells' coordinates: a region reads off where it was cut.
    x, y = (torch.tensor(v) for v in cell_centres(40, 56))
    features = torch.stack([torch.stack([x, y]), torch.stack([x + 1000, y])])
    first = torch.tensor([[30.0, 40.0], [51.3, 22.9], [77.77, 50.01]])
    second = torch.tensor([[41.5, 33.0]])
    regions = region_features(features, [first.numpy(), second.numpy()], 7)
    assert regions.shape == (4, 2, 7, 7)
    steps = torch.arange(-3, 4) * 2.0
    for region, (px, py) in zip(
        regions, [*first, (second[0, 0] + 1000, second[0, 1])], strict=True
    ):
        torch.testing.assert_close(region[0], (px + steps).expand(7, 7), atol=2e-4, rtol=0)
        torch.testing.assert_close(region[1], (py + steps)[:, None].expand(7, 7), atol=2e-4, rtol=0)


def test_no_proposals_give_no_regions() -> None:
    features = torch.randn(2, 5, 8, 8)
    assert region_features(features, [np.zeros((0, 2), np.float32)] * 2, 7).shape == (0, 5, 7, 7)


def test_what_positions_are_made_of_stays_float32_under_autocast() -> None:
    network = lively()
    rois = torch.randn(3, TINY.pyramid, 7, 7, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        output = network(noise(64, 48))
        kinds, shift = network.classify(rois)
    assert output.maps.dtype == kinds.dtype == shift.dtype == torch.float32
    assert output.features.dtype == torch.bfloat16
