"""Models for onnxruntime made from weights, in single precision and in 8 bits."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import skyduel

from skyduel.core import Frame, read_frame, write_frame
from skyduel.core.errors import BadInputError
from skyduel.detect.inference.torch_runtime import TorchRuntime
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.backbones.resnet import Bottleneck
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.score_model import Calibration
from skyduel.detect.model.weights import load_weights, save_weights
from skyduel.detect.model.weights_file import read_weights_file

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
from skyduel.detect.inference.onnx_runtime import OnnxRuntime  # noqa: E402
from skyduel.detect.quantize import calibration_frames, frame_images  # noqa: E402

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


def noise(ny: int, nx: int) -> np.ndarray:
    image = np.random.default_rng(ny).normal(0, 0.5, (4, ny, nx)).astype(np.float32)
    image[3] = 0
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny network and both of its models, written by the command."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    network = Network(TINY)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Bottleneck):
                module.residual.fill_(0.7)
        network.dense.weight.normal_(std=0.3)
    save_weights(folder / "tiny.safetensors", network.state_dict(), TINY, Calibration(), {})
    (folder / "night").mkdir()
    data = np.random.default_rng(0).normal(500, 20, (70, 90)).astype(np.float32)
    write_frame(Frame(data=data, name="a"), folder / "night" / "a.fits")
    words = ("export", folder / "tiny.safetensors", "--calibrate", folder / "night")
    assert skyduel(*words) == 0
    return folder


@pytest.mark.parametrize("shape", [(32, 48), (112, 64)])
def test_the_model_is_the_network_at_any_size(shape, folder: Path) -> None:
    weights = folder / "tiny.safetensors"
    ours = OnnxRuntime(folder / "tiny.onnx", read_weights_file(weights)).dense(noise(*shape))
    theirs = TorchRuntime(load_weights(weights).network).dense(noise(*shape))
    np.testing.assert_allclose(ours.maps, theirs.maps, rtol=0, atol=1e-4)
    np.testing.assert_allclose(ours.features, theirs.features[0].numpy(), rtol=0, atol=1e-4)


def test_eight_bits_change_little_and_clip_no_feature(folder: Path) -> None:
    weights = read_weights_file(folder / "tiny.safetensors")
    (image,) = frame_images([read_frame(folder / "night" / "a.fits")], 16)
    exact = OnnxRuntime(folder / "tiny.onnx", weights).dense(image)
    small = OnnxRuntime(folder / "tiny-int8.onnx", weights).dense(image)
    for a, b in zip(small, exact, strict=True):
        assert not np.array_equal(a, b)
        # Four channels and random weights: coarser than the shipped network.
        assert np.sqrt(((a - b) ** 2).mean()) < 0.3 * b.std()
    # onnxruntime's quantizer would clip the features at the ReLU behind them.
    assert (exact.features < 0).mean() > 0.2
    assert abs((small.features < 0).mean() - (exact.features < 0).mean()) < 0.05


def test_a_model_names_its_weights_and_no_place_of_this_machine(folder: Path) -> None:
    sha256 = read_weights_file(folder / "tiny.safetensors").sha256
    for name, precision in (("tiny.onnx", "fp32"), ("tiny-int8.onnx", "int8")):
        model = onnx.load(folder / name)
        facts = {prop.key: prop.value for prop in model.metadata_props}
        assert facts["weights_sha256"] == sha256
        assert facts["precision"] == precision
        assert (facts["multiple"], facts["roi_size"]) == ("16", "7")
        content = (folder / name).read_bytes()
        assert b"site-packages" not in content
        assert os.fsencode(Path.cwd()) not in content
    last = {n.name for n in model.graph.node if {"maps", "features"} & set(n.output)}
    assert len(last) == 2
    assert all(n.op_type == "Conv" for n in model.graph.node if n.name in last)


def test_cuts_of_a_frame_are_few_and_fit_the_network() -> None:
    data = np.random.default_rng(1).normal(0, 1, (1100, 2000)).astype(np.float32)
    frame = Frame(data=data, name="wide")
    cuts = list(frame_images([frame], 16))
    assert [cut.shape for cut in cuts] == [(4, 512, 512)] * len(cuts)
    assert 2 <= len(cuts) <= 4
    (small,) = frame_images([Frame(data=data[:70, :90], name="small")], 16)
    assert small.shape == (4, 64, 80)


def test_frames_for_calibration_are_of_every_kind_and_always_the_same() -> None:
    first, again = (next(calibration_frames()) for _ in range(2))
    assert np.array_equal(first.data, again.data)
    assert first.shape == (512, 512)


def test_what_lowers_a_model_for_the_program_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyduel.detect import executorch_export

    monkeypatch.setattr(executorch_export, "is_installed", lambda name: name != "torchao")
    with pytest.raises(
        BadInputError, match=r"executorch: required torchao \(pip: executorch==.*got none"
    ):
        executorch_export.write_for_executorch(tmp_path / "a.pte")
    assert list(tmp_path.iterdir()) == []
