"""Write weights files with their calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from skyduel.core.errors import BadInputError, one_line
from skyduel.detect.calibration.fit_calibration import calibration_frames, fit_calibration
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.weights import Calibration, read_weights, save_weights
from skyduel.detect.training.checkpoint import read_average
from skyduel.detect.training.train import TrainingSettings

__all__ = ["export_weights", "recalibrate_weights"]


def export_weights(
    checkpoint: Path,
    target: Path,
    per_kind: int = 48,
    regions_above: float | None = None,
) -> Calibration:
    """Write the averaged weights of a checkpoint, calibrated, as a weights file.

    Parameters
    ----------
    checkpoint : Path
        Checkpoint of `skyduel.detect.training.train.train`.
    target : Path
        The weights file to write.
    per_kind : int
        Number of calibration frames of each kind; see `calibration_frames`.
    regions_above : float, optional
        As in `Calibration`.

    Returns
    -------
    Calibration
        The fitted calibration.

    Raises
    ------
    BadInputError
        If the checkpoint cannot be used, or the network is not trained enough to
        separate right from wrong.
    """
    average, settings, steps = read_average(checkpoint, TrainingSettings)
    try:
        calibration = _calibrated(average, settings.network, settings.seed, per_kind, regions_above)
    except RuntimeError as error:
        raise BadInputError(
            str(checkpoint), "a checkpoint with a whole network", one_line(error)
        ) from error
    facts = {"steps": steps, "training": settings.model_dump(mode="json")}
    save_weights(target, average, settings.network, calibration, facts)
    return calibration


def recalibrate_weights(source: Path, target: Path, seed: int, per_kind: int = 48) -> Calibration:
    """Write a weights file anew with another calibration, as `export_weights` makes it.

    Parameters
    ----------
    source : Path
        Weights file; its tensors, its facts and its ``regions_above`` are kept.
    target : Path
        The weights file to write.
    seed : int
        Seed of the calibration frames.
    per_kind : int
        Number of calibration frames of each kind; see `calibration_frames`.

    Returns
    -------
    Calibration
        The fitted calibration.

    Raises
    ------
    BadInputError
        If the weights cannot be read, or the network is not trained enough to separate right
        from wrong.
    """
    stored = read_weights(source)
    limit = stored.calibration.regions_above
    calibration = _calibrated(stored.tensors, stored.settings, seed, per_kind, limit)
    facts = {**stored.facts, "calibration_seed": seed}
    save_weights(target, stored.tensors, stored.settings, calibration, facts)
    return calibration


def _calibrated(
    tensors: Mapping[str, torch.Tensor],
    settings: NetworkSettings,
    seed: int,
    per_kind: int,
    regions_above: float | None,
) -> Calibration:
    """Calibrate weights as they are used: rounded to half precision."""
    network = Network(settings)
    network.load_state_dict({k: v.half().float() for k, v in tensors.items()})
    network.eval().requires_grad_(False).fold()
    network.to(memory_format=torch.channels_last)
    frames = calibration_frames(seed, per_kind)
    return fit_calibration(network, frames, seed=seed, regions_above=regions_above)
