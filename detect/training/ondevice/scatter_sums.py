"""Reproducible scatter sums, and weighted sums of neighbouring pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = ["added", "averaged"]

#: Number of steps per unit to which summands are rounded: fine relative to noise of 1, and 2³⁹
#: summands do not overflow.
_UNITS: Final = float(2**24)


def added(parts: Iterable[tuple[Tensor, Tensor]], size: int, device: torch.device) -> Tensor:
    """Sum the values at each index.

    Parameters
    ----------
    parts : iterable of (where, value)
        Indices (int64; values at -1 are dropped) and values, tensors of the same shape. Values
        are in units of which 2⁻²⁴ is negligible.
    size : int
        Number of indices.
    device : torch.device
        Device of all tensors.

    Returns
    -------
    Tensor of float64, shape (size,)
        Multiples of 2⁻²⁴, equal to the bit for every order of the summands: they are added as
        integers.
    """
    total = torch.zeros(size + 1, dtype=torch.int64, device=device)
    for where, value in parts:
        whole = (value.double() * _UNITS).round().long()
        # Values at -1 are summed in an extra element behind the others.
        total.scatter_add_(0, torch.where(where < 0, size, where).flatten(), whole.flatten())
    return total[:size].double() / _UNITS


def averaged(image: Tensor, weights: Sequence[float], axis: int) -> Tensor:
    """Return weighted sums of neighbours along an axis, where all neighbours exist.

    A convolution of a single channel is slow on a CPU.
    """
    n = image.shape[axis] - len(weights) + 1
    out = weights[0] * image.narrow(axis, 0, n)
    for i, weight in enumerate(weights[1:], start=1):
        out.add_(image.narrow(axis, i, n), alpha=weight)
    return out
