"""A synthetic run folder with known numbers, for tests of its readers and of the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import image as mpl_image

from skyduel.core.io.atomic_files import safe_name
from skyduel.evaluation import ScoringRules

EDGES = np.arange(15.0, 25.0)  # nine bins


N_BINS = len(EDGES) - 1


DETECTORS = ("neural", "sep", "sep-matched")


GROUPS = ("crowded", "dirty", "sparse")


POINTS = ("default", "calibrated", "purity95")


#: Magnitude of half completeness, and false detections a frame.
_SKILL = {"neural": (22.6, 9), "sep": (21.4, 22), "sep-matched": (22.1, 14)}


_SHIFT = {"default": 0.0, "calibrated": 0.2, "purity95": -0.3}


def wilson(k: float, n: float) -> tuple[float, float, float]:
    if n == 0:
        return np.nan, np.nan, np.nan
    z, p = 1.959964, k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max(centre - half, 0.0), min(centre + half, 1.0)


def _f(beta2: float, p: float, r: float) -> float:
    return (1 + beta2) * p * r / (beta2 * p + r) if beta2 * p + r > 0 else np.nan


def _bin_edges(number: int) -> tuple[float, float]:
    if number == -1:
        return -np.inf, EDGES[0]
    if number == N_BINS:
        return EDGES[-1], np.inf
    if 0 <= number < N_BINS:
        return EDGES[number], EDGES[number + 1]
    return np.nan, np.nan


def _bin_of(mag: np.ndarray) -> np.ndarray:
    number = np.searchsorted(EDGES, mag, side="right") - 1
    return np.where(np.isnan(mag), N_BINS + 1, number)


def _parquet(table: pd.DataFrame, path: Path, beside: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)
    if beside:
        table.to_csv(path.with_suffix(".csv"), index=False)


def score_rows(counts: pd.DataFrame, mpix: float) -> pd.DataFrame:
    """Return scores from summed counts, in the run folder's columns."""
    rows: list[dict[str, Any]] = []
    for group in ["all", *sorted(set(counts["group"]) - {"all"})]:
        part = counts if group == "all" else counts[counts["group"] == group]
        for (detector, point), cell in part.groupby(["detector", "point"], sort=False):
            n_frames = cell["frame"].nunique()
            by_bin = [(-2, cell), *cell.groupby("bin")]
            for number, c in by_bin:
                t, tf = int(c["truths"].sum()), int(c["truths_found"].sum())
                d, dr = int(c["detections"].sum()), int(c["detections_right"].sum())
                r, p = wilson(tf, t), wilson(dr, d)
                lo, hi = _bin_edges(int(number))
                base = {"detector": detector, "point": point, "group": group, "bin": number}
                base |= {"bin_lo": lo, "bin_hi": hi, "n_frames": n_frames}

                def add(quantity, v, n, k, interval, base=base):
                    value = dict(zip(("value", "lo", "hi"), v, strict=True))
                    rows.append(
                        base | value | {"quantity": quantity, "n": n, "k": k, "interval": interval}
                    )

                add("completeness", r, t, tf, "wilson")
                add("purity", p, d, dr, "wilson")
                for name, beta2 in (("f1", 1.0), ("f2", 4.0)):
                    f = [_f(beta2, a, b) for a, b in zip(p, r, strict=True)]
                    add(name, f, t + d, tf + dr, "bootstrap")
                rate = (d - dr) / (mpix * n_frames)
                add("false_per_mpix", (rate, rate * 0.9, rate * 1.1), d, d - dr, "poisson")
    columns = "detector point group bin bin_lo bin_hi quantity value lo hi n k interval n_frames"
    return pd.DataFrame(rows)[columns.split()]


def write_run(
    path: Path,
    *,
    detectors: tuple[str, ...] = DETECTORS,
    groups: tuple[str, ...] = GROUPS,
    points: tuple[str, ...] = POINTS,
    frames_per_group: int = 4,
    blind: tuple[str, ...] = (),
    failures: tuple[dict[str, Any], ...] = (),
    previews: bool = True,
    pairs: bool = True,
    suffix: str = "",
    n_truth: int = 110,
) -> Path:
    """Write a synthetic run; `blind` ones find nothing, `suffix` ends the frames' names."""
    rng = np.random.default_rng(20261)
    ny, nx = 192, 320
    mpix = ny * nx / 1e6
    frames, counts = [], []
    for group in groups:
        for i in range(frames_per_group):
            frame = f"{group}_{i:03d}{suffix}"
            n = n_truth * (6 if group == "crowded" else 1) + 7 * i
            truth = pd.DataFrame(
                {
                    "x": rng.uniform(0, nx - 1, n),
                    "y": rng.uniform(0, ny - 1, n),
                    "mag": np.minimum(16 + rng.power(3.0, n) * 9.0, 24.9),
                    "kind": "point",
                    "length": 0.0,
                    "theta": 0.0,
                    "ignore": rng.random(n) < 0.03,
                }
            )
            truth.loc[0, ["kind", "length", "theta"]] = ["streak", 90.0, 0.5]
            frames.append(
                {
                    "name": frame,
                    "path": f"data/{frame}.fits",
                    "truth": f"data/{frame}.ecsv",
                    "split": "test",
                    "group": group,
                    "ny": ny,
                    "nx": nx,
                    "mpix": mpix,
                }
            )
            _parquet(truth, path / "truth" / f"{safe_name(frame)}.parquet")
            if previews:
                _write_preview(path / "previews" / f"{safe_name(frame)}.png", truth, ny, nx, rng)
            for detector in detectors:
                m50, n_false = _SKILL.get(detector, (21.8, 18))
                rows: list[pd.DataFrame] = []  # the points cut one catalogue, so it holds them all
                for point in points:
                    start = sum(map(len, rows))
                    m = m50 + _SHIFT[point] - (1.0 if group == "crowded" else 0.0)
                    chance = 1 / (1 + np.exp((truth["mag"] - m) / 0.35))
                    hit = (rng.random(n) < chance).to_numpy()
                    n_wrong = int(rng.poisson(n_false * (1 + 1.5 * _SHIFT[point])))
                    if detector in blind:
                        hit, n_wrong = np.zeros(n, dtype=bool), 0
                    found = pd.DataFrame(
                        {
                            "x": np.r_[truth["x"][hit], rng.uniform(0, nx - 1, n_wrong)],
                            "y": np.r_[truth["y"][hit], rng.uniform(0, ny - 1, n_wrong)],
                            "mag": np.r_[truth["mag"][hit], rng.uniform(20, 24, n_wrong)],
                        }
                    )
                    ignore = truth["ignore"].to_numpy()
                    index = np.full(n, -1)
                    index[hit] = start + np.arange(hit.sum())
                    outcome = np.where(ignore, "ignored", np.where(hit, "found", "missed"))
                    pair = pd.DataFrame(
                        {
                            "truth_index": np.r_[np.arange(n), np.full(n_wrong, -1)],
                            "found_index": np.r_[index, start + hit.sum() + np.arange(n_wrong)],
                            "separation_px": np.r_[
                                np.where(hit, 0.3, np.nan), np.full(n_wrong, np.nan)
                            ],
                            "outcome": np.r_[outcome, np.full(n_wrong, "false")].astype(object),
                        }
                    )
                    if pairs:
                        place = path / "pairs" / safe_name(detector) / point
                        _parquet(pair, place / f"{safe_name(frame)}.parquet")
                    rows.append(found)
                    measured = np.r_[
                        truth["mag"][hit] + rng.normal(0, 0.05, hit.sum()),
                        found["mag"][hit.sum() :],
                    ]
                    right = np.r_[np.ones(hit.sum(), bool), np.zeros(n_wrong, bool)]
                    counted = np.r_[~ignore[hit], np.ones(n_wrong, bool)]
                    tb, fb = _bin_of(truth["mag"].to_numpy()), _bin_of(measured)
                    for number in range(-1, N_BINS + 2):
                        lo, hi = _bin_edges(number)
                        counts.append(
                            {
                                "detector": detector,
                                "point": point,
                                "frame": frame,
                                "group": group,
                                "bin": number,
                                "bin_lo": lo,
                                "bin_hi": hi,
                                "truths": int((~ignore & (tb == number)).sum()),
                                "truths_found": int((~ignore & hit & (tb == number)).sum()),
                                "detections": int((counted & (fb == number)).sum()),
                                "detections_right": int((counted & right & (fb == number)).sum()),
                                "truths_ignored": int((ignore & (tb == number)).sum()),
                                "detections_ignored": int((~counted & (fb == number)).sum()),
                                "duplicates": 0,
                            }
                        )
                place = path / "catalogs" / safe_name(detector)
                _parquet(pd.concat(rows), place / f"{safe_name(frame)}.parquet")
    table = pd.DataFrame(counts)
    scores = score_rows(table, mpix)
    sweep, limits = [], []
    for detector in detectors:
        m50, _ = _SKILL.get(detector, (21.8, 18))
        for group in dict.fromkeys(["all", *groups]):
            for threshold in np.linspace(0, 1, 21):
                r = (0.9 - 0.7 * threshold) * m50 / 24
                p = 1 - 0.5 * (1 - threshold) ** 3
                if detector in blind:
                    r, p = 0.0, np.nan
                row = {"detector": detector, "group": group, "threshold": threshold}
                row |= {"truths": 1000, "truths_found": int(1000 * r), "detections": 900}
                row |= {"detections_right": 800, "completeness": r, "purity": p}
                sweep.append(
                    row
                    | {"f1": _f(1, p, r), "f2": _f(4, p, r), "false_per_mpix": 50 * (1 - threshold)}
                )
            for point in points:
                snr = 4.0 + (23 - m50) - _SHIFT[point] + (1.5 if group == "crowded" else 0.0)
                if detector in blind:
                    snr = np.nan
                limits.append(
                    {
                        "detector": detector,
                        "point": point,
                        "group": group,
                        "threshold": 0.5,
                        "purity": 0.95,
                        "completeness": 0.7,
                        "false_per_mpix": 12.0,
                        "snr50": snr,
                        "snr50_lo": snr - 0.2,
                        "snr50_hi": snr + 0.25,
                        "m50": m50,
                        "m50_lo": m50 - 0.1,
                        "m50_hi": m50 + 0.1,
                        "n_truths": 900,
                        "n_frames": frames_per_group * (len(groups) if group == "all" else 1),
                    }
                )
    for name, rows in (("counts", table), ("scores", scores), ("sweep", sweep), ("limits", limits)):
        _parquet(pd.DataFrame(rows), path / f"{name}.parquet", beside=True)
    record = {
        "schema": 1,
        "name": path.name,
        "status": "complete with failures" if failures else "complete",
        "created_utc": "2026-05-01T20:00:00Z",
        "finished_utc": "2026-05-01T20:07:30Z",
        "versions": {"skyduel": "0.1.0", "python": "3.11.9", "sep": "1.4.1"},
        "git_revision": "0123abcd",
        "git_dirty": False,
        "machine": {"platform": "Linux", "cpu": "a CPU", "cores": 8, "memory_gib": 31.2},
        "command": "skyduel run",
        "seeds": {"dataset": 1, "bootstrap": 2},
        "dataset": {"path": "data", "name": "built-in", "n_frames": len(frames), "frames": frames},
        "rules": ScoringRules(radius_px=3.0, bins="15:24:1").model_dump(mode="json"),
        "points": list(points),
        "detectors": [
            {
                "name": d,
                "settings": {"score_threshold": 0.5, "note": "a < b & c"},
                "default_threshold": 0.5,
                "calibrated_threshold": 0.42 if "calibrated" in points else None,
                "weights_sha256": "ab" * 32 if d == "neural" else None,
                "device": "cpu",
                "seconds": 12.5 + 3 * i,
                "mpix": mpix * len(frames),
                "mpix_per_s": mpix * len(frames) / (12.5 + 3 * i),
                "peak_memory_mib": 812.4 + i,
                "frames_done": len(frames),
                "frames_failed": sum(f["detector"] == d for f in failures),
            }
            for i, d in enumerate(detectors)
        ],
        "failures": list(failures),
    }
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return path


def _write_preview(path: Path, truth: pd.DataFrame, ny: int, nx: int, rng: Any) -> None:
    sky = rng.normal(0.12, 0.04, (ny, nx))
    for x, y, mag in truth[["x", "y", "mag"]].to_numpy():
        i, j = round(y), round(x)
        sky[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] += 0.8 * 10 ** (-0.2 * (mag - 17))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = (np.clip(sky, 0, 1)[::-1] * 255).astype(np.uint8)  # first row at the bottom
    mpl_image.imsave(path, picture, cmap="gray", vmin=0, vmax=255)
