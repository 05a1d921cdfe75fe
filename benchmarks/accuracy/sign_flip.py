"""Test the estimate from sign-flipped frames: ``benchmarks/accuracy/sign_flip.py FRAMES``.

FRAMES is a data set of simulated frames with a truth that also lists sources too faint to count.
For each kind of frame and each detector, at its default threshold: the false detections per Mpix
on the frame (farther than 3 px from every source of the truth), what the flipped frame says of
them (`skyduel.simulation.sign_flipped`), and what it would say if bright sources were flipped,
too (``keep_sigma=inf``; detections near them are left out all the same). All three
are counted on the pixels that `sign_flipped` counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from real.tools import markdown
from scipy import ndimage

from skyduel.core import Catalog, Frame, make_detector, open_dataset, read_catalog
from skyduel.runner.inject import at_default
from skyduel.simulation import sign_flipped

NEAR_PX = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument(
        "--with", dest="detectors", nargs="+", default=["neural", "sep-matched", "sep"]
    )
    options = parser.parse_args()
    detectors = {name: make_detector(name, {}) for name in options.detectors}
    rows = []
    for entry in open_dataset(options.frames):
        frame = entry.read()
        assert entry.truth is not None
        truth = read_catalog(entry.truth, frame=frame)
        flipped, whole = sign_flipped(frame), sign_flipped(frame, keep_sigma=np.inf)
        empty = flipped.counted & ~near(truth, frame)
        for name, detector in detectors.items():
            found, false, dark = (
                at_default(detector, detector(f)) for f in (frame, flipped.frame, whole.frame)
            )
            rows.append(
                {
                    "frames": entry.group or "all",
                    "detector": name,
                    "false": on(found, empty),
                    "empty": empty.sum() / 1e6,
                    "flipped": on(false, flipped.counted),
                    "everything": on(dark, flipped.counted),
                    "counted": flipped.counted.sum() / 1e6,
                }
            )
        print(entry.name, flush=True)
    table = pd.DataFrame(rows)
    every = table.assign(frames="all")
    crowd = every[table["frames"] != "crowded"].assign(frames="all but crowded")
    sums = pd.concat([table, crowd, every]).groupby(["frames", "detector"], sort=False).sum()
    print(
        markdown(
            [
                {
                    "frames": index[0],
                    "detector": index[1],
                    "false, per Mpix": rate(s["false"], s["empty"]),
                    "flipped, per Mpix": rate(s["flipped"], s["counted"]),
                    "all flipped, per Mpix": rate(s["everything"], s["counted"]),
                }
                for index, s in sums.iterrows()
            ]
        )
    )


def rate(number: float, mpix: float) -> str:
    return f"{number / mpix:.1f} ({number:.0f})"


def near(truth: Catalog, frame: Frame) -> np.ndarray:
    """Return where a pixel is near a source of the truth, streaks along their length."""
    marks = np.ones(frame.shape, dtype=bool)
    half = np.where(truth.is_streak, np.nan_to_num(truth["length"]) / 2, 0.0)
    for (x, y), h, angle in zip(truth.xy, half, np.nan_to_num(truth["theta"]), strict=True):
        along = np.arange(-h, h + 1)
        xs, ys = np.rint(x + along * np.cos(angle)), np.rint(y + along * np.sin(angle))
        ok = (xs >= 0) & (ys >= 0) & (xs < frame.shape[1]) & (ys < frame.shape[0])
        marks[ys[ok].astype(int), xs[ok].astype(int)] = False
    return np.asarray(ndimage.distance_transform_edt(marks) <= NEAR_PX)


def on(found: Catalog, where: np.ndarray) -> int:
    """Count the detections on marked pixels."""
    x, y = np.rint(found.xy).astype(int).T
    ok = (x >= 0) & (y >= 0) & (x < where.shape[1]) & (y < where.shape[0])
    return int(where[y[ok], x[ok]].sum())


if __name__ == "__main__":
    main()
