"""Surroundings of the sources of a frame: neighbours, halos, edges, artefacts.

They are computed from the truth and from features of the frame's pixels
(`skyduel.core.measure.pixel_features`), never from flags of a detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.stats import mad_std

from skyduel.core.catalog import Catalog
from skyduel.core.defaults import UNKNOWN_FWHM_APERTURE_PX
from skyduel.core.measure.pixel_features import gaussian_sharpness
from skyduel.evaluation.matching.candidates import within
from skyduel.evaluation.matching.segments import point_segment_distance
from skyduel.evaluation.scoring.frame_score import FrameInput

__all__ = ["BLEND_FWHM", "Rows", "Surroundings", "hit", "surroundings"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Minimum S/N of a star with a relevant halo; a star ten times brighter has spikes and bleeding.
HALO_SNR: Final = 100.0
SPIKE_SNR: Final = 1000.0
#: The halo ends where the wing of a Moffat profile of this exponent falls to this many sigma.
_WING_BETA: Final = 2.5
_WING_SIGMA: Final = 0.2
#: Reach of spikes and bleeding [halo radii].
_SPIKE_REACH: Final = 4.0
#: Blended: largest distance from a brighter source [FWHM].
BLEND_FWHM: Final = 1.5
#: In a halo: how many times fainter than the star a source must be.
_HALO_CONTRAST: Final = 10.0
#: Minimum significance of a pixel sharper than the stars, and of a line [standard deviations].
SHARP_SIGMA: Final = 4.0
LINE_SIGMA: Final = 5.0
#: A detection is caused by a line if the line gives at least this fraction of its flux: with an
#: offset of one sigma, noise exceeds a threshold of four sigma about twenty times as often.
LINE_SHARE: Final = 0.25
# Stars of the frame that define its sharpness: least number, and range of brightness. Above
# it stars are no longer linear (a saturated star has a plateau).
_LEAST_STARS: Final = 5
_STAR_PEAK_SNR: Final = 20.0
_STAR_SNR: Final = (20.0, 500.0)
_STAR_SPREAD: Final = 2.5


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a catalogue, whose columns are read without a copy of the table.

    Parameters
    ----------
    catalog : Catalog
        The catalogue.
    index : ndarray of int64, shape (n,)
        Indices of the rows.
    """

    catalog: Catalog
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.index.size)

    def __contains__(self, name: str) -> bool:
        return name in self.catalog

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self.catalog[name][self.index])

    @property
    def xy(self) -> Floats:
        """Positions, shape (n, 2): x, y [px]."""
        return _xy(self["x"], self["y"])

    @property
    def is_streak(self) -> Bools:
        """Mask of the rows that are streaks, shape (n,)."""
        return np.asarray(self["kind"] == "streak")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Surroundings of any position in a frame, from its truth.

    Parameters
    ----------
    truth : Catalog
        All sources, including ignored ones.
    brightness : ndarray of float64, shape (n_truth,)
        Ideal S/N; if the truth states none, estimated from the magnitude
        and the noise of the common aperture. NaN if neither is known.
    fwhm : float
        FWHM of the frame [px], 3 if unknown.
    shape : (ny, nx) or None
        Shape of the frame.
    sharpest : float
        Sharpness that stars of this frame exceed only by noise; NaN if there are
        fewer than five bright stars and the FWHM is unknown.
    """

    truth: Catalog
    brightness: Floats
    fwhm: float
    shape: tuple[int, int] | None
    sharpest: float

    @cached_property
    def blended(self) -> Bools:
        """Mask of the truths within 1.5 FWHM of a brighter point or of another streak."""
        t, reach = self.truth, BLEND_FWHM * self.fwhm
        every = np.arange(len(t))
        out = self.on_streak(t["x"], t["y"], reach, every)
        points = np.flatnonzero(~t.is_streak)
        i, j, _ = within(t.xy, t.xy[points], reach)
        # A neighbour of unknown brightness may be bright.
        brighter = ~(self.brightness[points[j]] <= self.brightness[i])
        out[i[brighter & (i != points[j])]] = True
        return out

    @cached_property
    def haloed(self) -> Bools:
        """Mask of the truths in the halo of a star ten times brighter."""
        return self.in_halo(self.truth["x"], self.truth["y"], self.brightness)

    def near_star(self, x: Floats, y: Floats, reach_px: float, least_snr: float) -> Bools:
        """Return a mask of positions within a distance [px] of a point at least this bright."""
        stars = np.flatnonzero(self.truth.is_point & (self.brightness >= least_snr))
        return hit(within(_xy(x, y), self.truth.xy[stars], reach_px)[0], x.size)

    def in_halo(self, x: Floats, y: Floats, brightness: Floats | None = None) -> Bools:
        """Return a mask of positions in the halo of a bright star (and far fainter, if known).

        The radius is that at which the wing of a Moffat profile of exponent 2.5
        falls to a fifth of the background noise.
        """
        stars, radius = self._halos(HALO_SNR)
        if stars.size == 0:
            return np.zeros(x.size, dtype=bool)
        i, j, d = within(_xy(x, y), self.truth.xy[stars], float(radius.max()))
        inside = d <= radius[j]
        if brightness is not None:
            inside &= ~(self.brightness[stars[j]] < _HALO_CONTRAST * brightness[i])
        return hit(i[inside], x.size)

    def on_spike(self, x: Floats, y: Floats) -> Bools:
        """Return a mask of positions on the row or the column of a very bright star.

        The position must lie within half a FWHM of the line and within four halo radii.
        """
        stars, radius = self._halos(SPIKE_SNR)
        if stars.size == 0:
            return np.zeros(x.size, dtype=bool)
        i, j, d = within(_xy(x, y), self.truth.xy[stars], _SPIKE_REACH * float(radius.max()))
        sx, sy = self.truth["x"][stars[j]], self.truth["y"][stars[j]]
        aside = np.minimum(np.abs(x[i] - sx), np.abs(y[i] - sy))
        return hit(i[(aside <= self.fwhm / 2) & (d <= _SPIKE_REACH * radius[j])], x.size)

    def on_streak(
        self, x: Floats, y: Floats, reach_px: float, rows: npt.NDArray[np.int64] | None = None
    ) -> Bools:
        """Return a mask of positions within a distance [px] of a true streak.

        ``rows`` are the truths at these positions: a streak is not its own neighbour.
        """
        t = self.truth
        out = np.zeros(x.size, dtype=bool)
        for row in np.flatnonzero(t.is_streak):
            segment = (float(t[k][row]) for k in ("x", "y", "length", "theta"))
            near = point_segment_distance(x, y, *segment) <= reach_px
            out |= near if rows is None else near & (rows != row)
        return out

    def at_edge(self, catalog: Rows) -> Bools:
        """Return a mask of rows less than one FWHM from the frame's border or a masked area."""
        near = np.zeros(len(catalog), dtype=bool)
        if "mask_distance" in catalog:
            near = np.asarray(catalog["mask_distance"] < self.fwhm)
        if self.shape is None:
            return near
        x, y = catalog["x"], catalog["y"]
        ny, nx = self.shape
        side = np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))
        return np.asarray(near | (side < self.fwhm))

    def sharp(self, catalog: Rows) -> Bools:
        """Return a mask of rows sharper than any star of the frame, by 4 standard deviations."""
        if "sharpness" not in catalog or not np.isfinite(self.sharpest):
            return np.zeros(len(catalog), dtype=bool)
        error = np.sqrt(1 / 8 + (1 - self.sharpest) ** 2) / catalog["peak_snr"]
        return np.asarray(catalog["sharpness"] - self.sharpest > SHARP_SIGMA * error)

    def on_line(self, catalog: Rows, *, dark: bool = False) -> Bools:
        """Return a mask of rows with a quarter or more of their flux from a bright line.

        The significance of the line must be 5 standard deviations. With ``dark``, lines
        darker than their surroundings also count.
        """
        if "line_flux" not in catalog or "aper_flux" not in catalog:
            return np.zeros(len(catalog), dtype=bool)
        line, error = catalog["line_flux"], catalog["line_flux_err"]
        flux = catalog["aper_flux"] * self._circle_share(catalog)
        line = np.abs(line) if dark else line
        most = ~(line < LINE_SHARE * (np.abs(flux) if dark else flux))
        return np.asarray((line > LINE_SIGMA * error) & most)

    def _circle_share(self, catalog: Rows) -> Floats:
        """Return the area of the circle as a fraction of an aperture swept along a streak."""
        swept = np.where(catalog.is_streak, 2 * catalog["length"], 0.0)
        circle = np.pi * self.fwhm  # areas over the radius, a FWHM
        share = circle / (circle + swept)
        return np.asarray(np.where(np.isfinite(share), share, 1.0))

    def _halos(self, least_snr: float) -> tuple[npt.NDArray[np.int64], Floats]:
        stars = np.flatnonzero(self.truth.is_point & (self.brightness >= least_snr))
        # The peak pixel of a matched filter's S/N: 0.88/w^2 over 0.66/w of a Gaussian.
        peak = 1.33 * self.brightness[stars] / self.fwhm
        falls = (peak / _WING_SIGMA) ** (1 / _WING_BETA) - 1
        width = 2 * np.sqrt(2 ** (1 / _WING_BETA) - 1)
        return stars, self.fwhm / width * np.sqrt(np.maximum(falls, 0.0))


def surroundings(source: FrameInput) -> Surroundings:
    """Return the surroundings of any position in a frame, from its truth.

    The latest results are cached, because they are the same for every detector and
    operating point. Caching all would take much memory for 10⁵ frames.
    """
    return _around(source.truth, source.fwhm, source.shape)


@lru_cache(maxsize=256)
def _around(truth: Catalog, fwhm: float | None, shape: tuple[int, int] | None) -> Surroundings:
    brightness = _brightness(truth)
    sharpest = _sharpest(truth, brightness, fwhm)
    known = UNKNOWN_FWHM_APERTURE_PX if fwhm is None else fwhm
    return Surroundings(truth, brightness, known, shape, sharpest)


def _brightness(truth: Catalog) -> Floats:
    n = len(truth)
    snr = np.array(truth["snr"], dtype=np.float64) if "snr" in truth else np.full(n, np.nan)
    unknown = ~np.isfinite(snr) & ~truth.is_streak
    if not unknown.any() or "aper_flux" not in truth:
        return snr
    points = truth.is_point & np.isfinite(truth["aper_flux"])
    flux, error, mag = truth["aper_flux"], truth["aper_flux_err"], truth["mag"]
    if not points.any():
        return snr
    # The errors of the fainter half are due to the background only.
    noise = float(np.median(error[points & (flux <= np.median(flux[points]))]))
    good = points & (flux > 10 * noise) & np.isfinite(mag)
    estimate = flux / noise
    if np.count_nonzero(good) >= _LEAST_STARS:
        level = float(np.median(mag[good] + 2.5 * np.log10(flux[good])))
        estimate = np.where(np.isfinite(mag), 10 ** (0.4 * (level - mag)) / noise, estimate)
    snr[unknown] = estimate[unknown]
    return snr


def _sharpest(truth: Catalog, brightness: Floats, fwhm: float | None) -> float:
    if "sharpness" in truth:
        low, high = _STAR_SNR
        star = truth.is_point & (brightness > low) & (brightness < high)
        star &= (truth["peak_snr"] > _STAR_PEAK_SNR) & np.isfinite(truth["sharpness"])
        values = truth["sharpness"][star]
        if values.size >= _LEAST_STARS:
            # Medians, because a cosmic ray may lie on a star.
            return float(np.median(values) + _STAR_SPREAD * mad_std(values))
    return float("nan") if fwhm is None else gaussian_sharpness(fwhm)


def _xy(x: Floats, y: Floats) -> Floats:
    return np.column_stack([x, y]).astype(np.float64, copy=False)


def hit(rows: npt.NDArray[np.int64], n: int) -> Bools:
    """Return a mask of ``n`` rows, True at the given ones."""
    out = np.zeros(n, dtype=bool)
    out[rows] = True
    return out
