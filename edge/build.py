"""Build the C++ program `skyduel-points`: ``python edge/build.py FOLDER [--target aarch64]``.

FOLDER/TARGET gets the program and the shared libraries it needs, nothing else. The wheel of
ExecuTorch (its libraries and headers) and the source of SEP come from PyPI, pinned. A cross build
for aarch64 needs Debian's ``g++-aarch64-linux-gnu``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = Path(__file__).resolve().parent / "source"
NATIVE = ROOT / "core" / "native" / "csrc"
OPERATORS = ROOT / "cuda_ops" / "csrc"
EXECUTORCH, SEP = "1.5.1", "1.4.1"
COMPILERS = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}
#: Of ExecuTorch's libraries those that the program needs.
LIBRARIES = (
    "executorch", "executorch_backend_xnnpack", "executorch_kernels_optimized",
    "executorch_threadpool",
)  # fmt: skip
#: Equal bits on every processor: no fused products and sums, the same signs of char.
EXACT = ["-O3", "-ffp-contract=off", "-fsigned-char", "-fvisibility=hidden", "-Wall", "-Wextra"]
MOST_MB = 20.0


def main() -> None:
    """Build for one target, and hold the sizes to their bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", choices=COMPILERS, default="x86_64")
    given = parser.parse_args()
    compiler = COMPILERS[given.target]
    if not shutil.which(f"{compiler}g++"):
        sys.exit(f"required {compiler}g++; got none. On Debian: apt install g++-aarch64-linux-gnu")
    folder = given.folder.resolve()
    wheel, sep = downloaded(folder / "downloads", given.target)
    target, work = folder / given.target, folder / "work" / given.target
    for path in (target, work):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    build(compiler, wheel, sep, target, work)
    sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(target.iterdir())}
    for name, size in sizes.items():
        print(f"{name:44} {size:6.2f} MB")
    print(f"{given.target:44} {sum(sizes.values()):6.2f} MB")
    if sum(sizes.values()) > MOST_MB:
        sys.exit(f"required at most {MOST_MB:g} MB; got {sum(sizes.values()):.2f} MB")


def downloaded(folder: Path, target: str) -> tuple[Path, Path]:
    """Return the unpacked wheel of ExecuTorch and the unpacked source of SEP."""
    wheel, sep = folder / f"executorch-{target}", folder / f"sep-{SEP}"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
    if not wheel.is_dir():
        run(*pip, "--only-binary=:all:", "--python-version", "3.11", "--platform",
            f"manylinux_2_28_{target}", f"executorch=={EXECUTORCH}")  # fmt: skip
        (archive,) = folder.glob(f"executorch-{EXECUTORCH}-*_{target}.whl")
        with zipfile.ZipFile(archive) as file:
            file.extractall(wheel)
    if not sep.is_dir():
        run(*pip, "--no-binary", "sep", f"sep=={SEP}")
        with tarfile.open(folder / f"sep-{SEP}.tar.gz") as file:
            file.extractall(folder, filter="data")
    return wheel / "executorch", sep / "src"


def build(compiler: str, wheel: Path, sep: Path, target: Path, work: Path) -> None:
    """Compile, link and strip."""
    # SEP has another licence (LGPL), so it stays a library of its own that can be exchanged.
    run(f"{compiler}gcc", *EXACT, "-std=gnu11", "-w", "-fPIC", "-shared", "-fvisibility=default",
        *(sep / f"{name}.c" for name in ("background", "aperture", "util", "analyse", "convolve",
                                         "deblend", "extract", "lutz")),
        "-I", sep, "-s", "-Wl,-soname,libsep.so", "-o", target / "libsep.so")  # fmt: skip
    math = work / "portable_math.o"
    run(f"{compiler}gcc", *EXACT, "-Werror", "-std=c11", "-fno-builtin", "-fvisibility=default",
        "-c", SOURCES / "portable_math.c", "-o", math)  # fmt: skip
    for name in LIBRARIES:
        library = target / f"lib{name}.so"
        shutil.copy(wheel / "lib" / library.name, library)
        run(f"{compiler}strip", "--strip-unneeded", library)
    kernels = [
        NATIVE / f"{name}.cpp" for name in ("operators", "context", "neighbours", "windowed")
    ]
    kernels += sorted(OPERATORS.glob("roi_align_*.cpp"))
    objects = [math]  # -iquote: one of the headers has the name of a system header
    for source in (*sorted(SOURCES.glob("*.cpp")), *kernels):
        objects.append(work / f"{source.stem}.o")
        standard = f"-std=c++{17 if source in kernels else 20}"
        run(f"{compiler}g++", *EXACT, "-Werror", standard, "-pthread", "-c", source,
            "-iquote", SOURCES, "-iquote", OPERATORS, "-isystem", wheel / "include", "-isystem",
            wheel / "include" / "executorch" / "runtime" / "core" / "portable_type" / "c10",
            "-isystem", sep, "-DC10_USING_CUSTOM_GENERATED_MACROS", "-o", objects[-1])  # fmt: skip
    # The kernels register themselves, so no symbol asks for them.
    run(f"{compiler}g++", *objects, "-pthread", "-L", target, "-lsep", "-Wl,--no-as-needed",
        *(f"-l{name}" for name in LIBRARIES), "-Wl,--as-needed", "-s", "-Wl,-rpath,$ORIGIN",
        "-Wl,-rpath-link", target, "-o", target / "skyduel-points")  # fmt: skip


def run(*words: object) -> None:
    """Run a program, and end with it if it fails."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}{done.stderr[-6000:]}")


if __name__ == "__main__":
    main()
