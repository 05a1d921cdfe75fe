"""Search spaces of settings, and the two protocols of a detector that can be tuned.

They are optional parts of the contract in `skyduel.core.detector`. `Tunable` names the settings
that ``skyduel run --tune`` may choose and their ranges. `TunesInOnePass` also runs several
settings on one frame and shares the work between them; without it the runner builds the
detector once for each trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame

__all__ = ["Choice", "Range", "Space", "Tunable", "TunesInOnePass"]


@dataclass(frozen=True)
class Range:
    """A range of numbers from ``low`` to ``high``, both included.

    Parameters
    ----------
    low, high : float
        The bounds, ``low < high``.
    log : bool
        If True, sample uniformly in the logarithm; requires ``low > 0``.
    integer : bool
        If True, sample integers with equal probabilities.

    Raises
    ------
    BadInputError
        If the bounds are not finite or not in order.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        ok = np.isfinite([self.low, self.high]).all() and self.low < self.high
        if not ok or (self.log and self.low <= 0):
            required = "0 < low < high" if self.log else "low < high, both finite"
            raise BadInputError("range of a setting", required, f"{self.low!r}, {self.high!r}")

    def at(self, u: float) -> float | int:
        """Return the value at a fraction ``u`` in [0, 1) of the range."""
        low, high = float(self.low), float(self.high)
        if self.integer:
            low, high = low - 0.5, high + 0.5
        if self.log:
            low = max(low, 0.5) if self.integer else low
            value = float(np.exp(np.log(low) + u * (np.log(high) - np.log(low))))
        else:
            value = low + u * (high - low)
        if self.integer:
            return int(np.clip(np.floor(value + 0.5), self.low, self.high))
        # Four significant digits are precise enough for a setting, and readable in a table.
        return float(np.clip(float(f"{value:.4g}"), self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """A choice among several values, all with equal probability.

    Raises
    ------
    BadInputError
        If the list of values is empty.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise BadInputError("choice of a setting", "at least one value", "none")

    def at(self, u: float) -> Any:
        """Return the value at a fraction ``u`` in [0, 1) of the list."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


#: Settings to tune, by name. A score threshold does not belong here: for every trial the
#: runner chooses it exactly, from the scores of the returned catalogues.
Space = Mapping[str, Range | Choice]


@runtime_checkable
class Tunable(Protocol):
    """A detector whose settings can be tuned.

    Its settings must be a pydantic model, and the factory must take them as keyword arguments.
    """

    @property
    def tuning_space(self) -> Space:
        """Fields of ``settings`` to tune, by name, with the values to try."""


@runtime_checkable
class TunesInOnePass(Protocol):
    """A detector that tries several settings on one frame and shares work between them."""

    def variants(self, frame: Frame, changes: Sequence[Mapping[str, Any]]) -> Iterator[Catalog]:
        """Yield one catalogue for each change of settings, in order.

        Positions, kinds, lengths, angles and scores must equal those of a detector
        built with the change; fluxes may be missing.

        Parameters
        ----------
        frame : Frame
            The frame to search.
        changes : sequence of mapping
            Settings that differ from the detector's own, by name.
        """
