"""Draw streaks of moving objects and trails of satellites."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skyduel.simulation.settings import SceneSettings
from skyduel.simulation.variable_psf import Measured, Zones

__all__ = ["Segment", "Streak", "clip_segment", "draw_segments", "streak_flux"]


class Segment(NamedTuple):
    """Geometry of a streak: centre [px], length [px], direction [rad]; S/N per FWHM of length."""

    x: float
    y: float
    length: float
    theta: float
    per_fwhm: float


class Streak(NamedTuple):
    """A uniform segment: centre [px], flux [ADU], length [px], direction [rad], ideal S/N."""

    x: float
    y: float
    flux: float
    length: float
    theta: float
    snr: float

    def clipped(self, nx: int, ny: int) -> Streak | None:
        """Return the part on the frame, or None if it is shorter than a pixel."""
        part = clip_segment(self.x, self.y, self.length, self.theta, nx, ny)
        if part is None or part[1] - part[0] < 1:
            return None
        low, high = part
        share = (high - low) / self.length
        middle = (low + high) / 2
        return Streak(
            self.x + middle * float(np.cos(self.theta)),
            self.y + middle * float(np.sin(self.theta)),
            self.flux * share,
            high - low,
            self.theta,
            self.snr * float(np.sqrt(share)),
        )


def clip_segment(
    x: float, y: float, length: float, theta: float, nx: int, ny: int
) -> tuple[float, float] | None:
    """Return the distances from its centre [px] at which a segment enters and leaves the frame.

    The frame ends at the outermost pixels' centres. None if the segment misses it.
    """
    low, high = -length / 2, length / 2
    for p, d, last in ((x, np.cos(theta), nx - 1), (y, np.sin(theta), ny - 1)):
        if abs(d) < 1e-9:
            if not 0 <= p <= last:
                return None
            continue
        ends = sorted(((0 - p) / d, (last - p) / d))
        low, high = max(low, float(ends[0])), min(high, float(ends[1]))
    return (low, high) if low < high else None


def draw_segments(s: SceneSettings, rng: np.random.Generator) -> list[Segment]:
    """Draw the segments of a scene: streaks, then satellite trails.

    With ``streak_margin`` some have their centre beside the frame. They are rendered
    whole, and the truth lists them as `Streak.clipped`.
    """
    rows = []
    m = s.streak_margin
    for _ in range(int(rng.poisson(s.streaks))):
        length = float(np.exp(rng.uniform(*np.log(s.streak_length))))
        x, y = rng.uniform(-m, s.nx - 1 + m), rng.uniform(-m, s.ny - 1 + m)
        theta = _direction(s, rng)
        rows.append(Segment(float(x), float(y), length, theta, _brightness(s, rng)))
    for _ in range(int(rng.poisson(s.trails))):
        # A chord through a random point, cut at the border of the frame.
        px, py = rng.uniform(0, s.nx - 1), rng.uniform(0, s.ny - 1)
        theta = float(rng.uniform(-np.pi / 2, np.pi / 2))
        reach = clip_segment(px, py, 4.0 * (s.nx + s.ny), theta, s.nx, s.ny)
        before, after = reach if reach is not None else (-0.5, 0.5)
        middle = (before + after) / 2
        cx, cy = px + middle * np.cos(theta), py + middle * np.sin(theta)
        rows.append(Segment(float(cx), float(cy), after - before, theta, _brightness(s, rng)))
    return rows


def _brightness(s: SceneSettings, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(s.streak_snr))))


def _direction(s: SceneSettings, rng: np.random.Generator) -> float:
    """Draw a direction in [-π/2, π/2), near a row or a column with the set probability."""
    if s.streak_near_axis and rng.random() < s.streak_near_axis:
        theta = np.deg2rad(rng.uniform(-5, 5)) + np.pi / 2 * rng.integers(0, 2)
        return float((theta + np.pi / 2) % np.pi - np.pi / 2)
    return float(rng.uniform(-np.pi / 2, np.pi / 2))


def streak_flux(segment: Segment, field: Zones[Measured], sigma: float) -> Streak:
    """Return the streak of a segment, with the flux of its S/N on noise of ``sigma`` [ADU]."""
    x, y, length, theta, per_fwhm = segment
    fwhm = field.at(x, y).fwhm
    # A long uniform line of λ ADU per px has λ·fwhm ADU within one FWHM of length, with a
    # transverse profile of Σ ≈ 1/(2√π·σ_psf) per px, σ_psf = fwhm/2.355.
    across = 2.3548 / (2 * np.sqrt(np.pi) * fwhm)
    line = per_fwhm * sigma / np.sqrt(across * fwhm)
    flux = line * length
    snr = line * np.sqrt(across * length) / sigma
    return Streak(x, y, float(flux), length, theta, float(snr))
