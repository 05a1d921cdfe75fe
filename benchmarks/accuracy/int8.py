"""Measure what 8 bits cost: ``benchmarks/accuracy/int8.py [DATA] [--frames N]``.

The network of onnxruntime in float32 and in 8 bits, one beside the other, on the same frames: fresh
simulated ones of the five families, with four streaks each on average, and, if DATA is given,
the real sets in it with a truth that can be counted on (``allsky_magic``, ``sbig_tres1``,
``sdss_s82``, ``seestar_m94``, ``widefield_lens``). Prints the paired differences
(8 bits minus float32) of F1, completeness, purity and m50 at 95 % purity and at the default
threshold, and on the fresh frames those of the fits of streaks and of the scatter of positions.
Intervals are for 95 %: from resampled frames, of one frame alone from resampled blocks.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.stats import mad_std
from astropy.table import Table
from real.catalogues import DEEPER, LIMIT, gaia, stripe82
from real.tools import inside, markdown
from streaks import frames as streak_frames
from streaks import point_rows, streak_rows

import skyduel
from skyduel.core import Catalog, make_detector, read_frame, write_catalog, write_frame
from skyduel.evaluation import ScoringRules, pair

RUNTIMES = {"float32": "onnx", "int8": "onnx-int8"}
POINTS = {"purity95": "95 % purity", "default": "the default"}
QUANTITIES = ("m50", "f1", "completeness", "purity")
#: Matching radius of a set where it is not 2 px, as in `docs/real-frames.md`.
RADIUS_PX = {"sdss_s82": 4.0, "widefield_lens": 1.5}
READY = ("allsky_magic", "sbig_tres1", "seestar_m94")
FAINTEST_R = 23.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="the folder of the real sets")
    parser.add_argument("--frames", type=int, default=4, help="fresh frames of each family")
    parser.add_argument("--side", type=int, default=512, help="of a fresh frame [px]")
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--only", nargs="+", help="names of sets, or fresh")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sets = {} if options.data is None else real_sets(options.data, folder)
        if options.only is None or "fresh" in options.only:
            made = folder / "fresh"
            made.mkdir()
            shapes = fresh(made, options.frames, options.side, options.seed)
            print(f"{markdown(shapes)}\n", flush=True)
            sets = {"fresh": made, **sets}
        rows = []
        for label, dataset in sets.items():
            if options.only is None or label in options.only:
                rows += compared(label, dataset, folder / "runs")
                print(markdown(rows[-2:]), flush=True)  # it takes minutes
    print(f"\n8 bits minus float32\n\n{markdown(rows)}")


def compared(label: str, dataset: Path, runs: Path) -> list[dict[str, object]]:
    """Run both on a data set and return a row of differences for each operating point."""
    rules = ScoringRules(radius_px=RADIUS_PX.get(label, 2.0))
    out = runs / label
    skyduel.run(
        dataset,
        [f"{name}=neural" for name in RUNTIMES],
        out,
        settings={name: {"runtime": runtime} for name, runtime in RUNTIMES.items()},
        rules=rules,
    )
    done = skyduel.compare(out / "int8", out / "float32", tuple(POINTS))
    table = done.table[done.table["group"] == "all"]
    rows = []
    for point, words in POINTS.items():
        here = table[table["point"] == point].groupby("quantity").last()
        cells: dict[str, object] = {
            "frames": f"{label} ({len(done.frames)})",
            "threshold": words,
            "F1 of float32": f"{here.loc['f1', 'value_b']:.3f}",
        }
        for quantity in QUANTITIES:
            one = here.loc[quantity]
            cells[f"Δ{quantity}"] = difference(one["delta"], one["lo"], one["hi"])
        rows.append(cells)
    return rows


def difference(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


# -- fresh frames ----------------------------------------------------------------------


def fresh(folder: Path, count: int, side: int, seed: int) -> list[dict[str, object]]:
    """Write fresh frames with truths, and return the differences of streaks and positions."""
    detectors = {name: make_detector("neural", {"runtime": r}) for name, r in RUNTIMES.items()}
    streaks: dict[str, list[pd.DataFrame]] = {name: [] for name in detectors}
    points: dict[str, list[pd.DataFrame]] = {name: [] for name in detectors}
    for number, (family, frame, truth) in enumerate(streak_frames(count, side, seed)):
        stem = folder / f"{family}_{number:03d}"
        write_frame(frame, stem.with_suffix(".fits"))
        write_catalog(truth, stem.with_suffix(".ecsv"))
        for name, detector in detectors.items():
            found = detector(frame)
            streaks[name].append(streak_rows(family, frame, truth, found))
            points[name].append(point_rows(family, truth, found))
    rows = []
    for words, values in {
        "streaks of S/N ≥ 3 per FWHM, found": lambda t: t["found"],
        "their lengths within a tenth, of those found": lambda t: t["length ok"][t["found"]],
        "their angles within 3°, of those found": lambda t: t["angle ok"][t["found"]],
    }.items():
        sure = {n: [values(t[t["q"] >= 3]).astype(float) for t in ts] for n, ts in streaks.items()}
        rows.append(paired_row(words, sure, lambda v: float(np.mean(v))))
    for low, high in ((3, 8), (8, 20), (20, np.inf)):
        deviations = {
            name: [
                t.loc[(t["snr"] >= low) & (t["snr"] < high), ["dx", "dy"]].to_numpy().ravel()
                for t in tables
            ]
            for name, tables in points.items()
        }
        words = f"scatter of positions, S/N {low:g}–{high:g} [px]".replace("–inf", " on")
        rows.append(paired_row(words, deviations, lambda v: float(mad_std(v))))
    return rows


def paired_row(words: str, values: dict[str, list], statistic, n_draws: int = 1000) -> dict:
    """Return one statistic of both and its difference, with an interval over frames."""
    random = np.random.default_rng(1)
    a, b = ([np.asarray(v) for v in values[name]] for name in ("int8", "float32"))
    of_a, of_b = (statistic(np.concatenate(v)) for v in (a, b))
    draws = []
    for chosen in random.integers(0, len(a), (n_draws, len(a))):
        x, y = (np.concatenate([v[k] for k in chosen]) for v in (a, b))
        if len(x) and len(y):
            draws.append(statistic(x) - statistic(y))
    low, high = np.percentile(draws, [2.5, 97.5])
    return {
        "fresh frames": words,
        "float32": f"{of_b:.4f}",
        "int8": f"{of_a:.4f}",
        "difference": difference(of_a - of_b, low, high),
    }


# -- real sets -------------------------------------------------------------------------


def real_sets(data: Path, folder: Path) -> dict[str, Path]:
    """Return a data set for each real set, by its name."""
    sets = {name: data / name for name in READY}
    sets["sdss_s82"] = sdss(data / "sdss_s82", folder / "sdss_s82")
    sets["widefield_lens"] = lens(data / "widefield_lens", folder / "widefield_lens")
    return sets


def sdss(source: Path, folder: Path) -> Path:
    """Return a data set of the frame: the coadd to r 23; the rest of both catalogues is ignored."""
    frame, coadd, own = stripe82(source)
    rest = np.ones(len(own), bool)
    rest[pair(coadd.xy, own, RADIUS_PX["sdss_s82"]).found_index] = False
    mag = np.concatenate([coadd["mag"], np.full(rest.sum(), FAINTEST_R)])
    xy = np.vstack([coadd.xy, own[rest]])
    use = inside(xy, frame, 0)
    return write_set(
        folder, source / "frame-r-000094-1-0012.fits.bz2", xy[use], mag[use], FAINTEST_R
    )


def lens(source: Path, folder: Path) -> Path:
    """Return a data set of the lens frames: G < 8 counts, fainter stars are ignored."""
    assert LIMIT < DEEPER
    for path in sorted(source.glob("*.fits.fz")):
        xy, mag = gaia(
            path.with_name(path.name.replace(".fits.fz", "_truth.csv")), read_frame(path)
        )
        write_set(folder, path, xy, mag, LIMIT)
    return folder


def write_set(folder: Path, frame: Path, xy: np.ndarray, mag: np.ndarray, limit: float) -> Path:
    """Add a frame and its truth to a data set; truths from the limit on are ignored."""
    folder.mkdir(exist_ok=True)
    (folder / frame.name).symlink_to(frame.resolve())
    columns = {"x": xy[:, 0], "y": xy[:, 1], "mag": mag, "ignore": mag >= limit}
    stem = frame.name.partition(".fits")[0]
    write_catalog(Catalog(Table(columns)), folder / f"{stem}.ecsv")
    return folder


if __name__ == "__main__":
    main()
