"""The lists of versions agree with each other and with what the package asks for."""

import json
import re
from configparser import ConfigParser
from pathlib import Path

import pytest
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
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """Return the versions of a list by name; where a list has several, the first."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE):
        found.setdefault(normal(name), version)
    return found


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
    for one in wanted("asdf", "cluster", "test-base"):
        bounds = [s.version for s in one.specifier if s.operator == ">="]
        assert bounds, one
        assert Version(oldest[normal(one.name)]) == Version(bounds[0]), one


def test_the_metadata_files_name_this_version() -> None:
    version = SETUP["metadata"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    recipe = (ROOT / "distribution" / "conda" / "recipe.yaml").read_text()
    assert f'\n  version: "{version}"\n' in recipe
    asked = [normal(one.name).removesuffix("-base") for one in wanted("neural")]
    names = {"matplotlib-base": "matplotlib", "astropy-base": "astropy", "pytorch": "torch"}
    run = recipe.partition("  run:\n")[2].partition("tests:")[0]
    listed = [names.get(n, n) for n in re.findall(r"^    - ([\w-]+)", run, re.MULTILINE)]
    assert sorted(listed) == sorted(["python", *asked])
    assert json.loads((ROOT / ".zenodo.json").read_text())["license"] == "MIT"
