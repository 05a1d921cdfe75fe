"""Weight-standardised convolutions: the form that is trained and the fused form for inference."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["RELU_GAIN", "Conv", "FusedConv"]

#: Factor that restores unit variance after a ReLU: a unit-variance input leaves it with
#: variance 0.341 = 1/1.7139².
RELU_GAIN: Final = 1.7139


class Conv(nn.Conv2d):
    """A convolution whose weights are standardised per output channel.

    Parameters
    ----------
    cin, cout : int
        Channels of input and output.
    size : int
        Side of the kernel.
    stride : int
        Step between outputs.
    """

    #: Added to the variance: equal weights would be divided by zero.
    EPSILON: Final = 1e-4

    def __init__(self, cin: int, cout: int, size: int, stride: int = 1) -> None:
        super().__init__(cin, cout, size, stride, padding=(size - 1) // 2)
        self.gain = nn.Parameter(torch.ones(cout))
        self.folded: Tensor
        self.register_buffer("folded", torch.tensor(False), persistent=False)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def standardised(self) -> Tensor:
        """Return the standardised weights, in float32."""
        w = self.weight.float()
        variance, mean = torch.var_mean(w, dim=(1, 2, 3), keepdim=True, correction=0)
        fan_in = w[0].numel()
        scale = self.gain.float()[:, None, None, None] * torch.rsqrt(
            variance * fan_in + self.EPSILON
        )
        return (w - mean) * scale

    def fold(self) -> None:
        """Replace the weights with the standardised ones, for inference."""
        if not self.folded:
            with torch.no_grad():
                self.weight.copy_(self.standardised())
            self.folded.fill_(True)

    def forward(self, x: Tensor, gain: float = 1.0, scale: Tensor | None = None) -> Tensor:
        """Return the convolution of ``gain``·x, times ``scale``.

        Both factors multiply the weights, which are far smaller than the maps.
        """
        weight, bias = self.weight if self.folded else self.standardised(), self.bias
        assert bias is not None  # narrows the type
        weight = weight * gain
        if scale is not None:
            weight, bias = weight * scale, bias * scale
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), self.stride, self.padding)


class FusedConv:
    """The inference form of a `Conv`, fused with the ReLU or the sum that follows it.

    Parameters
    ----------
    conv : Conv
        The convolution, folded or not; it is not changed.
    dtype : torch.dtype
        Of weights and maps.
    gain, scale : float
        As in `Conv.forward`.

    Notes
    -----
    On a CPU with oneDNN, ReLU and sum are part of the convolution. Elsewhere, and in bf16 on a
    processor that oneDNN does not compute it on, they are separate operations with the same
    result up to rounding.
    """

    def __init__(self, conv: Conv, dtype: torch.dtype, gain: float, scale: float = 1.0) -> None:
        assert conv.bias is not None  # narrows the type
        weight = conv.standardised() if not conv.folded else conv.weight.float()
        self.weight = (weight * (gain * scale)).to(dtype, memory_format=torch.channels_last)
        self.bias = (conv.bias.float() * scale).to(dtype)
        self.stride, self.padding = list(conv.stride), [int(p) for p in conv.padding]

    def _onednn(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return False
        # Without instructions for bf16 oneDNN refuses it, and torch's own convolution is slow.
        return x.dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

    def __call__(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """Return the convolution of x, followed by a ReLU if ``relu``."""
        if self._onednn(x):
            out: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1,
                "relu" if relu else "none", [], "",
            )  # fmt: skip
            return out
        out = F.conv2d(x, self.weight, self.bias, tuple(self.stride), tuple(self.padding))
        return out.relu_() if relu else out

    def add_to(self, other: Tensor, x: Tensor, *, relu: bool = False) -> Tensor:
        """Add the convolution of x to ``other`` in place, and apply a ReLU if ``relu``."""
        if self._onednn(x):
            out: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
                other, x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1,
                "add", 1.0, "relu" if relu else None, [], None,
            )  # fmt: skip
            return out
        other += F.conv2d(x, self.weight, self.bias, tuple(self.stride), tuple(self.padding))
        return other.relu_() if relu else other
