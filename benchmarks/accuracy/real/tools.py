"""Shared functions of the comparisons on real frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from skyduel.core import Catalog, Detector, Frame
from skyduel.evaluation import pair, wilson

__all__ = ["Found", "by_magnitude", "inside", "markdown", "run", "save", "share"]

Found = dict[str, Catalog]


def run(detectors: dict[str, Detector], frame: Frame) -> Found:
    """Return all detections of each detector, highest score first."""
    out = {}
    for name, detector in detectors.items():
        found = detector(frame)
        out[name] = found.select(np.argsort(-found["score"], kind="stable"))
    return out


def share(k: int, n: int) -> str:
    low, high = wilson(k, n, 0.95)
    return f"{k / n:.3f} [{float(low):.3f}, {float(high):.3f}]" if n else "–"


def markdown(rows: list[dict[str, object]]) -> str:
    head = list(rows[0])
    align = ["---" if k == 0 else "---:" for k in range(len(head))]
    lines = [head, align, *([str(row[c]) for c in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def inside(xy: np.ndarray, frame: Frame, margin: float = 10.0) -> np.ndarray:
    ny, nx = frame.shape
    x, y = xy.T
    return (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)


def by_magnitude(
    truth: np.ndarray, mag: np.ndarray, found: np.ndarray, radius: float, edges: np.ndarray
) -> pd.DataFrame:
    """Return the number of truths and of found truths in each bin, paired in all bins together."""
    got = np.zeros(len(truth), dtype=bool)
    got[pair(truth, found, radius).truth_index] = True
    n, k = (np.histogram(mag[rows], edges)[0] for rows in (np.ones(len(mag), bool), got))
    low, high = wilson(k, n, 0.95)
    return pd.DataFrame(
        {"mag_lo": edges[:-1], "mag_hi": edges[1:], "n": n, "k": k, "lo": low, "hi": high}
    )


def save(tables: dict[str, pd.DataFrame], path: Path) -> None:
    parts = [table.assign(detector=name) for name, table in tables.items()]
    pd.concat(parts).round(4).to_csv(path, index=False)
