"""Measure what a cheaper form of the network costs: ``benchmarks/accuracy/two_forms.py [DATA]``.

Two forms of the neural detector, one beside the other, on the same frames: by default that of
onnxruntime in float32 and in 8 bits; with ``--first weights=full --second weights=small`` the
full and the small network. The frames are fresh simulated ones of the five families, with four
streaks each on average, and, if DATA is given,
the real sets in it with a truth that can be counted on (``allsky_magic``, ``sbig_tres1``,
``sdss_s82``, ``seestar_m94``, ``widefield_lens``) and the set ``skymaker``. Prints the paired
differences (second minus first) of F1, completeness, purity and m50 at 95 % purity and at the
default threshold, and on the fresh frames those of the fits of streaks and of the scatter of
positions.
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

Forms = dict[str, dict[str, str]]
#: Names of the two forms as detectors.
NAMES = ("first", "second")
POINTS = {"purity95": "95 % purity", "default": "the default"}
QUANTITIES = ("m50", "f1", "completeness", "purity")
#: Matching radius of a set where it is not 2 px, as in `docs/real-frames.md`.
RADIUS_PX = {"sdss_s82": 4.0, "widefield_lens": 1.5}
READY = ("allsky_magic", "sbig_tres1", "seestar_m94", "skymaker")
FAINTEST_R = 23.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="the folder of the real sets")
    parser.add_argument("--frames", type=int, default=4, help="fresh frames of each family")
    parser.add_argument("--side", type=int, default=512, help="of a fresh frame [px]")
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--first", metavar="SETTING=VALUE", default="runtime=onnx")
    parser.add_argument("--second", metavar="SETTING=VALUE", default="runtime=onnx-int8")
    parser.add_argument("--only", nargs="+", help="names of sets, or fresh")
    options = parser.parse_args()
    forms = {label: settings_of(parser, label) for label in (options.first, options.second)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sets = {} if options.data is None else real_sets(options.data, folder)
        if options.only is None or "fresh" in options.only:
            made = folder / "fresh"
            made.mkdir()
            shapes = fresh(made, options.frames, options.side, options.seed, forms)
            print(f"{markdown(shapes)}\n", flush=True)
            sets = {"fresh": made, **sets}
        rows = []
        for label, dataset in sets.items():
            if options.only is None or label in options.only:
                here, kinds = compared(label, dataset, folder / "runs", forms)
                rows += here
                print(markdown(here), flush=True)  # it takes minutes
                if kinds:
                    print(f"\n{markdown(kinds)}\n", flush=True)
    print(f"\n{options.second} minus {options.first}\n\n{markdown(rows)}")


def settings_of(parser: argparse.ArgumentParser, given: str) -> dict[str, str]:
    """Return the setting of a form of the detector, as a mapping."""
    name, equals, value = given.partition("=")
    if not (name and equals and value):
        parser.error(f"SETTING=VALUE is required, got {given!r}")
    return {name: value}


def compared(
    label: str, dataset: Path, runs: Path, forms: Forms
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Run both on a data set; return the differences at each operating point, and of each kind."""
    rules = ScoringRules(radius_px=RADIUS_PX.get(label, 2.0))
    out = runs / label
    skyduel.run(
        dataset,
        [f"{name}=neural" for name in NAMES],
        out,
        settings=dict(zip(NAMES, forms.values(), strict=True)),
        rules=rules,
    )
    done = skyduel.compare(out / "second", out / "first", tuple(POINTS))
    whole = done.table["group"] == "all"
    table, of_kinds = done.table[whole], done.table[~whole & (done.table["point"] == "purity95")]
    kinds: list[dict[str, object]] = [
        {
            "95 % purity": f"{label}, {kind}",
            **{
                f"Δ{quantity}": difference(one["delta"], one["lo"], one["hi"])
                for quantity, one in part.groupby("quantity").last().iterrows()
                if quantity in QUANTITIES
            },
        }
        for kind, part in of_kinds.groupby("group")
    ]
    rows = []
    for point, words in POINTS.items():
        here = table[table["point"] == point].groupby("quantity").last()
        cells: dict[str, object] = {
            "frames": f"{label} ({len(done.frames)})",
            "threshold": words,
            "F1 of the first": f"{here.loc['f1', 'value_b']:.3f}",
        }
        for quantity in QUANTITIES:
            one = here.loc[quantity]
            cells[f"Δ{quantity}"] = difference(one["delta"], one["lo"], one["hi"])
        rows.append(cells)
    return rows, kinds


def difference(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


# -- fresh frames ----------------------------------------------------------------------


def fresh(folder: Path, count: int, side: int, seed: int, forms: Forms) -> list[dict[str, object]]:
    """Write fresh frames with truths, and return the differences of streaks and positions."""
    detectors = {
        name: make_detector("neural", settings)
        for name, settings in zip(NAMES, forms.values(), strict=True)
    }
    streaks: dict[str, list[pd.DataFrame]] = {name: [] for name in detectors}
    points: dict[str, list[pd.DataFrame]] = {name: [] for name in detectors}
    manifest = []
    for number, (family, frame, truth) in enumerate(streak_frames(count, side, seed)):
        stem = folder / f"{family}_{number:03d}"
        row = {"frame": f"{stem.name}.fits", "truth": f"{stem.name}.ecsv", "split": "test"}
        manifest.append(row | {"group": family})
        write_frame(frame, stem.with_suffix(".fits"))
        write_catalog(truth, stem.with_suffix(".ecsv"))
        for name, detector in detectors.items():
            found = detector(frame)
            streaks[name].append(streak_rows(family, frame, truth, found))
            points[name].append(point_rows(family, truth, found))
    pd.DataFrame(manifest).to_csv(folder / "manifest.csv", index=False)
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
    a, b = ([np.asarray(v) for v in values[name]] for name in ("second", "first"))
    of_a, of_b = (statistic(np.concatenate(v)) for v in (a, b))
    draws = []
    for chosen in random.integers(0, len(a), (n_draws, len(a))):
        x, y = (np.concatenate([v[k] for k in chosen]) for v in (a, b))
        if len(x) and len(y):
            draws.append(statistic(x) - statistic(y))
    low, high = np.percentile(draws, [2.5, 97.5])
    return {
        "fresh frames": words,
        "first": f"{of_b:.4f}",
        "second": f"{of_a:.4f}",
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
