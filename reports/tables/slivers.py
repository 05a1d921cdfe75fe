"""Slivers of a catalogue, whose limits are no limits and are not shown as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.comparison.possible_intervals import within_possible
from skyduel.evaluation.comparison.sources_found import is_sliver
from skyduel.evaluation.scoring.metrics import LIMITS
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["Sliver", "differences_told", "ideal_told", "limits_told", "sliver", "slivers"]

#: A detector that finds fewer sources than this elsewhere is not cut: it has no limits anyway.
_FEW: Final = 20
#: What a fitted curve gives.
_OF_THE_CURVE: Final = ("snr50", "m50", "snr90", "m90", "width_mag")
#: What compares a detector's limit with the ideal observer's.
_OF_THE_DISTANCE: Final = ("snr50", "distance_mag", "distance_lo", "distance_hi")
#: What compares two detectors; the numbers of truths found stay.
_OF_THE_DIFFERENCE: Final = ("delta", "lo", "hi", "p", "p_holm")


@dataclass(frozen=True)
class Sliver:
    """A catalogue cut so far that it keeps few of the sources that the detector finds.

    `found` of `truths` are kept at `point` in `group`; `elsewhere` at the run's headline point.
    """

    detector: str
    group: str
    point: str
    found: int
    truths: int
    elsewhere: int


@lru_cache(maxsize=4)
def slivers(run: Run) -> tuple[Sliver, ...]:
    """Return the detectors, groups and operating points that keep a sliver.

    Sources found are compared with those at the run's headline point
    (`skyduel.evaluation.comparison.sources_found`).
    """
    s = run.scores
    rows = s[(s["quantity"] == "completeness") & (s["bin"] == ALL_BINS)]
    found = {
        (str(r["detector"]), str(r["group"]), str(r["point"])): (r["k"], r["n"])
        for r in rows[["detector", "group", "point", "k", "n"]].to_dict("records")
    }
    out = []
    for (detector, group, point), (k, n) in found.items():
        usual = found.get((detector, group, run.headline_point), (np.nan, 0))[0]
        kept = 0.0 if not np.isfinite(k) else float(k)
        if point != run.headline_point and usual >= _FEW and is_sliver(kept, usual):
            truths = 0 if not np.isfinite(n) else int(n)
            out.append(Sliver(detector, group, point, int(kept), truths, int(usual)))
    return tuple(out)


def sliver(run: Run, point: str, group: str, detectors: Sequence[str]) -> Sliver | None:
    """Return the smallest sliver of some detectors at a point in a group, if there is one."""
    there = [
        s for s in slivers(run) if s.point == point and s.group == group and s.detector in detectors
    ]
    return min(there, key=lambda s: s.found, default=None)


@lru_cache(maxsize=4)
def limits_told(run: Run) -> pd.DataFrame:
    """Return the table of limits without those of slivers, which are NaN there.

    A threshold that leaves only the brightest sources has a limit, but it says nothing of how
    deep the detector sees. Tables, sentences and figures show these, `ideal_told` and
    `differences_told`; the files of the run hold all.
    """
    limits = run.limits.copy()
    names = [f"{c}{end}" for c in _OF_THE_CURVE for end in ("", "_lo", "_hi")]
    told = [c for c in (*names, "floor", "ceiling") if c in limits]
    limits.loc[_cut(run, limits, "detector"), told] = np.nan
    return limits


@lru_cache(maxsize=4)
def ideal_told(run: Run) -> pd.DataFrame:
    """Return the table `ideal` without limits of slivers and their distances, NaN there."""
    ideal = run.analysis("ideal").copy()
    if len(ideal):
        ideal.loc[_cut(run, ideal, "detector"), list(_OF_THE_DISTANCE)] = np.nan
    return ideal


@lru_cache(maxsize=4)
def differences_told(run: Run) -> pd.DataFrame:
    """Return the comparisons without limits of slivers and differences from them, NaN there.

    Intervals are within what is possible; older versions wrote wider ones.
    """
    table = within_possible(run.comparisons).copy()
    if len(table):
        of_limits = table["quantity"].isin([q.name for q in LIMITS]).to_numpy()
        cut = {side: of_limits & _cut(run, table, f"detector_{side}") for side in "ab"}
        for side, rows in cut.items():
            table.loc[rows, f"value_{side}"] = np.nan
        table.loc[cut["a"] | cut["b"], list(_OF_THE_DIFFERENCE)] = np.nan
    return table


def _cut(run: Run, table: pd.DataFrame, detector: str) -> npt.NDArray[np.bool_]:
    """Return which rows are of a sliver; the column named tells the detector."""
    cut = {(s.detector, s.group, s.point) for s in slivers(run)}
    keys = zip(*(table[c].astype(str) for c in (detector, "group", "point")), strict=True)
    return np.array([key in cut for key in keys], dtype=bool)
