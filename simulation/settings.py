"""Settings of a simulated frame."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field

from skyduel.core.settings import Settings
from skyduel.simulation.psf import Aberrations, Optics, Psf, make_psf
from skyduel.simulation.variable_psf import FieldPsf, zone_centres

__all__ = ["SceneSettings"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: Numbers and lengths beyond these fill the memory or take for ever.
Number = Annotated[float, Field(ge=0, le=1e6)]
Density = Annotated[float, Field(ge=0, le=1)]
Radius = Annotated[float, Field(gt=0, le=1000)]
Length = Annotated[float, Field(gt=0, le=1e5)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class SceneSettings(Settings):
    """Settings of one simulated frame. Lengths in px, angles in rad, fluxes in ADU."""

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
    saturation_stated: bool = Field(True, description="whether the frame states that value")
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
    ghost_shift: float = Field(0.0, ge=-1000, le=1000, description="displacement of the halo [px]")
    ghost_angle: Finite = 0.0

    density: Density = Field(500 / 512**2, description="stars per px with S/N above min_snr")
    slope: Finite = Field(0.31, description="d log10 N / d mag of the star counts")
    min_snr: Positive = Field(0.8, description="ideal S/N of the faintest star")
    max_snr: Positive = Field(3000.0, description="ideal S/N of the brightest star")
    streaks: Number = Field(0.0, description="mean number of streaks")
    streak_length: tuple[Length, Length] = (15.0, 60.0)
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
    galaxies: Density = Field(0.0, description="galaxies per px with S/N above min_snr")
    galaxy_radius: tuple[Radius, Radius] = Field((0.4, 6.0), description="half-light radii")
    galaxies_count: bool = Field(
        False,
        description="galaxies are truths of a kind of their own, rendered exactly; otherwise "
        "points, of which the larger ones are ignored",
    )
    trails: Number = Field(0.0, description="mean number of satellites crossing the frame")
    cosmic_rays: Number = Field(0.0, description="cosmic rays per 10⁶ px")
    hot_pixels: Number = Field(0.0, description="hot pixels per 10⁶ px")
    bad_columns: Number = Field(0.0, description="mean number of bad columns")
    bad_rows: Number = Field(0.0, description="mean number of bad rows")
    smear: NotNegative = Field(0.0, description="readout smear, as a share of the mean light")
    smear_axis: Literal[0, 1] = 0
    smear_lines: Number = Field(
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
        return make_psf(*self._optics_at(0.0, 0.0))

    def field(self) -> FieldPsf:
        """Return the point-spread function of every zone, without the aureole."""
        return FieldPsf((self.ny, self.nx), tuple(make_psf(*each) for each in self.optics()))

    def optics(self) -> list[Optics]:
        """Return the optics of every zone, in row order."""
        if self.zones == 1:
            return [self._optics_at(0.0, 0.0)]
        x, y = zone_centres((self.ny, self.nx), self.zones)
        half = np.hypot(self.nx, self.ny) / 2
        u, v = (x + 0.5 - self.axis_x * self.nx) / half, (y + 0.5 - self.axis_y * self.ny) / half
        return [self._optics_at(float(a), float(b)) for a, b in zip(u, v, strict=True)]

    def _optics_at(self, u: float, v: float) -> Optics:
        """Return the optics at (u, v) from the axis, in half diagonals."""
        r2 = u * u + v * v
        coma, angle = self.coma, self.aberration_angle
        if self.field_coma:
            cx = coma * np.cos(angle) + self.field_coma * u
            cy = coma * np.sin(angle) + self.field_coma * v
            coma, angle = float(np.hypot(cx, cy)), float(np.arctan2(cy, cx))
        return Optics(
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
