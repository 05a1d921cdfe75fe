"""The network as it is run, not trained: the same arithmetic with fewer passes over memory.

A folded `Network` still multiplies by the gain of its ReLUs, by each block's residual
weight, and reads every map again for each ReLU and each sum. Here both factors are in the
weights, and where oneDNN serves, ReLU and sum are part of the convolution before them.
On two cores half the time of a frame was such passes.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from skyduel.detect.model.network import (
    RELU_GAIN,
    Bottleneck,
    Conv,
    DenseOutput,
    Network,
    NetworkSettings,
)

__all__ = ["FusedNetwork", "fused"]

#: Rows of the map that are brought to float32 at a time, so that they stay in the cache.
_ROWS_AT_ONCE: Final = 32


class _Conv:
    """A convolution with what follows it: a ReLU, or a sum and then perhaps a ReLU."""

    def __init__(self, conv: Conv, dtype: torch.dtype, gain: float, scale: float = 1.0) -> None:
        assert conv.bias is not None  # narrows the type
        weight = conv.standardised() if not conv.folded else conv.weight.float()
        self.weight = (weight * (gain * scale)).to(dtype, memory_format=torch.channels_last)
        self.bias = (conv.bias.float() * scale).to(dtype)
        self.stride, self.padding = list(conv.stride), [int(p) for p in conv.padding]

    def _onednn(self, x: Tensor) -> bool:
        return x.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

    def __call__(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """Return the convolution of x, after a ReLU if asked for."""
        if self._onednn(x):
            out: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1,
                "relu" if relu else "none", [], "",
            )  # fmt: skip
            return out
        out = F.conv2d(x, self.weight, self.bias, tuple(self.stride), tuple(self.padding))
        return out.relu_() if relu else out

    def add_to(self, other: Tensor, x: Tensor, *, relu: bool = False) -> Tensor:
        """Add the convolution of x to ``other`` in place, and return it."""
        if self._onednn(x):
            out: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
                other, x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1,
                "add", 1.0, "relu" if relu else None, [], None,
            )  # fmt: skip
            return out
        other += F.conv2d(x, self.weight, self.bias, tuple(self.stride), tuple(self.padding))
        return other.relu_() if relu else other


class _Block:
    """A bottleneck; takes and returns maps that went through a ReLU, its gain left out."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype) -> None:
        self.conv1 = _Conv(block.conv1, dtype, RELU_GAIN)
        self.conv2 = _Conv(block.conv2, dtype, RELU_GAIN)
        self.conv3 = _Conv(block.conv3, dtype, RELU_GAIN, float(block.residual))
        self.shortcut = None if block.shortcut is None else _Conv(block.shortcut, dtype, RELU_GAIN)
        self.stride = block.stride

    def __call__(self, x: Tensor, active: Tensor, *, relu: bool) -> Tensor:
        """Return the block's output; ``x`` is overwritten unless there is a shortcut."""
        branch = self.conv2(self.conv1(active, relu=True), relu=True)
        if self.shortcut is not None:
            x = self.shortcut(F.avg_pool2d(active, self.stride) if self.stride != 1 else active)
        return self.conv3.add_to(x, branch, relu=relu)


class FusedNetwork:
    """A network for inference, in one number format.

    Parameters
    ----------
    network : Network
        On its device; it is not changed.
    dtype : torch.dtype
        Of weights and maps, float32 or bfloat16. Positions and logits are float32
        either way.

    Notes
    -----
    Equal to the network up to rounding: `tests/test_detect_fused.py` holds it to that.
    """

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.device = network.stem.weight.device
        self.settings: NetworkSettings = network.settings
        self.multiple: int = network.multiple
        with torch.no_grad():
            self._stem = _Conv(network.stem, dtype, 1.0)
            self._stages = [[_Block(b, dtype) for b in stage] for stage in network.stages]  # type: ignore[attr-defined]
            self._lateral = [_Conv(c, dtype, RELU_GAIN) for c in network.lateral]  # type: ignore[arg-type]
            self._smooth = _Conv(network.smooth, dtype, RELU_GAIN)
            self._propose = _Conv(network.propose, dtype, RELU_GAIN)
            self._dense_weight = network.dense.weight.float() * RELU_GAIN
            self._dense_bias = network.dense.bias
            self._roi = [
                (layer.weight.to(dtype), layer.bias.to(dtype))
                for layer in (network.roi1, network.roi2)
            ]
            # Regions come with their channels last: so do the weights that meet them.
            first, bias = self._roi[0]
            size = self.settings.roi_size
            by_place = first.reshape(-1, self.settings.pyramid, size, size).permute(0, 2, 3, 1)
            self._roi[0] = by_place.flatten(1).contiguous(), bias
            self._roi_out = network.roi_out.weight.float(), network.roi_out.bias.float()

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> DenseOutput:
        """Return the dense output of images, as `Network.forward` does."""
        # In two steps: converting while turning the channels to the last place takes longer.
        image = image.to(self.dtype).contiguous(memory_format=torch.channels_last)
        x = active = self._stem(image, relu=True)
        levels = []
        for stage in self._stages:
            for i, block in enumerate(stage):
                last = i == len(stage) - 1
                x = block(x, active, relu=last)
                active = x if last else x.relu()
            levels.append(active)
        top = self._lateral[-1](levels.pop())
        for lateral in self._lateral[-2::-1]:
            top = lateral.add_to(F.interpolate(top, scale_factor=2.0), levels.pop())
        features = self._smooth(top.relu_())
        hidden = self._propose(features.relu(), relu=True)
        rows = [
            F.conv2d(part.float(), self._dense_weight, self._dense_bias)
            for part in torch.split(hidden, _ROWS_AT_ONCE, dim=2)
        ]
        return DenseOutput(torch.cat(rows, dim=2), features)

    @torch.inference_mode()
    def classify(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits and centre offsets of regions, as `Network.classify` does."""
        hidden = rois.to(self.dtype).permute(0, 2, 3, 1).flatten(1)
        for weight, bias in self._roi:
            hidden = F.linear(hidden, weight, bias).relu_()
        out = F.linear(hidden.float(), *self._roi_out)
        return out[:, :-2], out[:, -2:]


_fused: WeakKeyDictionary[Network, dict[torch.dtype, FusedNetwork]] = WeakKeyDictionary()


def fused(network: Network, dtype: torch.dtype) -> FusedNetwork:
    """Return a network's fused form, made once for a folded network, which changes no more."""
    if not network.stem.folded:
        return FusedNetwork(network, dtype)
    forms = _fused.setdefault(network, {})
    if dtype not in forms or forms[dtype].device != network.stem.weight.device:
        forms[dtype] = FusedNetwork(network, dtype)
    return forms[dtype]
