"""Compiled kernels that need neither torch nor Python's C interface, called by ctypes.

Every kernel has a slow counterpart with the same results, which is used where the library has
not been built, and with which the tests compare it. ROIAlign and soft-NMS are the kernels of
`skyduel.cuda_ops` (its headers), here without torch.
"""

from skyduel.core.native.close_pairs import neighbours
from skyduel.core.native.context import context_features, nearest_higher
from skyduel.core.native.library import is_available
from skyduel.core.native.logistic import fit_logistic
from skyduel.core.native.operators import roi_align, soft_nms
from skyduel.core.native.windowed import half_light_radius, windowed_position

__all__ = [
    "context_features",
    "fit_logistic",
    "half_light_radius",
    "is_available",
    "nearest_higher",
    "neighbours",
    "roi_align",
    "soft_nms",
    "windowed_position",
]
