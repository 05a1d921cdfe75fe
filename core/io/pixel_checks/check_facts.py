"""Check the facts of a header against the pixels of the frame itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sep

from skyduel.core.errors import BadInputError
from skyduel.core.frame import FactSource
from skyduel.core.io.images.fact_rules import FACT_RULES, UnusableError
from skyduel.core.io.images.fits_metadata import IGNORED_KEY
from skyduel.core.io.images.pixel_units import pixel_unit
from skyduel.core.io.pixel_checks.photon_transfer import PhotonTransfer, photon_transfer
from skyduel.core.measure.medians import median

__all__ = [
    "MEASURED_GAIN",
    "StarWidths",
    "central_box",
    "check_given",
    "checked_facts",
    "star_widths",
]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: Side of the box in a frame's middle that facts are checked on [px].
_BOX_PX: Final = 1024
#: So many stars, no fewer, give a width; of more the brightest are taken.
_FEWEST_STARS: Final = 10
_MOST_STARS: Final = 200
#: A width outside the quartiles of the stars' by more than this factor is not theirs.
_WIDTHS_AGREE: Final = 1.7
_THRESHOLD_SIGMA: Final = 5.0
_BRIGHT_SIGMA: Final = 20.0
_ROUND: Final = 1.5
_UNSATURATED: Final = 0.9
#: Noise is measured on so many rows, on pixels so far apart [px].
_NOISE_ROWS: Final = 128
_APART_PX: Final = 8
_FEWEST_PIXELS: Final = 200
_SIGMA_OF_MEDIAN: Final = 1.4826
#: A level of the sky below so many times the noise is that of a subtracted sky.
_LEAST_SKY_SIGMA: Final = 3.0
#: Variance over that of the sky's photons: resampling lowers it, read noise raises it.
_LEAST_PROVEN, _MOST_PROVEN = 0.2, 3.0
_LEAST_CO_ADDED: Final = 0.02
#: Below it not even a bias level of thousands explains a noise; of pixels from 0 to 1 sooner.
_IMPOSSIBLE, _FRACTIONS = 1e-4, 2e-2
#: Cards with the number of exposures that were added up or averaged.
_CO_ADDED: Final = ("NCOMBINE", "NCOADD", "NCOADDS", "NIMAGES", "NFRAMES", "STACKCNT", "NSTACK",
                    "NEXP", "NINPUTS")  # fmt: skip
#: Cards of colour mosaics.
_OF_MOSAICS: Final = ("BAYERPAT", "COLORTYP")
#: The source of a gain that no header states.
MEASURED_GAIN: Final = "measured from the photon noise of the frame's own sources"
_NO_SOURCE: Final = FactSource("", None)
#: Narrower ones are cosmic rays and hot pixels [px].
_NARROWEST_PX: Final = 1.05


@dataclass(frozen=True)
class StarWidths:
    """Full widths at half maximum of a frame's stars [px]: quartiles, median and number."""

    low: float
    median: float
    high: float
    n: int


def central_box(shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return rows and columns of the box in a frame's middle that facts are checked on."""
    starts = [max(0, (n - _BOX_PX) // 2) for n in shape]
    rows, columns = (slice(a, min(n, a + _BOX_PX)) for a, n in zip(starts, shape, strict=True))
    return rows, columns


def check_given(name: str, given: Mapping[str, Any]) -> None:
    """Check facts that the user gave, which nothing but their bounds holds.

    Raises
    ------
    BadInputError
        If the width of stars is outside its bounds. The other facts are checked by `Frame`.
    """
    fwhm = given.get("fwhm")
    rule = FACT_RULES["fwhm"]
    if isinstance(fwhm, int | float) and fwhm > 0:
        try:
            rule.check(float(fwhm))
        except UnusableError:
            raise BadInputError(name, f"fwhm of {rule.bounds}", repr(fwhm)) from None


def checked_facts(
    facts: Mapping[str, Any],
    pixels: npt.NDArray[Any],
    bad: Bools | None,
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Return the fields of a frame without those that its pixels contradict.

    Parameters
    ----------
    facts : mapping
        The fields of `Frame` but its pixels and mask.
    pixels : ndarray of shape (ny, nx)
        The box of `central_box`.
    bad : ndarray of bool, shape (ny, nx), optional
        True where a pixel must not be used.
    given : collection of str
        Facts that the user gave: they are kept.

    Returns
    -------
    dict
        A saturation level below the median of the pixels, a width that is not that of the
        frame's stars, and a gain that the noise contradicts or does not prove are None; the
        header lists them under `IGNORED_KEY`. A gain that is then unknown, and was not given, is
        the one that `photon_transfer` measures, if it is good.
    """
    kept = dict(facts)
    sources = dict(facts.get("sources", {}))
    for fact in given:
        sources.pop(fact, None)
        if kept.get(fact) is not None and fact in FACT_RULES:
            sources[fact] = FactSource("", None, "given")
    stated = {
        fact: float(kept[fact])
        for fact in ("saturation", "fwhm", "gain")
        if fact not in given and kept.get(fact) is not None
    }
    unknown = "gain" not in given and kept.get("gain") is None
    set_aside: list[str] = []
    if (stated or unknown) and pixels.ndim == 2:
        with np.errstate(over="ignore"):
            box = np.array(pixels, dtype=np.float32, order="C")
        out = ~np.isfinite(box)
        if bad is not None and bad.shape == box.shape:
            out |= bad
        box[out] = 0.0
        header = kept.get("header", {})
        contradicted = _contradicted(stated, box, out, sources)
        doubtful = "gain" in stated and sources.get("gain", _NO_SOURCE).unproven
        if "gain" in stated:
            contradicted += _unlike_gain(stated["gain"], box, out, sources, header)
        aside = {fact for fact, _ in contradicted}
        seen = None
        if unknown or doubtful:
            level = None if "saturation" in aside else kept.get("saturation")
            seen = _photon_transfer(box, out, level, header)
        if seen is not None and doubtful and "gain" not in aside:
            unknown = seen.contradicts(stated["gain"])
            if unknown:
                told = f"the photon noise of its sources is that of {seen.gain:.3g}"
                contradicted.append(("gain", f"a camera's setting; {told}"))
        for fact, reason in contradicted:
            source = sources.pop(fact, FactSource(fact, stated[fact]))
            label = f"{source.card} = {source.raw if source.raw is not None else stated[fact]!r}"
            set_aside.append(f"{label}: set aside ({reason})")
            kept[fact] = None
        if (unknown or "gain" in aside) and seen is not None and seen.good:
            kept["gain"] = float(f"{seen.gain:.3g}")
            error = seen.gain * seen.relative_error
            sources["gain"] = FactSource("", None, f"+/- {error:.1g}, {MEASURED_GAIN}")
    if set_aside:
        header = dict(kept.get("header", {}))
        kept["header"] = header | {IGNORED_KEY: (*header.get(IGNORED_KEY, ()), *set_aside)}
    return kept | {"sources": sources}


def _photon_transfer(
    box: Floats, bad: Bools, saturation: float | None, header: Mapping[str, Any]
) -> PhotonTransfer | None:
    """Return the gain that the photon noise shows; None too where pixels have no counts."""
    if pixel_unit(str(header.get("BUNIT", ""))).kind == "calibrated":
        return None
    mosaic = any(card in header for card in _OF_MOSAICS)
    return photon_transfer(box, bad, saturation, mosaic=mosaic)


def _contradicted(
    stated: Mapping[str, float], box: Floats, bad: Bools, sources: dict[str, FactSource]
) -> list[tuple[str, str]]:
    """Return the facts that pixels contradict and why; note the measured width in the sources."""
    found: list[tuple[str, str]] = []
    saturation = stated.get("saturation")
    if saturation is not None and not bad.all():
        level = float(median(box[~bad].astype(np.float64)))
        if saturation <= level:
            found.append(("saturation", f"the frame's median is {level:.6g}"))
            saturation = None
    fwhm = stated.get("fwhm")
    if fwhm is None:
        return found
    widths = star_widths(box, bad, saturation)
    source = sources.get("fwhm", FactSource("fwhm", fwhm))
    if widths is None:
        words = "not checked: too few stars"
    else:
        words = f"measured {widths.median:.3g} px, {widths.n} stars"
        if not widths.low / _WIDTHS_AGREE <= fwhm <= widths.high * _WIDTHS_AGREE:
            reason = f"{fwhm:.4g} px; its {widths.n} stars measure {widths.median:.3g} px"
            found.append(("fwhm", reason))
            return found
    sources["fwhm"] = replace(source, how=", ".join(filter(None, (source.how, words))))
    return found


@dataclass(frozen=True)
class SkyNoise:
    """Median of a frame's pixels, their noise (standard deviation), and the largest pixel."""

    level: float
    noise: float
    largest: float

    def photon_ratio(self, gain: float) -> float:
        """Return the variance over that of the photons of the sky at a gain [e- per unit]."""
        return self.noise**2 * gain / self.level


def sky_noise(data: Floats, bad: Bools) -> SkyNoise | None:
    """Measure level and noise of a frame's sky; None of one without noise or usable pixels.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    bad : ndarray of bool, shape (ny, nx)

    Notes
    -----
    The noise follows from the median absolute difference of pixels eight columns apart: neither
    gradients of the sky nor the correlation of neighbours in resampled images change it.
    """
    step = max(1, data.shape[0] // _NOISE_ROWS)
    rows, usable = data[::step].astype(np.float64), ~bad[::step]
    both = usable[:, _APART_PX:] & usable[:, :-_APART_PX]
    apart = (rows[:, _APART_PX:] - rows[:, :-_APART_PX])[both]
    if apart.size < _FEWEST_PIXELS:
        return None
    noise = float(median(np.abs(apart))) * _SIGMA_OF_MEDIAN / math.sqrt(2.0)
    values = rows[usable]
    level, largest = float(median(values)), float(values.max())
    usual = math.isfinite(level) and math.isfinite(noise) and noise > 0
    return SkyNoise(level, noise, largest) if usual else None


def _unlike_gain(
    gain: float,
    box: Floats,
    bad: Bools,
    sources: dict[str, FactSource],
    header: Mapping[str, Any],
) -> list[tuple[str, str]]:
    """Return why a gain is not that of the pixels; note in the sources what proved it."""
    source = sources.get("gain", FactSource("gain", gain))
    if not source.unproven and source.card == "BUNIT":
        return []
    sky = sky_noise(box, bad)
    seen = None if sky is None or sky.level <= _LEAST_SKY_SIGMA * sky.noise else sky
    if source.unproven:
        card = next((key for key in _CO_ADDED if _above_one(header.get(key))), None)
        if seen is None:
            if card is None:
                told = "a camera's setting or of many exposures, and the sky's level does not tell"
                return [("gain", f"{source.unproven}: {told}")]
            proof = f"of many exposures: {card} = {header[card]}"
        else:
            ratio = seen.photon_ratio(gain)
            if not (_LEAST_CO_ADDED if card else _LEAST_PROVEN) <= ratio <= _MOST_PROVEN:
                told = (
                    f"noise {seen.noise:.3g} at sky {seen.level:.4g} is that of {gain / ratio:.3g}"
                )
                return [("gain", f"{source.unproven}: a camera's setting; {told}")]
            proof = f"the noise of {seen.noise:.3g} at sky {seen.level:.4g} agrees"
        how = ", ".join(filter(None, (source.how, proof)))
        sources["gain"] = replace(source, how=how, unproven="")
        return []
    if seen is None:
        return []
    ratio = seen.photon_ratio(gain)
    fractions = seen.largest <= 1.0 and not pixel_unit(str(header.get("BUNIT", ""))).per_second
    if ratio < _IMPOSSIBLE or (fractions and ratio < _FRACTIONS):
        times = 1.0 / math.sqrt(ratio)
        told = f"the noise of {seen.noise:.3g} is {times:.3g} times below that of the sky's photons"
        return [("gain", f"pixels in another unit: {told}")]
    return []


def _above_one(value: Any) -> bool:
    """Return True for a number above 1, also as text."""
    try:
        return not isinstance(value, bool) and float(value) > 1
    except (TypeError, ValueError):
        return False


def star_widths(data: Floats, bad: Bools, saturation: float | None = None) -> StarWidths | None:
    """Measure the full width at half maximum of a frame's bright, round, unsaturated stars.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Pixels, C-contiguous.
    bad : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    saturation : float, optional
        Pixel value from which a pixel is saturated.

    Returns
    -------
    StarWidths or None
        None with fewer than ten stars.

    Notes
    -----
    For a Gaussian, flux over peak is 2 pi sigma^2. The flux is that of the pixels above five times
    the noise, so that a star's wings make the width a little too large: at most some 15 % for a
    Moffat profile with an exponent of 3, and 20 % for a star on the border of pixels. A check
    within a factor needs no more.
    """
    try:
        background = sep.Background(data, mask=bad)
        noise = float(background.globalrms)
        if not (math.isfinite(noise) and noise > 0):
            return None
        sky = data - background.back()
        found = sep.extract(sky, _THRESHOLD_SIGMA, err=noise, mask=bad, minarea=5)
    except Exception:  # SEP raises bare exceptions, such as on a full buffer of pixels
        return None
    peak, flux = found["peak"], found["flux"]
    use = (found["flag"] == 0) & (peak > _BRIGHT_SIGMA * noise) & (flux > 0)
    use &= found["a"] < _ROUND * found["b"]
    if saturation is not None:
        level = background.back()[found["ypeak"], found["xpeak"]]
        use &= peak + level < _UNSATURATED * saturation
    flux, peak = flux[use].astype(float), peak[use].astype(float)
    widths = np.sqrt(8.0 * math.log(2.0) * flux / (2.0 * math.pi * peak))
    flux, widths = flux[widths > _NARROWEST_PX], widths[widths > _NARROWEST_PX]
    widths = widths[np.argsort(-flux, kind="stable")[:_MOST_STARS]]
    if widths.size < _FEWEST_STARS:
        return None
    low, middle, high = np.percentile(widths, (25, 50, 75))
    return StarWidths(float(low), float(middle), float(high), int(widths.size))
