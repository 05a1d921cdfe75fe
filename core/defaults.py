"""Values that several packages share, each under the name of its role."""

from __future__ import annotations

from typing import Final

__all__ = [
    "FAINT_SNR",
    "PAIRING_RADIUS_PX",
    "STREAK_ANGLE_DEG",
    "UNKNOWN_FWHM_APERTURE_PX",
    "UNKNOWN_FWHM_FILTER_PX",
]

# Two values for a frame whose FWHM is unknown, because an error costs different things:
# a filter that is too wide blends neighbours, an aperture that is too small loses flux.
# To make them equal would change the results of the shipped detectors.

#: FWHM of a detection filter where the frame's is unknown [px]: near that of SExtractor's
#: default filter, and where a search for the profile starts.
UNKNOWN_FWHM_FILTER_PX: Final = 2.5
#: FWHM for apertures, centroid windows and the surroundings of a source where the frame's is
#: unknown [px]: the middle of the usual 2 to 4 px.
UNKNOWN_FWHM_APERTURE_PX: Final = 3.0

# The scorer's rules, and the same in training and calibration of the neural detector, which
# learns to be right by them.

#: Largest distance of a detection from its source [px].
PAIRING_RADIUS_PX: Final = 2.0
#: A source of a lower S/N in an ideal measurement is ignored as too faint.
FAINT_SNR: Final = 2.0
#: Largest angle between a streak and its source [deg].
STREAK_ANGLE_DEG: Final = 10.0
