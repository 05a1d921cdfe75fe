"""The network: a quarter-width ResNet-50, a feature pyramid, an RPN and a RoI head.

The family is the Faster R-CNN of Jia, Liu & Sun (2020, AJ 159, 212). What is
changed, and why:

* Convolutions are weight-standardised and blocks start as the identity (Brock
  et al. 2021, arXiv:2101.08692), instead of normalised by batch or group: what is
  found at a place then depends on its surroundings only, not on what else the
  tile holds, so tiles have no seams and a crowd does not change a sparse corner.
* The region proposals are assigned by centre on the stride-2 map (presence of a
  point within reach of the cell, and its offset), not by IoU with anchors, which
  no anchor of a 4 px star can satisfy.
* A streak is the set of cells it runs through, each with its direction and the
  offset to the ridge, so it has a length and an angle whatever its length.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.detect.model.inputs import CHANNELS

__all__ = [
    "DENSE_CHANNELS",
    "RELU_GAIN",
    "ROI_BOX_PX",
    "ROI_KINDS",
    "STRIDE",
    "DenseOutput",
    "Network",
    "NetworkSettings",
    "cell_centres",
]

#: Pixels per cell of the map on which sources are proposed.
STRIDE: Final = 2
#: Side of the square around a proposal that the RoI head looks at [px].
ROI_BOX_PX: Final = 14.0
#: Classes of the RoI head, in order.
ROI_KINDS: Final = ("background", "point", "streak")
#: Channels of the dense output, in order; offsets in px, angles doubled.
DENSE_CHANNELS: Final = (
    "point", "dx", "dy", "streak", "cos2", "sin2", "ridge_dx", "ridge_dy",
)  # fmt: skip

# A unit-variance input has variance 0.341 = 1/1.7139² after a ReLU.
RELU_GAIN: Final = 1.7139


class NetworkSettings(BaseModel):
    """Shape of the network; stored with the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stem: int = Field(32, ge=4, description="channels of the stem")
    blocks: tuple[int, int, int, int] = (2, 3, 4, 3)
    planes: tuple[int, int, int, int] = (16, 32, 64, 128)
    pyramid: int = Field(48, ge=8, description="channels of the feature pyramid")
    smooth: Literal[1, 3] = Field(1, description="side of the pyramid's last convolution [cells]")
    proposals: int = Field(32, ge=8, description="channels of the proposal head")
    head: int = Field(192, ge=16, description="width of the RoI head")
    roi_size: int = Field(7, ge=3, description="cells per side of a RoI")


class Conv(nn.Conv2d):
    """A convolution whose weights are standardised per output channel."""

    #: Added to the variance, so that equal weights divide by no zero.
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
        """Return the weights as they are applied, in float32."""
        w = self.weight.float()
        variance, mean = torch.var_mean(w, dim=(1, 2, 3), keepdim=True, correction=0)
        fan_in = w[0].numel()
        scale = self.gain.float()[:, None, None, None] * torch.rsqrt(
            variance * fan_in + self.EPSILON
        )
        return (w - mean) * scale

    def fold(self) -> None:
        """Replace the weights by the standardised ones, for inference."""
        if not self.folded:
            with torch.no_grad():
                self.weight.copy_(self.standardised())
            self.folded.fill_(True)

    def forward(self, x: Tensor, gain: float = 1.0, scale: Tensor | None = None) -> Tensor:
        """Return the convolution of ``gain``·x, times ``scale``.

        Both factors are put on the weights, which are far smaller than the maps.
        """
        weight, bias = self.weight if self.folded else self.standardised(), self.bias
        assert bias is not None  # narrows the type
        weight = weight * gain
        if scale is not None:
            weight, bias = weight * scale, bias * scale
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), self.stride, self.padding)


class Bottleneck(nn.Module):
    """A pre-activated bottleneck (1×1, 3×3, 1×1; expansion 4) that starts as the identity."""

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


class DenseOutput(NamedTuple):
    """What the network says of every cell: `maps` by `DENSE_CHANNELS`, and its features."""

    maps: Tensor
    features: Tensor


class Network(nn.Module):
    """Backbone, pyramid, proposal head and RoI head.

    Parameters
    ----------
    settings : NetworkSettings
        The shape.
    """

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or NetworkSettings()
        # Six by six with stride 2 is symmetric about a cell of two by two pixels.
        self.stem = Conv(len(CHANNELS), s.stem, 6, STRIDE)
        stages = []
        cin = s.stem
        for i, (n, planes) in enumerate(zip(s.blocks, s.planes, strict=True)):
            blocks = []
            for b in range(n):
                blocks.append(Bottleneck(cin, planes, 2 if b == 0 and i > 0 else 1))
                cin = 4 * planes
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(Conv(4 * planes, s.pyramid, 1) for planes in s.planes)
        self.smooth = Conv(s.pyramid, s.pyramid, s.smooth)
        self.propose = Conv(s.pyramid, s.proposals, 3)
        self.dense = nn.Conv2d(s.proposals, len(DENSE_CHANNELS), 1)
        self.roi1 = nn.Linear(s.pyramid * s.roi_size**2, s.head)
        self.roi2 = nn.Linear(s.head, s.head)
        self.roi_out = nn.Linear(s.head, len(ROI_KINDS) + 2)
        for layer in (self.dense, self.roi_out):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None  # narrows the type
            nn.init.zeros_(layer.bias)
        assert self.dense.bias is not None
        with torch.no_grad():  # sources are rare: start from that, not from one half
            self.dense.bias[DENSE_CHANNELS.index("point")] = -4.0
            self.dense.bias[DENSE_CHANNELS.index("streak")] = -4.0

    #: Sides of the input must be multiples of this.
    multiple: Final = 16

    def forward(self, x: Tensor) -> DenseOutput:
        """Return the dense output.

        Parameters
        ----------
        x : Tensor, shape (n, 4, ny, nx)
            Input channels; ny and nx multiples of 16.

        Returns
        -------
        DenseOutput
            ``maps`` float32 (n, 8, ny/2, nx/2); ``features`` (n, pyramid, ny/2, nx/2).
        """
        x = self.stem(x)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        top: Tensor | None = None
        for level, lateral in zip(reversed(levels), reversed(self.lateral), strict=True):
            here = lateral(F.relu(level), RELU_GAIN)
            top = here if top is None else here + F.interpolate(top, scale_factor=2.0)
        assert top is not None
        features = self.smooth(F.relu(top), RELU_GAIN)
        hidden = F.relu(self.propose(F.relu(features), RELU_GAIN))
        # Positions in float32: bf16 has steps of 1 px above 128 px and of 1/256 px at 1 px.
        # Autocast would turn float32 arguments back into bf16.
        with torch.autocast(hidden.device.type, enabled=False):
            maps = F.conv2d(hidden.float(), self.dense.weight * RELU_GAIN, self.dense.bias)
        return DenseOutput(maps, features)

    def classify(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (k, 3) and centre offsets (k, 2) [px], float32.

        Parameters
        ----------
        rois : Tensor, shape (k, pyramid, 7, 7)
            Features of each region, as ROIAlign returns them.
        """
        hidden = F.relu(self.roi1(rois.flatten(1)))
        hidden = F.relu(self.roi2(hidden))
        with torch.autocast(hidden.device.type, enabled=False):
            out = F.linear(hidden.float(), self.roi_out.weight, self.roi_out.bias)
        return out[:, : len(ROI_KINDS)], out[:, len(ROI_KINDS) :]

    def fold(self) -> Network:
        """Fold the weight standardisation, for inference; returns itself."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fold()
        return self


def cell_centres(ny: int, nx: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return x and y [px] of the cells' centres of a map of ny × nx cells, each (ny, nx)."""
    y = torch.arange(ny, device=device, dtype=torch.float32) * STRIDE + (STRIDE - 1) / 2
    x = torch.arange(nx, device=device, dtype=torch.float32) * STRIDE + (STRIDE - 1) / 2
    return x[None, :].expand(ny, nx), y[:, None].expand(ny, nx)
