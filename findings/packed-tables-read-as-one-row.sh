#!/usr/bin/env bash
# A catalogue compressed by fpack is read by astropy, fitsio and STILTS as one row of bytes, without a word.
#
# Seen with fpack 1.7.0 of CFITSIO 4.2.0 and STILTS 3.4.7 (Debian 12), astropy 8.0.2 and fitsio 1.4.2
# (numpy 2.4.6) on 2026-12-01. Images that fpack compressed are opened by astropy and fitsio as if they
# were not compressed. Tables (`fpack -table`, in the FITS standard since 4.0, section 10.3) keep
# their names of columns, but have one row for each tile, and each cell is an array of compressed
# bytes. All three open the file without an error or a warning: len(table) is 1 where the catalogue
# has 500 sources, and the column x exists. Only the keyword ZTABLE tells.
#
# It hurts whoever packs a folder of frames and their catalogues, or downloads one: a count of sources
# is a count of tiles, a loop over rows runs once, and sums and medians of x are of bytes. Look for
# ZTABLE = T, and run funpack first.
#
# Output seen:
#   1.7.0 (Dec 2013) CFITSIO version 4.020
#   astropy 8.0.2 fitsio 1.4.2 numpy 2.4.6
#   image, packed:  astropy (50, 60) equal, fitsio (50, 60) equal
#   table, packed:  astropy 1 row, x mag flags, no warning; fitsio 1 row, x mag flags; stilts 1 row
#   table, funpack: astropy 500 rows, equal
#
# The programs are Debian's: apt-get install libcfitsio-bin stilts.
set -euo pipefail
for program in fpack funpack stilts; do
    command -v "$program" >/dev/null || { echo "$program is required: apt-get install libcfitsio-bin stilts" >&2; exit 2; }
done
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 fitsio==1.4.2 numpy==2.4.6
cd "$place"
fpack -V
"$place/venv/bin/python" - <<'PYTHON'
import subprocess
import warnings

import astropy
import fitsio
import numpy
from astropy.io import fits
from astropy.table import Table

print("astropy", astropy.__version__, "fitsio", fitsio.__version__, "numpy", numpy.__version__)
warnings.simplefilter("error")
rng = numpy.random.default_rng(0)
image = rng.poisson(100, (50, 60)).astype(numpy.int16)
fits.writeto("image.fits", image)
table = Table(
    {"x": rng.uniform(0, 2000, 500), "mag": rng.normal(20, 1, 500).astype("f4"),
     "flags": rng.integers(0, 9, 500).astype("i2")}
)
table.write("table.fits")
subprocess.run(["fpack", "image.fits"], check=True)
subprocess.run(["fpack", "-table", "table.fits"], check=True, capture_output=True)

by_astropy, by_fitsio = fits.getdata("image.fits.fz"), fitsio.read("image.fits.fz")
assert (by_astropy == image).all() and (by_fitsio == image).all()
print("image, packed:  astropy", by_astropy.shape, "equal, fitsio", by_fitsio.shape, "equal")

assert fits.getheader("table.fits.fz", 1)["ZTABLE"] is True
by_astropy, by_fitsio = Table.read("table.fits.fz"), fitsio.read("table.fits.fz")
command = ["stilts", "tpipe", "in=table.fits.fz", "omode=count"]
by_stilts = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
names = " ".join(by_astropy.colnames)
assert list(by_fitsio.dtype.names) == by_astropy.colnames == table.colnames
print(
    f"table, packed:  astropy {len(by_astropy)} row, {names}, no warning; "
    f"fitsio {len(by_fitsio)} row, {names}; stilts {by_stilts[by_stilts.index('rows:') + 1]} row"
)
assert len(by_astropy) == len(by_fitsio) == 1 and by_stilts[by_stilts.index("rows:") + 1] == "1"
assert bytes(bytearray(by_astropy["x"][0][:2])) == b"\x1f\x8b"  # gzip's first bytes

subprocess.run(["funpack", "-O", "back.fits", "table.fits.fz"], check=True, capture_output=True)
back = Table.read("back.fits")
assert len(back) == 500 and all((back[name] == table[name]).all() for name in names.split())
print("table, funpack: astropy", len(back), "rows, equal")
PYTHON
