"""Compare detectors on a real SDSS frame: ``python benchmarks/accuracy/stripe82.py FOLDER``.

FOLDER holds the single-epoch frame 94-1-12 (r), the catalogue of a coadd twenty epochs deep
around it, and the survey's catalogue of that single epoch. Prints the fraction of the
coadd's sources that each detector finds at its default threshold, by r magnitude, and the number
of its detections in neither catalogue. The catalogues are not complete, so the last number
is an upper limit of the number of false detections.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from real.catalogues import stripe82
from real.tools import share

from skyduel.core.registry import make_detector
from skyduel.evaluation import pair
from skyduel.runner.inject import at_default

RADIUS_PX = 4.0
BINS = ((16, 21), (21, 22), (22, 23))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with", dest="names", nargs="+", default=["neural", "sep-matched", "sep"])
    options = parser.parse_args()
    frame, coadd, own = stripe82(options.folder)
    known = np.vstack([own, coadd.xy])
    ny, nx = frame.shape
    covered = ((coadd.xy > 10) & (coadd.xy < [nx - 10, ny - 10])).all(axis=1)
    print(f"{'detector':<14}{'rows':>6}  " + "".join(f"r {a}–{b:<22}" for a, b in BINS) + "unknown")
    for name in options.names:
        detector = make_detector(name)
        found = at_default(detector, detector(frame))
        cells = []
        for low, high in BINS:
            rows = covered & (coadd["mag"] >= low) & (coadd["mag"] < high)
            k, n = len(pair(coadd.xy[rows], found.xy, RADIUS_PX)), int(rows.sum())
            cells.append(f"{share(k, n)} of {n:<4}")
        unknown = len(found) - len(pair(known, found.xy, RADIUS_PX))
        print(f"{name:<14}{len(found):>6}  {' '.join(cells)} {unknown}")


if __name__ == "__main__":
    main()
