"""Weights files of the published network: safetensors in half precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from skyduel.core.errors import BadInputError, one_line
from skyduel.detect.model.weights import save_halves
from skyduel.detect.published.form import Faults
from skyduel.detect.published.network import PublishedNetwork

__all__ = ["FORMAT", "PublishedWeights", "read_weights", "save_weights"]

#: Name of the format, in the metadata of a file.
FORMAT: Final = "skyduel-jia2020-1"


@dataclass(frozen=True, eq=False)
class PublishedWeights:
    """A network with its weights, the facts of its training, and the hash of its file."""

    network: PublishedNetwork
    facts: Mapping[str, Any]
    sha256: str


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], faults: Faults, facts: Mapping[str, Any]
) -> None:
    """Write weights in half precision, with faults and facts as metadata.

    Parameters
    ----------
    path : Path
        File to write. It is replaced atomically.
    tensors : mapping of str to Tensor
        State of a `PublishedNetwork`.
    faults : Faults
        Faults of that network and its training.
    facts : mapping
        Facts about the training; JSON types only.
    """
    metadata = {
        "format": FORMAT,
        "faults": faults.model_dump_json(),
        "facts": json.dumps(dict(facts), sort_keys=True),
    }
    save_halves(path, tensors, metadata)


def read_weights(path: Path) -> PublishedWeights:
    """Read a weights file; the network is in float32, ready for inference.

    Raises
    ------
    BadInputError
        If the file is missing, is not safetensors, or does not hold such a network.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(str(path), "a weights file", error.strerror or str(error)) from error
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise BadInputError(
                    str(path), f"weights of format {FORMAT}", repr(metadata.get("format"))
                )
            tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
        faults = Faults.model_validate_json(metadata["faults"])
        facts = json.loads(metadata["facts"])
        network = PublishedNetwork(faults)
        network.load_state_dict(tensors)
    except BadInputError:
        raise
    except (SafetensorError, ValidationError, ValueError, KeyError, RuntimeError) as error:
        raise BadInputError(
            str(path), "a readable safetensors file of the network jia2020", one_line(error)
        ) from error
    network.eval().requires_grad_(False)
    return PublishedWeights(network, facts, hashlib.sha256(content).hexdigest())
