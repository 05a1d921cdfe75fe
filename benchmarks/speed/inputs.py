"""The simulated frames that the programs about the detector share."""

from __future__ import annotations

import numpy as np

from skyduel.core import Frame
from skyduel.simulation import draw_settings, simulate

FRAME_PX = 2048


def frame_of(family: str, side: int = FRAME_PX) -> Frame:
    rng = np.random.default_rng(2026)
    frame, _ = simulate(draw_settings(family, rng, ny=side, nx=side), rng, family)
    return frame
