"""Synthetic tables of every analysis, written into a synthetic run folder."""

import numpy as np
import pandas as pd

from helpers.synthetic_run import DETECTORS, EDGES, GROUPS, N_BINS, POINTS, wilson

ALL = (*("all",), *GROUPS)


MISSED = ("faint", "blended", "halo", "other")


FALSE = ("cosmic_ray", "wrong_kind", "noise", "other")


def _edges(number):
    return (np.nan, np.nan) if number == -2 else (EDGES[number], EDGES[number + 1])


def _score(rng, n=None):
    n = int(rng.integers(4, 60)) if n is None else n
    k = int(rng.integers(0, n + 1))
    value, lo, hi = wilson(k, n)
    return {"value": value, "lo": lo, "hi": hi, "n": n, "k": k}


def _cells(points=POINTS, detectors=DETECTORS, groups=ALL):
    return [
        {"detector": d, "point": p, "group": g} for d in detectors for p in points for g in groups
    ]


def write_analyses(path, detectors=DETECTORS, groups=ALL, points=POINTS):
    """Write a synthetic table of every analysis, and the comparisons, into a run folder."""
    rng = np.random.default_rng(5)
    cells = _cells(points, detectors, groups)
    tables = {}
    tables["ideal"] = [
        c
        | {"match": m, "bin": b, "bin_lo": _edges(b)[0], "bin_hi": _edges(b)[1]}
        | {"threshold": 4.0, "false_per_mpix": 20.0, "purity": 0.9, "ideal": rng.random()}
        | {"tail": 0.5, "snr50_ideal": 4.0, "m50_ideal": 22.0, "snr50": 5.0, "n_frames": 4}
        | {"distance_mag": d, "distance_lo": d - 0.1, "distance_hi": d + 0.1, "beats": False}
        | {f"found{s}": v for s, v in zip(("", "_lo", "_hi"), wilson(3, 9), strict=True)}
        | {"n": int(rng.integers(2, 40))}
        for c in cells
        for m in ("false_rate", "purity")
        for b in (-2, *range(N_BINS))
        for d in [rng.random()]
    ]
    tables["mistakes"] = [
        c
        | {"side": side, "kind": kind, "bin": b, "bin_lo": _edges(b)[0], "bin_hi": _edges(b)[1]}
        | {"n": 10 * (i + 1), "share": 0.1 * (i + 1), "lo": 0.0, "hi": 1.0}
        for c in cells
        for side, kinds in (("missed", MISSED), ("false", FALSE))
        for b in (-2, 3, 5)
        for i, kind in enumerate(kinds)
    ]
    tables["reliability"] = [
        {"detector": d, "group": g, "score_is": "unknown" if d == "sep" else "probability"}
        | {"binning": how, "bin": -2, "bin_lo": np.nan, "bin_hi": np.nan, "score_bin": i}
        | {"score_lo": i / 10, "score_hi": (i + 1) / 10, "predicted": i / 10 + 0.04}
        | {("right" if k == "value" else k): v for k, v in _score(rng).items()}
        for d in detectors
        for g in groups
        for how in ("equal width", "equal count")
        for i in range(10)
    ]
    tables["calibration_error"] = [
        {"detector": d, "group": g, "score_is": "probability", "bin": -2, "bin_lo": np.nan}
        | {"bin_hi": np.nan, "n": 400, "k": 300, "predicted": 0.7, "right": 0.75}
        | {"ece": float(rng.random() / 9), "ece_chance": 0.01, "ece_equal_count": 0.02}
        | {"ece_equal_count_chance": 0.01, "brier": 0.1, "n_unscored": 0}
        for d in detectors
        if d != "sep"
        for g in groups
    ]
    tables["purity_choice"] = [
        {"detector": d, "group": g, "wanted": w, "chosen_by": how, "threshold": w - 0.2}
        | {"purity_chosen": w, "n_chosen": 90, "completeness": 0.5, "completeness_lo": 0.4}
        | {"completeness_hi": 0.6, "truths": 100, "truths_found": 50}
        | {("purity" if k == "value" else k): v for k, v in _score(rng, 80).items()}
        for d in detectors
        for g in groups
        for w in (0.9, 0.95, 0.99)
        for how in ("calibration", "score")
    ]
    facets = (("snr", "completeness"), ("kind", "completeness"), ("radius", "purity"))
    facets += (("score", "purity"), ("kind", "purity"))
    tables["facets"] = [
        c
        | {"facet": f, "bin": b, "bin_lo": float(b), "bin_hi": float(b + 1), "unit": ""}
        | {"label": ("point", "streak", "unknown")[b] if f == "kind" else ""}
        | {"quantity": q, "n_frames": 4}
        | _score(rng, 0 if f == "kind" and b == 2 else None)
        for c in cells
        for f, q in facets
        for b in range(3)
    ]
    tables["ignore_limit"] = [
        c
        | {"min_snr": s, "truths": int(900 - 100 * s), "truths_found": 300, "truths_ignored": 9}
        | {"detections": 500, "detections_right": 300, "detections_ignored": 8}
        | {"completeness": rng.random(), "purity": rng.random(), "f1": rng.random()}
        for c in cells
        for s in (0.0, 1.0, 2.0, 4.0)
    ]
    tables["migration"] = [
        c
        | {"true_bin": t, "true_lo": EDGES[t], "true_hi": EDGES[t + 1], "measured_bin": m}
        | {"measured_lo": EDGES[m], "measured_hi": EDGES[m + 1], "n": int(rng.integers(1, 99))}
        for c in cells
        for t, m in ((3, 3), (3, 4), (4, 4), (6, 5))
    ]
    tables["astrometry"] = [
        c
        | {"quantity": q, "unit": "px", "by": by, "bin": b, "bin_lo": float(b), "n": 8 + b}
        | {"bin_hi": float(b + 1), "bias": rng.normal(), "scatter": rng.random(), "rms": 1.0}
        for c in cells
        for q, by in (("x", "snr"), ("y", "snr"), ("mag", "mag"))
        for b in (-2, 0, 1, 2)
    ]
    tables["jia2020"] = [
        c
        | {"bin": b, "bin_lo": EDGES[b], "bin_hi": EDGES[b + 1], "mag_plotted": EDGES[b + 1]}
        | {"quantity": q, "value": rng.random(), "truths": 9, "n_frames": 4}
        | {"network": 0.821 if b == 5 else np.nan, "sextractor": 0.7 if b == 5 else np.nan}
        for c in cells
        for b in range(N_BINS)
        for q in ("recall", "precision", "f1", "f2")
    ]
    tables["chance"] = [
        c
        | {"shifts": 8, "n_frames": 4, "truths": 90, "pairs": 60, "chance_pairs": 3.5}
        | {"chance_lo": 2.0, "chance_hi": 5.0, "chance_share": 0.058, "share_lo": 0.03}
        | {"share_hi": 0.08}
        for c in cells
    ]
    tables["average_precision"] = [
        {"detector": d, "group": g, "method": m, "kind": "point", "value": rng.random()}
        | {"truths": 90, "detections": 100, "n_frames": 4}
        for d in detectors
        for g in groups
        for m in ("position", "coco50")
    ]
    tables["galaxies"] = [
        c
        | {"kind": kind, "size_bin": s, "size_lo": lo, "size_hi": hi, "bin": b}
        | {"bin_lo": _edges(b)[0], "bin_hi": _edges(b)[1], "n_frames": 4, **_score(rng)}
        | {"told": told, "told_right": told // 2, "told_share": 0.5 if told else np.nan}
        | {"told_lo": 0.3 if told else np.nan, "told_hi": 0.7 if told else np.nan}
        for c in cells
        for told in [0 if c["detector"] == "neural" else 12]
        for kind, s, lo, hi in (
            ("galaxy", -2, np.nan, np.nan), ("galaxy", 4, 2.0, 3.0),
            ("galaxy", 6, 4.0, 6.0), ("point", -2, np.nan, np.nan),
        )
        for b in (-2, 3, 4)
    ]  # fmt: skip
    comparisons = []
    pairs = [(a, b) for i, a in enumerate(detectors) for b in detectors[i + 1 :]]
    for a, b in pairs:
        for c in _cells(points, ("x",), groups):
            for q in ("completeness", "purity", "f1", "f2", "m50", "snr50"):
                bins = (-2,) if q in ("m50", "snr50") else (-2, *range(N_BINS))
                for number in bins:
                    kinds = ("bootstrap",) if number == -2 or q != "completeness" else ()
                    kinds += ("newcombe",) if q == "completeness" else ()
                    for how in kinds:
                        delta, p = rng.normal(0, 0.1), float(rng.random() ** 4)
                        comparisons.append(
                            {"detector_a": a, "detector_b": b, "point": c["point"]}
                            | {"group": c["group"], "bin": number, "quantity": q}
                            | {"bin_lo": _edges(number)[0], "bin_hi": _edges(number)[1]}
                            | {"value_a": 0.5 + delta, "value_b": 0.5, "delta": delta}
                            | {"lo": delta - 0.05, "hi": delta + 0.05, "n_both": 5.0}
                            | {"n_a_only": 2.0, "n_b_only": 1.0, "n_neither": 3.0, "p": p}
                            | {"p_holm": min(2 * p, 1.0), "interval": how, "n_frames": 12}
                        )
    (path / "analyses").mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_parquet(path / "analyses" / f"{name}.parquet")
    pd.DataFrame(comparisons).to_parquet(path / "comparisons.parquet")
    limits = pd.read_parquet(path / "limits.parquet")
    for name, offset in (("m90", -1.0), ("snr90", 3.0), ("width_mag", 0.0)):
        value = 0.3 if name == "width_mag" else limits[f"{name[:-2]}50"] + offset
        limits[name], limits[f"{name}_lo"], limits[f"{name}_hi"] = value, value - 0.1, value + 0.1
    limits.assign(floor=0.02, ceiling=0.97).to_parquet(path / "limits.parquet")
    return path
