"""The backbone of Jia, Liu & Sun (2020): a quarter-width ResNet-50 and a feature pyramid."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CHANNELS", "STRIDES", "PublishedBackbone", "Pyramid"]

#: Blocks and planes of the stages, and the stride of each.
BLOCKS: Final = (3, 4, 6, 3)
PLANES: Final = (16, 32, 64, 128)
STAGE_STRIDES: Final = (1, 2, 2, 1)
#: Channels of every level of the pyramid.
CHANNELS: Final = 64
#: Strides of the levels P2 to P6 [px].
STRIDES: Final = (2, 4, 8, 8, 16)
_EXPANSION: Final = 4
_GROUPS: Final = 16
#: Slope of the stem's leaky ReLU for negative values.
_STEM_SLOPE: Final = 0.2


def _norm(channels: int) -> nn.GroupNorm:
    # With 16 channels it is instance normalisation, as published.
    return nn.GroupNorm(_GROUPS, channels, eps=1e-10)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with normalisation; the stride is on the first.

    Parameters
    ----------
    cin : int
        Channels of the input.
    planes : int
        Channels inside, a quarter of the output's.
    stride : int
        Stride of the first convolution.
    """

    def __init__(self, cin: int, planes: int, stride: int) -> None:
        super().__init__()
        cout = planes * _EXPANSION
        self.conv1 = nn.Conv2d(cin, planes, 1, stride, bias=False)
        self.norm1 = _norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.norm2 = _norm(planes)
        self.conv3 = nn.Conv2d(planes, cout, 1, bias=False)
        self.norm3 = _norm(cout)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), _norm(cout))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, cin, h, w) to (n, 4 planes, ceil(h / stride), ceil(w / stride))."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(y + self.shortcut(x))


class PublishedBackbone(nn.Module):
    """Stem of three 3×3 convolutions and four stages of bottlenecks.

    The convolutions of the stem have no non-linearity between them. The strides of the four
    outputs are 2, 4, 8 and 8 px; their channels 64, 128, 256 and 512.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 3, 1, 1, bias=False),
            nn.Conv2d(6, 16, 3, 1, 1, bias=False),
            nn.Conv2d(16, 16, 3, 1, 1, bias=False),
            _norm(16),
            nn.LeakyReLU(_STEM_SLOPE),
            nn.MaxPool2d(3, 2, padding=0, ceil_mode=True),
        )
        stages, cin = [], 16
        for blocks, planes, stride in zip(BLOCKS, PLANES, STAGE_STRIDES, strict=True):
            stage = []
            for block in range(blocks):
                stage.append(Bottleneck(cin, planes, stride if block == 0 else 1))
                cin = planes * _EXPANSION
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def freeze_stem(self) -> None:
        """Keep stem and first stage at their present values in training."""
        for part in (self.stem, self.stages[0]):
            part.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (n, 3, h, w) to the outputs of the four stages."""
        x = self.stem(x)
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


class Pyramid(nn.Module):
    """Feature pyramid of 64 channels: P2 to P5, and P6 by taking every second cell of P5."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Conv2d(planes * _EXPANSION, CHANNELS, 1) for planes in PLANES
        )
        self.smooth = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1) for _ in range(3))

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """Map the outputs of the stages to P2, P3, P4, P5 and P6, each (n, 64, h, w)."""
        top = self.lateral[3](stages[3])
        levels = [top]
        for k in (2, 1, 0):
            side = self.lateral[k](stages[k])
            levels.insert(0, _upsampled(levels[0], side) + side)
        smoothed = [conv(level) for conv, level in zip(self.smooth, levels, strict=False)]
        return [*smoothed, top, top[:, :, ::2, ::2].contiguous(memory_format=_format(top))]


def _upsampled(coarse: Tensor, fine: Tensor) -> Tensor:
    if coarse.shape[-2:] == fine.shape[-2:]:
        return coarse
    return F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)


def _format(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
