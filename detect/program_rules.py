"""Write the rules and weights that the C++ program of `edge/` needs beside its model.

Thresholds, radii, limits and weights are taken from this package's constants and a weights file.
The sizes of the stamps, their phases and the clip of a difference of logits stand in the program
too, as in the compiled kernels.
"""

from __future__ import annotations

import inspect
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.stats import gaussian_fwhm_to_sigma, mad_std

from skyduel.core.defaults import UNKNOWN_FWHM_APERTURE_PX
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.measure import aperture_photometry, background
from skyduel.core.native import windowed
from skyduel.detect import detector, engine
from skyduel.detect.inference import (
    centroids,
    context_features,
    decode,
    find_sources,
    suppression,
)
from skyduel.detect.model import inputs, layout, score_model
from skyduel.detect.model.weights_file import WeightsFile

__all__ = ["FORMAT", "program_rules", "write_rules"]

#: First bytes of a file of rules.
FORMAT: Final = b"skyduel-rules-1\0"


def program_rules(weights: WeightsFile, multiple: int) -> dict[str, npt.NDArray[Any]]:
    """Return the numbers of the program by name, each float64 or float32.

    Parameters
    ----------
    weights : WeightsFile
        Its RoI head and its calibration are included.
    multiple : int
        The sides of an image are multiples of this [px].
    """
    settings = detector.NeuralSettings()
    tiling = find_sources.Tiling(size_px=engine._TILE_PX["onnx"])
    filter_meshes = inspect.signature(background.estimate_background).parameters["filter_meshes"]
    numbers: dict[str, Any] = {
        "mesh_px": background.MESH_PX, "filter_meshes": filter_meshes.default,
        "few_pixels": background._FEW_PIXELS, "good_fraction": background._GOOD_FRACTION,
        "rms_floor": background.RMS_FLOOR, "step_sample": background._STEP_SAMPLE,
        "dither_below_steps": background.DITHER_BELOW_STEPS,
        "dither_variance": background.DITHER_VARIANCE, "dither_state": _dither_state(),
        "clip_low": inputs.CLIP_LOW, "clip_linear": inputs.CLIP_LINEAR,
        "clip_smoothed": inputs.CLIP_SMOOTHED,
        "multiple": multiple, "stride": layout.STRIDE, "roi_box_px": layout.ROI_BOX_PX,
        "roi_size": weights.network["roi_size"],
        "tile_px": tiling.size_px, "margin_px": tiling.margin_px, "whole_px": tiling.whole_px,
        "seam_px": find_sources._SEAM_PX, "same_px": find_sources._SAME_PX,
        "proposed": min(detector._PROPOSED, settings.floor), "merge_px": decode._MERGE_PX,
        "most_per_mpix": settings.most_per_mpix, "floor": settings.floor,
        "score_threshold": settings.score_threshold,
        "core_px": context_features._CORE_PX, "sure_logit": context_features._SURE_LOGIT,
        "profile_faintest": context_features._FAINTEST,
        "profile_brightest": context_features._BRIGHTEST,
        "profile_fewest": context_features._FEWEST, "profile_most": context_features._MOST,
        "profile_summed": context_features._SUMMED, "profile_widths": context_features._WIDTHS,
        "profile_surest": context_features._SUREST,
        "narrow_sigma_px": context_features._NARROW_SIGMA_PX,
        "neighbour_px": context_features._FARTHEST_PX,
        "neighbours": context_features._NEIGHBOURS,
        "nms_sigma": settings.nms_sigma, "nms_box_px": suppression._BOX_PX,
        "nms_lowest": suppression._LOWEST,
        "unknown_fwhm_px": UNKNOWN_FWHM_APERTURE_PX, "fwhm_to_sigma": gaussian_fwhm_to_sigma,
        "aperture_fwhms": aperture_photometry._FWHM_FACTOR,
        "aperture_least_px": aperture_photometry._LEAST_RADIUS_PX,
        "bright_snr": centroids._BRIGHT, "window_farthest_px": centroids._FARTHEST_PX,
        "least_window_px": windowed._LEAST_SIGMA,
        "shift_sources": centroids._SHIFT_SOURCES, "shift_px": centroids._SHIFT_PX,
        "shift_errors": centroids._SHIFT_ERRORS, "median_error": centroids._MEDIAN_ERROR,
        "mad_to_sigma": mad_std([-1.0, 0.0, 1.0]),
        **_calibration(weights.calibration),
    }  # fmt: skip
    out: dict[str, npt.NDArray[Any]] = {
        name: np.asarray(value, dtype=np.float64) for name, value in numbers.items()
    }
    for layer in ("roi1", "roi2", "roi_out"):
        out[f"{layer}_weight"] = np.ascontiguousarray(weights.tensors[f"{layer}.weight"].T)
        out[f"{layer}_bias"] = weights.tensors[f"{layer}.bias"]
    return out | {"kernel": inputs.KERNEL}


def _calibration(calibration: score_model.Calibration) -> dict[str, Any]:
    """Return the numbers of a calibration; parts that it has not are left out."""
    numbers: dict[str, Any] = {
        "slope": calibration.slope, "offset": calibration.offset,
        "snr_gain": calibration.snr_gain, "likely": score_model._LIKELY,
        "plain_snr": score_model._PLAIN_SNR, "rescoring_farthest": score_model._FARTHEST,
    }  # fmt: skip
    if calibration.regions_above is not None:
        numbers["regions_above"] = calibration.regions_above
    for name in ("network_position_error", "centroid_error"):
        model = getattr(calibration, name)
        if model is not None:
            numbers[name] = model.floor, model.gain
    rescoring = calibration.rescoring
    if rescoring is not None:
        numbers |= {"rescoring_mean": rescoring.mean, "rescoring_scale": rescoring.scale}
        numbers["rescoring_layers"] = len(rescoring.layers)
        numbers |= {f"rescoring_layer{k}": rows for k, rows in enumerate(rescoring.layers)}
    return numbers


def _dither_state() -> list[int]:
    """Return state and increment of the generator of the dither noise, 32 bits each."""
    generator: Any = np.random.default_rng(background._DITHER_SEED).bit_generator
    state = generator.state["state"]
    return [state[k] >> shift & 0xFFFFFFFF for k in ("state", "inc") for shift in (96, 64, 32, 0)]


def write_rules(target: Path, rules: dict[str, npt.NDArray[Any]]) -> None:
    """Write rules atomically: after `FORMAT` each name, bytes of a number, count and numbers."""
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.write(FORMAT)
        for name, values in rules.items():
            flat = np.ascontiguousarray(values).ravel()
            flat = flat.astype(flat.dtype.newbyteorder("<"))
            file.write(struct.pack("<I", len(name)) + name.encode())
            file.write(struct.pack("<IQ", flat.itemsize, flat.size) + flat.tobytes())
