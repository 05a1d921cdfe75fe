"""The C++ program skyduel-points writes the points that the package finds.

`make edge` builds it for x86-64 and aarch64, makes its models and runs these tests.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from skyduel.core import Catalog, read_catalog, read_frame, write_frame
from skyduel.detect import neural
from skyduel.simulation import draw_settings, simulate

EDGE = Path(os.environ.get("SKYDUEL_EDGE", "nowhere")).resolve()
pytestmark = pytest.mark.skipif(
    not (EDGE / "skyduel-int8.pte").is_file() or platform.machine() != "x86_64",
    reason="needs the program skyduel-points and its models on x86-64: `make edge`",
)
#: Debian's libraries for aarch64, which the cross compiler brings.
LIBRARIES = Path("/usr/aarch64-linux-gnu/lib")
PARTS = {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b"}
PROCESSOR = (
    "processor\t: {number}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
)
#: Frames: kind, rows, columns. The narrow one is cut into tiles; none is a multiple of 16 px.
FRAMES = {"field": (150, 133), "dirty": (120, 140), "crowded": (40, 1000)}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Simulated frames without streaks, one of whole numbers."""
    folder, paths = tmp_path_factory.mktemp("edge"), {}
    for kind, (ny, nx) in FRAMES.items():
        rng = np.random.default_rng(31)
        settings = draw_settings(kind, rng, ny=ny, nx=nx).model_copy(update={"streaks": 0.0})
        made, _ = simulate(settings, rng)
        paths[kind] = folder / f"{kind}.fits"
        write_frame(made, paths[kind], dtype=np.uint16 if kind == "crowded" else np.float32)
    return paths


def search(model: str, frame: Path, *before: object, target: str = "x86_64") -> bytes:
    """Return what the program writes."""
    program = EDGE / target / "skyduel-points"
    words = [*before, program, EDGE / f"{model}.pte", frame, "--threshold", "0"]
    done = subprocess.run([str(w) for w in words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def catalogue(content: bytes, path: Path) -> Catalog:
    path.write_bytes(content)
    return read_catalog(path)


@pytest.mark.parametrize("kind", FRAMES)
def test_float32_gives_the_points_of_the_package(
    kind: str, frames: dict[str, Path], tmp_path: Path
) -> None:
    found = neural(runtime="onnx")(read_frame(frames[kind]))
    ours = found.select(~found.is_streak)
    theirs = catalogue(search("skyduel", frames[kind]), tmp_path / "points.csv")
    assert len(ours) == len(theirs) > 5
    distance, row = KDTree(theirs.xy).query(ours.xy)
    assert sorted(row) == list(range(len(ours)))
    assert distance.max() <= 1e-3
    np.testing.assert_allclose(theirs["score"][row], ours["score"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(theirs["flux"][row], ours["flux"], rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("core", PARTS)
def test_8_bits_give_every_byte_of_x86_on_arm(
    core: str, frames: dict[str, Path], tmp_path: Path
) -> None:
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None or not LIBRARIES.is_dir() or not (EDGE / "aarch64").is_dir():
        pytest.skip("needs qemu-user-static, g++-aarch64-linux-gnu and `make edge`")
    (tmp_path / "lib").symlink_to(LIBRARIES)
    # ExecuTorch asks there what the processor can do; the description of another one misleads it.
    (tmp_path / "proc").mkdir()
    each = (PROCESSOR.format(number=number, part=PARTS[core]) for number in range(2))
    (tmp_path / "proc" / "cpuinfo").write_text("".join(each))
    processors = tmp_path / "sys" / "devices" / "system" / "cpu"
    processors.mkdir(parents=True)
    for name, text in (("possible", "0-1"), ("present", "0-1"), ("kernel_max", "255")):
        (processors / name).write_text(f"{text}\n")
    for kind, frame in frames.items():
        there = search("skyduel-int8", frame, emulator, "-L", tmp_path, "-cpu", core,
                       target="aarch64")  # fmt: skip
        assert there == search("skyduel-int8", frame), kind
        assert there.count(b"\n") > 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "required an uncompressed FITS file, which begins with SIMPLE; got another"),
        (None, "required a FITS file; got no such file"),
    ],
)
def test_what_is_no_frame_is_refused_in_one_line(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    frame = tmp_path / "frame.fits"
    if content is not None:
        frame.write_bytes(content)
    program = EDGE / "x86_64" / "skyduel-points"
    done = subprocess.run([program, EDGE / "skyduel.pte", frame], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_frame_cut_short_is_refused(frames: dict[str, Path], tmp_path: Path) -> None:
    frame = tmp_path / "cut.fits"
    frame.write_bytes(frames["field"].read_bytes()[:9000])
    program = EDGE / "x86_64" / "skyduel-points"
    done = subprocess.run([program, EDGE / "skyduel.pte", frame], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"a file cut short after" in done.stderr


def header(*cards: str) -> bytes:
    lines = ("SIMPLE  =                    T", *cards, "END")
    return "".join(line.ljust(80) for line in lines).encode().ljust(2880)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        (("BITPIX  = 16", "NAXIS   = 1", "NAXIS1  = -5000"), "states another size"),
        (("BITPIX  = 16", "NAXIS   = 1000000000000"), "states another size"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 900000", "NAXIS2  = 900000"),
         "required a complete image of 1620000000000 bytes; got a file cut short after 0"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = -5", "NAXIS2  = 5"), "states another size"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 1E300", "NAXIS2  = 5"), "states another size"),
        (("BITPIX  = 16", "NAXIS   = 0"), "an uncompressed image in a FITS file; got none"),
    ],
)  # fmt: skip
def test_headers_of_impossible_sizes_are_refused(
    cards: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    frame = tmp_path / "frame.fits"
    frame.write_bytes(header(*cards))
    program = EDGE / "x86_64" / "skyduel-points"
    done = subprocess.run(
        [program, EDGE / "skyduel.pte", frame], capture_output=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert words in done.stderr.decode()
