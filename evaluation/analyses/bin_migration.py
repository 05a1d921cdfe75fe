"""Migration matrix: true against measured magnitude bins of paired sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index, bin_table, measured_mag
from skyduel.evaluation.scoring.frame_score import FrameScore

__all__ = ["migration_table"]


def migration_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return the number of found sources per true and measured magnitude bin.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one detector at one threshold.
    rules : ScoringRules
        Not used.
    edges : sequence of float
        Bin edges [mag].

    Returns
    -------
    DataFrame
        `MIGRATION_COLUMNS`; bins as in `Counts`, including those without magnitude.
        Cells without a source have no row. The sum over ``measured_bin`` is
        ``truths_found`` of the counts, the sum over ``true_bin`` is ``detections_right``.
    """
    size = len(edges) + 2
    cells = np.zeros(size * size, dtype=np.int64)
    for score in frames:
        pairs = score.pairing.pairs
        true = bin_index(score.source.truth["mag"][pairs.truth_index], edges)
        mag = measured_mag(score.source.found)[pairs.found_index] + score.zero_point.offset_mag
        cells += np.bincount(true * size + bin_index(mag, edges), minlength=size * size)
    some = np.flatnonzero(cells)
    bins = bin_table(edges)
    row, column = some // size, some % size
    number, lo, hi = (bins[c].to_numpy() for c in ("bin", "bin_lo", "bin_hi"))
    return pd.DataFrame(
        {
            "true_bin": number[row], "true_lo": lo[row], "true_hi": hi[row],
            "measured_bin": number[column], "measured_lo": lo[column], "measured_hi": hi[column],
            "n": cells[some],
        }
    )  # fmt: skip
