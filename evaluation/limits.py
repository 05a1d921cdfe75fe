"""The S/N and the magnitude at which half of the sources are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from evaluation.frames import FrameScore
from evaluation.intervals import frame_weights, percentile
from evaluation.rules import ScoringRules

__all__ = ["Limit", "completeness_limits", "fit_half"]

Floats = npt.NDArray[np.float64]

#: Below these there is no telling where the curve crosses one half.
_MIN_SOURCES: Final = 20
_MIN_EACH: Final = 3
#: Points of the abscissa that a resample is fitted on.
_GRID: Final = 128


@dataclass(frozen=True)
class Limit:
    """Where completeness crosses one half.

    Parameters
    ----------
    value, lo, hi : float
        The crossing and its interval; NaN where undefined.
    samples : ndarray of float64, shape (n_bootstrap,)
        The crossing in each resample of the frames, NaN where undefined there;
        empty where there is no interval. Detectors judged on the same frames
        have the same resamples, so differences of samples are paired.
    """

    value: float
    lo: float
    hi: float
    samples: Floats = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)


def completeness_limits(
    frames: Sequence[FrameScore], rules: ScoringRules
) -> tuple[Limit, Limit, int]:
    """Return snr50, m50 [mag] and the number of sources they rest on.

    Point sources that count (so with ``snr`` of at least ``rules.min_snr``),
    completeness against log10(snr) and against true magnitude; see `fit_half`.
    """
    snr, mag, found, frame = [], [], [], []
    for k, score in enumerate(frames):
        truth = score.source.truth
        keep = ~truth.is_streak & ~score.pairing.truth_ignored
        mag.append(truth["mag"][keep])
        snr.append(truth["snr"][keep] if "snr" in truth else np.full(int(keep.sum()), np.nan))
        found.append(score.pairing.truth_found[keep])
        frame.append(np.full(int(keep.sum()), k))
    if not frames:
        undefined = Limit(np.nan, np.nan, np.nan)
        return undefined, undefined, 0
    s, m, y, f = (np.concatenate(v) for v in (snr, mag, found, frame))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_snr = np.where(s > 0, np.log10(s), np.nan)
    by_snr = fit_half(log_snr, y, f, len(frames), rules)
    by_mag = fit_half(-m, y, f, len(frames), rules)
    return (
        Limit(
            value=float(10**by_snr.value),
            lo=float(10**by_snr.lo),
            hi=float(10**by_snr.hi),
            samples=10**by_snr.samples,
        ),
        Limit(-by_mag.value, -by_mag.hi, -by_mag.lo, -by_mag.samples),
        int(y.size),
    )


def fit_half(
    x: npt.ArrayLike,
    found: npt.ArrayLike,
    frame: npt.ArrayLike,
    n_frames: int,
    rules: ScoringRules,
) -> Limit:
    """Return where a rising completeness curve crosses one half.

    The curve c / (1 + exp(-(x - x0) / w)) with ceiling c <= 1 and floor 0 is
    fitted by maximum likelihood to the single sources (unbinned).

    Parameters
    ----------
    x : array_like, shape (n,)
        Abscissa, larger is easier; non-finite ones are left out.
    found : array_like of bool, shape (n,)
        Whether each source was found.
    frame : array_like of int, shape (n,)
        Number of its frame, 0 ... n_frames - 1.
    n_frames : int
        Frames that are resampled for the interval.
    rules : ScoringRules
        ``confidence``, ``n_bootstrap``, ``seed``.

    Notes
    -----
    Undefined (NaN) with fewer than 20 sources, or fewer than 3 found or
    missed; where the ceiling does not exceed one half; and where the crossing
    lies outside the sources' range, as it does if all were found. The interval
    is the percentile one over frames, undefined resamples left out, and needs
    two frames; resamples are fitted on sources gathered in 128 narrow steps of
    x, for speed.
    """
    abscissa = np.asarray(x, dtype=np.float64)
    keep = np.isfinite(abscissa)
    return _fit_half(
        abscissa[keep],
        np.asarray(found, dtype=bool)[keep],
        np.asarray(frame, dtype=np.int64)[keep],
        n_frames,
        rules,
    )


def _fit_half(
    x: Floats,
    y: npt.NDArray[np.bool_],
    frame: npt.NDArray[np.int64],
    n_frames: int,
    rules: ScoringRules,
) -> Limit:
    undefined = Limit(np.nan, np.nan, np.nan)
    if x.size < _MIN_SOURCES or min(int(y.sum()), int((~y).sum())) < _MIN_EACH:
        return undefined
    lo, hi = float(x.min()), float(x.max())
    if hi <= lo:
        return undefined
    k, n = y[None].astype(float), np.ones((1, x.size))
    theta = _maximise(x, k, n, _start(x, k, n))
    value = float(_crossing(theta, lo, hi)[0])
    if n_frames < 2 or not np.isfinite(value):
        return Limit(value, np.nan, np.nan)
    step = np.minimum(((x - lo) / (hi - lo) * _GRID).astype(np.int64), _GRID - 1)
    per = np.bincount(step, minlength=_GRID)
    some = per > 0
    middle = np.bincount(step, weights=x, minlength=_GRID)[some] / per[some]
    cell = frame * _GRID + step
    all_n = np.bincount(cell, minlength=n_frames * _GRID).reshape(n_frames, _GRID)[:, some]
    all_k = np.bincount(cell, weights=y, minlength=n_frames * _GRID).reshape(n_frames, _GRID)
    weights = frame_weights(n_frames, rules.n_bootstrap, rules.seed)
    n, k = weights @ all_n, weights @ all_k[:, some]
    thetas = _maximise(middle, k, n, np.repeat(theta, rules.n_bootstrap, axis=0))
    samples = _crossing(thetas, lo, hi)
    bounds = percentile(samples[:, None], rules.confidence)
    return Limit(value, float(bounds[0][0]), float(bounds[1][0]), samples)


def _sigmoid(t: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * t)))


def _curve(x: Floats, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the probability, the rising part, the ceiling and the reduced abscissa."""
    u = (x - theta[:, :1]) * np.exp(-theta[:, 1:2])
    rising, ceiling = _sigmoid(u), _sigmoid(theta[:, 2:])
    return np.clip(rising * ceiling, 1e-12, 1 - 1e-12), rising, ceiling, u


def _log_likelihood(x: Floats, k: Floats, n: Floats, theta: Floats) -> Floats:
    p = _curve(x, theta)[0]
    return np.asarray((k * np.log(p) + (n - k) * np.log1p(-p)).sum(axis=1))


def _start(x: Floats, k: Floats, n: Floats) -> Floats:
    """Return the best of a coarse grid of parameters, shape (1, 3)."""
    spread = float(np.ptp(x))
    places = np.quantile(x, np.linspace(0.02, 0.98, 25))
    widths = np.log(spread * np.array([0.01, 0.03, 0.1]))
    ceilings = np.array([-1.0, 0.5, 2.0, 5.0])
    trial = np.stack(np.meshgrid(places, widths, ceilings, indexing="ij"), axis=-1).reshape(-1, 3)
    value = [float(_log_likelihood(x, k, n, t[None])[0]) for t in trial]
    return trial[[int(np.argmax(value))]]


def _maximise(x: Floats, k: Floats, n: Floats, theta: Floats) -> Floats:
    """Return the parameters of highest likelihood for each row of k and n, shape (b, 3).

    Fisher scoring with Levenberg damping, all rows at once. Parameters are x0,
    log w and the logit of the ceiling, held in generous bounds, for a sharp
    edge or a ceiling of 1 would run away.
    """
    spread = float(np.ptp(x))
    low = np.array([x.min() - spread, np.log(1e-3 * spread), -6.0])
    high = np.array([x.max() + spread, np.log(2 * spread), 9.0])
    theta = np.clip(theta, low, high)
    best = _log_likelihood(x, k, n, theta)
    damping = np.full(theta.shape[0], 1e-3)
    active = np.arange(theta.shape[0])
    for _ in range(60):
        t, ka, na = theta[active], k[active], n[active]
        p, rising, ceiling, u = _curve(x, t)
        slope = ceiling * rising * (1 - rising)
        partial = np.stack(
            [-slope * np.exp(-t[:, 1:2]), -slope * u, ceiling * (1 - ceiling) * rising]
        )
        spread_p = p * (1 - p)
        gradient = np.einsum("dbg,bg->bd", partial, (ka - na * p) / spread_p)
        fisher = np.einsum("dbg,ebg,bg->bde", partial, partial, na / spread_p)
        scale = np.einsum("bdd->bd", fisher)
        ridge = damping[active, None] * scale + 1e-9 * (1 + scale)
        step = np.linalg.solve(fisher + np.eye(3) * ridge[:, None, :], gradient[..., None])[..., 0]
        trial = np.clip(t + step, low, high)
        value = _log_likelihood(x, ka, na, trial)
        gain = value - best[active]
        up = gain > 0
        theta[active[up]], best[active[up]] = trial[up], value[up]
        damping[active] = np.where(up, damping[active] / 5, damping[active] * 5)
        # Done when a step gains nothing to speak of, or no step gains any more.
        going = (up & (gain > 1e-8)) | (~up & (damping[active] < 1e6))
        active = active[going]
        if active.size == 0:
            break
    return theta


def _crossing(theta: Floats, lo: float, hi: float) -> Floats:
    """Return where each curve is one half, NaN where that is outside [lo, hi] or nowhere."""
    ceiling = _sigmoid(theta[:, 2])
    reach = ceiling > 0.5
    odds = np.where(reach, 2 * ceiling - 1, 1.0)
    x = theta[:, 0] - np.exp(theta[:, 1]) * np.log(odds)
    return np.where(reach & (x >= lo) & (x <= hi), x, np.nan)
