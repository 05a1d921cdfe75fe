"""From logits to probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit, logit

__all__ = ["Calibration", "bend", "neighbours", "streak_features"]

Floats = npt.NDArray[np.float64]

#: Neighbours are counted in squares of this many cells of this many pixels.
_CELL_PX: Final = 32
_CELLS: Final = 5


@dataclass(frozen=True)
class Calibration:
    """Turns what the network says, after soft-NMS, into probabilities.

    Of a point: ``z = slope·logit + offset + density·log(1 + neighbours)``, bent by
    the piecewise linear, rising ``knots`` (z, value), and
    ``score = 1 / (1 + exp(-bent))``. ``logit`` is the mean of proposal and RoI head,
    ``neighbours`` are those of `neighbours`: a doubtful detection is likelier to be right
    where the sky is full. Without density and knots this is Platt's (1999). Of a
    streak: the same logistic function of ``streak`` · (`streak_features`, 1), or the
    mean probability of its cells where ``streak`` is empty. All are fitted
    on simulated frames by the scorer's rule of what is right.
    """

    slope: float = 1.0
    offset: float = 0.0
    density: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    streak: tuple[float, ...] = ()

    def score(self, logits: Floats, near: Floats | None = None) -> Floats:
        """Return the probability that each of these is a source, of the shape given.

        Parameters
        ----------
        logits : ndarray of float64
            After soft-NMS.
        near : ndarray of float64, optional
            `neighbours` of each; none if left out.
        """
        z = self.slope * logits + self.offset
        if near is not None:
            z = z + self.density * np.log1p(near)
        return np.asarray(expit(bend(z, self.knots)))

    def streak_score(self, mean_probability: Floats, length_px: Floats) -> Floats:
        """Return the probability that each streak is one, of the shape given."""
        if not self.streak:
            return mean_probability
        features = streak_features(mean_probability, length_px)
        return np.asarray(expit(features @ np.array(self.streak[:-1]) + self.streak[-1]))

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Calibration:
        """Return the calibration of `as_dict`, or of older weights, which have fewer numbers.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the mapping is something else.
        """
        return cls(
            slope=float(given["slope"]),
            offset=float(given["offset"]),
            density=float(given.get("density", 0.0)),
            knots=tuple((float(a), float(b)) for a, b in given.get("knots", ())),
            streak=tuple(float(v) for v in given.get("streak", ())),
        )


def bend(z: Floats, knots: tuple[tuple[float, float], ...]) -> Floats:
    """Return z mapped through the knots, its slope beyond the outer ones being 1."""
    if not knots:
        return z
    at, value = np.array(knots).T
    inside = np.interp(z, at, value)
    return np.asarray(inside + np.minimum(z - at[0], 0) + np.maximum(z - at[-1], 0))


def neighbours(xy: Floats, logits: Floats) -> Floats:
    """Return how many others lie around each detection, shape (k,).

    Parameters
    ----------
    xy : ndarray of float64, shape (k, 2)
        Positions [px].
    logits : ndarray of float64, shape (k,)
        Those above 0 are counted.

    Notes
    -----
    Counted in cells of 32 px, over the five by five around the detection's own,
    itself left out; near a border the count is scaled up to the whole square.
    The cells reach as far as detections do.
    """
    if len(xy) == 0:
        return np.zeros(0)
    cell = np.floor((xy + 0.5) / _CELL_PX).astype(np.intp)
    cell -= cell.min(axis=0)
    nx, ny = cell.max(axis=0) + 1
    sure = logits > 0
    flat = cell[:, 1] * nx + cell[:, 0]
    grid = np.bincount(flat[sure], minlength=nx * ny).reshape(ny, nx).astype(np.float64)
    box = np.ones(_CELLS)
    total, whole = grid, np.ones_like(grid)
    for axis in (0, 1):
        total = ndimage.convolve1d(total, box, axis=axis, mode="constant")
        whole = ndimage.convolve1d(whole, box, axis=axis, mode="constant")
    others = total.ravel()[flat] - sure
    return np.asarray(others * (_CELLS**2 / whole.ravel()[flat]))


def streak_features(mean_probability: Floats, length_px: Floats) -> Floats:
    """Return what tells true streaks from false ones, shape (n, 2).

    The logit of the mean probability of a streak's cells, and the logarithm of its length.
    """
    sure = logit(np.clip(mean_probability, 1e-3, 1 - 1e-3))
    return np.column_stack([sure, np.log(np.maximum(length_px, 1.0))])
