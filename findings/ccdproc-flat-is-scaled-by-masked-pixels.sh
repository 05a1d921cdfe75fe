#!/usr/bin/env bash
# ccdproc.flat_correct scales a flat by the mean of all its pixels, the masked ones among them.
#
# Seen with ccdproc 2.5.1 (astropy 8.0.2, numpy 2.4.6) on 2026-11-30. The flat is divided by its
# mean, as documented; what a mask excludes still enters this mean. One masked hot pixel of 500000
# in a flat of 100 x 100 pixels of 10000 makes every star half a per cent brighter, and masked
# corners that the light does not reach, a fifth of the frame, make every star a fifth fainter. The
# masked pixels themselves are handled: the flat is 1 there. Nothing warns; the picture looks flat
# in every case.
#
# It hurts whoever compares zero-points of nights, filters or chips whose masks differ, or converts
# counts into electrons after the flat: all magnitudes are shifted by a constant, and their errors
# are off with the gain. Give the mean or median of the good pixels as norm_value.
#
# Output seen (a frame of 1000 ADU):
#   ccdproc 2.5.1 astropy 8.0.2 numpy 2.4.6
#   no pixel masked                     1000.0
#   masked hot pixel                    1004.9
#   masked dark fifth                    800.0 (0.24 mag)
#   masked dark fifth, norm_value       1000.0
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check ccdproc==2.5.1 astropy==8.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import warnings

import astropy
import ccdproc
import numpy
from astropy.nddata import CCDData

print("ccdproc", ccdproc.__version__, "astropy", astropy.__version__, "numpy", numpy.__version__)
frame = CCDData(numpy.full((100, 100), 1000.0), unit="adu")


def corrected(label, pixels, mask, **options):
    flat = CCDData(pixels, unit="adu", mask=mask)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = ccdproc.flat_correct(frame, flat, **options)
    value = float(numpy.median(made.data[~mask]))
    loss = 2.5 * numpy.log10(1000 / value)
    print(f"{label:33} {value:8.1f}{f' ({loss:.2f} mag)' if loss > 0.01 else ''}")
    return value


even = numpy.full((100, 100), 10000.0)
none = numpy.zeros((100, 100), bool)
hot, hot_mask = even.copy(), none.copy()
hot[30, 40], hot_mask[30, 40] = 500000.0, True
dark, dark_mask = even.copy(), none.copy()
dark[:, :20], dark_mask[:, :20] = 0.0, True
assert abs(corrected("no pixel masked", even, none) - 1000) < 1e-6
assert abs(corrected("masked hot pixel", hot, hot_mask) - 1004.9) < 1e-6
assert abs(corrected("masked dark fifth", dark, dark_mask) - 800) < 1e-6
good = float(dark[~dark_mask].mean())
right = corrected("masked dark fifth, norm_value", dark, dark_mask, norm_value=good)
assert abs(right - 1000) < 1e-6
PYTHON
