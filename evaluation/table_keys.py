"""Keys of the result tables: operating points, all bins together, all groups; labels of bins.

Also the table of pairs, and how few frames make intervals rough.
"""

from typing import Final

from skyduel.evaluation.number_text import with_minus

__all__ = [
    "ALL_BINS",
    "ALL_GROUPS",
    "CALIBRATED_POINT",
    "DEFAULT_POINT",
    "EQUAL_PURITY_POINT",
    "FEWEST_FOR_PERCENTILES",
    "FEW_FRAMES",
    "NOMINAL_PURITY",
    "OUTCOMES",
    "PAIR_COLUMNS",
    "POINTS",
    "range_label",
]

#: ``bin`` of the rows for all magnitude bins together.
ALL_BINS: Final = -2
#: ``group`` of the rows for all frames together, and of frames without a group.
ALL_GROUPS: Final = "all"

#: Operating point at the detector's own ``score_threshold``; every row where it has none.
DEFAULT_POINT: Final = "default"
#: Operating point at the score of highest F1 on the calibration split.
CALIBRATED_POINT: Final = "calibrated"
#: Operating point at the lowest score at which the scored frames reach `NOMINAL_PURITY`.
EQUAL_PURITY_POINT: Final = "purity95"
#: Purity that defines `EQUAL_PURITY_POINT`.
NOMINAL_PURITY: Final = 0.95
#: The operating points, in the order of the tables.
POINTS: Final = (DEFAULT_POINT, CALIBRATED_POINT, EQUAL_PURITY_POINT)

#: Columns of the pairs of a match in pixels.
PAIR_COLUMNS: Final = ("truth_index", "found_index", "separation_px", "outcome")
#: Outcome of a truth or a detection, as written to the pairs tables.
OUTCOMES: Final = ("found", "missed", "false", "ignored")

#: With fewer, intervals over frames are rough and it is said.
FEW_FRAMES: Final = 20
#: With fewer units percentiles of resamples are far too narrow
#: (`skyduel.evaluation.statistics.intervals.bootstrap_interval`).
FEWEST_FOR_PERCENTILES: Final = 5


def range_label(low: float, high: float, digits: str = "g") -> str:
    """Return the label of a half-open bin: ``15–15.5``, ``−16 to −15``, ``< 15`` or ``≥ 24``.

    Parameters
    ----------
    low, high : float
        Its edges; an infinite one is left out. With a negative one a dash between the two would
        read as a minus.
    digits : str
        Format of the numbers.
    """
    lo, hi = (with_minus(f"{edge + 0.0:{digits}}") for edge in (low, high))
    if low == -float("inf"):
        return f"< {hi}"
    if high == float("inf"):
        return f"≥ {lo}"
    return f"{lo} to {hi}" if "−" in lo + hi else f"{lo}–{hi}"
