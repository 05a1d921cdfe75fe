"""Paired comparison of two detectors on the same frames, with intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.errors import BadInputError, require_kind, takes
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index, bin_table
from skyduel.evaluation.scoring.depth import Limit, completeness_limits
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import LIMITS, CountSums, listed
from skyduel.evaluation.scoring.resampling_units import resampling_units
from skyduel.evaluation.scoring.table_columns import COMPARISON_COLUMNS
from skyduel.evaluation.statistics.intervals import resampled
from skyduel.evaluation.statistics.paired_tests import frame_interval, holm, mcnemar, newcombe
from skyduel.evaluation.table_keys import ALL_BINS, ALL_GROUPS

__all__ = [
    "ComparisonSample",
    "compare",
    "compare_all",
    "comparison_sample",
]

Floats = npt.NDArray[np.float64]
_Columns = dict[str, npt.NDArray[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


#: The row for all bins together, which is the last.
_LAST: Final = slice(-1, None)
_PAIRS: Final = ("n_both", "n_a_only", "n_b_only", "n_neither")


@dataclass(frozen=True, eq=False)
class ComparisonSample:
    """What one detector amounts to on a set of frames, kept apart enough to be compared.

    Parameters
    ----------
    frames : tuple of str
        Names of the frames; none where the operating point does not exist.
    edges : tuple of float
        Bin edges [mag].
    counts : ndarray of integers, shape (n_units, 4, n_entries)
        Truths, truths found, detections and right detections of each entry of
        `Counts`, and of each unit that is resampled: a frame, or a block of one.
    entry : ndarray of integers, shape (n_truths,)
        Entry of each truth that counts, frame after frame.
    found : ndarray of bool, shape (n_truths,)
        Whether each was found.
    m50, snr50 : Limit
        With their samples over the same units.
    interval : str
        ``bootstrap`` or ``block bootstrap``.
    """

    frames: tuple[str, ...]
    edges: tuple[float, ...]
    counts: npt.NDArray[np.integer]
    entry: npt.NDArray[np.integer]
    found: Bools
    m50: Limit
    snr50: Limit
    interval: str = "bootstrap"


def comparison_sample(
    frames: Sequence[FrameScore],
    edges: Sequence[float],
    rules: ScoringRules,
    *,
    limits: tuple[Limit, Limit] | None = None,
) -> ComparisonSample:
    """Return the counts, outcomes and limits of a detector, for paired comparison.

    Parameters
    ----------
    frames : sequence of FrameScore
        At one operating point.
    edges : sequence of float
        Bin edges [mag], those of the counts.
    rules : ScoringRules
        ``n_bootstrap``, ``seed`` and ``block_px``.
    limits : (snr50, m50), optional
        Where `completeness_limits` was called already.
    """
    snr50, m50 = limits or completeness_limits(frames, rules)[:2]
    units = resampling_units(frames, rules)
    entry, found = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for score in frames:
        keep = ~score.pairing.truth_ignored
        entry.append(bin_index(score.source.truth["mag"][keep], edges))
        found.append(score.pairing.truth_found[keep])
    counts = np.zeros((len(units), 4, len(edges) + 2), dtype=np.int64)
    for row, c in zip(counts, units.counts, strict=True):
        row[:] = c.truths, c.truths_found, c.detections, c.detections_right
    return ComparisonSample(
        frames=tuple(s.source.frame for s in frames),
        edges=tuple(map(float, edges)),
        counts=_narrow(counts),
        entry=_narrow(np.concatenate(entry)),
        found=np.concatenate(found),
        m50=m50,
        snr50=snr50,
        interval=units.interval,
    )


def _narrow(values: Ints) -> npt.NDArray[np.integer]:
    """Return non-negative integers in the smallest type that holds them, to save memory."""
    return values.astype(np.min_scalar_type(values.max(initial=0)))


def compare(a: ComparisonSample, b: ComparisonSample, rules: ScoringRules) -> pd.DataFrame:
    """Return the paired differences of two detectors on the same frames, A minus B.

    Parameters
    ----------
    a, b : ComparisonSample
        Of the same frames and truth. Where one has no frames (it never gets as
        pure as the operating point asks) differences are NaN.
    rules : ScoringRules
        ``confidence``, ``n_bootstrap``, ``seed``.

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS` from ``bin`` on. Every bin has ``completeness`` with
        the outcomes per truth, Newcombe's interval and McNemar's exact p. The other metrics
        that are compared (`skyduel.evaluation.scoring.metrics`) are bootstrapped over frames.
        All bins together (``bin`` -2) have these too, and ``completeness`` once more,
        ``m50`` [mag] and ``snr50`` over frames.

    Raises
    ------
    BadInputError
        If frames, bin edges or truths differ.

    Notes
    -----
    McNemar and Newcombe take truths as independent, so they speak of these very
    sources; what is bootstrapped speaks of other frames like these as well.
    ``p_holm`` is Holm's correction over the bins of one quantity. ``n_frames``
    are those that contribute: with a truth in the bin (completeness), a detection (purity),
    either (F1, F2, the Jaccard index of all bins), as many of either as of the other at least
    (of one bin), a point source that counts (limits). One frame alone is resampled in blocks,
    see `skyduel.evaluation.scoring.resampling_units`.
    """
    return _compare(a, b, _samples(a, rules), _samples(b, rules), rules)


@takes(comparison_samples=Mapping, rules=ScoringRules)
def compare_all(
    comparison_samples: Mapping[tuple[str, str, str], ComparisonSample], rules: ScoringRules
) -> pd.DataFrame:
    """Return the comparisons of every pair of detectors, `COMPARISON_COLUMNS`.

    Parameters
    ----------
    comparison_samples : mapping of (detector, point, group) to ComparisonSample
        The detector that comes first in the mapping is A.
    rules : ScoringRules
        ``confidence``, ``n_bootstrap``, ``seed``.

    Notes
    -----
    Within a bin 0 ... n+1 ``p_holm`` is over bins, see `compare`; for all bins
    together it is over the groups, and that of the group ``all`` is ``p`` itself.
    """
    parts: list[pd.DataFrame] = []
    labels: list[tuple[str, str, str, str]] = []
    for key, sample in comparison_samples.items():
        if not (isinstance(key, tuple) and len(key) == 3):
            raise BadInputError("compare_all", "keys (detector, point, group)", repr(key))
        require_kind(f"compare_all: comparison_samples[{key!r}]", sample, ComparisonSample)
    places = dict.fromkeys((point, group) for _, point, group in comparison_samples)
    for point, group in places:
        here = {d: s for (d, p, g), s in comparison_samples.items() if (p, g) == (point, group)}
        samples = {d: _samples(s, rules) for d, s in here.items()}
        for (name_a, a), (name_b, b) in combinations(here.items(), 2):
            parts.append(_compare(a, b, samples[name_a], samples[name_b], rules))
            labels.append((name_a, name_b, point, group))
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype="float64") for c in COMPARISON_COLUMNS})
    keys = pd.DataFrame(labels, columns=["detector_a", "detector_b", "point", "group"])
    keys = keys.loc[np.repeat(np.arange(len(parts)), [len(p) for p in parts])]
    table = pd.concat(parts, ignore_index=True)
    out = pd.concat([keys.reset_index(drop=True), table], axis=1)[list(COMPARISON_COLUMNS)]
    return _holm_over_groups(out)


def _holm_over_groups(table: pd.DataFrame) -> pd.DataFrame:
    grouped = (table["bin"] == ALL_BINS) & (table["group"] != ALL_GROUPS)
    keys = ["detector_a", "detector_b", "point", "quantity", "interval"]
    for _, rows in table[grouped].groupby(keys, sort=False):
        table.loc[rows.index, "p_holm"] = holm(rows["p"])
    return table


def _quantities(sums: npt.NDArray[np.generic]) -> Floats:
    """Return the metrics compared, per entry and overall: (..., n_metrics, n_entries + 1)."""
    counts = CountSums.from_stack(np.asarray(sums, dtype=np.float64))
    return np.stack([m.values(counts) for m in listed("compared")], axis=-2)


def _samples(one: ComparisonSample, rules: ScoringRules) -> Floats | None:
    """Return `_quantities` of each resample of the units, or None below two units."""
    if len(one.counts) < 2:
        return None
    return _quantities(resampled(rules.n_bootstrap, rules.seed, one.counts)[0])


def _compare(
    a: ComparisonSample,
    b: ComparisonSample,
    of_a: Floats | None,
    of_b: Floats | None,
    rules: ScoringRules,
) -> pd.DataFrame:
    both_there = bool(a.frames) and bool(b.frames)
    if both_there:
        _check_same(a, b)
    elif a.edges != b.edges:
        raise BadInputError("comparison", f"bin edges {a.edges}", f"bin edges {b.edges}")
    entries = bin_table(a.edges)
    ends = {"bin": ALL_BINS, "bin_lo": np.nan, "bin_hi": np.nan}
    bins: _Columns = {name: np.append(entries[name], end) for name, end in ends.items()}
    n_bins = len(bins["bin"])
    value_a, value_b = (_quantities(s.counts.sum(axis=0)) for s in (a, b))
    pairs = _outcomes(a, b) if both_there else np.zeros((4, n_bins), dtype=np.int64)
    metrics = listed("compared")
    names = [m.name for m in metrics]
    at = names.index("completeness")
    units = np.zeros((len(metrics), n_bins), dtype=np.int64)
    if both_there:
        units[:] = [m.contributing(_either(a, b)) for m in metrics]
    resampled = (a if a.frames else b).interval

    def frames(told_by: Ints) -> Ints:
        return told_by if resampled == "bootstrap" else np.where(told_by > 0, len(a.frames), 0)

    lo, hi = newcombe(pairs[0], pairs[1], pairs[2], pairs[3], rules.confidence)
    told = pairs.sum(axis=0) > 0
    p = np.where(told, mcnemar(pairs[1], pairs[2]), np.nan)
    parts = [
        _rows(
            bins,
            "completeness",
            value_a[at],
            value_b[at],
            (lo, hi, p),
            frames(units[at]),
            "newcombe",
            pairs,
        )
    ]
    delta = np.where(both_there, value_a - value_b, np.nan)
    if both_there and of_a is not None and of_b is not None:
        spread = (of_a - of_b).reshape(len(of_a), -1)
        flat = frame_interval(delta.ravel(), spread, units.ravel(), rules.confidence)
        limits = np.stack(flat).reshape(3, len(names), n_bins)
    else:
        limits = np.full((3, len(names), n_bins), np.nan)
    for k, name in enumerate(names):
        part = _LAST if name == "completeness" else slice(None)
        parts.append(
            _rows(_part(bins, part), name, value_a[k, part], value_b[k, part], limits[:, k, part],
                  frames(units[k, part]), resampled)
        )  # fmt: skip
    for name in (limit.name for limit in LIMITS):
        one, other = getattr(a, name), getattr(b, name)
        difference = np.array([one.value - other.value])
        samples = np.zeros((0, 1))
        if both_there and one.samples.size and one.samples.size == other.samples.size:
            samples = (one.samples - other.samples)[:, None]
        known = np.isfinite(difference)
        n_told = np.where(known, min(one.n_units, other.n_units), units[at, -1:])
        told_by = frame_interval(difference, samples, n_told, rules.confidence)
        parts.append(
            _rows(
                _part(bins, _LAST),
                name,
                [one.value],
                [other.value],
                told_by,
                frames(n_told),
                resampled,
            )
        )
    # One table of whole columns: tables of single quantities take twenty times as long.
    out = pd.DataFrame({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
    if not both_there:
        out = out[out["bin"] == ALL_BINS].reset_index(drop=True)
        out["delta"] = np.nan
    return out


def _check_same(a: ComparisonSample, b: ComparisonSample) -> None:
    if a.frames != b.frames:
        odd = sorted(set(a.frames) ^ set(b.frames))
        said = f"{odd[0]!r} in one alone" if odd else "another order"
        raise BadInputError("comparison", "the same frames for both", said)
    if a.edges != b.edges:
        raise BadInputError("comparison", f"bin edges {a.edges}", f"bin edges {b.edges}")
    if not (np.array_equal(a.entry, b.entry) and np.array_equal(a.counts[:, 0], b.counts[:, 0])):
        raise BadInputError("comparison", "the same truth for both", "truths that differ")


def _outcomes(a: ComparisonSample, b: ComparisonSample) -> Ints:
    """Return truths found by both, by A alone, by B alone and by neither: (4, n_entries + 1)."""
    n = len(a.edges) + 2
    which = (a.found & b.found, a.found & ~b.found, ~a.found & b.found, ~a.found & ~b.found)
    rows = np.stack([np.bincount(a.entry[w], minlength=n) for w in which])
    return np.concatenate([rows, rows.sum(axis=1, keepdims=True)], axis=1).astype(np.int64)


def _either(a: ComparisonSample, b: ComparisonSample) -> CountSums:
    """Return counts of each unit that are 0 only where those of both detectors are."""
    return CountSums.from_stack(np.maximum(a.counts, b.counts).astype(np.int64))


def _part(bins: _Columns, part: slice) -> _Columns:
    """Return some rows of columns."""
    return {name: values[part] for name, values in bins.items()}


def _rows(
    bins: _Columns,
    quantity: str,
    value_a: npt.ArrayLike,
    value_b: npt.ArrayLike,
    told: Sequence[Floats] | Floats,
    n_frames: Ints,
    interval: str,
    pairs: Ints | None = None,
) -> _Columns:
    """Return the columns of one quantity's rows."""
    one, other = np.asarray(value_a, dtype=np.float64), np.asarray(value_b, dtype=np.float64)
    lo, hi, p = told
    corrected = np.array(p, dtype=np.float64)
    inner = bins["bin"] != ALL_BINS
    corrected[inner] = holm(corrected[inner])
    blank = np.full(one.shape, np.nan)
    numbers = dict.fromkeys(_PAIRS, blank)
    if pairs is not None:
        numbers = {k: row.astype(np.float64) for k, row in zip(_PAIRS, pairs, strict=True)}
    return {
        **bins,
        "quantity": np.full(one.shape, quantity, dtype=object),
        "value_a": one,
        "value_b": other,
        "delta": one - other,
        "lo": np.asarray(lo),
        "hi": np.asarray(hi),
        **numbers,
        "p": np.asarray(p),
        "p_holm": corrected,
        "interval": np.full(one.shape, interval, dtype=object),
        "n_frames": n_frames,
    }
