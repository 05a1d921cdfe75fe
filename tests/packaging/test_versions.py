"""The lists of versions agree with each other and with what the package asks for."""

import json
import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

LOCKS = sorted((ROOT / "distribution" / "locks").glob("*.txt"))
EXTRAS = {
    "skyduel": (),
    "neural": ("neural",),
    "test": (
        "neural", "onnx", "export", "train", "asdf", "calibrate", "cluster", "mqtt", "online",
        "regions", "watch",
        "test-base", "test", "lint",
        "types", "docs",
    ),
}  # fmt: skip
#: Extras that the tests with the oldest versions install.
OLDEST = (
    "asdf", "calibrate", "cluster", "mqtt", "online", "onnx", "regions", "watch", "hats",
    "neural", "export", "train", "published", "test-base", "test",
)  # fmt: skip
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
RECIPE = yaml.safe_load((ROOT / "distribution" / "conda" / "recipe.yaml").read_text())
#: Names on PyPI by those of conda-forge; ``-base`` leaves out what only their other users need.
CONDA = {"matplotlib-base": "matplotlib", "astropy-base": "astropy", "pytorch": "torch"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """Return the versions of a list by name; where a list has several, the first."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE):
        found.setdefault(normal(name), version)
    return found


def by_our_name(lines: list[str]) -> dict[str, str]:
    """Return what a list of the recipe asks of each library, by its name on PyPI."""
    pairs = (line.partition(" ") for line in lines)
    return {CONDA.get(name, name): version for name, _, version in pairs}


def wanted(*extras: str) -> list[Requirement]:
    """Return what the package and some extras ask for, without the package itself."""
    lines = SETUP["options"]["install_requires"].split("\n")
    for extra in extras:
        lines += SETUP["options.extras_require"][extra].split("\n")
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [one for one in found if one.name != "skyduel"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_the_hashed_versions_are_the_tested_ones(lock: Path) -> None:
    tested, locked = pinned(ROOT / "constraints.txt"), pinned(lock)
    assert {n: v for n, v in locked.items() if v != tested.get(n, v)} == {}
    for one in wanted(*EXTRAS[lock.stem]):
        assert one.specifier.contains(locked[normal(one.name)]), one
    # One hash or more behind every version, and no address of a registry.
    entries = re.split(r"^(?=[\w.-]+==)", lock.read_text(), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in lock.read_text()


def test_the_lists_of_hashes_are_those_of_the_installations() -> None:
    assert {path.stem for path in LOCKS} == set(EXTRAS)
    names = {path.stem: set(pinned(path)) for path in LOCKS}
    assert names["skyduel"] < names["neural"] < names["test"]
    assert "torch" not in names["skyduel"]


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    oldest = pinned(ROOT / "distribution" / "oldest.txt")
    for one in wanted(*OLDEST):
        bounds = [s.version for s in one.specifier if s.operator == ">="]
        assert bounds, one
        assert Version(oldest[normal(one.name)]) == Version(bounds[0]), one


def test_the_metadata_files_name_this_version() -> None:
    version = SETUP["metadata"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert RECIPE["context"]["version"] == version
    assert json.loads((ROOT / ".zenodo.json").read_text())["license"] == "MIT"


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    asked = RECIPE["requirements"]
    neural = {normal(one.name): str(one.specifier) for one in wanted("neural")}
    assert by_our_name(asked["run"]) == neural | {"python": SETUP["options"]["python_requires"]}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    backend = {one.name: str(one.specifier) for one in map(Requirement, build)}
    host = by_our_name(asked["host"])
    assert host.pop("pip") == ""  # of the script
    for library in ("python", "torch"):
        assert host.pop(library) == by_our_name(asked["run"])[library]
    assert host == backend
    assert "ninja" in asked["build"]
