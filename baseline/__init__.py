"""Classical detectors behind the same call as every other one."""

from baseline.errors import DetectionError
from baseline.registry import available, make_detector
from baseline.sep_detector import SepDetector, sep_default, sep_matched
from baseline.settings import SepSettings

__all__ = [
    "DetectionError",
    "SepDetector",
    "SepSettings",
    "available",
    "make_detector",
    "sep_default",
    "sep_matched",
]
