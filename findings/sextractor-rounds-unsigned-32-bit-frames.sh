#!/usr/bin/env bash
# SExtractor rounds an unsigned 32-bit frame to multiples of 128 before it looks for sources.
#
# Seen with Source Extractor 2.25.0 (Debian 12) and frames of astropy 8.0.2 (numpy 2.4.6) on
# 2026-11-30. FITS stores unsigned whole numbers as signed ones with BZERO = 2^31. SExtractor turns
# the stored numbers, close to -2^31, into single precision, which has steps of 128 there, before
# it adds BZERO. A sky of 100 with a noise of 5 becomes a constant; it warns of "mainly constant
# data" and goes on, with a noise of 1. With a noise of 60 there is no warning any more. The same
# numbers as 16-bit unsigned, 32-bit signed or floats are right.
#
# It hurts whoever adds 16-bit exposures up in 32 bits, or has a camera that writes them: faint
# sources are gone, fluxes are off by a few per cent to tens of per cent, errors by a factor.
# Writing such frames as floats or as signed numbers helps.
#
# Output seen (fluxes and errors of a bright and a faint star; a sky of 20 times the noise):
#   Source Extractor version 2.25.0 (2018-02-08)
#   noise  5 float32  47868 +- 43, 1382 +- 44
#   noise  5 uint16   47868 +- 43, 1382 +- 44
#   noise  5 int32    47868 +- 43, 1382 +- 44
#   noise  5 uint32   45414 +- 9 (warning)
#   noise 60 float32  574519 +- 519, 16612 +- 522
#   noise 60 uint16   574519 +- 519, 16612 +- 522
#   noise 60 int32    574519 +- 519, 16612 +- 522
#   noise 60 uint32   578427 +- 609, 20454 +- 609
#
# The program is Debian's: apt-get install source-extractor.
set -euo pipefail
command -v source-extractor >/dev/null || { echo "source-extractor is required: apt-get install source-extractor" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 numpy==2.4.6
cd "$place"
source-extractor --version
"$place/venv/bin/python" - <<'PYTHON'
import subprocess

import numpy
from astropy.io import fits

with open("columns", "w") as file:
    file.write("FLUX_APER(1)\nFLUXERR_APER(1)\n")
common = "-c /dev/null -PARAMETERS_NAME columns -FILTER N -DETECT_THRESH 4 -DETECT_MINAREA 5"
common += " -PHOT_APERTURES 10 -CATALOG_TYPE ASCII -CATALOG_NAME found -VERBOSE_TYPE NORMAL"
y, x = numpy.mgrid[:200, :200]


def run(noise, dtype):
    star = numpy.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 8)
    faint = numpy.exp(-((x - 140) ** 2 + (y - 120) ** 2) / 8)
    sky = numpy.random.default_rng(1).normal(20 * noise, noise, x.shape)
    pixels = numpy.round(sky + noise * (400 * star + 12 * faint)).astype(dtype)
    fits.PrimaryHDU(pixels).writeto("frame.fits", overwrite=True)
    command = ["source-extractor", "frame.fits", *common.split()]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    with open("found") as file:
        rows = [[float(one) for one in line.split()] for line in file]
    shown = ", ".join(f"{flux:.0f} +- {error:.0f}" for flux, error in rows)
    warned = "constant" in said
    print(f"noise {noise:2d} {dtype:8} {shown}{' (warning)' if warned else ''}")
    return rows, warned


for noise, found in ((5, 1), (60, 2)):
    right, quiet = run(noise, "float32")
    assert len(right) == 2 and not quiet
    for dtype in ("uint16", "int32"):
        same, quiet = run(noise, dtype)
        assert same == right and not quiet
    wrong, warned = run(noise, "uint32")
    assert len(wrong) == found and warned == (noise == 5)
    bright, error = wrong[0][0] / right[0][0] - 1, wrong[0][1] / right[0][1] - 1
    assert 0.005 < abs(bright) < 0.1 and abs(error) > 0.1
faint = wrong[1][0] / right[1][0] - 1
assert faint > 0.15
PYTHON
