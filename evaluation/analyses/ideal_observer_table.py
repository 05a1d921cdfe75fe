"""Table of each detector compared with the ideal observer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.stats import gaussian_fwhm_to_sigma

from skyduel.evaluation.analyses.ideal_observer import (
    expected_finds,
    half_snr,
    peak_completeness,
    peak_density,
    tail_completeness,
    threshold_for_density,
    threshold_for_purity,
)
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index, bin_table
from skyduel.evaluation.scoring.depth import Limit, fit_limits, fit_steps
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.resampling_units import block_grid, resampling_units
from skyduel.evaluation.scoring.table_columns import IDEAL_COLUMNS
from skyduel.evaluation.statistics.intervals import (
    bootstrap_interval,
    poisson,
    proportion,
    resampled,
)
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = ["MATCHES", "ideal_table"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: The quantity at which the ideal observer is matched to the detector.
MATCHES: Final = ("false_rate", "purity")
#: A detector exceeds the ideal observer if it finds this many standard deviations more sources.
_SIGMAS: Final = 3.0


@dataclass(frozen=True, eq=False)
class _Sources:
    """The point sources of all frames that count and have a known S/N."""

    snr: Floats
    mag: Floats
    found: npt.NDArray[np.bool_]
    unit: Ints


def ideal_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return the completeness of the ideal observer and of a detector per magnitude bin.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one detector at one threshold. There are no rows unless their truth has S/N.
    rules : ScoringRules
        ``confidence``, ``n_bootstrap``, ``seed``, ``proportion_interval`` and ``block_px`` are
        used.
    edges : sequence of float
        Bin edges [mag].

    Returns
    -------
    DataFrame
        `IDEAL_COLUMNS`, described in ``docs/run-folder.md``. NaN if the FWHM or area of a
        frame is unknown.

    Notes
    -----
    If the detector has no false detection, half of one is assumed. The distance is
    2.5 log10(snr50 / snr50_ideal). Its interval is from resampled frames, with both terms
    computed for each resample. ``beats`` is true if the detector finds more sources, by three
    standard deviations, than the ideal observer expects at the upper limit of the Poisson
    interval of the detector's false alarms. This is strict, because a run makes dozens of such
    comparisons.
    """
    sources = _gather(frames, rules)
    if sources is None:
        return pd.DataFrame(columns=list(IDEAL_COLUMNS))
    units = resampling_units(frames, rules)
    beams, area = _areas(frames, rules)
    sums = [(c.detections_right.sum(), c.false.sum()) for c in units.counts]
    right, false = np.array(sums, dtype=np.float64).T.copy()
    finds = expected_finds(sources.snr, sources.unit, len(units))
    limit = fit_limits(frames, rules).snr.half
    told = (false, beams, right, finds)
    once = [np.ones((1, len(units))) @ v for v in told]
    drawn = resampled(rules.n_bootstrap, rules.seed, *told)

    def matched(sums: Sequence[Floats], match: str) -> Floats:
        """Return the ideal observer's thresholds for sums over units, shape (b,)."""
        wrong, size = np.maximum(sums[0], 0.5), sums[1]
        if match == "false_rate":
            return threshold_for_density(ratio(wrong, size))
        return threshold_for_purity(sums[3], size, 1 - wrong / (wrong + sums[2]))

    most = poisson(false.sum(), rules.confidence)[1] / beams.sum()
    beats = _beats(sources, float(threshold_for_density(most)))
    columns: dict[str, list[Any]] = {name: [] for name in IDEAL_COLUMNS}
    for match in MATCHES:
        t = float(matched(once, match)[0])
        rows = _rows(sources, t, edges, rules)
        overall = rows["bin"] == ALL_BINS
        hit = float(rows["ideal"][-1] * rows["n"][-1])
        false_alarms = float(peak_density(t)) * float(beams.sum()) if np.isfinite(t) else np.nan
        distance = _distance(limit, t, matched(drawn, match), rules)
        rows |= {
            "match": np.full(overall.size, match),
            "threshold": np.full(overall.size, t),
            "false_per_mpix": np.full(overall.size, ratio(false_alarms, area)),
            "purity": np.full(overall.size, ratio(hit, hit + false_alarms)),
            "beats": overall & beats,
            "n_frames": np.full(overall.size, len(frames)),
        }
        rows |= {name: np.where(overall, value, np.nan) for name, value in distance.items()}
        for name, values in columns.items():
            values.append(rows[name])
    return pd.DataFrame({name: np.concatenate(values) for name, values in columns.items()})


def _gather(frames: Sequence[FrameScore], rules: ScoringRules) -> _Sources | None:
    if not any("snr" in f.source.truth for f in frames):
        return None
    parts: list[tuple[Any, ...]] = []
    for score, unit in zip(frames, resampling_units(frames, rules).truth_unit, strict=True):
        truth = score.source.truth
        if "snr" not in truth:
            continue
        keep = truth.is_point & ~score.pairing.truth_ignored & np.isfinite(truth["snr"])
        parts.append(
            (truth["snr"][keep], truth["mag"][keep], score.pairing.truth_found[keep], unit[keep])
        )
    sources = _Sources(*(np.concatenate(v) for v in zip(*parts, strict=True)))
    return sources if sources.snr.size else None


def _areas(frames: Sequence[FrameScore], rules: ScoringRules) -> tuple[Floats, float]:
    """Return the area of each unit in units of its profile's sigma^2, and the total area [Mpix]."""
    beams = []
    for frame in frames:
        sigma = (frame.source.fwhm or np.nan) * gaussian_fwhm_to_sigma
        pieces = 1
        if rules.block_px is not None or len(frames) == 1:
            grid = block_grid(frame, rules.block_px)
            pieces = grid[2] * grid[3]
        beams += [frame.source.mpix * 1e6 / sigma**2 / pieces] * pieces
    return np.array(beams, dtype=np.float64), float(sum(f.source.mpix for f in frames))


def _distance(limit: Limit, t: float, resampled: Floats, rules: ScoringRules) -> dict[str, float]:
    """Return snr50 of both and the distance [mag] with its interval."""
    ideal = float(half_snr(t))
    value = float(2.5 * np.log10(limit.value / ideal))
    lo = hi = np.nan
    if limit.samples.size and np.isfinite(value):
        samples = 2.5 * np.log10(limit.samples / half_snr(resampled))
        lo, hi = (
            float(v[0])
            for v in bootstrap_interval([value], samples[:, None], rules.confidence, limit.n_units)
        )
    return {
        "snr50_ideal": ideal,
        "snr50": limit.value,
        "distance_mag": value,
        "distance_lo": lo,
        "distance_hi": hi,
    }


def _beats(sources: _Sources, t: float) -> bool:
    """Return True if more sources are found than the ideal observer can find at a threshold."""
    expected = peak_completeness(sources.snr, t)
    spread = np.sqrt((expected * (1 - expected)).sum())
    return bool(sources.found.sum() - expected.sum() > _SIGMAS * spread)


def _rows(
    sources: _Sources, t: float, edges: Sequence[float], rules: ScoringRules
) -> dict[str, npt.NDArray[Any]]:
    """Return the completeness of both per magnitude bin, and overall in the last row."""
    expected, tail = peak_completeness(sources.snr, t), tail_completeness(sources.snr, t)
    entry = bin_index(sources.mag, edges)

    def per_bin(values: npt.ArrayLike | None) -> Floats:
        sums = np.bincount(entry, weights=values, minlength=len(edges) + 2).astype(np.float64)
        return np.append(sums, sums.sum())

    n, k = per_bin(None), per_bin(sources.found)
    lo, hi = proportion(k, n, rules.confidence, rules.proportion_interval)
    bins = bin_table(edges)
    m50 = -fit_steps(-sources.mag, expected) if np.isfinite(t) else np.nan
    return {
        "bin": np.append(bins["bin"].to_numpy(), ALL_BINS),
        "bin_lo": np.append(bins["bin_lo"].to_numpy(), np.nan),
        "bin_hi": np.append(bins["bin_hi"].to_numpy(), np.nan),
        "n": n.astype(np.int64),
        "ideal": ratio(per_bin(expected), n),
        "tail": ratio(per_bin(tail), n),
        "found": ratio(k, n),
        "found_lo": lo,
        "found_hi": hi,
        "m50_ideal": np.append(np.full(n.size - 1, np.nan), m50),
    }
