"""A quarter-width ResNet-50 with weight-standardised convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.detect.model.backbones.protocol import (
    Backbone,
    BackboneSettings,
    FeatureMaps,
    FusedBackbone,
    Level,
    PrunableStage,
)
from skyduel.detect.model.layers import RELU_GAIN, Conv, FusedConv

__all__ = ["Bottleneck", "ResNet", "ResNetSettings"]

#: Channels of a bottleneck's output over those of its 3×3 convolution.
_EXPANSION: Final = 4
#: Stride of the stem and of the first stage [px].
_STEM_STRIDE: Final = 2


class ResNetSettings(BackboneSettings):
    """Settings of `ResNet`."""

    name: Literal["resnet"] = "resnet"
    stem: int = Field(32, ge=4, description="channels of the stem")
    blocks: tuple[int, int, int, int] = (2, 3, 4, 3)
    planes: tuple[int, int, int, int] = (16, 32, 64, 128)


class Bottleneck(nn.Module):
    """A pre-activated bottleneck (1×1, 3×3, 1×1; expansion 4) that starts as the identity.

    Parameters
    ----------
    cin : int
        Channels of the input.
    planes : int
        Channels of the 3×3 convolution, a quarter of the output's.
    stride : int
        Of the 3×3 convolution.
    """

    def __init__(self, cin: int, planes: int, stride: int) -> None:
        super().__init__()
        cout = 4 * planes
        self.conv1 = Conv(cin, planes, 1)
        self.conv2 = Conv(planes, planes, 3, stride)
        self.conv3 = Conv(planes, cout, 1)
        self.shortcut = Conv(cin, cout, 1) if cin != cout or stride != 1 else None
        self.stride = stride
        self.residual = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape (n, 4·planes, h/stride, w/stride)."""
        active = F.relu(x)
        branch = F.relu(self.conv2(F.relu(self.conv1(active, RELU_GAIN)), RELU_GAIN))
        if self.shortcut is None:
            skip = x
        else:
            pooled = F.avg_pool2d(active, self.stride) if self.stride != 1 else active
            skip = self.shortcut(pooled, RELU_GAIN)
        out: Tensor = skip + self.conv3(branch, RELU_GAIN, self.residual)
        return out


class ResNet(Backbone):
    """A stem and four stages of bottlenecks, at strides of 2, 4, 8 and 16 px.

    The shape is that of ResNet-50 (He et al. 2016, CVPR) at a quarter of its width.
    Convolutions are weight-standardised and blocks start as the identity (Brock et al. 2021,
    arXiv:2101.08692), instead of normalised by batch or group.

    Parameters
    ----------
    settings : ResNetSettings
        The shape.
    channels : int
        Channels of the input image.
    """

    Settings = ResNetSettings

    def __init__(self, settings: ResNetSettings, channels: int) -> None:
        super().__init__(settings, channels)
        self.settings: ResNetSettings = settings
        # Six by six with stride 2 is symmetric about a cell of two by two pixels.
        self.stem = Conv(channels, settings.stem, 6, _STEM_STRIDE)
        stages, levels = [], []
        cin, stride = settings.stem, _STEM_STRIDE
        for i, (n, planes) in enumerate(zip(settings.blocks, settings.planes, strict=True)):
            blocks = []
            for b in range(n):
                step = 2 if b == 0 and i > 0 else 1
                blocks.append(Bottleneck(cin, planes, step))
                cin, stride = _EXPANSION * planes, stride * step
            stages.append(nn.Sequential(*blocks))
            levels.append(Level(f"stage{i}", cin, stride))
        self.stages = nn.ModuleList(stages)
        self.levels = tuple(levels)

    def forward(self, image: Tensor) -> FeatureMaps:
        """Compute the feature maps; see `Backbone.forward`."""
        x = self.stem(image)
        maps = {}
        for level, stage in zip(self.levels, self.stages, strict=True):
            x = stage(x)
            maps[level.name] = F.relu(x)
        return maps

    def fuse(self, dtype: torch.dtype) -> FusedBackbone:
        """Return the inference form; see `Backbone.fuse`."""
        return _FusedResNet(self, dtype)

    def prunable(self, target: BackboneSettings) -> Sequence[PrunableStage] | None:
        """Return the stages that have more blocks than ``target``; see `Backbone.prunable`."""
        own = self.settings
        if not isinstance(target, ResNetSettings):
            return None
        if own.model_copy(update={"blocks": target.blocks}) != target:
            return None
        if any(new > old for new, old in zip(target.blocks, own.blocks, strict=True)):
            return None
        stages = (cast("nn.Sequential", stage) for stage in self.stages)
        return [PrunableStage(*pair) for pair in zip(stages, target.blocks, strict=True)]


class _FusedBlock:
    """The inference form of a `Bottleneck`. Maps are those after a ReLU, without its gain."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype) -> None:
        self.conv1 = FusedConv(block.conv1, dtype, RELU_GAIN)
        self.conv2 = FusedConv(block.conv2, dtype, RELU_GAIN)
        self.conv3 = FusedConv(block.conv3, dtype, RELU_GAIN, float(block.residual))
        self.shortcut = (
            None if block.shortcut is None else FusedConv(block.shortcut, dtype, RELU_GAIN)
        )
        self.stride = block.stride

    def __call__(self, x: Tensor, active: Tensor, *, relu: bool) -> Tensor:
        """Return the output for ``x`` and ``active``, its ReLU.

        ``x`` is overwritten unless the block has a shortcut.
        """
        branch = self.conv2(self.conv1(active, relu=True), relu=True)
        if self.shortcut is not None:
            x = self.shortcut(F.avg_pool2d(active, self.stride) if self.stride != 1 else active)
        return self.conv3.add_to(x, branch, relu=relu)


class _FusedResNet:
    """The inference form of a `ResNet`."""

    def __init__(self, backbone: ResNet, dtype: torch.dtype) -> None:
        self._names = [level.name for level in backbone.levels]
        self._stem = FusedConv(backbone.stem, dtype, 1.0)
        self._stages = [
            [_FusedBlock(block, dtype) for block in cast("Iterable[Bottleneck]", stage)]
            for stage in backbone.stages
        ]

    def __call__(self, image: Tensor) -> FeatureMaps:
        """Compute the feature maps of images in the number format of the weights."""
        x = active = self._stem(image, relu=True)
        maps = {}
        for name, stage in zip(self._names, self._stages, strict=True):
            for i, block in enumerate(stage):
                last = i == len(stage) - 1
                x = block(x, active, relu=last)
                active = x if last else x.relu()
            maps[name] = active
        return maps
