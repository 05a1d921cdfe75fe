#!/usr/bin/env bash
# A position in an astropy Cutout2D over the frame's left or lower edge comes back wrong by the padding.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-11-30. With mode="partial" a stamp keeps its size,
# and what lies off the frame is filled. to_original_position, which should turn a place in the
# stamp into one in the frame, adds the first pixel that lies on the frame, not the one that is the
# stamp's first. So at the left and lower edges positions are too large by the filled columns and
# rows, and to_cutout_position is wrong the other way. At the other edges and inside both are
# right; position_cutout and the stamp's WCS are right everywhere.
#
# It hurts whoever measures sources on stamps of equal size, as networks and fits take them: along
# two of the four edges measured positions are off by up to half a stamp, and match nothing or a
# neighbour. Go through the WCS, or subtract slices_cutout[1].start and slices_cutout[0].start.
#
# Output seen (stamps of 21 x 21 around a pixel of its own value in a frame of 100 x 100):
#   astropy 8.0.2 numpy 2.4.6
#   pixel (50, 50)  in the stamp (10, 10), to_cutout_position (10, 10), to_original_position (50, 50)
#   pixel (97, 96)  in the stamp (10, 10), to_cutout_position (10, 10), to_original_position (97, 96)
#   pixel ( 2, 50)  in the stamp (10, 10), to_cutout_position (2, 10), to_original_position (10, 50)
#   pixel ( 3,  4)  in the stamp (10, 10), to_cutout_position (3, 4), to_original_position (10, 10)
#   by the WCS      (3, 4)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import astropy
import numpy
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

print("astropy", astropy.__version__, "numpy", numpy.__version__)
wcs = WCS(naxis=2)
wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [10, 20], [50, 50], [-0.001, 0.001]


def pair(values):
    return tuple(int(one) for one in values)


def stamp(x, y):
    frame = numpy.zeros((100, 100))
    frame[y, x] = 1
    cutout = Cutout2D(frame, (x, y), 21, wcs=wcs, mode="partial", fill_value=0.0)
    row, column = numpy.unravel_index(cutout.data.argmax(), cutout.shape)
    seen = pair((column, row))
    back = pair(cutout.to_original_position(seen))
    there = pair(cutout.to_cutout_position((x, y)))
    print(
        f"pixel ({x:2d}, {y:2d})  in the stamp {seen}, to_cutout_position {there}, "
        f"to_original_position {back}"
    )
    assert pair(cutout.position_cutout) == seen
    return cutout, seen, there, back


assert stamp(50, 50)[1:] == ((10, 10), (10, 10), (50, 50))
assert stamp(97, 96)[1:] == ((10, 10), (10, 10), (97, 96))
assert stamp(2, 50)[1:] == ((10, 10), (2, 10), (10, 50))
cutout, *seen = stamp(3, 4)
assert seen == [(10, 10), (3, 4), (10, 10)]
right = wcs.world_to_pixel(cutout.wcs.pixel_to_world(10, 10))
print("by the WCS     ", pair(numpy.round(right)))
assert numpy.allclose(right, (3, 4), atol=1e-6)
PYTHON
