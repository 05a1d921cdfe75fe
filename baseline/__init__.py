"""Classical detectors behind the same call as every other one."""

from baseline.errors import DetectionError
from baseline.registry import available, make_detector
from baseline.sep_detector import SepDetector, sep_default, sep_matched
from baseline.settings import SepSettings
from baseline.tuning import draw_trials

__all__ = [
    "DetectionError",
    "SepDetector",
    "SepSettings",
    "available",
    "draw_trials",
    "make_detector",
    "sep_default",
    "sep_matched",
]
