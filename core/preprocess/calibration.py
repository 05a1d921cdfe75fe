"""Bias, dark and flat: combine exposures to masters and apply them; ccdproc does the arithmetic."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.stats import mad_std
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.errors import BadInputError
from skyduel.core.extras import missing_extra
from skyduel.core.preprocess.card_numbers import with_point

__all__ = ["KINDS", "Conditions", "Kind", "Masters", "applied", "combined", "hot_pixels"]

Kind = Literal["bias", "dark", "flat"]
KINDS: Final[tuple[Kind, ...]] = ("bias", "dark", "flat")
Pixels = npt.NDArray[np.float32]

#: From so many exposures on outliers are clipped; of fewer the median is taken.
_CLIPPED_FROM: Final = 5
_CLIP_SIGMA: Final = 3.0
#: A pixel is hot if the dark exceeds its median by this many times its scatter.
_HOT_SIGMA: Final = 10.0
#: Exposure times that differ by less than this part are equal.
_SAME_TIME: Final = 0.01
#: A dark taken at a temperature that differs by more than this is named [°C].
_SAME_TEMPERATURE_C: Final = 1.0
#: Pixels of a flat below this part of its median see too little sky.
_LEAST_FLAT: Final = 0.1
_TEMPERATURES: Final = ("CCD-TEMP", "CCDTEMP", "DET-TEMP", "DETTEMP", "SET-TEMP")
#: Letters of MaxIm DL's card CALSTAT.
_DONE: Final[Mapping[Kind, str]] = {"bias": "B", "dark": "D", "flat": "F"}


def _ccdproc(source: str) -> ModuleType:
    """Import ccdproc."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its many dependencies warn while they load
            return import_module("ccdproc")
    except ImportError as error:
        raise missing_extra(source, error) or error from error


@dataclass(frozen=True)
class Conditions:
    """How an exposure was taken, as its header states it.

    Parameters
    ----------
    name : str
        For messages.
    shape : (ny, nx)
        Of the image [px].
    exposure_s : float, optional
        Exposure time [s].
    temperature_c : float, optional
        Temperature of the detector [°C].
    binning : str
        As ``2x2``; empty if unknown.
    filter : str
        Name of the filter; empty if unknown.
    done : str
        Letters of CALSTAT: B, D and F for the steps that were applied before.
    """

    name: str
    shape: tuple[int, int]
    exposure_s: float | None = None
    temperature_c: float | None = None
    binning: str = ""
    filter: str = ""
    done: str = ""

    @classmethod
    def of(
        cls, name: str, shape: tuple[int, int], exposure_s: float | None, header: Mapping[str, Any]
    ) -> Conditions:
        """Return the conditions that a header states."""
        degrees = (_number(header.get(card)) for card in _TEMPERATURES)
        binning = [_number(header.get(card)) for card in ("XBINNING", "YBINNING")]
        known = [f"{n:g}" for n in binning if n is not None]
        return cls(
            name,
            shape,
            exposure_s,
            next((t for t in degrees if t is not None), None),
            "x".join(known * 2 if len(known) == 1 else known),
            str(header.get("FILTER", "")).strip(),
            str(header.get("CALSTAT", "")).strip().upper(),
        )

    def require_like(self, other: Conditions) -> None:
        """Refuse another exposure of another size or binning.

        Raises
        ------
        BadInputError
            In one line with both.
        """
        for what, mine, theirs in (
            ("px (x, y)", self.shape[::-1], other.shape[::-1]),
            ("binning", self.binning, other.binning),
        ):
            if mine and theirs and mine != theirs:
                raise BadInputError(
                    other.name, f"{what} {_words(mine)} as {self.name}", _words(theirs)
                )


def _words(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _number(value: object) -> float | None:
    """Return a card's value as a finite number, None if it is none."""
    try:
        number = float(with_point(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, eq=False)
class Masters:
    """Combined calibration exposures of one size.

    Parameters
    ----------
    bias, dark, flat : ndarray of float32, shape (ny, nx), or None
        Bias and dark [ADU]; with a bias, the dark is without it. The flat has a median of 1.
    taken : mapping of kind to Conditions
        Those of the first exposure of each kind.
    counts : mapping of kind to int
        Number of exposures.
    hot : ndarray of bool, shape (ny, nx), or None
        Pixels that `hot_pixels` finds in the dark.
    """

    bias: Pixels | None = None
    dark: Pixels | None = None
    flat: Pixels | None = None
    taken: Mapping[Kind, Conditions] = field(default_factory=dict)
    counts: Mapping[Kind, int] = field(default_factory=dict)
    hot: npt.NDArray[np.bool_] | None = None

    def of(self, kind: Kind) -> Pixels | None:
        """Return the master of a kind."""
        return {"bias": self.bias, "dark": self.dark, "flat": self.flat}[kind]

    def for_frame(self, frame: Conditions) -> Masters:
        """Return the masters without those steps that the frame's CALSTAT says are done."""
        kept = [kind for kind in KINDS if _DONE[kind] not in frame.done]
        return Masters(
            **{kind: self.of(kind) for kind in kept},
            taken={kind: c for kind, c in self.taken.items() if kind in kept},
            counts={kind: n for kind, n in self.counts.items() if kind in kept},
            hot=self.hot if "dark" in kept else None,
        )

    def scale_for(self, frame: Conditions) -> float:
        """Return the factor of the dark: ratio of the exposure times, 1 if one is unknown.

        Raises
        ------
        BadInputError
            If the times differ and there is no bias: the dark then holds the bias, which does
            not grow with time.
        """
        dark = self.taken.get("dark")
        if dark is None or dark.exposure_s is None or frame.exposure_s is None:
            return 1.0
        if abs(frame.exposure_s - dark.exposure_s) <= _SAME_TIME * max(dark.exposure_s, 1e-9):
            return 1.0
        if self.bias is None or dark.exposure_s <= 0:
            raise BadInputError(
                frame.name,
                f"a dark of the same exposure time of {frame.exposure_s:g} s, or a bias as well",
                f"{dark.name} of {dark.exposure_s:g} s",
            )
        return frame.exposure_s / dark.exposure_s

    def notes(self, frame: Conditions) -> tuple[str, ...]:
        """Return in words what is applied to a frame, and what does not quite fit."""
        lines = []
        steps = [
            f"{kind} of {n} exposure{'' if n == 1 else 's'}" for kind, n in self.counts.items()
        ]
        dark = self.taken.get("dark")
        scale = self.scale_for(frame)
        if scale != 1 and dark is not None:
            steps.append(f"dark scaled by {scale:.4g}")
        if self.hot is not None:
            steps.append(f"{int(self.hot.sum())} hot pixels masked")
        if steps:
            lines.append(f"{frame.name}: calibrated: {', '.join(steps)}")
        if frame.done:
            lines.append(f"{frame.name}: CALSTAT = {frame.done}: these steps are not repeated")
        warm = None if dark is None else dark.temperature_c
        if warm is not None and frame.temperature_c is not None and dark is not None:
            apart = abs(warm - frame.temperature_c)
            if apart > _SAME_TEMPERATURE_C:
                lines.append(
                    f"{dark.name}: taken at {warm:.1f} °C, the frame {frame.name} at "
                    f"{frame.temperature_c:.1f} °C: hot pixels are over- or undersubtracted"
                )
        if dark is not None and (dark.exposure_s is None) != (frame.exposure_s is None):
            unknown = dark.name if dark.exposure_s is None else frame.name
            lines.append(f"{unknown}: no exposure time: the dark is not scaled")
        flat = self.taken.get("flat")
        if flat is not None and flat.filter and frame.filter and flat.filter != frame.filter:
            lines.append(
                f"{flat.name}: filter {flat.filter}, the frame {frame.name} has {frame.filter}"
            )
        return tuple(lines)


def combined(stack: Sequence[npt.NDArray[Any]], name: str) -> Pixels:
    """Combine exposures of one kind pixel by pixel.

    Parameters
    ----------
    stack : sequence of ndarray, shape (ny, nx) each
        NaN where an exposure has no value.
    name : str
        For messages.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Of five or more exposures the mean of the values within 3 sigma of their median, where
        sigma is the pixel's own scatter (1.4826 MAD) or the median scatter of all pixels,
        whichever is larger; so cosmic rays are left out and quantised values are not. Of two to
        four exposures the median; one exposure as it is. NaN where no exposure has a value.
    """
    images = [np.asarray(one, dtype=np.float64) for one in stack]
    if len(images) == 1:
        return images[0].astype(np.float32)
    from astropy.nddata import CCDData  # takes long to load, as ccdproc does

    ccdproc = _ccdproc(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (AstropyWarning, RuntimeWarning))
        combiner = ccdproc.Combiner(
            [CCDData(one, unit=u.adu, mask=~np.isfinite(one)) for one in images]
        )
        if len(images) < _CLIPPED_FROM:
            made = combiner.median_combine()
        else:
            typical = float(np.nanmedian(mad_std(np.stack(images), axis=0, ignore_nan=True)))

            def scatter(values: Any, axis: int | None = None) -> Any:
                return np.maximum(mad_std(values, axis=axis, ignore_nan=True), typical)

            combiner.sigma_clipping(
                low_thresh=_CLIP_SIGMA, high_thresh=_CLIP_SIGMA, func="median", dev_func=scatter
            )
            made = combiner.average_combine()
    pixels = np.asarray(made.data, dtype=np.float32)
    if made.mask is not None:
        pixels = np.where(made.mask, np.float32(np.nan), pixels)
    return pixels


def hot_pixels(dark: Pixels) -> npt.NDArray[np.bool_]:
    """Return True where a dark exceeds its median by ten times its scatter.

    The scatter is 1.4826 MAD, or the standard deviation of a dark most of whose pixels are equal.
    """
    values = dark[np.isfinite(dark)].astype(np.float64)
    scatter = float(mad_std(values)) or float(np.std(values))
    return np.asarray(dark > np.median(values) + _HOT_SIGMA * scatter)


def applied(
    pixels: npt.NDArray[Any],
    masters: Masters,
    scale: float,
    box: tuple[slice, slice],
    name: str,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return calibrated pixels of a box, and True where they are of no use.

    Parameters
    ----------
    pixels : ndarray, shape of the box
        Raw values without overscan [ADU].
    masters : Masters
        Of the whole frame.
    scale : float
        Of the dark (`Masters.scale_for`).
    box : tuple of slice
        Rows and columns.
    name : str
        For messages.

    Returns
    -------
    pixels : ndarray of float64
        (pixels - bias - scale * dark) / flat [ADU]: the gain stays what it was in the median.
    bad : ndarray of bool
        Hot pixels, pixels where a master has no value, and where the flat is below a tenth.
    """
    from astropy.nddata import CCDData

    ccdproc = _ccdproc(name)
    ccd = CCDData(np.array(pixels, dtype=np.float64), unit=u.adu)
    bad = np.zeros(ccd.shape, dtype=bool)
    if masters.hot is not None:
        bad |= masters.hot[box]
    for kind in KINDS:
        master = masters.of(kind)
        if master is None:
            continue
        part = np.asarray(master[box], dtype=np.float64)
        usable = np.isfinite(part)
        if kind == "flat":
            usable &= part >= _LEAST_FLAT
            flat = CCDData(np.where(usable, part, 1.0), unit=u.dimensionless_unscaled)
            ccd = ccdproc.flat_correct(ccd, flat, norm_value=1.0)
        else:
            less = CCDData(np.where(usable, part, 0.0), unit=u.adu)
            if kind == "bias":
                ccd = ccdproc.subtract_bias(ccd, less)
            else:
                ccd = ccdproc.subtract_dark(
                    ccd, less, dark_exposure=1.0 * u.s, data_exposure=scale * u.s,
                    exposure_unit=u.s, scale=True,
                )  # fmt: skip
        bad |= ~usable
    return np.asarray(ccd.data, dtype=np.float64), bad
