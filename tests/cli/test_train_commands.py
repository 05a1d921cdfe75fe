"""`skyduel train` and `skyduel finetune` pass their options on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import skyduel.detect.calibration.calibrated_weights
import skyduel.detect.finetune
import skyduel.detect.training.train
from skyduel.cli.main import app
from skyduel.core import BadInputError, write_catalog, write_frame
from skyduel.core.errors import UnwritableError
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.network import SIZES, Network, NetworkSettings
from skyduel.detect.model.weights import SHIPPED, Calibration, load_weights, save_weights
from skyduel.detect.published.detector import shipped_weights
from skyduel.detect.published.form import FormName
from skyduel.detect.training import tensorboard_log
from skyduel.detect.training.loop import Progress
from skyduel.simulation import SceneSettings, simulate

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand in for the training and the calibration, noting what they are asked."""
    seen: list[tuple[Any, ...]] = []

    def train(
        settings: Any, folder: Path, on_step: Any, *rest: Any, teacher: Path | None = None
    ) -> Path:
        seen.append((settings, folder, *rest))
        if on_step is not None:
            on_step(Progress(1, 2, {"point": 1.0, "kind": 0.5}, 0.1))
            on_step(Progress(2, 2, {"point": 0.9, "kind": 0.4}, 0.1, 1.25))
        return folder

    monkeypatch.setattr(skyduel.detect.training.train, "train", train)
    monkeypatch.setattr(
        skyduel.detect.calibration.calibrated_weights,
        "export_weights",
        lambda *a, regions_above: seen.append((*a, regions_above)),
    )
    monkeypatch.setattr(tensorboard_log, "available", lambda: False)
    return seen


def test_train_hands_on_settings_start_and_where_weights_go(
    calls: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    result = invoke(
        "train", "--out", str(tmp_path), "--steps", "2", "--from", "some.safetensors",
        "--learning-rate", "0.0008", "--warmup", "7", "--cooldown", "0.4", "--seed", "5",
        "--device", "cpu", "--workers", "0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings, folder, start, tensorboard, teacher), finish = calls
    assert (settings.steps, settings.learning_rate, settings.seed) == (2, 0.0008, 5)
    assert (settings.warmup, settings.cooldown, settings.device) == (7, 0.4, "cpu")
    assert (folder, start, tensorboard) == (tmp_path, Path("some.safetensors"), False)
    assert (settings.network, settings.uses, teacher) == (NetworkSettings(), 1, None)
    assert finish == (tmp_path / "best.safetensors", tmp_path / "weights.safetensors", None)
    assert result.stdout.strip() == str(tmp_path / "weights.safetensors")


def test_a_small_network_is_trained_by_a_teacher(
    calls: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    result = invoke(
        "train", "--out", str(tmp_path), "--size", "small", "--from", "full", "--teacher", "full",
        "--uses", "2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings, _, start, _, teacher), finish = calls
    assert settings.network == SIZES["small"]
    assert (settings.uses, start, teacher) == (2, SHIPPED, SHIPPED)
    assert finish[-1] == -2.5, "what the proposals decide is not looked at again"


def test_tensorboard_that_is_not_there_is_an_error_only_if_asked_for(
    calls: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    assert invoke("train", "--out", str(tmp_path), "--no-tensorboard").exit_code == 0
    result = invoke("train", "--out", str(tmp_path), "--tensorboard")
    assert "pip install 'skyduel[train]'" in str(result.exception)
    assert len(calls) == 2


def test_only_the_first_process_calibrates_and_talks(
    calls: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    result = invoke("train", "--out", str(tmp_path), "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(calls) == 1


def test_train_of_the_published_network_hands_on_form_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import skyduel.detect.published.train as published

    seen: list[Any] = []

    def train(settings: Any, folder: Path, on_step: Any, tensorboard: bool) -> Path:
        seen.append((settings, folder, tensorboard))
        on_step(Progress(1, 3, {"presence": 0.5, "kind": 0.25}, 0.1, 1.5))
        return folder / "best.safetensors"

    monkeypatch.setattr(published, "train_published", train)
    monkeypatch.setattr(published, "export_weights", lambda *a: seen.append(a))
    result = invoke(
        "train", "--network", "jia2020", "--form", "faithful", "--out", str(tmp_path),
        "--steps", "3", "--seed", "5", "--learning-rate", "0.0003", "--workers", "0",
        "--no-tensorboard",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings, folder, tensorboard), finish = seen
    assert not tensorboard
    assert settings.faults == published.FAITHFUL
    assert (settings.steps, settings.seed, settings.learning_rate) == (3, 5, 0.0003)
    assert folder == tmp_path
    assert finish == (tmp_path / "best.safetensors", tmp_path / "weights.safetensors")
    assert result.stdout.strip() == str(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--network", "vgg"), "--network: required skyduel or jia2020; got 'vgg'"),
        (("--network", "jia2020", "--form", "new"), "--form: required faithful or mended"),
        (("--form", "mended"), "--form: required --network jia2020; got --network skyduel"),
        (("--network", "jia2020", "--cooldown", "0.5"), "required no --cooldown"),
        (("--network", "jia2020", "--size", "small"), "required no --size"),
        (("--network", "jia2020", "--teacher", "full"), "required no --teacher"),
        (("--size", "tiny"), "--size: required full or small; got 'tiny'"),
    ],
)
def test_train_refuses_options_of_the_other_network(words: tuple[str, ...], message: str) -> None:
    result = invoke("train", *words)
    assert isinstance(result.exception, BadInputError)
    assert message in str(result.exception)


def dataset(folder: Path, count: int) -> Path:
    for i in range(count):
        settings = SceneSettings(ny=96, nx=96, density=2e-3, max_snr=300)
        frame, truth = simulate(settings, np.random.default_rng(i), f"night{i}")
        write_frame(frame, folder / f"night{i}.fits")
        write_catalog(truth, folder / f"night{i}.ecsv")
    return folder


@pytest.fixture
def begin(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "begin.safetensors"
    save_weights(path, Network(TINY).state_dict(), TINY, Calibration(), {"steps": 1})
    return path


def test_finetune_reads_frames_with_their_labels(
    begin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        skyduel.detect.finetune, "fit_calibration", lambda *_: Calibration(1.5, 0.2)
    )
    folder = tmp_path / "night"
    folder.mkdir()
    target = tmp_path / "own.safetensors"
    result = invoke(
        "finetune", str(dataset(folder, 2)), "--from", str(begin), "--out", str(target),
        "--steps", "2", "--batch", "2", "--backbone", "0", "--replay", "0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(target)
    facts = load_weights(target).facts["finetuned"]
    assert facts["frames"] == ["night0", "night1"]
    assert facts["injected"] is False
    assert facts["settings"]["backbone"] == 0


def test_finetune_without_labels_must_be_told(begin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    dataset(folder, 1)
    (folder / "night0.ecsv").unlink()
    result = invoke("finetune", str(folder), "--from", str(begin))
    assert "night0: required a truth table, or --unlabelled" in str(result.exception)


def test_finetune_begins_with_shipped_weights_by_their_name(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    (dataset(folder, 1) / "night0.ecsv").unlink()
    found = invoke("finetune", str(folder), "--from", "small")
    assert "a truth table, or --unlabelled" in str(found.exception), "the weights were found"
    missing = invoke("finetune", str(folder), "--from", "tiny")
    assert "tiny" in str(missing.exception)


def test_finetune_of_the_published_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    import skyduel.detect.published.finetune as published
    from skyduel.detect.published.detector import shipped_weights
    from skyduel.detect.published.weights import read_weights

    # No option of the command, and most of its time: the network is large.
    monkeypatch.setitem(published._DEFAULTS, "validation_crops", 3)
    folder, target = tmp_path / "night", tmp_path / "jia.safetensors"
    folder.mkdir()
    words = ["finetune", str(dataset(folder, 2)), "--network", "jia2020", "--out", str(target)]
    result = invoke(*words, "--steps", "1", "--batch", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(target)
    facts = read_weights(target).facts["finetuned"]
    assert facts["from_sha256"] == read_weights(shipped_weights("mended")).sha256
    assert (facts["settings"]["steps"], facts["settings"]["batch"]) == (1, 1)
    assert facts["settings"]["learning_rate"] == 2e-4
    (folder / "night0.ecsv").unlink()
    assert "night0: required a truth table; got" in str(invoke(*words).exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--network", "vgg"), "--network: required skyduel or jia2020; got 'vgg'"),
        (
            ("--network", "jia2020", "--unlabelled"),
            "--unlabelled: required --network skyduel; got --network jia2020",
        ),
        (
            ("--network", "jia2020", "--from", "small"),
            "--from: required weights of jia2020: a file, mended or faithful; got small, of skyd",
        ),
    ],
)
def test_options_of_finetune_that_do_not_fit(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert message in str(invoke("finetune", str(tmp_path), *words).exception)


@pytest.mark.parametrize("form", ["mended", "faithful"])
def test_shipped_weights_of_the_published_network_have_names(form: FormName) -> None:
    from skyduel.cli.commands.finetune import _published

    assert _published(Path(form), {}).start == shipped_weights(form)


@pytest.mark.parametrize("network", [(), ("--network", "jia2020")])
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_a_value_that_only_the_settings_refuse_is_one_line(
    command: str, network: tuple[str, ...], tmp_path: Path
) -> None:
    words = (command, str(tmp_path)) if command == "finetune" else (command, "--out", str(tmp_path))
    found = invoke(*words, *network, "--learning-rate", "0").exception
    assert isinstance(found, BadInputError)
    assert str(found) == (
        f"{command}: learning_rate: required input should be greater than 0; got 0.0"
    )


@pytest.mark.parametrize("network", [(), ("--network", "jia2020")])
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_a_place_for_weights_is_tried_before_the_training(
    command: str, network: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    target = str(tmp_path / "file" / "w.safetensors")
    words = {
        "train": ("--out", str(tmp_path / "training"), "--weights", target),
        "finetune": (str(tmp_path), "--out", target),
    }
    found = invoke(command, *words[command], *network).exception
    assert isinstance(found, UnwritableError)
    assert str(found).startswith(f"{target}: required a place that can be written to; got ")
    assert not (tmp_path / "training").exists()
