"""Training is reproducible, can be resumed to the bit, and has clear errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from skyduel.core import BadInputError
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.fused import FusedNetwork, fuse
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.weights import Calibration, load_weights, save_weights
from skyduel.detect.training import train as training
from skyduel.detect.training.crops import SimulatedCrops, collate
from skyduel.detect.training.loop import Progress
from skyduel.detect.training.train import TrainingSettings, compute_losses, learning_rate, train

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)
SHORT = TrainingSettings(
    steps=4, batch=2, crop_px=64, workers=0, bf16=False, network=TINY, validation_crops=2,
    validate_every=3, checkpoint_every=2, warmup=2, proposals=12, proposal_floor=0.005,
)  # fmt: skip


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(SHORT, folder)
    return folder


def test_a_training_leaves_checkpoint_log_and_settings(finished: Path) -> None:
    assert sorted(p.name for p in finished.iterdir()) == [
        "best.safetensors", "checkpoint.safetensors", "log.jsonl", "training.json",
    ]  # fmt: skip
    rows = log(finished)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [("validation" in row) for row in rows] == [False, False, True, True]
    for row in rows:
        assert {"norm", "seconds", "point", "streak", "offset", "ridge", "kind"} <= set(row)
        assert all(np.isfinite(v) for v in row.values())
    assert TrainingSettings.model_validate_json((finished / "training.json").read_text()) == SHORT


def test_training_moves_the_weights_and_their_average(finished: Path) -> None:
    tensors = load_file(finished / "checkpoint.safetensors")
    torch.manual_seed(SHORT.seed)
    fresh = Network(TINY).state_dict()
    for key, value in fresh.items():
        assert tensors[f"network.{key}"].shape == value.shape
    for part in ("network", "average"):
        moved = [k for k, v in fresh.items() if not torch.equal(tensors[f"{part}.{k}"], v)]
        assert len(moved) > 0.8 * len(fresh)


def test_the_same_seed_gives_the_same_training(finished: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(SHORT.model_copy(update={"steps": 2}), tmp_path / "a", seen.append)
    assert [p.step for p in seen] == [1, 2]
    # Steps up to the shorter cooldown are those of the longer training.
    first = without_time(log(finished))[0]
    assert without_time(log(tmp_path / "a"))[0] == first
    train(SHORT.model_copy(update={"steps": 1, "seed": 2}), tmp_path / "b")
    assert log(tmp_path / "b")[0]["point"] != first["point"]


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_training_goes_on_as_if_nothing_happened(
    finished: Path, tmp_path: Path, at: int
) -> None:
    def kill(progress: Progress) -> None:
        if progress.step == at:
            raise Killed

    with pytest.raises(Killed):
        train(SHORT, tmp_path, kill)
    # The step after the checkpoint is in the log already, and another was being written.
    assert len(log(tmp_path)) == at
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "norm": 0.3, "sec')
    steps: list[int] = []
    train(SHORT, tmp_path, lambda p: steps.append(p.step))
    assert steps == ([1, 2, 3, 4] if at == 1 else [3, 4])
    assert without_time(log(tmp_path)) == without_time(log(finished))
    want = load_file(finished / "checkpoint.safetensors")
    got = load_file(tmp_path / "checkpoint.safetensors")
    assert set(got) == set(want)
    for key, value in want.items():
        assert torch.equal(got[key], value), key


def test_a_finished_training_has_nothing_left_to_do(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    steps: list[int] = []
    checkpoint = train(SHORT, tmp_path, lambda p: steps.append(p.step))
    assert not steps
    assert checkpoint == tmp_path / "checkpoint.safetensors"
    assert log(tmp_path) == log(finished)


def test_a_training_may_be_made_longer_but_not_become_another(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    other = SHORT.model_copy(update={"seed": 9, "clip": 0.5})
    says = r"the training it continues, clip=1.0, seed=1; got clip=0.5, seed=9"
    with pytest.raises(BadInputError, match=says):
        train(other, tmp_path)
    assert log(tmp_path) == log(finished), "a refusal must leave the folder as it was"
    steps: list[int] = []
    longer = SHORT.model_copy(update={"steps": 5, "checkpoint_every": 1})
    train(longer, tmp_path, lambda p: steps.append(p.step))
    assert steps == [5]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "a checkpoint of this program"),
        ("cut", "a checkpoint of this program"),
        ("foreign", "a checkpoint of this program; got 'settings'"),
        ("lacking", "a checkpoint of this network"),
        ("strange", "a checkpoint of this network"),
    ],
)
def test_a_broken_checkpoint_is_refused_in_one_line(
    finished: Path, tmp_path: Path, kind: str, says: str
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole = finished / "checkpoint.safetensors"
    metadata = {"step": "2", "settings": SHORT.model_dump_json()}
    tensors = load_file(whole)
    if kind == "text":
        path.write_text("not tensors")
    elif kind == "cut":
        path.write_bytes(whole.read_bytes()[:4000])
    elif kind == "foreign":
        save_file({"a": torch.zeros(2)}, path)
    elif kind == "lacking":
        save_file(
            {k: v for k, v in tensors.items() if k != "average.backbone.stem.gain"}, path, metadata
        )
    else:
        save_file(tensors | {"elsewhere.x": torch.zeros(1)}, path, metadata)
    with pytest.raises(BadInputError, match=says) as caught:
        train(SHORT, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="device: required a CUDA device"):
        train(SHORT.model_copy(update={"device": "cuda"}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    s = TrainingSettings(steps=1000, warmup=100, cooldown=0.3, learning_rate=2e-3)
    rates = np.array([learning_rate(step, s) for step in range(1001)])
    assert rates[0] == pytest.approx(2e-5)
    assert (np.diff(rates[:100]) > 0).all()
    np.testing.assert_allclose(rates[99:701], 2e-3)
    assert (np.diff(rates[700:]) < 0).all()
    assert rates[850] == pytest.approx(1e-3)
    assert rates[1000] == 0


def test_crops_are_the_same_every_time_and_streams_never_meet() -> None:
    crops = SimulatedCrops(1, 0, 64, 5)
    item = crops[3]
    assert len(crops) == 5
    assert item["image"].shape == (4, 64, 64)
    assert item["maps"].shape == (10, 32, 32)
    assert item["points"].shape[1] == 4
    assert torch.equal(item["image"], SimulatedCrops(1, 0, 64, 99)[3]["image"])
    for other in (crops[2], SimulatedCrops(1, 1, 64, 5)[3], SimulatedCrops(2, 0, 64, 5)[3]):
        assert not torch.equal(item["image"], other["image"])


def batch(n: int = 2) -> dict[str, Any]:
    crops = SimulatedCrops(1, 0, 64, n)
    return collate([crops[i] for i in range(n)])


@pytest.mark.parametrize("bf16", [False, True])
def test_every_loss_is_finite_and_reaches_every_parameter(bf16: bool) -> None:
    torch.manual_seed(0)
    network = Network(TINY)
    s = SHORT.model_copy(update={"bf16": bf16})
    losses = compute_losses(network, batch(), s, torch.Generator().manual_seed(1))
    assert set(losses) == set(training.LOSS_WEIGHTS)
    assert all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert not without


def test_no_proposals_are_no_reason_to_stop() -> None:
    torch.manual_seed(0)
    s = SHORT.model_copy(update={"proposal_floor": 0.9})
    losses = compute_losses(Network(TINY), batch(), s, torch.Generator())
    assert set(losses) == {"point", "streak", "offset", "ridge"}


def test_regions_take_the_label_of_the_cell_they_lie_in(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proposal at pixel 8.9 lies in the cell of pixels 8 and 9, not in the next.
    places = np.float32([[8.9, 20.0], [9.6, 20.0], [7.4, 20.0], [7.6, 20.0]])
    monkeypatch.setattr(training, "propose", lambda *_: (places, np.zeros(4)))
    seen = []

    def keep(xy: torch.Tensor, points: torch.Tensor, streak: torch.Tensor) -> Any:
        seen.append(streak.tolist())
        return torch.zeros(4, dtype=torch.long), torch.zeros(4, 2), torch.ones(4)

    monkeypatch.setattr(training, "roi_targets", keep)
    one = batch(1)
    one["maps"][:, 3] = 0.0
    one["maps"][0, 3, 10, 4] = 1.0
    compute_losses(Network(TINY), one, SHORT, torch.Generator())
    assert seen == [[True, False, False, True]]


def test_regions_on_masked_pixels_have_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.float32([[8.4, 20.0], [8.6, 20.0], [9.4, 20.4], [9.4, 20.6], [8.0, 19.0]])
    monkeypatch.setattr(training, "propose", lambda *_: (places, np.zeros(5)))
    seen = []

    def keep(*arguments: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(arguments[-1].tolist())
        return {}

    monkeypatch.setattr(training, "roi_losses", keep)
    one = batch(1)
    one["points"] = [torch.zeros(0, 4)]
    one["image"][0, 3] = 0.0
    one["image"][0, 3, 20, 9] = 1.0
    one["image"][0, 3, 19, 8] = 0.5  # saturated, not masked
    compute_losses(Network(TINY), one, SHORT, torch.Generator())
    assert seen == [[1.0, 0.0, 0.0, 1.0, 1.0]]


def test_a_teacher_s_output_is_learned_beside_the_truth(tmp_path: Path) -> None:
    torch.manual_seed(8)
    larger = TINY.model_copy(update={"head": 24, "pyramid": 16})
    path = tmp_path / "teacher.safetensors"
    save_weights(path, Network(larger).state_dict(), larger, Calibration(), {})
    teacher = fuse(load_weights(path).network, torch.float32)
    torch.manual_seed(9)
    network = Network(TINY)
    crops = SimulatedCrops(1, 0, 64, 2)
    batch = collate([crops[0], crops[1]])

    def losses(share: float, by: FusedNetwork | None = teacher) -> dict[str, torch.Tensor]:
        s = SHORT.model_copy(update={"imitation": share})
        found = compute_losses(network, batch, s, torch.Generator().manual_seed(1), by)
        return {k: v.detach() for k, v in found.items()}

    truth, both, alone = losses(0.0, None), losses(0.25), losses(1.0)
    for name, value in truth.items():
        assert float(losses(0.0)[name]) == pytest.approx(float(value), rel=1e-6)
        mean = 0.75 * float(value) + 0.25 * float(alone[name])
        assert float(both[name]) == pytest.approx(mean, rel=1e-5)
    folder = tmp_path / "out"
    train(SHORT, folder, teacher=path)
    settings = json.loads((folder / "training.json").read_text())
    assert settings["teacher_sha256"] == load_weights(path).sha256
    with pytest.raises(BadInputError, match="teacher_sha256=None"):
        train(SHORT.model_copy(update={"steps": 5}), folder)


def test_batches_are_used_as_often_as_asked(tmp_path: Path) -> None:
    assert list(training.reused(iter(range(3)), 1, 0)) == [0, 1, 2]
    many = list(training.reused(iter(range(200)), 3, 5))
    assert many[::3] == list(range(200)), "every batch is used when it is made"
    for place, number in enumerate(many):
        assert place // 3 - 64 < number <= place // 3, "again while it is among the last 64"
    again = [n for place, n in enumerate(many) if place % 3]
    assert len(set(again)) > 120
    assert many == list(training.reused(iter(range(200)), 3, 5))
    seen: list[int] = []
    train(SHORT.model_copy(update={"uses": 3, "steps": 5}), tmp_path, lambda p: seen.append(p.step))
    assert seen == [1, 2, 3, 4, 5]


def test_a_training_that_uses_batches_again_is_resumed_to_its_last_step(tmp_path: Path) -> None:
    settings = SHORT.model_copy(update={"uses": 2, "checkpoint_every": 1})

    def kill(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(settings, tmp_path, kill)
    train(settings, tmp_path)
    assert [row["step"] for row in log(tmp_path)] == [1, 2, 3, 4]
