"""Quantise the model for onnxruntime to 8 bits after training, on frames of the sky."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime import quantization

from skyduel.core.frame import Frame
from skyduel.core.measure.background import estimate_background
from skyduel.detect.export import finish, write_model
from skyduel.detect.inference.onnx_runtime import INPUT, OUTPUTS
from skyduel.detect.model.inputs import frame_channels
from skyduel.simulation import FAMILIES, draw_settings, simulate

__all__ = ["calibration_frames", "frame_images", "quantize_model"]

#: Seed, frames per kind and side of the simulated frames [px].
_SEED: Final = 77
_PER_KIND: Final = 2
_SIDE_PX: Final = 512
#: Of a user's frame at most this many cuts are used.
_MOST_CUTS: Final = 4

Singles = npt.NDArray[np.float32]


def calibration_frames() -> Iterator[Frame]:
    """Yield simulated frames of every kind, two of each, always the same."""
    for k, family in enumerate(FAMILIES):
        for index in range(_PER_KIND):
            rng = np.random.default_rng((_SEED, k, index))
            yield simulate(draw_settings(family, rng, ny=_SIDE_PX, nx=_SIDE_PX), rng)[0]


def frame_images(frames: Iterable[Frame], multiple: int) -> Iterator[Singles]:
    """Yield the network's channels of cuts of frames, each (4, ny, nx), at most 512 px wide.

    Parameters
    ----------
    frames : iterable of Frame
        Frames of at least ``multiple`` px.
    multiple : int
        The sides of a cut are multiples of this [px].
    """
    for frame in frames:
        background = estimate_background(frame)
        sides = [min(n, _SIDE_PX) // multiple * multiple for n in frame.shape]
        corners = [
            (y, x)
            for y in range(0, frame.shape[0] - sides[0] + 1, sides[0])
            for x in range(0, frame.shape[1] - sides[1] + 1, sides[1])
        ]
        # Evenly spread over the frame.
        for y, x in corners[:: -(-len(corners) // _MOST_CUTS)]:
            yield frame_channels(frame, background, (y, y + sides[0], x, x + sides[1]))


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Images in the form in which onnxruntime asks for them."""

    def __init__(self, images: Iterable[Singles]) -> None:
        self._left = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, or None after the last."""
        image = next(self._left, None)
        return None if image is None else {INPUT: image[None]}


def quantize_model(
    model: onnx.ModelProto, frames: Iterable[Frame], target: Path, *, signed: bool = False
) -> None:
    """Write a model with 8-bit weights and activations.

    Parameters
    ----------
    model : onnx.ModelProto
        As `skyduel.detect.export.dense_model` returns it; it is not changed.
    frames : iterable of Frame
        Frames from which the ranges of the activations are taken.
    target : Path
        File to write.
    signed : bool
        Whether activations are signed: faster on ARM, much slower on x86.

    Notes
    -----
    The ranges are those of least and largest values; weights have one scale per channel. The
    convolutions that give the outputs stay in float32. Otherwise the quantizer would remove the
    ReLU behind the features and clip the features themselves, which the RoI head needs whole.
    """
    activations = quantization.QuantType.QInt8 if signed else quantization.QuantType.QUInt8
    facts = {prop.key: prop.value for prop in model.metadata_props}
    images = frame_images(frames, int(facts["multiple"]))
    last = [node.name for node in model.graph.node if set(node.output) & set(OUTPUTS)]
    logging.getLogger().addFilter(_not_the_hint)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        given.write_bytes(model.SerializeToString())
        try:
            quantization.quantize_static(
                given, made, _Images(images), quant_format=quantization.QuantFormat.QDQ,
                per_channel=True, activation_type=activations,
                weight_type=quantization.QuantType.QInt8, nodes_to_exclude=last,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )  # fmt: skip
        finally:
            logging.getLogger().removeFilter(_not_the_hint)
        quantized = onnx.load(made)
    write_model(target, finish(quantized, facts | {"precision": "int8"}))


def _not_the_hint(record: logging.LogRecord) -> bool:
    """Leave out the advice to simplify the model first: it is simple already."""
    return "pre-processing" not in record.getMessage()
