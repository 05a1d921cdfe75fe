"""Scores of one catalogue by magnitude, drawn on axes of the user's."""

from __future__ import annotations

from typing import Any

from skyduel.core.errors import takes
from skyduel.evaluation import ScoreReport
from skyduel.reports.figures.plot_helpers import require_axes

__all__ = ["plot_completeness"]


@takes(scores=ScoreReport, quantity=str)
def plot_completeness(
    scores: ScoreReport, quantity: str = "completeness", *, ax: Any = None, **style: Any
) -> Any:
    """Draw a score by magnitude with its intervals.

    Parameters
    ----------
    scores : ScoreReport
        As `skyduel.score` returns it.
    quantity : str
        ``completeness``, ``purity`` or another score of the report.
    ax : matplotlib Axes, optional
        Where to draw; new axes if not given.
    **style
        For matplotlib's ``errorbar``, such as ``label`` and ``color``.

    Returns
    -------
    matplotlib Axes
        With the magnitude on x and the score, 0 to 1, on y.

    Raises
    ------
    BadInputError
        If the report has no such score.
    """
    mag, value, error = scores.points(quantity)
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    require_axes("plot_completeness: ax", ax)
    ax.errorbar(mag, value, yerr=error, **{"fmt": "o-", "capsize": 2, "label": quantity, **style})
    ax.set(xlabel="magnitude", ylabel=quantity, ylim=(-0.02, 1.05))
    return ax
