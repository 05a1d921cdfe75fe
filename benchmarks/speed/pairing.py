"""Measure the time of pairing, counting and average precision; run from the root.

``python benchmarks/speed/pairing.py`` first verifies that all methods give the same results:
the pairs of one assignment over the whole field (dense on small fields, sparse on
larger ones, with candidates from scipy and from astropy), and pycocotools' average
precision. Then it times, each with the alternatives in the same run:

- pairing and counting a million truths and a million detections in a frame of
  20,000 x 20,000 px within 2 px (4 in 5 truths detected), in a process of its own with two
  threads, and, with ``--old CHECKOUT``, by the code of another checkout, whose pairs must be the
  same in every digit;
- pairing at a size that is feasible for scipy's and astropy's candidates with one assignment,
  in pixels and on the sky;
- COCO's average precision of 5,000 frames.

Prints CPU time and wall time; compare CPU times on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
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

import skyduel
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
    result = None
    for _ in range(repeats):
        result = None  # not kept beside the next one
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


def large(n: int, repeats: int) -> dict[str, Any]:
    """Pair and count a large frame; return medians, the peak memory and a hash of all pairs."""
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
    del truth, found
    before = peak_memory_mib()
    score, cpu, words = timed(lambda: score_frame(source, ScoringRules(), EDGES), repeats)
    pairs = score.pairing.pairs
    digest = hashlib.sha256()
    for part in (pairs.truth_index, pairs.found_index, pairs.separation, score.counts.array()):
        digest.update(np.ascontiguousarray(part).tobytes())
    return {
        "cpu": cpu, "words": words, "pairs": len(pairs), "digest": digest.hexdigest(),
        "before": before, "peak": peak_memory_mib(), "side": side,
    }  # fmt: skip


def in_checkout(checkout: Path, n: int, repeats: int, threads: int) -> dict[str, Any]:
    """Return what `large` returns in a process of its own with the code of a checkout."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads),
    }  # fmt: skip
    words = [sys.executable, __file__, str(n), "--repeats", str(repeats), "--only-large"]
    done = subprocess.run(words, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def pair_and_count(n: int, repeats: int, old: Path | None, threads: int) -> None:
    here = Path(skyduel.__file__).parents[2]
    result = in_checkout(here, n, repeats, threads)
    side = result["side"]
    print(f"\n{n:,} x {n:,} in {side:,} x {side:,} px, paired and counted in bins")
    line = "{words}; peak memory {peak:.0f} MiB, before it {before:.0f} MiB; {pairs:,} pairs"
    print(f"  {threads} threads: {line.format(**result)}")
    if old is not None:
        other = in_checkout(old.resolve(), n, repeats, threads)
        if other["digest"] != result["digest"]:
            sys.exit("the other checkout has other pairs, separations or counts")
        print(f"  the old checkout: {line.format(**other)}")
        print(f"  the same pairs in every digit; CPU old/new {other['cpu'] / result['cpu']:.2f}")
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
    parser.add_argument("--old", type=Path, help="another checkout, to compare with")
    parser.add_argument("--threads", type=int, default=2, help="of the large field")
    parser.add_argument("--only-large", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_large:
        print(json.dumps(large(options.n, options.repeats)))
        return
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"astropy {astropy.__version__}, {platform.machine()}; load {os.getloadavg()[0]:.1f}"
    )
    prove()
    pair_and_count(options.n, options.repeats, options.old, options.threads)
    against_peers(options.peers, options.repeats)
    boxes(options.frames, options.repeats)


if __name__ == "__main__":
    main()
