"""Detectors on a real SDSS frame: ``python benchmarks/accuracy/stripe82.py FOLDER``.

FOLDER holds the single-epoch frame 94-1-12 (r), the list of a coadd twenty epochs deep
around it, and the survey's own list of that single epoch. Prints the share of the
coadd's sources that each detector finds at its default threshold, by r magnitude, and how many
of its detections neither list knows. The lists are not complete, so the last number
is an upper limit of the false ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.stats import binomtest

from skyduel.core import detector_info, pixel_positions, read_catalog, read_frame
from skyduel.core.registry import make_detector
from skyduel.evaluation import pair

RADIUS_PX = 4.0
BINS = ((16, 21), (21, 22), (22, 23))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with", dest="names", nargs="+", default=["neural", "sep-matched", "sep"])
    options = parser.parse_args()
    frame = read_frame(options.folder / "frame-r-000094-1-0012.fits.bz2")
    coadd = read_catalog(
        options.folder / "stripe82_coadd_94_1_12.fits", frame=frame, columns={"mag": "psfmag_r"}
    )
    own = Table.read(options.folder / "photoObj_subset_94_1_12.fits")
    own = own[(own["NCHILD"] == 0) & np.isin(own["OBJC_TYPE"], (3, 6))]
    known = np.column_stack(pixel_positions(np.asarray(own["RA"]), np.asarray(own["DEC"]), frame))
    known = np.vstack([known, coadd.xy])

    ny, nx = frame.shape
    inside = (np.abs(coadd["x"] - nx / 2) < nx / 2 - 10) & (
        np.abs(coadd["y"] - ny / 2) < ny / 2 - 10
    )
    print(f"{'detector':<14}{'rows':>6}  " + "".join(f"r {a}–{b:<22}" for a, b in BINS) + "unknown")
    for name in options.names:
        detector = make_detector(name)
        found = detector(frame)
        cut = detector_info(detector).default_threshold
        if cut is not None:
            found = found.select(found["score"] >= cut)
        cells = []
        for low, high in BINS:
            rows = inside & (coadd["mag"] >= low) & (coadd["mag"] < high)
            k, n = len(pair(coadd.xy[rows], found.xy, RADIUS_PX).truth_index), int(rows.sum())
            ends = binomtest(k, n).proportion_ci(method="wilson")
            cells.append(f"{k / n:.3f} [{ends.low:.3f}, {ends.high:.3f}] of {n:<4}")
        unknown = len(found) - len(pair(known, found.xy, RADIUS_PX).found_index)
        print(f"{name:<14}{len(found):>6}  {' '.join(cells)} {unknown}")


if __name__ == "__main__":
    main()
