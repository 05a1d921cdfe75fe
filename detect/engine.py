"""What computes the network: torch, or onnxruntime where torch is not wanted or not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from skyduel.core.errors import BadInputError
from skyduel.core.extras import require_one_of
from skyduel.detect.inference.memory import set_torch_memory
from skyduel.detect.inference.runtime import Runtime
from skyduel.detect.model.score_model import Calibration
from skyduel.detect.model.weights_file import weights_path

__all__ = ["Engine", "RuntimeName", "choose_runtime", "load_engine"]

RuntimeName: TypeAlias = Literal["auto", "torch", "onnx", "onnx-int8"]
#: Tiles of torch keep its threads busy; those of onnxruntime fit a small memory [px].
_TILE_PX: Final = {"torch": 1536, "onnx": 704}
#: Library of each runtime.
_LIBRARIES: Final = {"torch": "torch", "onnx": "onnxruntime", "onnx-int8": "onnxruntime"}


@dataclass(frozen=True, eq=False)
class Engine:
    """A runtime with the calibration of its weights.

    Attributes
    ----------
    runtime : Runtime
        Computes the network.
    calibration : Calibration
        Calibration of its scores.
    sha256 : str
        Hash of the weights file.
    device : str
        Where the network is computed.
    version : str or None
        Name and version of the runtime if it is not torch.
    tile_px : int
        Side of its tiles by default [px].
    """

    runtime: Runtime
    calibration: Calibration
    sha256: str
    device: str
    version: str | None
    tile_px: int


def choose_runtime(asked: RuntimeName) -> Literal["torch", "onnx", "onnx-int8"]:
    """Return the runtime of a setting; auto: torch where it is installed, else onnx.

    Raises
    ------
    BadInputError
        If its library is not installed, with the command that installs it.
    """
    source = "detector 'neural'"
    if asked != "auto":
        require_one_of(source, [_LIBRARIES[asked]])
        return asked
    return "torch" if require_one_of(source, ["torch", "onnxruntime"]) == "torch" else "onnx"


def load_engine(
    weights: Path | None = None,
    runtime: RuntimeName = "auto",
    *,
    device: str = "auto",
    bf16: bool | None = None,
) -> Engine:
    """Load weights and what computes them.

    Parameters
    ----------
    weights : Path, optional
        Weights file, or the name of shipped ones, ``full`` (the default) or ``small``. The model
        of onnxruntime lies beside it: ``NAME.onnx`` or ``NAME-int8.onnx``, written by
        ``skyduel export``.
    runtime : str
        As in the settings of the detector.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    bf16 : bool, optional
        Whether torch computes in bfloat16; where the processor has it if not given.

    Raises
    ------
    BadInputError
        If the weights cannot be used, or the runtime or the device is not there.
    """
    chosen = choose_runtime(runtime)
    path = weights_path(weights)
    if chosen == "torch":
        return _torch_engine(path, device, bf16)
    if device == "cuda":
        raise BadInputError("device", f"device='cpu' with runtime={chosen!r}", "device='cuda'")
    return _onnx_engine(path, int8=chosen == "onnx-int8")


def _torch_engine(path: Path, device: str, bf16: bool | None) -> Engine:
    set_torch_memory()
    import torch

    from skyduel.detect.inference.torch_runtime import TorchRuntime, choose_bf16, choose_device
    from skyduel.detect.model.weights import load_weights

    where = choose_device(device)
    loaded = load_weights(path)
    loaded.network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    made = TorchRuntime(loaded.network, bf16=choose_bf16(where) if bf16 is None else bf16)
    return Engine(made, loaded.calibration, loaded.sha256, str(where), None, _TILE_PX["torch"])


def _onnx_engine(path: Path, *, int8: bool) -> Engine:
    from skyduel.detect.inference.onnx_runtime import OnnxRuntime, model_path, version
    from skyduel.detect.model.weights_file import read_weights_file

    stored = read_weights_file(path)
    made = OnnxRuntime(model_path(path, int8=int8), stored)
    return Engine(
        made, stored.calibration, stored.sha256, "cpu", version(int8=int8), _TILE_PX["onnx"]
    )
