"""Transfer learning of the published network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from skyduel.core import BadInputError
from skyduel.detect.published.finetune import finetune_published, published_finetune_settings
from skyduel.detect.published.form import FAITHFUL, MENDED, Faults
from skyduel.detect.published.network import PublishedNetwork
from skyduel.detect.published.weights import read_weights, save_weights
from skyduel.detect.training.labelled_frames import LabelledFrame
from skyduel.simulation import SceneSettings, make_psf, simulate

#: The faults of a faithful network, at the size of the frames.
SMALL_FAITHFUL = FAITHFUL.model_copy(update={"resized": False})
QUICK = published_finetune_settings(
    MENDED, steps=4, crop_px=64, validation_crops=3, validate_every=2, bf16=False, warmup=1,
    averaging=0.0, learning_rate=1e-3,
)  # fmt: skip


def frames(number: int) -> list[LabelledFrame]:
    s = SceneSettings(ny=80, nx=96, density=3e-3, min_snr=8)
    return [
        LabelledFrame(*simulate(s, np.random.default_rng(i), f"frame {i}")) for i in range(number)
    ]


def start_of(folder: Path, faults: Faults) -> Path:
    torch.manual_seed(2)
    path = folder / "start.safetensors"
    save_weights(path, PublishedNetwork(faults).state_dict(), faults, {"steps": 7})
    return path


def moved(one: Path, other: Path) -> set[str]:
    old, new = load_file(one), load_file(other)
    assert old.keys() == new.keys()
    return {k for k in old if not torch.equal(old[k], new[k])}


def test_tuned_weights_are_better_on_held_out_frames_and_repeat(tmp_path: Path) -> None:
    start, target = start_of(tmp_path, MENDED), tmp_path / "own.safetensors"
    seen: list[tuple[int, dict[str, float]]] = []
    result = finetune_published(start, frames(3), target, QUICK, lambda *a: seen.append(a))
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert {"presence", "proposal", "kind", "box", "norm"} <= set(seen[0][1])
    assert result.best_step in (2, 4), "a network that knows nothing gains from anything"
    assert result.after < result.before
    assert any(k.startswith("backbone.") for k in moved(start, target))
    read = read_weights(target)
    assert read.network.faults == MENDED
    assert read.facts["steps"] == 7
    own = read.facts["finetuned"]
    assert own["from_sha256"] == read_weights(start).sha256
    assert own["frames"] == ["frame 0", "frame 1", "frame 2"]
    assert own["held_out_loss"] == [result.before, result.after]
    assert finetune_published(start, frames(3), tmp_path / "again", QUICK) == result


def test_a_frozen_backbone_stays_and_so_does_the_published_stem(tmp_path: Path) -> None:
    start, target = start_of(tmp_path, SMALL_FAITHFUL), tmp_path / "own.safetensors"
    finetune_published(start, frames(2), target, QUICK)
    changed = moved(start, target)
    assert any(k.startswith("backbone.stages.1") for k in changed)
    assert not any(k.startswith(("backbone.stem", "backbone.stages.0")) for k in changed)
    assert read_weights(target).network.faults == SMALL_FAITHFUL
    frozen = QUICK.model_copy(update={"backbone": 0.0})
    finetune_published(start, frames(2), target, frozen)
    changed = moved(start, target)
    assert changed
    assert not any(k.startswith("backbone.") for k in changed)


def test_initial_weights_are_kept_if_nothing_is_better(tmp_path: Path) -> None:
    start, target = start_of(tmp_path, MENDED), tmp_path / "own.safetensors"
    still = QUICK.model_copy(update={"learning_rate": 1e-15})
    result = finetune_published(start, frames(2), target, still)
    assert (result.best_step, result.after) == (0, result.before)
    assert not moved(start, target)


def test_crops_of_a_resized_network_are_as_large_as_its_input() -> None:
    assert published_finetune_settings(FAITHFUL).crop_px == 496
    assert published_finetune_settings(MENDED).crop_px == 256
    assert published_finetune_settings(FAITHFUL, crop_px=320, steps=5).crop_px == 320


def test_frames_without_labels_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    start, target = start_of(tmp_path, MENDED), tmp_path / "own.safetensors"
    bare = [f._replace(psf=make_psf(2.5)) for f in frames(2)]
    with pytest.raises(BadInputError, match="labelled frames for jia2020; got a frame without"):
        finetune_published(start, bare, target, QUICK)
    with pytest.raises(BadInputError, match="a weights file"):
        finetune_published(tmp_path / "none", frames(2), target, QUICK)
    assert not target.exists()
