"""The S/N and the magnitude at which half, and nine tenths, of the sources are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import total
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.ragged import FrameSequence
from skyduel.evaluation.scoring.resampling_units import resampling_units
from skyduel.evaluation.statistics.intervals import bootstrap_interval, resampled, tail_for
from skyduel.evaluation.statistics.logistic_fit import (
    ceiling_of,
    crossing,
    floor_of,
    maximise,
    start,
    width_of,
)
from skyduel.evaluation.table_keys import FEWEST_FOR_PERCENTILES

__all__ = [
    "CurveFit",
    "Limit",
    "Limits",
    "completeness_limits",
    "fit_curve",
    "fit_half",
    "fit_limits",
    "fit_steps",
    "limits_row",
]

Floats = npt.NDArray[np.float64]

#: Below these there is no telling where the curve crosses one half.
_MIN_SOURCES: Final = 20
_MIN_EACH: Final = 3
#: Steps of the abscissa that resamples are fitted on: over all of it, and within so
#: many widths of the rise.
_COARSE: Final = 24
_FINE: Final = 48
_WIDTHS: Final = 8.0


@dataclass(frozen=True)
class Limit:
    """Where completeness crosses a level, or another number of its curve.

    Parameters
    ----------
    value, lo, hi : float
        The number and its interval; NaN where undefined.
    samples : ndarray of float64, shape (n_bootstrap,)
        The number in each resample of the frames, NaN where undefined there;
        empty where there is no interval. Detectors scored on the same frames
        have the same resamples, so differences of samples are paired.
    n_units : int
        Frames or blocks that hold a source that it rests on; 0 where it is undefined.
    """

    value: float
    lo: float
    hi: float
    samples: Floats = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)
    n_units: int = field(default=0, compare=False, repr=False)


_UNDEFINED: Final = Limit(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class CurveFit:
    """A fitted completeness curve.

    Parameters
    ----------
    half, ninety : Limit
        Where it crosses 0.5 and 0.9, in units of the abscissa.
    width : Limit
        The w of the logistic, in units of the abscissa.
    floor, ceiling : float
        Its lowest and highest completeness; NaN where there is no fit.
    """

    half: Limit = _UNDEFINED
    ninety: Limit = _UNDEFINED
    width: Limit = _UNDEFINED
    floor: float = np.nan
    ceiling: float = np.nan


@dataclass(frozen=True)
class Limits:
    """Completeness against S/N and against magnitude.

    Parameters
    ----------
    snr : CurveFit
        Abscissa log10(S/N), but ``half`` and ``ninety`` are S/N; width [dex].
    mag : CurveFit
        Abscissa true magnitude [mag].
    n : int
        Point sources that count.
    """

    snr: CurveFit
    mag: CurveFit
    n: int

    def columns(self) -> dict[str, float]:
        """Return the columns of the ``limits`` table other than those of one half."""
        out: dict[str, float] = {}
        for name, limit in (
            ("snr90", self.snr.ninety),
            ("m90", self.mag.ninety),
            ("width_mag", self.mag.width),
        ):
            out |= {name: limit.value, f"{name}_lo": limit.lo, f"{name}_hi": limit.hi}
        return out | {"floor": self.mag.floor, "ceiling": self.mag.ceiling}


def completeness_limits(
    frames: Sequence[FrameScore], rules: ScoringRules
) -> tuple[Limit, Limit, int]:
    """Return snr50, m50 [mag] and the number of sources they rest on; see `fit_limits`."""
    limits = fit_limits(frames, rules)
    return limits.snr.half, limits.mag.half, limits.n


def fit_limits(frames: Sequence[FrameScore], rules: ScoringRules) -> Limits:
    """Return the completeness curves of some frames.

    Point sources that count (so with ``snr`` of at least ``rules.min_snr``),
    completeness against log10(snr) and against true magnitude; see `fit_curve`.
    The last answers are remembered, since tables and analyses ask for the same.
    """
    if isinstance(frames, FrameSequence):
        limits: Limits = frames.remember(("limits", rules), lambda: _fit_limits(frames, rules))
        return limits
    return _fit_few(tuple(frames), rules)


@lru_cache(maxsize=2)
def _fit_few(frames: tuple[FrameScore, ...], rules: ScoringRules) -> Limits:
    return _fit_limits(frames, rules)


def _fit_limits(frames: Sequence[FrameScore], rules: ScoringRules) -> Limits:
    if not frames:
        return Limits(CurveFit(), CurveFit(), 0)
    units = resampling_units(frames, rules)
    snr, mag, found, unit = [], [], [], []
    for score, of in zip(frames, units.truth_unit, strict=True):
        truth = score.source.truth
        keep = truth.is_point & ~score.pairing.truth_ignored
        mag.append(truth["mag"][keep])
        snr.append(truth["snr"][keep] if "snr" in truth else np.full(int(keep.sum()), np.nan))
        found.append(score.pairing.truth_found[keep])
        unit.append(of[keep])
    s, m, y, u = (np.concatenate(v) for v in (snr, mag, found, unit))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_snr = np.where(s > 0, np.log10(s), np.nan)
    by_snr = fit_curve(log_snr, y, u, len(units), rules)
    by_mag = fit_curve(-m, y, u, len(units), rules)
    return Limits(
        snr=replace(by_snr, half=_power(by_snr.half), ninety=_power(by_snr.ninety)),
        mag=replace(by_mag, half=_negative(by_mag.half), ninety=_negative(by_mag.ninety)),
        n=int(y.size),
    )


def _positive(limit: Limit) -> Limit:
    """Return a limit that cannot be negative: Student's interval of few units knows no bound."""
    return replace(limit, lo=float(np.maximum(limit.lo, 0.0)))


def _power(limit: Limit) -> Limit:
    value, lo, hi = (float(10**v) for v in (limit.value, limit.lo, limit.hi))
    return Limit(value, lo, hi, 10**limit.samples, limit.n_units)


def _negative(limit: Limit) -> Limit:
    return Limit(-limit.value, -limit.hi, -limit.lo, -limit.samples, limit.n_units)


def fit_half(
    x: npt.ArrayLike,
    found: npt.ArrayLike,
    frame: npt.ArrayLike,
    n_frames: int,
    rules: ScoringRules,
) -> Limit:
    """Return the abscissa of half completeness of a fitted curve; see `fit_curve`."""
    return fit_curve(x, found, frame, n_frames, rules).half


def fit_curve(
    x: npt.ArrayLike,
    found: npt.ArrayLike,
    unit: npt.ArrayLike,
    n_units: int,
    rules: ScoringRules,
) -> CurveFit:
    """Return the logistic with floor and ceiling that fits single sources (unbinned) best.

    Parameters
    ----------
    x : array_like, shape (n,)
        Abscissa, larger is easier; non-finite ones are left out.
    found : array_like of bool, shape (n,)
        Whether each source was found; numbers in [0, 1] are expectations.
    unit : array_like of int, shape (n,)
        Number of its frame or block, 0 ... n_units - 1.
    n_units : int
        Frames or blocks that are resampled for the intervals.
    rules : ScoringRules
        ``confidence``, ``n_bootstrap``, ``seed``.

    Notes
    -----
    The curve is that of `statistics.logistic_fit`; its levels are those of all of it,
    floor and ceiling included. Undefined (NaN) with fewer than 20 sources, or fewer
    than 3 found or missed; where the ceiling does not exceed the level; and where the
    crossing lies outside the sources' range, as it does if all were found. Intervals
    are percentiles over resampled units, expanded for the number of those that hold sources, or
    Student's for fewer than five (`skyduel.evaluation.statistics.intervals`), hold the value,
    and need two such units. A resample whose curve does not reach the level counts as
    reaching it beyond the hardest or the easiest source; an interval that ends there ends in
    NaN, and none is given where that is so of more than half. Resamples are fitted on sources
    gathered in narrow steps of x, for speed.
    """
    abscissa = np.asarray(x, dtype=np.float64)
    keep = np.isfinite(abscissa)
    abscissa, y = abscissa[keep], np.asarray(found, dtype=np.float64)[keep]
    of = np.asarray(unit, dtype=np.int64)[keep]
    # Sorted, so that the result does not depend on the order of the sources, in any digit.
    order = np.lexsort((y, abscissa))
    abscissa, y, of = abscissa[order], y[order], of[order]
    if abscissa.size < _MIN_SOURCES or min(y.sum(), (1 - y).sum()) < _MIN_EACH:
        return CurveFit()
    lo, hi = float(abscissa.min()), float(abscissa.max())
    if hi <= lo:
        return CurveFit()
    theta = maximise(abscissa, y[None], np.ones((1, y.size)), _fit_steps(abscissa, y))
    samples, told_by = theta[:0], int(np.unique(of).size)
    if n_units > 1:
        samples = _resample(abscissa, y, of, n_units, rules, theta)
    levels = [
        _limit(crossing(theta, level, lo, hi), crossing(samples, level, lo, hi), told_by, rules)
        for level in (0.5, 0.9)
    ]
    return CurveFit(
        half=levels[0],
        ninety=levels[1],
        width=_positive(_limit(width_of(theta), width_of(samples), told_by, rules)),
        floor=float(floor_of(theta)[0]),
        ceiling=float(ceiling_of(theta)[0]),
    )


def fit_steps(x: Floats, found: Floats) -> float:
    """Return the abscissa of half of an expected completeness, from 128 steps of x.

    NaN where it is undefined. Faster than `fit_curve`, without interval. The values of
    ``found`` lie in [0, 1].
    """
    keep = np.isfinite(x)
    x, y = x[keep], found[keep]
    if x.size < _MIN_SOURCES or min(y.sum(), (1 - y).sum()) < _MIN_EACH or np.ptp(x) <= 0:
        return float("nan")
    at = float(crossing(_fit_steps(x, y), 0.5, float(x.min()), float(x.max()))[0])
    return at if np.isfinite(at) else float("nan")


def _fit_steps(x: Floats, y: Floats) -> Floats:
    """Return the parameters that fit sources gathered in 128 steps of x, shape (1, 4)."""
    step, middle = _steps(x, np.linspace(x.min(), x.max(), 129))
    k, n = np.bincount(step, weights=y).astype(np.float64), np.bincount(step).astype(np.float64)
    return maximise(middle, k[None], n[None], start(middle, k, n))


def _steps(x: Floats, edges: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return each source's step among those that hold any, and the mean x of each step.

    No x lies below the first edge.
    """
    at = np.minimum(np.searchsorted(edges, x, side="right") - 1, edges.size - 2)
    _, step = np.unique(at, return_inverse=True)
    return step, np.bincount(step, weights=x) / np.bincount(step)


def _resample(
    x: Floats,
    y: Floats,
    unit: npt.NDArray[np.int64],
    n_units: int,
    rules: ScoringRules,
    theta: Floats,
) -> Floats:
    """Return the parameters fitted to each resample of the units, shape (n_bootstrap, 4)."""
    lo, hi, centre = x.min(), x.max(), theta[0, 0]
    reach = _WIDTHS * float(width_of(theta)[0])
    fine = np.linspace(max(lo, centre - reach), min(hi, centre + reach), _FINE + 1)
    edges = np.unique(np.concatenate([np.linspace(lo, hi, _COARSE + 1), np.clip(fine, lo, hi)]))
    step, middle = _steps(x, edges)
    cell, size = unit * middle.size + step, n_units * middle.size
    n = np.bincount(cell, minlength=size).reshape(n_units, -1)
    k = np.bincount(cell, weights=y, minlength=size).reshape(n_units, -1)
    found, held = resampled(rules.n_bootstrap, rules.seed, k, n)
    return maximise(middle, found, held, np.repeat(theta, rules.n_bootstrap, axis=0), 1e-3)


def _limit(value: Floats, samples: Floats, n_units: int, rules: ScoringRules) -> Limit:
    """Return a number with its interval; infinities are beyond the sources and become NaN."""
    middle = float(value[0]) if np.isfinite(value[0]) else np.nan
    if not samples.size or np.isnan(middle):
        return replace(_UNDEFINED, value=middle)
    finite = np.where(np.isfinite(samples), samples, np.nan)
    if n_units < 2 or np.isfinite(samples).mean() <= 0.5 or np.ptp(samples) == 0:
        return Limit(middle, np.nan, np.nan, finite, n_units)
    # A resample beyond the sources opens the interval on that side if it is in its tail.
    tail = tail_for(rules.confidence, n_units)
    ends = np.quantile(samples, [tail, 1 - tail], method="inverted_cdf")
    told = np.array([min(ends[0], middle), max(ends[1], middle)])
    if n_units < FEWEST_FOR_PERCENTILES:
        told = np.ravel(bootstrap_interval([middle], finite[:, None], rules.confidence, n_units))
    lo, hi = (float(v) if np.isfinite(e) else np.nan for v, e in zip(told, ends, strict=True))
    return Limit(middle, lo, hi, finite, n_units)


def limits_row(
    frames: Sequence[FrameScore],
    n_frames: int,
    edges: Sequence[float],
    limits: tuple[Limit, Limit, int],
    threshold: float | None,
) -> pd.DataFrame:
    """Return the row of a table of limits, without those of fits and without keys.

    Parameters
    ----------
    frames : sequence of FrameScore
        At one operating point; none where it does not exist.
    n_frames : int
        Frames that could be scored.
    edges : sequence of float
        Bin edges [mag] of the counts.
    limits : (Limit, Limit, int)
        As of `completeness_limits`.
    threshold : float, optional
        Common to the frames.
    """
    sums = total((f.counts for f in frames), edges).sums()
    area = float(sum(f.source.mpix for f in frames))
    snr, mag, n = limits
    row = {
        "threshold": np.nan if threshold is None else float(threshold),
        "purity": float(ratio(sums["detections_right"], sums["detections"])),
        "completeness": float(ratio(sums["truths_found"], sums["truths"])),
        "false_per_mpix": float(ratio(sums["detections"] - sums["detections_right"], area)),
        "snr50": snr.value, "snr50_lo": snr.lo, "snr50_hi": snr.hi,
        "m50": mag.value, "m50_lo": mag.lo, "m50_hi": mag.hi,
        "n_truths": n,
        "n_frames": n_frames,
    }  # fmt: skip
    return pd.DataFrame([row])
