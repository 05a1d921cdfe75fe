"""The wheel and the source distribution, built from a copy of the checkout and installed."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

from skyduel import cuda_ops
from skyduel.core import native

#: What a build, a test or a run leaves in a checkout: anywhere, and at the top.
LEFTOVERS = shutil.ignore_patterns("*.egg-info", "*.so", "__pycache__", ".*_cache")
TOP_LEFTOVERS = {
    *(".git", ".tox", ".venv", "build", "dist", "runs", "training", ".hypothesis"),
    *("fuzz-findings", "mutation"),
}
#: The package on PyPI whose only module, ``detect``, has the name of one of our folders.
OTHER = (
    "detect==2019.3.22"
    " --hash=sha256:bfd425fc703218d0aac22474a6864ccaaec7357ed9ba053e9f1d9640f40c3df4\n"
)
METADATA = "skyduel-0.1.0.dist-info/"
#: Time of everything in an archive.
EPOCH = "1735689600"
INSTALL = ("install", "-q", "--no-deps", "--no-index", "--no-compile")
PLUGIN = """
from pydantic import BaseModel
from skyduel import Catalog

class Settings(BaseModel):
    pass

class Middle:
    name = "middle"
    settings = Settings()

    def __call__(self, frame):
        ny, nx = frame.shape
        return Catalog.build(x=[(nx - 1) / 2], y=[(ny - 1) / 2], score=[1.0])
"""
PLUGIN_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "middle-detector"
version = "1"

[project.entry-points."skyduel.detectors"]
middle = "middle:Middle"

[tool.setuptools]
py-modules = ["middle"]
"""


def python(*words: object, cwd: Path, program: str = sys.executable, **environment: str) -> str:
    """Run Python outside the checkout's import path and return what it prints."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [program, *map(str, words)], cwd=cwd, env=inherited | environment,
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def built_wheel(source: Path, target: Path, **environment: str) -> Path:
    pip = ("-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index")
    python(*pip, "-w", target, source, cwd=target.parent, **environment)
    (wheel,) = target.glob("*.whl")
    return wheel


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def copied_checkout(target: Path) -> Path:
    """Copy the checkout without what was built in it; links stay links."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        top = TOP_LEFTOVERS & set(names) if Path(folder) == ROOT else set()
        return top | LEFTOVERS(folder, names)

    return shutil.copytree(ROOT, target, symlinks=True, ignore=left_out)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the checkout with the compiled operators that these tests run with.

    They are put where the build would put them, and the wheel is packed without compiling.
    """
    return packed_wheel(tmp_path_factory.mktemp("wheel"))


def packed_wheel(folder: Path) -> Path:
    checkout = copied_checkout(folder / "checkout")
    compiled = sorted(Path(cuda_ops.__file__).parent.glob("_C*.so"))
    assert compiled, "the tests need the compiled operators"
    environment = {"SOURCE_DATE_EPOCH": EPOCH}
    environment |= {} if len(compiled) > 1 else {"SKYDUEL_CUDA": "0"}
    python("setup.py", "-q", "build_py", cwd=checkout, **environment)
    (built,) = checkout.glob("build/lib*")
    for path in Path(native.__file__).parent.glob("_kernels*.so"):
        shutil.copy(path, built / "skyduel" / "core" / "native")
    for path in compiled:
        shutil.copy(path, built / "skyduel" / "cuda_ops")
        # What an editable install left beside the sources, of this Python and of an older one.
        shutil.copy(path, checkout / "cuda_ops")
        shutil.copy(path, checkout / "cuda_ops" / path.name.replace(".", ".cpython-310.", 1))
    (checkout / "core" / "__pycache__").mkdir()
    (checkout / "core" / "__pycache__" / "frame.cpython-310.pyc").write_bytes(b"stale")
    words = ("bdist_wheel", "--skip-build", "--dist-dir", checkout.parent)
    python("setup.py", "-q", *words, cwd=checkout, **environment)
    return next(checkout.parent.glob("*.whl"))


def expected() -> set[str]:
    """Return every file that the checkout's packages hold, as named in a wheel."""
    names = {"skyduel/__init__.py", "skyduel/py.typed"}
    for link in (ROOT / "src" / "skyduel").iterdir():
        if link.is_symlink():
            for path in (ROOT / link.name).rglob("*"):
                built = path.suffix == ".so" or "__pycache__" in path.parts
                if path.is_file() and not built:
                    names.add(f"skyduel/{path.relative_to(ROOT)}")
    return names


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    names = {n for n in contents(wheel) if not n.startswith(METADATA)}
    compiled = {n for n in names if n.endswith(".so")}
    here = {p.name for p in Path(cuda_ops.__file__).parent.glob("_C*.so")}
    kernels = {p.name for p in Path(native.__file__).parent.glob("_kernels*.so")}
    assert compiled == {f"skyduel/cuda_ops/{name}" for name in here} | {
        f"skyduel/core/native/{name}" for name in kernels
    }
    assert names - compiled == expected()
    assert "skyduel/detect/model/shipped/skyduel.safetensors" in names
    assert "skyduel/detect/model/shipped/skyduel.onnx" in names
    assert "skyduel/detect/model/shipped/skyduel-small.safetensors" in names
    assert "skyduel/reports/templates/report.html.j2" in names
    assert "skyduel/baseline/sep/shape_classifier.json" in names
    assert "skyduel/cuda_ops/csrc/cuda/nms.cu" in names


def test_the_bill_of_materials_has_the_hashes_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        bill = json.loads(archive.read(f"{METADATA}sboms/skyduel.cdx.json"))
        record = archive.read(f"{METADATA}RECORD").decode()
        parts = {one["name"]: one for one in bill["components"]}
        files = {n for n in archive.namelist() if n.endswith((".so", ".safetensors", ".onnx"))}
        assert files == {n for n, one in parts.items() if one["bom-ref"].startswith("file:")}
        for name in files:
            digest = hashlib.sha256(archive.read(name)).hexdigest()
            assert parts[name]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert f"{METADATA}sboms/skyduel.cdx.json," in record
    assert bill["metadata"]["component"]["version"] == "0.1.0"
    assert parts["numpy"]["scope"] == "required"
    assert parts["torch"]["scope"] == "optional"
    assert {"name": "skyduel:requires", "value": ">=2.10"} in parts["torch"]["properties"]
    assert set(bill["dependencies"][0]["dependsOn"]) == {p["bom-ref"] for p in parts.values()}


def test_one_wheel_serves_every_python_from_the_oldest_on(wheel: Path) -> None:
    assert wheel.name.startswith("skyduel-0.1.0-cp311-abi3-linux")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return packed_sdist(tmp_path_factory.mktemp("sdist"))


def packed_sdist(folder: Path) -> Path:
    checkout = copied_checkout(folder / "checkout")
    code = f"import build_backend; build_backend.build_sdist({str(folder)!r})"
    backend = str(checkout / "distribution")
    python("-c", code, cwd=checkout, PYTHONPATH=backend, SOURCE_DATE_EPOCH=EPOCH)
    return folder / "skyduel-0.1.0.tar.gz"


def test_the_source_distribution_holds_files_in_place_of_the_links(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(m.isfile() or m.isdir() for m in members)
    names = {m.name.removeprefix("skyduel-0.1.0/") for m in members if m.isfile()}
    assert {f"src/{name}" for name in expected()} <= names
    assert {"setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= names
    assert not [name for name in names if name.endswith(".pyc")]  # they hold the build's folder
    packed = {n for n in names if n.startswith("src/") and not n.startswith("src/skyduel.egg-info")}
    assert packed == {f"src/{name}" for name in expected()}


def test_the_same_files_make_the_same_archives(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    again = (packed_wheel(tmp_path / "wheel"), packed_sdist(tmp_path / "source"))
    for first, second in zip((wheel, sdist), again, strict=True):
        assert first.parent != second.parent
        assert first.read_bytes() == second.read_bytes(), first.name


@pytest.mark.slow  # compiles for minutes
def test_a_wheel_compiles_from_the_source_distribution(sdist: Path, wheel: Path, tmp_path) -> None:
    cuda = any("_C_cuda" in name for name in contents(wheel))
    compiled = built_wheel(sdist, tmp_path / "dist", SKYDUEL_CUDA="1" if cuda else "0")
    assert contents(compiled) == contents(wheel)
    # Loaded in a process of its own: this one has registered the operators already.
    with zipfile.ZipFile(compiled) as archive:
        archive.extractall(tmp_path / "installed")
    code = "from skyduel import cuda_ops; print(cuda_ops.__file__, cuda_ops.build_info())"
    printed = python("-P", "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "installed"))
    assert printed.startswith(str(tmp_path / "installed"))
    assert "'cpu': True" in printed


@pytest.fixture
def environment(tmp_path) -> Path:
    """A virtual environment that sees the libraries installed here, but for Skyduel itself.

    An editable install is a ``.pth`` file, which is read in an environment's own folder only.
    """
    folder = tmp_path / "environment"
    python("-m", "venv", "--without-pip", folder, cwd=tmp_path)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text("\n".join(p for p in sys.path if "site-packages" in p))
    return folder


def pip(environment: Path, *words: object) -> None:
    program = ("-m", "pip", "--python", environment / "bin" / "python", *words)
    python(*program, cwd=environment)


def installed(environment: Path, name: str) -> dict[str, bytes]:
    """Return the files below one folder of an environment's packages, without bytecode."""
    (site,) = environment.glob("lib/python*/site-packages")
    files = (path for path in sorted((site / name).rglob("*")) if path.is_file())
    return {str(p.relative_to(site)): p.read_bytes() for p in files if p.suffix != ".pyc"}


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A wheel of PyPI's ``detect``."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "requirements.txt").write_text(OTHER)
    words = ("wheel", "-q", "--no-deps", "--no-build-isolation", "--retries", 1, "--timeout", 15)
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words), "-r", "requirements.txt"],
        cwd=folder, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"PyPI's detect cannot be had: {done.stderr.strip().splitlines()[-1]}")
    return next(folder.glob("*.whl"))


def test_neither_it_nor_the_detect_of_pypi_touches_the_other(
    wheel, other, environment, tmp_path
) -> None:
    pip(environment, *INSTALL, other)
    theirs = installed(environment, "detect")
    pip(environment, *INSTALL, wheel)
    ours = installed(environment, "skyduel")
    assert theirs
    assert {n for n in contents(wheel) if n.startswith("skyduel/")} == set(ours)
    assert installed(environment, "detect") == theirs
    code = "import detect, skyduel.detect; print(detect.__file__); print(skyduel.detect.__file__)"
    program = str(environment / "bin" / "python")
    their_file, our_file = python("-c", code, cwd=tmp_path, program=program).split()
    assert their_file.endswith("site-packages/detect/__init__.py")
    assert our_file.endswith("site-packages/skyduel/detect/__init__.py")
    assert Path(our_file).parents[2] == Path(their_file).parents[1]

    pip(environment, "uninstall", "-q", "-y", "detect")
    assert installed(environment, "detect") == {}
    assert installed(environment, "skyduel") == ours
    pip(environment, *INSTALL, other)
    pip(environment, "uninstall", "-q", "-y", "skyduel")
    assert installed(environment, "skyduel") == {}
    assert installed(environment, "detect") == theirs


def test_an_installed_wheel_runs_outside_the_checkout(wheel, environment, tmp_path) -> None:
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    (plugin / "middle.py").write_text(PLUGIN)
    (plugin / "pyproject.toml").write_text(PLUGIN_PROJECT)
    pip(environment, *INSTALL, wheel)
    built = built_wheel(plugin, tmp_path / "dist")
    pip(environment, *INSTALL, built)
    program = str(environment / "bin" / "python")
    code = """
import numpy as np, skyduel
from skyduel import Frame, cuda_ops, make_detector
frame = Frame(data=np.zeros((11, 21), np.float32), name="dark")
(row,) = make_detector("middle")(frame).xy.tolist()
print(skyduel.__file__, cuda_ops.build_info()["cpu"], row, make_detector("sep").name)
"""
    printed = python("-c", code, cwd=tmp_path, program=program)
    (site,) = environment.glob("lib/python*/site-packages")
    assert printed.split("\n")[0] == f"{site}/skyduel/__init__.py True [10.0, 5.0] sep"
    script = environment / "bin" / "skyduel"
    assert "0.1.0" in python(script, "--version", cwd=tmp_path, program=program)
