"""Measure the time of pairing, counting and average precision; run from the root.

``python benchmarks/speed/pairing.py`` first verifies that all methods give the same results:
the pairs of one assignment over the whole field (dense on small fields, sparse on
larger ones, with candidates from scipy and from astropy), and pycocotools' average
precision. Then it times, each with the alternatives in the same run:

- pairing and counting a million truths and a million detections in a frame of
  20,000 x 20,000 px within 2 px (4 in 5 truths detected);
- pairing at a size that is feasible for scipy's and astropy's candidates with one assignment,
  in pixels and on the sky;
- COCO's average precision of 5,000 frames.

Prints CPU time and wall time; compare CPU times on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import astropy
import numpy as np
import scipy
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from skyduel.core import Catalog
from skyduel.core.peak_memory import peak_memory_mib
from skyduel.evaluation import FrameInput, ScoringRules, pair, pair_sky, score_frame
from skyduel.evaluation.analyses.coco_ap import BOX_PX, coco_precision

RADIUS = 2.0
DENSITY = 1e6 / 20_000**2
EDGES = tuple(float(m) for m in range(15, 25))


def field(n: int, density: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truths and detections, n each, at a density of sources per pixel."""
    rng = np.random.default_rng(seed)
    side = np.sqrt(n / density)
    truth = rng.uniform(0, side, (n, 2))
    seen = truth[: int(0.8 * n)]
    spurious = rng.uniform(0, side, (n - len(seen), 2))
    found = np.concatenate([seen + rng.normal(0, 0.5, seen.shape), spurious])
    return truth, rng.permutation(found)


def timed(call: Callable[[], Any], repeats: int) -> tuple[Any, float, str]:
    """Return the last result, the median CPU time and all times as text."""
    wall, cpu = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = call()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    middle = statistics.median(cpu)
    words = (
        f"CPU {middle:.2f} s ({min(cpu):.2f} to {max(cpu):.2f}), "
        f"wall {statistics.median(wall):.2f} s ({min(wall):.2f} to {max(wall):.2f})"
    )
    return result, middle, words


def dense(truth: np.ndarray, found: np.ndarray) -> tuple[int, float]:
    """Return pairs and total separation of one assignment over everything."""
    d = np.hypot(*(truth[:, None] - found[None]).transpose(2, 0, 1))
    # The cost without a pair is a thousand radii: enough for 500 sources, and exact.
    cost = np.where(d <= RADIUS, d, 1000 * RADIUS)
    i, j = linear_sum_assignment(cost)
    kept = d[i, j] <= RADIUS
    return int(kept.sum()), float(d[i, j][kept].sum())


def sparse(i: np.ndarray, j: np.ndarray, d: np.ndarray, n: int, m: int) -> tuple[int, float]:
    """Return pairs and total separation of one sparse assignment over all candidates."""
    rows = np.arange(n)
    # A dummy column for each row, at a cost so high that unpaired rows are the last choice;
    # + 1 because the solver treats zero as no candidate.
    cost = np.concatenate([d / RADIUS, np.full(n, min(n, m) + 1.0)]) + 1
    graph = csr_array(
        (cost, (np.concatenate([i, rows]), np.concatenate([j, m + rows]))), shape=(n, m + n)
    )
    row, column = min_weight_full_bipartite_matching(graph)
    real = column < m
    total = (np.asarray(graph[row[real], column[real]]).sum() - real.sum()) * RADIUS
    return int(real.sum()), float(total)


def by_scipy(truth: np.ndarray, found: np.ndarray) -> tuple[int, float]:
    near = KDTree(truth).sparse_distance_matrix(KDTree(found), RADIUS, output_type="ndarray")
    return sparse(near["i"], near["j"], near["v"], len(truth), len(found))


def by_astropy(truth: np.ndarray, found: np.ndarray) -> tuple[int, float]:
    one, two = (SkyCoord(p[:, 0], p[:, 1], unit="deg") for p in (truth, found))
    i, j, d, _ = search_around_sky(one, two, RADIUS * u.arcsec)
    return sparse(i, j, d.arcsec, len(truth), len(found))


def on_sky(xy: np.ndarray) -> np.ndarray:
    """Convert a field in pixels to a field at declination 60 deg, 1 px per arcsec."""
    dec = 60 + (xy[:, 1] - xy[:, 1].mean()) / 3600
    return np.column_stack([10 + xy[:, 0] / 3600 / np.cos(np.deg2rad(dec)), dec])


def same(what: str, pairs: Any, other: tuple[int, float]) -> None:
    """Exit if two pairings differ."""
    n, total = other
    if len(pairs) != n or abs(pairs.separation.sum() - total) > 1e-6 * max(total, 1):
        sys.exit(f"{what}: {len(pairs)} pairs of {pairs.separation.sum()}, not {n} of {total}")


def prove() -> None:
    for seed in range(30):
        truth, found = field(500, [0.01, 0.05, 0.2][seed % 3], seed)
        same(f"seed {seed}", pair(truth, found[:431], RADIUS), dense(truth, found[:431]))
    print("agrees with one dense assignment on 30 fields of 500 x 431")


def against_peers(n: int, repeats: int) -> None:
    print(f"\n{n:,} x {n:,} at {DENSITY:g} sources a pixel, within {RADIUS:g} px or arcsec")
    truth, found = field(n, DENSITY, 1)
    sky = on_sky(truth), on_sky(found)
    for ours, peer, call, rival in (
        ("pair", "scipy KDTree + one sparse assignment",
         lambda: pair(truth, found, RADIUS), lambda: by_scipy(truth, found)),
        ("pair_sky", "astropy search_around_sky + one sparse assignment",
         lambda: pair_sky(*sky, RADIUS), lambda: by_astropy(*sky)),
    ):  # fmt: skip
        pairs, cpu, words = timed(call, repeats)
        other, cpu_other, words_other = timed(rival, 1)
        same(ours, pairs, other)
        print(f"  {ours}: {words}; {len(pairs):,} pairs")
        print(f"  {peer}: {words_other}; the same pairs; {cpu_other / cpu:.1f} times as long")
    one, two = (SkyCoord(p[:, 0], p[:, 1], unit="deg") for p in sky)
    _, cpu, words = timed(lambda: search_around_sky(one, two, RADIUS * u.arcsec), repeats)
    print(f"  astropy search_around_sky alone (candidates, no pairs): {words}")


def pair_and_count(n: int, repeats: int) -> None:
    truth, found = field(n, DENSITY, 0)
    rng = np.random.default_rng(1)
    side = round(np.sqrt(n / DENSITY))
    source = FrameInput(
        frame="large",
        truth=Catalog.build(x=truth[:, 0], y=truth[:, 1], mag=rng.uniform(15, 24, n)),
        found=Catalog.build(x=found[:, 0], y=found[:, 1], mag=rng.uniform(15, 24, n)),
        shape=(side, side),
        mpix=side**2 / 1e6,
    )
    score, _, words = timed(lambda: score_frame(source, ScoringRules(), EDGES), repeats)
    peak = peak_memory_mib() / 2**10
    print(f"\n{n:,} x {n:,} in {side:,} x {side:,} px, paired and counted in bins")
    print(f"  {words}; peak memory {peak:.2f} GiB; {len(score.pairing.pairs):,} pairs")
    for density in (4 * DENSITY, 10 * DENSITY):
        truth, found = field(n, density, 0)
        pairs, _, words = timed(lambda t=truth, f=found: pair(t, f, RADIUS), 1)
        print(f"  paired alone at {density:g} a pixel: {words}; {len(pairs):,} pairs")


def boxes(n_frames: int, repeats: int) -> None:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        print("\npycocotools is not installed: average precision is not compared")
        return
    rng = np.random.default_rng(2)
    frames, truths, results = [], [], []
    for k in range(1, n_frames + 1):
        truth, found = field(60, 60 / 256**2, k)
        found = np.concatenate([found + rng.normal(0, 0.7, found.shape), truth[:9] + 3.0])
        score = rng.random(len(found))
        side = BOX_PX["point"]
        for at, rows, extra in ((truth, truths, None), (found, results, score)):
            for r, (x, y) in enumerate((at - side / 2).tolist()):
                row = {"image_id": k, "category_id": 1, "bbox": [x, y, side, side]}
                if extra is None:
                    row |= {"id": len(rows) + 1, "area": side * side, "iscrowd": 0}
                else:
                    row["score"] = float(extra[r])
                rows.append(row)
        frames.append(
            (
                Catalog.build(x=truth[:, 0], y=truth[:, 1]),
                Catalog.build(x=found[:, 0], y=found[:, 1], score=score),
            )
        )

    def reference() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(coco, answers, "bbox")
            run.params.maxDets = [100]
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.evaluate()
            run.accumulate()
        return float(run.eval["precision"].mean())

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": k} for k in range(1, n_frames + 1)],
            "categories": [{"id": 1, "name": "point"}],
            "annotations": truths,
        }
        coco.createIndex()
        answers = coco.loadRes(results)
    ours, cpu, words = timed(lambda: coco_precision(frames, max_detections=100).mean, repeats)
    theirs, cpu_other, words_other = timed(reference, 1)
    if abs(ours - theirs) > 1e-9:
        sys.exit(f"average precision {ours}, pycocotools {theirs}")
    print(f"\nmAP at IoU .50:.95 of {n_frames:,} frames, {len(truths):,} truths, "
          f"{len(results):,} detections: {ours:.9f}, as pycocotools has it")  # fmt: skip
    print(f"  coco_precision: {words}")
    print(f"  pycocotools: {words_other}; {cpu_other / cpu:.1f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--peers", type=int, default=30_000, help="sources where peers are timed")
    parser.add_argument("--frames", type=int, default=5000, help="frames of average precision")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"astropy {astropy.__version__}, {platform.machine()}, one thread"
    )
    prove()
    pair_and_count(options.n, options.repeats)
    against_peers(options.peers, options.repeats)
    boxes(options.frames, options.repeats)


if __name__ == "__main__":
    main()
