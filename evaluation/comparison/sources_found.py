"""Sources found at an operating point, and points that keep too few of them to tell anything.

A threshold may leave a detector only its brightest sources. Such a sliver still has a limit m50
or S/N50, which speaks of the threshold and not of the detector. The gate, the sentence of a
comparison and the page all use the definition of this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from skyduel.evaluation.scoring.metrics import LIMITS
from skyduel.evaluation.table_keys import ALL_BINS, DEFAULT_POINT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SLIVER", "Found", "is_sliver", "without_limits_of_slivers"]

#: A point that finds a smaller share of what the detector's usual point finds keeps a sliver.
SLIVER: Final = 0.25


def is_sliver(kept: float, usual: float) -> bool:
    """Return whether so many sources, of so many that are found elsewhere, are a sliver."""
    return kept < SLIVER * usual


@dataclass(frozen=True)
class Found:
    """How many truths a point keeps, and how many the default point does.

    Parameters
    ----------
    point : str
        The operating point.
    n, n_truths : int
        Truths found by either version there, and all truths; 0 if unknown.
    n_default : int or None
        Found by either at the default point, where that is another and known.
    same : bool
        Whether both found the very same truths.
    kept : (int, int)
        Truths that each found there; 0 if unknown.
    kept_default : (int, int) or None
        Truths that each found at the default point, where that is another and known.
    """

    point: str
    n: int = 0
    n_truths: int = 0
    n_default: int | None = None
    same: bool = False
    kept: tuple[int, int] = (0, 0)
    kept_default: tuple[int, int] | None = None

    @classmethod
    def at(cls, table: pd.DataFrame, point: str, group: str) -> Found:
        """Return what a comparison says of a point and a group."""
        here = _outcomes_at(table, point, group)
        if here is None:
            return cls(point)
        other = None if point == DEFAULT_POINT else _outcomes_at(table, DEFAULT_POINT, group)
        return cls(
            point,
            n=sum(here[:3]),
            n_truths=sum(here),
            n_default=None if other is None else sum(other[:3]),
            same=here[1] == here[2] == 0,
            kept=_by_each(here),
            kept_default=None if other is None else _by_each(other),
        )

    @property
    def sliver(self) -> bool:
        """True if both together keep a sliver of what they find at the default point."""
        return self.n_default is not None and is_sliver(self.n, self.n_default)

    def slivers(self) -> tuple[bool, bool]:
        """Return which of the two keeps a sliver of what it finds at the default point."""
        if self.kept_default is None:
            return (False, False)
        a, b = (is_sliver(k, d) for k, d in zip(self.kept, self.kept_default, strict=True))
        return (a, b)

    @property
    def words(self) -> str:
        """How many truths were found, in words."""
        if not self.n_truths:
            return "the versions do not differ"
        who = "both find the same" if self.same else "either finds"
        return f"at {self.point} {who} {self.n:,} of {self.n_truths:,} truths"

    @property
    def hint(self) -> str:
        """The point that can tell, as the end of a sentence; empty if there is none."""
        return _hint(self.n, self.n_default)

    def of_a_sliver(self, names: tuple[str, str]) -> str:
        """Why the first of two named versions that keeps a sliver has no limit; empty if none."""
        for name, few, kept, usual in zip(
            names, self.slivers(), self.kept, self.kept_default or (0, 0), strict=True
        ):
            if few:
                told = f"at {self.point} the {name} finds {kept:,} of {self.n_truths:,} truths"
                return f"{told}: too few for a limit{_hint(kept, usual)}"
        return ""


def without_limits_of_slivers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a comparison of one pair without differences of limits where either keeps a sliver.

    Their `delta`, `lo`, `hi`, `p` and `p_holm` are NaN; all else stays.
    """
    told = table.copy()
    of_limits = told["quantity"].isin([q.name for q in LIMITS])
    for point, group in told.loc[of_limits, ["point", "group"]].drop_duplicates().to_numpy():
        if any(Found.at(table, point, group).slivers()):
            cut = of_limits & (told["point"] == point) & (told["group"] == group)
            told.loc[cut, ["delta", "lo", "hi", "p", "p_holm"]] = np.nan
    return told


def _hint(n: int, n_default: int | None) -> str:
    if not n_default or n_default <= n:
        return ""
    return f"; @{DEFAULT_POINT} can tell more, with {n_default:,} found"


def _outcomes_at(table: pd.DataFrame, point: str, group: str) -> tuple[int, ...] | None:
    """Return truths found by both, by one, by the other and by none at a point."""
    rows = table[
        (table["bin"] == ALL_BINS) & (table["interval"] == "newcombe")
        & (table["point"] == point) & (table["group"] == group)
    ]  # fmt: skip
    if len(rows) != 1:
        return None
    row = rows.iloc[0]
    return tuple(int(row[k]) for k in ("n_both", "n_a_only", "n_b_only", "n_neither"))


def _by_each(outcomes: tuple[int, ...]) -> tuple[int, int]:
    """Return the truths found by the one and by the other."""
    return outcomes[0] + outcomes[1], outcomes[0] + outcomes[2]
