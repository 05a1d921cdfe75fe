"""Sums: of what falls on the same place, in whatever order, and of neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = ["added", "averaged"]

#: Summands are rounded to this part of one: fine beside noise of 1, and 2³⁹ do not overflow.
_UNITS: Final = float(2**24)


def added(parts: Iterable[tuple[Tensor, Tensor]], size: int, device: torch.device) -> Tensor:
    """Return the sum of the values that fall on each place.

    Parameters
    ----------
    parts : iterable of (where, value)
        Places (int64; -1 is nowhere) and what falls on them, tensors of one shape. Values are
        in units of which 2⁻²⁴ is negligible.
    size : int
        Number of places.
    device : torch.device
        Of all tensors.

    Returns
    -------
    Tensor of float64, shape (size,)
        Multiples of 2⁻²⁴, equal to the bit for every order of the summands: they are added as
        integers.
    """
    total = torch.zeros(size + 1, dtype=torch.int64, device=device)
    for where, value in parts:
        whole = (value.double() * _UNITS).round().long()
        # What is nowhere goes to a place of its own behind the others.
        total.scatter_add_(0, torch.where(where < 0, size, where).flatten(), whole.flatten())
    return total[:size].double() / _UNITS


def averaged(image: Tensor, weights: Sequence[float], axis: int) -> Tensor:
    """Return weighted sums of neighbours along an axis, of which the whole ones are kept.

    A convolution of a single channel is slow on a processor.
    """
    n = image.shape[axis] - len(weights) + 1
    out = weights[0] * image.narrow(axis, 0, n)
    for i, weight in enumerate(weights[1:], start=1):
        out.add_(image.narrow(axis, i, n), alpha=weight)
    return out
