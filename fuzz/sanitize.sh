#!/bin/sh
# The compiled operators under AddressSanitizer and UndefinedBehaviorSanitizer: their tests,
# the bodies of the CUDA kernels run on the CPU, and random calls.
#
#     make sanitize PYTHON=...      or      fuzz/sanitize.sh [SECONDS of random calls]
#
# PYTHON is one with torch, pytest and hypothesis. What is built goes to a folder of its own.
set -eu
PYTHON=${PYTHON:-python3}
CXX=${CXX:-c++}
SECONDS_EACH=${1:-60}
ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${SKYDUEL_SANITIZE:-$(mktemp -d)}
FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"

# A checkout that holds the operators only.
mkdir -p "$BUILD/src/skyduel/core/native" "$BUILD/tests" "$BUILD/distribution"
cd "$ROOT"
cp setup.py setup.cfg pyproject.toml README.md LICENSE "$BUILD"
cp distribution/sbom.py "$BUILD/distribution"
# setup.py also builds these, which only the whole package can call.
cp -r core/native/csrc "$BUILD/src/skyduel/core/native"
cp src/skyduel/__init__.py src/skyduel/py.typed "$BUILD/src/skyduel"
rm -rf "$BUILD/cuda_ops" "$BUILD/tests/cuda_ops" "$BUILD/tests/helpers"
cp -r cuda_ops "$BUILD"
cp -r tests/cuda_ops tests/helpers "$BUILD/tests"
ln -sfn ../../cuda_ops "$BUILD/src/skyduel/cuda_ops"
rm -f "$BUILD"/cuda_ops/*.so
cd "$BUILD"
SKYDUEL_CUDA=0 CFLAGS="$FLAGS" CXXFLAGS="$FLAGS" LDFLAGS="$FLAGS" \
    "$PYTHON" setup.py -q build_ext --inplace
PYTHONPATH="$BUILD/src"
export PYTHONPATH

# The test of the CUDA kernels' bodies compiles for itself.
printf '#!/bin/sh\nexec %s %s "$@"\n' "$CXX" "$FLAGS" > cxx
chmod +x cxx
LD_PRELOAD="$("$CXX" -print-file-name=libasan.so) $("$CXX" -print-file-name=libubsan.so)"
# Python and torch keep what they have until the end: that is no leak of ours.
ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
UBSAN_OPTIONS=print_stacktrace=1
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS
for capability in base avx2 avx512; do
    echo "== $capability"
    SKYDUEL_CPU_CAPABILITY=$capability CXX="$BUILD/cxx" \
        "$PYTHON" -m pytest -q -s -p no:cacheprovider -p no:faulthandler -p no:skyduel tests/cuda_ops \
        --ignore tests/cuda_ops/test_library.py --ignore tests/cuda_ops/test_gpu_script.py
    SKYDUEL_CPU_CAPABILITY=$capability "$PYTHON" "$ROOT/fuzz/operators.py" \
        --library "$BUILD/src" --seconds "$SECONDS_EACH"
done
