"""The command `skyduel export`: write the network as a model for onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from skyduel.cli.commands.options import MaskBits, with_mask_bits
from skyduel.cli.console import out

__all__ = ["NAME", "command"]

NAME = "export"


def command(
    weights: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Argument(
            metavar="WEIGHTS",
            help="Weights file, or small or full: shipped weights. Default: full.",
        ),
    ] = None,
    target: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Model to write. Default: beside WEIGHTS, where the detector looks for it; for "
            "the shipped weights skyduel.onnx in this folder.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Also write the model in 8 bits, NAME-int8.onnx, calibrated on simulated frames "
            "of every kind.",
        ),
    ] = False,
    calibrate: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FOLDER",
            help="Your own frames for --int8, in place of simulated ones; no truth is needed.",
        ),
    ] = None,
    signed: Annotated[
        bool,
        typer.Option(
            "--signed",
            help="Signed activations in the 8-bit model, for ARM; on x86 several times slower.",
        ),
    ] = False,
    executorch: Annotated[
        bool,
        typer.Option(
            "--executorch",
            help="Write the model for the C++ program skyduel-points instead: NAME.pte and "
            "NAME.rules, with --int8 NAME-int8.pte and NAME-int8.rules. Needs ExecuTorch.",
        ),
    ] = False,
    mask_bits: MaskBits = None,
) -> None:
    """Write the dense part of the network as an ONNX model, for machines without PyTorch.

    Width and height of the image stay free. The model records the hash of its weights. Take both
    files to the small computer and name the weights there: --set neural.weights=FILE. The shipped
    weights have their model beside them already.
    """
    from skyduel.core import open_dataset
    from skyduel.detect.export import export_weights_to_onnx
    from skyduel.detect.inference.onnx_runtime import model_path
    from skyduel.detect.model.weights_file import SHIPPED_NAMES, weights_path

    begin = weights_path(weights)
    # Models of shipped weights are written to this folder, not into the package.
    shipped = begin in SHIPPED_NAMES.values()
    path = target or (Path(model_path(begin).name) if shipped else model_path(begin))
    entries = (
        [] if calibrate is None else with_mask_bits(open_dataset(calibrate), mask_bits).entries
    )
    in_8_bits = int8 or calibrate is not None
    if executorch:
        from skyduel.detect.executorch_export import write_for_executorch
        from skyduel.detect.quantize import calibration_frames

        path = path.with_suffix(".pte")
        frames = calibration_frames() if calibrate is None else (entry.read() for entry in entries)
        names = [path, path.with_name(f"{path.stem}-int8.pte")] if in_8_bits else [path]
        for name in names:
            write_for_executorch(name, begin, None if name == path else frames)
            out.print(str(name), markup=False, highlight=False, soft_wrap=True)
        return
    model = export_weights_to_onnx(path, begin)
    out.print(str(path), markup=False, highlight=False, soft_wrap=True)
    if in_8_bits:
        from skyduel.detect.quantize import calibration_frames, quantize_model

        frames = calibration_frames() if calibrate is None else (entry.read() for entry in entries)
        small = model_path(path, int8=True)
        quantize_model(model, frames, small, signed=signed)
        out.print(str(small), markup=False, highlight=False, soft_wrap=True)
