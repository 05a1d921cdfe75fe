"""Distance of positions to the nearest masked area."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from skyduel.core.frame import MOST_FWHM_PX

__all__ = ["mask_distance"]

_Floats = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]

# An area has an edge if it holds a square of this side [px]. A masked hot pixel or cosmic ray
# leaves most of a star, and with one per cent of the pixels masked, most stars have one nearby.
_LEAST_SIDE: Final = 3


def mask_distance(mask: _Bools, x: _Floats, y: _Floats) -> _Floats:
    """Return the distance of each position to the nearest masked area [px].

    Parameters
    ----------
    mask : ndarray of bool, shape (ny, nx)
        True for masked pixels. Only areas that hold a square of 3 x 3 pixels count: lone
        pixels and single bad columns do not.
    x, y : ndarray of float64, shape (n,)
        Positions [px, 0-based].

    Returns
    -------
    ndarray of float64, shape (n,)
        Distance to the masked pixel whose centre is nearest, 0 on the area;
        NaN beyond 50 px (`MOST_FWHM_PX`), and where nothing is masked.
    """
    out = np.full(x.size, np.nan)
    if not mask.any():
        return out
    wide = _wide(mask)
    rim_y, rim_x = np.nonzero(_rim(wide))
    placed = np.isfinite(x) & np.isfinite(y)
    if rim_x.size == 0 or not placed.any():
        return out
    tree = scipy.spatial.cKDTree(np.column_stack([rim_x, rim_y]).astype(np.float64))
    at = np.column_stack([x[placed], y[placed]])
    far, nearest = tree.query(at, distance_upper_bound=MOST_FWHM_PX + 1.0)
    near = np.isfinite(far)
    beside = np.maximum(np.abs(at[near] - tree.data[np.asarray(nearest)[near]]) - 0.5, 0.0)
    out[np.flatnonzero(placed)[near]] = np.hypot(beside[:, 0], beside[:, 1])
    out[out > MOST_FWHM_PX] = np.nan
    ny, nx = mask.shape
    on = placed & (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    row, column = (np.floor(v[on] + 0.5).astype(np.int64) for v in (y, x))
    # Inside a wide area the rim is far away.
    out[np.flatnonzero(on)[wide[row, column]]] = 0.0
    return out


def _wide(mask: _Bools) -> _Bools:
    """Return the mask without what holds no square of 3 x 3 pixels."""
    core = mask
    for axis in (0, 1):
        core = _run(core, axis, np.logical_and)
    for axis in (0, 1):
        core = _run(np.pad(core, [(2, 2) if a == axis else (0, 0) for a in (0, 1)]), axis,
                    np.logical_or)  # fmt: skip
    return core


def _run(mask: _Bools, axis: int, join: np.ufunc) -> _Bools:
    """Join each three neighbours along an axis, which becomes two shorter."""
    n = mask.shape[axis] - _LEAST_SIDE + 1
    if n <= 0:
        return np.zeros([0 if a == axis else s for a, s in enumerate(mask.shape)], dtype=bool)
    parts = [mask[k : k + n] if axis == 0 else mask[:, k : k + n] for k in range(_LEAST_SIDE)]
    return np.asarray(join(join(parts[0], parts[1]), parts[2]))


def _rim(mask: _Bools) -> _Bools:
    """Return the masked pixels that have an unmasked neighbour, or lie at the border."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = (
        mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:] & mask[1:-1, 1:-1]
    )
    return mask & ~inner
