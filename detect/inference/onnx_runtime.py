"""The network computed by onnxruntime on a CPU, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.native import roi_align
from skyduel.detect.inference.runtime import DenseMaps
from skyduel.detect.model.layout import ROI_KINDS, STRIDE, source_boxes
from skyduel.detect.model.threads import thread_count
from skyduel.detect.model.weights_file import WeightsFile

__all__ = ["FORMAT", "INPUT", "OUTPUTS", "OnnxRuntime", "model_path", "version"]

Singles = npt.NDArray[np.float32]

#: Names of the model's input and outputs, and of its format in its metadata.
INPUT: Final = "image"
OUTPUTS: Final = ("maps", "features")
FORMAT: Final = "skyduel-dense-1"


def model_path(weights: Path, *, int8: bool = False) -> Path:
    """Return the path of the model of a weights file: ``NAME.onnx`` or ``NAME-int8.onnx``."""
    return weights.with_name(f"{weights.stem}{'-int8' if int8 else ''}.onnx")


def version(*, int8: bool = False) -> str:
    """Return the name and version of the runtime, for the record of a run."""
    return f"onnxruntime {onnxruntime.__version__}{', int8' if int8 else ''}"


class OnnxRuntime:
    """The dense part of a network from its model, the RoI head from its weights: a `Runtime`.

    Parameters
    ----------
    path : Path
        The model, as ``skyduel export`` writes it.
    weights : WeightsFile
        The weights that it was exported from.

    Raises
    ------
    BadInputError
        If the model is missing or unreadable, or was exported from other weights.
    """

    def __init__(self, path: Path, weights: WeightsFile) -> None:
        if not path.is_file():
            raise BadInputError(
                str(path), "the model of these weights, written by `skyduel export`", "no such file"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors are raised anyway
        # Its arena keeps the memory of the largest image for the life of the process.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            facts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # its errors have no common class of their own
            raise BadInputError(str(path), "a model in ONNX", one_line(error)) from error
        if facts.get("format") != FORMAT:
            raise BadInputError(str(path), f"a model of format {FORMAT}", repr(facts.get("format")))
        if facts["weights_sha256"] != weights.sha256:
            raise BadInputError(
                str(path),
                f"a model of the weights {weights.sha256[:12]}… (`skyduel export` writes it)",
                f"one of {facts['weights_sha256'][:12]}…",
            )
        self.multiple = int(facts["multiple"])
        self._size = int(facts["roi_size"])
        self._head = [
            (weights.tensors[f"{layer}.weight"].T, weights.tensors[f"{layer}.bias"])
            for layer in ("roi1", "roi2", "roi_out")
        ]

    def dense(self, image: Singles) -> DenseMaps:
        """Return the dense output of one image; see `Runtime.dense`."""
        maps, features = self._session.run(OUTPUTS, {INPUT: image[None]})
        return DenseMaps(maps[0], features[0])

    def classify(self, features: Any, xy: Singles) -> tuple[Singles, Singles]:
        """Return class logits and centre offsets of regions; see `Runtime.classify`."""
        boxes = source_boxes(xy).astype(np.float32)
        hidden = roi_align(features, boxes, self._size, 1 / STRIDE, thread_count())
        hidden = hidden.reshape(len(xy), len(self._head[0][0]))
        *inner, (weight, bias) = self._head
        for w, b in inner:
            hidden = np.maximum(hidden @ w + b, 0)
        out = hidden @ weight + bias
        return out[:, : len(ROI_KINDS)], out[:, len(ROI_KINDS) :]
