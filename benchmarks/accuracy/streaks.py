"""Measure the errors of streak fits and point positions: ``benchmarks/accuracy/streaks.py``.

The frames are simulated, of the five families, with four streaks each on average; detections of
any score count. Prints the fractions of streaks whose length is right within a tenth, and whose
angle is within 3 degrees, and for each the fraction at the noise limit: that of an unbiased
estimate at the Cramér-Rao bound of an isolated streak on white noise. For a uniform line with
a Gaussian profile of standard deviation s (FWHM w = 2.355 s), of S/N q per FWHM of its length L
and unknown brightness, the errors are at least

    sigma(L) = w / q / sqrt(0.332 - 0.25 w / L)
    sigma(theta) = sqrt(24 s^2 w / (L^3 q^2))

For points, prints scatter and bias relative to the truth by S/N, and the fraction of the
deviations in x and y within the stated error (`xy_err`).
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from astropy.stats import gaussian_fwhm_to_sigma, mad_std
from rich.progress import track
from scipy.special import erf

from skyduel.core import Catalog, Frame
from skyduel.detect import neural
from skyduel.evaluation import ScoringRules, pair_catalogs
from skyduel.evaluation.matching.segments import angle_difference
from skyduel.simulation import FAMILIES, draw_settings, simulate

TENTH, DEGREES = 0.1, 3.0
SCORE = 0.5


def frames(count: int, side: int, seed: int) -> Iterator[tuple[str, Frame, Catalog]]:
    """Simulate frames of every family with many streaks, and their truth."""
    for number, family in enumerate(FAMILIES):
        for index in range(count):
            rng = np.random.default_rng([seed, number, index])
            settings = draw_settings(family, rng, ny=side, nx=side)
            settings = settings.model_copy(update={"streaks": 4.0})
            yield family, *simulate(settings, rng)


def allowed(tolerance: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return the probability that a Gaussian deviation is within a tolerance."""
    return np.asarray(erf(tolerance / sigma / np.sqrt(2)))


def on_frame(truth: Catalog, side: int) -> np.ndarray:
    """Return a mask of the streaks with both ends on the frame."""
    half = 0.5 * truth["length"]
    ends = [
        truth[axis] + sign * half * turn(truth["theta"])
        for axis, turn in (("x", np.cos), ("y", np.sin))
        for sign in (-1, 1)
    ]
    return np.all([(end > 0) & (end < side - 1) for end in ends], axis=0)


def streak_rows(family: str, frame: Frame, truth: Catalog, found: Catalog) -> pd.DataFrame:
    """Return a row for every true streak that lies completely on the frame."""
    truth, found = truth.select(truth.is_streak), found.select(found.is_streak)
    pairs = pair_catalogs(truth, found, ScoringRules()).pairs
    of = np.full(len(truth), -1)
    of[pairs.truth_index] = pairs.found_index
    got = of >= 0
    length, theta = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    length[got], theta[got] = found["length"][of[got]], found["theta"][of[got]]
    fwhm = float(frame.fwhm) if frame.fwhm is not None else np.nan
    q = truth["snr"] / np.sqrt(truth["length"] / fwhm)
    sigma_length = fwhm / q / np.sqrt(np.maximum(0.332 - 0.25 * fwhm / truth["length"], 0.01))
    s = fwhm * gaussian_fwhm_to_sigma
    sigma_theta = np.sqrt(24 * s**2 * fwhm / (truth["length"] ** 3 * q**2))
    tilt = np.rad2deg(truth["theta"]) % 90
    rows = pd.DataFrame(
        {
            "family": family,
            "length": truth["length"],
            "q": q,
            "axis": np.minimum(tilt, 90 - tilt) < 5,
            "found": got,
            "ratio": length / truth["length"],
            "length ok": np.abs(length / truth["length"] - 1) <= TENTH,
            "length allowed": allowed(TENTH * truth["length"], sigma_length),
            "angle ok": np.rad2deg(angle_difference(theta, truth["theta"])) <= DEGREES,
            "angle allowed": allowed(np.full(len(truth), np.deg2rad(DEGREES)), sigma_theta),
        }
    )
    return rows[on_frame(truth, min(frame.shape))]


def point_rows(family: str, truth: Catalog, found: Catalog) -> pd.DataFrame:
    """Return a row for every pair of points."""
    truth, found = truth.select(~truth.is_streak), found.select(~found.is_streak)
    pairs = pair_catalogs(truth, found, ScoringRules()).pairs
    t, f = pairs.truth_index, pairs.found_index
    return pd.DataFrame(
        {
            "family": family,
            "snr": truth["snr"][t],
            "dx": found["x"][f] - truth["x"][t],
            "dy": found["y"][f] - truth["y"][t],
            "error": found["xy_err"][f],
        }
    )


def show_streaks(rows: pd.DataFrame, title: str) -> None:
    print(f"\n{title}")
    print(f"{'':24}{'true':>6}{'found':>7}{'length':>8}{'allowed':>9}{'angle':>7}{'allowed':>9}")
    sure = rows["q"] >= 3
    kinds = {
        "S/N >= 3 per FWHM": sure,
        "  3 to 6": sure & (rows["q"] < 6),
        "  from 6 on": rows["q"] >= 6,
        "  shorter than 20 px": sure & (rows["length"] < 20),
        "  20 to 40 px": sure & rows["length"].between(20, 40),
        "  longer than 40 px": sure & (rows["length"] > 40),
        "  near a row or column": sure & rows["axis"],
        "S/N below 3": ~sure,
    }
    for name, which in kinds.items():
        some = rows[which]
        hit = some[some["found"]]
        print(
            f"{name:24}{len(some):6}{some['found'].mean():7.3f}"
            + "".join(
                f"{hit[column].mean():{width}.3f}"
                for column, width in (
                    ("length ok", 8), ("length allowed", 9), ("angle ok", 7), ("angle allowed", 9),
                )
            )
        )  # fmt: skip
    print(f"median of found over true length: {rows.loc[sure, 'ratio'].median():.3f}")


def show_points(rows: pd.DataFrame) -> None:
    print("\npoints, x and y together [px]; robust scatter, median bias, share within xy_err")
    print(f"{'':12}{'S/N':>10}{'pairs':>8}{'scatter':>9}{'bias':>8}{'within':>8}")
    edges = [3, 5, 8, 12, 20, 50, np.inf]
    for family in ("all", *FAMILIES):
        mine = rows if family == "all" else rows[rows["family"] == family]
        for low, high in pairwise(edges):
            some = mine[(mine["snr"] >= low) & (mine["snr"] < high)]
            if len(some) < 20:
                continue
            d = np.concatenate([some["dx"], some["dy"]])
            within = np.abs(d) <= np.tile(some["error"], 2)
            scatter = mad_std(d)
            bias = float(np.hypot(some["dx"].median(), some["dy"].median()))
            print(
                f"{family:12}{low:4.0f}-{high:<5.0f}{len(some):8}{scatter:9.3f}{bias:8.3f}"
                f"{within.mean():8.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=24, help="of each family")
    parser.add_argument("--side", type=int, default=512, help="of a frame [px]")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--weights", type=Path, help="default: the shipped ones")
    options = parser.parse_args()
    detector = neural(weights=options.weights)
    streaks, points, false = [], [], 0
    made = frames(options.frames, options.side, options.seed)
    for family, frame, truth in track(made, "frames", total=options.frames * len(FAMILIES)):
        found = detector(frame)
        streaks.append(streak_rows(family, frame, truth, found))
        points.append(point_rows(family, truth, found))
        own = found.select(found.is_streak & (found["score"] >= SCORE))
        lines = truth.select(truth.is_streak)
        false += len(own) - len(pair_catalogs(lines, own, ScoringRules()).pairs.truth_index)
    n = options.frames * len(FAMILIES)
    print(
        f"{n} frames of {options.side}², seed {options.seed}, weights "
        f"{detector.weights_sha256[:12]}; {platform.machine()}, torch {torch.__version__}"
    )
    every = pd.concat(streaks, ignore_index=True)
    show_streaks(every, "streaks, whole on the frame, every score")
    print(f"streaks of score {SCORE} or more that are none, or second ones: {false} in {n} frames")
    show_points(pd.concat(points, ignore_index=True))


if __name__ == "__main__":
    main()
