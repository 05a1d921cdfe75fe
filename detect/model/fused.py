"""The inference form of the network: the same arithmetic with fewer passes over memory.

A folded `Network` still multiplies by the gain of its ReLUs and by each block's residual
weight, and reads every map again for each ReLU and each sum. Here both factors are in the
weights, and with oneDNN, ReLU and sum are part of the convolution before them.
On two cores these passes took half the time of a frame.
"""

from __future__ import annotations

from typing import Final, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from skyduel.detect.model.layers import RELU_GAIN, Conv, FusedConv
from skyduel.detect.model.network import DenseOutput, Network, NetworkSettings

__all__ = ["FusedNetwork", "fuse"]

#: Rows of the map that are converted to float32 at a time; they stay in the cache.
_ROWS_AT_ONCE: Final = 32


class FusedNetwork:
    """A network for inference in one number format.

    Parameters
    ----------
    network : Network
        On its device; it is not changed.
    dtype : torch.dtype
        Of weights and maps, float32 or bfloat16. Positions and logits are always
        float32.

    Notes
    -----
    Its output equals the network's up to rounding (``tests/detect/test_fused.py``).
    """

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.device = network.dense.weight.device
        self.settings: NetworkSettings = network.settings
        self.multiple: int = network.multiple
        with torch.no_grad():
            self._backbone = network.backbone.fuse(dtype)
            self._levels = network.backbone.levels
            self._lateral = [FusedConv(cast("Conv", c), dtype, RELU_GAIN) for c in network.lateral]
            self._smooth = FusedConv(network.smooth, dtype, RELU_GAIN)
            self._propose = FusedConv(network.propose, dtype, RELU_GAIN)
            self._dense_weight = network.dense.weight.float() * RELU_GAIN
            self._dense_bias = network.dense.bias
            self._roi = [
                (layer.weight.to(dtype), layer.bias.to(dtype))
                for layer in (network.roi1, network.roi2)
            ]
            # RoI features have their channels last; the weights follow that order.
            first, bias = self._roi[0]
            size = self.settings.roi_size
            by_place = first.reshape(-1, self.settings.pyramid, size, size).permute(0, 2, 3, 1)
            self._roi[0] = by_place.flatten(1).contiguous(), bias
            self._roi_out = network.roi_out.weight.float(), network.roi_out.bias.float()

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> DenseOutput:
        """Return the dense output of images, as `Network.forward` does."""
        # Two steps: converting and moving the channels last in one step takes longer.
        image = image.to(self.dtype).contiguous(memory_format=torch.channels_last)
        maps = self._backbone(image)
        levels = self._levels
        top = self._lateral[-1](maps.pop(levels[-1].name))
        for i in range(len(levels) - 2, -1, -1):
            factor = float(levels[i + 1].stride // levels[i].stride)
            larger = F.interpolate(top, scale_factor=factor)
            top = self._lateral[i].add_to(larger, maps.pop(levels[i].name))
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


_forms: WeakKeyDictionary[Network, dict[torch.dtype, FusedNetwork]] = WeakKeyDictionary()


def fuse(network: Network, dtype: torch.dtype) -> FusedNetwork:
    """Return the inference form of a network.

    A folded network no longer changes, so its inference form is made once and kept.
    """
    if not network.folded:
        return FusedNetwork(network, dtype)
    forms = _forms.setdefault(network, {})
    if dtype not in forms or forms[dtype].device != network.dense.weight.device:
        forms[dtype] = FusedNetwork(network, dtype)
    return forms[dtype]
