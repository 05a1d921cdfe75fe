"""Tests of the neural detector as a detector of the suite."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from skyduel.core import BadInputError, Catalog, Detector, Frame
from skyduel.detect import NeuralDetector, NeuralSettings, neural
from skyduel.detect.detector import assemble
from skyduel.detect.inference.find_sources import RawSources
from skyduel.detect.inference.torch_runtime import choose_bf16
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.backbones.resnet import Bottleneck
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.score_model import CONTEXT_FEATURES, PositionErrorModel
from skyduel.detect.model.weights import SHIPPED, Calibration, save_weights
from skyduel.detect.model.weights_file import SHIPPED_NAMES
from skyduel.simulation import SceneSettings, simulate

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


@pytest.fixture(scope="module")
def keen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that sees sources in noise, points mostly."""
    torch.manual_seed(5)
    network = Network(TINY)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Bottleneck):
                module.residual.fill_(0.7)
        network.dense.weight.normal_(std=0.3)
        network.dense.bias[0], network.dense.bias[3] = 0.0, -5.0
        network.roi_out.weight.normal_(std=0.3)
    path = tmp_path_factory.mktemp("weights") / "keen.safetensors"
    save_weights(path, network.state_dict(), TINY, Calibration(1.5, 0.2), {})
    return path


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that sees nothing anywhere."""
    torch.manual_seed(5)
    network = Network(TINY)
    with torch.no_grad():
        network.dense.bias[0] = network.dense.bias[3] = -12.0
    path = tmp_path_factory.mktemp("weights") / "blind.safetensors"
    save_weights(path, network.state_dict(), TINY, Calibration(), {})
    return path


def noise(**facts: object) -> Frame:
    data = np.random.default_rng(2).normal(500, 20, (72, 99)).astype(np.float32)
    return Frame(data=data, name="noise", **facts)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"flor": 0.1}, "got 'flor'; did you mean floor"),
        ({"tile": 512}, "did you mean tile_px"),
        ({"floor": 0.0}, "neural: floor: required .*greater than 0; got 0"),
        ({"tile_px": 300}, "neural: tile_px: required .*multiple of 16"),
        ({"tile_px": 128}, "neural: tile_px: required .*greater than or equal to 256"),
        ({"device": "tpu"}, "neural: device: required .*'cuda'"),
        ({"nms_sigma": -1}, "neural: nms_sigma"),
        ({"most_per_mpix": 0}, "neural: most_per_mpix"),
    ],
)
def test_a_wrong_setting_is_one_line_with_a_way_out(settings: dict, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        neural(**settings)
    assert "\n" not in str(caught.value)


def test_it_is_a_detector_and_needs_no_weights_until_it_is_called(tmp_path: Path) -> None:
    detector = neural(weights=tmp_path / "none.safetensors", name="young")
    assert isinstance(detector, Detector)
    assert detector.name == "young"
    assert detector.settings.weights == tmp_path / "none.safetensors"
    with pytest.raises(BadInputError, match="shipped weights, full or small; got No such file"):
        detector(noise())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_refused(keen: Path) -> None:
    with pytest.raises(BadInputError, match=r"device: required a CUDA device.*none available"):
        neural(weights=keen, device="cuda")(noise())


def test_scores_fall_from_at_most_one_to_the_floor(keen: Path) -> None:
    for floor in (0.05, 0.4):
        found = neural(weights=keen, floor=floor, bf16=False, device="cpu")(noise())
        score = found["score"]
        assert len(found) > 20
        assert (np.diff(score) <= 0).all()
        assert score.max() <= 1
        assert score.min() >= floor - 1e-6
        assert found.is_streak.sum() == (found["length"] > 0).sum()
        assert np.isnan(found["mag"]).all(), "no zero-point, no magnitude"


def test_fluxes_are_those_of_the_common_aperture(keen: Path) -> None:
    found = neural(weights=keen, bf16=False, device="cpu")(noise(zero_point=25.0, gain=1.5))
    np.testing.assert_array_equal(found["flux"], found["aper_flux"])
    bright = found["flux"] > 0
    assert bright.any()
    np.testing.assert_allclose(found["mag"][bright], 25 - 2.5 * np.log10(found["flux"][bright]))


def test_the_same_frame_gives_the_same_catalogue_here_and_in_a_worker(keen: Path) -> None:
    detector = neural(weights=keen, device="cpu")
    first, second = detector(noise()), detector(noise())
    packed = pickle.dumps(detector)
    assert len(packed) < 2000, "a detector travels as settings, not as weights"
    there = pickle.loads(packed)
    assert there.settings == detector.settings
    third = there(noise())
    assert there.weights_sha256 == detector.weights_sha256
    for other in (second, third):
        for column in ("x", "y", "score", "kind", "flux"):
            np.testing.assert_array_equal(other[column], first[column])


def test_an_empty_sky_is_an_empty_catalogue(blind: Path) -> None:
    found = neural(weights=blind, device="cpu")(noise(zero_point=25.0))
    assert isinstance(found, Catalog)
    assert len(found) == 0
    assert {"x", "y", "score", "flux", "mag", "kind"} <= set(found.table.colnames)


def test_no_point_is_reported_on_a_masked_pixel(keen: Path) -> None:
    detector = neural(weights=keen, bf16=False, device="cpu")
    mask = np.zeros((72, 99), bool)
    mask[:, 40:70] = True
    mask[30, :] = True
    found = detector(noise(mask=mask))
    points = found.select(~found.is_streak)
    assert len(points) > 10
    assert not mask[np.rint(points["y"]).astype(int), np.rint(points["x"]).astype(int)].any()
    assert len(detector(noise())) > len(found)


def raw(points: list[tuple[float, float, float]], streaks: list[list[float]] = ()) -> RawSources:
    table = np.array(points, dtype=float).reshape(-1, 3)
    lines = np.array(streaks, dtype=float).reshape(-1, 5)
    return RawSources(
        table[:, :2], table[:, 2], lines, np.zeros((len(table), len(CONTEXT_FEATURES)), np.float32)
    )


def test_the_catalogue_is_calibrated_suppressed_and_ordered() -> None:
    settings = NeuralSettings(floor=0.05)
    found = assemble(
        raw(
            [(10, 10, 0.0), (30, 10, 2.0), (30.5, 10, 1.0), (50, 10, -9.0)],
            [[20, 20, 15, 0.3, 0.7], [5, 5, 9, 0.0, 0.01]],
        ),
        Calibration(slope=2.0, offset=-1.0),
        settings,
    )
    # The close second is suppressed below the floor; so is what is hopeless by itself.
    np.testing.assert_allclose(found["score"], [0.952574, 0.7, 0.268941], atol=1e-5)
    assert found["kind"].tolist() == ["point", "streak", "point"]
    assert found["x"].tolist() == [30, 20, 10]
    assert found["length"].tolist() == [0, 15, 0]
    assert found["theta"].tolist() == [0, 0.3, 0]
    gentle = NeuralSettings(floor=0.05, nms_sigma=5.0)
    both = assemble(raw([(30, 10, 2.0), (30.5, 10, 1.0)]), Calibration(), gentle)
    # 4 px squares half a pixel apart overlap by 7/9, so the second keeps exp(-(7/9)²/5).
    second = 0.7310586 * np.exp(-((3.5 / 4.5) ** 2) / 5.0)
    np.testing.assert_allclose(both["score"], [0.8807971, second], atol=1e-5)
    assert len(assemble(raw([]), Calibration(), settings)) == 0


def test_positions_have_errors_where_the_weights_know_them() -> None:
    given = raw([(10, 10, 3.0), (40, 10, 2.0)], [[20, 20, 15, 0.3, 0.7]])
    given.context_features[:, CONTEXT_FEATURES.index("area")] = np.log(4 * np.pi * 1.5**2)
    given.context_features[:, CONTEXT_FEATURES.index("matched")] = [10, 5]
    found = assemble(
        given, Calibration(network_position_error=PositionErrorModel(0.03, 1.2)), NeuralSettings()
    )
    points, streak = found.select(~found.is_streak), found.select(found.is_streak)
    np.testing.assert_allclose(points["xy_err"], np.hypot(0.03, 1.2 * 1.5 / np.array([10, 5])))
    assert np.isnan(streak["xy_err"]).all()
    assert np.isnan(assemble(given, Calibration(), NeuralSettings())["xy_err"]).all()


def test_extreme_logits_are_probabilities() -> None:
    found = assemble(raw([(10, 10, 5e4), (40, 10, -5e4)]), Calibration(), NeuralSettings())
    assert found["x"].tolist() == [10]
    assert found["score"].tolist() == pytest.approx([1.0])


def test_bf16_is_used_where_the_processor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert choose_bf16(cpu) is True
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert choose_bf16(cpu) is False
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_bf16(cpu) is False, "an older torch cannot be asked"


@pytest.mark.skipif(not SHIPPED.exists(), reason="the shipped weights are not there")
@pytest.mark.parametrize("name", sorted(SHIPPED_NAMES))
def test_the_shipped_weights_find_bright_stars_where_they_are(name: str) -> None:
    rng = np.random.default_rng(8)
    frame, truth = simulate(
        SceneSettings(ny=192, nx=256, density=30 / (192 * 256), min_snr=15.0), rng
    )
    assert len(truth) > 15
    found = NeuralDetector(NeuralSettings(device="cpu", weights=name))(frame)
    sure = found.select(found["score"] > 0.5)
    distance = np.linalg.norm(truth.xy[:, None] - sure.xy[None], axis=2).min(axis=1)
    assert np.mean(distance < 0.5) > 0.9
    assert len(sure) < 1.15 * len(truth)
