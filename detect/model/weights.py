"""Write weights files, and read them as networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save
from torch import Tensor

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import atomic_path
from skyduel.detect.model.network import Network, NetworkSettings, current_names
from skyduel.detect.model.score_model import Calibration
from skyduel.detect.model.weights_file import FORMAT, SHIPPED, read_weights_file, unreadable

__all__ = [
    "SHIPPED",
    "Calibration",
    "LoadedWeights",
    "StoredWeights",
    "load_weights",
    "read_weights",
    "save_halves",
    "save_weights",
]


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
    metadata = {
        "format": FORMAT,
        "network": settings.model_dump_json(),
        "calibration": json.dumps(calibration.as_dict()),
        "facts": json.dumps(dict(facts), sort_keys=True),
    }
    save_halves(path, tensors, metadata)


def save_halves(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors in half precision, with metadata; the file is replaced atomically."""
    halves = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(halves, metadata=dict(metadata)))


def read_weights(path: Path = SHIPPED) -> StoredWeights:
    """Read a weights file.

    Raises
    ------
    BadInputError
        If the file is missing, is not safetensors, or does not hold a network of this package.
    """
    file = read_weights_file(path)
    tensors = current_names({name: torch.from_numpy(v) for name, v in file.tensors.items()})
    try:
        settings = NetworkSettings.model_validate(file.network)
        Network(settings).load_state_dict(tensors)
    except BadInputError:
        raise
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error) from error
    except RuntimeError as error:  # raised by load_state_dict for a wrong shape
        raise BadInputError(str(path), "tensors of the stated shape", one_line(error)) from error
    return StoredWeights(tensors, settings, file.calibration, file.facts, file.sha256)


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
