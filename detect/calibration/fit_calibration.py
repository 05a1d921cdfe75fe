"""Calibrate the scores and position errors of a trained network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial import KDTree
from scipy.special import ndtri
from sklearn.linear_model import LogisticRegression

from skyduel.core.catalog import Catalog
from skyduel.core.defaults import FAINT_SNR, PAIRING_RADIUS_PX, STREAK_ANGLE_DEG
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import forced_photometry
from skyduel.core.measure.background import Background, estimate_background
from skyduel.detect.calibration.fit_rescoring import ENOUGH, fit_rescoring
from skyduel.detect.inference.centroids import refine_points, window_sigma
from skyduel.detect.inference.context_features import width_and_snr
from skyduel.detect.inference.find_sources import find_sources
from skyduel.detect.inference.suppression import suppress
from skyduel.detect.inference.torch_runtime import TorchRuntime
from skyduel.detect.model.network import Network
from skyduel.detect.model.score_model import CONTEXT_FEATURES, PositionErrorModel, streak_features
from skyduel.detect.model.weights import Calibration
from skyduel.simulation import (
    FAMILIES,
    draw_settings,
    draw_training_settings,
    draw_undersampled_settings,
    simulate,
)

__all__ = [
    "KnownFrame",
    "calibration_frames",
    "fit_calibration",
    "fit_errors",
    "fit_points",
    "fit_streaks",
    "match_streaks",
    "match_to_truth",
]

#: Stream of seeds of the calibration frames.
_CALIBRATION_STREAM: Final = 2
#: A galaxy that training ignores for its width counts as a truth from this S/N on.
_GALAXY_SNR: Final = 5.0
_FLOOR: Final = 0.02
#: Side of a calibration frame [px].
_FRAME_PX: Final = 384
#: Largest distance of a streak's middle from a true streak [px].
_STREAK_PX: Final = 5.0
#: Frames in one round of all families, each with two other frames.
_ROUND: Final = 3 * len(FAMILIES)
#: Minimum number of deviations for a fit of their model, and the number of groups.
_FEW_DEVIATIONS: Final = 400
_GROUPS: Final = 12
#: `Calibration.snr_gain` of a new calibration.
_SNR_GAIN: Final = 2.0
#: Minimum number of right, and of wrong, streaks for a calibration of their scores.
_FEW_STREAKS: Final = 15

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class KnownFrame(NamedTuple):
    """A frame with its truth and its kind. All kinds have the same total weight."""

    kind: str
    frame: Frame
    truth: Catalog


def calibration_frames(seed: int, per_kind: int = 4) -> Iterator[KnownFrame]:
    """Yield simulated frames: of a family, of the training mixture, and undersampled, in turn."""
    for index in range(per_kind * len(FAMILIES)):
        family = list(FAMILIES)[index % len(FAMILIES)]
        for k, kind in enumerate((family, "mixture", "undersampled")):
            rng = np.random.default_rng([seed, _CALIBRATION_STREAM, index, k])
            settings = (
                draw_settings(family, rng, ny=_FRAME_PX, nx=_FRAME_PX)
                if k == 0
                else draw_training_settings(rng, _FRAME_PX)
                if k == 1
                else draw_undersampled_settings(rng, _FRAME_PX)
            )
            frame, truth = simulate(settings, rng, f"calibration {index}")
            if k and index % 2:  # many headers do not state the seeing
                frame = frame.with_(fwhm=None)
            yield KnownFrame(kind, frame, truth)


class _MatchedFrame(NamedTuple):
    """Proposals of one frame after soft-NMS, and its streaks, each right or wrong."""

    kind: str
    logit: Floats
    context_features: npt.NDArray[np.float32]
    right: Bools
    streaks: Floats
    streaks_right: Bools
    #: σ of the profile over S/N [px] and deviation of x or y [px] of right points, (m, 2):
    #: positions from the network, and windowed centroids.
    network_deviations: Floats
    centroid_deviations: Floats


def fit_calibration(
    network: Network,
    frames: Iterable[KnownFrame],
    begin: Calibration | None = None,
    *,
    seed: int = 0,
    regions_above: float | None = None,
) -> Calibration:
    """Fit the calibration that turns scores into probabilities on the given frames.

    Detections after soft-NMS are matched with `match_to_truth`, streaks with `match_streaks`.

    Parameters
    ----------
    network : Network
        A folded network on the CPU.
    frames : iterable of KnownFrame
        Frames whose truth has ``snr``. The points of every kind of frame have the same
        total weight.
    begin : Calibration, optional
        Calibration whose rescoring, ``regions_above`` and ``snr_gain`` are kept. Without it
        three quarters of the frames train a new rescoring, if they have enough proposals, and
        the rest calibrate.
    seed : int
        Seed of the training of the rescoring.
    regions_above : float, optional
        As in `Calibration`.

    Raises
    ------
    BadInputError
        As `fit_points`.
    """
    if begin is not None:
        regions_above = begin.regions_above
    matched = [_match_frame(network, known, regions_above) for known in frames]
    rescoring = None if begin is None else begin.rescoring
    fresh = matched
    if begin is None and sum(len(j.logit) for j in matched) >= ENOUGH:
        taught = [j for n, j in enumerate(matched) if n // _ROUND % 4 != 3]
        fresh = [j for n, j in enumerate(matched) if n // _ROUND % 4 == 3]
        rescoring = fit_rescoring(*_stacked(taught), seed=seed)
    logits, context_features, right, weights = _stacked(fresh)
    if rescoring is not None:
        logits = rescoring(logits, context_features)
    fitted = fit_points(logits, right, weights)
    streaks = np.concatenate([np.zeros((0, 5)), *(j.streaks for j in matched)])
    found = np.concatenate([np.zeros(0, dtype=bool), *(j.streaks_right for j in matched)])
    return replace(
        fitted,
        streak=fit_streaks(streaks[:, 4], streaks[:, 2], found),
        rescoring=rescoring,
        network_position_error=fit_errors(
            np.concatenate([np.zeros((0, 2)), *(j.network_deviations for j in matched)])
        ),
        centroid_error=fit_errors(
            np.concatenate([np.zeros((0, 2)), *(j.centroid_deviations for j in matched)])
        ),
        regions_above=regions_above,
        snr_gain=_SNR_GAIN if begin is None else begin.snr_gain,
    )


def _match_frame(
    network: Network, known: KnownFrame, regions_above: float | None = None
) -> _MatchedFrame:
    """Run the network on a frame and match its detections to the truth."""
    background = estimate_background(known.frame)
    raw = find_sources(
        known.frame,
        background,
        TorchRuntime(network),
        floor=_FLOOR,
        most_per_mpix=60000,
        regions_above=regions_above,
    )
    kept, logit = suppress(raw.xy, raw.logit)
    usable = known.frame.usable_at(*raw.xy[kept].T)  # the detector also drops the others
    kept, logit = kept[usable], logit[usable]
    xy, truth = raw.xy[kept], known.truth
    points = truth.select(~truth.is_streak)
    ignored = points["ignore"] if "ignore" in points else np.zeros(len(points), dtype=bool)
    counted = (points["snr"] >= FAINT_SNR) & ~ignored
    if "radius" in points:
        # Training ignores extended galaxies; here a bright one is a source.
        counted |= (points["radius"] > 0) & (points["snr"] >= _GALAXY_SNR)
    counted &= ~known.frame.masked_at(points["x"], points["y"])
    hit, counts = match_to_truth(xy, points.xy, counted)
    counts &= ~_in_galaxies(xy, points) | hit
    lines = match_streaks(raw.streaks, truth.select(truth.is_streak))
    seen = lines | ~known.frame.masked_at(raw.streaks[:, 0], raw.streaks[:, 1])
    return _MatchedFrame(
        known.kind,
        logit[counts],
        raw.context_features[kept][counts],
        hit[counts],
        raw.streaks[seen],
        lines[seen],
        *_deviations(known.frame, background, xy[hit], raw.context_features[kept][hit], points.xy),
    )


def _deviations(
    frame: Frame,
    background: Background,
    xy: Floats,
    context_features: npt.NDArray[np.float32],
    truth_xy: Floats,
) -> tuple[Floats, Floats]:
    """Return the deviations of `_MatchedFrame` of a frame's right points."""
    if len(xy) == 0:
        return np.zeros((0, 2)), np.zeros((0, 2))
    measured = forced_photometry(
        frame, Catalog.build(x=xy[:, 0], y=xy[:, 1]), background=background
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = measured["aper_flux"] / measured["aper_flux_err"]
        sigma, matched = width_and_snr(context_features)
        units = sigma / matched, window_sigma(frame) / snr
    better = refine_points(frame, background, xy, snr)
    moved = (better != xy).any(axis=1)
    off = better - truth_xy[KDTree(truth_xy).query(better)[1]]
    out = []
    for rows, unit in zip((~moved, moved), units, strict=True):
        rows = rows & np.isfinite(unit) & (unit > 0)
        out.append(np.column_stack([np.repeat(unit[rows], 2), off[rows].ravel()]))
    return out[0], out[1]


def fit_errors(deviations: Floats) -> PositionErrorModel | None:
    """Fit the model of position errors.

    Parameters
    ----------
    deviations : ndarray of float64, shape (m, 2)
        σ of the profile over S/N [px], and the deviation of x or y [px].

    Returns
    -------
    PositionErrorModel or None
        Least squares in the logarithm of the median deviation in groups of equal size; robust
        to a tenth of outliers. None for fewer than 400 deviations.
    """
    if len(deviations) < _FEW_DEVIATIONS:
        return None
    order = np.argsort(deviations[:, 0], kind="stable")
    groups = np.array_split(deviations[order], _GROUPS)
    unit = np.array([np.median(group[:, 0]) for group in groups])
    spread = np.array([np.median(np.abs(group[:, 1])) for group in groups]) / ndtri(0.75)

    def off(parameters: Floats) -> Floats:
        floor, gain = np.exp(parameters)
        return np.asarray(np.log(np.hypot(floor, gain * unit) / spread))

    best = least_squares(off, np.log([0.02, 1.0]), bounds=(np.log(1e-4), np.log(100))).x
    floor, gain = (round(float(v), 5) for v in np.exp(best))
    return PositionErrorModel(floor, gain)


def _stacked(
    matched: Sequence[_MatchedFrame],
) -> tuple[Floats, npt.NDArray[np.float32], Bools, Floats]:
    """Return logits, context features, outcomes and weights of all frames.

    The weights give every kind of frame the same total.
    """
    logits = np.concatenate([np.zeros(0), *(j.logit for j in matched)])
    context_features = np.concatenate(
        [
            np.zeros((0, len(CONTEXT_FEATURES)), dtype=np.float32),
            *(j.context_features for j in matched),
        ]
    )
    right = np.concatenate([np.zeros(0, dtype=bool), *(j.right for j in matched)])
    kinds = np.array([j.kind for j in matched for _ in j.logit])
    weights = np.ones(len(logits))
    for kind in np.unique(kinds):
        weights[kinds == kind] = len(logits) / np.count_nonzero(kinds == kind)
    return logits, context_features, right, weights


def _in_galaxies(xy: Floats, known: Catalog) -> Bools:
    """Return a mask of the detections within twice the half-light radius of an ignored galaxy."""
    inside = np.zeros(len(xy), dtype=bool)
    if "radius" not in known or "ignore" not in known:
        return inside
    for (x, y), reach in zip(
        known.xy[known["ignore"]], 2 * known["radius"][known["ignore"]], strict=True
    ):
        inside |= np.hypot(xy[:, 0] - x, xy[:, 1] - y) <= reach
    return inside


def match_streaks(found: Floats, truth: Catalog) -> Bools:
    """Match streaks to true streaks in order of score; return a mask of the right ones, (n,).

    A streak is right if it lies within 10° of a free true streak, its middle within 5 px
    of it, and has at least half its length (of the part on the frame, where only that is listed).
    """
    right = np.zeros(len(found), dtype=bool)
    free = np.ones(len(truth), dtype=bool)
    for row in np.argsort(-found[:, 4], kind="stable"):
        x, y, length, theta, _ = found[row]
        along = (x - truth["x"]) * np.cos(truth["theta"]) + (y - truth["y"]) * np.sin(
            truth["theta"]
        )
        across = (y - truth["y"]) * np.cos(truth["theta"]) - (x - truth["x"]) * np.sin(
            truth["theta"]
        )
        beyond = np.maximum(np.abs(along) - truth["length"] / 2, 0)
        turn = np.abs((truth["theta"] - theta + np.pi / 2) % np.pi - np.pi / 2)
        distance = np.hypot(beyond, across)
        fits = free & (distance <= _STREAK_PX) & (turn <= np.deg2rad(STREAK_ANGLE_DEG))
        fits &= length >= truth["length"] / 2
        if fits.any():
            free[int(np.argmin(np.where(fits, distance, np.inf)))] = False
            right[row] = True
    return right


def match_to_truth(
    xy: npt.NDArray[np.float64],
    truth_xy: npt.NDArray[np.float64],
    counted: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Match detections to truths; return masks of right and of counted detections, each (k,).

    In order, each detection takes the nearest free counted truth within 2 px and is right.
    A detection without one is wrong, or does not count if a truth that does not count lies
    within 2 px.

    Parameters
    ----------
    xy : ndarray of float64, shape (k, 2)
        Detections in order of falling score. A match then does not depend on detections
        of lower score.
    truth_xy : ndarray of float64, shape (n, 2)
        Positions of the truths [px].
    counted : ndarray of bool, shape (n,)
        Mask of the truths that count.
    """
    right, counts = np.zeros(len(xy), dtype=bool), np.ones(len(xy), dtype=bool)
    if len(xy) == 0 or len(truth_xy) == 0:
        return right, counts
    taken = np.zeros(len(truth_xy), dtype=bool)
    reached = cast("list[list[int]]", KDTree(truth_xy).query_ball_point(xy, PAIRING_RADIUS_PX))
    for row, near in enumerate(reached):
        free = [i for i in near if counted[i] and not taken[i]]
        if free:
            distance = np.hypot(*(truth_xy[free] - xy[row]).T)
            taken[free[int(np.argmin(distance))]] = True
            right[row] = True
        else:
            counts[row] = all(counted[i] for i in near)
    return right, counts


def fit_points(logits: Floats, right: Bools, weights: Floats | None = None) -> Calibration:
    """Fit slope and offset that turn logits into the log odds of being right.

    Parameters
    ----------
    logits : ndarray of float64, shape (k,)
        Logits after soft-NMS.
    right : ndarray of bool, shape (k,)
        True for right detections.
    weights : ndarray of float64, shape (k,), optional
        Weight of each detection; default equal weights.

    Raises
    ------
    BadInputError
        If all detections are right or all are wrong, or if the fitted slope is not positive.

    Notes
    -----
    Logistic regression with a negligible penalty (Platt 1999).
    """
    got = f"{int(right.sum())} right of {right.size}"
    if right.all() or not right.any():
        raise BadInputError("calibration", "proposals right and wrong", got)
    fit = LogisticRegression(C=1e6).fit(logits[:, None], right, sample_weight=weights)
    slope = float(fit.coef_[0, 0])
    if not slope > 0:
        raise BadInputError(
            "calibration", "scores that rise with the truth", f"{got}, slope {slope:.3g}"
        )
    return Calibration(slope=slope, offset=float(fit.intercept_[0]))


def fit_streaks(mean_probability: Floats, length_px: Floats, right: Bools) -> tuple[float, ...]:
    """Fit `Calibration.streak`; empty if too few streaks are right or wrong."""
    if min(right.sum(), (~right).sum()) < _FEW_STREAKS:
        return ()
    features = streak_features(mean_probability, length_px)
    fit = LogisticRegression(C=10.0).fit(features, right)
    return (*(float(v) for v in fit.coef_[0]), float(fit.intercept_[0]))
