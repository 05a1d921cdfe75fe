#!/usr/bin/env bash
# astropy writes declinations between -1 and 0 degrees into journal tables (MRT) without their minus sign.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-11-30. A SkyCoord column written as ascii.mrt, the
# format of machine-readable tables that the AAS journals and CDS take, is split into hours,
# minutes, seconds, a sign and degrees, arcminutes and arcseconds. The sign is taken from the whole
# degrees, which are 0 here: -00 30 00 becomes +00 30 00. There is no warning. SkyCoord.to_string
# of the same coordinates has the minus.
#
# It hurts whoever publishes a catalogue of an equatorial field (SDSS Stripe 82, Landolt's standard
# stars): every source of that degree is mirrored at the equator, up to two degrees from its place,
# where a cross-match finds nothing or another source. Writing decimal degrees as plain columns
# helps.
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   written       -1.50000  -0.50000  -0.00010  +0.50000
#   in the file   -01 30 00.000000000   +00 30 00.000000000   +00 00 00.360000000   +00 30 00.000000000
#   read back     -1.50000  +0.50000  +0.00010  +0.50000
#   to_string    -1d30m00s -0d30m00s -0d00m00.36s +0d30m00s
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
from astropy.coordinates import SkyCoord
from astropy.table import Table

print("astropy", astropy.__version__, "numpy", numpy.__version__)
DEC = [-1.5, -0.5, -0.0001, 0.5]
places = SkyCoord([150.0] * 4, DEC, unit="deg")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    Table({"id": [1, 2, 3, 4], "place": places}).write(
        "t.mrt", format="ascii.mrt", overwrite=True
    )
said = [str(one.message) for one in caught if "sign" in str(one.message).lower()]
with open("t.mrt") as file:
    lines = file.read().splitlines()[-4:]
shown = [line[-19:] for line in lines]
read = Table.read("t.mrt", format="ascii.mrt")
size = read["DEd"] + read["DEm"] / 60 + read["DEs"] / 3600
back = numpy.where(read["DE-"] == "-", -1.0, 1.0) * numpy.asarray(size)
print("written     ", " ".join(f"{one:+9.5f}" for one in DEC))
print("in the file ", "  ".join(f"{one:>20}" for one in shown))
print("read back   ", " ".join(f"{one:+9.5f}" for one in back))
print("to_string   ", *(one.split()[1] for one in places.to_string("dms", alwayssign=True)))
assert not said
assert numpy.allclose(back, [-1.5, 0.5, 0.0001, 0.5], atol=1e-9)
assert [one.split()[1][0] for one in places.to_string("dms", alwayssign=True)] == list("---+")
PYTHON
