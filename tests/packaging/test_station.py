"""A station: an installation of `distribution/station.txt`, which only detects and watches."""

import re
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers.forked_lines import Done, run_lines
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


#: Options of the detectors that a station has.
DETECTORS = {"sep": "", "sep-cleaned": "", "neural": "--set neural.runtime=onnx"}
FORMATS = ("fits", "vot", "csv", "cat", "ldac", "json", "reg")
#: Command lines that need a library that is left out.
LEFT_OUT = {
    "run": "pandas",
    "score night/a.ecsv night/a.ecsv": "pandas",
    "init": "pandas",
    "truth-free night/a.fits": "pandas",
    "truth night/a.fits --from night/a.ecsv": "pyarrow",
    "detect night/a.fits --with sep --out one.parquet": "pyarrow",
    "detect night/a.fits --with sep --out more --plot one.png": "pandas",
    "detect night/a.fits --with daofind": "photutils",
}


def words(detector: str) -> str:
    return f"--with {detector} {DETECTORS[detector]}"


def detecting(detector: str, out: str) -> str:
    return f"detect night/a.fits night/b.fits {words(detector)} --out {out}"


def watching(detector: str) -> str:
    return (
        f"watch night --once {words(detector)} --out watched-{detector} "
        f"--reference {detector}/a.ecsv"
    )


@pytest.fixture(scope="module")
def everywhere(folder: Path) -> dict[str, Done]:
    """Return what the detectors come to where all libraries are."""
    return run_lines([detecting(one, f"all-{one}") for one in installed()], folder)


@pytest.fixture(scope="module")
def station(folder: Path) -> dict[str, Done]:
    """Return what all command lines come to on a station, each in a process of its own."""
    lines = [line for one in installed() for line in (detecting(one, one), watching(one))]
    lines += [f"detect night/a.fits --with sep --out one.{ending}" for ending in FORMATS]
    return run_lines(lines, folder, folder / "without")


@pytest.fixture(scope="module")
def refused(folder: Path) -> dict[str, Done]:
    """Return what the command lines that need more come to on a station."""
    (folder / "night" / "a.ecsv").write_text("x y\n1 1\n")
    done = run_lines(list(LEFT_OUT), folder, folder / "without")
    (folder / "night" / "a.ecsv").unlink()
    return done


def installed() -> list[str]:
    there = find_spec("onnxruntime") is not None
    return [one for one in DETECTORS if one != "neural" or there]


@pytest.mark.parametrize("detector", DETECTORS)
def test_it_detects_and_watches(
    detector: str, folder: Path, everywhere: dict[str, Done], station: dict[str, Done]
) -> None:
    if detector == "neural":
        pytest.importorskip("onnxruntime")
    for done in (
        everywhere[detecting(detector, f"all-{detector}")],
        station[detecting(detector, detector)],
        station[watching(detector)],
    ):
        assert done.returncode == 0, done.stderr
    for name in ("a", "b"):
        here = (folder / detector / f"{name}.ecsv").read_bytes()
        assert len(here.splitlines()) > 40
        assert here == (folder / f"all-{detector}" / f"{name}.ecsv").read_bytes()
        watched = (folder / f"watched-{detector}" / f"{name}.ecsv").read_text()
        assert watched.splitlines()[-1] == here.decode().splitlines()[-1]


@pytest.mark.parametrize("ending", FORMATS)
def test_it_writes_every_format_but_parquet(
    ending: str, folder: Path, station: dict[str, Done]
) -> None:
    done = station[f"detect night/a.fits --with sep --out one.{ending}"]
    assert done.returncode == 0, done.stderr
    assert (folder / f"one.{ending}").stat().st_size > 200


@pytest.mark.parametrize(("line", "library"), LEFT_OUT.items())
def test_what_is_left_out_says_in_one_line_how_to_install_it(
    line: str, library: str, refused: dict[str, Done]
) -> None:
    done = refused[line]
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
