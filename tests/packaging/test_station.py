"""A station: an installation of `distribution/station.txt`, which only detects and watches."""

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from packaging.requirements import Requirement

from skyduel.core import write_frame
from skyduel.core.extras import EXTRAS, NOT_ON_A_STATION, pip_command
from skyduel.simulation import draw_settings, simulate

#: Libraries of every installation that are not there, and their own.
PHOTUTILS = {"photutils", "skimage", "networkx", "tifffile", "imageio"}
OTHERS = {"contourpy", "fontTools", "dateutil", "markupsafe"}
ABSENT = {*NOT_ON_A_STATION, *EXTRAS, *PHOTUTILS, *OTHERS} - {
    "onnxruntime", "safetensors", "watchdog",
}  # fmt: skip
#: Start of a Python without them, as `sitecustomize`.
WITHOUT = f"""
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {ABSENT!r} else found(name, path, target)

PathFinder.find_spec = classmethod(find_spec)
"""
CODE = """
import sys
from skyduel.cli.main import main
main(sys.argv[1:])
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE)
    return {normal(name): version for name, version in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("station")
    (folder / "without").mkdir()
    (folder / "without" / "sitecustomize.py").write_text(WITHOUT)
    (folder / "night").mkdir()
    for name, seed in (("a", 3), ("b", 4)):
        rng = np.random.default_rng(seed)
        frame, _ = simulate(draw_settings("field", rng, ny=96, nx=128), rng)
        write_frame(frame, folder / "night" / f"{name}.fits")
    return folder


def skyduel(folder: Path, line: str, *, station: bool = True) -> subprocess.CompletedProcess[str]:
    path = [str(folder / "without")] if station else []
    return subprocess.run(
        [sys.executable, "-c", CODE, *line.split()], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(ROOT / "src")])}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("detector", "option"),
    [("sep", ""), ("sep-cleaned", ""), ("neural", "--set neural.runtime=onnx")],
)
def test_it_detects_and_watches(detector: str, option: str, folder: Path) -> None:
    if detector == "neural":
        pytest.importorskip("onnxruntime")
    words = f"--with {detector} {option}"
    frames = "night/a.fits night/b.fits"
    done = skyduel(folder, f"detect {frames} {words} --out all-{detector}", station=False)
    assert done.returncode == 0, done.stderr
    done = skyduel(folder, f"detect {frames} {words} --out {detector}")
    assert done.returncode == 0, done.stderr
    watch = f"watch night --once {words} --out watched-{detector} --reference {detector}/a.ecsv"
    done = skyduel(folder, watch)
    assert done.returncode == 0, done.stderr
    for name in ("a", "b"):
        here = (folder / detector / f"{name}.ecsv").read_bytes()
        assert len(here.splitlines()) > 40
        assert here == (folder / f"all-{detector}" / f"{name}.ecsv").read_bytes()
        watched = (folder / f"watched-{detector}" / f"{name}.ecsv").read_text()
        assert watched.splitlines()[-1] == here.decode().splitlines()[-1]


@pytest.mark.parametrize("ending", ["fits", "vot", "csv", "cat", "ldac", "json", "reg"])
def test_it_writes_every_format_but_parquet(ending: str, folder: Path) -> None:
    done = skyduel(folder, f"detect night/a.fits --with sep --out one.{ending}")
    assert done.returncode == 0, done.stderr
    assert (folder / f"one.{ending}").stat().st_size > 200


@pytest.mark.parametrize(
    ("line", "library"),
    [
        ("run", "pandas"),
        ("score night/a.ecsv night/a.ecsv", "pandas"),
        ("init", "pandas"),
        ("truth-free night/a.fits", "pandas"),
        ("truth night/a.fits --from night/a.ecsv", "pyarrow"),
        ("detect night/a.fits --with sep --out one.parquet", "pyarrow"),
        ("detect night/a.fits --with sep --out more --plot one.png", "pandas"),
        ("detect night/a.fits --with daofind", "photutils"),
    ],
)
def test_what_is_left_out_says_in_one_line_how_to_install_it(
    line: str, library: str, folder: Path
) -> None:
    (folder / "night" / "a.ecsv").write_text("x y\n1 1\n")
    done = skyduel(folder, line)
    (folder / "night" / "a.ecsv").unlink()
    assert done.returncode == 2
    said = [text for text in done.stderr.splitlines() if text.startswith("skyduel: ")]
    assert len(said) == 1, done.stderr
    assert said[0].endswith(f"required {library} ({pip_command(library)}); got no {library}")
    assert "Traceback" not in done.stderr


def test_its_list_has_the_tested_versions_of_all_that_is_not_left_out() -> None:
    station = pinned(ROOT / "distribution" / "station.txt")
    tested = pinned(ROOT / "constraints.txt")
    assert {name: v for name, v in station.items() if v != tested.get(name, v)} == {}
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    for extra in ("onnx", "watch"):
        lines += setup["options.extras_require"][extra].splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    left_out = {*NOT_ON_A_STATION.values(), "photutils", "scikit-image"}
    assert left_out < {normal(one.name) for one in asked}
    assert not left_out & set(station)
    for one in asked:
        if normal(one.name) not in left_out:
            assert one.specifier.contains(station[normal(one.name)]), one
    text = (ROOT / "distribution" / "station.txt").read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
