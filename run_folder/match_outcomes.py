"""Outcome of every truth and every detection of one frame, row by row, from its pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.errors import BadInputError
from skyduel.run_folder.schema import OUTCOMES

__all__ = ["ABSENT", "IGNORED", "RIGHT", "WRONG", "Outcomes", "column", "is_streak", "outcomes_of"]

#: A detection below the threshold (or a truth that is not in the pairs).
ABSENT: Final = 0
#: A truth that is found, a detection that is right.
RIGHT: Final = 1
#: A truth that is missed, a detection that is false.
WRONG: Final = 2
#: Counts neither way.
IGNORED: Final = 3

_CODES: Final = dict(zip(OUTCOMES, (RIGHT, WRONG, WRONG, IGNORED), strict=True))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes of one detector on one frame at one operating point.

    Parameters
    ----------
    truth : ndarray of uint8, shape (n_truth,)
        `RIGHT`, `WRONG` or `IGNORED`.
    found : ndarray of uint8, shape (n_found,)
        The same, and `ABSENT` for rows below the threshold.
    partner : ndarray of int64, shape (n_truth,)
        Row of the catalogue that each truth is paired with; −1: none.
    """

    truth: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]
    partner: npt.NDArray[np.int64]


def outcomes_of(pairs: pd.DataFrame, n_truth: int, n_found: int, source: str) -> Outcomes:
    """Return the outcome of every row of the truth and of the catalogue.

    Parameters
    ----------
    pairs : DataFrame
        A table of ``pairs/`` (`docs/run-folder.md`).
    n_truth, n_found : int
        Number of rows of the truth and of the catalogue.
    source : str
        Name of the pairs in error messages.

    Raises
    ------
    BadInputError
        If an index lies beyond the rows, or an outcome is unknown.
    """
    truth_at = pairs["truth_index"].to_numpy(dtype=np.int64)
    found_at = pairs["found_index"].to_numpy(dtype=np.int64)
    for side, at, n in (("truth", truth_at, n_truth), ("found", found_at, n_found)):
        if len(at) and (at.max() >= n or at.min() < -1):
            raise BadInputError(
                source,
                f"{side}_index from -1 to below the {n} rows it points into",
                f"{at.min()} to {at.max()}",
            )
    named = pairs["outcome"].astype(str).to_numpy(dtype=object)
    unknown = sorted(set(named) - set(_CODES))
    if unknown:
        raise BadInputError(source, f"an outcome of {', '.join(_CODES)}", repr(unknown[0]))
    code = np.array([_CODES[name] for name in named], dtype=np.uint8)
    truth = np.zeros(n_truth, dtype=np.uint8)
    found = np.zeros(n_found, dtype=np.uint8)
    partner = np.full(n_truth, -1, dtype=np.int64)
    has_truth, has_found = truth_at >= 0, found_at >= 0
    truth[truth_at[has_truth]] = code[has_truth]
    found[found_at[has_found]] = code[has_found]
    both = has_truth & has_found
    partner[truth_at[both]] = found_at[both]
    return Outcomes(truth, found, partner)


def column(table: pd.DataFrame, *names: str) -> npt.NDArray[np.float64]:
    """Return the first of these columns that a table has; NaN if it has none."""
    for name in names:
        if name in table:
            return table[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.full(len(table), np.nan)


def is_streak(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows that are streaks; all False without a column ``kind``."""
    if "kind" not in table:
        return np.zeros(len(table), dtype=bool)
    return table["kind"].isin(["streak", b"streak"]).to_numpy(dtype=bool)
