"""From a checkpoint to weights whose scores mean something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from sklearn.linear_model import LogisticRegression

from catalog.errors import BadInputError
from catalog.frame import Frame
from catalog.sources import Catalog
from detect.inference import find_sources
from detect.losses import roi_labels
from detect.network import Network
from detect.training import TrainingSettings
from detect.weights import Calibration, save_weights
from simulation import FAMILIES, draw_settings, draw_training_settings, simulate

__all__ = ["calibration_frames", "finish", "fit_calibration", "fit_logits"]

#: Calibration frames come from a stream of seeds of their own.
_CALIBRATION_STREAM: Final = 2
#: A truth fainter than this counts neither way, as in the scorer's default rules.
_COUNTED_SNR: Final = 2.0
_FLOOR: Final = 0.02
_FRAME_PX: Final = 384


def calibration_frames(seed: int, per_kind: int = 4) -> Iterator[tuple[Frame, Catalog]]:
    """Yield simulated frames with truth: every family, and as many of the training mixture."""
    for index in range(per_kind * len(FAMILIES)):
        family = list(FAMILIES)[index % len(FAMILIES)]
        for k, wide in enumerate((False, True)):
            rng = np.random.default_rng([seed, _CALIBRATION_STREAM, index, k])
            settings = (
                draw_training_settings(rng, 384)
                if wide
                else draw_settings(family, rng, ny=384, nx=384)
            )
            yield simulate(settings, rng, f"calibration {index}")


def fit_calibration(network: Network, frames: Iterable[tuple[Frame, Catalog]]) -> Calibration:
    """Return the slope and offset that make scores probabilities on the given frames.

    A proposal is right if it and a counted truth are each other's nearest within
    2 px; one whose nearest truth is too faint to count is left out.

    Parameters
    ----------
    network : Network
        Folded, on the CPU.
    frames : iterable of (Frame, Catalog)
        With truth that has ``snr``.

    Raises
    ------
    BadInputError
        As `fit_logits`.
    """
    logits, right = [], []
    for frame, truth in frames:
        raw = find_sources(
            frame,
            network,
            floor=_FLOOR,
            most_per_mpix=60000,
            device=torch.device("cpu"),
            bf16=False,
        )
        points = truth.select(~truth.is_streak)
        table = np.column_stack([points.xy, points["snr"] >= _COUNTED_SNR]).astype(np.float32)
        # Of two proposals on one star one is right, the nearer.
        kinds, _, weights = roi_labels(
            torch.from_numpy(raw.xy).float(),
            torch.from_numpy(table),
            torch.zeros(len(raw.xy), dtype=torch.bool),
        )
        use = weights.numpy() > 0
        logits.append(raw.logit[use])
        right.append(kinds.numpy()[use] == 1)
    if not logits:
        return fit_logits(np.zeros(0), np.zeros(0, dtype=bool))
    return fit_logits(np.concatenate(logits), np.concatenate(right))


def fit_logits(logits: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> Calibration:
    """Return the slope and offset that make logits those of being right.

    Parameters
    ----------
    logits : ndarray of float64, shape (k,)
        Mean logit of each proposal.
    right : ndarray of bool, shape (k,)
        Whether it was right.

    Raises
    ------
    BadInputError
        If all are right or all wrong, or a higher logit does not mean right more often.

    Notes
    -----
    Logistic regression with hardly any penalty (Platt 1999).
    """
    got = f"{int(right.sum())} right of {right.size}"
    if right.all() or not right.any():
        raise BadInputError("calibration", "proposals right and wrong", got)
    fit = LogisticRegression(C=1e6).fit(logits[:, None], right)
    slope = float(fit.coef_[0, 0])
    if not slope > 0:
        raise BadInputError(
            "calibration", "scores that rise with the truth", f"{got}, slope {slope:.3g}"
        )
    return Calibration(slope=slope, offset=float(fit.intercept_[0]))


def finish(checkpoint: Path, target: Path, per_kind: int = 4) -> Calibration:
    """Write the averaged weights of a checkpoint, calibrated, as a weights file.

    Parameters
    ----------
    checkpoint : Path
        Of `detect.training.train`.
    target : Path
        The weights file to write.
    per_kind : int
        Calibration frames of each kind; see `calibration_frames`.

    Returns
    -------
    Calibration
        As it was fitted and written.

    Raises
    ------
    BadInputError
        If the checkpoint cannot be used, or the network is too young to tell
        right from wrong.
    """
    try:
        with safe_open(checkpoint, framework="pt") as file:
            metadata = file.metadata() or {}
            average = {
                k.removeprefix("average."): file.get_tensor(k)
                for k in file.keys()  # noqa: SIM118
                if k.startswith("average.")
            }
        settings = TrainingSettings.model_validate_json(metadata["settings"])
        steps = int(metadata["step"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise BadInputError(
            str(checkpoint), "a checkpoint of this program", str(error)[:200]
        ) from error
    # Calibrated as they will be used: after rounding to half precision.
    network = Network(settings.network)
    try:
        network.load_state_dict({k: v.half().float() for k, v in average.items()})
    except RuntimeError as error:
        raise BadInputError(
            str(checkpoint), "a checkpoint with a whole network", " ".join(str(error).split())[:200]
        ) from error
    network.eval().requires_grad_(False).fold()
    network.to(memory_format=torch.channels_last)
    calibration = fit_calibration(network, calibration_frames(settings.seed, per_kind))
    facts = {"steps": steps, "training": settings.model_dump(mode="json")}
    save_weights(target, average, settings.network, calibration, facts)
    return calibration
