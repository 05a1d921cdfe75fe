"""Simulate one frame with its truth."""

from __future__ import annotations

from numbers import Real
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.core.errors import as_numbers, takes
from skyduel.core.frame import Frame
from skyduel.core.magnitudes import flux_to_mag
from skyduel.simulation.artefacts import (
    bleed,
    correlate,
    paint_boxes,
    paint_hits,
    readout_smear,
    smear_lines,
)
from skyduel.simulation.galaxies import galaxy_points, galaxy_psf_sum2
from skyduel.simulation.psf import OVERSAMPLING, Psf, aureole_kernel, ghost_kernel
from skyduel.simulation.render import add_aureole, streak_points
from skyduel.simulation.sampling import (
    Defects,
    GalaxyShapes,
    SceneSources,
    draw_defects,
    draw_sources,
)
from skyduel.simulation.sersic import SersicGalaxy, render_galaxies
from skyduel.simulation.settings import SceneSettings
from skyduel.simulation.streaks import Streak, streak_flux
from skyduel.simulation.variable_psf import FieldPsf, Measured, Zones

__all__ = [
    "GAUSSIAN_FROM_ELECTRONS",
    "Points",
    "RenderedGalaxies",
    "RenderedSources",
    "assign_flux",
    "digitise",
    "expected_light",
    "extended_points",
    "ideal_snr",
    "simulate",
    "truth_columns",
    "wings",
]

#: From this many electrons on, a Gaussian replaces the Poisson distribution (skewness < 0.07).
#: It is several times faster, and every pixel of a scene is drawn.
GAUSSIAN_FROM_ELECTRONS: Final = 200.0
#: Stamps are cut where they fall below this fraction of the sky noise: of stars, of the
#: points of a streak, and of those of a galaxy.
_NEGLIGIBLE: Final = (0.02, 0.002, 1e-4)
#: A galaxy with a half-light radius below this share of the FWHM counts as a point.
_COMPACT: Final = 0.5

Floats = npt.NDArray[np.float64]


@takes(psf=Psf, sigma=Real)
def ideal_snr(flux: npt.ArrayLike, psf: Psf, sigma: float) -> npt.NDArray[np.float64]:
    """Return the S/N of an ideal measurement of isolated faint point sources.

    ``flux·√Σpsf² / sigma``: a matched filter with all other light subtracted and without
    the photon noise of the source. ``flux`` and ``sigma`` have the same unit.
    """
    return np.asarray(as_numbers("ideal_snr: flux", flux) * (np.sqrt(psf.psf_sum2) / sigma))


class Points(NamedTuple):
    """Point sources to be rendered: x, y [px] and flux [ADU] of shape (n,); `negligible` [ADU]."""

    x: Floats
    y: Floats
    flux: Floats
    negligible: float


class RenderedGalaxies(NamedTuple):
    """Galaxies of a frame with their fluxes [ADU], each of shape (n,).

    ``parts`` is the number of points that render a galaxy. ``compact`` is true if the seeing
    hides its extent.
    """

    shapes: GalaxyShapes
    flux: Floats
    snr: Floats
    parts: npt.NDArray[np.int64]
    compact: npt.NDArray[np.bool_]


class RenderedSources(NamedTuple):
    """Sources of a frame with their fluxes [ADU]."""

    stars: Points
    snr: Floats
    streaks: list[Streak]
    galaxies: RenderedGalaxies | None


def assign_flux(s: SceneSettings, sources: SceneSources, field: Zones[Measured]) -> RenderedSources:
    """Assign fluxes so that every source has the S/N that was drawn for it."""
    sigma = s.sky_sigma
    x, y, magnitude = sources.stars
    faintest = s.min_snr * sigma / np.sqrt(field.middle.psf_sum2)
    flux = faintest * 10 ** (-0.4 * magnitude)
    galaxies = None
    if sources.galaxies is not None:
        g = sources.galaxies
        of_psf = field.psf_sum2(g.x, g.y)
        psf_sum2 = galaxy_psf_sum2(of_psf, g.radius, g.ratio)
        light = faintest * 10 ** (-0.4 * g.magnitude) * np.sqrt(of_psf / psf_sum2)
        # Enough points that the flux of each is below a twentieth of the noise.
        wanted = np.clip(20 * light * np.sqrt(of_psf) / sigma, 60, 3000)
        galaxies = RenderedGalaxies(
            g,
            light,
            light * np.sqrt(psf_sum2) / sigma,
            wanted.astype(np.int64) // 60 * 60,
            g.radius < _COMPACT * field.fwhm,
        )
    return RenderedSources(
        Points(x, y, flux, _NEGLIGIBLE[0] * sigma),
        flux * (np.sqrt(field.psf_sum2(x, y)) / sigma),
        [streak_flux(each, field, sigma) for each in sources.segments],
        galaxies,
    )


def extended_points(s: SceneSettings, rendered: RenderedSources) -> list[Points]:
    """Return the points that render each streak and galaxy, one entry per source.

    Galaxies that are a kind of their own are rendered otherwise, and are not among them.
    """
    sigma = s.sky_sigma
    out = []
    for streak in rendered.streaks:
        x, y = streak_points(streak.x, streak.y, streak.length, streak.theta)
        out.append(Points(x, y, np.full(x.size, streak.flux / x.size), _NEGLIGIBLE[1] * sigma))
    if rendered.galaxies is not None and not s.galaxies_count:
        g = rendered.galaxies.shapes
        for x0, y0, radius, ratio, theta, sersic, flux, n in zip(
            g.x, g.y, g.radius, g.ratio, g.theta, g.sersic,
            rendered.galaxies.flux, rendered.galaxies.parts, strict=True,
        ):  # fmt: skip
            x, y = galaxy_points(x0, y0, radius, ratio, theta, sersic, int(n))
            out.append(Points(x, y, np.full(x.size, flux / x.size), _NEGLIGIBLE[2] * sigma))
    return out


def wings(s: SceneSettings) -> list[tuple[npt.NDArray[np.float32], float]]:
    """Return the kernel and the fraction of flux of each type of wide PSF wing."""
    out = []
    if s.aureole:
        kernel = aureole_kernel(
            s.aureole_radius, 2 * s.fwhm, s.aureole_slope, s.spikes, s.aberration_angle
        )
        out.append((kernel, s.aureole))
    if s.ghost:
        ghost = ghost_kernel(s.ghost_radius, s.ghost_hole, s.ghost_shift, s.ghost_angle)
        out.append((ghost, s.ghost))
    return out


@takes(settings=SceneSettings, rng=np.random.Generator, name=str)
def simulate(
    settings: SceneSettings, rng: np.random.Generator, name: str = "simulated"
) -> tuple[Frame, Catalog]:
    """Simulate one frame and its truth catalogue.

    Parameters
    ----------
    settings : SceneSettings
        Settings of the scene.
    rng : numpy.random.Generator
        The only source of randomness: the same state gives the same frame.
    name : str
        Name of the frame.

    Returns
    -------
    frame : Frame
        The frame, with gain, read noise, saturation, zero-point and FWHM as in the headers
        of an observatory.
    truth : Catalog
        Every source whose centre lies on the frame, with ``snr``: for points
        `ideal_snr`, for streaks and galaxies the same integral over their profile. Galaxies
        that are a kind of their own (``galaxies_count``) have their shapes, as in
        `skyduel.simulation.injection.draw_injected`.
    """
    s = settings
    sources = draw_sources(s, rng)
    field = s.field()
    rendered = assign_flux(s, sources, field)
    galaxies = None
    if s.galaxies_count and rendered.galaxies is not None:
        galaxies, rendered = _sersic_galaxies(s, rendered, field)
    data = _expose(expected_light(s, sources, rendered, field, galaxies), s, rng)
    data = digitise(data, s, draw_defects(s, rng))
    frame = Frame(
        data=data,
        name=name,
        gain=s.gain,
        read_noise=s.read_noise,
        saturation=s.saturation if s.saturation_stated else None,
        exposure_s=s.exposure_s,
        zero_point=s.zero_point,
        fwhm=field.fwhm,
        pixel_scale_arcsec=s.pixel_scale_arcsec,
    )
    truth = Catalog.build(source=f"truth of {name}", **truth_columns(s, rendered))
    return frame, truth


def _sersic_galaxies(
    s: SceneSettings, rendered: RenderedSources, field: FieldPsf
) -> tuple[npt.NDArray[np.float32], RenderedSources]:
    """Render galaxies of a kind of their own, and state their S/N exactly."""
    assert rendered.galaxies is not None
    g = rendered.galaxies
    shapes = [SersicGalaxy(*map(float, row)) for row in zip(*g.shapes[:6], strict=True)]
    light, sum2 = render_galaxies((s.ny, s.nx), shapes, g.flux, field.at)
    exact = g._replace(snr=g.flux * np.sqrt(sum2) / s.sky_sigma)
    return light, rendered._replace(galaxies=exact)


def expected_light(
    s: SceneSettings,
    sources: SceneSources,
    rendered: RenderedSources,
    field: FieldPsf,
    galaxies: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the expected light in each pixel [ADU], never negative.

    ``galaxies`` is the light of those that are a kind of their own.
    """
    light = field.render(*rendered.stars)
    for kernel, share in wings(s):
        light = add_aureole(
            light, rendered.stars.x, rendered.stars.y, rendered.stars.flux, kernel, share
        )
    for points in extended_points(s, rendered):
        light += field.render(*points)
    if galaxies is not None:
        light += galaxies

    yy = (np.arange(s.ny, dtype=np.float32)[:, None] - (s.ny - 1) / 2) / s.ny
    xx = (np.arange(s.nx, dtype=np.float32)[None, :] - (s.nx - 1) / 2) / s.nx
    tilt = 1 + s.gradient * (xx * np.cos(s.gradient_angle) + yy * np.sin(s.gradient_angle))
    light += np.float32(s.sky) * np.maximum(tilt, 0).astype(np.float32)
    if s.vignetting:
        light *= (1 - s.vignetting * 2 * (xx**2 + yy**2)).astype(np.float32)
    if s.smear:
        light = light + readout_smear(light - np.float32(s.sky), s.smear, s.smear_axis)
    if s.smear_lines:
        centre = field.psfs[0].bank[OVERSAMPLING // 2, OVERSAMPLING // 2]
        profile = centre.sum(axis=s.smear_axis, dtype=np.float64)
        light += smear_lines((s.ny, s.nx), sources.smear_lines, profile, s.smear_axis)
    return np.maximum(light, 0, out=light)


def digitise(
    data: npt.NDArray[np.float32], s: SceneSettings, defects: Defects
) -> npt.NDArray[np.float32]:
    """Add defects, bleeding, bias and quantisation to an exposure [ADU]; overwrites ``data``."""
    for hits in defects.hits:
        data += paint_hits(data.shape, hits)
    if s.bleeding:
        data = bleed(data, s.saturation - s.bias, s.bleeding, s.bleeding_axis)
    for boxes in defects.boxes:
        data += paint_boxes(data.shape, boxes)
    data += np.float32(s.bias)
    if s.quantise:
        np.rint(data, out=data)
    return np.clip(data, 0 if s.quantise else None, s.saturation, out=data)


def truth_columns(s: SceneSettings, rendered: RenderedSources) -> dict[str, Any]:
    """Return the columns of the truth catalogue: stars, galaxies, streaks."""
    x, y, flux, _ = rendered.stars
    snr = rendered.snr
    on = (x >= -0.5) & (x < s.nx - 0.5) & (y >= -0.5) & (y < s.ny - 0.5)
    if s.vignetting:
        # Vignetting dims star and sky: the S/N falls at least as its square root.
        r2 = ((x - (s.nx - 1) / 2) / s.nx) ** 2 + ((y - (s.ny - 1) / 2) / s.ny) ** 2
        left = 1 - 2 * s.vignetting * r2
        dark = s.read_noise**2
        snr = snr * left * np.sqrt((s.sky * s.gain + dark) / (s.sky * s.gain * left + dark + 1e-9))
    listed = [p for t in rendered.streaks if (p := t.clipped(s.nx, s.ny) if s.streak_margin else t)]
    lines = np.array(listed, dtype=np.float64).reshape(-1, 6)
    g = rendered.galaxies
    none = np.zeros(0)
    gx, gy, gflux, gsnr = (none,) * 4 if g is None else (g.shapes.x, g.shapes.y, g.flux, g.snr)
    n, m = int(on.sum()), gx.size
    fluxes = np.concatenate([flux[on], gflux, lines[:, 2]])
    columns: dict[str, Any] = {}
    theta = np.zeros(n + m)
    if g is not None and s.galaxies_count:
        theta[n:] = np.mod(g.shapes.theta + np.pi / 2, np.pi) - np.pi / 2

        def of_galaxies(values: Floats) -> Floats:
            return np.concatenate([np.full(n, np.nan), values, np.full(len(lines), np.nan)])

        columns["half_light_px"] = of_galaxies(g.shapes.radius)
        columns["axis_ratio"] = of_galaxies(g.shapes.ratio)
        columns["sersic"] = of_galaxies(g.shapes.sersic)
        columns["half_light_arcsec"] = columns["half_light_px"] * s.pixel_scale_arcsec
    elif g is not None:
        columns["ignore"] = np.concatenate(
            [np.zeros(n, bool), ~g.compact, np.zeros(len(lines), bool)]
        )
        columns["radius"] = np.concatenate([np.zeros(n), g.shapes.radius, np.zeros(len(lines))])
    galaxy = "galaxy" if s.galaxies_count else "point"
    return {
        "x": np.concatenate([x[on], gx, lines[:, 0]]),
        "y": np.concatenate([y[on], gy, lines[:, 1]]),
        "flux": fluxes,
        "mag": flux_to_mag(fluxes, s.zero_point),
        "kind": np.repeat(["point", galaxy, "streak"], [n, m, len(lines)]),
        "length": np.concatenate([np.zeros(n + m), lines[:, 3]]),
        "theta": np.concatenate([theta, lines[:, 4]]),
        "snr": np.concatenate([snr[on], gsnr, lines[:, 5]]),
        **columns,
    }


def _expose(
    light: npt.NDArray[np.float32], s: SceneSettings, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Add photon and read noise to the light [ADU]."""
    electrons = light * np.float32(s.gain)
    noisy = electrons + np.sqrt(electrons) * rng.standard_normal(light.shape, dtype=np.float32)
    few = electrons < GAUSSIAN_FROM_ELECTRONS
    if few.any():
        noisy[few] = rng.poisson(electrons[few])
    if s.read_noise:
        noisy += np.float32(s.read_noise) * rng.standard_normal(light.shape, dtype=np.float32)
    if s.correlation:
        noisy = electrons + correlate(noisy - electrons, s.correlation)
    return np.asarray(noisy / np.float32(s.gain), dtype=np.float32)
