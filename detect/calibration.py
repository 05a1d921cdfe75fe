"""From a checkpoint to weights whose scores mean something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import KDTree
from sklearn.linear_model import LogisticRegression

from catalog.errors import BadInputError
from catalog.frame import Frame
from catalog.sources import Catalog
from detect.checkpoint import read_average
from detect.inference import find_sources
from detect.network import Network
from detect.suppression import suppress
from detect.training import TrainingSettings
from detect.weights import Calibration, save_weights
from simulation import FAMILIES, draw_settings, draw_training_settings, simulate

__all__ = ["calibration_frames", "finish", "fit_calibration", "fit_logits", "judge"]

#: Calibration frames come from a stream of seeds of their own.
_CALIBRATION_STREAM: Final = 2
#: A truth fainter than this counts neither way, as in the scorer's default rules.
_COUNTED_SNR: Final = 2.0
_FLOOR: Final = 0.02
#: Side of a calibration frame [px].
#: The scorer's default radius.
_MATCH_PX: Final = 2.0
_FRAME_PX: Final = 384


def calibration_frames(seed: int, per_kind: int = 4) -> Iterator[tuple[Frame, Catalog]]:
    """Yield simulated frames with truth: every family, and as many of the training mixture."""
    for index in range(per_kind * len(FAMILIES)):
        family = list(FAMILIES)[index % len(FAMILIES)]
        for k, wide in enumerate((False, True)):
            rng = np.random.default_rng([seed, _CALIBRATION_STREAM, index, k])
            settings = (
                draw_training_settings(rng, _FRAME_PX)
                if wide
                else draw_settings(family, rng, ny=_FRAME_PX, nx=_FRAME_PX)
            )
            yield simulate(settings, rng, f"calibration {index}")


def fit_calibration(network: Network, frames: Iterable[tuple[Frame, Catalog]]) -> Calibration:
    """Return the slope and offset that make scores probabilities on the given frames.

    What soft-NMS leaves is judged as `judge` does.

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
        xy, logit = suppress(raw.xy, raw.logit)
        points = truth.select(~truth.is_streak)
        hit, counts = judge(xy, points.xy, points["snr"] >= _COUNTED_SNR)
        logits.append(logit[counts])
        right.append(hit[counts])
    if not logits:
        return fit_logits(np.zeros(0), np.zeros(0, dtype=bool))
    return fit_logits(np.concatenate(logits), np.concatenate(right))


def judge(
    xy: npt.NDArray[np.float64],
    truth_xy: npt.NDArray[np.float64],
    counted: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which detections are right, and which count at all, each of shape (k,).

    Each detection in turn takes the nearest counted truth within 2 px that no earlier
    one took, and is right; a detection left without one is wrong, or
    does not count if a truth too faint to count lies within 2 px.

    Parameters
    ----------
    xy : ndarray of float64, shape (k, 2)
        Detections, the surest first: what a threshold keeps is then
        judged as it would be alone, whatever lies below the threshold.
    truth_xy : ndarray of float64, shape (n, 2)
        Truths.
    counted : ndarray of bool, shape (n,)
        Which truths count.
    """
    right, counts = np.zeros(len(xy), dtype=bool), np.ones(len(xy), dtype=bool)
    if len(xy) == 0 or len(truth_xy) == 0:
        return right, counts
    taken = np.zeros(len(truth_xy), dtype=bool)
    reached = cast("list[list[int]]", KDTree(truth_xy).query_ball_point(xy, _MATCH_PX))
    for row, near in enumerate(reached):
        free = [i for i in near if counted[i] and not taken[i]]
        if free:
            distance = np.hypot(*(truth_xy[free] - xy[row]).T)
            taken[free[int(np.argmin(distance))]] = True
            right[row] = True
        else:
            counts[row] = all(counted[i] for i in near)
    return right, counts


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
    average, settings, steps = read_average(checkpoint, TrainingSettings)
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
