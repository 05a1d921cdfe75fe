"""Make an ARM system to run under emulation: ``python distribution/arm_system.py FOLDER``.

FOLDER gets, from Debian's and PyPI's ordinary archives,

- ``root/``: Debian's Python and C libraries for arm64, extracted and never booted;
- ``dist/``: a wheel of this checkout for aarch64, whose kernels are cross-compiled here, unless
  ``--wheel`` names one (that of ``distribution/build_wheel.sh aarch64``, say);
- ``site/``: that wheel with the extra ``onnx`` and all it asks for, from wheels for aarch64 only;
- ``cortex-a53/python`` (Raspberry Pi 3, Zero 2 W), ``cortex-a72/python`` (Pi 4) and
  ``cortex-a76/python`` (Pi 5): this Python on that core, emulated by qemu.

What is there already and of the same versions is kept, but for the wheel of this checkout. Nothing
needs root, a container or binfmt. Emulation proves results and instructions, not speed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
#: Programs, and the packages of Debian that have them.
PROGRAMS = {
    "qemu-aarch64-static": "qemu-user-static",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "mmdebstrap": "mmdebstrap",
}
SUITE = "bookworm"
PYTHON = "3.11"
PACKAGES = f"python{PYTHON},libpython{PYTHON}-stdlib,libstdc++6,libgomp1"
#: Platforms of the wheels that its C library (2.36) can load. pip takes the very names it is given:
#: with 2.28 alone it would refuse a wheel for 2.27.
PLATFORMS = (
    "linux_aarch64",
    "manylinux2014_aarch64",
    *(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)),
)
#: The part number of each core, which libraries look up in /proc/cpuinfo.
CORES = {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b"}
PROCESSOR = """\
processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3

"""


def main() -> None:
    """Make what is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheel", type=Path, help="a wheel for aarch64 in place of a new one")
    given = parser.parse_args()
    folder = given.folder.resolve()
    lacking = {
        program: package for program, package in PROGRAMS.items() if not shutil.which(program)
    }
    if lacking:
        sys.exit(
            f"required {', '.join(PROGRAMS)}; got no {', '.join(lacking)}. "
            f"On Debian or Ubuntu: apt install {' '.join(lacking.values())}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    debian(folder / "root")
    made = wheel(folder / "dist") if given.wheel is None else given.wheel.resolve()
    has_kernels(made)
    libraries(folder / "site", made)
    for core, part in CORES.items():
        emulated(folder, core, part)
    print(f"{folder}: {', '.join(f'{core}/python' for core in CORES)}")


def debian(root: Path) -> None:
    """Extract Debian's packages for arm64."""
    if stamped(root, PACKAGES):
        return
    words = ["--quiet", "--architectures=arm64", "--variant=extract", f"--include={PACKAGES}"]
    run("mmdebstrap", *words, SUITE, root)
    stamp(root, PACKAGES)


def wheel(folder: Path) -> Path:
    """Build the wheel of this checkout for aarch64; warnings of the compiler are errors."""
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    (work / "egg").mkdir(parents=True)
    compiler = "aarch64-linux-gnu-"
    environment = {
        "CC": f"{compiler}gcc",
        "CXX": f"{compiler}g++",
        "LDSHARED": f"{compiler}gcc -shared",
        "LDCXXSHARED": f"{compiler}g++ -shared",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "SKYDUEL_OPERATORS": "0",
        "SKYDUEL_WERROR": "1",
    }
    run(
        *(sys.executable, "setup.py", "-q", "egg_info", "--egg-base", work / "egg"),
        *("build", "--build-base", work / "build"),
        *("bdist_wheel", "--bdist-dir", work / "bdist", "--dist-dir", folder),
        environment=environment,
    )
    shutil.rmtree(work)
    (made,) = folder.glob("skyduel-*_aarch64.whl")
    return made


def has_kernels(made: Path) -> None:
    """End unless a wheel has kernels for aarch64: those that do not compile are left out of it."""
    name = "skyduel/core/native/_kernels.abi3.so"
    with zipfile.ZipFile(made) as archive:
        kernels = archive.read(name) if name in archive.namelist() else b""
    if kernels[18:20] != b"\xb7\x00":  # e_machine of ELF: AArch64
        got = f"machine {kernels[18:20].hex()}" if kernels else "none"
        sys.exit(f"{made.name}: required kernels for AArch64; got {got}")


def libraries(site: Path, made: Path) -> None:
    """Install the wheel, and what it asks for on aarch64 with the extra ``onnx``."""
    with zipfile.ZipFile(made) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        facts = message_from_bytes(archive.read(name))
    # pip would judge the markers by the machine it runs on.
    there = {"platform_machine": "aarch64", "extra": "onnx"}
    wanted = [Requirement(text) for text in facts.get_all("Requires-Dist", [])]
    lines = sorted(
        f"{one.name}{one.specifier}"
        for one in wanted
        if one.marker is None or one.marker.evaluate(there)
    )
    pinned = ROOT / "constraints.txt"
    state = hashlib.sha256(("\n".join(lines) + pinned.read_text()).encode()).hexdigest()
    if not stamped(site, state):
        pip_install(site, "-c", pinned, *lines)
        stamp(site, state)
    for old in site.glob("skyduel*"):
        shutil.rmtree(old)
    pip_install(site, "--no-deps", "--upgrade", made)


def pip_install(site: Path, *words: object) -> None:
    """Install wheels for the emulated Python into a folder."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    run(
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-compile",
            "--target",
            site,
            *platforms,
        ),
        *("--python-version", PYTHON, "--only-binary=:all:", *words),
    )


def emulated(folder: Path, core: str, part: str) -> None:
    """Make a system of one core: links to the common files, and a Python that runs there."""
    own = folder / core
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    for path in (folder / "root").iterdir():
        if path.name not in ("proc", "sys"):
            (own / path.name).symlink_to(Path("..", "root", path.name))
    # qemu looks here before the machine's own files. Libraries that read there what the
    # processor can do (onnxruntime) crash on the description of another one.
    processors = own / "sys" / "devices" / "system" / "cpu"
    processors.mkdir(parents=True)
    for name, text in (("possible", "0-1"), ("present", "0-1"), ("kernel_max", "255")):
        (processors / name).write_text(f"{text}\n")
    (own / "proc").mkdir()
    each = (PROCESSOR.format(number=number, part=part) for number in range(2))
    (own / "proc" / "cpuinfo").write_text("".join(each))
    start = own / "python"
    start.write_text(
        f'#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
        f'PYTHONPATH="$here/../site" exec qemu-aarch64-static -L "$here" -cpu {core} '
        f'"$here/usr/bin/python{PYTHON}" "$@"\n'
    )
    start.chmod(0o755)


def stamped(folder: Path, state: str) -> bool:
    """Return True if a folder was finished in this state; else clear it."""
    mark = folder.with_name(f"{folder.name}.stamp")
    if folder.is_dir() and mark.is_file() and mark.read_text() == state:
        return True
    mark.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return False


def stamp(folder: Path, state: str) -> None:
    """Mark a folder as finished in this state."""
    folder.with_name(f"{folder.name}.stamp").write_text(state)


def run(*words: object, environment: dict[str, str] | None = None) -> None:
    """Run a program at the top of the checkout, and end with it if it fails."""
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


if __name__ == "__main__":
    main()
