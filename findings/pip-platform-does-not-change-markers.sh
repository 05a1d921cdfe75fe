#!/usr/bin/env bash
# pip install --platform takes wheels for another machine, but judges markers by the machine it runs on.
#
# Seen with pip 26.3 on x86-64 on 2026-11-30; the packages are made here and nothing is downloaded but pip.
# A package that asks for a library everywhere but on aarch64, and for another one there only, is
# installed into a folder with --platform manylinux_2_28_aarch64, as is done for boards and for AWS Lambda
# on Graviton. pip takes the package's wheel for aarch64, and with it the library for all
# others; the one that the board needs is not installed. There is no warning. Without the
# first library's wheel for aarch64 the installation fails, though the package says that it is not wanted there.
#
# It hurts whoever makes the folder of a small computer on a large one: the folder has what the large one
# needs. Judge the markers first, with platform_machine set (packaging: Marker.evaluate), and give
# pip the list; or use uv pip install --python-platform, which judges them by the platform asked for.
#
# Output seen:
#   pip 26.3
#   asked for aarch64, installed: core, for-others (tag of core: py3-none-manylinux_2_28_aarch64)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pip==26.3
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import platform
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

print("pip", version("pip"))
assert platform.machine() == "x86_64"


def wheel(name, tag, *requirements):
    """Write a wheel without files."""
    folder = f"{name.replace('-', '_')}-1.0.dist-info"
    asked = "".join(f"Requires-Dist: {one}\n" for one in requirements)
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{asked}",
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(f"wheels/{name.replace('-', '_')}-1.0-{tag}.whl", "w") as archive:
        for file, text in texts.items():
            archive.writestr(f"{folder}/{file}", text)


ARM = "py3-none-manylinux_2_28_aarch64"
Path("wheels").mkdir()
for name in ("for-arm", "for-others"):
    wheel(name, "py3-none-any")
wheel(
    "core", ARM,
    'for-arm; platform_machine == "aarch64"',
    'for-others; platform_machine != "aarch64"',
)
subprocess.run(
    [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
     "--no-index", "--find-links", "wheels", "--target", "board",
     "--platform", "manylinux_2_28_aarch64", "--only-binary=:all:", "core"],
    check=True,
)
names = sorted(p.name.partition("-")[0].replace("_", "-") for p in Path("board").glob("*.dist-info"))
tag = (Path("board/core-1.0.dist-info/WHEEL")).read_text().split("Tag: ")[1].strip()
print(f"asked for aarch64, installed: {', '.join(names)} (tag of core: {tag})")
assert names == ["core", "for-others"] and tag == ARM
PYTHON
