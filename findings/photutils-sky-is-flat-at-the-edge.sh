#!/usr/bin/env bash
# photutils' Background2D is off at the frame's edge by what a sloping sky changes over a whole box.
#
# Seen with photutils 3.0.0 (sep 1.4.1, astropy 8.0.2, scipy 1.17.1, numpy 2.4.6) on 2026-11-30. A
# sky that is a plane is reproduced inside, and levelled towards all four edges: the median filter
# of 3 x 3 boxes takes the outermost boxes for their neighbours, and the spline that zooms the
# boxes up mirrors them at the edge and is cut to their range. SEP, with the same boxes and the
# same filter, follows the plane up to the last pixel. Where the box does not divide the frame it
# is worse. The documentation of the class asks for few padded pixels, and says nothing of a slope.
#
# It hurts whoever detects or measures on frames with moonlight, twilight, vignetting or a nebula:
# the low side's faint sources near the edge are lost, the high side has false ones, every aperture
# there is off by its area times the error, and a comparison with SEP's detector is one of the
# skies. filter_size=1 halves it; a plane taken out before helps.
#
# Output seen (sky that remains, in ADU; the slope is 3.2 ADU a box, the noise 5 ADU):
#   photutils 3.0.0 sep 1.4.1 numpy 2.4.6
#   column                      0     32     64     96    512    991   1023
#   Background2D            -3.18  -1.58  -0.56   0.00  -0.00   1.58   3.17
#   ... filter_size=1       -1.57   0.01   0.18  -0.00   0.00  -0.01   1.57
#   ... of 1000 columns     -3.18  -1.58  -0.56   0.00   0.00   2.72   4.20 (the last: 967, 999)
#   ... after a plane        0.00   0.00   0.00   0.00   0.00   0.00   0.00
#   sep                      0.06   0.06   0.06   0.06   0.06   0.06   0.06
#   detections on noise in the last 48 columns: Background2D 5, sep 0
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check photutils==3.0.0 sep==1.4.1 \
    astropy==8.0.2 scipy==1.17.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import numpy
import photutils
import sep
from photutils.background import Background2D
from photutils.segmentation import detect_sources

print("photutils", photutils.__version__, "sep", sep.__version__, "numpy", numpy.__version__)
BOX = 64
x = numpy.mgrid[:1024, :1024][1].astype(float)
plane = 500 + 0.05 * x
places = [0, 32, 64, 96, 512, 991, 1023]
print(f"{'column':22}", " ".join(f"{one:6d}" for one in places))


def remaining(label, frame, sky, at=places):
    rest = (frame - sky)[512, at]
    print(f"{label:22}", " ".join(f"{one:6.2f}" for one in rest))
    return rest


def sep_sky(frame):
    return sep.Background(frame, bw=BOX, bh=BOX, fw=3, fh=3).back()


default = remaining("Background2D", plane, Background2D(plane, BOX).background)
single = remaining(
    "... filter_size=1", plane, Background2D(plane, BOX, filter_size=1).background
)
cut = plane[:, :1000]
shorter = [*places[:5], 967, 999]
padded = remaining("... of 1000 columns", cut, Background2D(cut, BOX).background, shorter)
slope, level = numpy.polyfit(x[0], plane.mean(axis=0), 1)
fitted = level + slope * x
after = remaining(
    "... after a plane", plane, fitted + Background2D(plane - fitted, BOX).background
)
other = remaining("sep", plane, sep_sky(plane))

noisy = plane + numpy.random.default_rng(1).normal(0, 5, plane.shape)
counts = []
for sky in (Background2D(noisy, BOX).background, sep_sky(noisy)):
    found = detect_sources(noisy - sky, 10.0, 5)
    columns = [] if found is None else [one[1].start for one in found.slices]
    counts.append(sum(one >= 1024 - 48 for one in columns))
print(f"detections on noise in the last 48 columns: Background2D {counts[0]}, sep {counts[1]}")
assert default[0] < -3 and default[-1] > 3 and abs(default[4]) < 0.01
assert 1.4 < single[-1] < 1.7 and padded[-1] > 1.2 * default[-1]
assert abs(after).max() < 0.01 and abs(other).max() < 0.1
assert counts[0] >= 3 and counts[1] == 0
PYTHON
