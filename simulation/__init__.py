"""Frames whose truth is known: point-spread functions, star fields, streaks and artefacts.

Everything random comes from the generator handed in. Positions are 0-based
with the integer at the pixel's centre, fluxes are ADU.
"""

from simulation.families import FAMILIES, draw_settings, draw_training_settings
from simulation.psf import Aberrations, Psf, make_psf
from simulation.scene import SceneSettings, ideal_snr, simulate

__all__ = [
    "FAMILIES",
    "Aberrations",
    "Psf",
    "SceneSettings",
    "draw_settings",
    "draw_training_settings",
    "ideal_snr",
    "make_psf",
    "simulate",
]
