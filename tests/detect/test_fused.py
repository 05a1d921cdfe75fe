"""The fused network gives the same output as the network."""

from __future__ import annotations

import pytest
import torch

from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.fused import FusedNetwork, fuse
from skyduel.detect.model.network import Network, NetworkSettings

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 2, 1, 2), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


def network(seed: int = 3) -> Network:
    torch.manual_seed(seed)
    made = Network(TINY).eval().requires_grad_(False)
    for stage in made.backbone.stages:
        for block in stage:  # type: ignore[union-attr]
            block.residual.fill_(0.7)  # zero would hide the whole branch
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("shape", [(1, 4, 64, 96), (3, 4, 32, 16)])
def test_equal_to_the_network_in_float32(folded: bool, shape: tuple[int, ...]) -> None:
    plain = network()
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = plain(image)
    inference = FusedNetwork(plain.fold() if folded else plain, torch.float32)
    out = inference(image)
    assert out.maps.dtype == torch.float32
    assert out.maps.shape == expected.maps.shape
    torch.testing.assert_close(out.maps, expected.maps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.features, expected.features, rtol=1e-4, atol=1e-5)


def test_the_plain_path_equals_the_one_of_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = network()
    image = torch.randn((2, 4, 48, 32), generator=torch.Generator().manual_seed(2))
    with_onednn = FusedNetwork(plain, torch.float32)(image)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    without = FusedNetwork(plain, torch.float32)(image)
    torch.testing.assert_close(with_onednn.maps, without.maps, rtol=1e-4, atol=1e-5)


def test_bf16_is_as_near_to_float32_as_autocast_is() -> None:
    plain = network().fold()
    image = torch.randn((1, 4, 64, 64), generator=torch.Generator().manual_seed(3))
    exact = plain(image).maps
    with torch.autocast("cpu", torch.bfloat16):
        autocast = (plain(image).maps - exact).abs().mean()
    inference = FusedNetwork(plain, torch.bfloat16)(image).maps
    assert inference.dtype == torch.float32
    assert (inference - exact).abs().mean() < 1.5 * autocast


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_regions_are_classified_alike(dtype: torch.dtype) -> None:
    plain = network()
    rois = torch.randn((11, 8, 7, 7), generator=torch.Generator().manual_seed(4))
    expected = plain.classify(rois)
    out = FusedNetwork(plain, dtype).classify(rois)
    bound = 1e-5 if dtype == torch.float32 else 5e-3
    for value, other in zip(out, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, other, rtol=0, atol=bound)


def test_inputs_and_weights_stay_as_they_are() -> None:
    plain = network()
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    image = torch.randn((1, 4, 32, 32), generator=torch.Generator().manual_seed(5))
    given = image.clone()
    inference = FusedNetwork(plain, torch.float32)
    first = inference(image).maps
    assert torch.equal(image, given)
    assert torch.equal(inference(image).maps, first), "a second call finds nothing overwritten"
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_made_once_for_a_folded_network_only() -> None:
    plain = network()
    assert fuse(plain, torch.float32) is not fuse(plain, torch.float32)
    plain.fold()
    assert fuse(plain, torch.float32) is fuse(plain, torch.float32)
    assert fuse(plain, torch.bfloat16) is not fuse(plain, torch.float32)
