"""One axis of a panel: its scale, limits and ticks, which panels may share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "nice_ticks"]

Floats = npt.NDArray[np.float64]

#: Room beside the data, as a share of their range.
_MARGIN: Final = 0.05
#: Relative scale of the linear part of a symmetric logarithm.
_LINEAR: Final = 1 / 0.9
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass
class Axis:
    """Scale, limits and ticks of one axis; shared panels hold the same object."""

    scale: str = "linear"
    linthresh: float = 1.0
    fixed: tuple[float, float] | None = None
    low: float = math.inf
    high: float = -math.inf
    sticky: set[float] = field(default_factory=set)
    ticks: list[float] | None = None
    labels: list[str] | None = None
    size: float = 9.0
    rotation: float = 0.0

    def see(self, *values: Any) -> None:
        """Widen the range of the data by finite values."""
        for value in values:
            array = np.asarray(value, dtype=np.float64).ravel()
            array = array[np.isfinite(array)]
            if self.scale == "log":
                array = array[array > 0]
            if len(array):
                self.low = min(self.low, float(array.min()))
                self.high = max(self.high, float(array.max()))

    def see_beyond(self, value: float) -> None:
        """Widen the range by a value outside the limits, as matplotlib does for a line across."""
        low, high = sorted(self.limits)
        if not low <= value <= high:
            self.see(value)

    @property
    def limits(self) -> tuple[float, float]:
        """The limits that were set, else those of the data with some room."""
        if self.fixed is not None:
            return self.fixed
        if not self.low <= self.high:
            return (0.0, 1.0) if self.scale != "log" else (1.0, 10.0)
        low, high = (float(v) for v in self.forward([self.low, self.high]))
        if low == high:
            low, high = low - max(abs(low), 1.0) * 0.05, high + max(abs(high), 1.0) * 0.05
        room = _MARGIN * (high - low)
        ends = [low if self.low in self.sticky else low - room]
        ends.append(high if self.high in self.sticky else high + room)
        back = self.backward(ends)
        return float(back[0]), float(back[1])

    def forward(self, values: Any) -> Floats:
        """Return values on the scale's own axis, on which distances are drawn."""
        v = np.asarray(values, dtype=np.float64)
        if self.scale == "log":
            return np.asarray(np.log10(np.where(v > 0, v, np.nan)))
        if self.scale == "symlog":
            with np.errstate(divide="ignore", invalid="ignore"):
                far = np.sign(v) * self.linthresh * (_LINEAR + np.log10(np.abs(v) / self.linthresh))
            return np.asarray(np.where(np.abs(v) > self.linthresh, far, v * _LINEAR))
        return v

    def backward(self, values: Any) -> Floats:
        """Return the inverse of `forward`."""
        v = np.asarray(values, dtype=np.float64)
        if self.scale == "log":
            return np.asarray(10.0**v)
        if self.scale == "symlog":
            edge = self.linthresh * _LINEAR
            power = np.minimum(np.abs(v) / self.linthresh - _LINEAR, 300.0)
            far = np.sign(v) * self.linthresh * 10.0**power
            return np.asarray(np.where(np.abs(v) > edge, far, v / _LINEAR))
        return v

    def place(self, values: Any) -> Floats:
        """Return where values stand between the limits, 0 … 1."""
        low, high = (float(v) for v in self.forward(self.limits))
        return np.asarray((self.forward(values) - low) / ((high - low) or 1.0))

    def shown_ticks(self, length: float) -> list[tuple[float, str]]:
        """Return the ticks inside the limits with their labels, on an axis `length` pt long."""
        low, high = sorted(self.limits)
        ticks = self.ticks if self.ticks is not None else nice_ticks(low, high, length / 32)
        labels = self.labels if self.labels is not None else _texts(ticks)
        slack = 1e-6 * (high - low)
        pairs = zip(ticks, labels, strict=True)
        return [(t, label) for t, label in pairs if low - slack <= t <= high + slack]

    def set_ticks(
        self,
        ticks: Sequence[float],
        labels: Sequence[str] | None,
        size: float,
        rotation: float,
    ) -> None:
        """Set ticks; the limits widen to hold them, as in matplotlib."""
        self.ticks = [float(t) for t in ticks]
        self.labels = None if labels is None else [str(label) for label in labels]
        self.size, self.rotation = size, rotation
        if self.fixed is None:
            self.see(self.ticks)
        elif self.ticks:
            low, high = self.fixed
            ends = [*self.ticks, low, high]
            self.fixed = (min(ends), max(ends)) if low < high else (max(ends), min(ends))


def nice_ticks(low: float, high: float, most: float) -> list[float]:
    """Return round values in a range, in round steps, about `most` of them at the most."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    raw = span / min(max(most, 2.0), 9.0)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s for s in _STEPS if s * power >= raw * 0.999) * power
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _texts(ticks: Sequence[float]) -> list[str]:
    """Return ticks as numbers with as many decimals as their steps need."""
    steps = np.diff(ticks) if len(ticks) > 1 else np.asarray([abs(t) or 1.0 for t in ticks])
    least = float(np.min(steps)) if len(steps) else 1.0
    digits = 0
    while digits < 6 and abs(round(least, digits) - least) > 1e-6 * least:
        digits += 1
    return [f"{t + 0.0:.{digits}f}".replace("-", "−") for t in ticks]
