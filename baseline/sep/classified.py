"""The detector ``sep-classified``: streaks and points by a classifier on SEP's shapes."""

from __future__ import annotations

from typing import Any

from skyduel.baseline.sep.detector import SepDetector, sep_matched

__all__ = ["sep_classified"]


def sep_classified(**settings: Any) -> SepDetector:
    """Return ``sep-classified``: ``sep-matched`` with a trained classifier for the kind.

    Parameters
    ----------
    **settings
        Override fields of `SepSettings`.

    Raises
    ------
    BadInputError
        For an unknown setting or a value not allowed.

    Notes
    -----
    Boosted trees on eight shape parameters (`skyduel.baseline.sep.shape_classifier.FEATURES`),
    trained on simulated frames by ``benchmarks/accuracy/train_shape_classifier.py``, which prints
    the confusion on held-out frames beside that of the rule
    (`skyduel.baseline.shapes.classify`).
    """
    made = sep_matched(**{"classifier": "trained", **settings})
    return SepDetector("sep-classified", made.settings)
