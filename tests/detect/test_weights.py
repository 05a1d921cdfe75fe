"""Weights files hold tensors and text, never code."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from safetensors.torch import save_file

from skyduel.core import BadInputError
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.weights import Calibration, load_weights, save_weights

PACKAGE = ROOT / "detect"
TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)


def written(path: Path, seed: int = 0, settings: NetworkSettings = TINY) -> Network:
    torch.manual_seed(seed)
    network = Network(settings).eval()
    save_weights(path, network.state_dict(), settings, Calibration(0.8, -0.3), {"steps": 7})
    return network


def test_a_round_trip_keeps_network_calibration_and_history(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    network = written(path)
    loaded = load_weights(path)
    assert loaded.network.settings == TINY
    assert loaded.calibration == Calibration(0.8, -0.3)
    assert loaded.facts == {"steps": 7}
    assert len(loaded.sha256) == 64
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert all(p.dtype == torch.float32 for p in loaded.network.parameters())
    frame = torch.randn(1, 4, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got, want = loaded.network(frame).maps, network(frame).maps
    torch.testing.assert_close(got, want, atol=5e-3, rtol=5e-3)
    written(tmp_path / "other.safetensors", seed=1)
    assert load_weights(tmp_path / "other.safetensors").sha256 != loaded.sha256


def test_weights_are_kept_in_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    network = written(path)
    n = sum(v.numel() for v in network.state_dict().values())
    assert 2 * n < path.stat().st_size < 2 * n + 20_000
    loaded = load_weights(path)
    # Linear layers are not folded: exactly the rounded values.
    assert torch.equal(loaded.network.roi1.weight, network.roi1.weight.half().float())


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def broken(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(folder / "sprung")))
    elif kind == "pt":
        torch.save(Network(TINY).state_dict(), path)
    elif kind == "text":
        path.write_text("weights, honestly\n")
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "half":
        written(path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        save_file({"a": torch.zeros(3)}, path)
    elif kind == "shapes":
        torch.manual_seed(0)
        state = Network(TINY).state_dict()
        save_weights(path, state, TINY.model_copy(update={"head": 24}), Calibration(), {})
    elif kind == "lacking":
        state = Network(TINY).state_dict()
        state.pop("roi2.bias")
        save_weights(path, state, TINY, Calibration(), {})
    elif kind == "settings":
        metadata = {"format": "skyduel-network-1", "network": json.dumps({"depth": 3})}
        rest = {"calibration": json.dumps(Calibration().as_dict()), "facts": "{}"}
        save_file({"a": torch.zeros(3)}, path, metadata | rest)
    elif kind == "calibration":
        metadata = {"format": "skyduel-network-1", "network": TINY.model_dump_json()}
        save_file({"a": torch.zeros(3)}, path, metadata | {"calibration": "[]", "facts": "{}"})
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "shipped weights, full or small; got No such file"),
        (
            "folder",
            "a weights file or the name of shipped weights, full or small; got Is a directory",
        ),
        ("pickle", "a readable safetensors file"),
        ("pt", "a readable safetensors file"),
        ("text", "a readable safetensors file"),
        ("nothing", "a readable safetensors file"),
        ("half", "a readable safetensors file"),
        ("foreign", "weights of format skyduel-network-1; got None"),
        ("shapes", "tensors of the stated shape; got .*size mismatch for roi1.weight"),
        ("lacking", "tensors of the stated shape; got .*roi2.bias"),
        ("settings", "a readable safetensors file of this network; got .*depth"),
        ("calibration", "a readable safetensors file of this network"),
    ],
)
def test_whatever_is_no_weights_file_is_refused_in_one_line(
    kind: str, says: str, tmp_path: Path
) -> None:
    path = broken(kind, tmp_path)
    with pytest.raises(BadInputError, match=says) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists(), "reading weights must run nothing"


def test_the_trap_springs_where_a_pickle_is_read(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def unsafe(source: str) -> list[str]:
    """Whatever a module does that can run code from a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found += [
                n for n in names if n.split(".")[0] in {"pickle", "dill", "joblib", "marshal"}
            ]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            if module in {"pickle", "dill", "joblib", "marshal"}:
                found.append(module)
            if module == "torch" and any(a.name == "load" for a in node.names):
                found.append("torch.load")
        elif isinstance(node, ast.Attribute) and node.attr == "load":
            if isinstance(node.value, ast.Name) and node.value.id in {"torch", "np", "numpy"}:
                found.append(f"{node.value.id}.load")
        elif isinstance(node, ast.Name) and node.id in {"eval", "exec"}:
            found.append(node.id)
    return found


def test_nothing_in_the_package_reads_pickles() -> None:
    assert unsafe("import torch\ntorch.load('x')") == ["torch.load"]
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 5
    for module in modules:
        assert not unsafe(module.read_text()), module.name
