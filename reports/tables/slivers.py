"""Slivers of a catalogue, whose limits are no limits and are not shown as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd

from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS

__all__ = ["Sliver", "limits_told", "sliver", "slivers"]

#: Below this share of what a detector finds elsewhere, its catalogue is a sliver.
_SLIVER: Final = 0.25
#: Fewer sources than this elsewhere say nothing.
_FEW: Final = 20
#: What a fitted curve gives.
_OF_THE_CURVE: Final = ("snr50", "m50", "snr90", "m90", "width_mag")


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

    A point keeps a sliver where it finds less than a quarter of the sources that the
    detector finds at the run's headline point.
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
        if point != run.headline_point and usual >= _FEW and kept < _SLIVER * usual:
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
    deep the detector sees. Tables, sentences and figures of limits show these; differences
    between detectors and the distance from the ideal observer rest on all limits.
    """
    limits = run.limits.copy()
    cut = {(s.detector, s.group, s.point) for s in slivers(run)}
    keys = zip(*(limits[c].astype(str) for c in ("detector", "group", "point")), strict=True)
    rows = np.array([key in cut for key in keys], dtype=bool)
    names = [f"{c}{end}" for c in _OF_THE_CURVE for end in ("", "_lo", "_hi")]
    limits.loc[rows, [c for c in (*names, "floor", "ceiling") if c in limits]] = np.nan
    return limits
