#!/usr/bin/env bash
# A missing value of a boolean column becomes True when astropy writes the table as FITS.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-11-29. FITS has a value for "no value" in a column
# of logicals: a byte of 0 (FITS standard 4.0, section 7.3.3.1). astropy's writer puts "T" there,
# numpy's fill value of booleans, and gives no warning; what is read back has no mask. The same
# table comes back with its gap from ECSV, VOTable and (with pyarrow) Parquet.
#
# It hurts whoever keeps flags such as "saturated", "blended" or "is a star" in a table with gaps,
# for instance after an outer join of detections with a catalogue: every row without a partner
# has the flag set, and a selection by the flag drops or keeps all of them. Filling the column
# before writing (`table["flag"].filled(False)`), or an integer column with a null value, helps.
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   written   [False, None, False]
#   bytes     b'FTF'
#   FITS      [False, True, False], masked column: False, warnings: 0
#   ECSV      [False, None, False]
#   VOTable   [False, None, False]
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import warnings

import astropy
import numpy
from astropy.io import fits
from astropy.table import MaskedColumn, Table

print("astropy", astropy.__version__, "numpy", numpy.__version__)
table = Table({"flag": MaskedColumn([False, False, False], mask=[False, True, False])})
print("written  ", table["flag"].tolist())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    table.write("t.fits")
    back = Table.read("t.fits")
with fits.open("t.fits") as hdus:
    offset = hdus[1].fileinfo()["datLoc"]
with open("t.fits", "rb") as file:
    file.seek(offset)
    stored = file.read(3)
print("bytes    ", stored)
values, masked = back["flag"].tolist(), isinstance(back["flag"], MaskedColumn)
print(f"FITS      {values}, masked column: {masked}, warnings: {len(caught)}")
table.write("t.ecsv")
table.write("t.vot", format="votable")
ecsv = Table.read("t.ecsv")["flag"].tolist()
votable = Table.read("t.vot", format="votable")["flag"].tolist()
print("ECSV     ", ecsv)
print("VOTable  ", votable)
assert stored == b"FTF" and values == [False, True, False] and not masked and not caught
assert ecsv == votable == [False, None, False]
PYTHON
