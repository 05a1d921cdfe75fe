"""Simulate frames with truth: point-spread functions, star fields, streaks and artefacts.

All random numbers come from the generator passed in. Positions are 0-based with
integers at pixel centres; fluxes are in ADU.
"""

from skyduel.simulation.frame_kinds import (
    FAMILIES,
    FURTHER_FAMILIES,
    draw_settings,
    draw_training_settings,
    draw_undersampled_settings,
)
from skyduel.simulation.injection import (
    InjectionSettings,
    draw_injected,
    holds_integers,
    inject,
    read_psf,
)
from skyduel.simulation.measure_psf import measure_psf
from skyduel.simulation.measured_psf_model import MeasuredPsf
from skyduel.simulation.psf import Aberrations, Psf, make_psf
from skyduel.simulation.scene import ideal_snr, simulate
from skyduel.simulation.settings import SceneSettings
from skyduel.simulation.sign_flip import FlippedFrame, sign_flipped

__all__ = [
    "FAMILIES",
    "FURTHER_FAMILIES",
    "Aberrations",
    "FlippedFrame",
    "InjectionSettings",
    "MeasuredPsf",
    "Psf",
    "SceneSettings",
    "draw_injected",
    "draw_settings",
    "draw_training_settings",
    "draw_undersampled_settings",
    "holds_integers",
    "ideal_snr",
    "inject",
    "make_psf",
    "measure_psf",
    "read_psf",
    "sign_flipped",
    "simulate",
]
