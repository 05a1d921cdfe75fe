"""Completeness of galaxies over size and magnitude, and whether points and extended are told apart.

The table on disk is named ``analyses/galaxies``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.catalog import Catalog
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index, bin_table
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.table_columns import GALAXY_COLUMNS
from skyduel.evaluation.statistics.intervals import proportion
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = ["SIZE_EDGES", "galaxy_table", "stated_extendedness"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Edges of the bins of half-light radii [px], the same in every run.
SIZE_EDGES: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, np.inf)
#: Above this extendedness a detection is said to be extended.
_EXTENDED: Final = 0.5


def stated_extendedness(found: Catalog, *, by_kind: bool = False) -> Floats:
    """Return what a detector says of the extent of its detections, shape (n,).

    Parameters
    ----------
    found : Catalog
        Its detections. The first of these columns counts: ``extendedness`` (0 like a point, 1
        extended), ``extended`` (true or false), ``CLASS_STAR`` (SExtractor's: 1 for a
        star), and ``kind``, where it has galaxies.
    by_kind : bool
        True if this detector calls detections galaxies, here or on another frame.

    Returns
    -------
    ndarray of float64
        0 to 1, NaN where the detector says nothing.
    """
    names = {name.lower(): name for name in found.names}
    for name, of_a_star in (("extendedness", False), ("extended", False), ("class_star", True)):
        if name in names and found[names[name]].dtype.kind in "biuf":
            value = found[names[name]].astype(np.float64)
            value = 1 - value if of_a_star else value
            with np.errstate(invalid="ignore"):
                return np.where((value >= 0) & (value <= 1), value, np.nan)
    if by_kind or found.is_galaxy.any():
        return np.where(found.is_streak, np.nan, found.is_galaxy)
    return np.full(len(found), np.nan)


def galaxy_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return the completeness of galaxies over size and magnitude.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one detector at one threshold.
    rules : ScoringRules
        ``confidence`` and ``proportion_interval`` are used.
    edges : sequence of float
        Bin edges [mag].

    Returns
    -------
    DataFrame
        `GALAXY_COLUMNS`; no rows if no galaxy counts. ``n`` galaxies of a half-light radius
        (`SIZE_EDGES` [px]; the last bin has those without one) and true magnitude, ``k``
        of them found, their completeness with its interval; -2 for all sizes and all
        magnitudes. Points have rows of the same magnitudes without sizes. ``told`` is
        the number of sources found whose detection says whether it is extended
        (`stated_extendedness`), ``told_right`` that of those called what they are: a
        galaxy extended, a point not. Only cells with a source have a row.
    """
    size, mag, galaxy, found, stated = _sources(frames, edges)
    if not galaxy.any():
        return pd.DataFrame(columns=list(GALAXY_COLUMNS))
    told = found & np.isfinite(stated)
    right = told & ((stated > _EXTENDED) == galaxy)
    n_mag, n_size = len(edges) + 2, len(SIZE_EDGES)
    # Entry 0 of both axes is for all together.
    counts = np.zeros((2, 4, n_size + 1, n_mag + 1), dtype=np.int64)
    for row, counted in enumerate((np.ones_like(found), found, told, right)):
        for which, mine in enumerate((galaxy, ~galaxy)):
            some = mine & counted
            for at in (np.zeros_like(size), size + 1):
                for entry in (np.zeros_like(mag), mag + 1):
                    np.add.at(counts[which, row], (at[some], entry[some]), 1)
    counts[1, :, 1:] = 0  # points have no size
    kind, s, m = np.nonzero(counts[:, 0])
    n, k, n_told, n_right = counts[kind, :, s, m].T
    lo, hi = proportion(k, n, rules.confidence, rules.proportion_interval)
    told_lo, told_hi = proportion(n_right, n_told, rules.confidence, rules.proportion_interval)
    bins = bin_table(edges)
    every = {"bin": [ALL_BINS], "bin_lo": [np.nan], "bin_hi": [np.nan]}
    columns = {name: np.concatenate([every[name], bins[name]])[m] for name in every}
    table = pd.DataFrame(
        {
            "kind": np.array(["galaxy", "point"], dtype=object)[kind],
            "size_bin": np.where(s == 0, ALL_BINS, s - 1),
            "size_lo": np.array([np.nan, *SIZE_EDGES[:-1], np.nan])[s],
            "size_hi": np.array([np.nan, *SIZE_EDGES[1:], np.nan])[s],
            **columns,
            "value": ratio(k, n),
            "lo": lo,
            "hi": hi,
            "n": n,
            "k": k,
            "told": n_told,
            "told_right": n_right,
            "told_share": ratio(n_right, n_told),
            "told_lo": told_lo,
            "told_hi": told_hi,
            "n_frames": len(frames),
        }
    )
    return table.astype({"bin": np.int64, "size_bin": np.int64})[list(GALAXY_COLUMNS)]


def _sources(
    frames: Sequence[FrameScore], edges: Sequence[float]
) -> tuple[Ints, Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_], Floats]:
    """Return size bin, entry of magnitude, whether a galaxy, whether found, stated extendedness.

    Of all galaxies and points that count; each of shape (n,).
    """
    by_kind = any(f.source.found.is_galaxy.any() for f in frames)
    none = np.zeros(0)
    parts: list[list[npt.NDArray[np.generic]]] = [
        [none.astype(np.int64), none.astype(np.int64), none.astype(bool), none.astype(bool), none]
    ]
    for score in frames:
        truth, pairs = score.source.truth, score.pairing.pairs
        keep = ~truth.is_streak & ~score.pairing.truth_ignored
        size = truth["half_light_px"] if "half_light_px" in truth else np.full(len(truth), np.nan)
        at = np.searchsorted(SIZE_EDGES, size, side="right") - 1
        at = np.where(size >= 0, np.minimum(at, len(SIZE_EDGES) - 2), len(SIZE_EDGES) - 1)
        stated = np.full(len(truth), np.nan)
        said = stated_extendedness(score.source.found, by_kind=by_kind)
        stated[pairs.truth_index] = said[pairs.found_index]
        columns = (at, bin_index(truth["mag"], edges), truth.is_galaxy,
                   score.pairing.truth_found, stated)  # fmt: skip
        parts.append([column[keep] for column in columns])
    size, mag, galaxy, found, stated = (np.concatenate(c) for c in zip(*parts, strict=True))
    return (
        size.astype(np.int64), mag.astype(np.int64), galaxy.astype(bool), found.astype(bool),
        stated.astype(np.float64),
    )  # fmt: skip
