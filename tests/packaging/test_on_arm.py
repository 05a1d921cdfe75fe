"""The network without torch on emulated ARM cores finds what it finds here.

`make arm` prepares the emulated system (`distribution/arm_system.py`) and runs these tests. Speed
is not tested: emulation says nothing of it.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from scipy.spatial import KDTree

from skyduel.core import Catalog, native, read_catalog, read_frame, write_frame
from skyduel.detect import neural
from skyduel.simulation import draw_settings, simulate

SYSTEM = Path(os.environ.get("SKYDUEL_ARM", "nowhere"))
pytestmark = pytest.mark.skipif(
    not (SYSTEM / "site").is_dir(),
    reason="needs an emulated ARM system: `make arm` (Linux with qemu-user-static, mmdebstrap and "
    "g++-aarch64-linux-gnu)",
)
CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
RUNTIMES = ("onnx", "onnx-int8")
#: Writes numbers of the compiled operators; runs here and there.
OPERATORS = """
import json, sys
import numpy as np
from skyduel.core import native

rng = np.random.default_rng(5)
maps = rng.normal(size=(5, 40, 56)).astype(np.float32)
centres = rng.uniform(-12, [124, 92], (300, 2))
squares = np.concatenate([centres - 7, centres + 7], axis=1).astype(np.float32)
corner = rng.uniform(0, 60, (800, 2))
boxes = np.concatenate([corner, corner + rng.uniform(3, 5, (800, 2))], axis=1).astype(np.float32)
index, left = native.soft_nms(boxes, rng.random(800).astype(np.float32), 0.5, 0.01)
crops = native.roi_align(maps, squares, 7, 0.5, 2)
np.savez(sys.argv[1], crops=crops, index=index, left=left)
"""
#: Searches a frame with every runtime, by the command line.
DETECT = f"""
import json, platform, sys
from skyduel.cli.main import main
from skyduel.core import native

frame, stem = sys.argv[1:]
for runtime in {RUNTIMES!r}:
    out = f"{{stem}}-{{runtime}}.ecsv"
    try:
        main(["detect", frame, "--runtime", runtime, "--all", "--out", out])
    except SystemExit as stop:
        if stop.code:
            raise
{OPERATORS.replace("sys.argv[1]", "stem + '.npz'")}
print(json.dumps([platform.machine(), native.is_available(), "torch" in sys.modules]))
"""


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small frame with points, streaks and artefacts."""
    rng = np.random.default_rng(22)
    settings = draw_settings("dirty", rng, ny=96, nx=128)
    made, truth = simulate(settings.model_copy(update={"streaks": 3.0}), rng)
    assert truth.is_streak.any()
    path = tmp_path_factory.mktemp("arm") / "frame.fits"
    write_frame(made, path)
    return path


@pytest.fixture(scope="module")
def here(frame: Path) -> dict[str, Catalog]:
    """The catalogues of this machine."""
    return {name: neural(runtime=name)(read_frame(frame)) for name in RUNTIMES}


@pytest.fixture(scope="module", params=CORES)
def there(request: pytest.FixtureRequest, frame: Path) -> Path:
    """The beginning of the names of what a core wrote."""
    stem = frame.with_name(request.param)
    done = subprocess.run(
        [SYSTEM.resolve() / request.param / "python", "-c", DETECT, frame, stem],
        capture_output=True, text=True, check=False, cwd=frame.parent,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    # Compiled kernels, no torch: what a board would run.
    assert json.loads(done.stdout.splitlines()[-1]) == ["aarch64", True, False]
    return stem


def found_there(stem: Path, runtime: str) -> Catalog:
    return read_catalog(stem.with_name(f"{stem.name}-{runtime}.ecsv"))


def test_float32_gives_the_same_catalogue(there: Path, here: dict[str, Catalog]) -> None:
    ours, theirs = here["onnx"], found_there(there, "onnx")
    assert len(ours) == len(theirs) > 20
    assert ours.is_streak.any()
    # Equal scores may change places.
    distance, row = KDTree(theirs.xy).query(ours.xy)
    assert sorted(row) == list(range(len(ours)))
    assert distance.max() <= 1e-4
    for name, bound in (("score", 1e-4), ("length", 1e-3), ("theta", 1e-4), ("xy_err", 1e-4)):
        np.testing.assert_allclose(theirs[name][row], ours[name], rtol=0, atol=bound, err_msg=name)
    np.testing.assert_allclose(theirs["flux"][row], ours["flux"], rtol=1e-4)
    assert np.array_equal(theirs["kind"][row], ours["kind"])


def test_int8_gives_nearly_the_same_catalogue(there: Path, here: dict[str, Catalog]) -> None:
    # onnxruntime rounds otherwise on ARM: a whole step of 8 bits, here and there.
    ours, theirs = here["onnx-int8"], found_there(there, "onnx-int8")
    for one, other in ((ours, theirs), (theirs, ours)):
        sure = one.select(one["score"] >= 0.2)
        distance, row = KDTree(other.xy).query(sure.xy)
        assert len(set(row)) == len(sure) > 10
        assert distance.max() <= 0.25
        assert np.abs(other["score"][row] - sure["score"]).max() <= 0.1
    assert abs(len(ours) - len(theirs)) <= 0.05 * len(ours)


def test_the_compiled_operators_give_the_same_bits(there: Path, tmp_path: Path) -> None:
    if not native.is_available():
        pytest.skip("core/native has not been built in this checkout")
    path = tmp_path / f"{platform.machine()}.npz"
    subprocess.run(
        [sys.executable, "-c", OPERATORS, path], check=True,
        # Wider vectors fuse products and sums, and round otherwise.
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SKYDUEL_CPU_CAPABILITY": "base"},
    )  # fmt: skip
    with np.load(path) as ours, np.load(f"{there}.npz") as theirs:
        for name in ("crops", "index", "left"):
            assert ours[name].dtype == theirs[name].dtype
            assert np.array_equal(ours[name], theirs[name]), name
        assert len(ours["index"]) > 100
        assert ours["crops"].any()
