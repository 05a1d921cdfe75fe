"""Axes other than magnitude, and the bin of each truth on these axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from skyduel.core.catalog import Catalog
from skyduel.evaluation.scoring.frame_score import FrameInput

__all__ = ["COMPLETENESS_AXES", "BinnedBy", "TruthFacts", "axis_bin", "field_radius", "truth_facts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: The local density is that of the circle through this neighbour.
_NEIGHBOUR: Final = 5


@dataclass(frozen=True)
class BinnedBy:
    """An axis for binning scores.

    Parameters
    ----------
    name, unit : str
        Name and unit of the axis.
    edges : tuple of float
        n + 1 ascending edges of n half-open bins, the same in every run.
    """

    name: str
    unit: str
    edges: tuple[float, ...]

    @property
    def n_bins(self) -> int:
        """Number of bins, without the bin for unknown values."""
        return len(self.edges) - 1


_INF: Final = float("inf")
_SNR: Final = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0, _INF)
#: Squares of the radius in steps of a fifth: rings of equal area in a round field.
_RADIUS: Final = (0.0, 0.4472, 0.6325, 0.7746, 0.8944, 1.0001)

#: The axes of completeness.
COMPLETENESS_AXES: Final = (
    BinnedBy("snr", "", (0.0, *_SNR)),
    BinnedBy("density", "sources per 1000 px²", (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, _INF)),
    BinnedBy("neighbour", "FWHM", (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, _INF)),
    BinnedBy("radius", "half diagonals", _RADIUS),
)


@dataclass(frozen=True, eq=False)
class TruthFacts:
    """The bin of every truth of a frame on each axis of `COMPLETENESS_AXES`.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n_axes, n_truth)
        Bins 0 ... n - 1; n if the value is unknown. Rows in the order of `COMPLETENESS_AXES`.
    """

    codes: npt.NDArray[np.uint8]

    @property
    def bins(self) -> dict[str, Ints]:
        """The bins by name of their axis, each int64 of shape (n_truth,)."""
        return {
            f.name: c.astype(np.int64) for f, c in zip(COMPLETENESS_AXES, self.codes, strict=True)
        }


def axis_bin(values: Floats, edges: Sequence[float]) -> Ints:
    """Return the half-open bin of each value; outliers are in the first or last bin, NaN in n."""
    n = len(edges) - 1
    at = np.clip(np.searchsorted(np.asarray(edges), values, side="right") - 1, 0, n - 1)
    return np.where(np.isnan(values), n, at).astype(np.int64)


def field_radius(x: Floats, y: Floats, shape: tuple[int, int] | None) -> Floats:
    """Return distances from the frame's centre in units of half its diagonal; NaN without shape."""
    if shape is None:
        return np.full(x.shape, np.nan)
    ny, nx = shape
    return np.asarray(np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2) / (np.hypot(nx, ny) / 2))


_known: WeakKeyDictionary[Catalog, TruthFacts] = WeakKeyDictionary()


def truth_facts(source: FrameInput) -> TruthFacts:
    """Return the bins of a frame's truths.

    Notes
    -----
    Computed once per truth catalogue, which all detectors share. Neighbours are
    truths that are not ignored as faint: undetectable sources do not disturb. The
    density is 5 / (pi r^2) with r the distance to the fifth neighbour.
    """
    truth = source.truth
    facts = _known.get(truth)
    if facts is None:
        nearest, fifth = _neighbours(truth)
        snr = truth["snr"] if "snr" in truth else np.full(len(truth), np.nan)
        fwhm = np.nan if source.fwhm is None else source.fwhm
        with np.errstate(divide="ignore"):
            values = {
                "snr": np.asarray(snr, dtype=np.float64),
                "density": 1000 * _NEIGHBOUR / (np.pi * fifth**2),
                "neighbour": nearest / fwhm,
                "radius": field_radius(truth["x"], truth["y"], source.shape),
            }
        codes = [axis_bin(values[f.name], f.edges) for f in COMPLETENESS_AXES]
        facts = TruthFacts(np.stack(codes).astype(np.uint8))
        _known[truth] = facts
    return facts


def _neighbours(truth: Catalog) -> tuple[Floats, Floats]:
    """Return each source's distance to its nearest and its fifth neighbour [px].

    Infinite without such a neighbour, which corresponds to a density of 0.
    """
    n = len(truth)
    seen = np.ones(n, dtype=bool)
    if "ignore_reason" in truth:
        seen = np.asarray(truth["ignore_reason"]).astype(str) != "faint"
    if not n or not seen.any():
        return np.full(n, np.inf), np.full(n, np.inf)
    # One more than needed, because a source that is itself a neighbour is its own nearest.
    distance, which = KDTree(truth.xy[seen]).query(truth.xy, k=_NEIGHBOUR + 1)
    own = np.flatnonzero(seen)[np.minimum(which, int(seen.sum()) - 1)] == np.arange(n)[:, None]
    # The source itself, or the farthest if it is not among them, moves to the end.
    distance = np.where(own, np.inf, distance)
    distance.sort(axis=1)
    return distance[:, 0], distance[:, _NEIGHBOUR - 1]
