"""Inject sources into real frames, with the PSF and the noise of the frame."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from pydantic import ConfigDict, Field, model_validator
from scipy import ndimage
from scipy.spatial import KDTree

from skyduel.core.catalog import KINDS, Catalog
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.settings import Settings
from skyduel.simulation.measured_psf_model import MeasuredPsf
from skyduel.simulation.psf import OVERSAMPLING, Psf, make_psf, tabulate
from skyduel.simulation.render import render_points, streak_points
from skyduel.simulation.scene import ideal_snr
from skyduel.simulation.sersic import SERSIC_RANGE, SersicGalaxy, galaxy_stamp, render_galaxies

__all__ = ["InjectionSettings", "draw_injected", "holds_integers", "inject", "read_psf"]

Floats = npt.NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: Numbers and lengths beyond these fill the memory or take for ever.
_MOST: Final = 1_000_000
Length = Annotated[float, Field(gt=0, le=1e5)]
Radius = Annotated[float, Field(gt=0, le=1000)]

#: Stamps are cut where they fall below this fraction of the noise; a cut at a
#: hundredth of the noise would remove a percent of a faint source's light.
_NEGLIGIBLE_SIGMA: Final = 0.0005
#: Maximum number of positions drawn for a source.
_TRIES: Final = 200
#: Half width of a tabulated PSF [px].
_RADIUS: Final = 24
#: Above this many electrons the photon noise of a pixel is drawn as a Gaussian. Few pixels get
#: light, so the limit can be high; a simulated scene draws every pixel and uses 200
#: (`skyduel.simulation.scene.GAUSSIAN_FROM_ELECTRONS`). A common value would change the results
#: of one of them.
_INJECTED_GAUSSIAN_FROM_ELECTRONS: Final = 1e6
#: Columns of a galaxy, in the order of `SersicGalaxy`.
_GALAXY_COLUMNS: Final = ("x", "y", "half_light_px", "axis_ratio", "theta", "sersic")


class InjectionSettings(Settings):
    """Settings of the injected sources. Lengths in px."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(100, ge=0, le=_MOST, description="point sources a frame")
    snr: tuple[Positive, Positive] | None = Field(
        (2.0, 50.0), description="ideal S/N, uniform in its logarithm"
    )
    mag: tuple[float, float] | None = Field(
        None, description="magnitude, uniform; instead of the S/N"
    )
    streaks: int = Field(0, ge=0, le=_MOST, description="streaks a frame")
    streak_length: tuple[Length, Length] = (15.0, 60.0)
    streak_snr: tuple[Positive, Positive] = Field(
        (1.5, 20.0), description="S/N of a streak per FWHM of its length"
    )
    galaxies: int = Field(0, ge=0, le=_MOST, description="galaxies a frame")
    size: tuple[Radius, Radius] = Field(
        (1.0, 8.0), description="half-light radius along the major axis, uniform in its logarithm"
    )
    axis_ratio: tuple[Positive, Positive] = Field(
        (0.2, 1.0), description="minor over major axis, uniform"
    )
    sersic: tuple[Annotated[float, Field(ge=SERSIC_RANGE[0], le=SERSIC_RANGE[1])], ...] = Field(
        (1.0, 4.0), min_length=1, description="Sérsic indices, each as often"
    )
    separation: float = Field(
        8.0,
        ge=0,
        description="distance between injected sources, in FWHM, at least; of a galaxy two "
        "half-light radii more",
    )
    avoid: float | None = Field(
        None,
        ge=0,
        description="least distance from sources that are there [px]; of a galaxy at least one "
        "half-light radius; None: 2 FWHM, at least 4 px; 0 allows every position",
    )

    @model_validator(mode="after")
    def _ordered(self) -> InjectionSettings:
        if (self.snr is None) == (self.mag is None):
            raise ValueError("either snr or mag must be given")
        for name in ("snr", "mag", "streak_length", "streak_snr", "size", "axis_ratio"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] <= pair[1]:
                raise ValueError(f"{name} must run from low to high, not {pair[0]:g}:{pair[1]:g}")
        if not 0.05 <= self.axis_ratio[0] <= self.axis_ratio[1] <= 1:
            low, high = self.axis_ratio
            raise ValueError(f"axis_ratio must lie between 0.05 and 1, not {low:g}:{high:g}")
        return self


@takes(
    frame=Frame,
    psf=Psf,
    settings=InjectionSettings,
    rng=np.random.Generator,
    there=Catalog,
    background=Background,
)
def draw_injected(
    frame: Frame,
    psf: Psf,
    settings: InjectionSettings,
    rng: np.random.Generator,
    *,
    there: Catalog | None = None,
    background: Background | None = None,
) -> Catalog:
    """Draw sources to inject into a frame.

    Parameters
    ----------
    frame : Frame
        Sources are centred on its usable pixels. Without a zero-point
        magnitudes are instrumental, -2.5 log10(flux).
    psf : Psf
        Profile of the sources, for the conversion of S/N to flux.
    settings : InjectionSettings
        Number, brightness and separation of the sources.
    rng : numpy.random.Generator
        The only source of random numbers.
    there : Catalog, optional
        Sources already on the frame, to keep a distance from.
    background : Background, optional
        Background of the frame; measured if not given.

    Returns
    -------
    Catalog
        The schema with ``snr`` (of an ideal measurement, with the noise at the position:
        `ideal_snr`, for streaks and galaxies the same integral), and ``nearest_px``, the
        distance to the nearest source that was there before [px]. It has fewer rows than
        requested if no free positions are found. With galaxies also ``half_light_px``,
        ``axis_ratio`` and ``sersic``, and ``half_light_arcsec`` if the frame's scale is known.
    """
    if background is None:
        background = estimate_background(frame)
    spacing = settings.separation * psf.fwhm
    clear = max(2 * psf.fwhm, 4.0) if settings.avoid is None else settings.avoid
    obstacles = _points_of(there)
    tree = KDTree(obstacles) if len(obstacles) else None
    room = _Room(frame, spacing, clear, tree)

    rows: list[tuple[float, ...]] = []
    zero = frame.zero_point or 0.0
    for _ in range(settings.number):
        place = room.place(rng)
        if place is None:
            break
        x, y = place
        sigma = float(background.rms[int(y + 0.5), int(x + 0.5)])
        if settings.mag is not None:
            flux = 10 ** (-0.4 * (rng.uniform(*settings.mag) - zero))
        else:
            assert settings.snr is not None  # the settings have one of the two
            flux = _log_uniform(rng, settings.snr) * sigma / math.sqrt(psf.psf_sum2)
        rows.append((x, y, flux, 0.0, 0.0, float(ideal_snr(flux, psf, sigma))))
    n_points = len(rows)
    for _ in range(settings.streaks):
        length = _log_uniform(rng, settings.streak_length)
        theta = float(rng.uniform(-np.pi / 2, np.pi / 2))
        place = room.place(rng, length, theta)
        if place is None:
            continue
        x, y = place
        sigma = float(background.rms[int(y + 0.5), int(x + 0.5)])
        # As in `simulate`: the fraction of a line's light within one FWHM of its length.
        across = 2.3548 / (2 * math.sqrt(math.pi) * psf.fwhm)
        line = _log_uniform(rng, settings.streak_snr) * sigma / math.sqrt(across * psf.fwhm)
        snr = line * math.sqrt(across * length) / sigma
        rows.append((x, y, line * length, length, theta, snr))
    n_streaks = len(rows) - n_points
    galaxies, columns = _draw_galaxies(frame, psf, settings, rng, room, background)
    rows += galaxies
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    shapes: dict[str, Any] = {
        name: np.concatenate([np.full(n_points + n_streaks, np.nan), values])
        for name, values in columns.items()
    }
    nearest = np.full(len(table), np.inf)
    if tree is not None and len(table):
        nearest = np.asarray(tree.query(table[:, :2])[0])
    return Catalog.build(
        source=f"injected into {frame.name}",
        x=table[:, 0],
        y=table[:, 1],
        flux=table[:, 2],
        mag=flux_to_mag(table[:, 2], zero),
        kind=np.repeat(KINDS, [n_points, n_streaks, len(galaxies)]),
        length=table[:, 3],
        theta=table[:, 4],
        snr=table[:, 5],
        nearest_px=nearest,
        **shapes,
    )


def _draw_galaxies(
    frame: Frame,
    psf: Psf,
    settings: InjectionSettings,
    rng: np.random.Generator,
    room: _Room,
    background: Background,
) -> tuple[list[tuple[float, ...]], dict[str, Floats]]:
    """Draw galaxies: rows as for the other kinds, and the columns of their shapes."""
    rows: list[tuple[float, ...]] = []
    shapes: list[tuple[float, ...]] = []
    zero = frame.zero_point or 0.0
    for _ in range(settings.galaxies):
        size = _log_uniform(rng, settings.size)
        ratio = float(rng.uniform(*settings.axis_ratio))
        theta = float(rng.uniform(-np.pi / 2, np.pi / 2))
        sersic = float(rng.choice(settings.sersic))
        place = room.place(rng, size=size)
        if place is None:
            continue
        x, y = place
        sigma = float(background.rms[int(y + 0.5), int(x + 0.5)])
        galaxy = SersicGalaxy(x, y, size, ratio, theta, sersic)
        # Σ p² of its profile p, of which a matched filter's noise follows.
        root = math.sqrt(float(np.sum(np.square(galaxy_stamp(galaxy, psf)[0]))))
        if settings.mag is not None:
            flux = 10 ** (-0.4 * (rng.uniform(*settings.mag) - zero))
        else:
            assert settings.snr is not None  # the settings have one of the two
            flux = _log_uniform(rng, settings.snr) * sigma / root
        rows.append((x, y, flux, 0.0, theta, flux * root / sigma))
        shapes.append((size, ratio, sersic))
    if not settings.galaxies:
        return rows, {}
    half_light, ratios, indices = np.array(shapes, dtype=np.float64).reshape(-1, 3).T
    columns = {"half_light_px": half_light, "axis_ratio": ratios, "sersic": indices}
    if frame.pixel_scale_arcsec is not None:
        columns["half_light_arcsec"] = half_light * frame.pixel_scale_arcsec
    return rows, columns


@takes(frame=Frame, sources=Catalog, psf=Psf, rng=np.random.Generator, background=Background)
def inject(
    frame: Frame,
    sources: Catalog,
    psf: Psf,
    rng: np.random.Generator,
    *,
    background: Background | None = None,
) -> Frame:
    """Add sources to a frame.

    Parameters
    ----------
    frame : Frame
        The real frame. All its metadata are kept.
    sources : Catalog
        Positions 0-based [px] and total ``flux`` [ADU]; streaks with ``length`` and
        ``theta``, galaxies with ``half_light_px``, ``axis_ratio``, ``theta`` and ``sersic``.
    psf : Psf
        Profile of every source.
    rng : numpy.random.Generator
        Random numbers for the photon noise and the rounding.
    background : Background, optional
        Background of the frame; measured if not given.

    Returns
    -------
    Frame
        The frame with the sources. Masked pixels, saturated pixels and pixels that no
        source reaches are identical to those of the input, bit for bit.

    Raises
    ------
    BadInputError
        If a flux is not a positive number.

    Notes
    -----
    - If the gain is known, photon noise is drawn for the added light only: the noise of
      the sky and the read noise are already in the frame. Without a gain the light is
      added without noise.
    - A frame of integers stays a frame of integers. The light is rounded up with a
      probability equal to its fractional part, which is the distribution of the converter's
      output if the value before conversion is uniform in its step: light below half a step
      is not lost, and the rounding noise is not counted twice.
    - Pixels are clipped at the saturation level if it is known.
    """
    flux = sources["flux"]
    if len(sources) and not (np.isfinite(flux).all() and (flux > 0).all()):
        raise BadInputError(sources.source, "a flux > 0 in every row", f"{flux.min():g}")
    if not len(sources):
        return frame
    if background is None:
        background = estimate_background(frame)
    negligible = _NEGLIGIBLE_SIGMA * float(background.rms[~frame.bad].min())
    points = sources.is_point
    x, y = sources["x"], sources["y"]
    light = render_points(frame.shape, x[points], y[points], flux[points], psf, negligible)
    for row in np.flatnonzero(sources.is_streak):
        px, py = streak_points(*(float(sources[c][row]) for c in ("x", "y", "length", "theta")))
        share = np.full(px.size, flux[row] / px.size)
        light += render_points(frame.shape, px, py, share, psf, 0.1 * negligible)
    if sources.is_galaxy.any():
        galaxies = sources.select(sources.is_galaxy)
        shapes = [
            SersicGalaxy(*map(float, row))
            for row in zip(*(galaxies[name] for name in _GALAXY_COLUMNS), strict=True)
        ]
        light += render_galaxies(frame.shape, shapes, galaxies["flux"], lambda x, y: psf)[0]
    lit = (light > 0) & ~frame.bad & ~frame.saturated()
    added = light[lit].astype(np.float64)
    if frame.gain is not None:
        electrons = added * frame.gain
        many = electrons > _INJECTED_GAUSSIAN_FROM_ELECTRONS
        noisy = rng.poisson(np.where(many, 0, electrons)).astype(np.float64)
        noisy[many] = electrons[many] + np.sqrt(electrons[many]) * rng.standard_normal(many.sum())
        added = noisy / frame.gain
    if holds_integers(frame):
        added = np.floor(added + rng.random(added.size))
    data = frame.data.copy()
    total = data[lit] + added
    if frame.saturation is not None:
        total = np.minimum(total, frame.saturation)
    data[lit] = total
    return frame.with_(data=data)


@takes(frame=Frame)
def holds_integers(frame: Frame) -> bool:
    """Return True if every usable pixel is an integer."""
    usable = frame.data[~frame.bad]
    return bool((usable == np.rint(usable)).all())


@takes(text=str)
def read_psf(text: str) -> MeasuredPsf:
    """Read a point-spread function from a specification or a file.

    Parameters
    ----------
    text : str
        ``moffat:FWHM,BETA`` [px, before integration over pixels], ``gaussian:FWHM``, or the
        path of a FITS image of the light per pixel around a star in the middle of an
        image with odd sides; its keyword ``OVERSAMP`` (or PSFEx's ``PSF_SAMP``, its
        inverse) is the number of its pixels per pixel of the frame.

    Raises
    ------
    BadInputError
        If the text is none of these.
    """
    form, colon, numbers = text.partition(":")
    if colon and form in ("moffat", "gaussian"):
        try:
            values = [float(part) for part in numbers.split(",")]
        except ValueError:
            values = []
        if len(values) != (2 if form == "moffat" else 1):
            required = "moffat:FWHM,BETA or gaussian:FWHM with numbers in px"
            raise BadInputError("psf", required, repr(text))
        psf = make_psf(values[0], values[1] if form == "moffat" else None, radius=_RADIUS)
        return MeasuredPsf(psf, text, 0, math.nan)
    path = Path(text)
    if not path.is_file():
        required = "auto, moffat:FWHM,BETA, gaussian:FWHM or an existing FITS image"
        raise BadInputError("psf", required, repr(text))
    try:
        with fits.open(path, memmap=False) as hdus:
            hdu = next(h for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2)
            image = np.squeeze(np.asarray(hdu.data, dtype=np.float64))
            sampling = float(hdu.header.get("OVERSAMP", 1.0 / hdu.header.get("PSF_SAMP", 1.0)))
    except (OSError, StopIteration, TypeError, ValueError, ZeroDivisionError) as error:
        raise BadInputError(text, "a FITS image of a star", str(error) or "none") from error
    odd = image.ndim == 2 and all(side % 2 for side in image.shape)
    if not (odd and np.isfinite(image).all() and image.sum() > 0 and sampling > 0):
        got = f"shape {image.shape}, sum {image.sum():g}, OVERSAMP {sampling:g}"
        raise BadInputError(text, "a finite image of odd sides and positive sum", got)
    return MeasuredPsf(_resampled(image, sampling), path.name, 0, math.nan)


def _resampled(image: Floats, sampling: float) -> Psf:
    """Tabulate a PSF image by cubic spline; the PSF is zero beyond the image."""
    ny, nx = image.shape
    radius = int(min(_RADIUS, max(2, math.ceil((max(ny, nx) / 2) / sampling))))
    half = (radius + 1) * OVERSAMPLING
    axis = np.arange(-half, half + 1) / OVERSAMPLING * sampling
    rows, columns = np.meshgrid(axis + ny // 2, axis + nx // 2, indexing="ij")
    fine = ndimage.map_coordinates(image, [rows, columns], order=3, mode="constant", cval=0.0)
    return tabulate(np.maximum(fine, 0), radius)


class _Room:
    """Free positions for further sources on a frame.

    ``size`` is the half-light radius of a galaxy: it keeps the sources that are there out of
    its brighter half, and twice as much of the injected ones.
    """

    def __init__(self, frame: Frame, spacing: float, clear: float, there: KDTree | None) -> None:
        self.frame, self.spacing, self.clear, self.there = frame, spacing, clear, there
        self.taken: list[Floats] = []
        self.spacings: list[Floats] = []

    def place(
        self,
        rng: np.random.Generator,
        length: float = 0.0,
        theta: float = 0.0,
        size: float = 0.0,
    ) -> tuple[float, float] | None:
        """Draw the centre of a source; None if no free position was found."""
        ny, nx = self.frame.shape
        clear = max(self.clear, size) if self.clear else 0.0
        for _ in range(_TRIES):
            x, y = float(rng.uniform(-0.5, nx - 0.5)), float(rng.uniform(-0.5, ny - 0.5))
            points = _along(x, y, length, theta)
            column, row = (np.floor(v + 0.5).astype(int) for v in points.T)
            if column.min() < 0 or row.min() < 0 or column.max() >= nx or row.max() >= ny:
                continue
            if self.frame.bad[row, column].any():
                continue
            if self.there is not None and np.min(self.there.query(points)[0]) < clear:
                continue
            if self.taken:
                others = np.concatenate(self.taken)
                apart = points[:, None, :] - others[None, :, :]
                least = self.spacing + 2 * size + np.concatenate(self.spacings)
                if (np.hypot(apart[..., 0], apart[..., 1]) < least).any():
                    continue
            self.taken.append(points)
            self.spacings.append(np.full(len(points), 2 * size))
            return x, y
        return None


def _along(x: float, y: float, length: float, theta: float) -> Floats:
    """Return points a few px apart along the length of a source, shape (n, 2)."""
    t = np.linspace(-length / 2, length / 2, max(1, math.ceil(length / 2) + 1)) if length else [0.0]
    return np.column_stack(
        [x + np.multiply(t, math.cos(theta)), y + np.multiply(t, math.sin(theta))]
    )


def _points_of(there: Catalog | None) -> Floats:
    """Return the positions of sources, each streak as several points, shape (n, 2)."""
    if there is None or not len(there):
        return np.zeros((0, 2))
    parts = [there.xy[~there.is_streak]]
    parts += [
        _along(*(float(there[c][row]) for c in ("x", "y", "length", "theta")))
        for row in np.flatnonzero(there.is_streak)
    ]
    return np.concatenate(parts)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
