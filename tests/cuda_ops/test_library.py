"""The compiled operators are used; without them there is a clear error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from skyduel import cuda_ops
from skyduel.cuda_ops import _library

BOXES, SCORES = torch.tensor([[0.0, 0, 4, 5], [1, 1, 5, 6]]), torch.tensor([0.4, 0.9])


class Calls(TorchDispatchMode):
    """Names of the operators that were dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_extension_is_built_and_says_what_it_is():
    info = cuda_ops.build_info()
    assert cuda_ops.is_available(), info["cpu_problem"]
    assert info["cpu_problem"] is None
    assert info["torch_target"] == "2.10"
    assert info["cpu_capability"] in ("base", "avx2", "avx512")
    assert not cuda_ops.is_available("meta")
    assert cuda_ops.is_available("cuda") == (info["cuda_problem"] is None)
    assert bool(info["cuda_architectures"]) == info["cuda"]


def test_the_library_links_nothing_of_python():
    path = _library._CPU.path
    assert path is not None
    assert path.name == "_C.abi3.so"
    assert b"libtorch_python" not in path.read_bytes()


@pytest.mark.parametrize(
    ("operator", "call"),
    [
        ("skyduel.nms.default", lambda **k: cuda_ops.nms(BOXES, SCORES, 0.3, **k)),
        ("skyduel.soft_nms.default", lambda **k: cuda_ops.soft_nms(BOXES, SCORES, **k)),
        (
            "skyduel.roi_align.default",
            lambda **k: cuda_ops.roi_align(torch.ones(1, 2, 9, 8), [BOXES], 3, 1.0, 2, True, **k),
        ),
    ],
)
def test_the_compiled_operator_runs_unless_the_reference_is_named(operator, call):
    with Calls() as compiled:
        call()
    assert operator in compiled.names
    with Calls() as by_name:
        call(backend="reference")
    assert not [name for name in by_name.names if name.startswith("skyduel.")]


def test_what_has_not_been_built_is_named_with_the_command_that_mends_it(monkeypatch):
    library = _library.load("_nothing")
    assert not library.loaded
    monkeypatch.setattr(_library, "_CPU", library)
    assert not cuda_ops.is_available()
    with pytest.raises(
        cuda_ops.OperatorsUnavailableError, match=r"_nothing has not been built.*pip install"
    ):
        cuda_ops.nms(BOXES, SCORES, 0.3)
    assert torch.equal(cuda_ops.nms(BOXES, SCORES, 0.3, backend="reference"), torch.tensor([1]))


def test_a_library_that_cannot_be_loaded_says_why(monkeypatch, tmp_path: Path):
    (tmp_path / "_C.abi3.so").write_bytes(b"not a library")
    monkeypatch.setattr(_library, "__file__", str(tmp_path / "_library.py"))
    library = _library.load("_C")
    assert library.problem is not None
    assert "cannot be loaded with torch" in library.problem
    assert "_C.abi3.so" in library.problem


def test_other_devices_are_refused():
    with pytest.raises(cuda_ops.OperatorsUnavailableError, match="run on cpu and cuda"):
        cuda_ops.nms(BOXES.to("meta"), SCORES.to("meta"), 0.3)


def test_overlaps_of_boxes():
    assert cuda_ops.box_area(BOXES).tolist() == [20.0, 20.0]
    expected = torch.tensor([[1.0, 12 / 28], [12 / 28, 1.0]])
    torch.testing.assert_close(cuda_ops.box_iou(BOXES, BOXES), expected)
    paired = cuda_ops.paired_iou(BOXES, BOXES.flip(0))
    torch.testing.assert_close(paired, torch.full((2,), 12 / 28))
    empty: Tensor = torch.zeros(1, 4)
    assert bool(torch.isnan(cuda_ops.paired_iou(empty, empty)).all())
    assert cuda_ops.box_iou(torch.zeros(0, 4), BOXES).shape == (0, 2)
    with pytest.raises(ValueError, match=r"required shape \(\.\.\., 4\)"):
        cuda_ops.box_area(torch.zeros(3))


def test_a_second_copy_of_the_package_registers_nothing_twice():
    # In the checkout's root the folder can be imported without the package's root.
    program = """
import torch
import skyduel.cuda_ops
import cuda_ops
assert cuda_ops is not skyduel.cuda_ops
features = torch.rand(1, 2, 9, 8, requires_grad=True)
for package in (cuda_ops, skyduel.cuda_ops):
    out = package.roi_align(features, [torch.tensor([[1.0, 1.0, 6.0, 6.0]])], 3, 1.0, 2, True)
    (gradient,) = torch.autograd.grad(out.sum(), features)
    assert gradient.sum() > 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
