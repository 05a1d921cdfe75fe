"""Sample the settings that tuning tries: a Latin hypercube over a detector's search space."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyduel.core.errors import ArgumentError
from skyduel.core.search_space import Space

__all__ = ["draw_trials"]


def draw_trials(space: Space | None, n: int, seed: int) -> list[dict[str, Any]]:
    """Draw n trials, each a change of the settings; the first changes nothing.

    The others are a Latin hypercube over the space: the range of each setting is
    divided into as many intervals as there are trials, and each interval is sampled once
    (McKay, Beckman & Conover 1979, Technometrics 21, 239).

    Parameters
    ----------
    space : mapping or None
        The search space. If it is None or empty, only the first trial is returned.
    n : int
        Number of trials including the first; at least 1.
    seed : int
        Seed of the random numbers.

    Raises
    ------
    BadInputError
        If n is less than 1.
    """
    if n < 1:
        raise ArgumentError("trials", "at least 1", repr(n))
    trials: list[dict[str, Any]] = [{}]
    if not space or n == 1:
        return trials
    from scipy.stats import qmc  # slow to load and not needed for detection

    names = list(space)
    sampler = qmc.LatinHypercube(len(names), seed=np.random.default_rng(seed))
    for row in sampler.random(n - 1):
        trials.append({name: space[name].at(float(u)) for name, u in zip(names, row, strict=True)})
    return trials
