"""The settings of the SEP baseline, under SExtractor's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from skyduel.core.settings import Settings

__all__ = ["MATCHED", "SepSettings"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

#: What ``sep-matched`` and the detectors built on it change in `SepSettings`.
MATCHED: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "thresholding": "whitened",
        "kernel": "gaussian",
        "DETECT_THRESH": 3.0,
        "DETECT_MINAREA": 1,
        "CLEAN": False,
        "score_threshold": 4.0,
    }
)


class SepSettings(Settings):
    """Settings of the SEP baseline; the defaults are SExtractor's shipped ones.

    Names in capitals are SExtractor's and have the same meaning. Two
    defaults need an explanation: ``DETECT_MINAREA`` is 3 in the ``default.sex`` that
    SExtractor is shipped with, 5 in the template compiled into the program
    (``sex -d``) and in SEP, and the shipped file is what users start from;
    ``SATUR_LEVEL`` is 50000 in SExtractor where the header says nothing, and
    here such a frame has no saturated pixels.

    Parameters
    ----------
    DETECT_THRESH : float
        Threshold in units of the noise. Which noise is set by `thresholding`.
    thresholding : {"convolved", "matched", "whitened"}
        ``"convolved"``: the filtered image against ``DETECT_THRESH`` times one
        noise for the whole frame, that of the *unfiltered* image. This is
        what SExtractor does with ``THRESH_TYPE RELATIVE`` and
        ``WEIGHT_TYPE NONE``: its threshold is the detection threshold times
        the global sigma of the background mesh, and only a weight map makes
        it local. The other two threshold a map of signal-to-noise. For white
        noise a filter ``k`` of unit sum gives
        ``T_convolved = T_matched * sqrt(sum(k**2))``: 0.375 for
        ``default.conv``. ``"matched"`` is SEP's own map (an array of noise and
        ``filter_type="matched"``). SEP then deblends from
        ``DETECT_THRESH`` times the noise of the *unfiltered* image and cleans
        against a threshold of 0, so that faint companions of brighter sources
        are neither separated nor kept. ``"whitened"`` gives SEP the
        image divided by its local noise and the threshold above: the same map
        where the noise varies slowly, and deblending and cleaning work.
    DETECT_MINAREA : int
        Fewest connected pixels above the threshold.
    FILTER : bool
        Filter before thresholding.
    kernel : {"default", "gaussian", "file"}
        ``default.conv`` (3 by 3, FWHM about 2 px), a Gaussian, or
        `kernel_values`.
    kernel_values : tuple of tuple of float or None
        Rows of a filter, from a ``.conv`` file; divided by the sum of their
        absolute values, by SEP as by SExtractor.
    kernel_fwhm_px : float or None
        FWHM of the Gaussian [px], for filtering and for the score; None takes
        the frame's, or 2.5 px where that is unknown.
    kernel_fwhm_scale : float
        ... times this, so that one setting suits frames of different seeing.
    DEBLEND_NTHRESH, DEBLEND_MINCONT : int, float
        Levels and least contrast of deblending.
    CLEAN, CLEAN_PARAM : bool, float
        Removal of detections in the wings of brighter ones.
    MASK_TYPE : {"CORRECT", "NONE"}
        ``"CORRECT"`` leaves the pixels of neighbours out of an object's apertures. SEP
        fills them with the mean of the rest of the aperture, SExtractor with
        the pixels opposite.
    flux : {"auto", "iso", "aper"}
        Which flux is reported: Kron's ellipse (FLUX_AUTO), the isophotal sum
        (FLUX_ISO), or a circle (FLUX_APER).
    PHOT_AUTOPARAMS : (float, float)
        Kron factor and least radius, in units of the ellipse's axes.
    PHOT_APERTURES : float
        Diameter of the circle [px].
    SATUR_LEVEL : float or None
        Saturation level [ADU]; None takes the frame's.
    BACK_SIZE, BACK_FILTERSIZE : int
        Background mesh [px] and its median filter [meshes].
    MEMORY_PIXSTACK, sub_object_limit : int
        Initial values of SEP's limits. They are raised for a frame that needs more.
    classifier : {"rule", "trained"}
        How streaks are told from points: by the two limits that follow, or by the
        trees of `skyduel.baseline.sep.shape_classifier`.
    shapes : bool
        If True, the catalogue also has the shape parameters, as columns
        ``shape_...`` (`skyduel.baseline.sep.shape_classifier.FEATURES`).
    streak_elongation : float
        A streak's a/b is at least this ...
    streak_length_fwhm : float
        ... and its length at least this many stellar FWHM; see
        `skyduel.baseline.shapes.classify`.
    score_threshold : float or None
        The default operating point; None: every row returned.
    config : Path or None
        A ``.sex`` file that the settings were read from
        (`skyduel.baseline.sep.sextractor_config.from_sextractor`).
    not_reproduced : tuple of str
        The requests of that file that SEP cannot fulfil.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    DETECT_THRESH: Positive = 1.5
    thresholding: Literal["convolved", "matched", "whitened"] = "convolved"
    DETECT_MINAREA: Annotated[int, Field(ge=1)] = 3
    FILTER: bool = True
    kernel: Literal["default", "gaussian", "file"] = "default"
    kernel_values: tuple[tuple[Finite, ...], ...] | None = None
    kernel_fwhm_px: Positive | None = None
    kernel_fwhm_scale: Positive = 1.0
    DEBLEND_NTHRESH: Annotated[int, Field(ge=1, le=64)] = 32
    DEBLEND_MINCONT: Annotated[float, Field(ge=0, le=1)] = 0.005
    CLEAN: bool = True
    CLEAN_PARAM: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    MASK_TYPE: Literal["CORRECT", "NONE"] = "CORRECT"
    flux: Literal["auto", "iso", "aper"] = "auto"
    PHOT_AUTOPARAMS: tuple[Positive, Positive] = (2.5, 3.5)
    PHOT_APERTURES: Positive = 5.0
    SATUR_LEVEL: Finite | None = None
    BACK_SIZE: Annotated[int, Field(ge=1)] = 64
    BACK_FILTERSIZE: Annotated[int, Field(ge=1)] = 3
    MEMORY_PIXSTACK: Annotated[int, Field(ge=1_000)] = 300_000
    sub_object_limit: Annotated[int, Field(ge=1, le=32_767)] = 1_024
    classifier: Literal["rule", "trained"] = "rule"
    shapes: bool = False
    streak_elongation: Annotated[float, Field(ge=1)] = 3.0
    streak_length_fwhm: Positive = 3.0
    score_threshold: Finite | None = None
    config: Path | None = None
    not_reproduced: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _filter_is_there(self) -> Self:
        rows = self.kernel_values
        if (self.kernel == "file") != (rows is not None):
            raise ValueError("kernel 'file' and kernel_values go together")
        if rows is not None:
            widths = {len(row) for row in rows}
            if len(widths) != 1 or widths == {0} or not any(map(any, rows)):
                raise ValueError("kernel_values to be rows of one length, not all 0")
        return self
