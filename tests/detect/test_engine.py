"""Which runtime computes the network, and what is said where it is not there."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from skyduel.core import BadInputError
from skyduel.detect import neural
from skyduel.detect.engine import choose_runtime, load_engine
from skyduel.detect.model.weights_file import SHIPPED, SHIPPED_NAMES, weights_path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make only the named runtimes seem installed."""

    def only(*names: str) -> None:
        def found(name: str, package: str | None = None) -> object:
            if name in ("torch", "onnxruntime"):
                return object() if name in names else None
            return importlib.util.find_spec(name, package)

        monkeypatch.setattr("skyduel.core.extras.find_spec", found)

    return only


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(("torch", "onnxruntime"), "torch"), (("torch",), "torch"), (("onnxruntime",), "onnx")],
)
def test_torch_is_taken_where_it_is_there(names, chosen: str, installed) -> None:
    installed(*names)
    assert choose_runtime("auto") == chosen


def test_the_runtime_that_is_asked_for_is_taken(installed) -> None:
    installed("torch", "onnxruntime")
    assert [choose_runtime(name) for name in ("torch", "onnx", "onnx-int8")] == [
        "torch", "onnx", "onnx-int8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "there", "words"),
    [
        ("torch", "onnxruntime", r"torch \(pip install 'skyduel\[neural\]'\); got no torch"),
        ("onnx", "torch", r"onnxruntime \(pip install 'skyduel\[onnx\]'\); got no onnxruntime"),
        ("onnx-int8", "torch", r"onnxruntime \(pip install 'skyduel\[onnx\]'\); got no onnx"),
        ("auto", "", r"torch or onnxruntime \(pip install '.*' or '.*'\); got neither"),
    ],
)
def test_what_is_not_there_is_named_before_any_work(asked, there, words, installed) -> None:
    installed(there)
    with pytest.raises(BadInputError, match=f"^detector 'neural': required {words}"):
        neural(runtime=asked)


def test_onnxruntime_computes_on_the_cpu_only(installed) -> None:
    installed("torch", "onnxruntime")
    with pytest.raises(BadInputError, match=r"device='cpu' with runtime='onnx'; got device='cuda'"):
        load_engine(runtime="onnx", device="cuda")


def test_shipped_weights_have_names_and_a_file_comes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_path(None) == weights_path(Path("full")) == SHIPPED
    assert weights_path(Path("small")) == SHIPPED_NAMES["small"]
    assert weights_path(Path("other")) == Path("other")
    (tmp_path / "full").mkdir()
    assert weights_path(Path("full")) == SHIPPED, "a folder is no weights file"
    (tmp_path / "small").write_bytes(b"")
    assert weights_path(Path("small")) == Path("small")
