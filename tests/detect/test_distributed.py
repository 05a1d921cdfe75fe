"""Tests of training in several processes, of interruptions, and of TensorBoard logs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT
from safetensors.torch import load_file

from skyduel.core import BadInputError
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.network import NetworkSettings
from skyduel.detect.training import tensorboard_log as tensorboard_log
from skyduel.detect.training.distributed import is_rank0, process_group
from skyduel.detect.training.loop import BEST, CHECKPOINT
from skyduel.detect.training.train import TrainingSettings, train

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)
SHORT = TrainingSettings(
    steps=4, batch=2, crop_px=64, workers=0, bf16=False, network=TINY, validation_crops=2,
    validate_every=2, checkpoint_every=2, warmup=2, proposals=12, proposal_floor=0.005,
)  # fmt: skip


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def start(folder: Path, settings: TrainingSettings, **environment: str) -> subprocess.Popen[str]:
    """Start a training in a process of its own that notes the weights' sum after each step."""
    script = textwrap.dedent(
        f"""
        import os
        from pathlib import Path
        import torch
        from skyduel.detect.training import loop
        from skyduel.detect.training import train as training
        torch.set_num_threads(1)
        rank = os.environ.get("RANK", "0")
        follow = loop.optimise
        def noted(network, *arguments):
            norm = follow(network, *arguments)
            total = sum(float(p.detach().double().abs().sum()) for p in network.parameters())
            with open(os.path.join({str(folder)!r}, "rank" + rank), "a") as file:
                print(norm, total, file=file)
            return norm
        loop.optimise = noted
        settings = training.TrainingSettings.model_validate_json({settings.model_dump_json()!r})
        training.train(settings, Path({str(folder)!r}))
        """
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_take_the_same_steps_on_different_halves(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        start(
            tmp_path, SHORT.model_copy(update={"batch": 4}), RANK=str(rank), WORLD_SIZE="2",
            LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for process in started:
        _, said = process.communicate(timeout=1200)
        assert process.returncode == 0, said
    notes = [(tmp_path / f"rank{rank}").read_text().splitlines() for rank in (0, 1)]
    assert len(notes[0]) == 4
    assert notes[0] == notes[1], "gradients were not averaged, or weights drifted apart"
    assert len(set(notes[0])) == 4
    assert [row["step"] for row in log(tmp_path)] == [1, 2, 3, 4]
    assert {CHECKPOINT, BEST, "log.jsonl"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_kill_nine_loses_no_more_than_the_steps_since_the_checkpoint(tmp_path: Path) -> None:
    long = SHORT.model_copy(update={"steps": 5000, "validate_every": 5000, "checkpoint_every": 3})
    process = start(tmp_path, long)
    deadline = time.monotonic() + 1200
    noted = tmp_path / "rank0"
    while not noted.exists() or len(noted.read_text().splitlines()) < 8:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(noted.read_text().splitlines())
    steps: list[int] = []
    train(long.model_copy(update={"steps": done + 4}), tmp_path, lambda p: steps.append(p.step))
    assert done - 3 <= steps[0] - 1 <= done
    assert steps[-1] == done + 4
    assert [row["step"] for row in log(tmp_path)] == list(range(1, done + 5))


def test_one_process_is_first_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with process_group("cpu") as processes:
        assert processes.is_rank0
        assert processes.world == 1
        assert processes.device.type == "cpu"
    assert is_rank0()
    monkeypatch.setenv("RANK", "1")
    assert not is_rank0()


def test_a_batch_must_be_shareable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from contextlib import nullcontext

    from skyduel.detect.training import train as training
    from skyduel.detect.training.distributed import Processes

    three = Processes(0, 3, training.torch.device("cpu"))
    monkeypatch.setattr(training, "process_group", lambda _: nullcontext(three))
    with pytest.raises(BadInputError, match="a multiple of the 3 processes; got 2"):
        train(SHORT, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_best_weights_are_those_of_the_lowest_validation_loss(tmp_path: Path) -> None:
    settings = SHORT.model_copy(update={"steps": 3, "validate_every": 1})
    train(settings, tmp_path)
    scores = [row["validation"] for row in log(tmp_path)]
    from safetensors import safe_open

    with safe_open(tmp_path / BEST, framework="pt") as file:
        facts = file.metadata()
    assert float(facts["validation"]) == min(scores)
    assert int(facts["step"]) == 1 + scores.index(min(scores))
    last = load_file(tmp_path / CHECKPOINT)
    best = load_file(tmp_path / BEST)
    assert set(best) == {k for k in last if k.startswith("average.")}


def test_tensorboard_gets_every_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "a"
    train(SHORT.model_copy(update={"steps": 2}), folder, tensorboard=True)
    train(SHORT.model_copy(update={"steps": 3}), folder, tensorboard=True)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"loss/point", "loss/kind", "loss/validation", "rate", "norm", "seconds"} <= set(scalars)
    assert [e.step for e in events.Scalars("loss/point")] == [1, 2, 3]
    rows = log(folder)
    got = [e.value for e in events.Scalars("loss/point")]
    assert got == pytest.approx([row["point"] for row in rows], rel=1e-5)


def test_the_published_network_writes_the_same_logs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from skyduel.detect.published.train import PublishedTraining, rate, train_published

    settings = PublishedTraining(steps=2, batch=1, crop_px=64, bf16=False, validation_crops=1)
    train_published(settings, tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = log(tmp_path)
    assert [e.step for e in events.Scalars("loss/presence")] == [1, 2]
    got = [e.value for e in events.Scalars("loss/presence")]
    assert got == pytest.approx([row["presence"] for row in rows], rel=1e-5)
    rates = [e.value for e in events.Scalars("rate")]
    assert rates == pytest.approx([rate(1, settings), rate(2, settings)])
    assert events.Scalars("loss/validation")[0].value == pytest.approx(rows[1]["validation"])


def test_without_tensorboard_asking_for_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tensorboard_log, "available", lambda: False)
    with pytest.raises(
        BadInputError, match=r"required tensorboard \(pip install 'skyduel\[train\]'\)"
    ):
        tensorboard_log.require()
    tensorboard_log.TensorBoardLog(None).write(1, {"a": 1.0})
    assert list(tmp_path.iterdir()) == []
