"""Metric of Jia, Liu & Sun (2020) as computed by their code, with its faults.

Jia, Liu & Sun (2020), "Detection and Classification of Astronomical Targets with
Deep Neural Networks in Wide Field Small Aperture Telescopes", AJ 159, 212. It is used only
for comparison with the figure of that paper. Its faults are:

- *Pairing is not one to one.* Every truth and detection no farther apart than
  1.5 px in x and in y are a match: two detections of a star count twice, one
  detection between two stars counts for both. Recall may exceed 1.
- *The precision of a bin is not a precision.* It is the matches of the bin over **all**
  detections of the frame, times all truths over the truths of the bin: the recall of the
  bin times one number for the whole frame, N_true / N_found. It is clamped
  at 1, so it has no meaning if a detector reports fewer sources than there are, and
  false detections of any magnitude lower all bins equally.
- *Empty bins count as perfect*: recall, precision, F1 and F2 of 1.
- *Ratios are averaged over frames*: a frame with one star in a bin has the same
  weight as a frame with a hundred.
- *Bins are drawn at their upper edge*, half a bin fainter than their middle.
- There are no ignored truths and no kinds: all rows count, by their centres.

That code divides by zero for a frame without detections; here the bins of such a frame
with truths have recall, precision and F of 0. It is unknown if the published figure
uses unrounded positions (as here) or positions rounded to whole pixels: the published
code has both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree

from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.table_columns import JIA2020_COLUMNS

__all__ = [
    "BOX_HALF_PX",
    "PUBLISHED",
    "PUBLISHED_MAP",
    "frame_metric",
    "jia2020_table",
]

Floats = npt.NDArray[np.float64]

#: Largest difference of a match in x and in y [px], inclusive.
BOX_HALF_PX: Final = 1.5
QUANTITIES: Final = ("recall", "precision", "f1", "f2")

#: The published curves, digitised from the paper's figure of F1 and F2 on simulated
#: frames: the values of its network and of SExtractor by quantity and bin (lower, upper
#: edge [mag]).
PUBLISHED: Final[Mapping[tuple[str, float, float], tuple[float, float]]] = MappingProxyType(
    {
        ("f1", 20.0, 21.0): (0.821, 0.775),
        ("f1", 21.0, 22.0): (0.776, 0.644),
        ("f1", 22.0, 23.0): (0.638, 0.358),
        ("f1", 23.0, 24.0): (0.449, 0.219),
        ("f2", 20.0, 21.0): (0.824, 0.727),
        ("f2", 21.0, 22.0): (0.777, 0.603),
        ("f2", 22.0, 23.0): (0.639, 0.334),
        ("f2", 23.0, 24.0): (0.451, 0.205),
    }
)
#: The published mean average precision of the network, at IoU 0.5.
PUBLISHED_MAP: Final = 0.823


def frame_metric(
    truth_xy: npt.ArrayLike,
    truth_mag: npt.ArrayLike,
    found_xy: npt.ArrayLike,
    edges: Sequence[float],
) -> Floats:
    """Return recall, precision, F1 and F2 of one frame, shape (4, n_bins).

    Parameters
    ----------
    truth_xy, found_xy : array_like, shape (n_truth, 2), (n_found, 2)
        Positions [px].
    truth_mag : array_like, shape (n_truth,)
        True magnitudes. Truths outside the edges do not count.
    edges : sequence of float
        n_bins + 1 ascending edges [mag] of half-open bins.

    Notes
    -----
    With M the matches of a bin, N its truths, T the truths in all bins and D
    the detections of any magnitude::

        recall    = M / N
        precision = min(1, min(M, N) / D * T / N)
        F_b       = (1 + b^2) P R / (b^2 P + R), or 0 if either is 0

    and 1, 1, 1, 1 where N is 0.
    """
    truth = np.asarray(truth_xy, dtype=np.float64).reshape(-1, 2)
    found = np.asarray(found_xy, dtype=np.float64).reshape(-1, 2)
    n = len(edges) - 1
    at = bin_index(truth_mag, edges) - 1
    inside = (at >= 0) & (at < n)
    truths = np.bincount(at[inside], minlength=n)
    matched = _matches_per_truth(truth, found)
    matches = np.bincount(at[inside], weights=matched[inside], minlength=n)
    out = np.ones((4, n))
    some = truths > 0
    recall = matches[some] / truths[some]
    precision = np.zeros(recall.size)
    if len(found):
        whole = np.minimum(matches[some], truths[some]) / len(found)
        precision = np.minimum(whole * (truths.sum() / truths[some]), 1.0)
    out[0, some], out[1, some] = recall, precision
    for row, b2 in ((2, 1.0), (3, 4.0)):
        below = b2 * precision + recall
        out[row, some] = np.divide(
            (1 + b2) * precision * recall, below, out=np.zeros(recall.size), where=below > 0
        )
    return out


def jia2020_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return the metric averaged over frames, one row per quantity and bin.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one operating point and group; detections above the threshold
        are matched again, also with ignored truths.
    rules : ScoringRules
        Not used: the metric has its own rules.
    edges : sequence of float
        Bin edges [mag].

    Returns
    -------
    DataFrame
        ``bin``, ``bin_lo``, ``bin_hi`` [mag], ``mag_plotted`` (the upper edge, where the
        paper draws the bin), ``quantity`` (``recall``, ``precision``, ``f1``, ``f2``),
        ``value`` (NaN without frames), ``network`` and ``sextractor`` (the published
        values of the same bin, NaN where there are none), ``truths``, ``n_frames``.
    """
    lo, hi = np.array(edges[:-1], dtype=float), np.array(edges[1:], dtype=float)
    values, truths = [], np.zeros(lo.size, dtype=np.int64)
    for frame in frames:
        truth, found = frame.source.truth, frame.source.found
        values.append(frame_metric(truth.xy, truth["mag"], found.xy[frame.pairing.used], edges))
        truths += np.bincount(bin_index(truth["mag"], edges), minlength=lo.size + 3)[1:-2]
    mean = np.mean(values, axis=0) if values else np.full((4, lo.size), np.nan)
    rows: list[dict[str, Any]] = []
    for q, quantity in enumerate(QUANTITIES):
        for k in range(lo.size):
            network, sextractor = PUBLISHED.get(
                (quantity, float(lo[k]), float(hi[k])), (np.nan, np.nan)
            )
            rows.append(
                {
                    "bin": k,
                    "bin_lo": lo[k],
                    "bin_hi": hi[k],
                    "mag_plotted": hi[k],
                    "quantity": quantity,
                    "value": float(mean[q, k]),
                    "network": network,
                    "sextractor": sextractor,
                    "truths": int(truths[k]),
                    "n_frames": len(frames),
                }
            )
    return pd.DataFrame(rows, columns=list(JIA2020_COLUMNS))


def _matches_per_truth(truth: Floats, found: Floats) -> Floats:
    """Return the number of detections that match each truth, shape (n_truth,)."""
    near = KDTree(truth).sparse_distance_matrix(
        KDTree(found), BOX_HALF_PX * (1 + 1e-9), p=np.inf, output_type="ndarray"
    )
    i, j = near["i"], near["j"]
    inside = (np.abs(truth[i] - found[j]) <= BOX_HALF_PX).all(axis=1)
    return np.bincount(i[inside], minlength=len(truth)).astype(np.float64)
