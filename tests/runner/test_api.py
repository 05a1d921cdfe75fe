"""`skyduel.run` and `skyduel.compare`, used as a script outside the checkout uses them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

import skyduel
from skyduel.core import BadInputError
from skyduel.runner.builtin_dataset import make_frames
from skyduel.runner.detector_specs import DetectorSpec

SCRIPT = """
import skyduel
if __name__ == "__main__":
    deep = {"deep": {"DETECT_THRESH": 1.2}}
    run = skyduel.run("sky", ("sep", "deep=sep"), out="runs/mine", settings=deep)
    table = skyduel.compare("runs/mine/sep", "runs/mine/deep", ["default"]).table
    print(run.detectors, run.record.status, sorted(set(table["quantity"])))
"""


def python(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    make_frames(folder / "sky", [("a", "field", "test"), ("b", "field", "test")], 3, ny=64, nx=80)
    (folder / "script.py").write_text(SCRIPT)
    return folder


def test_a_script_of_five_lines_runs_and_compares(place: Path) -> None:
    said = python(place, "script.py")
    assert "('sep', 'deep') complete" in said
    assert "'completeness'" in said
    record = json.loads((place / "runs" / "mine" / "run.json").read_text())
    assert record["detectors"][1]["settings"]["DETECT_THRESH"] == 1.2


def test_the_import_loads_no_heavy_library(tmp_path: Path) -> None:
    code = "import sys, skyduel; dir(skyduel); print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(tmp_path, "-c", code).split()}
    assert "skyduel" in loaded
    assert not loaded & {"torch", "numpy", "matplotlib", "pandas", "astropy"}


def test_every_exported_name_is_there() -> None:
    for name in skyduel.__all__:
        assert getattr(skyduel, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        skyduel.nothing  # noqa: B018


def test_wrong_names_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="at least one detector"):
        skyduel.run(place / "sky", detectors=(), out=tmp_path / "r")
    with pytest.raises(BadInputError, match="sepp"):
        skyduel.run(place / "sky", [DetectorSpec(name="x", use="sepp")], tmp_path / "r")
    with pytest.raises(BadInputError, match="no such folder"):
        skyduel.compare(tmp_path / "none", tmp_path / "none")
