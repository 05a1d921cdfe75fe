"""Count rows per star on frames whose stars are all trailed or defocused.

Frames of 512 x 512 px of the simulator's profiles (Moffat seeing, exponent 3, with the spot of a
trail or of a defocused, obstructed mirror), with stars at random places and log-uniform fluxes:
S/N 8 to 400 in an ideal isolated measurement. Stars closer than half the longer width of the
profile to a brighter one are not counted. Prints for each profile and number of stars the means
over frames: the stars counted, those with one row of score 0.5 or more within 3 px, those
with several rows nearest to them, rows that are nearest to no star within half the profile, and
whether the frame was recognised.
"""

from __future__ import annotations

import argparse
import math
from itertools import product

import numpy as np
from scipy.spatial import KDTree

from skyduel.core import Frame
from skyduel.core.measure.star_shape import star_shape_note
from skyduel.core.registry import make_detector
from skyduel.simulation import Aberrations, make_psf
from skyduel.simulation.psf import Psf
from skyduel.simulation.render import render_points

SIDE, SKY, NOISE, GAIN = 512, 500.0, 16.0, 2.0
SEEING = 3.0
SNR = (8.0, 400.0)
SCORE = 0.5


def profiles() -> list[tuple[str, Psf, float]]:
    """Return name, profile and longer width [px] of each kind."""
    kinds = []
    for length in (3, 6, 8, 12, 15, 20, 25):
        drift = Aberrations(drift=length, drift_angle=0.4)
        name = f"trail of {length} px"
        kinds.append((name, make_psf(SEEING, 3.0, drift, radius=36), length + SEEING))
    for radius in (3, 5, 8, 10, 14):
        spot = Aberrations(defocus=radius, obstruction=0.4)
        name = f"ring of {radius} px"
        kinds.append((name, make_psf(SEEING, 3.0, spot, radius=36), 2.0 * radius))
    return kinds


def frame_of(psf: Psf, n: int, seed: int) -> tuple[Frame, np.ndarray, np.ndarray]:
    """Simulate one frame; return it with positions (n, 2) and fluxes of its stars."""
    rng = np.random.default_rng([seed, n])
    xy = rng.uniform(10, SIDE - 10, (n, 2))
    ideal = np.exp(rng.uniform(*np.log(SNR), n))
    flux = ideal * NOISE / math.sqrt(psf.psf_sum2)
    light = render_points((SIDE, SIDE), xy[:, 0], xy[:, 1], flux, psf, 0.0)
    variance = NOISE**2 - SKY / GAIN
    pixels = rng.poisson((light + SKY) * GAIN) / GAIN + rng.normal(
        0, math.sqrt(variance), light.shape
    )
    return Frame(data=pixels.astype(np.float32), name=f"{n}", gain=GAIN), xy, flux


def apart(xy: np.ndarray, flux: np.ndarray, width: float) -> np.ndarray:
    """Return True for stars with no brighter one within half a width."""
    order = np.argsort(-flux)
    kept = np.ones(len(xy), dtype=bool)
    for place, row in enumerate(order[1:], start=1):
        others = xy[order[:place]]
        kept[row] = np.hypot(*(others - xy[row]).T).min() > width / 2
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", nargs="+", default=["neural"])
    parser.add_argument("--stars", nargs="+", type=int, default=[30, 150])
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--seed", type=int, default=20261129)
    options = parser.parse_args()
    print("| stars | profile | detector | counted | one row | several rows | false | noted |")
    print("|---:|---|---|---:|---:|---:|---:|---:|")
    for n, (name, psf, width) in product(options.stars, profiles()):
        frames = [frame_of(psf, n, options.seed + k) for k in range(options.frames)]
        noted = np.mean([star_shape_note(frame) is not None for frame, _, _ in frames])
        for detector in options.detector:
            find = make_detector(detector, {})
            counts = np.zeros(4)
            for frame, xy, flux in frames:
                rows = find(frame)
                # A detector without a threshold on its score means all its rows.
                scored = hasattr(find.settings, "score_threshold")
                places = rows.xy[rows["score"] >= SCORE] if scored else rows.xy
                counted = apart(xy, flux, width)
                counts[0] += counted.sum()
                if not len(places):
                    continue
                close = KDTree(places).query(xy)[0] < 3
                distance, nearest = KDTree(xy).query(places)
                per_star = np.bincount(nearest[distance < width / 2 + 3], minlength=n)
                counts[1:] += (
                    (counted & close & (per_star == 1)).sum(),
                    (counted & (per_star > 1)).sum(),
                    (distance >= width / 2 + 3).sum(),
                )
            numbers = " | ".join(f"{value:.1f}" for value in counts / options.frames)
            print(f"| {n} | {name} | {detector} | {numbers} | {noted:.2f} |", flush=True)


if __name__ == "__main__":
    main()
