"""False alarms and found transients of `skyduel watch --reference earlier`, on repeats of a field.

    python benchmarks/accuracy/new_sources.py --with sep --repeats 24
    python benchmarks/accuracy/new_sources.py --with sep --frames A.fits B.fits C.fits D.fits

The same simulated scene is exposed many times, with new noise, cosmic rays and defects where the
kind has them, and dithered by whole pixels. Every exposure is compared with all earlier ones (from
the fourth on) by the code of the watch. Nothing in the scene changes, so every candidate is a false
alarm. In a second pass one star of known S/N appears in every exposure from the fourth on, each
time at another place, more than 8 px from every star. With --frames, real exposures of one field
are compared instead, each with the others. Without a WCS the shift is estimated.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skyduel.core import Catalog, Frame, entry_of, make_detector
from skyduel.core.operating_point import RowChoice, chosen_rows
from skyduel.evaluation import wilson
from skyduel.evaluation.statistics.intervals import poisson
from skyduel.runner.detect_frame import measured_on
from skyduel.runner.watch.references import EarlierFrames, NewSourceRules
from skyduel.simulation import draw_settings
from skyduel.simulation.sampling import draw_defects, draw_sources
from skyduel.simulation.scene import Points, assign_flux, digitise, expected_light

LIMITS = (5.0, 7.0, 10.0, 15.0)
ADDED_SNR = (7.0, 10.0, 15.0, 25.0, 50.0)
DITHER_PX = 6
FEWEST = 3
CLEAR_PX = 8.0


def exposures(
    kind: str, seed: int, n: int, size: int, *, added: bool
) -> Iterator[tuple[Frame, list[tuple[float, float, float]]]]:
    """Yield exposures of one scene, and x, y and S/N of the star that each has more."""
    rng = np.random.default_rng([seed, 11])
    side = size + 2 * DITHER_PX
    s = draw_settings(kind, rng, ny=side, nx=side)
    sources = draw_sources(s, rng)
    optics = s.field()
    rendered = assign_flux(s, sources, optics)
    light = expected_light(s, sources, rendered, optics)
    stars = np.column_stack([rendered.stars.x, rendered.stars.y])
    for k in range(n):
        more: list[tuple[float, float, float]] = []
        here = light
        if added and k >= FEWEST:
            place = _free_place(rng, stars, side)
            if place is not None:
                x, y = place
                snr = ADDED_SNR[k % len(ADDED_SNR)]
                at = np.array([x]), np.array([y])
                flux = snr * s.sky_sigma / np.sqrt(optics.psf_sum2(*at))
                here = light + optics.render(*Points(*at, flux, 0.02 * s.sky_sigma))
                more.append((x, y, snr))
        electrons = rng.poisson(np.maximum(here, 0) * s.gain).astype(np.float32)
        noise = np.float32(s.read_noise) * rng.standard_normal(here.shape, dtype=np.float32)
        data = digitise((electrons + noise) / np.float32(s.gain), s, draw_defects(s, rng))
        dx, dy = rng.integers(0, 2 * DITHER_PX + 1, 2)
        frame = Frame(
            data=data[dy : dy + size, dx : dx + size], name=f"{kind}_{k:03d}", gain=s.gain,
            read_noise=s.read_noise, saturation=s.saturation, zero_point=s.zero_point,
            fwhm=optics.fwhm,
        )  # fmt: skip
        yield frame, [(x - dx, y - dy, snr) for x, y, snr in more]


def _free_place(rng: np.random.Generator, stars: np.ndarray, side: int):
    for _ in range(200):
        x, y = rng.uniform(40, side - 40, 2)
        if np.hypot(*(stars - (x, y)).T).min() > CLEAR_PX:
            return float(x), float(y)
    return None


def detected(detector, frame: Frame) -> tuple[Catalog, Catalog]:
    """Return all detections, and the rows that a catalogue has."""
    found = measured_on(frame, detector(frame), None)
    return found, chosen_rows(found, detector, detector.name, RowChoice(), frame)


def candidates(earlier: EarlierFrames, frame: Frame, kept: Catalog) -> Catalog | None:
    return earlier.compare(frame, kept).candidates


def simulated(detector, kind: str, args: argparse.Namespace, *, added: bool):
    """Return S/N of the false alarms, numbers of frames and rows, and what became of the added."""
    alarms: list[float] = []
    found_at: list[tuple[float, float]] = []
    frames = rows = 0
    rules = NewSourceRules(snr=0.0, keep=args.repeats)
    for seed in range(args.seed, args.seed + args.scenes):
        with tempfile.TemporaryDirectory() as folder:
            earlier = EarlierFrames(Path(folder), rules, ())
            for frame, more in exposures(kind, seed, args.repeats, args.size, added=added):
                found, kept = detected(detector, frame)
                new = candidates(earlier, frame, kept)
                earlier.remember(frame, found)
                if new is None:  # the first frames, or no shift was found
                    continue
                frames += 1
                rows += len(kept)
                true = np.zeros(len(new), bool)
                for x, y, snr in more:
                    near = np.hypot(new["x"] - x, new["y"] - y) <= rules.radius_px
                    true |= near
                    best = new["aper_snr"][near].max() if near.any() else -np.inf
                    found_at.append((snr, float(best)))
                alarms += new["aper_snr"][~true].tolist()
    return np.array(alarms), frames, rows, found_at


def real(detector, paths: list[str]) -> None:
    """Compare each real exposure with the others."""
    pairs = []
    for path in paths:
        frame = entry_of(path).read()
        pairs.append((frame, *detected(detector, frame)))
    print(
        f"{'frame':<28}{'rows':>6}{'compared':>10}" + "".join(f"{f'S/N {n:g}':>9}" for n in LIMITS)
    )
    for frame, _, kept in pairs:
        with tempfile.TemporaryDirectory() as folder:
            earlier = EarlierFrames(Path(folder), NewSourceRules(snr=0.0), ())
            for other, found, _ in pairs:
                if other is not frame:
                    earlier.remember(other, found)
            compared = earlier.compare(frame, kept)
        new = compared.candidates
        counts = ["–" if new is None else int((new["aper_snr"] >= limit).sum()) for limit in LIMITS]
        print(f"{frame.name:<28}{len(kept):>6}{compared.how['frames']:>10}"
              + "".join(f"{n:>9}" for n in counts))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--with", dest="with_", default="sep")
    parser.add_argument("--kinds", nargs="+", default=["sparse", "field", "crowded", "dirty"])
    parser.add_argument("--repeats", type=int, default=24, help="exposures of a scene")
    parser.add_argument("--scenes", type=int, default=1, help="scenes of a kind")
    parser.add_argument("--size", type=int, default=512, help="side of an exposure [px]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", nargs="+", help="real exposures of one field")
    args = parser.parse_args()
    detector = make_detector(args.with_)
    if args.frames:
        real(detector, args.frames)
        return
    print(f"{args.with_}: false alarms per frame of {args.size}² px [95 %], by the lowest S/N")
    print(f"{'kind':<9}{'frames':>7}{'rows':>8}" + "".join(f"{f'S/N {n:g}':>22}" for n in LIMITS))
    found_at: list[tuple[str, float, float]] = []
    for kind in args.kinds:
        alarms, frames, rows, _ = simulated(detector, kind, args, added=False)
        cells = []
        for limit in LIMITS:
            n = int((alarms >= limit).sum())
            low, high = (float(v) / max(frames, 1) for v in poisson(n, 0.95))
            cells.append(f"{n / max(frames, 1):.3f} [{low:.3f}, {high:.3f}]")
        print(f"{kind:<9}{frames:>7}{rows:>8}" + "".join(f"{c:>22}" for c in cells), flush=True)
        *_, more = simulated(detector, kind, args, added=True)
        found_at += [(kind, snr, best) for snr, best in more]
    print("\nadded stars flagged, candidates of S/N 10 or more in the common aperture")
    for kind in args.kinds:
        cells = []
        for snr in ADDED_SNR:
            here = [best >= 10.0 for name, added, best in found_at if name == kind and added == snr]
            low, high = wilson(sum(here), max(len(here), 1), 0.95)
            cells.append(f"{snr:g}: {sum(here)}/{len(here)} [{float(low):.2f}, {float(high):.2f}]")
        print(f"{kind:<9}" + "   ".join(cells))


if __name__ == "__main__":
    main()
