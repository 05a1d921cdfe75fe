"""The detector `jia2020`: settings, faults, positions, tiles and errors."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from skyduel.core import BadInputError
from skyduel.core.detector import Detector, detector_info
from skyduel.core.frame import Frame
from skyduel.detect.published.detector import JiaDetector, JiaSettings, jia2020
from skyduel.detect.published.form import FAITHFUL, MENDED
from skyduel.detect.published.network import Boxes, PublishedNetwork
from skyduel.detect.published.weights import save_weights
from skyduel.simulation import SceneSettings, simulate


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of both forms."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name, faults in (("faithful", FAITHFUL), ("mended", MENDED)):
        torch.manual_seed(6)
        paths[name] = folder / f"{name}.safetensors"
        save_weights(paths[name], PublishedNetwork(faults).state_dict(), faults, {"steps": 0})
    return paths


def frame(ny: int = 96, nx: int = 96, **facts: Any) -> Frame:
    data = np.random.default_rng(7).normal(100, 5, (ny, nx)).astype("f4")
    return Frame(data=data, name="f", **facts)


def with_boxes(
    made: JiaDetector, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[list[float], float, int]]
) -> list[tuple[int, int, int]]:
    """Let the network report the same boxes for every image; return what it was asked."""
    asked: list[tuple[int, int, int]] = []

    def detect(image: torch.Tensor, *, floor: float, proposals: int) -> Boxes:
        asked.append((*image.shape[1:], proposals))
        return Boxes(
            torch.tensor([row[0] for row in rows]),
            torch.tensor([row[1] for row in rows]),
            torch.tensor([row[2] for row in rows]),
        )

    monkeypatch.setattr(made.weights.network, "detect", detect)
    return asked


def test_faults_are_those_of_the_form_but_for_the_ones_given() -> None:
    assert JiaSettings().faults == MENDED
    assert JiaSettings(form="faithful").faults == FAITHFUL
    one = JiaSettings(form="faithful", resized=False).faults
    assert one == FAITHFUL.model_copy(update={"resized": False})
    with pytest.raises(BadInputError, match="did you mean resized"):
        jia2020(resize=True)


def test_it_is_a_detector_with_the_hash_of_its_weights(weights: dict[str, Path]) -> None:
    made = jia2020(weights=weights["mended"], name="j")
    assert isinstance(made, Detector)
    info = detector_info(made)
    assert info.weights_sha256 == made.weights.sha256
    assert (info.default_threshold, info.score_is_probability) == (0.5, False)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again.settings, again._weights) == ("j", made.settings, None)


def test_without_weights_it_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "skyduel.detect.published.detector.shipped_weights", lambda form: tmp_path / "none"
    )
    with pytest.raises(BadInputError, match=r"skyduel train --network jia2020 --form faithful"):
        jia2020(form="faithful")(frame())
    with pytest.raises(BadInputError, match="a weights file"):
        jia2020(weights=tmp_path / "none")(frame())


def test_without_torchvision_it_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str, package: str | None = None) -> object:
        return None if name == "torchvision" else importlib.util.find_spec(name, package)

    monkeypatch.setattr("skyduel.core.extras.find_spec", found)
    with pytest.raises(BadInputError) as caught:
        jia2020()
    wanted = "required torchvision (pip install 'skyduel[published]'); got no torchvision"
    assert str(caught.value) == f"detector 'jia2020': {wanted}"


def test_faults_of_the_training_cannot_be_turned_afterwards(weights: dict[str, Path]) -> None:
    made = jia2020(weights=weights["mended"], linear_head=True)
    with pytest.raises(BadInputError, match=r"linear_head=true; got mended.safetensors.*=false"):
        made(frame())
    jia2020(weights=weights["mended"], resized=True, floor=0.9)(frame())


def test_positions_are_centres_of_boxes_by_falling_score(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = jia2020(weights=weights["mended"])
    rows = [([10.0, 20, 18, 28], 0.6, 1), ([40.0, 40, 78, 68], 0.9, 2), ([0.0, 0, 8, 8], 0.3, 1)]
    asked = with_boxes(made, monkeypatch, rows)
    found = made(frame(zero_point=25.0))
    assert asked == [(96, 96, 300)]
    assert found["score"] == pytest.approx([0.9, 0.6, 0.3])
    assert found.xy == pytest.approx(np.array([[58.5, 53.5], [13.5, 23.5], [3.5, 3.5]]))
    assert found["kind"].tolist() == ["streak", "point", "point"]
    assert found["length"] == pytest.approx([np.hypot(30, 20), 0, 0])
    assert abs(found["theta"][0]) == pytest.approx(np.arctan2(20, 30))
    assert np.isfinite(found["flux_err"]).all()
    fixed = JiaDetector(JiaSettings(form="faithful", weights=weights["faithful"]))
    with_boxes(fixed, monkeypatch, rows)
    # An image of 96 px is enlarged to 500.
    small = fixed(frame())
    assert small.xy == pytest.approx((found.xy + 0.5) * 96 / 500 - 0.5)
    assert (small["length"] == 0).all()
    assert np.isnan(small["mag"]).all()


def test_large_frames_are_cut_into_tiles_and_limits_hold_for_each(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = jia2020(weights=weights["mended"])
    inside = [([100.0, 100, 108, 108], 0.9, 1)]
    asked = with_boxes(made, monkeypatch, inside)
    found = made(frame(300, 1200))
    sides = [side for _, side, _ in asked]
    assert len(sides) == 3
    assert sum(sides) > 1200  # tiles overlap
    assert {n for *_, n in asked} == {round(12000 * 300 * w / 1e6) for w in sides}
    # One source a tile: each at its place in the whole frame.
    assert sorted(found["x"]) == pytest.approx([103.5 + x for x in _starts(1200)])
    few = jia2020(weights=weights["mended"], few_proposals=True)
    assert {n for *_, n in with_few(few, monkeypatch)} == {300}


def _starts(nx: int) -> list[int]:
    from skyduel.detect.inference.find_sources import Tiling, tile_spans

    return [span[0] for span in tile_spans(nx, Tiling(512, 32), 16)]


def with_few(made: JiaDetector, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    asked = with_boxes(made, monkeypatch, [([100.0, 100, 108, 108], 0.9, 1)])
    made(frame(300, 1200))
    return asked


@pytest.mark.parametrize("form", ["faithful", "mended"])
def test_random_weights_run_on_a_masked_and_a_narrow_frame(
    form: str, weights: dict[str, Path]
) -> None:
    mask = np.zeros((40, 90), dtype=bool)
    mask[:, :20] = True
    data = np.random.default_rng(8).normal(100, 5, (40, 90)).astype("f4")
    narrow = Frame(data=data, mask=mask, name="f")
    found = jia2020(form=form, weights=weights[form], floor=0.01)(narrow)
    assert np.isfinite(found.xy).all()
    assert ((found["x"] >= -0.5) & (found["x"] <= 89.5)).all()
    assert (np.diff(found["score"]) <= 0).all()


@pytest.mark.parametrize("form", ["faithful", "mended"])
def test_the_shipped_weights_find_bright_stars(form: str) -> None:
    settings = SceneSettings(ny=500, nx=500, density=6e-4, min_snr=3)
    one, truth = simulate(settings, np.random.default_rng(5), "field")
    found = jia2020(form=form)(one)
    sure = found.select(found["score"] >= 0.5)
    tree, bright = KDTree(sure.xy), truth.select(truth["snr"] >= 20)
    assert len(bright) > 20
    assert (tree.query(bright.xy)[0] < 2).mean() > 0.85
    assert (KDTree(truth.xy).query(sure.xy)[0] < 2).mean() > 0.85
