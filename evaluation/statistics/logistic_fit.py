"""A logistic with floor and ceiling, fitted by maximum likelihood, many at once.

    p(x) = f + (1 - f) c / (1 + exp(-(x - x0) / w))

A source is found by itself, with a probability that rises to the ceiling c, or by
chance, with probability f, the floor.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.native import fit_logistic

__all__ = [
    "ceiling_of",
    "crossing",
    "floor_of",
    "maximise",
    "maximise_together",
    "probability",
    "start",
    "width_of",
]

Floats = npt.NDArray[np.float64]

#: From so many rows on the fits are compiled.
_MANY: Final = 64
#: Bounds of the logits of ceiling and floor: a ceiling of 1 and a floor of 0 would run
#: away, and a floor above 0.3 is no matter of chance pairs.
_CEILING: Final = (-6.0, 7.0)
_FLOOR: Final = (-7.0, -0.85)


def _sigmoid(t: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * t)))


def floor_of(theta: Floats) -> Floats:
    """Return the floor of each row of parameters, shape (b,)."""
    return _sigmoid(theta[:, 3])


def ceiling_of(theta: Floats) -> Floats:
    """Return the highest probability of each row, f + (1 - f) c, shape (b,)."""
    floor = floor_of(theta)
    return np.asarray(floor + (1 - floor) * _sigmoid(theta[:, 2]))


def width_of(theta: Floats) -> Floats:
    """Return w of each row, in units of the abscissa, shape (b,)."""
    return np.asarray(np.exp(theta[:, 1]))


def probability(x: Floats, theta: Floats) -> Floats:
    """Return p(x) for each row of parameters, shape (b, g); strictly inside (0, 1)."""
    return _parts(x, theta)[0]


def _parts(x: Floats, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the probability, the rising part and the reduced abscissa, each of shape (b, g)."""
    u = (x - theta[:, :1]) * np.exp(-theta[:, 1:2])
    rising = _sigmoid(u)
    floor, ceiling = _sigmoid(theta[:, 3:]), _sigmoid(theta[:, 2:3])
    return np.clip(floor + (1 - floor) * ceiling * rising, 1e-12, 1 - 1e-12), rising, u


def _log_likelihood(p: Floats, k: Floats, n: Floats) -> Floats:
    return np.asarray((k * np.log(p) + (n - k) * np.log1p(-p)).sum(axis=1))


def _derivatives(
    theta: Floats, p: Floats, rising: Floats, u: Floats, k: Floats, n: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient, shape (b, 4), and Fisher's information, shape (b, 4, 4)."""
    floor, ceiling = _sigmoid(theta[:, 3:]), _sigmoid(theta[:, 2:3])
    slope = (1 - floor) * ceiling * rising * (1 - rising)
    partial = np.stack(
        [
            -slope * np.exp(-theta[:, 1:2]),
            -slope * u,
            (1 - floor) * ceiling * (1 - ceiling) * rising,
            floor * (1 - floor) * (1 - ceiling * rising),
        ],
        axis=1,
    )
    variance = p * (1 - p)
    gradient = (partial @ ((k - n * p) / variance)[..., None])[..., 0]
    fisher = (partial * (n / variance)[:, None, :]) @ partial.transpose(0, 2, 1)
    return gradient, fisher


def start(x: Floats, k: Floats, n: Floats) -> Floats:
    """Return the best of a coarse grid of parameters, shape (1, 4).

    ``x``, ``k`` and ``n`` of shape (g,): abscissa, found and all sources.
    """
    spread = float(np.ptp(x))
    places = x.min() + spread * np.linspace(0.02, 0.98, 25)
    widths = np.log(spread * np.array([0.01, 0.03, 0.1]))
    trial = np.stack(
        np.meshgrid(places, widths, [-1.0, 0.5, 2.0, 5.0], [-6.0, -3.0], indexing="ij"), axis=-1
    ).reshape(-1, 4)
    value = _log_likelihood(probability(x, trial), k[None], n[None])
    return trial[[int(np.argmax(value))]]


def maximise(x: Floats, k: Floats, n: Floats, theta: Floats, gain_enough: float = 1e-8) -> Floats:
    """Return the parameters of highest likelihood for each row of k and n, shape (b, 4).

    Parameters
    ----------
    x : ndarray, shape (g,)
        Abscissa, larger is easier.
    k, n : ndarray, shape (b, g)
        Sources found, and all of them; fractions are allowed.
    theta : ndarray, shape (b, 4)
        Where to start: x0, log w, and the logits of c and f.
    gain_enough : float
        A step that gains less log-likelihood is the last.

    Notes
    -----
    Fisher scoring with Levenberg damping inside generous bounds. Many rows (resamples) are
    fitted by the compiled `skyduel.core.native.fit_logistic`, which differs by rounding from
    `maximise_together`, few rows and all rows without the library by the latter.
    """
    spread = float(np.ptp(x))
    low = np.array([x.min() - spread, np.log(1e-3 * spread), _CEILING[0], _FLOOR[0]])
    high = np.array([x.max() + spread, np.log(2 * spread), _CEILING[1], _FLOOR[1]])
    fitted = None
    if len(theta) >= _MANY:
        fitted = fit_logistic(x, k, n, theta, (low, high), gain_enough)
    return maximise_together(x, k, n, theta, (low, high), gain_enough) if fitted is None else fitted


def maximise_together(
    x: Floats,
    k: Floats,
    n: Floats,
    theta: Floats,
    bounds: tuple[Floats, Floats],
    gain_enough: float,
) -> Floats:
    """Return what `maximise` does, with arrays that hold a step of all rows."""
    low, high = bounds
    theta = np.clip(theta, low, high)
    parts = _parts(x, theta)
    best = _log_likelihood(parts[0], k, n)
    gradient, fisher = _derivatives(theta, *parts, k, n)
    damping = np.full(theta.shape[0], 1e-3)
    active = np.arange(theta.shape[0])
    for _ in range(60):
        information, rise = fisher[active], gradient[active]
        # What stands at a bound and wants beyond it is left out of the step.
        at = theta[active]
        free = ~(((at <= low) & (rise < 0)) | ((at >= high) & (rise > 0)))
        rise = rise * free
        information = information * (free[:, :, None] & free[:, None, :])
        scale = np.einsum("bdd->bd", information)
        ridge = damping[active, None] * scale + 1e-9 * (1 + scale)
        damped = information + np.eye(4) * ridge[:, None, :]
        step = np.linalg.solve(damped, rise[..., None])[..., 0]
        trial = np.clip(theta[active] + step, low, high)
        p, rising, u = _parts(x, trial)
        ka, na = k[active], n[active]
        gain = _log_likelihood(p, ka, na) - best[active]
        up = gain > 0
        rows = active[up]
        theta[rows], best[rows] = trial[up], best[rows] + gain[up]
        damping[active] = np.where(up, damping[active] / 5, damping[active] * 5)
        # Done when a step gains nothing to speak of, or no step gains any more.
        going = (up & (gain > gain_enough)) | (~up & (damping[active] < 1e6))
        again = up & going
        if again.any():
            rows = active[again]
            gradient[rows], fisher[rows] = _derivatives(
                trial[again], p[again], rising[again], u[again], ka[again], na[again]
            )
        active = active[going]
        if active.size == 0:
            break
    return theta


def crossing(theta: Floats, level: float, lo: float, hi: float) -> Floats:
    """Return the abscissa at which each row's curve crosses a level, shape (b,).

    Plus infinity where that is above ``hi`` or the ceiling is too low; minus
    infinity where it is below ``lo`` or the floor too high.
    """
    floor, ceiling = floor_of(theta), _sigmoid(theta[:, 2])
    share = (level - floor) / ((1 - floor) * ceiling)
    inside = (share > 0) & (share < 1)
    odds = np.where(inside, share, 0.5)
    x = theta[:, 0] + np.exp(theta[:, 1]) * np.log(odds / (1 - odds))
    x = np.where(x > hi, np.inf, np.where(x < lo, -np.inf, x))
    return np.where(inside, x, np.where(share >= 1, np.inf, -np.inf))
