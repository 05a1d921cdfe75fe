"""What else is said of a detector at each operating point and group, one table each.

An analysis is a pure function of scored frames. Adding one to `ANALYSES` is all
it takes: `evaluate_detector` calls it for every operating point and group, the
runner writes ``analyses/NAME.parquet`` and ``.csv``, and a report reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from evaluation.frames import FrameScore
from evaluation.rules import ScoringRules

__all__ = ["ANALYSES", "KEYS", "Analysis"]

#: Columns that come before an analysis' own.
KEYS: Final = ("detector", "point", "group")


@dataclass(frozen=True)
class Analysis:
    """One table about one detector.

    Parameters
    ----------
    name : str
        Of the table and its file.
    columns : tuple of str
        Of the table, without `KEYS`.
    compute : callable
        Takes the scored frames of one operating point and group (there may be
        none), the rules and the bin edges [mag]; returns the rows.
    every_point : bool
        False for what does not depend on the operating point: computed at
        ``default`` alone.
    """

    name: str
    columns: tuple[str, ...]
    compute: Callable[[Sequence[FrameScore], ScoringRules, Sequence[float]], pd.DataFrame]
    every_point: bool = True


ANALYSES: Final[tuple[Analysis, ...]] = ()
