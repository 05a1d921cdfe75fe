"""A backbone in one file can be trained, saved, loaded and fused; bad ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.core import BadInputError
from skyduel.detect.model import backbones
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.backbones.protocol import (
    Backbone,
    BackboneSettings,
    FeatureMaps,
    FusedBackbone,
    Level,
)
from skyduel.detect.model.fused import FusedNetwork
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.pruning import prune
from skyduel.detect.model.score_model import Calibration
from skyduel.detect.model.weights import (
    load_weights,
    read_weights,
    save_halves,
    save_weights,
)
from skyduel.detect.model.weights_file import FORMAT
from skyduel.detect.training.adapt import backbone_slower
from skyduel.detect.training.checkpoint import read_average
from skyduel.detect.training.loop import CHECKPOINT
from skyduel.detect.training.train import TrainingSettings, parameter_groups, train


class PlainSettings(BackboneSettings):
    name: Literal["plain"] = "plain"
    width: int = 6


class Plain(Backbone):
    """Two plain convolutions, at strides of 2 and 8 px."""

    Settings = PlainSettings

    def __init__(self, settings: PlainSettings, channels: int) -> None:
        super().__init__(settings, channels)
        self.fine = nn.Conv2d(channels, settings.width, 2, 2)
        self.coarse = nn.Conv2d(settings.width, 2 * settings.width, 4, 4)
        self.levels = (
            Level("fine", settings.width, 2),
            Level("coarse", 2 * settings.width, 8),
        )

    def forward(self, image: Tensor) -> FeatureMaps:
        fine = F.relu(self.fine(image))
        return {"fine": fine, "coarse": F.relu(self.coarse(fine))}

    def fuse(self, dtype: torch.dtype) -> FusedBackbone:
        weights = [p.detach().to(dtype) for p in self.parameters()]

        def run(image: Tensor) -> FeatureMaps:
            fine = F.conv2d(image, weights[0], weights[1], 2).relu_()
            return {"fine": fine, "coarse": F.conv2d(fine, weights[2], weights[3], 4).relu_()}

        return run


class Steep(Plain):
    """Its strides do not fit."""

    def __init__(self, settings: PlainSettings, channels: int) -> None:
        super().__init__(settings, channels)
        self.levels = (Level("fine", settings.width, 4), Level("coarse", 2 * settings.width, 6))


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> NetworkSettings:
    monkeypatch.setitem(backbones.BACKBONES, "plain", Plain)
    return NetworkSettings(backbone=PlainSettings(), pyramid=8, proposals=8, head=16)


def image(ny: int = 32, nx: int = 48) -> Tensor:
    return torch.randn(2, 4, ny, nx, generator=torch.Generator().manual_seed(1))


def test_settings_choose_a_backbone_by_name(settings: NetworkSettings) -> None:
    assert isinstance(Network(settings).backbone, Plain)
    assert NetworkSettings.model_validate_json(settings.model_dump_json()) == settings
    assert NetworkSettings.model_validate({"backbone": "plain"}).backbone == PlainSettings()
    assert NetworkSettings().backbone == ResNetSettings()
    with pytest.raises(ValueError, match="one of resnet, plain required, got 'dense'"):
        NetworkSettings.model_validate({"backbone": {"name": "dense"}})
    with pytest.raises(ValueError, match="widths"):
        NetworkSettings.model_validate({"backbone": {"name": "plain", "widths": 3}})


def test_settings_of_the_resnet_among_the_networks_are_read() -> None:
    old = {"stem": 8, "blocks": [1, 2, 1, 1], "planes": [4, 4, 4, 4], "pyramid": 16}
    expected = ResNetSettings(stem=8, blocks=(1, 2, 1, 1), planes=(4, 4, 4, 4))
    read = NetworkSettings.model_validate(old)
    assert (read.backbone, read.pyramid) == (expected, 16)


def test_files_with_the_names_of_before_are_read(tmp_path: Path) -> None:
    # The backbone's settings and tensors had no part of their own in the first weights files.
    stored = read_weights()
    shape = stored.settings.model_dump(mode="json")
    shape |= {k: v for k, v in shape.pop("backbone").items() if k != "name"}
    tensors = {k.removeprefix("backbone."): v for k, v in stored.tensors.items()}
    assert {"stem.weight", "stages.0.0.conv1.weight"} <= set(tensors)
    assert "stem" in shape
    old = tmp_path / "old.safetensors"
    metadata = {
        "format": FORMAT,
        "network": json.dumps(shape),
        "calibration": json.dumps(stored.calibration.as_dict()),
        "facts": json.dumps(dict(stored.facts)),
    }
    save_halves(old, tensors, metadata)
    copy = read_weights(old)
    assert set(copy.tensors) == set(Network(stored.settings).state_dict())
    assert copy.settings.backbone == ResNetSettings()
    assert (copy.settings, copy.calibration) == (stored.settings, stored.calibration)
    assert all(torch.equal(copy.tensors[k], v) for k, v in stored.tensors.items())


def test_it_is_trained_saved_and_loaded(settings: NetworkSettings, tmp_path: Path) -> None:
    s = TrainingSettings(
        steps=1, batch=1, crop_px=64, workers=0, bf16=False, network=settings,
        validation_crops=1, warmup=1, learning_rate=1e-2,
    )  # fmt: skip
    torch.manual_seed(s.seed)
    start = Network(settings).state_dict()
    train(s, tmp_path)
    average, read, step = read_average(tmp_path / CHECKPOINT, TrainingSettings)
    assert (read.network, step) == (settings, 1)
    moved = {k for k, v in average.items() if not torch.equal(v, start[k])}
    assert {"backbone.fine.weight", "backbone.coarse.weight"} <= moved
    path = tmp_path / "w.safetensors"
    save_weights(path, average, settings, Calibration(), {})
    loaded = load_weights(path)
    assert isinstance(loaded.network.backbone, Plain)
    weight = loaded.network.backbone.fine.weight
    assert torch.equal(weight, average["backbone.fine.weight"].half().float())


def test_a_checkpoint_with_the_old_names_is_read(tmp_path: Path) -> None:
    s = TrainingSettings(network=NetworkSettings(
        backbone=ResNetSettings(stem=4, blocks=(1, 1, 1, 1), planes=(4, 4, 4, 4)), pyramid=8,
    ))  # fmt: skip
    state = Network(s.network).state_dict()
    old = {f"average.{k.removeprefix('backbone.')}": v.contiguous() for k, v in state.items()}
    path = tmp_path / CHECKPOINT
    save_file(old, path, {"step": "3", "settings": s.model_dump_json()})
    average, _, _ = read_average(path, TrainingSettings)
    assert set(average) == set(state)


def test_its_fused_form_equals_it(settings: NetworkSettings) -> None:
    torch.manual_seed(2)
    network = Network(settings).eval().requires_grad_(False)
    assert network.multiple == 8
    expected, fused = network(image()), FusedNetwork(network, torch.float32)(image())
    assert expected.maps.shape == (2, 8, 16, 24)
    torch.testing.assert_close(fused.maps, expected.maps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fused.features, expected.features, rtol=1e-4, atol=1e-5)


def test_pruning_refuses_it_and_prunes_its_heads(settings: NetworkSettings) -> None:
    network = Network(settings.model_copy(update={"proposals": 12}))

    def never(_: Network) -> float:
        raise AssertionError("there is no block to remove")

    assert prune(network, settings, [image()], never).propose.out_channels == 8
    narrow = settings.model_copy(update={"backbone": PlainSettings(width=4)})
    for target in (narrow, NetworkSettings(pyramid=8, proposals=8, head=16)):
        with pytest.raises(BadInputError, match="or a part of it"):
            prune(network, target, [image()], never)


@pytest.mark.parametrize("scale", [0.0, 0.2])
def test_fine_tuning_slows_or_freezes_it(settings: NetworkSettings, scale: float) -> None:
    network = Network(settings)
    groups = backbone_slower(network, parameter_groups(network, 0.01), scale)
    own = {id(p) for p in network.backbone.parameters()}
    rates = {id(p): group["scale"] for group in groups for p in group["params"]}
    assert {rates.get(i) for i in own} == {scale or None}
    assert {r for i, r in rates.items() if i not in own} == {1.0}
    assert all(p.requires_grad == bool(scale) for p in network.backbone.parameters())


def test_strides_that_do_not_fit_are_refused(
    settings: NetworkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backbones.BACKBONES, "plain", Steep)
    with pytest.raises(BadInputError, match=r"'plain': required strides that begin with 2.*4, 6"):
        Network(settings)
