"""Convert the network's logits to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

__all__ = ["CONTEXT_FEATURES", "Calibration", "PositionErrorModel", "Rescoring", "streak_features"]

#: Features of a proposal, in order; in units of the noise unless stated otherwise.
CONTEXT_FEATURES: Final = (
    "matched",  # S/N with the PSF of the frame
    "narrow",  # S/N with a profile narrower than any star
    "wide",  # S/N with a profile twice as wide as the frame's PSF
    "residual",  # log of the residual of the fitted PSF in the core, relative to its S/N
    "centre",  # residual on the central pixel, relative to its S/N
    "highest",  # highest residual, relative to its S/N
    "ring",  # mean of the surroundings
    "row", "column",  # mean along the row and the column, without the core
    "row_far", "column_far",  # the same farther out
    "crowd",  # log10 of the sources of high logit per 10⁶ px
    "area",  # log of the noise-equivalent area of the PSF [px²]
    "nearest",  # distance [px] to the nearest of the eight neighbours with higher logit, at most 12
    "excess",  # difference of logit to that neighbour, at most 20
)  # fmt: skip

Floats = npt.NDArray[np.float64]
_Part = TypeVar("_Part")


#: Names of fields of `Calibration` in a weights file, where they differ.
_FILE_KEYS: Final = {"network_position_error": "placed", "centroid_error": "windowed"}
#: Log odds from which the S/N raises a score, and from which on it does so fully; the S/N that
#: does not raise it.
_LIKELY: Final = (1.0, 3.0)
_PLAIN_SNR: Final = 8.0
#: Standardised inputs are clipped here: the perceptron does not extrapolate.
_FARTHEST: Final = 4.0


@dataclass(frozen=True)
class Rescoring:
    """Small perceptron that corrects the network's logits with the context features.

    ``logit + W₃·tanh(W₂·tanh(W₁·u + b₁) + b₂) + b₃`` with ``u`` the standardised inverse
    hyperbolic sines of the logit and of the columns of `CONTEXT_FEATURES`.

    Attributes
    ----------
    mean, scale : tuple of float
        Mean and scale that standardise the n inputs.
    layers : tuple
        The rows of weights (the bias last) of each layer.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    layers: tuple[tuple[tuple[float, ...], ...], ...]

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats, list[Floats]]:
        layers = [np.array(layer, dtype=np.float64) for layer in self.layers]
        return np.array(self.mean), np.array(self.scale), layers

    def inputs(self, logits: Floats, context_features: npt.NDArray[np.floating]) -> Floats:
        """Return the standardised inputs, shape (k, n)."""
        mean, scale, _ = self._arrays
        u = (np.arcsinh(np.column_stack([logits, context_features])) - mean) / scale
        return np.clip(u, -_FARTHEST, _FARTHEST)

    def __call__(self, logits: Floats, context_features: npt.NDArray[np.floating]) -> Floats:
        """Return the corrected logits, shape (k,)."""
        *hidden, last = self._arrays[2]
        u = self.inputs(logits, context_features)
        for layer in hidden:
            u = np.tanh(u @ layer[:, :-1].T + layer[:, -1])
        return np.asarray(logits + u @ last[0, :-1] + last[0, -1])

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Rescoring:
        """Build a rescoring from the mapping of `dataclasses.asdict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the mapping has other keys or types, or its shapes do not match.
        """
        made = cls(
            mean=tuple(float(v) for v in given["mean"]),
            scale=tuple(float(v) for v in given["scale"]),
            layers=tuple(
                tuple(tuple(float(v) for v in row) for row in layer) for layer in given["layers"]
            ),
        )
        mean, scale, layers = made._arrays
        wide = [mean.size, *(len(layer) for layer in layers)]
        shapes = [layer.shape for layer in layers]
        if (
            mean.size != len(CONTEXT_FEATURES) + 1 or scale.shape != mean.shape or wide[-1] != 1
            or shapes != [(b, a + 1) for a, b in pairwise(wide)] or not (scale > 0).all()
        ):  # fmt: skip
            raise ValueError(f"a perceptron of {len(CONTEXT_FEATURES) + 1} inputs; got {shapes}")
        return made


@dataclass(frozen=True)
class PositionErrorModel:
    """Standard error of a position per axis [px]: the root of ``floor² + (gain·σ/(S/N))²``.

    σ is the width of the PSF [px]; ``gain`` is 1 for the best measurement of an isolated
    Gaussian star in white noise with a matched filter.
    """

    floor: float
    gain: float

    def __call__(self, sigma: npt.ArrayLike, snr: npt.ArrayLike) -> Floats:
        """Return the standard deviation of x, and of y [px]; NaN where the S/N is not positive."""
        snr = np.asarray(snr, dtype=np.float64)
        unit = np.asarray(sigma) / np.where(snr > 0, snr, np.nan)
        return np.asarray(np.hypot(self.floor, self.gain * unit))


@dataclass(frozen=True)
class Calibration:
    """Maps the network's logits after soft-NMS to probabilities.

    For a point: ``score = 1 / (1 + exp(-(slope·logit + offset)))`` (Platt 1999), where
    ``logit`` is the mean of proposal and RoI head, corrected with the context features
    if there is a `Rescoring`. For a streak: the same function of
    ``streak`` · (`streak_features`, 1), or the mean probability of its cells if
    ``streak`` is empty. ``network_position_error`` is the error model of positions from the
    network, ``centroid_error`` that of centroids (`skyduel.detect.inference.centroids`).
    ``regions_above`` is the presence logit below which a proposal is not looked at again by the
    RoI head and keeps its logit and position; None: there is no such limit. All are
    fitted on simulated frames with the matching rule of the scorer.

    Log odds above 1 are raised by ``snr_gain`` · log(S/N / 8) where the S/N with the PSF of the
    frame is above 8; from log odds of 1 to 3 this sets in linearly. Between sources that are
    all nearly certain, the probability says little and the noise of the network decides; so a
    list that is cut short keeps the bright stars. 0: scores are not raised.
    """

    slope: float = 1.0
    offset: float = 0.0
    streak: tuple[float, ...] = ()
    rescoring: Rescoring | None = None
    network_position_error: PositionErrorModel | None = None
    centroid_error: PositionErrorModel | None = None
    regions_above: float | None = None
    snr_gain: float = 0.0

    def score(
        self, logits: Floats, context_features: npt.NDArray[np.floating] | None = None
    ) -> Floats:
        """Return the probability that each detection is a source, shape (k,).

        Parameters
        ----------
        logits : ndarray of float64, shape (k,)
            Logits of the network after soft-NMS.
        context_features : ndarray, shape (k, 15), optional
            Features from `context_features.measure_context_features`; without them the network's
            logits are neither corrected nor raised.
        """
        if self.rescoring is not None and context_features is not None:
            logits = self.rescoring(logits, context_features)
        log_odds = self.slope * logits + self.offset
        if self.snr_gain and context_features is not None:
            low, high = _LIKELY
            likely = np.clip((log_odds - low) / (high - low), 0, 1)
            snr = np.maximum(context_features[:, CONTEXT_FEATURES.index("matched")], _PLAIN_SNR)
            log_odds = log_odds + self.snr_gain * likely * np.log(snr / _PLAIN_SNR)
        return np.asarray(expit(log_odds))

    def streak_score(self, mean_probability: Floats, length_px: Floats) -> Floats:
        """Return the probability that each streak is real, of the shape given."""
        if not self.streak:
            return mean_probability
        features = streak_features(mean_probability, length_px)
        return np.asarray(expit(features @ np.array(self.streak[:-1]) + self.streak[-1]))

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON types, by their names in a weights file."""
        return {_FILE_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Calibration:
        """Build a calibration from the mapping of `as_dict`, or of older weights with fewer keys.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the mapping has other keys or types.
        """
        return cls(
            slope=float(given["slope"]),
            offset=float(given["offset"]),
            streak=tuple(float(v) for v in given.get("streak", ())),
            rescoring=_given(given, "rescoring", Rescoring.from_dict),
            network_position_error=_given(given, "placed", _position_error_model),
            centroid_error=_given(given, "windowed", _position_error_model),
            regions_above=_given(given, "regions_above", float),
            snr_gain=_given(given, "snr_gain", float) or 0.0,
        )


def _given(given: Mapping[str, Any], name: str, make: Callable[[Any], _Part]) -> _Part | None:
    """Return a part of a calibration, or None if the weights are older than that part."""
    return None if given.get(name) is None else make(given[name])


def _position_error_model(given: Mapping[str, Any]) -> PositionErrorModel:
    return PositionErrorModel(floor=float(given["floor"]), gain=float(given["gain"]))


def streak_features(mean_probability: Floats, length_px: Floats) -> Floats:
    """Return the features that separate true from false streaks, shape (n, 2).

    The logit of the mean probability of a streak's cells, and the logarithm of its length.
    """
    sure = logit(np.clip(mean_probability, 1e-3, 1 - 1e-3))
    return np.column_stack([sure, np.log(np.maximum(length_px, 1.0))])
