#!/usr/bin/env bash
# SExtractor's -GAIN and -SATUR_LEVEL, given on the command line, lose to the frame's header.
#
# Seen with Source Extractor 2.25.0 (Debian 12) on 2026-11-29. Options on the command line win
# over the configuration file, as one expects; but GAIN_KEY and SATUR_KEY name "GAIN" and "SATURATE"
# by default, and where the frame has such a card its number is taken, whatever was asked for.
# Nothing is said. A card whose value is a word counts too: GAIN = 'high' is read as 0, which means
# an infinite gain, so that photon noise is left out. `-GAIN_KEY NONE -SATUR_KEY NONE` helps.
#
# It hurts whoever scales or calibrates frames (electrons, co-adds, a measured gain) and corrects
# the gain on the command line, and whoever observes with a camera whose software writes its gain
# setting (100, 'high') as GAIN: errors of bright stars are off by the root of the ratio, here by
# a factor of four, and so are samples selected by signal-to-noise. A saturation level set by hand
# has no effect on FLAGS.
#
# Output seen:
#   Source Extractor version 2.25.0 (2018-02-08)
#   no card         -GAIN 2                    FLUXERR_APER 194.4 FLAGS 0
#   GAIN = 100      -GAIN 2                    FLUXERR_APER 50.9 FLAGS 0
#   GAIN = 'high'   -GAIN 2                    FLUXERR_APER 43.3 FLAGS 0
#   GAIN = 100      -GAIN 2 -GAIN_KEY NONE     FLUXERR_APER 194.4 FLAGS 0
#   SATURATE = 50   -SATUR_LEVEL 60000         FLUXERR_APER 43.3 FLAGS 4
#   no card         -SATUR_LEVEL 60000         FLUXERR_APER 43.3 FLAGS 0
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

rng = numpy.random.default_rng(1)
y, x = numpy.mgrid[:128, :128]
star = 3000 * numpy.exp(-((x - 64) ** 2 + (y - 64) ** 2) / 8)
pixels = (rng.normal(100, 5, (128, 128)) + star).astype("f4")
with open("columns", "w") as file:
    file.write("FLUXERR_APER(1)\nFLAGS\n")
common = "-c /dev/null -PARAMETERS_NAME columns -FILTER N -DETECT_THRESH 5 -DETECT_MINAREA 5"
common += " -PHOT_APERTURES 10 -CATALOG_TYPE ASCII -CATALOG_NAME found -VERBOSE_TYPE NORMAL"


def run(card, options):
    header = fits.Header(dict([card] if card else []))
    fits.PrimaryHDU(pixels, header).writeto("frame.fits", overwrite=True)
    command = ["source-extractor", "frame.fits", *common.split(), *options.split()]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert "WARNING" not in said, said
    with open("found") as file:
        error, flags = file.read().split()
    shown = f"{card[0]} = {card[1]!r}" if card else "no card"
    print(f"{shown:15} {options:26} FLUXERR_APER {float(error):.1f} FLAGS {flags}")
    return float(error), int(flags)


asked, _ = run(None, "-GAIN 2")
header, _ = run(("GAIN", 100), "-GAIN 2")
word, _ = run(("GAIN", "high"), "-GAIN 2")
without, _ = run(("GAIN", 100), "-GAIN 2 -GAIN_KEY NONE")
_, low = run(("SATURATE", 50), "-SATUR_LEVEL 60000")
infinite, high = run(None, "-SATUR_LEVEL 60000")
assert without == asked > 3.5 * header and header > word == infinite
assert (low, high) == (4, 0)
PYTHON
