"""The package in an interpreter that has no torch: all but the network works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

#: Start of a Python without the libraries of the extras, as `sitecustomize`.
WITHOUT = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(cls, name, path=None, target=None):
    absent = name.partition(".")[0] in {"torch", "torchvision", "safetensors", "distributed"}
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
    (folder / "start").mkdir()
    (folder / "start" / "sitecustomize.py").write_text(WITHOUT)
    return folder


def skyduel(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "start"), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, "-c", CODE, *lines], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip


def test_all_but_the_network_works(folder: Path) -> None:
    done = skyduel(folder, *WORKS)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stderr.count("neural left out, not installed (pip install 'skyduel[neural]')")
    assert said == 4  # run, inject, truth-free, init
    record = json.loads((folder / "runs" / "a" / "run.json").read_text())
    assert [d["name"] for d in record["detectors"]] == ["sep", "sep-matched"]
    assert (folder / "runs" / "a" / "report" / "index.html").stat().st_size > 10_000


def test_what_needs_the_network_says_how_to_install_it(folder: Path) -> None:
    for line, source in (
        ("detect a.fits", "detector 'neural'"),
        ("run --with neural", "detector 'neural'"),
        ("train", "this command"),
        ("finetune sky", "this command"),
    ):
        done = skyduel(folder, line)
        wanted = f"skyduel: {source}: required torch (pip install 'skyduel[neural]'); got no torch"
        # Nothing is simulated, read or run before.
        assert done.stderr.splitlines() == [wanted, f"{line}: 2"]
