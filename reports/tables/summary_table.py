"""Table of the scores over all magnitudes: one row a detector and operating point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skyduel.core.errors import takes
from skyduel.evaluation.scoring.metrics import Metric, Use, listed
from skyduel.reports.tables.slivers import limits_told
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS

__all__ = ["metrics_of", "summary_table"]


def metrics_of(run: Run, use: Use) -> tuple[Metric, ...]:
    """Return the metrics of one use without those that the run is older than."""
    there = set(run.scores["quantity"].astype(str))
    return tuple(m for m in listed(use) if m.in_first_schema or m.name in there)


@takes(run=Run, group=str)
def summary_table(run: Run, group: str = ALL_GROUPS) -> pd.DataFrame:
    """Return the scores over all bins of one group, one row a detector and operating point.

    Returns
    -------
    DataFrame
        `detector`, `point`; each metric of tables over all magnitudes (`completeness`,
        `purity`, `f1`, …) with its `_lo` and `_hi`; `snr50` with its own;
        `truths`, `detections`, `frames`; `mpix_per_s` and `peak_memory_mib`.
        Undefined, and a limit of a sliver (`limits_told`), is NaN.
    """
    scores = run.scores[(run.scores["bin"] == ALL_BINS) & (run.scores["group"] == group)]
    of = {
        (str(r["detector"]), str(r["point"]), str(r["quantity"])): r
        for r in scores.to_dict("records")
    }
    told = limits_told(run)
    limits = {
        (str(r["detector"]), str(r["point"])): r
        for r in told[told["group"] == group].to_dict("records")
    }
    names = [m.name for m in metrics_of(run, "overall")]
    rows: list[dict[str, Any]] = []
    for point in run.points:
        for detector in run.detectors:
            found = {q: of.get((detector, point, q), {}) for q in names}
            if not any(found.values()):
                continue
            row: dict[str, Any] = {"detector": detector, "point": point}
            for quantity, values in found.items():
                row[quantity] = values.get("value", np.nan)
                row[f"{quantity}_lo"] = values.get("lo", np.nan)
                row[f"{quantity}_hi"] = values.get("hi", np.nan)
            limit = limits.get((detector, point), {})
            row |= {c: limit.get(c, np.nan) for c in ("snr50", "snr50_lo", "snr50_hi")}
            row["truths"] = found["completeness"].get("n", np.nan)
            row["detections"] = found["purity"].get("n", np.nan)
            row["frames"] = found["completeness"].get("n_frames", np.nan)
            for key in ("mpix_per_s", "peak_memory_mib"):
                value = getattr(run.record.detector(detector), key)
                row[key] = np.nan if value is None else float(value)
            rows.append(row)
    columns = ["detector", "point"]
    for quantity in (*names, "snr50"):
        columns += [quantity, f"{quantity}_lo", f"{quantity}_hi"]
    columns += ["truths", "detections", "frames", "mpix_per_s", "peak_memory_mib"]
    return pd.DataFrame(rows, columns=columns)
