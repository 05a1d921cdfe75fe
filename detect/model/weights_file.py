"""Read a weights file as arrays: safetensors with tensors and text, never code. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError, one_line
from skyduel.detect.model.score_model import Calibration

__all__ = [
    "FORMAT",
    "SHIPPED",
    "SHIPPED_NAMES",
    "WeightsFile",
    "file_sha256",
    "read_weights_file",
    "unreadable",
    "weights_path",
]

#: The weights that come with the package.
SHIPPED: Final = Path(__file__).with_name("shipped") / "skyduel.safetensors"
#: All weights that come with the package, by the names that a setting may give them.
SHIPPED_NAMES: Final[Mapping[str, Path]] = {
    "full": SHIPPED,
    "small": SHIPPED.with_name("skyduel-small.safetensors"),
}
#: Name of the format, in the metadata of a file.
FORMAT: Final = "skyduel-network-1"


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """Content of a weights file.

    Attributes
    ----------
    tensors : mapping of str to ndarray of float32
        Parameters by name.
    network : mapping
        Settings of the network, as JSON types.
    calibration : Calibration
        Calibration of its scores.
    facts : mapping
        Facts about the training.
    sha256 : str
        Hash of the file.
    """

    tensors: Mapping[str, npt.NDArray[np.float32]]
    network: Mapping[str, Any]
    calibration: Calibration
    facts: Mapping[str, Any]
    sha256: str


def weights_path(given: Path | None) -> Path:
    """Return the path of a weights file: a file, or the name of shipped weights; None for full."""
    if given is None:
        return SHIPPED
    return given if given.is_file() else SHIPPED_NAMES.get(str(given), given)


def file_sha256(path: Path) -> str:
    """Return the hash of a weights file, without a look at its content.

    Raises
    ------
    BadInputError
        If the file cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        wanted = f"a weights file or the name of shipped weights, {' or '.join(SHIPPED_NAMES)}"
        raise BadInputError(str(path), wanted, error.strerror or str(error)) from error


def read_weights_file(path: Path = SHIPPED) -> WeightsFile:
    """Read a weights file, without building its network.

    Raises
    ------
    BadInputError
        If the file is missing, is not safetensors, or is of another format.
    """
    from safetensors import SafetensorError, safe_open  # of an extra

    content = _content(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise BadInputError(
                    str(path), f"weights of format {FORMAT}", repr(metadata.get("format"))
                )
            tensors = {
                k: np.asarray(file.get_tensor(k), dtype=np.float32)
                for k in file.keys()  # noqa: SIM118
            }
        # Files without ``smooth`` were written with the larger convolution.
        network = {"smooth": 3} | json.loads(metadata["network"])
        calibration = Calibration.from_dict(json.loads(metadata["calibration"]))
        facts = json.loads(metadata["facts"])
    except BadInputError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error) from error
    return WeightsFile(tensors, network, calibration, facts, hashlib.sha256(content).hexdigest())


def unreadable(path: Path, error: Exception) -> BadInputError:
    """Return the error for a file that holds no network of this package."""
    return BadInputError(str(path), "a readable safetensors file of this network", one_line(error))
