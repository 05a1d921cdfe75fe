"""The network: a backbone, a feature pyramid, a proposal head and a RoI head.

The design is the Faster R-CNN of Jia, Liu & Sun (2020, AJ 159, 212) with these changes:

* Convolutions are weight-standardised (Brock et al. 2021, arXiv:2101.08692), not
  normalised by batch or group. A detection then depends on its surroundings only, not on
  the rest of the tile, so tiles have no seams and a crowd does not change a sparse corner.
* Region proposals are assigned by centre on the stride-2 map (presence of a
  point near the cell, and its offset), not by IoU with anchors: no anchor fits a star of 4 px.
* A streak is the set of cells that it crosses, each with its direction and the
  offset to the ridge, so a streak of any length has a length and an angle.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field, SerializeAsAny, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.core.errors import BadInputError
from skyduel.core.settings import Settings
from skyduel.detect.model.backbones import (
    Backbone,
    BackboneSettings,
    ResNetSettings,
    backbone_settings,
    make_backbone,
)
from skyduel.detect.model.inputs import CHANNELS
from skyduel.detect.model.layers import RELU_GAIN, Conv
from skyduel.detect.model.layout import DENSE_CHANNELS, ROI_KINDS, STRIDE

__all__ = ["REGIONS_ABOVE", "SIZES", "DenseOutput", "Network", "NetworkSettings", "current_names"]


class NetworkSettings(Settings):
    """Shape of the network; stored with the weights.

    In files of versions without a choice of backbone, the settings of the ResNet are among
    those of the network. They are read as ``backbone``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: SerializeAsAny[BackboneSettings] = Field(
        default_factory=ResNetSettings, description="settings of the backbone, its name among them"
    )
    pyramid: int = Field(48, ge=8, description="channels of the feature pyramid")
    smooth: Literal[1, 3] = Field(1, description="side of the pyramid's last convolution [cells]")
    proposals: int = Field(32, ge=8, description="channels of the proposal head")
    head: int = Field(192, ge=16, description="width of the RoI head")
    roi_size: int = Field(7, ge=3, description="cells per side of a RoI")

    @model_validator(mode="before")
    @classmethod
    def _nest_backbone(cls, given: Any) -> Any:
        """Move the settings of the ResNet in older files from the network to ``backbone``."""
        own = {"stem", "blocks", "planes"}
        if not isinstance(given, Mapping) or "backbone" in given or not own & set(given):
            return given
        backbone = {name: given[name] for name in own & set(given)}
        return {k: v for k, v in given.items() if k not in own} | {"backbone": backbone}

    @field_validator("backbone", mode="before")
    @classmethod
    def _choose_backbone(cls, given: Any) -> Any:
        """Build the settings of the backbone from a name, or from a mapping with a name."""
        return backbone_settings(given) if isinstance(given, (str, Mapping)) else given


#: Shapes by name. The small one has half the arithmetic: one block in each stage, and two thirds
#: of the pyramid.
SIZES: Final[Mapping[str, NetworkSettings]] = {
    "full": NetworkSettings(),
    "small": NetworkSettings(
        backbone=ResNetSettings(blocks=(1, 1, 1, 1)), pyramid=32, proposals=16, head=128
    ),
}

#: Presence logit from which proposals are given to the RoI head (`Calibration.regions_above`), by
#: size. Of the shipped full network's proposals below it, 3 in 1000 came to a score above 0.3 in
#: a crowded field.
REGIONS_ABOVE: Final[Mapping[str, float]] = {"small": -2.5}


class DenseOutput(NamedTuple):
    """Dense output of the network: ``maps`` in the order of `DENSE_CHANNELS`, and features."""

    maps: Tensor
    features: Tensor


class Network(nn.Module):
    """Backbone, pyramid, proposal head and RoI head.

    Parameters
    ----------
    settings : NetworkSettings
        The shape.

    Raises
    ------
    BadInputError
        If the strides of the backbone's feature maps do not fit.
    """

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or NetworkSettings()
        self.backbone: Backbone = make_backbone(s.backbone, len(CHANNELS))
        levels = self.backbone.levels
        strides = [level.stride for level in levels]
        #: Sides of the input must be multiples of this.
        self.multiple = strides[-1]
        if strides[0] != STRIDE or any(c % f or c <= f for f, c in pairwise(strides)):
            raise BadInputError(
                f"backbone {s.backbone.name!r}",
                f"strides that begin with {STRIDE}, each a multiple of the one before",
                str(strides),
            )
        self.lateral = nn.ModuleList(Conv(level.channels, s.pyramid, 1) for level in levels)
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
        with torch.no_grad():  # sources are rare: start from a low probability, not from one half
            self.dense.bias[DENSE_CHANNELS.index("point")] = -4.0
            self.dense.bias[DENSE_CHANNELS.index("streak")] = -4.0

    def forward(self, x: Tensor) -> DenseOutput:
        """Return the dense output.

        Parameters
        ----------
        x : Tensor, shape (n, 4, ny, nx)
            Input channels; ny and nx are multiples of `multiple`.

        Returns
        -------
        DenseOutput
            ``maps`` float32 (n, 8, ny/2, nx/2); ``features`` (n, pyramid, ny/2, nx/2).
        """
        levels, of_level = self.backbone.levels, self.backbone(x)
        top = self.lateral[-1](of_level.pop(levels[-1].name), RELU_GAIN)
        for i in range(len(levels) - 2, -1, -1):
            factor = float(levels[i + 1].stride // levels[i].stride)
            here = self.lateral[i](of_level.pop(levels[i].name), RELU_GAIN)
            top = here + F.interpolate(top, scale_factor=factor)
        features = self.smooth(F.relu(top), RELU_GAIN)
        hidden = F.relu(self.propose(F.relu(features), RELU_GAIN))
        # Positions in float32: bf16 has steps of 1 px above 128 px and of 1/256 px at 1 px.
        # Autocast would turn float32 arguments back into bf16.
        with torch.autocast(hidden.device.type, enabled=False):
            maps = F.conv2d(hidden.float(), self.dense_weight(), self.dense.bias)
        return DenseOutput(maps, features)

    def dense_weight(self) -> Tensor:
        """Return the weights of the last convolution, for inputs that are outputs of a ReLU."""
        return self.dense.weight * RELU_GAIN

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

    @property
    def folded(self) -> bool:
        """True after `fold`."""
        return bool(self.smooth.folded)

    def fold(self) -> Network:
        """Fold the weight standardisation into the weights, for inference; return self."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fold()
        return self


def current_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's state with the parameter names of this version.

    In files of versions without a choice of backbone, its parameters are named ``stem.*`` and
    ``stages.*`` instead of ``backbone.stem.*`` and ``backbone.stages.*``.
    """
    old = ("stem.", "stages.")
    return {f"backbone.{k}" if k.startswith(old) else k: v for k, v in state.items()}
