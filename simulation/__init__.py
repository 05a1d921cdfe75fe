"""Frames whose truth is known: point-spread functions, star fields, streaks and artefacts.

Everything random comes from the generator handed in. Positions are 0-based
with the integer at the pixel's centre, fluxes are ADU.
"""

from simulation.families import FAMILIES, draw_settings, draw_training_settings
from simulation.flipped import sign_flipped
from simulation.injection import (
    InjectionSettings,
    draw_injected,
    holds_integers,
    inject,
    read_psf,
)
from simulation.lookup import MeasuredPsf
from simulation.measured import measure_psf
from simulation.psf import Aberrations, Psf, make_psf
from simulation.scene import ideal_snr, simulate
from simulation.settings import SceneSettings

__all__ = [
    "FAMILIES",
    "Aberrations",
    "InjectionSettings",
    "MeasuredPsf",
    "Psf",
    "SceneSettings",
    "draw_injected",
    "draw_settings",
    "draw_training_settings",
    "holds_integers",
    "ideal_snr",
    "inject",
    "make_psf",
    "measure_psf",
    "read_psf",
    "sign_flipped",
    "simulate",
]
