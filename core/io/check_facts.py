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

__all__ = ["StarWidths", "central_box", "check_given", "checked_facts", "star_widths"]

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
        A saturation level below the median of the pixels, and a width that is not that of the
        frame's stars, are None; the header lists them under `IGNORED_KEY`.
    """
    kept = dict(facts)
    sources = dict(facts.get("sources", {}))
    for fact in given:
        sources.pop(fact, None)
        if kept.get(fact) is not None and fact in FACT_RULES:
            sources[fact] = FactSource("", None, "given")
    stated = {
        fact: float(kept[fact])
        for fact in ("saturation", "fwhm")
        if fact not in given and kept.get(fact) is not None
    }
    set_aside: list[str] = []
    if stated and pixels.ndim == 2:
        with np.errstate(over="ignore"):
            box = np.array(pixels, dtype=np.float32, order="C")
        out = ~np.isfinite(box)
        if bad is not None and bad.shape == box.shape:
            out |= bad
        box[out] = 0.0
        for fact, reason in _contradicted(stated, box, out, sources):
            source = sources.pop(fact, FactSource(fact, stated[fact]))
            label = f"{source.card} = {source.raw if source.raw is not None else stated[fact]!r}"
            set_aside.append(f"{label}: set aside ({reason})")
            kept[fact] = None
    if set_aside:
        header = dict(kept.get("header", {}))
        kept["header"] = header | {IGNORED_KEY: (*header.get(IGNORED_KEY, ()), *set_aside)}
    return kept | {"sources": sources}


def _contradicted(
    stated: Mapping[str, float], box: Floats, bad: Bools, sources: dict[str, FactSource]
) -> list[tuple[str, str]]:
    """Return the facts that pixels contradict and why; note the measured width in the sources."""
    found: list[tuple[str, str]] = []
    saturation = stated.get("saturation")
    if saturation is not None and not bad.all():
        median = float(np.median(box[~bad]))
        if saturation <= median:
            found.append(("saturation", f"the frame's median is {median:.6g}"))
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
    low, median, high = np.percentile(widths, (25, 50, 75))
    return StarWidths(float(low), float(median), float(high), int(widths.size))
