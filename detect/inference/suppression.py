"""Soft-NMS: lower the scores of proposals that overlap one of higher score."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from skyduel.core.native import soft_nms
from skyduel.detect.model.layout import source_boxes

__all__ = ["DEFAULT_SIGMA", "suppress"]

#: Width of the Gaussian of soft-NMS, in IoU; scores are calibrated at this value.
DEFAULT_SIGMA: Final = 0.25
#: Side of the square around a source whose overlap soft-NMS penalises [px]. With 4 px and
#: σ = 0.25, two sources 1 px apart (IoU 0.6) leave the fainter a quarter of its score, 2 px
#: apart (IoU 1/3) two thirds, 4 px apart all of it.
_BOX_PX: Final = 4.0
#: Sources that fall below this probability are dropped.
_LOWEST: Final = 1e-3


def suppress(
    xy: npt.NDArray[np.float64], logits: npt.NDArray[np.float64], sigma: float = DEFAULT_SIGMA
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Apply Gaussian soft-NMS; return indices of the kept sources, by falling score, and logits.

    Parameters
    ----------
    xy : ndarray of float64, shape (k, 2)
        Positions [px].
    logits : ndarray of float64, shape (k,)
        Logit of each source; soft-NMS lowers the corresponding probability.
    sigma : float
        Width of the Gaussian, in IoU of 4 px squares.

    Notes
    -----
    Bodla et al. 2017, ICCV, eq. 3.
    """
    if len(logits) == 0:
        return np.zeros(0, dtype=np.intp), logits
    # Positions relative to a corner: float32 resolves 1/256 px only up to 65k px.
    corner = np.floor(xy.min(axis=0))
    kept, decayed = soft_nms(
        source_boxes(xy - corner, _BOX_PX).astype(np.float32),
        expit(logits).astype(np.float32),
        sigma,
        _LOWEST,
    )
    order = kept.astype(np.intp)
    # A score that did not change is rounded to float32; its input logit is exact.
    changed = logit(np.clip(decayed.astype(np.float64), _LOWEST, 1 - 1e-12))
    return order, np.minimum(changed, logits[order])
