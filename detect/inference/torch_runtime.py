"""The network computed by torch, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skyduel.core.errors import BadInputError
from skyduel.detect.inference.roi_features import region_features
from skyduel.detect.inference.runtime import DenseMaps
from skyduel.detect.model.fused import fuse
from skyduel.detect.model.network import Network

__all__ = ["TorchRuntime", "choose_bf16", "choose_device"]

Singles = npt.NDArray[np.float32]


class TorchRuntime:
    """A network as a `Runtime`.

    Parameters
    ----------
    network : Network
        Folded, on its device.
    bf16 : bool
        Whether weights and maps are in bf16; positions are always float32.
    """

    def __init__(self, network: Network, *, bf16: bool = False) -> None:
        self.multiple = network.multiple
        self._fused = fuse(network, torch.bfloat16 if bf16 else torch.float32)

    @torch.inference_mode()
    def dense(self, image: Singles) -> DenseMaps:
        """Return the dense output of one image; see `Runtime.dense`."""
        output = self._fused(torch.from_numpy(image)[None].to(self._fused.device))
        return DenseMaps(output.maps[0].float().cpu().numpy(), output.features)

    @torch.inference_mode()
    def classify(self, features: Tensor, xy: Singles) -> tuple[Singles, Singles]:
        """Return class logits and centre offsets of regions; see `Runtime.classify`."""
        rois = region_features(features, [xy], self._fused.settings.roi_size)
        kinds, shift = self._fused.classify(rois)
        return kinds.cpu().numpy(), shift.cpu().numpy()


def choose_device(asked: str) -> torch.device:
    """Return the device of the setting ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    BadInputError
        If CUDA was asked for and is not there.
    """
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise BadInputError("device", "a CUDA device, or device='cpu'", "none available")
    return torch.device("cuda" if there and asked != "cpu" else "cpu")


def choose_bf16(device: torch.device) -> bool:
    """Return True if bf16 is faster on this device: on a CPU only with instructions for it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    ask = getattr(torch.cpu, "get_capabilities", None)  # missing in older versions of torch
    capability: Mapping[str, Any] = {} if ask is None else ask()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))
