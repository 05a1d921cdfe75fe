"""From logits to probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

__all__ = ["Calibration", "streak_features"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Turns what the network says, after soft-NMS, into probabilities.

    Of a point: ``score = 1 / (1 + exp(-(slope·logit + offset)))`` (Platt 1999), where
    ``logit`` is the mean of proposal and RoI head. Of a streak: the same function of
    ``streak`` · (`streak_features`, 1), or the mean probability of its cells where
    ``streak`` is empty. All are fitted on simulated frames by the scorer's
    rule of what is right.
    """

    slope: float = 1.0
    offset: float = 0.0
    streak: tuple[float, ...] = ()

    def score(self, logits: Floats) -> Floats:
        """Return the probability that each of these is a source, of the shape given."""
        return np.asarray(expit(self.slope * logits + self.offset))

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
            streak=tuple(float(v) for v in given.get("streak", ())),
        )


def streak_features(mean_probability: Floats, length_px: Floats) -> Floats:
    """Return what tells true streaks from false ones, shape (n, 2).

    The logit of the mean probability of a streak's cells, and the logarithm of its length.
    """
    sure = logit(np.clip(mean_probability, 1e-3, 1 - 1e-3))
    return np.column_stack([sure, np.log(np.maximum(length_px, 1.0))])
