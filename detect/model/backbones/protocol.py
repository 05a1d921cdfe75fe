"""The contract between a backbone and the network built on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, TypeAlias

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from skyduel.core.settings import Settings

__all__ = ["Backbone", "BackboneSettings", "FeatureMaps", "FusedBackbone", "Level", "PrunableStage"]

#: Feature maps by the name of their level.
FeatureMaps: TypeAlias = dict[str, Tensor]
#: The inference form of a backbone: images in, feature maps out, as `Backbone.forward` gives them.
FusedBackbone: TypeAlias = Callable[[Tensor], FeatureMaps]


class Level(NamedTuple):
    """A feature map of a backbone: its name, channels and stride [px]."""

    name: str
    channels: int
    stride: int


class PrunableStage(NamedTuple):
    """A stage whose blocks, all but the first, may be removed until ``n_blocks`` are left."""

    blocks: nn.Sequential
    n_blocks: int


class BackboneSettings(Settings):
    """Settings of a backbone. ``name`` chooses it; they are stored with the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Backbone(nn.Module, ABC):
    """Computes feature maps of an image at several strides.

    A backbone is one file in `skyduel.detect.model.backbones` and one line in its table
    `BACKBONES`. The file holds the settings, the trained form and the fused form. Everything else
    (pyramid, heads, weights files, checkpoints, training, fine-tuning, inference) knows
    only this class. Its parameters form one group, which fine-tuning trains at a rate
    of its own or freezes.

    Parameters
    ----------
    settings : BackboneSettings
        An instance of `Settings`.
    channels : int
        Channels of the input image.
    """

    #: The class of its settings.
    Settings: ClassVar[type[BackboneSettings]]

    settings: BackboneSettings
    #: The feature maps, finest first. The finest has the stride of the network's dense
    #: output, `skyduel.detect.model.network.STRIDE`. Each coarser stride is a multiple of the
    #: one before.
    levels: tuple[Level, ...]

    def __init__(self, settings: BackboneSettings, channels: int) -> None:
        super().__init__()
        self.settings = settings

    @abstractmethod
    def forward(self, image: Tensor) -> FeatureMaps:
        """Compute the feature maps.

        Parameters
        ----------
        image : Tensor, shape (n, channels, ny, nx)
            Input channels; ny and nx are multiples of the coarsest stride.

        Returns
        -------
        dict of str to Tensor
            A map for each of `levels`, shape (n, level.channels, ny/stride, nx/stride), after
            its last ReLU. Cell (0, 0) covers the first ``stride`` × ``stride`` pixels.

        Notes
        -----
        A cell may depend on its surroundings only, not on the rest of the tile: no batch
        or group normalisation. Otherwise tiles of a frame would have visible seams.
        """

    @abstractmethod
    def fuse(self, dtype: torch.dtype) -> FusedBackbone:
        """Return the inference form in one number format.

        Its maps equal those of `forward` up to rounding. It may return maps that the caller
        overwrites; it must not overwrite its input.
        """

    def prunable(self, target: BackboneSettings) -> Sequence[PrunableStage] | None:
        """Return the stages to prune so that this backbone becomes one of ``target``.

        Parameters
        ----------
        target : BackboneSettings
            Settings of the smaller backbone.

        Returns
        -------
        sequence of PrunableStage, or None
            Empty if the settings are equal. None if pruning cannot lead to ``target``; a
            backbone that does not override this method cannot be pruned.
        """
        return [] if target == self.settings else None
