"""Export the dense part of the network to ONNX, for inference without torch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from skyduel.core.io.atomic_files import atomic_path
from skyduel.detect.inference.onnx_runtime import FORMAT, INPUT, OUTPUTS
from skyduel.detect.model.inputs import CHANNELS
from skyduel.detect.model.layers import Conv
from skyduel.detect.model.network import Network
from skyduel.detect.model.weights import load_weights
from skyduel.detect.model.weights_file import SHIPPED

__all__ = [
    "OPSET",
    "DenseFunction",
    "dense_model",
    "export_weights_to_onnx",
    "finish",
    "write_model",
]

#: Version of ONNX's operators.
OPSET: Final = 20
#: Constants are computed up to this size, so that factors on weights are part of the weights.
_MOST_VALUES: Final = 10**8
#: Largest side of an image, in multiples of the network's.
_MOST_CELLS: Final = 4096


class DenseFunction(nn.Module):
    """The dense part as a function from a Tensor to Tensors."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).fold()
        for module in self.network.modules():
            if isinstance(module, Conv):
                # A tensor's value is not known while a graph is traced.
                del module._buffers["folded"]
                module.folded = True  # type: ignore[assignment]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps and features."""
        return tuple(self.network(image))


def dense_model(network: Network, weights_sha256: str) -> onnx.ModelProto:
    """Return the dense part of a network as a model in ONNX.

    Parameters
    ----------
    network : Network
        On the CPU; it is not changed.
    weights_sha256 : str
        Hash of the weights file, for the model's metadata.

    Returns
    -------
    onnx.ModelProto
        Input ``image`` (1, 4, ny, nx), outputs ``maps`` (1, 8, ny/2, nx/2) and ``features``
        (1, pyramid, ny/2, nx/2), all float32. ny and nx are free multiples of
        `Network.multiple`.
    """
    multiple = network.multiple
    sides = (torch.export.Dim(name, min=2, max=_MOST_CELLS) for name in ("rows", "columns"))
    shape = {axis: multiple * side for axis, side in zip((2, 3), sides, strict=True)}
    example = torch.zeros(1, len(CHANNELS), 4 * multiple, 6 * multiple)
    with torch.inference_mode(), _quiet():
        program = torch.export.export(DenseFunction(network), (example,), dynamic_shapes=(shape,))
        exported = torch.onnx.export(
            program, input_names=[INPUT], output_names=list(OUTPUTS), opset_version=OPSET,
            dynamo=True, verbose=False,
        )  # fmt: skip
    assert exported is not None
    onnxscript.optimizer.optimize_ir(
        exported.model, input_size_limit=_MOST_VALUES, output_size_limit=_MOST_VALUES
    )
    facts = {
        "format": FORMAT,
        "weights_sha256": weights_sha256,
        "multiple": str(multiple),
        "roi_size": str(network.settings.roi_size),
        "precision": "fp32",
    }
    return finish(exported.model_proto, facts)


def export_weights_to_onnx(target: Path, weights: Path = SHIPPED) -> onnx.ModelProto:
    """Write the dense part of a weights file as a model in ONNX, and return it.

    Raises
    ------
    BadInputError
        If the weights cannot be read, or the target cannot be written.
    """
    loaded = load_weights(weights)
    model = dense_model(loaded.network, loaded.sha256)
    write_model(target, model)
    return model


def write_model(target: Path, model: onnx.ModelProto) -> None:
    """Write a model atomically; the same model gives the same bytes."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def finish(model: onnx.ModelProto, facts: Mapping[str, str]) -> onnx.ModelProto:
    """Return a model with our facts in place of what the exporter notes, and checked.

    The exporter notes places in sources of one machine.
    """
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.metadata_props[:], graph.value_info[:], model.metadata_props[:], model.functions[:]
    model.doc_string, model.producer_version = "", ""
    onnx.helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore warnings of the exporter about its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
