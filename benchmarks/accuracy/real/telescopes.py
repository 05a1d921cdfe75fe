"""Compare detectors on real frames without catalogue: artefacts, injection, sign-flip, a trail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.stats import mad_std
from real import figures as draw
from real.tools import Found, markdown, run, save, share
from scipy import ndimage

from skyduel.core import Catalog, Detector, Frame, estimate_background, read_frame
from skyduel.evaluation import flip_estimate, pair, wilson
from skyduel.evaluation.matching.segments import point_segment_distance
from skyduel.runner.inject import at_default
from skyduel.runner.truth_free import flip_table
from skyduel.simulation import InjectionSettings, draw_injected, inject, measure_psf

__all__ = ["crops", "satellite"]

# -- crops of a wide-field telescope: artefacts, injection, sign-flip ------------------


def artefact_maps(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return masks of smeared rows, rows next to them, halos (without star cores), and sky."""
    sky = estimate_background(frame)
    z = (frame.data - sky.level) / sky.global_rms
    level = np.median(z, axis=1)
    excess = level - ndimage.median_filter(level, 41)
    spread = mad_std(excess)
    smeared = excess > max(5 * spread, 0.5)
    near = ndimage.binary_dilation(smeared, iterations=2)
    beside = ndimage.binary_dilation(smeared, iterations=9) & ~near
    wide = ndimage.median_filter(frame.data, 21) - np.median(frame.data)
    halo = wide > 5 * sky.global_rms
    bright = frame.data > np.median(frame.data) + 0.15 * np.ptp(frame.data)
    core = ndimage.binary_dilation(bright, iterations=5)
    rows = np.broadcast_to(smeared[:, None], frame.shape)
    calm = ~(halo | core)
    plain = calm & ~np.broadcast_to(near[:, None], frame.shape)
    return rows & calm, np.broadcast_to(beside[:, None], frame.shape) & calm, halo & ~core, plain


def on(area: np.ndarray, xy: np.ndarray) -> int:
    ny, nx = area.shape
    column, row = (np.floor(v + 0.5).astype(int) for v in xy.T)
    return int(area[row.clip(0, ny - 1), column.clip(0, nx - 1)].sum())


#: One streak on each crop. There are nine published labels; six lie on smeared rows, one on
#: no visible source, and two on the same streak.
STREAKS = {"242": (485.0, 63.0), "284": (371.0, 138.0)}


@dataclass
class _Tally:
    """Counts of one detector over both crops."""

    equal: np.ndarray = field(default_factory=lambda: np.zeros(4))
    own: np.ndarray = field(default_factory=lambda: np.zeros(4))
    streaks: int = 0
    others: int = 0
    injected: list[pd.DataFrame] = field(default_factory=list)


def crops(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    tallies = {name: _Tally() for name in detectors}
    areas = np.zeros(4)
    flips, psfs = [], []
    for number, name in enumerate(("242", "284")):
        frame = read_frame(data / "wfsat_crops" / f"{name}.fits")
        found = run(detectors, frame)
        own = {k: at_default(detectors[k], c) for k, c in found.items()}
        n = min(len(c) for c in own.values())
        equal = {k: c.select(np.arange(len(c)) < n) for k, c in found.items()}
        maps = artefact_maps(frame)
        areas += [m.sum() for m in maps]
        for k, tally in tallies.items():
            for count, c in ((tally.equal, equal[k]), (tally.own, own[k])):
                count += [on(m, c.xy[~c.is_streak]) for m in maps]
            lines = own[k].select(own[k].is_streak)
            on_it = _on_streak(lines, *STREAKS[name])
            tally.streaks += int(on_it.any())
            tally.others += int((~on_it).sum())
        draw.frames(
            frame, equal, figures / f"real-crop-{name}.png", labels=np.array([STREAKS[name]])
        )
        psfs.append(_inject(frame, number, detectors, found, equal, tallies))
        at_hand = {(k, frame.name): c for k, c in found.items()}
        flips.append(flip_table([frame], detectors, found=at_hand))
    bins = {k: _by_snr(pd.concat(tally.injected)) for k, tally in tallies.items()}
    draw.completeness(bins, figures / "real-crops-injected.png")
    save(bins, figures / "real-crops-injected.csv")
    parts = (
        "Detections of points per 10⁴ px:",
        _where(tallies, areas),
        "Injected sources found, at equal numbers of detections on the crops as they are "
        f"(PSFs: {'; '.join(psfs)}):",
        _bands(bins),
        "Upside down, each at its own threshold:",
        _flipped(pd.concat(flips)),
    )
    return "\n\n".join(parts)


def _on_streak(lines: Catalog, x: float, y: float) -> np.ndarray:
    """Return a mask of streaks that pass a point within 8 px: the labels are off by 1 to 3 px."""
    segments = zip(*(lines[k] for k in ("x", "y", "length", "theta")), strict=True)
    at = np.array([x]), np.array([y])
    near = [point_segment_distance(*at, *(float(v) for v in s))[0] < 8 for s in segments]
    return np.array(near, dtype=bool)


def _inject(
    frame: Frame,
    number: int,
    detectors: dict[str, Detector],
    found: Found,
    equal: Found,
    tallies: dict[str, _Tally],
) -> str:
    """Inject four times, count the sources each detector finds, and describe the PSF."""
    measured = measure_psf(frame, found["sep"].xy)
    settings = InjectionSettings(number=60, snr=(2, 60), separation=6)
    xy = np.concatenate([c.xy for c in equal.values()])
    there = Catalog.build(x=xy[:, 0], y=xy[:, 1])
    for copy in range(4):
        rng = np.random.default_rng([1, number, copy])
        sources = draw_injected(frame, measured.psf, settings, rng, there=there)
        after = run(detectors, inject(frame, sources, measured.psf, rng))
        for name, c in after.items():
            c = c.select(c["score"] >= equal[name]["score"].min())
            got = np.zeros(len(sources), dtype=bool)
            got[pair(sources.xy, c.xy, 2.0).truth_index] = True
            tallies[name].injected.append(pd.DataFrame({"snr": sources["snr"], "found": got}))
    psf = f"{measured.psf.fwhm:.2f} px from {measured.n_stars} stars"
    return f"{frame.name} {psf}, misfit {100 * measured.misfit:.1f} %"


def _by_snr(table: pd.DataFrame) -> pd.DataFrame:
    edges = np.array([2.0, 3, 4, 5, 6, 8, 11, 16, 25, 60])
    n = np.histogram(table["snr"], edges)[0]
    k = np.histogram(table["snr"][table["found"]], edges)[0]
    low, high = wilson(k, n, 0.95)
    return pd.DataFrame(
        {"snr_lo": edges[:-1], "snr_hi": edges[1:], "n": n, "k": k, "lo": low, "hi": high}
    )


def _where(tallies: dict[str, _Tally], areas: np.ndarray) -> str:
    rows: list[dict[str, object]] = []
    for name, tally in tallies.items():
        for text, count in (("equal numbers", tally.equal), ("own threshold", tally.own)):
            row: dict[str, object] = {"detector": name, "at": text}
            places = ("on smeared rows", "beside them", "in halos", "elsewhere")
            row |= {p: f"{v:.1f}" for p, v in zip(places, 1e4 * count / areas, strict=True)}
            own = text == "own threshold"
            row["streaks found (of 2)"] = tally.streaks if own else ""
            row["other streaks"] = tally.others if own else ""
            rows.append(row)
    return markdown(rows)


def _bands(bins: dict[str, pd.DataFrame]) -> str:
    rows: list[dict[str, object]] = []
    for name, t in bins.items():
        row: dict[str, object] = {"detector": name}
        for low, high in ((2, 5), (5, 8), (8, 16), (16, 60)):
            band = t[(t["snr_lo"] >= low) & (t["snr_hi"] <= high)]
            k, n = int(band["k"].sum()), int(band["n"].sum())
            row[f"S/N {low:g}–{high:g} ({n})"] = share(k, n)
        rows.append(row)
    return markdown(rows)


def _flipped(table: pd.DataFrame) -> str:
    rows: list[dict[str, object]] = []
    for name, part in table.groupby("detector", sort=False):
        sums = [part[k].sum() for k in ("n_found", "n_flipped", "mpix", "mpix_flipped")]
        e = flip_estimate(*sums)
        rows.append(
            {
                "detector": name,
                "found": e.n_found,
                "on the flipped crops": e.n_flipped,
                "false from noise per Mpix": f"{e.false_per_mpix:.0f}",
                "purity ≤": f"{e.purity:.3f} [{e.purity_lo:.3f}, {e.purity_hi:.3f}]",
            }
        )
    return markdown(rows)


# -- a satellite -----------------------------------------------------------------------


def satellite(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    folder = data / "ystar_streak"
    frame = read_frame(folder / "long.fits")
    ends = json.loads((folder / "streak_label.json").read_text())["streaks"][0]
    a, b = np.array([ends["x0"], ends["y0"]]), np.array([ends["x1"], ends["y1"]])
    middle, along = (a + b) / 2, b - a
    length, theta = float(np.hypot(*along)), float(np.arctan(along[1] / along[0]))
    rows, shown = [], {}
    for name, c in run(detectors, frame).items():
        c = at_default(detectors[name], c)
        shown[name] = c
        near = point_segment_distance(c["x"], c["y"], *middle, length, theta) <= 6
        lines = c.select(c.is_streak & near)
        cells = {"detector": name, "points on the trail": int((near & ~c.is_streak).sum())}
        cells["streaks on it"] = len(lines)
        if len(lines):
            best = int(np.argmax(lines["length"]))
            turn = np.rad2deg(float(lines["theta"][best]) - theta)
            cells["length, of " + f"{length:.0f} px"] = f"{float(lines['length'][best]):.0f} px"
            cells["angle off"] = f"{(turn + 90) % 180 - 90:+.2f}°"
        else:
            cells["length, of " + f"{length:.0f} px"] = cells["angle off"] = "–"
        rows.append(cells)
    draw.frames(
        frame, shown, figures / "real-satellite.png", box=(0, 400, 230, 430), segment=(a, b)
    )
    return markdown(rows)
