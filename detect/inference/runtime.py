"""What inference asks of a runtime: the network's two parts, on arrays."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["DenseMaps", "Runtime"]

Singles = npt.NDArray[np.float32]


class DenseMaps(NamedTuple):
    """Dense output of one image.

    ``maps`` is float32 of shape (8, ny/2, nx/2), channels as in `DENSE_CHANNELS`; ``features``
    are the runtime's own, for its `Runtime.classify`.
    """

    maps: Singles
    features: Any


class Runtime(Protocol):
    """Computes the network; everything between and after its two parts is in numpy."""

    @property
    def multiple(self) -> int:
        """Number of which the sides of an image are multiples [px]."""

    def dense(self, image: Singles) -> DenseMaps:
        """Return the dense output for the channels of one image, shape (4, ny, nx)."""

    def classify(self, features: Any, xy: Singles) -> tuple[Singles, Singles]:
        """Return class logits (k, 3) and centre offsets (k, 2) [px] of the regions at ``xy``.

        ``features`` are those of one image, ``xy`` (k, 2) positions on it [px].
        """
