"""Cut intervals of differences at the largest difference that is possible."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from skyduel.core.errors import BadInputError
from skyduel.evaluation.scoring.metrics import quantity_named

__all__ = ["within_possible"]


def within_possible(differences: pd.DataFrame) -> pd.DataFrame:
    """Return differences whose intervals are cut at the largest possible difference.

    Parameters
    ----------
    differences : DataFrame
        With ``quantity``, ``lo`` and ``hi``, as of `skyduel.evaluation.compare_all`; it stays.
        The gate takes it as it is, for it widens intervals and extrapolates their width.
        Intervals of quantities that are not known, as of a newer version, stay.
    """
    if not len(differences):
        return differences
    known = {name: _most(str(name)) for name in differences["quantity"].unique()}
    most = differences["quantity"].map(known).to_numpy(dtype=np.float64)
    return differences.assign(
        lo=np.maximum(differences["lo"], -most), hi=np.minimum(differences["hi"], most)
    )


def _most(name: str) -> float:
    """Return the largest possible difference of a quantity; infinity if it is not known."""
    try:
        return quantity_named(name).most
    except BadInputError:
        return math.inf
