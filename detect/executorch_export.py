"""Lower the dense part of the network to ExecuTorch and XNNPACK, for the program of `edge/`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.core.errors import ArgumentError
from skyduel.core.extras import is_installed
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import atomic_path
from skyduel.detect.engine import _TILE_PX
from skyduel.detect.export import DenseFunction
from skyduel.detect.inference.find_sources import Tiling
from skyduel.detect.model.inputs import CHANNELS
from skyduel.detect.model.layers import Conv
from skyduel.detect.model.network import Network
from skyduel.detect.model.weights import load_weights
from skyduel.detect.model.weights_file import SHIPPED, read_weights_file
from skyduel.detect.program_rules import program_rules, write_rules
from skyduel.detect.quantize import frame_images

__all__ = ["require_executorch", "write_for_executorch"]

#: What lowers a model; the wheels ask for more than this needs.
PACKAGES: Final = "executorch==1.5.1 torchao==0.18.0 flatbuffers ruamel.yaml tabulate"


def require_executorch() -> None:
    """Check that ExecuTorch and its quantizer are installed.

    Raises
    ------
    BadInputError
        If not, with the packages to install.
    """
    for library in ("executorch", "torchao"):
        if not is_installed(library):
            wanted = f"{library} (pip: {PACKAGES}, without their dependencies)"
            raise ArgumentError("executorch", wanted, "none")


class _Plain(nn.Module):
    """A convolution whose factors are part of its weights."""

    def __init__(self, conv: Conv, gain: float, scale: Tensor | None) -> None:
        super().__init__()
        factor = torch.tensor(1.0) if scale is None else scale.detach()
        assert conv.bias is not None  # narrows the type
        self.weight = nn.Parameter(conv.weight.detach() * gain * factor)
        self.bias = nn.Parameter(conv.bias.detach() * factor)
        self._stride, self._padding = conv.stride, conv.padding

    def forward(self, x: Tensor, gain: float = 1.0, scale: Tensor | None = None) -> Tensor:
        """Return the convolution; the factors are in the weights already."""
        return F.conv2d(x, self.weight, self.bias, self._stride, self._padding)


def _plain(network: Network, example: Tensor) -> DenseFunction:
    """Return the dense part with every factor of a convolution in its weights."""
    dense = DenseFunction(network).eval()
    convolutions = {name: m for name, m in dense.named_modules() if isinstance(m, Conv)}
    given: dict[str, tuple[float, Tensor | None]] = {}

    def noting(name: str) -> Any:
        def note(_: nn.Module, words: tuple[Any, ...], named: dict[str, Any]) -> None:
            gain, scale = [*words[1:], None, None][:2]
            gain = named.get("gain", 1.0) if gain is None else gain
            given[name] = gain, named.get("scale") if scale is None else scale

        return note

    hooks = [
        conv.register_forward_pre_hook(noting(name), with_kwargs=True)
        for name, conv in convolutions.items()
    ]
    with torch.no_grad():
        dense(example)
    for hook in hooks:
        hook.remove()
    for name, conv in convolutions.items():
        parent, _, leaf = name.rpartition(".")
        dense.get_submodule(parent).add_module(leaf, _Plain(conv, *given[name]))
    # The last convolution, too: XNNPACK takes constant weights only, and the kernel of ExecuTorch
    # that would compute it rounds otherwise on ARM.
    last = dense.network
    last.dense.weight = nn.Parameter(last.dense_weight().detach())
    last.dense_weight = lambda: last.dense.weight  # type: ignore[method-assign]
    return dense


def write_for_executorch(
    target: Path, weights: Path = SHIPPED, frames: Iterable[Frame] | None = None
) -> None:
    """Write the model of a weights file for the C++ program, and its rules beside it.

    Parameters
    ----------
    target : Path
        The model, ``NAME.pte``; the rules are ``NAME.rules``.
    weights : Path
        Weights file.
    frames : iterable of Frame, optional
        If given, weights and activations have 8 bits, and the ranges are those of these frames.
        The convolutions that give the outputs stay in float32, as with onnxruntime.

    Raises
    ------
    BadInputError
        If ExecuTorch is missing, or a file cannot be read or written.
    """
    require_executorch()
    network = load_weights(weights).network
    multiple = network.multiple
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own code
        content = _lowered(network, frames)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    write_rules(target.with_suffix(".rules"), program_rules(read_weights_file(weights), multiple))


def _lowered(network: Network, frames: Iterable[Frame] | None) -> bytes:
    """Return the program of ExecuTorch; memory is planned for the largest tile."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    multiple = network.multiple
    most = -(-Tiling(size_px=_TILE_PX["onnx"]).whole_px // multiple)
    sides = (torch.export.Dim(name, min=2, max=most) for name in ("rows", "columns"))
    shape = {axis: multiple * side for axis, side in zip((2, 3), sides, strict=True)}
    example = torch.zeros(1, len(CHANNELS), 4 * multiple, 6 * multiple)
    dense = _plain(network, example)
    with torch.no_grad():
        program = torch.export.export(dense, (example,), dynamic_shapes=(shape,))
        if frames is not None:
            images = frame_images(frames, multiple)
            made = _quantized(program.module(), (torch.from_numpy(one)[None] for one in images))
            program = torch.export.export(made, (example,), dynamic_shapes=(shape,))
    lowered = to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    return bytes(lowered.to_executorch().buffer)


def _quantized(graph: Any, images: Iterable[Tensor]) -> Any:
    """Return a graph in 8 bits but for the convolutions that give its outputs."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    (end,) = (node for node in graph.graph.nodes if node.op == "output")
    last = end.all_input_nodes
    relus = [user for node in last for user in node.users if "relu" in str(user.target)]
    kept = {node.name for node in (*last, *relus)}
    quantizer = XNNPACKQuantizer().set_global(
        get_symmetric_quantization_config(is_per_channel=True)
    )
    quantizer.set_filter_function(lambda node: node.name not in kept)
    prepared = prepare_pt2e(graph, quantizer)
    for image in images:
        prepared(image)
    return convert_pt2e(prepared)
