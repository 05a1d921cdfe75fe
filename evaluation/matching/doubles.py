"""A warning about truths so close together that no detector can find both."""

from __future__ import annotations

from typing import Final

from skyduel.core.catalog import Catalog
from skyduel.core.reference.unresolved import LEAST_PX, n_unresolved

__all__ = ["doubles_warning"]

_FEWEST: Final = 3
#: In random crowded fields it is less than this share.
_SHARE: Final = 0.01


def doubles_warning(truth: Catalog) -> str | None:
    """Return a warning if many point sources of a truth are closer than half a pixel to another.

    Parameters
    ----------
    truth : Catalog
        Positions on the frame [px].

    Returns
    -------
    str or None
        None for fewer than three, or less than one in a hundred, of the sources that count.
    """
    points = truth.select(truth.is_point)
    counted = points.select(~points["ignore"]) if "ignore" in points else points
    n = n_unresolved(counted.xy)
    if n < max(_FEWEST, _SHARE * len(counted)):
        return None
    return (
        f"{n:,} of {len(counted):,} truths are within {LEAST_PX:g} px of another one: no detector "
        "finds both (`skyduel truth` makes them one source)"
    )
