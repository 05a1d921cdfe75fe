"""What the maps of the network mean: cells, channels and classes. Needs no torch."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["DENSE_CHANNELS", "ROI_BOX_PX", "ROI_KINDS", "STRIDE", "cell_centres", "source_boxes"]

#: Pixels per cell of the map on which sources are proposed.
STRIDE: Final = 2
#: Side of the square around a proposal from which the RoI head takes features [px].
ROI_BOX_PX: Final = 14.0
#: Classes of the RoI head, in order.
ROI_KINDS: Final = ("background", "point", "streak")
#: Channels of the dense output, in order; offsets in px, angles doubled.
DENSE_CHANNELS: Final = (
    "point", "dx", "dy", "streak", "cos2", "sin2", "ridge_dx", "ridge_dy",
)  # fmt: skip


def cell_centres(ny: int, nx: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return x and y [px] of the centres of ny × nx cells, each of shape (ny, nx)."""
    y = np.arange(ny, dtype=np.float32) * STRIDE + (STRIDE - 1) / 2
    x = np.arange(nx, dtype=np.float32) * STRIDE + (STRIDE - 1) / 2
    return np.broadcast_to(x, (ny, nx)), np.broadcast_to(y[:, None], (ny, nx))


def source_boxes(
    xy: npt.NDArray[np.floating], side_px: float = ROI_BOX_PX
) -> npt.NDArray[np.floating]:
    """Return square boxes centred on the sources ``xy`` (k, 2), as xyxy edges [px], (k, 4)."""
    # Pixel centres are at integers; pixel edges lie half a pixel away.
    half = side_px / 2
    return np.concatenate([xy + 0.5 - half, xy + 0.5 + half], axis=1)
