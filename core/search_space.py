"""What a detector says of the settings that may be chosen for it, and how."""

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
    """Numbers from ``low`` to ``high``, both included.

    Parameters
    ----------
    low, high : float
        The bounds, ``low < high``.
    log : bool
        Spread evenly in the logarithm; then ``low > 0``.
    integer : bool
        Whole numbers, each as likely as the next.

    Raises
    ------
    BadInputError
        If the bounds are none.
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
        # Four digits are more than a setting is known to, and can be read.
        return float(np.clip(float(f"{value:.4g}"), self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely as the next.

    Raises
    ------
    BadInputError
        If there is none.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise BadInputError("choice of a setting", "at least one value", "none")

    def at(self, u: float) -> Any:
        """Return the value at a fraction ``u`` in [0, 1) of the list."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


#: Settings that may be chosen, by name. A score threshold is not among them: it is
#: chosen exactly, for every trial, from the scores that come back.
Space = Mapping[str, Range | Choice]


@runtime_checkable
class Tunable(Protocol):
    """A detector that says which of its settings may be chosen for it."""

    @property
    def tuning_space(self) -> Space:
        """Names of fields of ``settings`` with the values worth trying."""


@runtime_checkable
class TunesInOnePass(Protocol):
    """A detector that can share work between settings tried on one frame."""

    def variants(self, frame: Frame, changes: Sequence[Mapping[str, Any]]) -> Iterator[Catalog]:
        """Yield the catalogue under each change of settings, in order.

        Positions, kinds, lengths, angles and scores must be those of a detector
        made with the change; fluxes may be missing.
        """
