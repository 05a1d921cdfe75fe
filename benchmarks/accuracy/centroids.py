"""Compare with a star tracker's extractor: ``benchmarks/accuracy/centroids.py FRAMES``.

The extractor is that of tetra3rs on PyPI, a relative of cedar-detect: its careful form by default
(5 sigma) and at 3 sigma, and its fast form. Beside it on the same frames in the same run are SEP
alone, our detector ``sep``, and the network without torch. FRAMES is a data set as of
``skyduel run``, the folder ``skymaker`` of the real sets for example.

First verifies on a frame of bright isolated stars that every program finds exactly their number,
each within 0.5 px. Then prints for each: processor time of one thread per megapixel (median over
turns, over one frame of each kind; of the programs of others without making a catalogue),
completeness, purity and F1 of all its rows, and where half of the point sources are found at 95 %
purity. The score of a centroid is the S/N of its flux in an ellipse of twice its second moments;
SEP alone is scored likewise.
"""

from __future__ import annotations

import os

# Before the libraries that read it.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import importlib.metadata
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sep
from real.tools import markdown
from scipy.spatial import KDTree

import skyduel
from skyduel.core import Catalog, Frame, make_detector, open_dataset, write_catalog

VERSION = "0.14.0"
#: The network's forms, by the settings of the detector.
NETWORKS = {
    "neural, onnx": {"runtime": "onnx"},
    "neural, onnx-int8": {"runtime": "onnx-int8"},
    "small, onnx-int8": {"runtime": "onnx-int8", "weights": "small"},
}


@dataclass(frozen=True)
class Program:
    """One side: what is timed, and the catalogue of what that returns."""

    work: Callable[[Frame], Any]
    catalogue: Callable[[Any, Frame], Catalog] = lambda found, _: found

    def __call__(self, frame: Frame) -> Catalog:
        return self.catalogue(self.work(frame), frame)


def tetra3(form: str, sigma: float) -> Program:
    """Return a form of the extractor of tetra3rs."""
    import tetra3rs

    extract = getattr(tetra3rs, form)

    def work(frame: Frame) -> Any:
        data = frame.data.astype(np.float32)
        if frame.bad.any():  # it has no mask
            data[frame.bad] = np.median(data[~frame.bad])
        return extract(data, sigma_threshold=sigma, threads=1)

    def made(result: Any, frame: Frame) -> Catalog:
        found = [(c.x, c.y, c.brightness, np.linalg.det(c.cov)) for c in result.centroids]
        x, y, flux, area = np.array(found, dtype=float).reshape(-1, 4).T
        # Its origin is the middle of the image, its axes end at the borders of the pixels.
        x, y = x + frame.shape[1] / 2 - 0.5, y + frame.shape[0] / 2 - 0.5
        return catalogue(x, y, flux, np.sqrt(np.clip(area, 0.1, None)), result.background_sigma)

    return Program(work, made)


def bare(frame: Frame) -> tuple[np.ndarray, float]:
    """Return the objects of SEP alone with SExtractor's defaults, and the noise."""
    mask = frame.bad.copy() if frame.bad.any() else None
    data = frame.data.astype(np.float32)
    sky = sep.Background(data, mask=mask)
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
    noise = sky.globalrms
    found = sep.extract(data - sky, 1.5, err=noise, mask=mask, minarea=3, filter_kernel=kernel)
    return found, noise


def of_sep(result: tuple[np.ndarray, float], _: Frame) -> Catalog:
    """Return the catalogue of what SEP alone found."""
    found, noise = result
    return catalogue(found["x"], found["y"], found["flux"], found["a"] * found["b"], noise)


def catalogue(x, y, flux, area, noise: float) -> Catalog:
    """Return a catalogue whose score is the S/N in an ellipse of twice the second moments."""
    snr = flux / (noise * np.sqrt(4 * np.pi * np.maximum(area, 0.3)))
    return Catalog.build(x=x, y=y, flux=flux, score=np.nan_to_num(snr))


def extractors() -> dict[str, Program]:
    """Return the programs that are no detectors of this project, by their names in the table."""
    return {
        "tetra3rs, fast": tetra3("extract_centroids_fast", 5.0),
        "tetra3rs": tetra3("extract_centroids", 5.0),
        "tetra3rs, 3 sigma": tetra3("extract_centroids", 3.0),
        "SEP alone": Program(bare, of_sep),
    }


def detectors() -> dict[str, Program]:
    """Return the detectors of this project, by their names in the table."""
    networks = {name: make_detector("neural", chosen) for name, chosen in NETWORKS.items()}
    return {name: Program(d) for name, d in {"sep": make_detector("sep"), **networks}.items()}


def agree(programs: dict[str, Program]) -> None:
    """End unless every program finds each of some bright isolated stars, and nothing else."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:512, :512]
    image = rng.normal(1000, 10, (512, 512))
    stars = np.array([(col, row) for col in range(50, 500, 82) for row in range(50, 500, 82)])
    stars = stars + rng.uniform(-0.5, 0.5, stars.shape)
    for col, row in stars:
        image += 800 * np.exp(-((x - col) ** 2 + (y - row) ** 2) / (2 * 1.3**2))
    frame = Frame(data=image.astype(np.float32), name="stars")
    for name, program in programs.items():
        found = program(frame)
        sure = found.select(found["score"] >= (0.9 if found["score"].max() <= 1 else 20))
        distance = KDTree(sure.xy).query(stars)[0].max() if len(sure) else np.inf
        if len(sure) != len(stars) or distance > 0.5:
            sys.exit(f"{name}: required {len(stars)} stars; got {len(sure)}, {distance:.2f} px off")
    print(f"all find the {len(stars)} bright stars of a frame, each within 0.5 px, and no other\n")


def times(programs: dict[str, Program], frames: list[Frame], turns: int) -> dict[str, float]:
    """Return the processor time of each program [ms/Mpix], measured turn by turn."""
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(turns + 1):
        for name, program in programs.items():
            began = time.process_time()
            for frame in frames:
                program.work(frame)
            if turn:  # the first turn warms up
                taken[name].append(time.process_time() - began)
    mpix = sum(frame.data.size for frame in frames) / 1e6
    return {name: 1e3 * statistics.median(each) / mpix for name, each in taken.items()}


def depths(folder: Path, frames: Path, others: dict[str, Program]) -> dict[str, dict]:
    """Return what a run says of each program at its default and at 95 % purity."""
    settings: dict[str, dict] = {f"n{k}": chosen for k, chosen in enumerate(NETWORKS.values())}
    specs = ["sep", *(f"n{k}=neural" for k in range(len(NETWORKS)))]
    label = {"sep": "sep", **{f"n{k}": name for k, name in enumerate(NETWORKS)}}
    for k, (name, program) in enumerate(others.items()):
        place = folder / f"f{k}"
        place.mkdir()
        for entry in open_dataset(frames):
            write_catalog(program(entry.read()), place / f"{entry.name}.ecsv")
        specs.append(f"f{k}=file")
        settings[f"f{k}"] = {"folder": place}
        label[f"f{k}"] = name
    done = skyduel.run(frames, specs, folder / "run", settings=settings, workers=1)
    limits = done.limits[done.limits["group"] == "all"].set_index(["detector", "point"])
    scores = done.scores[(done.scores["group"] == "all") & (done.scores["bin"] == -2)]
    value = scores.set_index(["detector", "point", "quantity"])["value"]
    return {
        name: {
            **{q: value[short, "default", q] for q in ("completeness", "purity", "f1")},
            "limit": limits.loc[short, "purity95"] if (short, "purity95") in limits.index else None,
        }
        for short, name in label.items()
    }


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("frames", type=Path, metavar="FRAMES")
    words.add_argument("--turns", type=int, default=3)
    options = words.parse_args()
    try:
        there = importlib.metadata.version("tetra3rs")
    except importlib.metadata.PackageNotFoundError:
        there = "none"
    if there != VERSION:
        command = f"pip install tetra3rs=={VERSION}"
        print(f"skipped: required tetra3rs {VERSION} ({command}); got {there}")
        return
    others = extractors()
    programs = {**others, **detectors()}
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
          f"tetra3rs {there}, sep {sep.__version__}")  # fmt: skip
    agree(programs)
    first = {entry.group: entry for entry in reversed(list(open_dataset(options.frames)))}
    taken = times(programs, [entry.read() for entry in first.values()], options.turns)
    with tempfile.TemporaryDirectory() as folder:
        told = depths(Path(folder), options.frames, others)
    rows = []
    for name in programs:
        one, limit = told[name], told[name]["limit"]
        reached = limit is not None and np.isfinite(limit["snr50"])
        rows.append({
            "program": name,
            "ms/Mpix": f"{taken[name]:.1f}",
            "of sep": f"{taken[name] / taken['sep']:.2f}",
            "completeness": f"{one['completeness']:.3f}",
            "purity": f"{one['purity']:.3f}",
            "F1": f"{one['f1']:.3f}",
            "S/N50 at 95 % purity": f"{limit['snr50']:.2f} [{limit['snr50_lo']:.2f}, "
            f"{limit['snr50_hi']:.2f}]" if reached else "never",
            "completeness there": f"{limit['completeness']:.3f}" if reached else "–",
        })  # fmt: skip
    print(markdown(rows))


if __name__ == "__main__":
    main()
