"""`SceneSettings` and `simulate`: one frame whose truth is known."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from catalog.frame import Frame
from catalog.sources import Catalog
from simulation.artefacts import bad_lines, cosmic_rays, hot_pixels, readout_smear
from simulation.psf import Aberrations, Psf, aureole_kernel, make_psf
from simulation.render import add_aureole, render_points, streak_points

__all__ = ["SceneSettings", "ideal_snr", "sample_magnitudes", "simulate"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

#: Above this many electrons a Poisson number is drawn as a Gaussian (skewness < 0.07).
_GAUSSIAN_ABOVE: Final = 200.0
#: Stamps are cut where they fall below this fraction of the sky noise.
_NEGLIGIBLE_SIGMA: Final = 0.02


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
    aureole: float = Field(0.0, ge=0, lt=0.5, description="share of the flux in wide wings")
    aureole_slope: float = Field(2.5, ge=1.5, le=5)
    aureole_radius: int = Field(64, ge=8, le=512)
    spikes: int = Field(0, ge=0, le=8, description="diffraction spikes of a star")

    density: NotNegative = Field(500 / 512**2, description="stars per px with S/N above min_snr")
    slope: Finite = Field(0.31, description="d log10 N / d mag of the star counts")
    min_snr: Positive = Field(0.8, description="ideal S/N of the faintest star")
    max_snr: Positive = Field(3000.0, description="ideal S/N of the brightest star")
    streaks: NotNegative = Field(0.0, description="mean number of streaks")
    streak_length: tuple[Positive, Positive] = (15.0, 60.0)
    streak_snr: tuple[Positive, Positive] = Field(
        (1.5, 30.0), description="S/N of a streak per FWHM of its length"
    )

    trails: NotNegative = Field(0.0, description="mean number of satellites crossing the frame")
    cosmic_rays: NotNegative = Field(0.0, description="cosmic rays per 10⁶ px")
    hot_pixels: NotNegative = Field(0.0, description="hot pixels per 10⁶ px")
    bad_columns: NotNegative = Field(0.0, description="mean number of bad columns")
    bad_rows: NotNegative = Field(0.0, description="mean number of bad rows")
    smear: NotNegative = Field(0.0, description="readout smear, as a share of the mean light")
    smear_axis: Literal[0, 1] = 0

    @property
    def sky_sigma(self) -> float:
        """Standard deviation of an empty pixel [ADU]: sky, read noise and rounding."""
        electrons = self.sky * self.gain + self.read_noise**2
        return float(np.sqrt(electrons / self.gain**2 + (1 / 12 if self.quantise else 0.0)))

    def psf(self) -> Psf:
        """Return the point-spread function, without the aureole."""
        return make_psf(
            self.fwhm,
            self.beta if self.profile == "moffat" else None,
            Aberrations(
                defocus=self.defocus,
                astigmatism=self.astigmatism,
                coma=self.coma,
                trefoil=self.trefoil,
                angle=self.aberration_angle,
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
    psf = s.psf()
    sigma = s.sky_sigma
    margin = psf.radius if not s.aureole else max(psf.radius, s.aureole_radius)
    faintest = s.min_snr * sigma / np.sqrt(psf.sharpness)
    span = 2.5 * np.log10(max(s.max_snr / s.min_snr, 1.0))

    area = (s.ny + 2 * margin) * (s.nx + 2 * margin)
    n = int(rng.poisson(s.density * area))
    x = rng.uniform(-margin - 0.5, s.nx + margin - 0.5, n)
    y = rng.uniform(-margin - 0.5, s.ny + margin - 0.5, n)
    flux = faintest * 10 ** (-0.4 * sample_magnitudes(n, s.slope, span, rng))

    light = render_points(shape, x, y, flux, psf, _NEGLIGIBLE_SIGMA * sigma)
    if s.aureole:
        kernel = aureole_kernel(
            s.aureole_radius, 2 * s.fwhm, s.aureole_slope, s.spikes, s.aberration_angle
        )
        light = add_aureole(light, x, y, flux, kernel, s.aureole)

    streak_rows = _streaks(s, psf, sigma, rng)
    for sx, sy, sflux, length, theta, _ in streak_rows:
        px, py = streak_points(sx, sy, length, theta)
        light += render_points(
            shape, px, py, np.full(px.size, sflux / px.size), psf, 0.1 * _NEGLIGIBLE_SIGMA * sigma
        )

    yy = (np.arange(s.ny, dtype=np.float32)[:, None] - (s.ny - 1) / 2) / s.ny
    xx = (np.arange(s.nx, dtype=np.float32)[None, :] - (s.nx - 1) / 2) / s.nx
    tilt = 1 + s.gradient * (xx * np.cos(s.gradient_angle) + yy * np.sin(s.gradient_angle))
    light += np.float32(s.sky) * np.maximum(tilt, 0).astype(np.float32)
    if s.vignetting:
        light *= (1 - s.vignetting * 2 * (xx**2 + yy**2)).astype(np.float32)
    if s.smear:
        light = light + readout_smear(light - np.float32(s.sky), s.smear, s.smear_axis)
    np.maximum(light, 0, out=light)

    data = _expose(light, s, rng)
    mega = s.ny * s.nx / 1e6
    if s.cosmic_rays:
        data += cosmic_rays(shape, int(rng.poisson(s.cosmic_rays * mega)), sigma, rng)
    if s.hot_pixels:
        data += hot_pixels(shape, int(rng.poisson(s.hot_pixels * mega)), sigma, rng)
    for axis, mean in enumerate((s.bad_columns, s.bad_rows)):
        if mean:
            data += bad_lines(shape, int(rng.poisson(mean)), sigma, rng, axis)
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
        fwhm=psf.fwhm,
        pixel_scale_arcsec=s.pixel_scale_arcsec,
    )
    on = (x >= -0.5) & (x < s.nx - 0.5) & (y >= -0.5) & (y < s.ny - 0.5)
    streaks = np.array(streak_rows, dtype=np.float64).reshape(-1, 6)
    fluxes = np.concatenate([flux[on], streaks[:, 2]])
    truth = Catalog.build(
        source=f"truth of {name}",
        x=np.concatenate([x[on], streaks[:, 0]]),
        y=np.concatenate([y[on], streaks[:, 1]]),
        flux=fluxes,
        mag=s.zero_point - 2.5 * np.log10(fluxes),
        kind=np.array(["point"] * int(on.sum()) + ["streak"] * len(streaks), dtype="U6"),
        length=np.concatenate([np.zeros(int(on.sum())), streaks[:, 3]]),
        theta=np.concatenate([np.zeros(int(on.sum())), streaks[:, 4]]),
        snr=np.concatenate([ideal_snr(flux[on], psf, sigma), streaks[:, 5]]),
    )
    return frame, truth


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
    return np.asarray(noisy / np.float32(s.gain), dtype=np.float32)


def _streaks(
    s: SceneSettings, psf: Psf, sigma: float, rng: np.random.Generator
) -> list[tuple[float, float, float, float, float, float]]:
    """Return x, y, flux, length, theta and ideal S/N of each streak and trail."""
    rows = []
    for _ in range(int(rng.poisson(s.streaks))):
        length = float(np.exp(rng.uniform(*np.log(s.streak_length))))
        rows.append(
            _one_streak(
                rng.uniform(0, s.nx - 1), rng.uniform(0, s.ny - 1), length,
                rng.uniform(-np.pi / 2, np.pi / 2), s, psf, sigma, rng,
            )
        )  # fmt: skip
    for _ in range(int(rng.poisson(s.trails))):
        # A chord through a random point, cut where it leaves the frame.
        px, py = rng.uniform(0, s.nx - 1), rng.uniform(0, s.ny - 1)
        theta = rng.uniform(-np.pi / 2, np.pi / 2)
        dx, dy = np.cos(theta), np.sin(theta)
        reach = sorted(
            (edge - p) / d
            for p, d, high in ((px, dx, s.nx - 1), (py, dy, s.ny - 1))
            for edge in (0.0, float(high))
            if abs(d) > 1e-9
        )
        before = max(t for t in reach if t <= 0)
        after = min(t for t in reach if t >= 0)
        middle = (before + after) / 2
        rows.append(
            _one_streak(
                px + middle * dx, py + middle * dy, after - before, theta, s, psf, sigma, rng
            )
        )
    return rows


def _one_streak(
    x: float,
    y: float,
    length: float,
    theta: float,
    s: SceneSettings,
    psf: Psf,
    sigma: float,
    rng: np.random.Generator,
) -> tuple[float, float, float, float, float, float]:
    """Return one streak whose S/N per FWHM of length is drawn from the settings."""
    per_fwhm = float(np.exp(rng.uniform(*np.log(s.streak_snr))))
    # Of a long uniform line of λ ADU per px, the part within one FWHM of length
    # is λ·fwhm ADU across a profile of Σ ≈ 1/(2√π·σ_psf) per px, σ_psf = fwhm/2.355.
    across = 2.3548 / (2 * np.sqrt(np.pi) * psf.fwhm)
    line = per_fwhm * sigma / np.sqrt(across * psf.fwhm)
    flux = line * length
    snr = line * np.sqrt(across * length) / sigma
    return float(x), float(y), float(flux), float(length), float(theta), float(snr)
