"""Read and write weights files: safetensors with tensors and text, never code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import atomic_path
from skyduel.detect.model.network import Network, NetworkSettings, current_names
from skyduel.detect.model.score_model import Calibration

__all__ = [
    "SHIPPED",
    "Calibration",
    "LoadedWeights",
    "StoredWeights",
    "load_weights",
    "read_weights",
    "save_weights",
]

#: The weights that come with the package.
SHIPPED: Final = Path(__file__).with_name("shipped") / "skyduel.safetensors"

_FORMAT: Final = "skyduel-network-1"


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Content of a weights file: tensors in float32 by name, and the metadata."""

    tensors: Mapping[str, Tensor]
    settings: NetworkSettings
    calibration: Calibration
    facts: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """A network ready for inference, with its calibration and origin."""

    network: Network
    calibration: Calibration
    facts: Mapping[str, Any]
    sha256: str


def save_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    settings: NetworkSettings,
    calibration: Calibration,
    facts: Mapping[str, Any],
) -> None:
    """Write weights in half precision, with shape, calibration and history as metadata.

    Parameters
    ----------
    path : Path
        File to write. It is replaced atomically.
    tensors : mapping of str to Tensor
        State of a `Network`.
    settings : NetworkSettings
        Shape of that network.
    calibration : Calibration
        Calibration of its scores.
    facts : mapping
        Facts about the training; JSON types only.
    """
    halves = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in tensors.items()}
    metadata = {
        "format": _FORMAT,
        "network": settings.model_dump_json(),
        "calibration": json.dumps(calibration.as_dict()),
        "facts": json.dumps(dict(facts), sort_keys=True),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(halves, metadata=metadata))


def read_weights(path: Path = SHIPPED) -> StoredWeights:
    """Read a weights file.

    Raises
    ------
    BadInputError
        If the file is missing, is not safetensors, or does not hold a network of this package.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(str(path), "a weights file", error.strerror or str(error)) from error
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise BadInputError(
                    str(path), f"weights of format {_FORMAT}", repr(metadata.get("format"))
                )
            tensors = current_names(
                {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
            )
        # Files without ``smooth`` were written with the larger convolution.
        settings = NetworkSettings.model_validate({"smooth": 3} | json.loads(metadata["network"]))
        calibration = Calibration.from_dict(json.loads(metadata["calibration"]))
        facts = json.loads(metadata["facts"])
        Network(settings).load_state_dict(tensors)
    except BadInputError:
        raise
    except (SafetensorError, ValidationError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            str(path), "a readable safetensors file of this network", one_line(error)
        ) from error
    except RuntimeError as error:  # raised by load_state_dict for a wrong shape
        raise BadInputError(str(path), "tensors of the stated shape", one_line(error)) from error
    return StoredWeights(tensors, settings, calibration, facts, hashlib.sha256(content).hexdigest())


def load_weights(path: Path = SHIPPED) -> LoadedWeights:
    """Load the network of a weights file, folded for inference, in float32.

    Raises
    ------
    BadInputError
        As `read_weights`.
    """
    stored = read_weights(path)
    network = Network(stored.settings)
    network.load_state_dict(dict(stored.tensors))
    network.eval().requires_grad_(False)
    return LoadedWeights(network.fold(), stored.calibration, stored.facts, stored.sha256)
