"""Tests of fine-tuning: crops match their labels, and worse weights are not kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from skyduel.core import BadInputError, Catalog, Frame
from skyduel.detect.finetune import (
    FinetuneSettings,
    LabelledFrame,
    finetune,
    labelled,
    self_labelled,
)
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.weights import Calibration, load_weights, save_weights
from skyduel.detect.training.adapt import FrameCrops, crop_side
from skyduel.detect.training.crops import item
from skyduel.detect.training.labelled_frames import _cut, _turned, hold_out
from skyduel.simulation import SceneSettings, make_psf, simulate

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)
QUICK = FinetuneSettings(
    steps=6, batch=3, crop_px=64, validation_crops=4, validate_every=3, bf16=False,
    learning_rate=3e-3, warmup=1, averaging=0.0,
)  # fmt: skip


def scene(seed: int, ny: int = 150, nx: int = 170) -> tuple[Frame, Catalog]:
    s = SceneSettings(ny=ny, nx=nx, density=2e-3, streaks=1.0, min_snr=5)
    return simulate(s, np.random.default_rng(seed), f"frame {seed}")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    network = Network(TINY)
    with torch.no_grad():  # so that there are proposals, and every loss, from the beginning
        network.dense.bias[0] = -2.0
    save_weights(path, network.state_dict(), TINY, Calibration(0.9, 0.1), {"steps": 3})
    return path


@pytest.mark.parametrize("way", range(8))
def test_turned_frames_keep_their_sources_under_their_labels(way: int) -> None:
    data = np.zeros((40, 40), dtype=np.float32)
    x, y, theta = 9.0, 25.0, 0.3
    data[25, 9] = 7.0
    t = np.linspace(-8, 8, 33)
    data[
        np.rint(12 + t * np.sin(theta)).astype(int), np.rint(26 + t * np.cos(theta)).astype(int)
    ] = 3.0
    truth = Catalog.build(
        x=[x, 26.0], y=[y, 12.0], kind=["point", "streak"], length=[0, 16.0], theta=[0, theta]
    )
    mask = data == 7.0
    frame, moved = _turned(Frame(data=data, mask=mask, name="square"), truth, way)
    assert frame.data[int(moved["y"][0]), int(moved["x"][0])] == 7.0
    assert frame.bad[int(moved["y"][0]), int(moved["x"][0])]
    for step in (-7.0, 0.0, 7.0):
        col = moved["x"][1] + step * np.cos(moved["theta"][1])
        row = moved["y"][1] + step * np.sin(moved["theta"][1])
        around = frame.data[
            int(row + 0.5) - 1 : int(row + 0.5) + 2, int(col + 0.5) - 1 : int(col + 0.5) + 2
        ]
        assert (around == 3.0).any()
    assert -np.pi / 2 <= moved["theta"][1] < np.pi / 2


def test_a_cut_keeps_what_reaches_into_it() -> None:
    frame, _ = scene(1)
    truth = Catalog.build(
        x=[30.0, 140.0, 130.0],
        y=[40.0, 40.0, 60.0],
        kind=["point", "point", "streak"],
        length=[0, 0, 120.0],
        theta=[0, 0, 0.1],
    )
    part, moved = _cut(frame, truth, 20, 30, 64)
    np.testing.assert_array_equal(part.data, frame.data[30:94, 20:84])
    assert moved.xy.tolist() == [[10.0, 10.0], [110.0, 30.0]]


def test_crops_repeat_and_injected_sources_are_labelled() -> None:
    frame, truth = scene(2)
    psf = make_psf(2.5)
    empty = truth.select(np.zeros(len(truth), dtype=bool)).with_columns(ignore=np.zeros(0, bool))
    convert = lambda f, t, _: item(f, t)  # noqa: E731
    crops = FrameCrops([LabelledFrame(frame, empty, psf)], 64, 1, 0, 30, convert)
    again = FrameCrops([LabelledFrame(frame, empty, psf)], 64, 1, 0, 30, convert)
    assert torch.equal(crops[3]["image"], again[3]["image"])
    points = [crops[i]["points"] for i in range(30)]
    assert sum(len(p) for p in points) > 20
    plain = FrameCrops([LabelledFrame(frame, truth)], 64, 1, 0, 30, convert)
    assert all(i["maps"].shape == (10, 32, 32) for i in (crops[0], plain[0]))
    assert sum(len(plain[i]["points"]) for i in range(30)) > 20


def test_frames_or_rows_are_held_out() -> None:
    frames = [LabelledFrame(*scene(i)) for i in range(5)]
    own, held = hold_out(frames, 64)
    assert (len(own), len(held)) == (4, 1)
    assert held[0].frame.name == "frame 4"
    assert [len(part) for part in hold_out(frames[:2], 64)] == [1, 1]
    (first,), (last,) = hold_out(frames[:1], 64)
    assert first.frame.shape[0] + last.frame.shape[0] == 150
    assert min(first.frame.shape[0], last.frame.shape[0]) >= 64
    whole = frames[0].truth
    points = ~whole.is_streak
    assert (~first.truth.is_streak).sum() + (~last.truth.is_streak).sum() == points.sum()
    row = np.flatnonzero(whole["y"] > first.frame.shape[0])[0]
    assert np.any(np.isclose(last.truth["y"], whole["y"][row] - first.frame.shape[0]))
    with pytest.raises(BadInputError, match="one of 128 rows; got one of 120 rows"):
        hold_out([LabelledFrame(*scene(1, ny=120))], 64)
    with pytest.raises(BadInputError, match="at least one frame"):
        hold_out([], 64)


@pytest.mark.parametrize(
    ("shapes", "side"),
    [
        ([(300, 300)], 144),  # half of its rows, in steps of 16 px
        ([(300, 300), (300, 300)], 256),
        ([(600, 300)], 256),
        ([(600, 100)], 96),
        ([(128, 200)], 64),
    ],
)
def test_crops_fit_into_the_frames_and_half_of_a_single_one(
    shapes: list[tuple[int, int]], side: int
) -> None:
    frames = [LabelledFrame(*scene(i, ny, nx)) for i, (ny, nx) in enumerate(shapes)]
    assert crop_side(frames, FinetuneSettings()) == side
    own, held = hold_out(frames, side)
    assert min(f.frame.shape[0] for f in (*own, *held)) >= side


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(120, 200)], "several frames, or one of 128 rows; got one of 120 rows"),
        ([(200, 60)], "frames of at least 64 px; got one of 60 px"),
        ([(200, 200), (63, 200)], "frames of at least 64 px; got one of 63 px"),
    ],
)
def test_frames_that_are_too_small_for_crops(shapes: list[tuple[int, int]], message: str) -> None:
    frames = [LabelledFrame(*scene(i, ny, nx)) for i, (ny, nx) in enumerate(shapes)]
    with pytest.raises(BadInputError, match=message):
        crop_side(frames, FinetuneSettings())


def test_weights_move_and_are_never_worse_on_held_out_frames(start: Path, tmp_path: Path) -> None:
    frames = [LabelledFrame(*scene(i)) for i in range(3)]
    target = tmp_path / "own.safetensors"
    seen: list[int] = []
    # An untrained network cannot be calibrated: a psf keeps its calibration as it was.
    injected = [f._replace(psf=make_psf(2.5)) for f in frames]
    # In six steps on these frames it gains nothing yet.
    chosen = QUICK.model_copy(update={"steps": 12})
    result = finetune(start, injected, target, chosen, lambda step, _: seen.append(step))
    assert seen == list(range(1, result.steps + 1))
    assert result.after <= result.before
    assert result.best_step in (0, 3, 6, 9, 12)
    loaded = load_weights(target)
    assert loaded.calibration == Calibration(0.9, 0.1)
    assert loaded.facts["steps"] == 3
    assert loaded.facts["finetuned"]["best_step"] == result.best_step
    assert loaded.facts["finetuned"]["frames"] == ["frame 0", "frame 1", "frame 2"]
    old, new = load_file(start), load_file(target)
    moved = {k for k in old if not torch.equal(old[k], new[k])}
    assert bool(moved) == bool(result.best_step)
    assert result.best_step, "a network that knows nothing gains from anything"
    again = finetune(start, injected, tmp_path / "again.safetensors", chosen)
    assert again == result


def test_a_frozen_backbone_stays_as_it_was(start: Path, tmp_path: Path) -> None:
    frames = [LabelledFrame(*scene(i), make_psf(2.5)) for i in range(2)]
    target = tmp_path / "own.safetensors"
    result = finetune(start, frames, target, QUICK.model_copy(update={"backbone": 0.0}))
    assert result.best_step
    old, new = load_file(start), load_file(target)
    moved = {k for k in old if not torch.equal(old[k], new[k])}
    assert moved
    assert not {k for k in moved if k.startswith("backbone.")}


def test_it_stops_when_nothing_gets_better(start: Path, tmp_path: Path) -> None:
    frames = [LabelledFrame(*scene(i), make_psf(2.5)) for i in range(2)]
    wild = QUICK.model_copy(
        update={"steps": 40, "validate_every": 1, "patience": 2, "learning_rate": 1e-12}
    )
    result = finetune(start, frames, tmp_path / "own.safetensors", wild)
    assert result.steps < 40


def test_labels_without_s_n_get_one_from_the_frame() -> None:
    frame, truth = scene(3)
    bare = Catalog.build(x=[*truth["x"], 75.0], y=[*truth["y"], 75.0])
    got = labelled(frame, bare).truth["snr"]
    assert np.isfinite(got).all()
    bright = np.argsort(truth["snr"])[-5:]
    assert (got[bright] > 5).all()
    assert labelled(frame, truth).truth is truth


def test_an_unlabelled_frame_takes_its_profile_and_the_sure_sources() -> None:
    frame, truth = scene(4, 300, 300)
    found = truth.with_columns(score=np.where(truth["snr"] > 8, 0.95, 0.4))
    found = found.with_columns(score=np.where(truth["snr"] < 6, 0.05, found["score"]))
    made = self_labelled(frame, found)
    assert made.psf is not None
    assert made.psf.fwhm == pytest.approx(frame.fwhm, rel=0.15)
    assert len(made.truth) == (found["score"] >= 0.1).sum()
    np.testing.assert_array_equal(made.truth["ignore"], made.truth["score"] < 0.8)
    assert 0 < made.truth["ignore"].sum() < len(made.truth)
    with pytest.raises(BadInputError, match="stars to measure the PSF"):
        self_labelled(frame, found.select(np.arange(1)))


def test_small_frames_and_foreign_weights_are_refused(start: Path, tmp_path: Path) -> None:
    tiny = LabelledFrame(*scene(1, ny=50))
    with pytest.raises(BadInputError, match="frames of at least 64 px; got one of 50 px"):
        finetune(start, [tiny], tmp_path / "x", QUICK)
    with pytest.raises(BadInputError, match="a weights file"):
        finetune(tmp_path / "none", [LabelledFrame(*scene(1))], tmp_path / "x", QUICK)
    assert not (tmp_path / "x").exists()


def test_other_types_are_refused_in_one_line(start: Path, tmp_path: Path) -> None:
    frame, truth = scene(1)
    with pytest.raises(BadInputError, match="finetune: start: required a Path; got str 'w'"):
        finetune("w", [LabelledFrame(frame, truth)], tmp_path / "x")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match=r"frames\[0\]: required a LabelledFrame; got Frame"):
        finetune(start, [frame], tmp_path / "x", QUICK)  # type: ignore[list-item]
    with pytest.raises(BadInputError, match=r"finetune: settings: required a Finetune.*; got dict"):
        finetune(start, [LabelledFrame(frame, truth)], tmp_path / "x", {"steps": 3})  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match=r"labelled: truth: required a Catalog .*; got Frame"):
        labelled(frame, frame)  # type: ignore[arg-type]
