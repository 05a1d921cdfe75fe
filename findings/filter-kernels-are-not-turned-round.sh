#!/usr/bin/env bash
# SExtractor and SEP do not turn the filter kernel round; astropy's convolve, as photutils uses it, does.
#
# Seen with Source Extractor 2.25.0 (Debian 12), sep 1.4.1, astropy 8.0.2, photutils 3.0.0 and numpy
# 2.4.6 on 2026-12-01. The manual of SExtractor speaks of a convolution, and that turns a kernel by
# 180 degrees. SExtractor and SEP do not: they correlate the frame with it, which is right for a
# matched filter. Symmetric kernels, such as all that SExtractor ships, hide the difference. A kernel
# with one pixel at its lower left corner moves a star to the upper right in SExtractor and SEP, and to
# the lower left in astropy. With the star's own image as kernel, comatic as at the edge of a wide
# field, SEP finds 177 of 200 faint stars, and photutils on convolve(frame, kernel) 117 of them with
# the same threshold in units of the noise of the filtered frame.
#
# It hurts whoever takes a measured PSF (PSFEx, ePSF) as kernel for photutils, where it must be turned
# (kernel[::-1, ::-1]), or turns it for SExtractor because the manual says convolution: faint
# stars are lost where the optics are worst, and positions on the filtered frame move.
#
# Output seen:
#   source-extractor 2.25.0 sep 1.4.1 astropy 8.0.2 photutils 3.0.0 numpy 2.4.6
#   kernel of one pixel at (-1, -1) moves a star by: source-extractor (1, 1), sep (1, 1), astropy (-1, -1)
#   200 comatic stars of S/N 6, their own image as kernel, 5 sigma: sep 177, photutils 117, photutils with the kernel turned round 177
#
# The program is Debian's: apt-get install source-extractor.
set -euo pipefail
command -v source-extractor >/dev/null || { echo "source-extractor is required: apt-get install source-extractor" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check sep==1.4.1 astropy==8.0.2 photutils==3.0.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import subprocess

import astropy
import numpy
import photutils
import sep
from astropy.convolution import convolve
from astropy.io import fits
from photutils.segmentation import detect_sources

program = subprocess.run(["source-extractor", "--version"], capture_output=True, text=True)
print(
    "source-extractor", program.stdout.split()[3], "sep", sep.__version__, "astropy",
    astropy.__version__, "photutils", photutils.__version__, "numpy", numpy.__version__,
)

# One bright pixel, and a kernel whose only weight is its first one: at the lower left in FITS' sense.
frame = numpy.zeros((61, 61), dtype=numpy.float32)
frame[30, 30] = 1000
corner = numpy.zeros((3, 3))
corner[0, 0] = 1
noisy = frame + numpy.random.default_rng(1).normal(0, 0.01, frame.shape).astype(numpy.float32)
fits.writeto("a.fits", noisy)
with open("corner.conv", "w") as file:
    file.write("CONV NONORM\n1 0 0\n0 0 0\n0 0 0\n")
with open("columns", "w") as file:
    file.write("NUMBER\n")
command = "source-extractor a.fits -c /dev/null -PARAMETERS_NAME columns -FILTER Y -FILTER_NAME corner.conv"
command += " -BACK_TYPE MANUAL -BACK_VALUE 0 -CHECKIMAGE_TYPE FILTERED -CHECKIMAGE_NAME f.fits"
subprocess.run([*command.split(), "-CATALOG_NAME", "found", "-VERBOSE_TYPE", "QUIET"], check=True, capture_output=True)


def moved(filtered):
    y, x = numpy.unravel_index(numpy.argmax(filtered), filtered.shape)
    return int(x) - 30, int(y) - 30


found = sep.extract(frame, 0.1, filter_kernel=corner, filter_type="conv", minarea=1, clean=False)
by_sep = int(found["xcpeak"][0]) - 30, int(found["ycpeak"][0]) - 30
by_program = moved(fits.getdata("f.fits"))
by_astropy = moved(convolve(frame, corner, normalize_kernel=False))
print(
    "kernel of one pixel at (-1, -1) moves a star by: source-extractor "
    f"{by_program}, sep {by_sep}, astropy {by_astropy}"
)
assert by_program == by_sep == (1, 1) and by_astropy == (-1, -1)

# A comatic star: a core, and a tail of discs that grow with their distance from it.
y, x = numpy.mgrid[-12:13, -12:13]
widths = [0.9 + 0.5 * k for k in range(12)]
star = sum(
    numpy.exp(-((x + 6 - k) ** 2 + y**2) / (2 * s**2)) / s**2 for k, s in enumerate(widths)
)
star /= star.sum()
rng = numpy.random.default_rng(0)
frame = rng.normal(0, 1, (1000, 1000))
size = numpy.sqrt((star**2).sum())
for row in range(10):
    for column in range(20):
        place = numpy.s_[row * 100 + 38 : row * 100 + 63, column * 50 + 13 : column * 50 + 38]
        frame[place] += 6 / size * star
places = [(column * 50 + 25, row * 100 + 50) for row in range(10) for column in range(20)]


def near(xy):
    """Return how many of the 200 stars have a detection within 12 px."""
    away = [max(abs(px - a), abs(py - b)) for px, py in places for a, b in xy]
    return int((numpy.reshape(away, (len(places), -1)).min(axis=1) <= 12).sum())


found = sep.extract(
    frame, 5.0, err=numpy.ones_like(frame), filter_kernel=star, filter_type="matched", minarea=1
)
counts = [near(list(zip(found["x"], found["y"])))]
for kernel in (star, star[::-1, ::-1]):
    segments = detect_sources(convolve(frame, kernel, normalize_kernel=False) / size, 5.0, n_pixels=1)
    middles = [((s.slices[1].start + s.slices[1].stop - 1) / 2, (s.slices[0].start + s.slices[0].stop - 1) / 2)
               for s in segments.segments]
    counts.append(near(middles))
print(
    f"200 comatic stars of S/N 6, their own image as kernel, 5 sigma: sep {counts[0]}, "
    f"photutils {counts[1]}, photutils with the kernel turned round {counts[2]}"
)
assert abs(counts[0] - counts[2]) <= 5 and counts[1] < 0.75 * counts[2], counts
PYTHON
