#!/usr/bin/env bash
# ccdproc's weighted average divides by the weights of masked and clipped pixels too: they count as zero.
#
# Seen with ccdproc 2.5.1 (astropy 8.0.2, numpy 2.4.6) on 2026-11-30. Masked and rejected pixels
# are to be left out, says average_combine. Their values are, their weights are not. Of four frames
# of 100 ADU with one masked in a pixel, the average there is 100 without weights and 75 with equal
# ones. Sigma clipping masks in the same way. The combined pixel has no mask, and its uncertainty
# does not tell.
#
# It hurts whoever weights exposures by their time, seeing or noise and rejects cosmic rays: each
# rejected pixel becomes a hole in the sky, a star whose centre was clipped or masked in one
# exposure is fainter by that exposure's share, and mosaics step down where a frame ends. Set the
# weights to zero under the mask, after the clipping: numpy.where(combiner.data_arr.mask, 0,
# weights[:, None, None]), one weight a pixel.
#
# Output seen (four frames of 100 ADU; a pixel masked in the first, one with a cosmic ray in it):
#   ccdproc 2.5.1 astropy 8.0.2 numpy 2.4.6
#   no weights            masked 100.0, cosmic ray 100.0, others 100.0
#   weights 1 1 1 1       masked  75.0, cosmic ray  75.0, others 100.0
#   weights 3 1 1 1       masked  50.0, cosmic ray  50.0, others 100.0
#   ... 0 under the mask  masked 100.0, cosmic ray 100.0, others 100.0
#   combine(weights=...)  masked  50.0, cosmic ray  50.0, others 100.0
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check ccdproc==2.5.1 astropy==8.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import astropy
import ccdproc
import numpy
from astropy.nddata import CCDData

print("ccdproc", ccdproc.__version__, "astropy", astropy.__version__, "numpy", numpy.__version__)


def frames():
    made = []
    for number in range(4):
        pixels, mask = numpy.full((8, 8), 100.0), numpy.zeros((8, 8), bool)
        if number == 0:
            mask[2, 2] = True
            pixels[5, 5] = 9000.0
        made.append(CCDData(pixels, unit="adu", mask=mask))
    return made


def shown(label, image):
    seen = image.data[2, 2], image.data[5, 5], numpy.median(image.data)
    print(f"{label:21} masked {seen[0]:5.1f}, cosmic ray {seen[1]:5.1f}, others {seen[2]:5.1f}")
    assert image.mask is None or not image.mask.any()
    return seen


def combined(label, weights=None, zero=False):
    combiner = ccdproc.Combiner(frames())
    combiner.minmax_clipping(max_clip=1000)
    if zero:
        weights = numpy.where(combiner.data_arr.mask, 0.0, weights[:, None, None])
    combiner.weights = weights
    return shown(label, combiner.average_combine())


heavy = numpy.array([3.0, 1, 1, 1])
assert combined("no weights") == (100, 100, 100)
assert combined("weights 1 1 1 1", numpy.ones(4)) == (75, 75, 100)
assert combined("weights 3 1 1 1", heavy) == (50, 50, 100)
assert combined("... 0 under the mask", heavy, zero=True) == (100, 100, 100)
whole = ccdproc.combine(
    frames(), method="average", weights=heavy, minmax_clip=True, minmax_clip_max=1000
)
assert shown("combine(weights=...)", whole) == (50, 50, 100)
PYTHON
