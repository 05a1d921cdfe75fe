#!/usr/bin/env bash
# astropy looks for the missing integers of a scaled or unsigned FITS column among the scaled values.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-12-01. In a binary table TNULLn is the *stored*
# integer that stands for "no value" (FITS 4.0, section 7.3.2), before TSCALn and TZEROn. Table.read
# compares it with the value after them. Magnitudes kept as thousandths in 16-bit integers, with -9999
# for "not measured", come back without a missing one: the star without a magnitude has 10.001. In
# an unsigned column another row is missing than the one that the file means; and if TNULLn is
# negative, as the least stored integer is, reading raises a TypeError. Integers without scaling
# are read well, and a file that astropy wrote itself comes back as it went in, for it writes the scaled
# value into TNULLn: so a test that writes and reads a table passes.
#
# It hurts whoever reads catalogues of CFITSIO, STILTS or a survey that keep magnitudes or colours as
# scaled integers, or flags as unsigned ones with missing rows: bright stars that nobody measured, and
# real rows lost. Look for TNULLn beside TSCALn or TZEROn; read the stored integers, and mask by them.
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   stored -9999 1000 2000, TNULL -9999, TSCAL 0.001, TZERO 20   read: 10.001 21.0 22.0
#   stored -32768 0 1, TNULL 0, TZERO 32768                      read: -- 32768 32769
#   stored -32768 0 1, TNULL -32768, TZERO 32768                 read: TypeError
#   stored -9999 1000 2000, TNULL -9999                          read: -- 1000 2000
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
from astropy.table import Table

print("astropy", astropy.__version__, "numpy", numpy.__version__)
warnings.simplefilter("ignore")


def read(stored, **cards):
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("v", format="I", array=numpy.array(stored, dtype=numpy.int16))]
    )
    for key, value in cards.items():
        hdu.header[key + "1"] = value
    hdu.writeto("a.fits", overwrite=True)
    # What lies in the file, by a reader of two lines: the rows are the last block's first bytes.
    with open("a.fits", "rb") as file:
        rows = file.read()[-2880:][: 2 * len(stored)]
    assert numpy.frombuffer(rows, ">i2").tolist() == stored
    header = fits.getheader("a.fits", 1)
    assert all(header[key + "1"] == value for key, value in cards.items()), header
    try:
        column = Table.read("a.fits")["v"]
    except TypeError:
        got = "TypeError"
    else:
        got = " ".join("--" if v is numpy.ma.masked else str(v) for v in column)
    facts = ", ".join(f"{k} {v:g}" for k, v in cards.items())
    print(f"{'stored ' + ' '.join(map(str, stored)) + ', ' + facts:60} read: {got}")
    return got


seen = [
    read([-9999, 1000, 2000], TNULL=-9999, TSCAL=0.001, TZERO=20.0),
    read([-32768, 0, 1], TNULL=0, TZERO=32768),
    read([-32768, 0, 1], TNULL=-32768, TZERO=32768),
    read([-9999, 1000, 2000], TNULL=-9999),
]
right = ["-- 21.0 22.0", "0 -- 32769", "-- 32768 32769", "-- 1000 2000"]
assert seen == ["10.001 21.0 22.0", "-- 32768 32769", "TypeError", right[3]], seen
PYTHON
