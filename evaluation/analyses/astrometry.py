"""Measurement errors of found sources: positions, magnitudes, streaks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.stats import mad_std

from skyduel.evaluation.analyses.truth_properties import COMPLETENESS_AXES, truth_facts
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index, bin_table, measured_mag
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.table_columns import ASTROMETRY_COLUMNS
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = ["astrometry_table"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


_SNR: Final = next(f for f in COMPLETENESS_AXES if f.name == "snr")
_SNR_ROW: Final = COMPLETENESS_AXES.index(_SNR)


def astrometry_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return bias and scatter of the measurements of pairs that count.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one detector at one threshold.
    rules : ScoringRules
        Not used.
    edges : sequence of float
        Bin edges [mag].

    Returns
    -------
    DataFrame
        `ASTROMETRY_COLUMNS`. Found minus true ``x`` and ``y`` [px] of points by ideal
        S/N; measured (on the truth's zero-point) minus true ``mag`` of points by true
        magnitude; for all streaks together, the ratio of found to true length
        (``length_ratio``) and the difference in angle (``angle`` [deg], in [-90, 90)).

    Notes
    -----
    ``bias`` is the median, ``scatter`` 1.4826 times the median absolute deviation from
    it, ``rms`` the root mean square about the true value, including outliers and bias. Offsets
    larger than the pairing radius do not occur. NaN without a pair.
    """
    dx, dy, dmag, snr_bin, mag_bin, length, angle = _residuals(frames, edges)
    snr_lo, snr_hi = [*_SNR.edges[:-1], np.nan], [*_SNR.edges[1:], np.nan]
    snr = (np.arange(_SNR.n_bins + 1), np.array(snr_lo), np.array(snr_hi))
    table = bin_table(edges)
    mag = tuple(table[c].to_numpy() for c in ("bin", "bin_lo", "bin_hi"))
    none = (np.array([ALL_BINS]), np.array([np.nan]), np.array([np.nan]))
    parts = [
        _rows("x", "px", "snr", dx, snr_bin, snr),
        _rows("y", "px", "snr", dy, snr_bin, snr),
        _rows("mag", "mag", "mag", dmag, mag_bin, mag),
        _rows("length_ratio", "", "", length, np.zeros(length.size, dtype=np.int64), none, 1.0),
        _rows("angle", "deg", "", angle, np.zeros(angle.size, dtype=np.int64), none),
    ]
    return pd.DataFrame({c: [v for part in parts for v in part[c]] for c in ASTROMETRY_COLUMNS})


def _residuals(frames: Sequence[FrameScore], edges: Sequence[float]) -> tuple[Any, ...]:
    """Return dx, dy, dmag, bins of S/N and magnitude of points; length ratio, angle of streaks."""
    points: list[tuple[npt.NDArray[np.generic], ...]] = []
    streaks: list[tuple[npt.NDArray[np.generic], ...]] = []
    for score in frames:
        truth, found, pairs = score.source.truth, score.source.found, score.pairing.pairs
        t, f = pairs.truth_index, pairs.found_index
        line_t, line_f = truth.is_streak[t], found.is_streak[f]
        both = truth.is_point[t] & ~line_f
        i, j = t[both], f[both]
        mag = measured_mag(found)[j] + score.zero_point.offset_mag - truth["mag"][i]
        points.append(
            (
                found["x"][j] - truth["x"][i],
                found["y"][j] - truth["y"][i],
                mag,
                truth_facts(score.source).codes[_SNR_ROW][i].astype(np.int64),
                bin_index(truth["mag"][i], edges),
            )
        )
        i, j = t[line_t & line_f], f[line_t & line_f]
        true = truth["length"][i]
        ratio = np.divide(found["length"][j], true, out=np.full(true.shape, np.nan), where=true > 0)
        turn = np.degrees(found["theta"][j] - truth["theta"][i])
        streaks.append((ratio, (turn + 90) % 180 - 90))
    if not frames:
        return tuple(np.zeros(0, dtype=np.int64 if k in (3, 4) else np.float64) for k in range(7))
    joined = [np.concatenate(v) for part in (points, streaks) for v in zip(*part, strict=True)]
    return tuple(joined)


def _rows(
    quantity: str,
    unit: str,
    by: str,
    values: Floats,
    entry: Ints,
    bins: tuple[npt.NDArray[np.generic], ...],
    right: float = 0.0,
) -> dict[str, list[object]]:
    """Return the columns of one quantity: each bin, and overall (-2) if there are bins."""
    known = np.isfinite(values)
    values, entry = values[known], entry[known]
    order = np.argsort(entry, kind="stable")
    values, ends = values[order], np.searchsorted(entry[order], np.arange(len(bins[0]) + 1))
    groups = [values[a:b] for a, b in pairwise(ends)]
    number, lo, hi = (list(b) for b in bins)
    if by:
        groups, number = [*groups, values], [*number, ALL_BINS]
        lo, hi = [*lo, np.nan], [*hi, np.nan]
    stats = [_stats(g, right) for g in groups]
    size = len(groups)
    return {
        "quantity": [quantity] * size, "unit": [unit] * size, "by": [by] * size,
        "bin": list(map(int, number)), "bin_lo": lo, "bin_hi": hi,
        "n": [g.size for g in groups], "bias": [s[0] for s in stats],
        "scatter": [s[1] for s in stats], "rms": [s[2] for s in stats],
    }  # fmt: skip


def _stats(values: Floats, right: float) -> tuple[float, float, float]:
    if not values.size:
        return np.nan, np.nan, np.nan
    middle = float(np.median(values))
    return middle, float(mad_std(values)), float(np.sqrt(np.mean((values - right) ** 2)))
