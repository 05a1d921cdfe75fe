"""Search spaces of the SEP detectors: the settings worth trying, and their ranges."""

from __future__ import annotations

from typing import Final

from skyduel.baseline.sep.settings import SepSettings
from skyduel.core.search_space import Choice, Range, Space

__all__ = ["CLEANING_SPACE", "sep_space"]

#: Settings common to every way of thresholding.
_SEP: Final[Space] = {
    "kernel_fwhm_scale": Range(0.7, 1.5, log=True),
    "DETECT_MINAREA": Range(1, 6, log=True, integer=True),
    "DEBLEND_NTHRESH": Choice((16, 32, 64)),
    "DEBLEND_MINCONT": Range(1e-5, 0.05, log=True),
    "CLEAN": Choice((False, True)),
    "BACK_SIZE": Choice((16, 32, 64, 128)),
}

#: Settings of the cleaning.
CLEANING_SPACE: Final[Space] = {
    "cosmic_sigclip": Choice((4.5, 6.0, 8.0)),
    "cosmic_objlim": Choice((2.0, 5.0)),
    "cosmic_grow_px": Choice((0, 1)),
}


def sep_space(settings: SepSettings) -> Space:
    """Return the search space of SEP for its way of thresholding.

    Nothing is extracted below the threshold. It is in units of the unfiltered noise for
    the ``convolved`` thresholding and in units of signal-to-noise otherwise, so there
    are two ranges.
    """
    if settings.thresholding != "convolved":
        return {"DETECT_THRESH": Range(2.0, 4.0), **_SEP}
    kernels = Choice(("default", "gaussian"))
    return {"DETECT_THRESH": Range(0.6, 3.0, log=True), "kernel": kernels, **_SEP}
