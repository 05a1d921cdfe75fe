"""A trained classifier of points and streaks by the shapes that SEP measures."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.baseline.filters import FWHM_PER_SIGMA
from skyduel.baseline.shapes import segment_length
from skyduel.core.errors import BadInputError, one_line

__all__ = ["FEATURES", "Trees", "read_trees", "shape_features", "shipped_trees"]

#: The classifier's features. None is a length in px or a flux, so that they suit any
#: telescope.
FEATURES: Final = (
    "log_elongation",
    "log_major",
    "log_minor",
    "length_fwhm",
    "log_peak_share",
    "log_score",
    "box_fill",
    "blended",
)
_SHIPPED: Final = Path(__file__).with_name("shape_classifier.json")
_SURE_SCORE: Final = 20.0
# Depth of the deepest tree that is evaluated.
_DEEPEST: Final = 16

Floats = npt.NDArray[np.float32]


def shape_features(
    objects: npt.NDArray[Any], sigma: float, score: npt.NDArray[np.float64]
) -> Floats:
    """Return the features of extracted objects, float32, shape (n, len(FEATURES)).

    Parameters
    ----------
    objects : structured ndarray, shape (n,)
        From `sep.extract`.
    sigma : float
        rms size of a star in this frame [px] (`skyduel.baseline.shapes.stellar_sigma`).
    score : ndarray, shape (n,)
        Peak signal-to-noise.

    Notes
    -----
    Axes are in units of the size of a star. The peak is relative to the peak of a star
    of this size and flux. The score measures how noisy the shape is. It is clipped at
    20, above which the noise no longer matters, so that a streak brighter than any in
    the training set is treated like the brightest of them.
    """
    tiny = 1e-3
    a = np.maximum(np.nan_to_num(objects["a"].astype(np.float64)), tiny)
    b = np.maximum(np.nan_to_num(objects["b"].astype(np.float64)), tiny)
    width = (objects["xmax"] - objects["xmin"] + 1.0) * (objects["ymax"] - objects["ymin"] + 1.0)
    flux = np.maximum(objects["flux"].astype(np.float64), 1e-30)
    peak = np.maximum(objects["peak"].astype(np.float64), 1e-30)
    columns = (
        np.log(a / b),
        np.log(a / sigma),
        np.log(b / sigma),
        segment_length(a, b) / (FWHM_PER_SIGMA * sigma),
        np.log(2.0 * np.pi * sigma**2 * peak / flux),
        np.log(np.clip(score, 0.1, _SURE_SCORE)),
        objects["npix"] / width,
        (objects["flag"] & 1).astype(np.float64),
    )
    return np.asarray(np.nan_to_num(np.column_stack(columns)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted regression trees of one depth as arrays of shape (trees, nodes).

    Parameters
    ----------
    feature, left, right : ndarray of int
        The feature of a node, -1 in leaves, and its branches: left where the
        feature is at most the threshold.
    threshold, value : ndarray of float64
        A leaf's value is added to the logit.
    start : float
        The logit before any tree.
    about : dict
        Provenance.
    """

    feature: npt.NDArray[np.intp]
    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    threshold: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    start: float
    about: dict[str, Any]

    def logit(self, features: Floats) -> npt.NDArray[np.float64]:
        """Return the logit of being a streak, shape (n,)."""
        n = len(features)
        total = np.full(n, self.start)
        for tree in range(len(self.feature)):
            node = np.zeros(n, dtype=np.intp)
            for _ in range(_DEEPEST):
                looks = self.feature[tree, node]
                if (looks < 0).all():
                    break
                seen = features[np.arange(n), np.maximum(looks, 0)]
                # The trees were trained in double precision.
                low = seen.astype(np.float64) <= self.threshold[tree, node]
                step = np.where(low, self.left[tree, node], self.right[tree, node])
                node = np.where(looks < 0, node, step)
            total += self.value[tree, node]
        return total

    def is_streak(self, features: Floats) -> npt.NDArray[np.bool_]:
        """Return True for each row that is more likely a streak than a point, shape (n,)."""
        return self.logit(features) > 0


def read_trees(path: str | os.PathLike[str]) -> Trees:
    """Read a classifier from its JSON file; nothing in the file is executed.

    Raises
    ------
    BadInputError
        If the file is no classifier, has other features, or refers to a node that does
        not exist or that leads back.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        feature, left, right = (
            np.array(stored[name], dtype=np.intp) for name in ("feature", "left", "right")
        )
        threshold, value = (
            np.array(stored[name], dtype=np.float64) for name in ("threshold", "value")
        )
        features, start, about = stored["features"], float(stored["start"]), dict(stored["about"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {one_line(error, 100)}"
        raise BadInputError(str(path), "a classifier's JSON file", reason) from error
    shapes = {array.shape for array in (feature, left, right, threshold, value)}
    whole = len(shapes) == 1 and feature.ndim == 2 and feature.size > 0
    if not whole or tuple(features) != FEATURES:
        got = f"shapes {shapes}" if not whole else f"features {features}"
        raise BadInputError(str(path), f"trees of the features {', '.join(FEATURES)}", got[:200])
    inner = feature >= 0
    here = np.broadcast_to(np.arange(feature.shape[1]), feature.shape)
    forward = (left > here) & (right > here) & (np.maximum(left, right) < feature.shape[1])
    finite = all(np.isfinite(array).all() for array in (threshold, value)) and np.isfinite(start)
    if not finite or (feature >= len(FEATURES)).any() or not forward[inner].all():
        raise BadInputError(str(path), "finite trees whose branches lead on", "others")
    return Trees(feature, left, right, threshold, value, start, about)


@cache
def shipped_trees() -> Trees:
    """Return the classifier that is part of the package."""
    return read_trees(_SHIPPED)
