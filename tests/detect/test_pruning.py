"""Tests of pruning: the output of the pruned network, and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from skyduel.core import BadInputError
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.backbones.resnet import Bottleneck
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.pruning import prune
from skyduel.detect.model.score_model import Calibration
from skyduel.detect.model.weights import read_weights, save_weights
from skyduel.detect.training import train as training
from skyduel.detect.training.train import TrainingSettings, initial_network, train

LARGE = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(2, 1, 3, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    smooth=3,
    proposals=12,
    head=16,
)


def network(residual: float = 0.5) -> Network:
    torch.manual_seed(3)
    net = Network(LARGE)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Bottleneck):
                module.residual.fill_(residual)
        net.dense.weight.normal_(0, 0.5)
        net.dense.bias.zero_()
    return net.eval()


def images(n: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(2, 4, 64, 96, generator=generator) for _ in range(n)]


def never(_: Network) -> float:
    raise AssertionError("no block is to be chosen")


def shape(**changes: object) -> NetworkSettings:
    """The large shape with other settings, of the network or of its backbone."""
    own = {k: v for k, v in changes.items() if k in ResNetSettings.model_fields}
    backbone = LARGE.backbone.model_copy(update=own)
    rest = {k: v for k, v in changes.items() if k not in own}
    return LARGE.model_copy(update={"backbone": backbone, **rest})


@torch.inference_mode()
def residual(a: Network, b: Network) -> float:
    """Return the share of the maps' variance that b lacks, on images neither was fitted to."""
    image = torch.randn(2, 4, 96, 64, generator=torch.Generator().manual_seed(9))
    x, y = a(image).maps, b(image).maps
    centred = x - x.mean(dim=(0, 2, 3), keepdim=True)
    return float(((x - y) ** 2).mean() / (centred**2).mean())


def test_blocks_that_do_nothing_are_the_ones_left_out() -> None:
    net = network()
    with torch.no_grad():
        net.backbone.stages[2][1].residual.zero_()
    wanted = shape(blocks=(2, 1, 2, 1))

    def loss(trial: Network) -> float:
        return residual(net, trial)

    slim = prune(net, wanted, images(), loss)
    assert slim.settings == wanted
    assert residual(net, slim) == pytest.approx(0, abs=1e-10)
    both = prune(net, shape(blocks=(1, 1, 2, 1)), images(), loss)
    assert [len(stage) for stage in both.backbone.stages] == [1, 1, 2, 1]
    assert residual(net, both) > 0


def test_the_network_given_is_not_changed() -> None:
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    prune(net, shape(smooth=1, proposals=8, blocks=(1, 1, 2, 1)), images(), lambda _: 0.0)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_channels_that_say_nothing_new_cost_nothing() -> None:
    net = network()
    with torch.no_grad():  # four of the twelve are copies of others
        for name in ("weight", "bias", "gain"):
            parameter = getattr(net.propose, name)
            parameter[8:] = parameter[:4]
    slim = prune(net, shape(proposals=8), images(), never)
    assert slim.propose.out_channels == 8
    assert residual(net, slim) < 1e-3
    fewer = prune(net, shape(proposals=8), images(), never)
    assert all(
        torch.equal(a, b)
        for a, b in zip(slim.state_dict().values(), fewer.state_dict().values(), strict=True)
    ), "the same every time"


def test_a_convolution_that_only_looks_at_its_own_cell_becomes_one_of_1_by_1() -> None:
    net = network()
    with torch.no_grad():
        weight = torch.zeros_like(net.smooth.weight)
        centre = torch.randn(8, 8)
        weight[:, :, 1, 1] = centre - centre.mean(dim=1, keepdim=True)
        net.smooth.weight.copy_(weight)
    slim = prune(net, shape(smooth=1), images(), never)
    assert slim.smooth.kernel_size == (1, 1)
    assert residual(net, slim) < 1e-3


def test_any_other_convolution_is_followed_as_far_as_one_cell_can() -> None:
    net = network()
    slim = prune(net, shape(smooth=1), images(), never)
    with torch.no_grad():
        silent = Network(shape(smooth=1))
        silent.load_state_dict(slim.state_dict())
        silent.smooth.gain.zero_()
    assert residual(net, slim) < 0.9 * residual(net, silent)


def test_channels_that_nothing_reads_are_the_ones_left_out() -> None:
    torch.manual_seed(4)
    wide = shape(smooth=1, pyramid=12, head=24)
    net = Network(wide).eval()
    unread, silent, idle = [1, 4, 5, 10], [0, 3, 7, 8], [2, 3, 5, 8, 11, 13, 17, 20]
    with torch.no_grad():
        net.dense.weight.normal_(0, 0.5)
        for conv, channels in ((net.propose, unread), (net.smooth, silent)):
            weight = conv.weight
            weight[:, channels] = 0
            rest = [c for c in range(12) if c not in channels]
            # A mean of 0, so that standardisation leaves the zeros.
            weight[:, rest] -= weight[:, rest].mean(dim=(1, 2, 3), keepdim=True)
        net.roi1.weight.view(24, 12, -1)[:, unread] = 0
        net.roi2.weight[:, idle] = 0
        net.roi_out.weight.normal_(0, 0.5)
        net.roi_out.weight[:, idle] = 0
    slim = prune(net, shape(smooth=1, pyramid=8, head=16), images(), never)
    assert residual(net, slim) < 1e-6
    with torch.inference_mode():
        image = images(1)[0]
        kept = [c for c in range(12) if c not in unread]
        features = net(image).features
        torch.testing.assert_close(slim(image).features, features[:, kept], rtol=0, atol=1e-3)
        rois = features.unfold(2, 7, 7).unfold(3, 7, 7)[0, :, 0].movedim(1, 0)
        for ours, theirs in zip(slim.classify(rois[:, kept]), net.classify(rois), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"blocks": (3, 1, 3, 1)}, {"proposals": 16}, {"stem": 16}, {"head": 32}, {"pyramid": 16}],
)
def test_what_is_no_part_of_the_network_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match=r"the shape of the weights, .*, or a part of it"):
        prune(network(), shape(**changes), images(), never)
    small = network()
    with pytest.raises(BadInputError, match="or a part of it"):
        prune(prune(small, shape(smooth=1), images(), never), LARGE, images(), never)


def test_a_training_begins_with_the_part_asked_for_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enough to choose by; the network is cut down four times.
    monkeypatch.setattr(training, "_SLIMMING_CROPS", 16)
    path = tmp_path / "large.safetensors"
    save_weights(path, network().state_dict(), LARGE, Calibration(1.0, 0.0), {})
    wanted = shape(blocks=(1, 1, 2, 1), smooth=1, proposals=8)
    settings = TrainingSettings(
        steps=1, batch=8, crop_px=64, workers=0, bf16=False, network=wanted, validation_crops=2,
        proposals=12, proposal_floor=0.005, seed=2,
    )  # fmt: skip
    stored = read_weights(path)
    first, again = (initial_network(stored, settings).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    whole = initial_network(stored, settings.model_copy(update={"network": LARGE})).state_dict()
    assert all(torch.equal(whole[k], stored.tensors[k]) for k in whole)
    folder = tmp_path / "out"
    train(settings, folder, None, path)
    more = settings.model_copy(update={"steps": 2})
    seen: list[int] = []
    train(more, folder, lambda step: seen.append(step.step), path)
    assert seen == [2]
