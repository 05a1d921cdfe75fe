"""Scores binned by S/N, crowding, position, kind and score.

The table on disk is named ``analyses/facets`` and its axis column ``facet``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.catalog import KINDS, MATCHED_KINDS, Catalog
from skyduel.evaluation.analyses.truth_properties import (
    COMPLETENESS_AXES,
    BinnedBy,
    axis_bin,
    field_radius,
    truth_facts,
)
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.table_columns import BINNED_SCORE_COLUMNS
from skyduel.evaluation.statistics.intervals import proportion

__all__ = ["PURITY_AXES", "binned_score_table"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


_BY_NAME: Final = {f.name: f for f in COMPLETENESS_AXES}
#: The axes of purity that have fixed edges; its third axis is the score.
PURITY_AXES: Final = (
    BinnedBy("measured_snr", "", _BY_NAME["snr"].edges),
    BinnedBy("radius", "half diagonals", _BY_NAME["radius"].edges),
)
#: Number of score bins, each with the same number of detections.
_PARTS: Final = 10


def binned_score_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return completeness and purity along axes other than magnitude.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one detector at one threshold.
    rules : ScoringRules
        ``confidence`` and ``proportion_interval`` are used.
    edges : sequence of float
        Not used: magnitudes are binned elsewhere.

    Returns
    -------
    DataFrame
        `BINNED_SCORE_COLUMNS`. Completeness by ideal ``snr``, ``density``, ``neighbour``,
        ``radius`` and ``kind``; purity by ``measured_snr``, ``radius``, ``kind`` and
        ``score``. Bin n of an axis holds sources without a value on it. Every bin has a
        row, even if it is empty, except for the axis ``score``, whose bins are the tenths of
        the detections of the detector: the scores of two detectors have no common scale.
    """
    if not frames:
        return pd.DataFrame(columns=list(BINNED_SCORE_COLUMNS))
    counted = [~f.pairing.truth_ignored for f in frames]
    found = [f.pairing.truth_found[c] for f, c in zip(frames, counted, strict=True)]
    true = _Tally(rules, "completeness", np.concatenate(found))
    facts = [truth_facts(f.source).codes for f in frames]
    for row, binned_by in enumerate(COMPLETENESS_AXES):
        at = np.concatenate([b[row][c] for b, c in zip(facts, counted, strict=True)])
        true.add(binned_by, at)
    true.add_kinds([f.source.truth for f in frames], counted)

    charged = [f.pairing.used & ~f.pairing.found_ignored for f in frames]
    found = [f.pairing.right[c] for f, c in zip(frames, charged, strict=True)]
    right = _Tally(rules, "purity", np.concatenate(found))
    own = [_found_bins(f) for f in frames]
    for row, binned_by in enumerate(PURITY_AXES):
        at = np.concatenate([b[row][c] for b, c in zip(own, charged, strict=True)])
        right.add(binned_by, at)
    right.add_kinds([f.source.found for f in frames], charged)
    score = np.concatenate(
        [f.source.found["score"][c] for f, c in zip(frames, charged, strict=True)]
    )
    tenths = _tenths(score)
    if tenths is not None:
        right.add(tenths, axis_bin(score, tenths.edges))
    table = pd.concat([pd.DataFrame(t.table()) for t in (true, right)], ignore_index=True)
    return table.assign(n_frames=len(frames))[list(BINNED_SCORE_COLUMNS)]


class _Tally:
    """Count one proportion, of those that count, along several axes."""

    def __init__(self, rules: ScoringRules, quantity: str, found: Bools) -> None:
        self.rules, self.quantity, self.found = rules, quantity, found
        self._labels: list[tuple[object, ...]] = []
        self._n: list[Ints] = []
        self._k: list[Ints] = []

    def add(self, binned_by: BinnedBy, at: Ints, labels: Sequence[str] | None = None) -> None:
        """Count along an axis, given the bins of all sources that count."""
        size = binned_by.n_bins + 1
        self._n.append(np.bincount(at, minlength=size))
        self._k.append(np.bincount(at[self.found], minlength=size))
        lo = [*binned_by.edges[:-1], np.nan]
        hi = [*binned_by.edges[1:], np.nan]
        names = labels or ["" for _ in range(binned_by.n_bins)]
        for b, (low, high, name) in enumerate(zip(lo, hi, [*names, "unknown"], strict=True)):
            self._labels.append((binned_by.name, b, low, high, name, binned_by.unit))

    def add_kinds(self, catalogs: Sequence[Catalog], keep: Sequence[Bools]) -> None:
        """Count by kind; bin 0 holds points, bin 1 streaks, bin 2 galaxies, if there are any."""
        at = np.concatenate(
            [
                np.where(c.is_galaxy, 2, c.is_streak)[k].astype(np.int64)
                for c, k in zip(catalogs, keep, strict=True)
            ]
        )
        kinds = KINDS if (at == 2).any() else MATCHED_KINDS
        self.add(BinnedBy("kind", "", tuple(map(float, range(len(kinds) + 1)))), at, kinds)

    def table(self) -> dict[str, npt.ArrayLike]:
        """Return the columns of all axes added."""
        n, k = np.concatenate(self._n), np.concatenate(self._k)
        lo, hi = proportion(k, n, self.rules.confidence, self.rules.proportion_interval)
        names = ("facet", "bin", "bin_lo", "bin_hi", "label", "unit")
        columns: dict[str, npt.ArrayLike] = {
            name: list(values)
            for name, values in zip(names, zip(*self._labels, strict=True), strict=True)
        }
        values = {"value": ratio(k, n), "lo": lo, "hi": hi, "n": n, "k": k}
        return columns | {"quantity": [self.quantity] * n.size} | values


#: Bins on the axes of `PURITY_AXES`, one row per axis, as bytes: they are kept for every frame.
_known: WeakKeyDictionary[Catalog, npt.NDArray[np.uint8]] = WeakKeyDictionary()


def _found_bins(score: FrameScore) -> npt.NDArray[np.uint8]:
    """Return the bins of every detection of a frame, computed once per catalogue."""
    found = score.source.found
    codes = _known.get(found)
    if codes is None:
        snr = np.full(len(found), np.nan)
        if "aper_flux" in found and "aper_flux_err" in found:
            snr = ratio(found["aper_flux"], found["aper_flux_err"])
        values = {
            "measured_snr": snr,
            "radius": field_radius(found["x"], found["y"], score.source.shape),
        }
        bins = [axis_bin(values[f.name], f.edges) for f in PURITY_AXES]
        codes = _known[found] = np.stack(bins).astype(np.uint8)
    return codes


def _tenths(score: Floats) -> BinnedBy | None:
    """Return bins of the scores with as many detections in each, fewer where scores are equal."""
    known = score[np.isfinite(score)]
    if not known.size:
        return None
    cuts = np.sort(known)[np.arange(_PARTS) * known.size // _PARTS]  # the first of each tenth
    return BinnedBy("score", "score", (*(float(c) for c in np.unique(cuts)), np.inf))
