"""Which settings of the classical detectors are worth trying, and how trials are drawn."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from baseline.settings import SepSettings
from catalog.errors import BadInputError
from catalog.tuning import Choice, Range, Space

__all__ = ["CLEANING_SPACE", "DAOFIND_SPACE", "draw_trials", "sep_space"]

#: What is common to every way of thresholding.
_SEP: Final[Space] = {
    "kernel_fwhm_scale": Range(0.7, 1.5, log=True),
    "DETECT_MINAREA": Range(1, 6, log=True, integer=True),
    "DEBLEND_NTHRESH": Choice((16, 32, 64)),
    "DEBLEND_MINCONT": Range(1e-5, 0.05, log=True),
    "CLEAN": Choice((False, True)),
    "BACK_SIZE": Choice((16, 32, 64, 128)),
}

#: How readily a frame is cleaned.
CLEANING_SPACE: Final[Space] = {
    "cosmic_sigclip": Choice((4.5, 6.0, 8.0)),
    "cosmic_objlim": Choice((2.0, 5.0)),
    "cosmic_grow_px": Choice((0, 1)),
}

#: DAOFIND's own settings, and the sky's mesh.
DAOFIND_SPACE: Final[Space] = {
    "kernel_fwhm_scale": Range(0.7, 1.5, log=True),
    "threshold": Range(2.0, 4.0),
    "sigma_radius": Range(1.5, 3.5),
    "sharpness_lo": Range(0.0, 0.5),
    "sharpness_hi": Range(0.8, 2.0),
    "roundness_limit": Range(0.5, 2.0),
    "min_separation_fwhm": Range(0.0, 0.8),
    "BACK_SIZE": Choice((16, 32, 64, 128)),
    "peaks": Choice(("daofind", "matched")),
    "score": Choice(("matched", "daofind")),
}


def sep_space(settings: SepSettings) -> Space:
    """Return what may be chosen for SEP, given how it thresholds.

    The threshold is the floor below which nothing is extracted; it is in
    units of the unfiltered noise where the filtered image is held against that
    (``convolved``), else in units of signal-to-noise, hence two ranges.
    """
    if settings.thresholding != "convolved":
        return {"DETECT_THRESH": Range(2.0, 4.0), **_SEP}
    kernels = Choice(("default", "gaussian"))
    return {"DETECT_THRESH": Range(0.6, 3.0, log=True), "kernel": kernels, **_SEP}


def draw_trials(space: Space | None, n: int, seed: int) -> list[dict[str, Any]]:
    """Return n trials, changes of settings; the first changes nothing.

    The others are a Latin hypercube over the space: each setting's range is
    cut in as many parts as there are trials, and each part is tried once
    (McKay, Beckman & Conover 1979, Technometrics 21, 239).

    Parameters
    ----------
    space : mapping or None
        What may be chosen; with None or nothing in it there is the first trial alone.
    n : int
        How many, the first included; at least 1.
    seed : int
        The same seed draws the same trials.

    Raises
    ------
    BadInputError
        If n is less than 1.
    """
    if n < 1:
        raise BadInputError("--trials", "at least 1", repr(n))
    trials: list[dict[str, Any]] = [{}]
    if not space or n == 1:
        return trials
    from scipy.stats import qmc  # slow to load, and detecting does without

    names = list(space)
    sampler = qmc.LatinHypercube(len(names), seed=np.random.default_rng(seed))
    for row in sampler.random(n - 1):
        trials.append({name: space[name].at(float(u)) for name, u in zip(names, row, strict=True)})
    return trials
