"""The model for onnxruntime against torch's network in single precision."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from scipy.spatial import KDTree

from skyduel.core import BadInputError, Frame
from skyduel.detect import neural
from skyduel.detect.inference.torch_runtime import TorchRuntime
from skyduel.detect.model.weights import SHIPPED, load_weights
from skyduel.detect.model.weights_file import SHIPPED_NAMES, read_weights_file
from skyduel.simulation import draw_settings, simulate

pytest.importorskip("onnxruntime")
from skyduel.detect.inference.onnx_runtime import OnnxRuntime, model_path


@pytest.fixture(scope="module", params=sorted(SHIPPED_NAMES))
def weights(request: pytest.FixtureRequest) -> Path:
    return SHIPPED_NAMES[request.param]


@pytest.fixture(scope="module")
def onnx(weights: Path) -> OnnxRuntime:
    return OnnxRuntime(model_path(weights), read_weights_file(weights))


@pytest.fixture(scope="module")
def torch_runtime(weights: Path) -> TorchRuntime:
    return TorchRuntime(load_weights(weights).network)


def channels(ny: int, nx: int) -> np.ndarray:
    """Channels with values of real frames: noise, some bright pixels, a masked part."""
    rng = np.random.default_rng(ny)
    z = rng.normal(0, 1, (ny, nx)) + 40 * (rng.random((ny, nx)) > 0.997)
    image = np.stack([z.clip(-6, 12) / 4, np.arcsinh(z.clip(-6)) / 4, z.clip(-6, 12) / 5, 0 * z])
    image[3, :5, :9] = 1
    return image.astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 96), (160, 48), (16, 16)])
def test_maps_and_features_are_those_of_the_network(shape, onnx, torch_runtime) -> None:
    image = channels(*shape)
    maps, features = onnx.dense(image)
    expected = torch_runtime.dense(image)
    assert onnx.multiple == torch_runtime.multiple
    np.testing.assert_allclose(maps, expected.maps, rtol=0, atol=1e-4)
    # The features are those before a ReLU: about half of them are negative.
    theirs = expected.features[0].numpy()
    np.testing.assert_allclose(features, theirs, rtol=0, atol=1e-4)
    assert 0.2 < (features < 0).mean() < 0.8


def test_regions_are_classified_as_by_torch(onnx, torch_runtime) -> None:
    image = channels(64, 96)
    xy = np.random.default_rng(4).uniform(-0.5, [95.5, 63.5], (500, 2)).astype(np.float32)
    ours = onnx.classify(onnx.dense(image).features, xy)
    theirs = torch_runtime.classify(torch_runtime.dense(image).features, xy)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-4)
    for some in onnx.classify(onnx.dense(image).features, xy[:0]):
        assert len(some) == 0


def frame(family: str) -> Frame:
    rng = np.random.default_rng(17)
    return simulate(draw_settings(family, rng, ny=200, nx=260), rng)[0]


@pytest.mark.parametrize(
    ("family", "name"), [("crowded", "full"), ("dirty", "full"), ("crowded", "small")]
)
def test_the_catalogue_is_that_of_torch(family: str, name: str) -> None:
    there = frame(family)
    ours = neural(runtime="onnx", weights=name)(there)
    theirs = neural(runtime="torch", device="cpu", bf16=False, weights=name)(there)
    assert len(ours) == len(theirs) > 40
    assert int(ours.is_streak.sum()) == int(theirs.is_streak.sum())
    # Equal scores may change places.
    order, other = (np.lexsort((c["x"].round(1), c["y"].round(1))) for c in (ours, theirs))
    for name in ("x", "y", "score", "length", "theta"):
        np.testing.assert_allclose(ours[name][order], theirs[name][other], rtol=0, atol=1e-3)


def test_the_record_names_the_runtime() -> None:
    info = neural(runtime="onnx").info
    assert info.program_version.startswith("onnxruntime ")
    assert info.device == "cpu"
    assert info.weights_sha256 == neural(runtime="torch", device="cpu").info.weights_sha256
    assert neural(runtime="torch", device="cpu").info.program_version is None


def test_a_model_of_other_weights_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "mine.safetensors"
    shutil.copy(SHIPPED, other)
    with pytest.raises(BadInputError, match=r"mine\.onnx: required the model of these weights"):
        neural(runtime="onnx", weights=other).info  # noqa: B018
    shutil.copy(model_path(SHIPPED), tmp_path / "mine.onnx")
    assert neural(runtime="onnx", weights=other).info.weights_sha256
    damaged = bytearray(SHIPPED.read_bytes())
    damaged[-1] ^= 1
    other.write_bytes(damaged)
    with pytest.raises(BadInputError, match=r"mine\.onnx: required a model of the weights .*…"):
        neural(runtime="onnx", weights=other).info  # noqa: B018


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_damaged_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BadInputError, match=r"m\.onnx: required a model"):
        OnnxRuntime(tmp_path / "m.onnx", read_weights_file())


def test_the_shipped_models_are_as_small_and_have_the_hashes_that_are_stated(
    weights: Path,
) -> None:
    page = (ROOT / "docs" / "weights.md").read_text()
    for int8, most in ((False, 6e6), (True, 2e6)):
        content = model_path(weights, int8=int8).read_bytes()
        assert len(content) <= most
        assert hashlib.sha256(content).hexdigest() in page
    assert read_weights_file(weights).sha256 in page


def test_eight_bits_find_nearly_the_same_sources(weights: Path) -> None:
    there = frame("crowded")
    exact, small = (neural(runtime=name, weights=weights)(there) for name in ("onnx", "onnx-int8"))
    sure = exact.select(exact["score"] > 0.8)
    distance, _ = KDTree(small.xy).query(sure.xy)
    assert len(sure) > 40
    assert (distance < 0.3).mean() > 0.97
    assert 0.9 < len(small) / len(exact) < 1.1
    info = neural(runtime="onnx-int8").info
    assert info.program_version.endswith(", int8")


def test_eight_bits_clip_no_feature(onnx, weights: Path) -> None:
    image = channels(64, 96)
    small = OnnxRuntime(model_path(weights, int8=True), read_weights_file(weights)).dense(image)
    exact = onnx.dense(image)
    error = np.sqrt(((small.features - exact.features) ** 2).mean())
    assert 0 < error < 0.1 * exact.features.std()
    assert abs((small.features < 0).mean() - (exact.features < 0).mean()) < 0.02
