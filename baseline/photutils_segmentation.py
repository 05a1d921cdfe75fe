"""The detector ``photutils-source-finder``: segmentation and deblending by photutils."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import photutils
from astropy.utils.exceptions import AstropyUserWarning
from photutils.segmentation import SourceCatalog, SourceFinder
from photutils.utils.exceptions import NoDetectionsWarning
from pydantic import ConfigDict, Field
from scipy.ndimage import label as islands
from scipy.ndimage import mean as mean_of

from skyduel.baseline.errors import DetectionError
from skyduel.baseline.filters import peak_snr, resolve_fwhm, snr_map
from skyduel.baseline.shapes import find_streaks, kind_columns
from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, one_line, takes
from skyduel.core.frame import Frame
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.measure.background import estimate_background
from skyduel.core.settings import Settings, build_settings

__all__ = ["PhotutilsFinder", "SourceFinderSettings", "source_finder"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Floats = npt.NDArray[np.float64]

_BLENDED: Final = 2


class SourceFinderSettings(Settings):
    """Settings of ``photutils-source-finder``; the deblending's are photutils' own defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Positive = Field(
        3.0, description="isophote, in standard deviations of the filtered image"
    )
    n_pixels: Annotated[int, Field(ge=1)] = Field(3, description="fewest connected pixels")
    connectivity: Literal[4, 8] = Field(8, description="neighbours of a pixel")
    deblend: bool = Field(True, description="whether to part blends")
    n_levels: Annotated[int, Field(ge=1, le=1024)] = Field(32, description="levels of deblending")
    contrast: Annotated[float, Field(ge=0, le=1)] = Field(
        0.001, description="least share of a blend's flux that makes a source of its own"
    )
    mode: Literal["exponential", "linear", "sinh"] = Field(
        "exponential", description="spacing of the levels"
    )
    kernel_fwhm_px: Positive | None = Field(
        None, description="FWHM of the Gaussian filter [px]; None: the frame's, or 2.5 px"
    )
    flux: Literal["kron", "segment"] = Field("kron", description="which flux is reported")
    BACK_SIZE: Annotated[int, Field(ge=1)] = Field(64, description="background mesh [px]")
    BACK_FILTERSIZE: Annotated[int, Field(ge=1)] = Field(3, description="median filter over meshes")
    streak_elongation: Annotated[float, Field(ge=1)] = Field(3.0, description="as for SEP")
    streak_length_fwhm: Positive = Field(3.0, description="as for SEP")
    score_threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        4.0, description="default operating point"
    )


@dataclass(frozen=True)
class PhotutilsFinder:
    """Detect connected pixels above a threshold, deblended by photutils' watershed.

    Parameters
    ----------
    name : str
        Name shown in tables and figures.
    settings : SourceFinderSettings
        Everything that can be chosen.

    Notes
    -----
    The threshold is applied to the map of matched-filter signal-to-noise
    (`skyduel.baseline.filters.snr_map`), so that it means the same everywhere. Its
    default and the operating point are those of ``sep-matched``, so that the two can be
    compared. Unlike SExtractor, photutils divides a blend by watershed at the
    saddle and assigns no pixel at random.
    """

    name: str
    settings: SourceFinderSettings

    @takes(frame=Frame)
    def __call__(self, frame: Frame) -> Catalog:
        """Return the detections on one frame.

        Parameters
        ----------
        frame : Frame
            Left unchanged. Masked pixels belong to no segment.

        Returns
        -------
        Catalog
            In photutils' order. ``x``, ``y`` are centroids within the segment
            on the filtered image, 0-based px; ``score`` the peak matched-filter
            signal-to-noise as for SEP; ``flags`` 2 where a blend was divided.

        Raises
        ------
        DetectionError
            If photutils fails on this frame.
        """
        chosen = self.settings
        sky = estimate_background(frame, chosen.BACK_SIZE, chosen.BACK_FILTERSIZE)
        residual = np.clip(frame.data.astype(np.float64) - sky.level, -1e30, 1e30)
        residual[frame.bad] = 0.0
        fwhm = resolve_fwhm(frame, chosen.kernel_fwhm_px)
        snr = snr_map(residual, sky.rms, frame.bad, fwhm)
        meta = {
            "detector": self.name,
            "photutils_version": photutils.__version__,
            "kernel_fwhm_px": fwhm,
        }
        try:
            measured = _measure(chosen, frame, residual, sky.rms, snr)
        except Exception as error:  # photutils raises plain errors on data that it cannot divide
            raise DetectionError(frame.name, f"photutils: {one_line(error)}") from error
        if measured is None:
            return Catalog.build(source=self.name, meta=meta, x=np.zeros(0), y=np.zeros(0))
        a, b, flux = measured["a"], measured["b"], measured["flux"]
        score = peak_snr(snr, measured["x"], measured["y"])
        streak = find_streaks(a, b, score, measured["flags"] == 0, fwhm=fwhm, limits=chosen)
        return Catalog.build(
            source=self.name,
            meta=meta,
            x=measured["x"],
            y=measured["y"],
            flux=flux,
            flux_err=measured["flux_err"],
            mag=flux_to_mag(flux, frame.zero_point),
            score=score,
            **kind_columns(a, b, measured["theta"], streak),
            flags=measured["flags"],
        )


def source_finder(**settings: Any) -> PhotutilsFinder:
    """Return ``photutils-source-finder``: photutils' segmentation with deblending.

    Parameters
    ----------
    **settings
        Fields of `SourceFinderSettings`.

    Raises
    ------
    BadInputError
        For an unknown setting or a value not allowed, or where deblending is
        asked for and scikit-image, whose watershed photutils uses, is missing.
    """
    name = "photutils-source-finder"
    chosen = build_settings(SourceFinderSettings, f"detector {name}", settings)
    if chosen.deblend and find_spec("skimage") is None:
        raise BadInputError(
            f"detector {name}",
            "scikit-image for deblending (pip install scikit-image), or the setting deblend=false",
            "scikit-image not installed",
        )
    return PhotutilsFinder(name, chosen)


def _measure(
    chosen: SourceFinderSettings,
    frame: Frame,
    residual: Floats,
    rms: npt.NDArray[np.float32],
    snr: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[Any]] | None:
    """Return positions, shapes and fluxes of the segments, each of shape (n,); None for none."""
    bad = frame.bad if frame.bad.any() else None
    finder = SourceFinder(
        chosen.n_pixels,
        connectivity=chosen.connectivity,
        deblend=chosen.deblend,
        n_levels=chosen.n_levels,
        contrast=chosen.contrast,
        mode=chosen.mode,
    )
    variance = np.square(rms, dtype=np.float64)
    if frame.gain is not None:
        variance = variance + np.maximum(residual, 0.0) / frame.gain
    with warnings.catch_warnings():
        # Neither an empty result nor a change of the deblending levels deserves a warning.
        warnings.simplefilter("ignore", NoDetectionsWarning)
        warnings.simplefilter("ignore", AstropyUserWarning)
        segments = finder(snr, chosen.threshold, mask=bad)
        if segments is None:
            return None
        with np.errstate(all="ignore"):
            objects = SourceCatalog(
                residual, segments, convolved_data=snr, error=np.sqrt(variance), mask=bad
            )
            flux = np.atleast_1d(getattr(objects, f"{chosen.flux}_flux"))
            flux_err = np.atleast_1d(getattr(objects, f"{chosen.flux}_flux_err"))
            plain = {
                "x": np.atleast_1d(objects.x_centroid),
                "y": np.atleast_1d(objects.y_centroid),
                "a": np.atleast_1d(objects.semimajor_axis.value),
                "b": np.atleast_1d(objects.semiminor_axis.value),
                "theta": np.atleast_1d(objects.orientation.to_value("rad")),
            }
    labels = np.asarray(objects.labels)
    parted = _parted(np.asarray(segments.data), labels, snr >= chosen.threshold)
    found = {name: np.asarray(values, dtype=np.float64) for name, values in plain.items()}
    # A single row of pixels has no width.
    for name in ("a", "b", "theta"):
        found[name] = np.nan_to_num(found[name])
    # The barycentre of a map that is negative somewhere may lie anywhere.
    ny, nx = frame.shape
    inside = (np.abs(found["x"] - (nx - 1) / 2) <= nx / 2) & (
        np.abs(found["y"] - (ny - 1) / 2) <= ny / 2
    )
    middle_y, middle_x = _middles(np.asarray(segments.data), labels)
    found["x"] = np.where(inside, found["x"], middle_x)
    found["y"] = np.where(inside, found["y"], middle_y)
    return {
        **found,
        "flux": np.asarray(flux, dtype=np.float64),
        "flux_err": np.asarray(flux_err, dtype=np.float64),
        "flags": np.where(parted, _BLENDED, 0).astype(np.int64),
    }


def _parted(
    segments: npt.NDArray[Any], labels: npt.NDArray[Any], above: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return True for each segment that shares its connected pixels with another, shape (n,)."""
    island, _ = islands(above & (segments > 0), np.ones((3, 3)))
    rows, columns = np.nonzero(segments)
    number = np.zeros(int(segments.max()) + 1, dtype=np.int64)
    number[segments[rows, columns]] = island[rows, columns]
    mine = number[labels]
    shared = np.bincount(mine)
    return np.asarray(shared[mine] > 1)


def _middles(segments: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the mean row and column of each segment's pixels."""
    y, x = np.indices(segments.shape)
    return (
        np.asarray(mean_of(y, segments, labels), dtype=np.float64),
        np.asarray(mean_of(x, segments, labels), dtype=np.float64),
    )
