#!/usr/bin/env bash
# Undefined pixels (BLANK) of an unsigned 16-bit FITS image are 0 in astropy, of any other NaN.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-11-29. BLANK names the stored whole number that
# means "no value" (FITS standard 4.0, section 4.4.2.5). astropy gives NaN for such pixels of plain
# 16-bit images and of scaled ones. With BZERO = 32768, the usual way to store a camera's unsigned
# counts, the image comes as uint16 and BLANK is passed over: the stored -32768 is the number 0.
# There is no warning.
# With uint=False the same pixels are NaN.
#
# It hurts whoever masks by numpy.isfinite, as nearly every recipe does: the same frame saved as
# signed or as unsigned counts has its bad columns, or the corners that a camera does not see,
# masked or as pixels of 0 counts far below the sky, which pull the background down and make rims
# of false detections.
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   BZERO = 0                  float32 [1.0, 2.0, nan, 4.0], warnings: 0
#   BZERO = 5                  float32 [6.0, 7.0, nan, 9.0], warnings: 0
#   BZERO = 32768              uint16 [32769, 32770, 0, 32772], warnings: 0
#   BZERO = 32768, uint=False  float32 [32769.0, 32770.0, nan, 32772.0], warnings: 0
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

print("astropy", astropy.__version__, "numpy", numpy.__version__)
stored = numpy.array([[1, 2, -32768, 4]], ">i2")


def read(zero, **options):
    header = fits.PrimaryHDU(stored).header
    header["BLANK"] = -32768
    if zero:
        header["BSCALE"], header["BZERO"] = 1, zero
    with open("t.fits", "wb") as file:
        file.write(header.tostring().encode() + stored.tobytes().ljust(2880, b"\0"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = fits.getdata("t.fits", **options)
    label = f"BZERO = {zero}" + "".join(f", {name}={value}" for name, value in options.items())
    print(f"{label:26} {pixels.dtype.name} {pixels[0].tolist()}, warnings: {len(caught)}")
    return pixels[0], len(caught)


for zero in (0, 5):
    pixels, warned = read(zero)
    assert numpy.isnan(pixels[2]) and not warned
pixels, warned = read(32768)
assert pixels.dtype == "uint16" and pixels.tolist() == [32769, 32770, 0, 32772] and not warned
pixels, warned = read(32768, uint=False)
assert numpy.isnan(pixels[2]) and pixels[3] == 32772
PYTHON
