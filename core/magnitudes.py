"""Magnitudes from fluxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["flux_to_mag"]


def flux_to_mag(flux: npt.NDArray[Any], zero_point: float | None) -> npt.NDArray[Any]:
    """Return the magnitudes of fluxes, ``zero_point - 2.5 log10(flux)``.

    Parameters
    ----------
    flux : ndarray of float, any shape
        Fluxes [ADU].
    zero_point : float or None
        Magnitude of a source of 1 ADU; 0 gives instrumental magnitudes.

    Returns
    -------
    ndarray of float, the shape of ``flux``
        NaN where the flux is not positive, and everywhere without a zero-point.
    """
    if zero_point is None:
        return np.full(np.shape(flux), np.nan)
    return np.asarray(zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)))
