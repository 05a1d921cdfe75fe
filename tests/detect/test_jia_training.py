"""Training the published network: inputs, boxes, checkpoints and weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from skyduel.core import BadInputError, Catalog
from skyduel.core.frame import Frame
from skyduel.core.measure.background import estimate_background
from skyduel.detect.model.inputs import frame_channels
from skyduel.detect.published.boxes import (
    MOST_LABELS,
    POINT,
    STREAK,
    fixed_boxes,
    length_and_angle,
    mended_boxes,
)
from skyduel.detect.published.crops import BoxedCrops, boxed
from skyduel.detect.published.form import FAITHFUL, MENDED
from skyduel.detect.published.inputs import as_tensor, min_max, resized, scaled
from skyduel.detect.published.train import (
    PublishedTraining,
    export_weights,
    rate,
    train_published,
    training_settings,
)
from skyduel.detect.published.weights import read_weights, save_weights
from skyduel.detect.training.targets import source_targets

SHORT = PublishedTraining(
    steps=3, batch=1, crop_px=64, bf16=False, validation_crops=1, validate_every=2,
    checkpoint_every=2, warmup=2,
)  # fmt: skip


def sources(**columns: Any) -> Any:
    return source_targets({k: np.asarray(v) for k, v in columns.items()})


def test_min_max_scaling_by_hand_and_what_a_hot_pixel_does() -> None:
    data = np.array([[0.0, 1.0], [3.0, 4.0]], dtype=np.float32)
    assert min_max(Frame(data=data, name="f")).tolist() == [[-0.5, -0.25], [0.25, 0.5]]
    mask = np.array([[False, False], [False, True]])
    masked = min_max(Frame(data=data, mask=mask, name="f"))
    assert masked.ravel().tolist() == pytest.approx([-4 / 9, -1 / 9, 5 / 9, 0.0])
    hot = np.tile(data, (8, 8))
    hot[0, 0] = 60000
    assert np.ptp(min_max(Frame(data=hot, name="f"))[1:]) < 1e-4  # the sky is flat
    assert (min_max(Frame(data=np.ones((3, 3), np.float32), name="f")) == 0).all()


def test_input_channels_of_both_forms() -> None:
    rng = np.random.default_rng(1)
    frame = Frame(data=rng.normal(100, 5, (80, 80)).astype(np.float32), name="f")
    sky = estimate_background(frame)
    published = scaled(frame, sky, published=True)
    assert published.shape == (3, 80, 80)
    assert (published == published[0]).all()
    assert np.array_equal(scaled(frame, sky, published=False), frame_channels(frame, sky)[:3])


@pytest.mark.parametrize(
    ("shape", "size"),
    [((250, 300), (500, 600)), ((1000, 4000), (250, 1000)), ((500, 700), (500, 700))],
)
def test_resizing_to_500_px_on_the_shorter_side_and_at_most_1000(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    image, factor = resized(torch.zeros(3, *shape))
    assert tuple(image.shape[1:]) == size
    assert factor == size[0] / shape[0]


def test_fixed_boxes_by_hand() -> None:
    given = sources(
        x=[20.4, 3.0, 50.0, 30.0], y=[30.6, 30.0, 40.2, 70.0], snr=[9.0, 9.0, 9.0, 2.0],
        kind=["point", "point", "streak", "point"], length=[0, 0, 40.0, 0], theta=[0, 0, 0.5, 0],
    )  # fmt: skip
    made = fixed_boxes(given, (100, 100), None, np.random.default_rng(0))
    # int(21.4 - 5), int(31.6 - 5), int(21.4 + 5), int(31.6 + 5); the second is at the edge.
    assert made.boxes.tolist() == [[16, 26, 26, 36], [45, 35, 57, 47]]
    assert made.labels.tolist() == [POINT, STREAK]
    assert made.ignored.tolist() == [[26, 66, 36, 76]]


def test_mended_boxes_by_hand() -> None:
    given = sources(
        x=[20.4, 1.0, 50.0, 30.0, 300.0], y=[30.6, 30.0, 40.0, 70.0, 50.0],
        snr=[9.0, 9.0, 9.0, 2.0, 9.0], kind=["point", "point", "streak", "point", "streak"],
        length=[0, 0, 40.0, 0, 10.0], theta=[0, 0, math.pi / 6, 0, 0],
    )  # fmt: skip
    made = mended_boxes(given, (100, 100), None, np.random.default_rng(0))
    half = 20 * math.cos(math.pi / 6) + 4
    expected = [
        [16.9, 27.1, 24.9, 35.1],
        [0.0, 26.5, 5.5, 34.5],  # ends at the edge
        [50.5 - half, 40.5 - 14, 50.5 + half, 40.5 + 14],
    ]
    assert made.boxes == pytest.approx(np.array(expected))
    assert made.labels.tolist() == [POINT, POINT, STREAK]
    assert made.ignored == pytest.approx(np.array([[26.5, 66.5, 34.5, 74.5]]))


@pytest.mark.parametrize("make", [fixed_boxes, mended_boxes])
def test_at_most_110_labels_drawn_at_random(make: Any) -> None:
    rng = np.random.default_rng(2)
    xy = rng.uniform(20, 180, (300, 2))
    n = np.zeros(300)
    given = sources(x=xy[:, 0], y=xy[:, 1], kind=np.full(300, "point"), length=n, theta=n)
    some = make(given, (200, 200), MOST_LABELS, np.random.default_rng(3))
    assert len(some.boxes) == len(some.labels) == 110
    every = make(given, (200, 200), None, np.random.default_rng(3)).boxes
    assert len(every) == 300
    assert {tuple(b) for b in some.boxes} < {tuple(b) for b in every}


@pytest.mark.parametrize("theta", [0.0, 0.4, -0.4, 1.2, -1.2, -math.pi / 2])
def test_a_streaks_length_and_direction_from_its_box(theta: float) -> None:
    length, (y, x) = 30.0, np.mgrid[:80, :80]
    along = (x - 40) * math.cos(theta) + (y - 40) * math.sin(theta)
    across = (y - 40) * math.cos(theta) - (x - 40) * math.sin(theta)
    image = ((np.abs(along) <= length / 2) & (np.abs(across) < 1.5)).astype(np.float32)
    given = sources(x=[40.0], y=[40.0], kind=["streak"], length=[length], theta=[theta])
    (box,) = mended_boxes(given, (80, 80), None, np.random.default_rng(0)).boxes
    x1, y1, x2, y2 = (int(v) for v in box)
    found, angle = length_and_angle(box, image[y1:y2, x1:x2])
    assert found == pytest.approx(length, abs=1e-6)
    assert angle == pytest.approx(theta, abs=1e-6)
    assert length_and_angle([0, 0, 8, 8], np.zeros((8, 8), np.float32)) == (0.0, 0.0)


def test_samples_have_the_scale_of_their_image() -> None:
    frame = Frame(data=np.random.default_rng(4).normal(0, 1, (250, 250)).astype("f4"), name="f")
    truth = Catalog.build(x=[100.0], y=[60.0], snr=[50.0])
    rng = np.random.default_rng(0)
    large = boxed(frame, truth, FAITHFUL, rng)
    assert tuple(large["image"].shape) == (3, 500, 500)
    assert large["boxes"].tolist() == [[192.0, 112.0, 212.0, 132.0]]
    full = boxed(frame, truth, MENDED, rng)
    assert tuple(full["image"].shape) == (3, 250, 250)
    assert full["boxes"].tolist() == [[96.5, 56.5, 104.5, 64.5]]
    assert full["labels"].tolist() == [POINT]


def test_a_small_frame_has_its_share_of_the_labels() -> None:
    faults = MENDED.model_copy(update={"few_labels": True})
    for side, most in ((500, 110), (250, 28), (40, 1)):
        rng = np.random.default_rng(7)
        x, y = rng.uniform(0, side - 1, (2, 300))
        frame = Frame(data=rng.normal(0, 1, (side, side)).astype("f4"), name="f")
        truth = Catalog.build(x=x, y=y, snr=np.full(300, 50.0))
        assert len(boxed(frame, truth, faults, rng)["boxes"]) == most


def test_masked_sources_are_ignored() -> None:
    mask = np.zeros((96, 96), dtype=bool)
    mask[60, 50] = True
    data = np.random.default_rng(4).normal(0, 1, (96, 96)).astype("f4")
    frame = Frame(data=data, mask=mask, name="f")
    truth = Catalog.build(x=[50.0, 20.0], y=[60.0, 20.0], snr=[50.0, 50.0])
    made = boxed(frame, truth, MENDED, np.random.default_rng(0))
    assert made["boxes"].tolist() == [[16.5, 16.5, 24.5, 24.5]]
    assert made["ignored"].tolist() == [[46.5, 56.5, 54.5, 64.5]]


def test_frames_are_the_same_at_every_call() -> None:
    crops = BoxedCrops(1, 0, 64, 3, MENDED)
    first, again = crops[1], crops[1]
    assert len(crops) == 3
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert torch.equal(as_tensor(first["image"].numpy()), first["image"])


def test_rate_warms_up_and_falls_as_a_cosine() -> None:
    s = PublishedTraining(steps=110, warmup=10, learning_rate=1.0)
    assert rate(1, s) == pytest.approx(0.1)
    assert rate(10, s) == 1.0
    assert rate(60, s) == pytest.approx(0.5)
    assert rate(110, s) == pytest.approx(0.0, abs=1e-12)


def test_the_forms_differ_in_faults_and_size_of_a_step() -> None:
    mended, faithful = training_settings("mended", steps=7), training_settings("faithful")
    assert (mended.faults, mended.steps) == (MENDED, 7)
    assert (faithful.faults, faithful.batch, faithful.crop_px) == (FAITHFUL, 1, 500)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jia")
    best = train_published(SHORT, folder)
    assert best == folder / "best.safetensors"
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_a_training_leaves_checkpoint_log_and_settings(finished: Path) -> None:
    assert sorted(p.name for p in finished.iterdir()) == [
        "best.safetensors", "checkpoint.safetensors", "log.jsonl", "training.json",
    ]  # fmt: skip
    log = rows(finished)
    assert [("validation" in row) for row in log] == [False, True, True]
    assert all(np.isfinite(v) for row in log for v in row.values())
    assert PublishedTraining.model_validate_json((finished / "training.json").read_text()) == SHORT


def test_a_resumed_training_is_the_same_to_the_bit(finished: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    # Through the warm-up, the rate of a step does not depend on the number of steps.
    train_published(SHORT.model_copy(update={"steps": 2}), tmp_path)
    train_published(SHORT, tmp_path, lambda p: seen.append(p.step))
    assert seen == [3]
    one, other = (load_file(f / "checkpoint.safetensors") for f in (finished, tmp_path))
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert [r["kind"] for r in rows(finished)] == [r["kind"] for r in rows(tmp_path)]
    with pytest.raises(BadInputError, match=r"crop_px=64.*crop_px=80"):
        train_published(SHORT.model_copy(update={"crop_px": 80}), finished)


def test_weights_are_half_precision_safetensors_with_their_facts(
    finished: Path, tmp_path: Path
) -> None:
    target = tmp_path / "jia.safetensors"
    export_weights(finished / "best.safetensors", target)
    assert target.stat().st_size < 6e6
    read = read_weights(target)
    assert read.network.faults == MENDED
    assert not read.network.training
    step = read.facts["steps"]
    assert (step, read.facts["frames"]) in [(2, 2), (3, 3)]
    assert read.facts["training"]["crop_px"] == 64
    average = load_file(finished / "best.safetensors")
    for name, value in read.network.state_dict().items():
        assert torch.equal(value, average[f"average.{name}"].half().float()), name
    with safe_open(target, framework="pt") as file:
        assert {file.get_tensor(k).dtype for k in file.keys()} == {torch.float16}  # noqa: SIM118


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="a weights file"):
        read_weights(tmp_path / "none.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other, metadata={"format": "another"})
    with pytest.raises(BadInputError, match="format skyduel-jia2020-1; got 'another'"):
        read_weights(other)
    save_weights(other, {"a": torch.zeros(1)}, MENDED, {})
    with pytest.raises(BadInputError, match="a readable safetensors file of the network jia2020"):
        read_weights(other)
    other.write_bytes(b"no safetensors")
    with pytest.raises(BadInputError, match="a readable safetensors file of the network jia2020"):
        read_weights(other)
