"""Tests of the calibration of scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import expit

from skyduel.core import BadInputError, Catalog, Frame
from skyduel.core.measure.background import Background, estimate_background
from skyduel.detect.calibration import fit_calibration as calibration
from skyduel.detect.calibration.calibrated_weights import export_weights, recalibrate_weights
from skyduel.detect.calibration.fit_calibration import (
    calibration_frames,
    fit_calibration,
    fit_errors,
    fit_points,
    fit_streaks,
    match_streaks,
    match_to_truth,
)
from skyduel.detect.inference.context_features import measure_context_features
from skyduel.detect.inference.find_sources import RawSources
from skyduel.detect.inference.runtime import Runtime
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.inputs import frame_channels
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.score_model import CONTEXT_FEATURES
from skyduel.detect.model.weights import Calibration, load_weights
from skyduel.detect.training.train import TrainingSettings, train

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


def drawn(slope: float, offset: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2.5, n)
    return logits, rng.random(n) < expit(slope * logits + offset)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, -1.2), (2.2, 0.7)])
def test_the_fit_recovers_slope_and_offset_and_scores_become_frequencies(
    slope: float, offset: float
) -> None:
    logits, right = drawn(slope, offset, 30_000, 3)
    fit = fit_points(logits, right)
    assert fit.slope == pytest.approx(slope, rel=0.06)
    assert fit.offset == pytest.approx(offset, abs=0.08)
    logits, right = drawn(slope, offset, 30_000, 4)
    frequencies_agree(fit.score(logits), right)


def frequencies_agree(score: np.ndarray, right: np.ndarray) -> None:
    for low in np.arange(0, 1, 0.1):
        rows = (score >= low) & (score < low + 0.1)
        if not rows.any():
            continue
        error = np.sqrt(0.25 / rows.sum())
        assert abs(score[rows].mean() - right[rows].mean()) < 4 * error + 0.01


def test_weights_decide_what_is_fitted() -> None:
    (l1, r1), (l2, r2) = drawn(1.0, 0.0, 4000, 1), drawn(1.0, -3.0, 4000, 2)
    logits, right = np.append(l1, l2), np.append(r1, r2)
    first = np.repeat([1.0, 0.0], 4000) + 1e-9
    assert fit_points(logits, right, first).offset == pytest.approx(0, abs=0.25)
    assert fit_points(logits, right, first[::-1]).offset == pytest.approx(-3, abs=0.35)


@pytest.mark.parametrize(
    ("logits", "right", "says"),
    [
        ([0.0, 1.0, 2.0], [False] * 3, "proposals right and wrong; got 0 right of 3"),
        ([0.0, 1.0], [True] * 2, "proposals right and wrong; got 2 right of 2"),
        ([], [], "proposals right and wrong; got 0 right of 0"),
        ([0.0, 1.0, 2.0, 3.0], [True, True, False, False], "scores that rise with the truth"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(logits: list, right: list, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        fit_points(np.array(logits, dtype=float), np.array(right, dtype=bool))
    with pytest.raises(BadInputError, match="0 right of 0"):
        fit_calibration(Network(TINY), [])


def test_streak_scores_become_frequencies_and_few_streaks_change_nothing() -> None:
    rng = np.random.default_rng(6)
    p, length = rng.uniform(0.4, 0.99, 6000), rng.uniform(8, 200, 6000)
    true = expit(0.8 * np.log(p / (1 - p)) + 1.2 * np.log(length / 30))
    right = rng.random(6000) < true
    fit = fit_streaks(p[:3000], length[:3000], right[:3000])
    score = Calibration(streak=fit).streak_score(p[3000:], length[3000:])
    frequencies_agree(score, right[3000:])
    assert fit_streaks(p[:20], length[:20], np.ones(20, dtype=bool)) == ()
    np.testing.assert_array_equal(Calibration().streak_score(p, length), p)


def test_errors_of_positions_are_learned_though_some_are_wild() -> None:
    rng = np.random.default_rng(9)
    unit = rng.uniform(0.01, 0.6, 6000)
    off = rng.normal(0, np.hypot(0.05, 1.3 * unit))
    off[rng.random(6000) < 0.05] *= 8
    law = fit_errors(np.column_stack([unit, off]))
    assert law is not None
    assert law.gain == pytest.approx(1.3, rel=0.1)
    assert law.floor == pytest.approx(0.05, abs=0.012)
    np.testing.assert_allclose(
        law(2.0, [10.0, 4.0]), np.hypot(law.floor, law.gain * np.array([0.2, 0.5]))
    )
    assert np.isnan(law(2.0, [-1.0, 0.0])).all()
    assert fit_errors(np.zeros((399, 2))) is None


def test_deviations_are_those_from_the_nearest_truth_placed_and_windowed() -> None:
    rng = np.random.default_rng(10)
    truth = np.column_stack([rng.uniform(15, 85, 8), np.arange(15, 95, 10)]).astype(float)
    y, x = np.mgrid[:110, :100]
    data = 100 + rng.normal(0, 1, (110, 100))
    for (px, py), a in zip(truth, [3, 300] * 4, strict=True):
        data += a * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 1.3**2))
    frame = Frame(data=data.astype(np.float32), name="stars", fwhm=1.3 * 2.3548)
    sky = estimate_background(frame)
    found = truth + 0.2
    context_features = measure_context_features(frame, sky, found, np.zeros(8))
    placed, windowed = calibration._deviations(frame, sky, found, context_features, truth)
    assert len(placed) == 8
    np.testing.assert_allclose(placed[:, 1], 0.2)
    assert len(windowed) == 8
    assert np.abs(windowed[:, 1]).max() < 0.05, "bright ones are where their light is"
    assert windowed[:, 0].max() < placed[:, 0].min()


def test_a_streak_is_right_once_along_the_truth_and_half_as_long() -> None:
    truth = Catalog.build(
        x=[50.0, 150.0], y=[50.0, 50.0], kind=["streak"] * 2, length=[40.0, 30.0], theta=[0.1, 1.0]
    )
    found = np.array(
        [
            [52.0, 50.0, 38.0, 0.12, 0.7],
            [49.0, 50.0, 25.0, 0.10, 0.9],  # surer: takes it
            [150.0, 50.0, 14.0, 1.0, 0.8],  # less than half of it
            [150.0, 50.0, 30.0, 1.25, 0.8],  # 14° off
            [156.0, 46.0, 30.0, 1.0, 0.8],  # beside it
            [151.0, 52.0, 30.0, 1.0 - np.pi, 0.3],
        ]
    )
    assert match_streaks(found, truth).tolist() == [False, True, False, False, False, True]
    assert match_streaks(found, Catalog.empty()).tolist() == [False] * 6


def test_frames_to_calibrate_on_hold_every_family_and_repeat() -> None:
    frames = list(calibration_frames(3, per_kind=1))
    assert len(frames) == 15
    assert all("snr" in f.truth for f in frames)
    assert [f.kind for f in frames[:4]] == ["sparse", "mixture", "undersampled", "field"]
    one = next(calibration_frames(3, per_kind=1))
    np.testing.assert_array_equal(one.frame.data, frames[0].frame.data)
    np.testing.assert_array_equal(one.truth.xy, frames[0].truth.xy)
    assert not np.array_equal(next(calibration_frames(4)).frame.data, one.frame.data)


def peaks(frame: Frame, background: Background, runtime: Runtime, **_: object) -> RawSources:
    """Stands in for a trained network: peaks of the smoothed frame, surer the higher."""
    smooth = 4 * frame_channels(frame, background)[2]
    top = (smooth == ndimage.maximum_filter(smooth, 3)) & (smooth > 1)
    y, x = np.nonzero(top)
    logit = 1.5 * smooth[y, x] - 4
    order = np.argsort(-logit, kind="stable")
    xy, logit = np.column_stack([x, y])[order].astype(float), logit[order]
    return RawSources(
        xy, logit, np.zeros((0, 5)), np.zeros((len(xy), len(CONTEXT_FEATURES)), np.float32)
    )


def test_nothing_on_masked_pixels_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "find_sources", peaks)
    known = next(calibration_frames(3, per_kind=1))
    mask = np.zeros(known.frame.shape, dtype=bool)
    mask[:, :192] = True
    network = Network(TINY).eval().requires_grad_(False)
    network.fold()
    matched = []
    for frame in (known.frame, known.frame.with_(mask=mask)):
        matched.append(calibration._match_frame(network, known._replace(frame=frame)))
    whole, half = matched
    assert 0.3 * len(whole.logit) < len(half.logit) < 0.7 * len(whole.logit)
    assert half.right.sum() < 0.8 * whole.right.sum()
    # A truth under the mask is not counted, though a detection beside the mask is near it.
    truth = Catalog.build(x=[191.0], y=[100.0], snr=[50.0])
    found = RawSources(
        np.array([[192.2, 100.0], [100.0, 100.0]]), np.array([3.0, 2.0]), np.zeros((0, 5)),
        np.zeros((2, len(CONTEXT_FEATURES)), np.float32),
    )  # fmt: skip
    monkeypatch.setattr(calibration, "find_sources", lambda *_, **__: found)
    assert not len(
        calibration._match_frame(network, known._replace(frame=frame, truth=truth)).logit
    )
    bare = calibration._match_frame(network, known._replace(truth=truth))
    assert bare.right.tolist() == [True, False]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = TrainingSettings(
        steps=1, batch=1, crop_px=64, workers=0, bf16=False, network=TINY, validation_crops=1
    )
    return train(settings, tmp_path_factory.mktemp("young"))


def test_finishing_writes_weights_with_their_calibration(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "find_sources", peaks)
    monkeypatch.setattr(calibration, "_FRAME_PX", 128)
    target = tmp_path / "made.safetensors"
    fitted = export_weights(checkpoint, target, per_kind=1)
    loaded = load_weights(target)
    assert loaded.calibration == fitted
    assert fitted.slope > 0
    assert loaded.network.settings == TINY
    assert loaded.facts["steps"] == 1
    assert TrainingSettings.model_validate(loaded.facts["training"]).network == TINY
    # Calibrated again on the same frames: the same numbers. On others: other numbers.
    again, other = tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    assert recalibrate_weights(target, again, TrainingSettings().seed, per_kind=1) == fitted
    assert recalibrate_weights(target, other, 5, per_kind=1) != fitted
    assert load_weights(other).facts == {**loaded.facts, "calibration_seed": 5}


def test_proposals_near_faint_truths_count_neither_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_FRAME_PX", 128)
    monkeypatch.setattr(calibration, "find_sources", peaks)
    seen: list[np.ndarray] = []

    def keep(logits: np.ndarray, right: np.ndarray, _: object) -> Calibration:
        seen.extend([logits, right])
        return Calibration()

    monkeypatch.setattr(calibration, "fit_points", keep)
    known = next(calibration_frames(3, per_kind=1))
    _, frame, truth = known
    fit_calibration(Network(TINY).fold(), [known])
    logits, right = seen
    raw = peaks(frame, estimate_background(frame), Network(TINY).fold())
    assert 0 < right.sum() <= (truth["snr"] >= 2).sum()
    assert right.sum() < len(right) < len(raw.logit), "some are wrong, some are left out"
    assert logits[right].mean() > logits[~right].mean() + 1


def test_a_network_too_young_to_tell_is_not_shipped(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_FRAME_PX", 64)
    target = tmp_path / "young.safetensors"
    with pytest.raises(BadInputError, match="calibration: required proposals right and wrong"):
        export_weights(checkpoint, target, per_kind=1)
    assert not target.exists()


@pytest.mark.parametrize("kind", ["missing", "text", "weights", "other shape"])
def test_what_is_no_checkpoint_is_refused(checkpoint: Path, tmp_path: Path, kind: str) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "checkpoint.safetensors"
    if kind == "text":
        path.write_text("hello")
    elif kind == "weights":
        save_file({"average.x": torch.zeros(3)}, path)
    elif kind == "other shape":
        settings = TrainingSettings(network=TINY.model_copy(update={"head": 32}))
        metadata = {"step": "1", "settings": settings.model_dump_json()}
        save_file(load_file(checkpoint), path, metadata)
    with pytest.raises(BadInputError, match="required a checkpoint") as caught:
        export_weights(path, tmp_path / "made.safetensors")
    assert "\n" not in str(caught.value)


def test_detections_are_judged_surest_first_and_one_to_one() -> None:
    truth = np.array([[10.0, 10.0], [30.0, 10.0], [50.0, 10.0], [51.0, 10.0]])
    counted = np.array([True, True, False, True])
    xy = np.array([[11.5, 10], [10.1, 10], [31.9, 10], [33.0, 10], [49.0, 10], [52.5, 10]])
    right, counts = match_to_truth(xy, truth, counted)
    # The nearer second cannot make the surer first wrong.
    assert right.tolist() == [True, False, True, False, True, False]
    # The last one's counted truth is taken, and the faint one is too far to excuse it.
    assert counts.tolist() == [True] * 6
    again, excused = match_to_truth(xy[[4, 4]] + [-0.5, 0], truth, counted)
    assert again.tolist() == [False, False]
    assert excused.tolist() == [False, False]
    for prefix in range(len(xy)):
        np.testing.assert_array_equal(
            match_to_truth(xy[:prefix], truth, counted)[0], right[:prefix]
        )
    nothing, counts = match_to_truth(xy, np.zeros((0, 2)), np.zeros(0, bool))
    assert not nothing.any()
    assert counts.all()
