"""Classical detectors: SEP, the SExtractor program, DAOFIND and photutils' segmentation."""

from skyduel.baseline.errors import DetectionError
from skyduel.baseline.sep.detector import SepDetector, sep_default, sep_matched
from skyduel.baseline.sep.settings import SepSettings

__all__ = [
    "DetectionError",
    "SepDetector",
    "SepSettings",
    "sep_default",
    "sep_matched",
]
