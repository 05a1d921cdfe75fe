"""Schema of a run folder: its version, the keys of its tables."""

from skyduel.evaluation.table_keys import (
    ALL_BINS,
    ALL_GROUPS,
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
    POINTS,
)

__all__ = [
    "ALL_BINS",
    "ALL_GROUPS",
    "CALIBRATED_POINT",
    "DEFAULT_POINT",
    "EQUAL_PURITY_POINT",
    "NOMINAL_PURITY",
    "POINTS",
]
