"""Compare detectors on real frames with catalogues that are deeper than the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table
from real import figures as draw
from real.tools import by_magnitude, inside, markdown, run, save, share

from skyduel.core import Catalog, Detector, Frame, pixel_positions, read_catalog, read_frame
from skyduel.core.reference.unresolved import closest_resolved, merge_unresolved
from skyduel.evaluation import pair, wilson
from skyduel.runner.inject import at_default

__all__ = ["lens", "panoptes", "sdss", "stripe82"]

# -- SDSS against the Stripe 82 coadd --------------------------------------------------


def stripe82(folder: Path) -> tuple[Frame, Catalog, np.ndarray]:
    """Read the single-epoch frame 94-1-12 (r) and the two catalogues around it.

    Returns
    -------
    frame : Frame
    coadd : Catalog
        Sources of the coadd, twenty epochs deep; ``mag`` is r.
    own : ndarray, shape (n, 2)
        Positions in the survey's catalogue of that single epoch [px].
    """
    frame = read_frame(folder / "frame-r-000094-1-0012.fits.bz2")
    coadd = read_catalog(
        folder / "stripe82_coadd_94_1_12.fits", frame=frame, columns={"mag": "psfmag_r"}
    )
    own = Table.read(folder / "photoObj_subset_94_1_12.fits")
    own = own[(own["NCHILD"] == 0) & np.isin(own["OBJC_TYPE"], (3, 6))]
    xy = np.column_stack(pixel_positions(np.asarray(own["RA"]), np.asarray(own["DEC"]), frame))
    return frame, coadd, xy[np.isfinite(xy).all(axis=1)]


def sdss(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    radius = 4.0
    frame, coadd, own = stripe82(data / "sdss_s82")
    coadd = coadd.select(inside(coadd.xy, frame))
    union = np.vstack([own, coadd.xy])
    found = run(detectors, frame)
    found = {name: c.select(inside(c.xy, frame)) for name, c in found.items()}
    default = {name: len(at_default(detectors[name], c)) for name, c in found.items()}
    equal = min(default.values())
    edges = np.array([16.0, 18, 19, 20, 20.5, 21, 21.5, 22, 22.25, 22.5, 22.75, 23])
    faint = coadd.select((coadd["mag"] >= 21) & (coadd["mag"] < 23))
    rows, bins, curves = [], {}, {}
    for name, c in found.items():
        # The number of the detector with the fewest, the number of the network, and its own.
        for n in sorted({equal, default["neural"], default[name]}):
            if n > len(c):
                continue
            own_number = " (own)" if n == default[name] else ""
            cells: dict[str, object] = {"detector": name, "detections": f"{n:,}{own_number}"}
            for low, high in ((16, 21), (21, 22), (22, 23)):
                t = by_magnitude(coadd.xy, coadd["mag"], c.xy[:n], radius, np.array([low, high]))
                of = int(t["n"][0])
                cells[f"r {low}–{high} ({of})"] = share(int(t["k"][0]), of)
            cells["known (purity ≥)"] = share(len(pair(union, c.xy[:n], radius)), n)
            rows.append((n, cells))
        bins[name] = by_magnitude(coadd.xy, coadd["mag"], c.xy[:equal], radius, edges)
        steps = np.unique(np.r_[np.arange(200, min(len(c), 1500), 60), default[name], equal])
        curves[name] = pd.DataFrame(
            {
                "detections": n,
                "recall_21_23": len(pair(faint.xy, c.xy[:n], radius)) / len(faint),
                "unknown": n - len(pair(union, c.xy[:n], radius)),
                "default": n == default[name],
            }
            for n in steps[steps <= len(c)]
        )
    draw.sdss(bins, curves, equal, figures / "real-sdss.png")
    save(bins, figures / "real-sdss-bins.csv")
    save(curves, figures / "real-sdss-curves.csv")
    return markdown([cells for _, cells in sorted(rows, key=lambda row: row[0])])


# -- wide-field lens frames against Gaia and Tycho-2 -----------------------------------

#: Stars brighter than this count, fainter ones down to the second excuse a detection [mag].
LIMIT, DEEPER = 8.0, 9.5
BANDS = ((3.0, 6.5), (6.5, 7.25), (7.25, 8.0))
EXAMPLE = "Alt60_Azi45"


def lens(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    radius, edges = 1.5, np.r_[3.0, 5.0, 5.5, 6.0, np.arange(6.25, 8.76, 0.25)]
    bins: dict[str, list[pd.DataFrame]] = {n: [] for n in detectors}
    surest: dict[str, list[pd.DataFrame]] = {n: [] for n in detectors}
    mpix = truths = chance_hits = chance_of = 0.0
    example: dict[str, object] = {}
    for path in sorted((data / "widefield_lens").glob("*.fits.fz")):
        frame = read_frame(path)
        xy, mag = gaia(path.with_name(path.name.replace(".fits.fz", "_truth.csv")), frame)
        truths += int((mag < LIMIT).sum())
        mpix += (frame.shape[0] - 10) * (frame.shape[1] - 10) / 1e6
        found = run(detectors, frame)
        found = {name: c.select(inside(c.xy, frame, 5)) for name, c in found.items()}
        n = min(len(at_default(detectors[name], c)) for name, c in found.items())
        for name, c in found.items():
            bins[name].append(by_magnitude(xy, mag, c.xy[:n], radius, edges))
            surest[name].append(ranked(xy, mag, c.xy, radius, n).assign(
                default=np.arange(len(c)) < len(at_default(detectors[name], c))))  # fmt: skip
            for shift in ((9, 0), (-9, 0), (0, 9), (0, -9)):
                chance_hits += len(pair(xy + shift, c.xy[:n], radius))
                chance_of += n
        if frame.name == EXAMPLE:
            shown = {name: c.xy[:n] for name, c in found.items()}
            example = {"frame": frame, "found": shown, "xy": xy, "mag": mag}
    summed, curves, rows = {}, {}, []
    for name in detectors:
        t = pd.concat(bins[name]).groupby(["mag_lo", "mag_hi"], as_index=False)[["n", "k"]].sum()
        t["lo"], t["hi"] = wilson(t["k"], t["n"], 0.95)
        summed[name] = t
        # Every frame is cut at the same fraction of its equal number, for equal weights.
        r = pd.concat(surest[name]).sort_values("rank", kind="stable")
        recall, false = r["right"].cumsum() / truths, r["false"].cumsum() / mpix
        curves[name] = pd.DataFrame({"recall": recall, "false_per_mpix": false})
        for which in ("equal", "default"):
            part = r[r[which]]
            own = " (own)" if which == "default" else ""
            cells: dict[str, object] = {"detector": name, "detections": f"{len(part):,}{own}"}
            for lo, hi in BANDS:
                band = t[(t["mag_lo"] >= lo) & (t["mag_hi"] <= hi)]
                k, n_band = int(band["k"].sum()), int(band["n"].sum())
                cells[f"G {lo:g}–{hi:g} ({n_band})"] = "" if own else share(k, n_band)
            of_all = f"all G < {LIMIT:g} ({truths:.0f})"
            cells[of_all] = share(int(part["right"].sum()), int(truths))
            cells["in no catalogue, per Mpix"] = f"{part['false'].sum() / mpix:.1f}"
            rows.append(cells)
    draw.lens(summed, curves, example, LIMIT, figures / "real-lens.png")
    save(summed, figures / "real-lens-bins.csv")
    rows.sort(key=lambda r: "own" in str(r["detections"]))
    chance = (
        f"A detection has a star of the reference (G < {DEEPER:g}) within {radius:g} px "
        f"by chance with a probability of {chance_hits / chance_of:.3f}."
    )
    return markdown(rows) + "\n\n" + chance


def gaia(path: Path, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and magnitudes of the reference: G, or VT if Gaia has none.

    Doubles that the frame cannot resolve are one source, as `skyduel truth` has them.
    """
    table = pd.read_csv(path)
    mag = table["g_gaia"].fillna(table["vt_tycho2"]).to_numpy()
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    merged = merge_unresolved(x, y, mag, closest_resolved(frame).px)
    xy, mag = np.column_stack([merged.mean(x), merged.mean(y)]), merged.magnitudes(mag)
    keep = inside(xy, frame, 5) & (mag < DEEPER)
    return xy[keep], mag[keep]


def ranked(
    xy: np.ndarray, mag: np.ndarray, found: np.ndarray, radius: float, n: int
) -> pd.DataFrame:
    """Classify detections, highest score first, as right or false; the others are excused.

    The detection of highest score is matched first, so that detections of lower score do not
    change the result.
    """
    rank = np.arange(len(found))
    right = np.zeros(len(found), dtype=bool)
    bright = pair(xy[mag < LIMIT], found, radius, rule="score-first", score=-rank)
    right[bright.found_index] = True
    rest = np.flatnonzero(~right)
    false = ~right
    faint = pair(xy[mag >= LIMIT], found[rest], radius, rule="score-first", score=-rest)
    false[rest[faint.found_index]] = False
    return pd.DataFrame(
        {"rank": rank / max(n, 1), "right": right, "false": false, "equal": rank < n}
    )


# -- a Bayer frame against Tycho-2 -----------------------------------------------------


def panoptes(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    folder, radius = data / "panoptes_cygnus", 2.0
    frame = read_frame(folder / "solved.fits.fz")
    table = pd.read_csv(folder / "tycho2_in_solved.csv")
    keep = inside(table[["x", "y"]].to_numpy(), frame, 5)
    xy, mag = table[["x", "y"]].to_numpy()[keep], table["vt"].to_numpy()[keep]
    found = run(detectors, frame)
    n = min(len(at_default(detectors[name], c)) for name, c in found.items())
    rows = []
    for name, c in found.items():
        chance = np.mean([len(pair(xy + s, c.xy[:n], radius)) for s in ((9, 9), (-9, 9), (9, -9))])
        cells = {"detector": name, "its own number": f"{len(at_default(detectors[name], c)):,}"}
        cells["detections"] = f"{n:,}"
        for low, high in ((0, 10), (10, 11), (11, 12.5)):
            t = by_magnitude(xy, mag, c.xy[:n], radius, np.array([low, high]))
            cells[f"VT {low:g}–{high:g} ({int(t['n'][0])})"] = share(int(t["k"][0]), int(t["n"][0]))
        cells["by chance"] = f"{chance / len(xy):.3f}"
        rows.append(cells)
    draw.frames(
        frame,
        {name: c.select(np.arange(len(c)) < n) for name, c in found.items()},
        figures / "real-panoptes.png",
        box=(150, 400, 150, 400),
        truth=xy,
    )
    return markdown(rows)
