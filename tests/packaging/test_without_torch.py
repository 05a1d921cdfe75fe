"""The package in an interpreter that has no torch: all but the network works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.forked_lines import run_lines
from helpers.paths import ROOT

from skyduel.core import Catalog, read_catalog, read_frame
from skyduel.detect import neural

#: Start of a Python without the libraries of the extras, as `sitecustomize`.
WITHOUT = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(cls, name, path=None, target=None):
    absent = name.partition(".")[0] in ABSENT
    return None if absent else found(name, path, target)

PathFinder.find_spec = classmethod(find_spec)
"""
#: Runs command lines, one after the other, until one fails.
CODE = """
import shlex, sys
from skyduel.cli.main import main
sys.argv[0] = 'skyduel'
for line in sys.argv[1:]:
    try:
        main(shlex.split(line))
    except SystemExit as stop:
        if stop.code:
            sys.exit(f"{line}: {stop.code}")
"""
#: What is not there: all of the extras, or only torch.
NO_EXTRA = {"torch", "torchvision", "safetensors", "distributed", "onnxruntime"}
NO_TORCH = {"torch", "torchvision"}
FRAME = "sky/sparse_000.fits.fz"
WORKS = (
    "simulate --out sky --family sparse --count 3 --calibration 1 --ny 96 --nx 128",
    "run sky --out runs/a",
    f"detect {FRAME} --with sep --out found.ecsv",
    f"score found.ecsv sky/sparse_000.ecsv --frame {FRAME}",
    "compare runs/a/sep runs/a/sep-matched",
    "gate runs/a/sep runs/a/sep --allow f1=0.5",
    f"inject {FRAME} --out injected --number 3 --psf moffat:2.4,3.0",
    f"truth-free {FRAME}",
    "init",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("without")
    for name, absent in (("no_extra", NO_EXTRA), ("no_torch", NO_TORCH)):
        (folder / name).mkdir()
        start = f"ABSENT = {absent!r}\n{WITHOUT}"
        (folder / name / "sitecustomize.py").write_text(start)
    return folder


def skyduel(folder: Path, *lines: str, start: str = "no_extra") -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / start), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, "-c", CODE, *lines], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip


def test_all_but_the_network_works(folder: Path) -> None:
    done = skyduel(folder, *WORKS)
    assert done.returncode == 0, done.stderr[-3000:]
    commands = "pip install 'skyduel[neural]' or 'skyduel[onnx]'"
    assert (
        done.stderr.count(f"neural left out, not installed ({commands})") == 4
    )  # run, inject, truth-free, init
    record = json.loads((folder / "runs" / "a" / "run.json").read_text())
    assert [d["name"] for d in record["detectors"]] == ["sep", "sep-matched"]
    assert (folder / "runs" / "a" / "report" / "index.html").stat().st_size > 10_000


def test_what_needs_the_network_says_how_to_install_it(folder: Path) -> None:
    either = (
        "detector 'neural': required torch or onnxruntime (pip install 'skyduel[neural]' or "
        "'skyduel[onnx]'); got neither"
    )
    torchvision = "required torchvision (pip install 'skyduel[published]'); got no torchvision"
    torch = "required torch (pip install 'skyduel[neural]'); got no torch"
    (folder / "a.fits").touch()
    (folder / "some").mkdir()
    wanted = {
        "detect a.fits": either,
        "run --with neural": either,
        "run --with jia2020": f"detector 'jia2020': {torchvision}",
        "detect a.fits --with jia2020": f"detector 'jia2020': {torchvision}",
        "train --network jia2020": f"--network jia2020: {torchvision}",
        "finetune some --network jia2020": f"--network jia2020: {torchvision}",
        "train": f"this command: {torch}",
        "finetune some": f"this command: {torch}",
    }
    # Nothing is simulated, read or run before.
    for line, done in run_lines(list(wanted), folder, folder / "no_extra").items():
        assert done == (2, f"skyduel: {wanted[line]}\n"), line


def test_the_network_finds_the_same_sources_without_torch(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    frames = [f"{family}/{family}_000.fits.fz" for family in ("dirty", "crowded")]
    lines = [
        f"simulate --out {family} --family {family} --count 1 --ny 192 --nx 256 --seed 9"
        for family in ("dirty", "crowded")
    ]
    detect = f"detect {' '.join(frames)} --all --out found"
    done = skyduel(folder, *lines, detect, start="no_torch")
    assert done.returncode == 0, done.stderr[-3000:]
    n_rows = n_streaks = 0
    for path in frames:
        name = Path(path).name.removesuffix(".fits.fz")
        ours = read_catalog(folder / "found" / f"{name}.ecsv")
        # The same tiles: both frames are one.
        theirs = neural(runtime="torch", device="cpu", bf16=False)(read_frame(folder / path))
        assert len(ours) == len(theirs)
        # Equal scores may change places.
        for a, b in zip(by_place(ours), by_place(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-3)
        n_rows += len(ours)
        n_streaks += int(ours.is_streak.sum())
    assert n_rows > 100
    assert n_streaks > 0


def by_place(found: Catalog) -> list[np.ndarray]:
    """Columns of a catalogue in the order of rounded places."""
    order = np.lexsort((found["x"].round(1), found["y"].round(1)))
    return [found[name][order] for name in ("x", "y", "score", "length", "theta", "xy_err")]
