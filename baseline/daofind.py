"""The detector ``daofind``: peaks of the matched filter by photutils' DAOStarFinder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from photutils.detection import DAOStarFinder
from photutils.utils.exceptions import NoDetectionsWarning
from pydantic import ConfigDict, Field
from scipy.ndimage import label as find_patches
from scipy.ndimage import maximum_filter

from skyduel.baseline.filters import peak_snr, resolve_fwhm, snr_map
from skyduel.core.catalog import Catalog
from skyduel.core.detector import DetectorInfo
from skyduel.core.errors import takes
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import as_own_flux, forced_photometry
from skyduel.core.measure.background import estimate_background
from skyduel.core.search_space import Choice, Range, Space
from skyduel.core.settings import Settings, build_settings

__all__ = ["Daofind", "DaofindSettings", "daofind"]

#: DAOFIND's own settings, and the sky's mesh.
DAOFIND_SPACE: Final[Space] = {
    "kernel_fwhm_scale": Range(0.7, 1.5, log=True),
    "threshold": Range(2.0, 4.0),
    "sigma_radius": Range(1.5, 3.5),
    "sharpness_lo": Range(0.0, 0.5),
    "sharpness_hi": Range(0.8, 2.0),
    "roundness_limit": Range(0.5, 2.0),
    "min_separation_fwhm": Range(0.0, 0.8),
    "BACK_SIZE": Choice((16, 32, 64, 128)),
    "peaks": Choice(("daofind", "matched")),
    "score": Choice(("matched", "daofind")),
}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Floats = npt.NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class DaofindSettings(Settings):
    """Settings of ``daofind``; the limits on shape are DAOFIND's own defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Positive = Field(
        3.0, description="lowest height of a peak, in standard deviations of the filtered image"
    )
    peaks: Literal["daofind", "matched"] = Field(
        "daofind",
        description="daofind: peaks of the image under DAOFIND's filter, a Gaussian less its mean, "
        "held to limits on shape; matched: peaks of the map of matched-filter signal-to-noise, "
        "which trusts the mesh's sky, goes deeper, and asks nothing of the shape",
    )
    kernel_fwhm_px: Positive | None = Field(
        None, description="FWHM of the Gaussian [px]; None: the frame's, or 2.5 px if unknown"
    )
    kernel_fwhm_scale: Positive = Field(1.0, description="... times this")
    sigma_radius: Annotated[float, Field(ge=0.5, le=6)] = Field(
        1.5, description="radius at which the Gaussian is cut off, in its standard deviations"
    )
    sharpness_lo: Finite = Field(0.2, description="least sharpness: below are blends, bad columns")
    sharpness_hi: Finite = Field(1.0, description="largest sharpness: above are hot pixels")
    roundness_limit: Positive = Field(
        1.0, description="largest departure from round, of either of DAOFIND's two measures"
    )
    min_separation_fwhm: Annotated[float, Field(ge=0, le=5)] = Field(
        0.0,
        description="of peaks closer than this many FWHM the brighter stays; 0: as far as "
        "DAOFIND's filter reaches, or the next pixel for matched peaks",
    )
    score: Literal["matched", "daofind"] = Field(
        "matched",
        description="matched: peak signal-to-noise above the sky of the mesh; daofind: that of "
        "DAOFIND's filter, which takes the sky under the filter itself",
    )
    BACK_SIZE: Annotated[int, Field(ge=1)] = Field(64, description="background mesh [px]")
    BACK_FILTERSIZE: Annotated[int, Field(ge=1)] = Field(3, description="median filter over meshes")
    score_threshold: Finite | None = Field(4.0, description="default operating point")


@dataclass(frozen=True)
class Daofind:
    """Detect the peaks of the filtered frame.

    Parameters
    ----------
    name : str
        Name shown in tables and figures.
    settings : DaofindSettings
        Everything that can be chosen.

    Notes
    -----
    The algorithm is DAOFIND (Stetson 1987, PASP 99, 191). Its input is the frame minus
    the background, divided by the local noise, so that a threshold means the same
    signal-to-noise everywhere. Every detection is a point source: DAOFIND does not
    detect streaks.
    """

    name: str
    settings: DaofindSettings

    @takes(frame=Frame)
    def __call__(self, frame: Frame) -> Catalog:
        """Return the detections on one frame.

        Parameters
        ----------
        frame : Frame
            Left unchanged. Masked pixels are not used and hold no peak.

        Returns
        -------
        Catalog
            One row per peak; ``x``, ``y`` from fits to the marginal sums, 0-based
            px; ``score`` a signal-to-noise (`DaofindSettings.score`); fluxes
            are those of the common forced aperture.
        """
        (found,) = self.variants(frame, [{}])
        return as_own_flux(frame, forced_photometry(frame, found))

    @property
    def info(self) -> DetectorInfo:
        """States that fluxes are those of an aperture."""
        return DetectorInfo(flux_kind="aper")

    @property
    def tuning_space(self) -> Space:
        """Settings that may be tuned on a calibration split: `DAOFIND_SPACE`."""
        return DAOFIND_SPACE

    def variants(self, frame: Frame, changes: Sequence[Mapping[str, Any]]) -> Iterator[Catalog]:
        """Yield the catalogue for each of several changes of settings, without fluxes.

        The whitened frame is computed once for all variants with the same mesh.
        """
        skies: dict[tuple[int, int], tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
        for change in changes:
            chosen = build_settings(DaofindSettings, f"detector {self.name}", change, self.settings)
            key = (chosen.BACK_SIZE, chosen.BACK_FILTERSIZE)
            if key not in skies:
                sky = estimate_background(frame, *key)
                residual = frame.data.astype(np.float64) - sky.level
                skies[key] = (np.clip(residual / sky.rms, -1e12, 1e12), sky.rms)
            yield self._detect(frame, chosen, *skies[key])

    def _detect(
        self,
        frame: Frame,
        chosen: DaofindSettings,
        whitened: npt.NDArray[np.float64],
        rms: npt.NDArray[np.floating],
    ) -> Catalog:
        """Return the peaks of the frame over its noise."""
        fwhm = resolve_fwhm(frame, chosen.kernel_fwhm_px) * chosen.kernel_fwhm_scale
        snr = snr_map(whitened, np.ones_like(whitened), frame.bad, fwhm)
        if chosen.peaks == "matched":
            x, y, score = _matched_peaks(snr, frame.bad, chosen, fwhm)
        else:
            x, y, score = _daofind_peaks(whitened, frame.bad, chosen, fwhm)
        if chosen.score == "matched":
            score = peak_snr(snr, x, y)
        meta = {"detector": self.name, "kernel_fwhm_px": fwhm}
        return Catalog.build(source=self.name, meta=meta, x=x, y=y, score=score)


def _daofind_peaks(
    whitened: Floats, bad: npt.NDArray[np.bool_], chosen: DaofindSettings, fwhm: float
) -> tuple[Floats, Floats, Floats]:
    """Return x, y [px] and signal-to-noise of DAOFIND's peaks."""
    finder = DAOStarFinder(
        threshold=chosen.threshold,
        fwhm=fwhm,
        sigma_radius=chosen.sigma_radius,
        sharpness_range=(chosen.sharpness_lo, chosen.sharpness_hi),
        roundness_range=(-chosen.roundness_limit, chosen.roundness_limit),
        min_separation=chosen.min_separation_fwhm * fwhm,
    )
    with warnings.catch_warnings():
        # An empty result is no reason for a warning.
        warnings.simplefilter("ignore", NoDetectionsWarning)
        peaks = finder(whitened, mask=bad if bad.any() else None)
    if peaks is None:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    ny, nx = whitened.shape
    x = np.clip(np.asarray(peaks["x_centroid"], dtype=np.float64), -0.5, nx - 0.5)
    y = np.clip(np.asarray(peaks["y_centroid"], dtype=np.float64), -0.5, ny - 0.5)
    # photutils' magnitude is that of the ratio of the peak and the threshold.
    return x, y, chosen.threshold * 10.0 ** (-0.4 * np.asarray(peaks["daofind_mag"]))


def _matched_peaks(
    snr: npt.NDArray[np.float32],
    bad: npt.NDArray[np.bool_],
    chosen: DaofindSettings,
    fwhm: float,
) -> tuple[Floats, Floats, Floats]:
    """Return x, y [px] and height of the local maxima of a map, positions by parabolas."""
    reach = max(1.5, chosen.min_separation_fwhm * fwhm)
    half = int(reach)
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    highest = maximum_filter(snr, footprint=dx**2 + dy**2 <= reach**2, mode="nearest")
    peak = (snr >= highest) & (snr >= chosen.threshold) & ~bad
    label, _ = find_patches(peak, np.ones((3, 3)))
    row, column = np.nonzero(peak)
    # A plateau is one source, at its first pixel.
    _, first = np.unique(label[row, column], return_index=True)
    row, column = row[first], column[first]
    padded = np.pad(snr.astype(np.float64), 1, mode="edge")
    middle = padded[row + 1, column + 1]
    x = column + _vertex(padded[row + 1, column], middle, padded[row + 1, column + 2])
    y = row + _vertex(padded[row, column + 1], middle, padded[row + 2, column + 1])
    return x, y, middle


def _vertex(before: Floats, at: Floats, after: Floats) -> Floats:
    """Return the vertex of a parabola through three neighbouring values, in [-1/2, 1/2]."""
    bend = 2.0 * at - before - after
    with np.errstate(divide="ignore", invalid="ignore"):
        top = np.where(bend > 0, (after - before) / (2.0 * bend), 0.0)
    return np.clip(top, -0.5, 0.5)


def daofind(**settings: Any) -> Daofind:
    """Return ``daofind``: matched-filter peaks of round, star-like shape.

    Parameters
    ----------
    **settings
        Override fields of `DaofindSettings`.

    Raises
    ------
    BadInputError
        For an unknown setting or a value not allowed.
    """
    return Daofind("daofind", build_settings(DaofindSettings, "detector daofind", settings))
