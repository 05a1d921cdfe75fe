"""Words about galaxies: how well a detector tells points from extended sources."""

from __future__ import annotations

import pandas as pd

from skyduel.run_folder.schema import ALL_BINS

__all__ = ["NOT_TOLD", "told_apart"]

NOT_TOLD = "points and extended are not told apart"


def told_apart(rows: pd.DataFrame) -> str:
    """Return how well a detector tells points from extended, as the end of a sentence.

    Parameters
    ----------
    rows : DataFrame
        Rows of `analyses/galaxies` of one detector, operating point and group.
    """
    every = rows[(rows["bin"] == ALL_BINS) & (rows["size_bin"] == ALL_BINS)]
    told = {str(r["kind"]): r for r in every.to_dict("records") if r["told"] > 0}
    names = (("galaxy", "galaxies called extended"), ("point", "points called points"))
    parts = [
        f"{told[kind]['told_right']} of {told[kind]['told']} {what}"
        for kind, what in names
        if kind in told
    ]
    return ", ".join(parts) if parts else NOT_TOLD
