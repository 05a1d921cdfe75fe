"""`SceneSettings` and `simulate`: one frame whose truth is known."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from catalog.frame import Frame
from catalog.sources import Catalog
from simulation.artefacts import (
    bad_lines,
    bleed,
    correlate,
    cosmic_rays,
    hot_pixels,
    level_steps,
    readout_smear,
    smear_lines,
)
from simulation.field import FieldPsf, zone_centres
from simulation.galaxies import galaxy_points, galaxy_sharpness
from simulation.psf import OVERSAMPLING, Aberrations, Psf, aureole_kernel, ghost_kernel, make_psf
from simulation.render import add_aureole, streak_points
from simulation.streaks import Streak, draw_streaks

__all__ = ["SceneSettings", "ideal_snr", "sample_magnitudes", "simulate"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

#: Above this many electrons a Poisson number is drawn as a Gaussian (skewness < 0.07).
_GAUSSIAN_ABOVE: Final = 200.0
#: Stamps are cut where they fall below this fraction of the sky noise.
_NEGLIGIBLE_SIGMA: Final = 0.02
#: A galaxy whose half-light radius is below this share of the seeing is as good as a point.
_COMPACT: Final = 0.5


class SceneSettings(BaseModel):
    """How one simulated frame is made. Lengths in px, angles in rad, fluxes in ADU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ny: int = Field(512, ge=16, le=32768, description="rows")
    nx: int = Field(512, ge=16, le=32768, description="columns")
    gain: Positive = Field(1.5, description="electrons per ADU")
    read_noise: NotNegative = Field(6.0, description="read noise [electrons]")
    sky: NotNegative = Field(1000.0, description="sky level [ADU]")
    gradient: Finite = Field(0.0, description="change of the sky across the frame, as a fraction")
    gradient_angle: Finite = Field(0.0, description="direction in which the sky brightens [rad]")
    vignetting: float = Field(0.0, ge=0, lt=1, description="loss of light in the corners")
    bias: NotNegative = Field(0.0, description="pedestal [ADU]")
    saturation: Positive = Field(65535.0, description="highest pixel value [ADU]")
    quantise: bool = Field(True, description="round to integers, as a converter does")
    exposure_s: Positive = Field(60.0, description="exposure [s]; recorded, not used")
    zero_point: Finite = Field(26.5, description="magnitude of 1 ADU in the frame")
    pixel_scale_arcsec: Positive = Field(2.0, description="pixel width [arcsec]; recorded")

    fwhm: float = Field(2.5, ge=0.5, le=20, description="FWHM of the seeing [px]")
    profile: Literal["moffat", "gaussian"] = "moffat"
    beta: float = Field(3.0, gt=1, le=20, description="Moffat exponent")
    defocus: Finite = 0.0
    astigmatism: Finite = 0.0
    coma: Finite = 0.0
    trefoil: Finite = 0.0
    aberration_angle: Finite = 0.0
    drift: NotNegative = Field(0.0, description="length of the tracking error [px]")
    drift_angle: Finite = 0.0
    zones: int = Field(1, ge=1, le=16, description="zones per axis with a profile of their own")
    axis_x: Finite = Field(0.5, description="where the optical axis lies, as a share of nx")
    axis_y: Finite = Field(0.5, description="where the optical axis lies, as a share of ny")
    field_growth: float = Field(
        0.0, ge=0, le=3, description="growth of the seeing, half a diagonal off the axis, ∝ r²"
    )
    field_coma: Finite = Field(0.0, description="radial coma half a diagonal off the axis, ∝ r")
    field_defocus: Finite = Field(0.0, description="defocus half a diagonal off the axis, ∝ r²")
    aureole: float = Field(0.0, ge=0, lt=0.5, description="share of the flux in wide wings")
    aureole_slope: float = Field(2.5, ge=1.5, le=5)
    aureole_radius: int = Field(64, ge=8, le=512)
    spikes: int = Field(0, ge=0, le=8, description="diffraction spikes of a star")
    ghost: float = Field(0.0, ge=0, lt=0.5, description="share of the flux in a halo with a rim")
    ghost_radius: float = Field(25.0, ge=3, le=200)
    ghost_hole: float = Field(0.0, ge=0, lt=1, description="empty middle of the halo; 0 for a disc")
    ghost_shift: Finite = Field(0.0, description="displacement of the halo [px]")
    ghost_angle: Finite = 0.0

    density: NotNegative = Field(500 / 512**2, description="stars per px with S/N above min_snr")
    slope: Finite = Field(0.31, description="d log10 N / d mag of the star counts")
    min_snr: Positive = Field(0.8, description="ideal S/N of the faintest star")
    max_snr: Positive = Field(3000.0, description="ideal S/N of the brightest star")
    streaks: NotNegative = Field(0.0, description="mean number of streaks")
    streak_length: tuple[Positive, Positive] = (15.0, 60.0)
    streak_snr: tuple[Positive, Positive] = Field(
        (1.5, 30.0), description="S/N of a streak per FWHM of its length"
    )

    streak_near_axis: float = Field(
        0.0, ge=0, le=1, description="share of streaks within 5° of a row or column"
    )
    streak_margin: NotNegative = Field(
        0.0,
        description="how far beside the frame a streak may be centred [px]; if not 0, "
        "the truth lists the part of each streak that is on the frame",
    )
    galaxies: NotNegative = Field(0.0, description="galaxies per px with S/N above min_snr")
    galaxy_radius: tuple[Positive, Positive] = Field((0.4, 6.0), description="half-light radii")
    trails: NotNegative = Field(0.0, description="mean number of satellites crossing the frame")
    cosmic_rays: NotNegative = Field(0.0, description="cosmic rays per 10⁶ px")
    hot_pixels: NotNegative = Field(0.0, description="hot pixels per 10⁶ px")
    bad_columns: NotNegative = Field(0.0, description="mean number of bad columns")
    bad_rows: NotNegative = Field(0.0, description="mean number of bad rows")
    smear: NotNegative = Field(0.0, description="readout smear, as a share of the mean light")
    smear_axis: Literal[0, 1] = 0
    smear_lines: NotNegative = Field(
        0.0, description="mean number of smeared stars that are not on the frame"
    )
    bleeding: float = Field(0.0, ge=0, le=1, description="share of excess charge that spills over")
    bleeding_axis: Literal[0, 1] = 0
    level_steps: NotNegative = Field(0.0, description="mean number of jumps between amplifiers")
    correlation: float = Field(
        0.0, ge=0, le=3, description="width of the kernel that resampling averaged noise with [px]"
    )

    @property
    def sky_sigma(self) -> float:
        """Standard deviation of an empty pixel [ADU]: sky, read noise and rounding."""
        electrons = self.sky * self.gain + self.read_noise**2
        return float(np.sqrt(electrons / self.gain**2 + (1 / 12 if self.quantise else 0.0)))

    def psf(self) -> Psf:
        """Return the point-spread function on the optical axis, without the aureole."""
        return self._psf_at(0.0, 0.0)

    def field(self) -> FieldPsf:
        """Return the point-spread function of every zone, without the aureole."""
        if self.zones == 1:
            return FieldPsf((self.ny, self.nx), (self.psf(),))
        x, y = zone_centres((self.ny, self.nx), self.zones)
        half = np.hypot(self.nx, self.ny) / 2
        u, v = (x + 0.5 - self.axis_x * self.nx) / half, (y + 0.5 - self.axis_y * self.ny) / half
        psfs = tuple(self._psf_at(float(a), float(b)) for a, b in zip(u, v, strict=True))
        return FieldPsf((self.ny, self.nx), psfs)

    def _psf_at(self, u: float, v: float) -> Psf:
        """Return the profile at (u, v) from the axis, in half diagonals."""
        r2 = u * u + v * v
        coma, angle = self.coma, self.aberration_angle
        if self.field_coma:
            cx = coma * np.cos(angle) + self.field_coma * u
            cy = coma * np.sin(angle) + self.field_coma * v
            coma, angle = float(np.hypot(cx, cy)), float(np.arctan2(cy, cx))
        return make_psf(
            min(20.0, self.fwhm * (1 + self.field_growth * r2)),
            self.beta if self.profile == "moffat" else None,
            Aberrations(
                defocus=self.defocus + self.field_defocus * r2,
                astigmatism=self.astigmatism,
                coma=coma,
                trefoil=self.trefoil,
                angle=angle,
                drift=self.drift,
                drift_angle=self.drift_angle,
            ),
        )


def ideal_snr(flux: npt.ArrayLike, psf: Psf, sigma: float) -> npt.NDArray[np.float64]:
    """Return the S/N of an ideal measurement of isolated faint point sources.

    ``flux·√Σpsf² / sigma``: the matched filter with everything else subtracted
    and no photon noise of the source itself. ``flux`` and ``sigma`` share a unit.
    """
    return np.asarray(np.asarray(flux, np.float64) * (np.sqrt(psf.sharpness) / sigma))


def sample_magnitudes(
    n: int, slope: float, span_mag: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return ``n`` magnitudes brighter than the limit, in [-span_mag, 0], dN/dm ∝ 10^(slope·m)."""
    u = rng.random(n)
    if abs(slope) < 1e-9:
        return np.asarray(-span_mag * u)
    low = 10.0 ** (-slope * span_mag)
    return np.asarray(np.log10(low + u * (1 - low)) / slope)


def simulate(
    settings: SceneSettings, rng: np.random.Generator, name: str = "simulated"
) -> tuple[Frame, Catalog]:
    """Return one frame and everything rendered into it.

    Parameters
    ----------
    settings : SceneSettings
        What to render.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same frame.
    name : str
        Name of the frame.

    Returns
    -------
    frame : Frame
        With gain, read noise, saturation, zero-point and FWHM as an observatory
        would state them.
    truth : Catalog
        Every source whose centre lies on the frame, with ``snr``: for points
        `ideal_snr`, for streaks the same integral over the streak's profile.
    """
    s = settings
    shape = (s.ny, s.nx)
    field = s.field()
    sigma = s.sky_sigma
    margin = field.radius if not s.aureole else max(field.radius, s.aureole_radius)
    faintest = s.min_snr * sigma / np.sqrt(field.psfs[len(field.psfs) // 2].sharpness)
    span = 2.5 * np.log10(max(s.max_snr / s.min_snr, 1.0))

    area = (s.ny + 2 * margin) * (s.nx + 2 * margin)
    n = int(rng.poisson(s.density * area))
    x = rng.uniform(-margin - 0.5, s.nx + margin - 0.5, n)
    y = rng.uniform(-margin - 0.5, s.ny + margin - 0.5, n)
    flux = faintest * 10 ** (-0.4 * sample_magnitudes(n, s.slope, span, rng))

    light = field.render(x, y, flux, _NEGLIGIBLE_SIGMA * sigma)
    if s.aureole:
        kernel = aureole_kernel(
            s.aureole_radius, 2 * s.fwhm, s.aureole_slope, s.spikes, s.aberration_angle
        )
        light = add_aureole(light, x, y, flux, kernel, s.aureole)
    if s.ghost:
        ghost = ghost_kernel(s.ghost_radius, s.ghost_hole, s.ghost_shift, s.ghost_angle)
        light = add_aureole(light, x, y, flux, ghost, s.ghost)

    streaks = draw_streaks(s, field, sigma, rng)
    for streak in streaks:
        px, py = streak_points(streak.x, streak.y, streak.length, streak.theta)
        light += field.render(
            px, py, np.full(px.size, streak.flux / px.size), 0.1 * _NEGLIGIBLE_SIGMA * sigma
        )
    galaxies = _add_galaxies(light, s, field, faintest, span, rng) if s.galaxies else None

    yy = (np.arange(s.ny, dtype=np.float32)[:, None] - (s.ny - 1) / 2) / s.ny
    xx = (np.arange(s.nx, dtype=np.float32)[None, :] - (s.nx - 1) / 2) / s.nx
    tilt = 1 + s.gradient * (xx * np.cos(s.gradient_angle) + yy * np.sin(s.gradient_angle))
    light += np.float32(s.sky) * np.maximum(tilt, 0).astype(np.float32)
    if s.vignetting:
        light *= (1 - s.vignetting * 2 * (xx**2 + yy**2)).astype(np.float32)
    if s.smear:
        light = light + readout_smear(light - np.float32(s.sky), s.smear, s.smear_axis)
    if s.smear_lines:
        profile = (
            field.psfs[0]
            .bank[OVERSAMPLING // 2, OVERSAMPLING // 2]
            .sum(axis=s.smear_axis, dtype=np.float64)
        )
        light += smear_lines(
            shape, int(rng.poisson(s.smear_lines)), sigma, profile, rng, s.smear_axis
        )
    np.maximum(light, 0, out=light)

    data = _expose(light, s, rng)
    mega = s.ny * s.nx / 1e6
    if s.cosmic_rays:
        data += cosmic_rays(shape, int(rng.poisson(s.cosmic_rays * mega)), sigma, rng)
    if s.hot_pixels:
        data += hot_pixels(shape, int(rng.poisson(s.hot_pixels * mega)), sigma, rng)
    if s.bleeding:
        data = bleed(data, s.saturation - s.bias, s.bleeding, s.bleeding_axis)
    for axis, mean in enumerate((s.bad_columns, s.bad_rows)):
        if mean:
            data += bad_lines(shape, int(rng.poisson(mean)), sigma, rng, axis)
    if s.level_steps:
        data += level_steps(shape, int(rng.poisson(s.level_steps)), sigma, rng)
    data += np.float32(s.bias)
    if s.quantise:
        np.rint(data, out=data)
    np.clip(data, 0 if s.quantise else None, s.saturation, out=data)

    frame = Frame(
        data=data,
        name=name,
        gain=s.gain,
        read_noise=s.read_noise,
        saturation=s.saturation,
        exposure_s=s.exposure_s,
        zero_point=s.zero_point,
        fwhm=field.fwhm,
        pixel_scale_arcsec=s.pixel_scale_arcsec,
    )
    snr = flux * (np.sqrt(field.sharpness(x, y)) / sigma)
    listed = [p for t in streaks if (p := t.clipped(s.nx, s.ny) if s.streak_margin else t)]
    return frame, _truth(s, name, x, y, flux, snr, listed, galaxies)


class _Galaxies(NamedTuple):
    """Columns of the galaxies, each of shape (n,)."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    snr: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    compact: npt.NDArray[np.bool_]


def _add_galaxies(
    light: npt.NDArray[np.float32],
    s: SceneSettings,
    field: FieldPsf,
    faintest: float,
    span: float,
    rng: np.random.Generator,
) -> _Galaxies:
    """Render galaxies into ``light``, in place, and return them."""
    n = int(rng.poisson(s.galaxies * s.ny * s.nx))
    x, y = rng.uniform(-0.5, s.nx - 0.5, n), rng.uniform(-0.5, s.ny - 0.5, n)
    small, large = np.log(s.galaxy_radius)
    radius = np.exp(rng.uniform(small, large, n))
    ratio = rng.uniform(0.25, 1.0, n)
    theta = rng.uniform(0, np.pi, n)
    sersic = rng.choice([1.0, 1.0, 4.0], n)
    psf_sharpness = field.sharpness(x, y)
    sharpness = galaxy_sharpness(psf_sharpness, radius, ratio)
    # Drawn by S/N, like stars, so that as many large ones are bright enough to be seen.
    flux = faintest * 10 ** (-0.4 * sample_magnitudes(n, s.slope, min(span, 6.0), rng))
    flux *= np.sqrt(psf_sharpness / sharpness)
    sigma = s.sky_sigma
    snr = flux * np.sqrt(sharpness) / sigma
    for i in range(n):
        # So many points that none alone is worth a twentieth of the noise.
        m = int(np.clip(20 * flux[i] * np.sqrt(psf_sharpness[i]) / sigma, 60, 3000))
        px, py = galaxy_points(x[i], y[i], radius[i], ratio[i], theta[i], sersic[i], m // 60 * 60)
        light += field.render(px, py, np.full(px.size, flux[i] / px.size), 1e-4 * sigma)
    compact = radius < _COMPACT * field.fwhm
    return _Galaxies(x, y, flux, snr, radius, compact)


def _truth(
    s: SceneSettings,
    name: str,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    flux: npt.NDArray[np.float64],
    snr: npt.NDArray[np.float64],
    streaks: list[Streak],
    galaxies: _Galaxies | None,
) -> Catalog:
    """Return the catalogue of what was rendered: stars, galaxies, streaks."""
    on = (x >= -0.5) & (x < s.nx - 0.5) & (y >= -0.5) & (y < s.ny - 0.5)
    if s.vignetting:
        # Less of the star and of the sky arrives: the S/N falls with the square root at least.
        r2 = ((x - (s.nx - 1) / 2) / s.nx) ** 2 + ((y - (s.ny - 1) / 2) / s.ny) ** 2
        left = 1 - 2 * s.vignetting * r2
        dark = s.read_noise**2
        snr = snr * left * np.sqrt((s.sky * s.gain + dark) / (s.sky * s.gain * left + dark + 1e-9))
    none = np.zeros(0)
    g = galaxies or _Galaxies(none, none, none, none, none, none.astype(bool))
    lines = np.array(streaks, dtype=np.float64).reshape(-1, 6)
    n, m = int(on.sum()), g.x.size
    fluxes = np.concatenate([flux[on], g.flux, lines[:, 2]])
    columns: dict[str, Any] = {}
    if galaxies is not None:
        columns["ignore"] = np.concatenate(
            [np.zeros(n, bool), ~g.compact, np.zeros(len(lines), bool)]
        )
        columns["radius"] = np.concatenate([np.zeros(n), g.radius, np.zeros(len(lines))])
    return Catalog.build(
        source=f"truth of {name}",
        x=np.concatenate([x[on], g.x, lines[:, 0]]),
        y=np.concatenate([y[on], g.y, lines[:, 1]]),
        flux=fluxes,
        mag=s.zero_point - 2.5 * np.log10(fluxes),
        kind=np.array(["point"] * (n + m) + ["streak"] * len(lines), dtype="U6"),
        length=np.concatenate([np.zeros(n + m), lines[:, 3]]),
        theta=np.concatenate([np.zeros(n + m), lines[:, 4]]),
        snr=np.concatenate([snr[on], g.snr, lines[:, 5]]),
        **columns,
    )


def _expose(
    light: npt.NDArray[np.float32], s: SceneSettings, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return the light [ADU] with photon and read noise."""
    electrons = light * np.float32(s.gain)
    noisy = electrons + np.sqrt(electrons) * rng.standard_normal(light.shape, dtype=np.float32)
    few = electrons < _GAUSSIAN_ABOVE
    if few.any():
        noisy[few] = rng.poisson(electrons[few])
    if s.read_noise:
        noisy += np.float32(s.read_noise) * rng.standard_normal(light.shape, dtype=np.float32)
    if s.correlation:
        noisy = electrons + correlate(noisy - electrons, s.correlation)
    return np.asarray(noisy / np.float32(s.gain), dtype=np.float32)
