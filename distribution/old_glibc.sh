#!/usr/bin/env bash
# Makes a folder of link libraries of an older glibc: with `-L FOLDER` the compiler of this machine
# links for manylinux_2_28.
#
#   distribution/old_glibc.sh ARCH FOLDER     ARCH: x86_64 or aarch64; PYTHON has ziglang
#
# zig brings the symbols of every glibc, with their versions, for every architecture. Only its link
# libraries are taken: code is compiled by gcc, as it is where the tests run.
set -euo pipefail
arch=$1 folder=$2 version=${GLIBC:-2.28}
here=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}
prefix=$([ "$arch" = "$(uname -m)" ] || echo "$arch-linux-gnu-")
type "${prefix}g++" > /dev/null 2>&1 || {
  echo "old_glibc.sh: required the compiler ${prefix}g++ for $arch; it is not there" >&2
  exit 2
}
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cache=$folder/cache
echo 'int nothing;' > "$folder/nothing.c"
# What zig links is left in its cache.
ZIG_GLOBAL_CACHE_DIR=$cache ZIG_LOCAL_CACHE_DIR=$cache "$PYTHON" -m ziglang cc \
  -target "$arch-linux-gnu.$version" -O2 -s -fno-sanitize=all -shared -fPIC \
  "$folder/nothing.c" -o "$folder/nothing.so" -lm -lpthread -ldl
for name in libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libld.so.2 libc_nonshared.a; do
  found=$(find "$cache" -name "$name")
  [ -f "$found" ] || { echo "old_glibc.sh: required one $name from zig; got '$found'" >&2; exit 1; }
  cp "$found" "$folder/"
done
rm -r "$cache" "$folder"/nothing.*
for name in m.so.6 pthread.so.0 dl.so.2 rt.so.1; do
  ln -s "lib$name" "$folder/lib${name%%.*}.so"
done
"${prefix}g++" -std=c++20 -O2 -fPIC -c "$here/old_libstdcxx.cpp" -o "$folder/old.o"
"${prefix}ar" rcD "$folder/libold.a" "$folder/old.o"
rm "$folder/old.o"
# The linker takes what is missing from the archive first, and the rest from the library.
echo "INPUT($folder/libold.a $("${prefix}g++" -print-file-name=libstdc++.so))" > "$folder/libstdc++.so"
# dlsym and threads are in libraries of their own until glibc 2.34.
echo "INPUT($folder/libc.so.6 $folder/libc_nonshared.a AS_NEEDED($folder/libld.so.2 \
  $folder/libdl.so.2 $folder/libpthread.so.0))" > "$folder/libc.so"
