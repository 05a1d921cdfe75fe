"""Random sampling of a frame's sources and defects, before profiles and pixels are computed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skyduel.simulation.artefacts import (
    Box,
    Hits,
    SmearLine,
    draw_bad_lines,
    draw_cosmic_rays,
    draw_hot_pixels,
    draw_level_steps,
    draw_smear_lines,
)
from skyduel.simulation.psf import RADIUS
from skyduel.simulation.settings import SceneSettings
from skyduel.simulation.streaks import Segment, draw_segments

__all__ = [
    "Defects",
    "GalaxyShapes",
    "SceneSources",
    "Stars",
    "draw_defects",
    "draw_sources",
    "sample_magnitudes",
]

Floats = npt.NDArray[np.float64]


class Stars(NamedTuple):
    """Centres [px] and magnitudes relative to the faintest star, each of shape (n,)."""

    x: Floats
    y: Floats
    magnitude: Floats


class GalaxyShapes(NamedTuple):
    """Columns of the galaxies, each of shape (n,); see `skyduel.simulation.galaxies.galaxy_points`.

    ``magnitude`` is relative to a galaxy of the same S/N as the faintest star.
    """

    x: Floats
    y: Floats
    radius: Floats
    ratio: Floats
    theta: Floats
    sersic: Floats
    magnitude: Floats


class SceneSources(NamedTuple):
    """Sources of a scene, and smear of stars beside the frame."""

    stars: Stars
    segments: list[Segment]
    galaxies: GalaxyShapes | None
    smear_lines: list[SmearLine]


class Defects(NamedTuple):
    """Detector defects added after the exposure: before bleeding, and after it."""

    hits: list[Hits]
    boxes: list[list[Box]]


def sample_magnitudes(n: int, slope: float, span_mag: float, rng: np.random.Generator) -> Floats:
    """Draw ``n`` magnitudes relative to the limit, in [-span_mag, 0], dN/dm ∝ 10^(slope·m)."""
    u = rng.random(n)
    if abs(slope) < 1e-9:
        return np.asarray(-span_mag * u)
    low = 10.0 ** (-slope * span_mag)
    return np.asarray(np.log10(low + u * (1 - low)) / slope)


def draw_sources(s: SceneSettings, rng: np.random.Generator) -> SceneSources:
    """Draw the sources of a scene."""
    span = 2.5 * np.log10(max(s.max_snr / s.min_snr, 1.0))
    # The light of stars up to this distance beside the frame may reach it.
    margin = max(RADIUS, s.aureole_radius) if s.aureole else RADIUS
    n = int(rng.poisson(s.density * (s.ny + 2 * margin) * (s.nx + 2 * margin)))
    stars = Stars(
        rng.uniform(-margin - 0.5, s.nx + margin - 0.5, n),
        rng.uniform(-margin - 0.5, s.ny + margin - 0.5, n),
        sample_magnitudes(n, s.slope, span, rng),
    )
    segments = draw_segments(s, rng)
    galaxies = _draw_galaxies(s, span, rng) if s.galaxies else None
    lines = []
    if s.smear_lines:
        count = int(rng.poisson(s.smear_lines))
        lines = draw_smear_lines((s.ny, s.nx), count, s.sky_sigma, rng, s.smear_axis)
    return SceneSources(stars, segments, galaxies, lines)


def _draw_galaxies(s: SceneSettings, span: float, rng: np.random.Generator) -> GalaxyShapes:
    n = int(rng.poisson(s.galaxies * s.ny * s.nx))
    small, large = np.log(s.galaxy_radius)
    return GalaxyShapes(
        x=rng.uniform(-0.5, s.nx - 0.5, n),
        y=rng.uniform(-0.5, s.ny - 0.5, n),
        radius=np.exp(rng.uniform(small, large, n)),
        ratio=rng.uniform(0.25, 1.0, n),
        theta=rng.uniform(0, np.pi, n),
        sersic=rng.choice([1.0, 1.0, 4.0], n),
        # Drawn by S/N, like stars, so that large galaxies are detectable as often as small ones.
        magnitude=sample_magnitudes(n, s.slope, min(span, 6.0), rng),
    )


def draw_defects(s: SceneSettings, rng: np.random.Generator) -> Defects:
    """Draw the detector defects of a scene."""
    shape, sigma, mega = (s.ny, s.nx), s.sky_sigma, s.ny * s.nx / 1e6
    hits, boxes = [], []
    if s.cosmic_rays:
        hits.append(draw_cosmic_rays(shape, int(rng.poisson(s.cosmic_rays * mega)), sigma, rng))
    if s.hot_pixels:
        hits.append(draw_hot_pixels(shape, int(rng.poisson(s.hot_pixels * mega)), sigma, rng))
    for axis, mean in enumerate((s.bad_columns, s.bad_rows)):
        if mean:
            boxes.append(draw_bad_lines(shape, int(rng.poisson(mean)), sigma, rng, axis))
    if s.level_steps:
        boxes.append(draw_level_steps(shape, int(rng.poisson(s.level_steps)), sigma, rng))
    return Defects(hits, boxes)
