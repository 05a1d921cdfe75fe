"""Many fits of a logistic with floor and ceiling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skyduel.core.native.library import library, pointer, threads

__all__ = ["fit_logistic"]

Floats = npt.NDArray[np.float64]


def fit_logistic(
    x: Floats, k: Floats, n: Floats, theta: Floats, bounds: tuple[Floats, Floats], gain: float
) -> Floats | None:
    """Return the parameters of highest likelihood for each row of k and n, shape (b, 4).

    Parameters
    ----------
    x : ndarray, shape (g,)
        Abscissa.
    k, n : ndarray, shape (b, g)
        Sources found, and all of them.
    theta : ndarray, shape (b, 4)
        Where to start.
    bounds : tuple of ndarray of float64, shape (4,)
        Lowest and highest parameters.
    gain : float
        A step that gains less log-likelihood is the last.

    Returns
    -------
    ndarray of float64, shape (b, 4), or None
        None without the compiled library: the caller then fits in its own way.

    Raises
    ------
    MemoryError
        If there is no memory for the work.
    """
    loaded = library()
    if loaded is None:
        return None
    x, k, n, low, high = (np.ascontiguousarray(v, np.float64) for v in (x, k, n, *bounds))
    fitted = np.array(theta, dtype=np.float64, order="C")
    failed = loaded.skyduel_fit_logistic(
        pointer(x), len(x), pointer(k), pointer(n), len(fitted), pointer(low), pointer(high),
        gain, threads(), pointer(fitted),
    )  # fmt: skip
    if failed:
        raise MemoryError(f"fits of {k.shape} sources")
    return fitted
