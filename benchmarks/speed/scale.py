"""Measure how runs scale: throughput and memory by workers, overheads, and one mosaic.

    python benchmarks/speed/scale.py workers --frames 40 --workers 1 2
    python benchmarks/speed/scale.py overhead --tasks 10000 [--scheduler ADDRESS]
    python benchmarks/speed/scale.py mosaic --side 20000 [--detector sep-matched]
    python benchmarks/speed/scale.py evaluation --frames 2000

Each prints a line of JSON per result, with wall time, which is meaningful on an idle
machine only, and CPU seconds (including children).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from skyduel.core import Catalog, Dataset, Entry, Sectioning, open_dataset, write_catalog
from skyduel.core.columnar_catalogs import PackedCatalog, packed
from skyduel.core.peak_memory import peak_memory_mib
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, choose_edges, evaluate_detector
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.write_tables import CountsWriter
from skyduel.runner.builtin_dataset import make_frames
from skyduel.runner.detect_frame import detect_frame, prepare_truth
from skyduel.runner.detector_specs import DetectorSpec, parse_specs
from skyduel.runner.execution.executors import (
    IN_FLIGHT_CLUSTER,
    IN_FLIGHT_EACH,
    Job,
    executor,
    gather,
)
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.run import RunPlan, run


def say(**figures: Any) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def workers(options: argparse.Namespace) -> None:
    """Run SEP over frames with several numbers of workers."""
    with tempfile.TemporaryDirectory() as place:
        sky = Path(place) / "sky"
        plan = [(f"f{k:05d}", "field", "test") for k in range(min(options.frames, 8))]
        small = make_frames(sky, plan, 1, ny=512, nx=512)
        # The same few frames under many names: the time of simulation is not measured.
        entries = [
            Entry(f"f{k:05d}", e.frame, e.truth)
            for k in range(options.frames)
            for e in [small.entries[k % len(small)]]
        ]
        for n in options.workers:
            began, used = time.perf_counter(), cpu_s()
            seen: dict[str, float] = {}

            def watch(stage: str, item: str, total: int, seen: dict[str, float] = seen) -> None:
                seen[f"first {stage}" if not item else f"last {stage}"] = time.perf_counter()

            record = run(
                RunPlan(
                    Dataset("many", sky, tuple(entries)), parse_specs([options.detector]),
                    ScoringRules(n_bootstrap=20), Path(place) / f"run{n}", workers=n,
                ),
                watch,
            )  # fmt: skip
            name = options.detector
            detect = seen[f"last {name}"] - seen[f"first {name}"]
            say(
                what="workers", detector=name, workers=n, frames=options.frames,
                frames_per_s=options.frames / detect, wall_s=time.perf_counter() - began,
                cpu_s=cpu_s() - used, detector_s=record.detectors[0].seconds,
                worker_peak_mib=record.detectors[0].peak_memory_mib,
                runner_peak_mib=peak_memory_mib(), load=os.getloadavg()[0],
            )  # fmt: skip


def nothing(name: str) -> Outcome:
    return Outcome(name, {"seconds": 0.0, "mpix": 0.25, "n_found": 0, "peak_memory_mib": 0.0})


def overhead(options: argparse.Namespace) -> None:
    """Submit empty tasks, as a run submits frames."""
    with executor(options.scheduler, 2, 1) as pool:
        pool.submit(nothing, "warm").result()
        window = IN_FLIGHT_CLUSTER if options.scheduler else 2 * IN_FLIGHT_EACH
        jobs = (Job(f"{k:07d}", nothing, (f"{k:07d}",)) for k in range(options.tasks))
        began, used = time.perf_counter(), time.process_time()
        gather("nothing", pool, jobs, options.tasks, window, lambda *_: None)
        wall, own = time.perf_counter() - began, time.process_time() - used
    say(
        what="overhead", scheduler=options.scheduler, tasks=options.tasks,
        ms_per_task=1e3 * wall / options.tasks, runner_cpu_ms_per_task=1e3 * own / options.tasks,
        runner_peak_mib=peak_memory_mib(), load=os.getloadavg()[0],
    )  # fmt: skip


def mosaic(options: argparse.Namespace) -> None:
    """Detect and measure on one mosaic of noise and stars, made strip by strip."""
    side, strip = options.side, 500
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        path = Path(place) / "mosaic.fits"
        header = fits.Header({"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": side,
                              "NAXIS2": side, "GAIN": 1.5, "SATURATE": 30000, "FWHM": 3.0,
                              "MAGZERO": 25.0})  # fmt: skip
        n = int(options.density * side * side / 1e6)
        x, y = rng.uniform(0, side - 1, n), rng.uniform(0, side - 1, n)
        flux = 10 ** rng.uniform(2.2, 4.2, n)
        writer = fits.StreamingHDU(path, header)
        for y0 in range(0, side, strip):
            ny = min(strip, side - y0)
            data = rng.normal(500, 15, (ny, side)).astype(np.float32)
            near = np.flatnonzero((y > y0 - 9) & (y < y0 + ny + 9))
            for k in near:
                a, b = int(x[k]), int(y[k]) - y0
                rows = slice(max(b - 8, 0), max(min(b + 9, ny), 0))
                columns = slice(max(a - 8, 0), a + 9)
                yy, xx = np.ogrid[rows, columns.start : min(columns.stop, side)]
                shape = np.exp(-((xx - x[k]) ** 2 + (yy - (y[k] - y0)) ** 2) / (2 * 1.274**2))
                data[rows, columns] += flux[k] / (2 * np.pi * 1.274**2) * shape
            writer.write(np.rint(np.clip(data, 0, 32000)).astype(">i2"))
        writer.close()
        write_catalog(
            Catalog.build(x=x, y=y, flux=flux, mag=25 - 2.5 * np.log10(flux), snr=flux / 100),
            Path(place) / "mosaic.parquet",
        )
        entry = open_dataset(path).entries[0]
        del data, near, x, y, flux
        rules, sectioning = ScoringRules(), Sectioning(options.section_px)
        say(what="mosaic made", side=side, bytes=path.stat().st_size, peak_mib=peak_memory_mib())
        with executor(None, 1, 1) as pool:
            place_ = Path(place)
            jobs = (
                ("truth", prepare_truth, (entry, rules, RunPaths(place_), sectioning), {}),
                ("detect", detect_frame, (DetectorSpec(name="d", use=options.detector), entry,
                                          rules, place_ / "d.parquet"), {"sectioning": sectioning}),
            )  # fmt: skip
            for what, call, arguments, more in jobs:
                began = time.perf_counter()
                outcome = pool.submit(call, *arguments, **more).result()
                wall = time.perf_counter() - began
                facts = {k: v for k, v in outcome.facts.items() if k != "fingerprint"}
                say(what=what, detector=options.detector, wall_s=wall, reason=outcome.reason,
                    worker_peak_mib=pool.submit(peak_memory_mib).result(),
                    mpix_per_s=side * side / 1e6 / wall, **facts)  # fmt: skip


def tiny(rng: np.random.Generator, first: int, some: int) -> list[FrameInput]:
    """Return frames of 12 truths, most of them found, packed as in a run."""
    n = 12 * some
    x, y, mag = rng.uniform(0, 64, n), rng.uniform(0, 64, n), rng.uniform(15, 22, n)
    seen = rng.random(n) < 0.7
    none = np.zeros(n, dtype=bool)
    snr = 5 * 10 ** (0.4 * (21 - mag))
    flux = {"aper_flux": snr, "aper_flux_err": np.ones(n), "peak_snr": snr, "sharpness": snr / snr,
            "line_flux": 0 * snr, "line_flux_err": snr / snr, "aper_mag": mag}  # fmt: skip
    truth = Catalog.build(x=x, y=y, mag=mag, snr=snr, **flux, ignore=none,
                          ignore_reason=np.full(n, "", "U9"))  # fmt: skip
    found = Catalog.build(x=x, y=y, mag=mag, score=rng.random(n), **flux, ignore=none).select(seen)
    ends = np.concatenate([[0], np.cumsum(seen.reshape(some, 12).sum(axis=1))])
    sides = [cut(truth, 12 * np.arange(some + 1)), cut(found, ends)]
    return [
        FrameInput(frame=f"f{first + k}", truth=t, found=d, mpix=0.004, fwhm=2.5, shape=(64, 64),
                   group="field")
        for k, (t, d) in enumerate(zip(*sides, strict=True))
    ]  # fmt: skip


def cut(catalog: Catalog, ends: np.ndarray[Any, Any]) -> list[Catalog]:
    """Split a catalogue into parts that share its columns."""
    whole = packed(catalog)
    assert isinstance(whole, PackedCatalog)
    return [PackedCatalog(whole._columns, slice(int(a), int(b)), f"frame {a}")
            for a, b in pairwise(ends)]  # fmt: skip


class Written(CountsWriter):
    """Writer of counts that makes the tables of pairs without writing them."""

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        for score in frames:
            score.pairing.to_table()


def evaluation(options: argparse.Namespace) -> None:
    """Evaluate tiny frames, to measure the cost per frame."""
    rng = np.random.default_rng(0)
    before = peak_memory_mib()
    frames: list[FrameInput] = []
    for start in range(0, options.frames, 500):
        frames += tiny(rng, start, min(500, options.frames - start))
    held = peak_memory_mib()
    rules, used = ScoringRules(n_bootstrap=options.bootstrap), time.process_time()
    with tempfile.TemporaryDirectory(dir=options.folder) as place, Written(Path(place)) as results:
        evaluate_detector("d", frames, rules, choose_edges(frames, rules), sink=results)
    say(
        what="evaluation", frames=options.frames, bootstrap=options.bootstrap,
        packed_kib_per_frame=(held - before) * 1024 / options.frames,
        kib_per_frame=(peak_memory_mib() - before) * 1024 / options.frames,
        before_mib=before, peak_mib=peak_memory_mib(),
        cpu_ms_per_frame=1e3 * (time.process_time() - used) / options.frames,
        load=os.getloadavg()[0],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True)
    for call in (workers, overhead, mosaic, evaluation):
        part = parts.add_parser(call.__name__, help=call.__doc__)
        part.set_defaults(call=call)
        part.add_argument("--frames", type=int, default=40)
        part.add_argument("--workers", type=int, nargs="+", default=[1, 2])
        part.add_argument("--bootstrap", type=int, default=1000)
        part.add_argument("--tasks", type=int, default=10_000)
        part.add_argument("--scheduler")
        part.add_argument("--side", type=int, default=20_000)
        part.add_argument("--density", type=float, default=500, help="stars a Mpx")
        part.add_argument("--section-px", type=int, default=4096)
        part.add_argument("--detector", default="sep")
        part.add_argument("--folder", type=Path, help="for the mosaic's file")
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
