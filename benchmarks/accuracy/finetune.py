"""Measure fine-tuning by number of frames: ``python benchmarks/accuracy/finetune.py``.

The telescope is not part of the training: it is far out of focus, so that stars are rings with
three corners, and has a row pattern that differs in every frame. The shipped weights are
fine-tuned with 1, 2, 4, ... of its frames, labelled and unlabelled, and tested on other frames of
it. Prints the completeness for sources of S/N 3-5, 5-10 and 10-100 at the lowest threshold with
95 % purity, and the same on ordinary frames, which measures forgetting.

``python benchmarks/accuracy/finetune.py --lens DATA`` fine-tunes them to a real camera instead:
to two of four frames of a 35 mm lens, without labels. Prints the completeness for stars of
G < 8 on the other two frames, at fixed numbers of uncatalogued detections per Mpix.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from skyduel.core import BadInputError, Catalog, Frame, read_frame
from skyduel.detect import neural
from skyduel.detect.calibration.fit_calibration import match_to_truth
from skyduel.detect.finetune import FinetuneSettings, finetune, labelled, self_labelled
from skyduel.detect.model.weights import SHIPPED
from skyduel.simulation import SceneSettings, draw_settings, simulate

SIZE = 384
BINS = ((3, 5), (5, 10), (10, 100))
ALLOWED = (2, 5, 10, 20)
Pair = tuple[Frame, Catalog]


def telescope(seed: int) -> Pair:
    """Simulate one frame of the telescope that is not part of the training."""
    rng = np.random.default_rng([8, seed])
    settings = SceneSettings(
        ny=SIZE, nx=SIZE, fwhm=2.0, beta=3.5, density=2e-3, defocus=2.6, trefoil=1.3,
        aberration_angle=0.4, sky=float(rng.uniform(500, 1500)), read_noise=8,
        max_snr=1000, streaks=0.3,
    )  # fmt: skip
    frame, truth = simulate(settings, rng, f"own {seed}")
    rows = settings.sky_sigma * 0.5 * rng.standard_normal((SIZE, 1)) * (rng.random((SIZE, 1)) < 0.3)
    return frame.with_(data=np.rint(frame.data + rows).astype(np.float32)), truth


def ordinary(seed: int) -> Pair:
    """Simulate one frame of a family that is part of the training."""
    rng = np.random.default_rng([9, seed])
    family = ("field", "aberrated", "dirty")[seed % 3]
    return simulate(draw_settings(family, rng, ny=SIZE, nx=SIZE), rng, f"{family} {seed}")


def performance(weights: Path, frames: list[Pair]) -> str:
    """Return the threshold of 95 % purity and its completeness per range of S/N."""
    detector = neural(weights=weights, floor=0.02)
    scores, rights, truths = [], [], []
    for frame, truth in frames:
        found = detector(frame)
        found, points = found.select(~found.is_streak), truth.select(~truth.is_streak)
        right, counts = match_to_truth(found.xy, points.xy, points["snr"] >= 2)
        scores.append(found["score"][counts])
        rights.append(right[counts])
        truths.append((found, points))
    score, right = np.concatenate(scores), np.concatenate(rights)
    order = np.argsort(-score, kind="stable")
    purity = np.cumsum(right[order]) / np.arange(1, order.size + 1)
    good = np.flatnonzero(purity >= 0.95)
    if not good.size:
        return " | ".join(["never 95 % pure", *("-" for _ in BINS)])
    threshold = float(score[order][good[-1]])
    parts = [f"{threshold:.2f}"]
    for low, high in BINS:
        hits = total = 0
        for found, points in truths:
            kept = found.select(found["score"] >= threshold)
            wanted = points.xy[(points["snr"] >= low) & (points["snr"] < high)]
            total += len(wanted)
            if len(wanted) and len(kept):
                distance = np.linalg.norm(wanted[:, None] - kept.xy[None], axis=2)
                hits += int((distance.min(axis=1) <= 2).sum())
        parts.append(f"{hits / total:.3f}")
    return " | ".join(parts)


def lens(data: Path, weights: Path, steps: int) -> None:
    """Fine-tune to two unlabelled frames of the lens, and print the completeness on the others."""
    from real.catalogues import LIMIT, gaia, ranked  # needs the real frames' readers
    from real.tools import inside

    paths = sorted((data / "widefield_lens").glob("*.fits.fz"))
    taught, tested = (paths[::2], paths[1::2])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "lens.safetensors"
        detector = neural(weights=weights)
        given = [self_labelled(frame, detector(frame)) for frame in map(read_frame, taught)]
        done = finetune(weights, given, target, FinetuneSettings(steps=steps))
        print(f"taught by {', '.join(p.name for p in taught)}; {done}")
        print("| weights | stars | " + " | ".join(f"{n} false per Mpix" for n in ALLOWED) + " |")
        print("|---|---:|" + "---:|" * len(ALLOWED))
        for name, file in (("begun with", weights), ("adapted", target)):
            detector, parts, stars, mpix = neural(weights=file, floor=0.02), [], 0, 0.0
            for path in tested:
                frame = read_frame(path)
                xy, mag = gaia(path.with_name(path.name.replace(".fits.fz", "_truth.csv")), frame)
                found = detector(frame)
                found = found.select(~found.is_streak & inside(found.xy, frame, 5))
                rows = ranked(xy, mag, found.xy, 1.5, len(found))
                parts.append(rows.assign(score=found["score"]))
                stars += int((mag < LIMIT).sum())
                mpix += frame.data.size / 1e6
            rows = pd.concat(parts).sort_values("score", ascending=False, kind="stable")
            false, right = rows["false"].cumsum() / mpix, rows["right"].cumsum() / stars
            cells = [f"{right[(false <= n).to_numpy()].max():.3f}" for n in ALLOWED]
            print(f"| {name} | {stars} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--frames", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--test", type=int, default=6, help="frames to judge by, of each kind")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--lens", type=Path, help="folder of the real frames' sets")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.lens is not None:
        lens(options.lens, options.weights, options.steps)
        return
    own = [telescope(1000 + i) for i in range(options.test)]
    known = [ordinary(i) for i in range(options.test)]
    bins = " | ".join(f"S/N {low}-{high}" for low, high in BINS)
    print(f"| frames | labels | threshold | {bins} | ordinary: threshold | {bins} | s |")
    print("|---:|---|" + "---:|" * (2 * len(BINS) + 3))
    weights = options.weights
    print(
        f"| 0 | - | {performance(weights, own)} | {performance(weights, known)} | 0 |", flush=True
    )
    detector = neural(weights=weights)
    with tempfile.TemporaryDirectory() as folder:
        for n in options.frames:
            frames = [telescope(i) for i in range(n)]
            for kind in ("labelled", "unlabelled"):
                began = time.perf_counter()
                try:
                    given = [
                        labelled(frame, truth)
                        if kind == "labelled"
                        else self_labelled(frame, detector(frame))
                        for frame, truth in frames
                    ]
                except BadInputError as error:  # no profile can be measured
                    print(f"| {n} | {kind} | {error} |", flush=True)
                    continue
                target = Path(folder) / f"{kind}{n}.safetensors"
                # A lone frame of 384 px is divided into crops of 192 px.
                settings = FinetuneSettings(
                    steps=options.steps, crop_px=192, calibration_per_kind=1, patience=99
                )
                finetune(weights, given, target, settings)
                seconds = time.perf_counter() - began
                print(
                    f"| {n} | {kind} | {performance(target, own)} | {performance(target, known)} "
                    f"| {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
