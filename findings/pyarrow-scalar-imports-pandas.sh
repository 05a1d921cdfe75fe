#!/usr/bin/env bash
# pyarrow imports pandas when it makes a scalar or an array from Python values; nothing asked for pandas.
#
# Seen with pyarrow 26.0.1, pandas 3.1.1 on 2026-11-30.
# `import pyarrow` leaves pandas alone, and so does an array made from buffers. But pa.scalar(" "),
# pa.array(["a"]) and a compute function with a Python value, such as pc.equal(array, "b"), import all of
# pandas, where it is installed, to ask whether the value is one of its types. None of the values is.
#
# It hurts programs that start often and took pyarrow to be free of pandas' start: the first string
# costs it. Build arrays from buffers (pa.Array.from_buffers).
#
# Output seen:
#   pyarrow 26.0.1, pandas 3.1.1
#   import pyarrow: pandas loaded: False
#   Array.from_buffers: pandas loaded: False
#   pa.scalar(" "): pandas loaded: True
#   pa.array(["a"]): pandas loaded: True
#   pc.equal(array, "b"): pandas loaded: True
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

print(f"pyarrow {version('pyarrow')}, pandas {version('pandas')}")
ARRAY = (
    "a = pa.Array.from_buffers(pa.string(), 1, "
    "[None, pa.py_buffer(b'\\0\\0\\0\\0\\1\\0\\0\\0'), pa.py_buffer(b'a')])"
)
CASES = {
    "import pyarrow": ("pass", False),
    "Array.from_buffers": (ARRAY, False),
    'pa.scalar(" ")': ("pa.scalar(' ')", True),
    'pa.array(["a"])': ("pa.array(['a'])", True),
    'pc.equal(array, "b")': (f"{ARRAY}; import pyarrow.compute as pc; pc.equal(a, 'b')", True),
}
for words, (code, expected) in CASES.items():
    script = f"import sys, pyarrow as pa; {code}; print('pandas' in sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.strip()
    print(f"{words}: pandas loaded: {loaded}")
    assert loaded == str(expected), words
PYTHON
