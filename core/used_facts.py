"""The facts of a frame that measurements used, and those set aside, as every record states them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from skyduel.core.errors import printable
from skyduel.core.frame import Frame
from skyduel.core.io.images.fact_rules import FACT_RULES
from skyduel.core.io.images.fits_metadata import IGNORED_KEY
from skyduel.core.io.images.image_reader import NOTES_KEY
from skyduel.core.io.pixel_checks.check_facts import MEASURED_GAIN
from skyduel.core.measure.star_shape import star_shape_note
from skyduel.core.preprocess.mosaic import MOSAIC_KEY
from skyduel.core.sections.large_image import LargeImage

__all__ = ["META_KEYS", "UNKNOWN", "UsedFacts", "used_facts"]

#: Of a fact without a value.
UNKNOWN: Final = "unknown"
#: What follows from an unknown gain.
_SKY_ONLY: Final = "flux errors hold the noise of the sky, not the photon noise of the source"
_GAIN_UNKNOWN: Final = "gain unknown"
#: Key of each fact in a table's metadata: at most eight letters, so that FITS holds long text.
META_KEYS: Final[Mapping[str, str]] = {
    "gain": "FR_GAIN",
    "read_noise": "FR_NOISE",
    "saturation": "FR_SATUR",
    "exposure_s": "FR_EXPOS",
    "zero_point": "FR_ZEROP",
    "fwhm": "FR_FWHM",
    "pixel_scale_arcsec": "FR_SCALE",
    "wcs": "FR_WCS",
    "unit": "FR_UNIT",
    "mask": "FR_MASK",
    "calibration": "FR_CALIB",
    "mosaic": "FR_CFA",
}
_ASIDE_KEY: Final = "FR_ASIDE"
_NOTES_KEY: Final = "FR_NOTES"
#: Cards with the kind of an exposure, and the kinds that show no sky, or nothing but its light.
_KIND_KEYS: Final = ("IMAGETYP", "OBSTYPE", "FRAMETYP", "IMGTYPE", "OBSTYP")
_NO_SKY: Final = re.compile(
    r"(master[ _]?)?(bias|zero|offset|dark|((dome|sky|twilight)[ _]?)?flat)([ _]?(frame|field))?$",
    re.IGNORECASE,
)
#: Of each kind; a damaged header may be useless in a thousand ways.
_MOST_LINES: Final = 40


@dataclass(frozen=True)
class UsedFacts:
    """What measurements took from a frame, in words.

    Parameters
    ----------
    used : mapping of str to str
        The facts of `META_KEYS` with their sources, `UNKNOWN` where there is none (of the
        gain with what follows from it).
    set_aside : tuple of str
        What the header says and nobody can use, with the reason, one line each.
    notes : tuple of str
        Other decisions on the file, such as images that are not read.
    stars : tuple of str
        One line if the stars are outside the range of the network.
    """

    used: Mapping[str, str] = field(default_factory=dict)
    set_aside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stars: tuple[str, ...] = ()

    @property
    def known(self) -> dict[str, str]:
        """The facts that have a value."""
        return {k: words for k, words in self.used.items() if not words.startswith(UNKNOWN)}

    def meta(self) -> dict[str, str]:
        """Return the facts as metadata of a table, by `META_KEYS`.

        What is set aside stands under ``FR_ASIDE`` and the notes under ``FR_NOTES``, the lines
        separated by semicolons.
        """
        made = {META_KEYS[fact]: words for fact, words in self.used.items()}
        if self.set_aside:
            made[_ASIDE_KEY] = "; ".join(self.set_aside)
        if self.notes or self.stars:
            made[_NOTES_KEY] = "; ".join((*self.notes, *self.stars))
        return made


def used_facts(
    frame: Frame | LargeImage,
    n_masked: int | None = None,
    stars: tuple[str, ...] | None = None,
) -> UsedFacts:
    """Return the facts of a frame that measurements use, with their sources, in words.

    Parameters
    ----------
    frame : Frame or LargeImage
    n_masked : int, optional
        Masked pixels of an image that is read by sections, if known.
    stars : tuple of str, optional
        What was said of the stars of this frame before (`UsedFacts.stars`): they are not measured.
    """
    if isinstance(frame, Frame):
        fields: Mapping[str, Any] = vars(frame)
        n_masked = int(frame.bad.sum())
    else:
        fields = frame.facts
    header = fields.get("header", {})
    words = {fact: _words(fact, fields) for fact in FACT_RULES}
    wcs = fields.get("wcs")
    words["wcs"] = "none" if wcs is None else (str(wcs.wcs.radesys).strip() or "no RADESYS")
    words["unit"] = str(header.get("BUNIT", "")).strip() or "no BUNIT"
    words["calibration"] = str(header.get("CALSTAT", "")).strip() or "none"
    words["mosaic"] = str(header.get(MOSAIC_KEY, "")) or "none"
    words["mask"] = UNKNOWN if n_masked is None else f"{n_masked} px"
    set_aside = [str(line) for line in header.get(IGNORED_KEY, ())]
    notes = list(header.get(NOTES_KEY, ()))
    of_gain = [n for n, line in enumerate(set_aside) if "gain" in line.lower()]
    if of_gain and fields.get("gain") is None:
        line = set_aside[of_gain[-1]]
        unknown = "" if line.startswith(_GAIN_UNKNOWN) else f"{_GAIN_UNKNOWN}: "
        set_aside[of_gain[-1]] = f"{line}; {unknown}{_SKY_ONLY}"
    source = fields.get("sources", {}).get("gain")
    if source is not None and source.how.endswith(MEASURED_GAIN):
        measured = f"gain {fields['gain']:.6g} {source}"
        if of_gain:
            set_aside[of_gain[-1]] += f"; {measured}"
        else:
            notes.append(f"{frame.name}: {measured}")
    if (kind := _calibration_exposure(header)) is not None:
        notes.append(f"{frame.name}: {kind}: an exposure for calibration, in which no source is")
    return UsedFacts(
        {fact: printable(text) for fact, text in words.items()},
        _lines(set_aside),
        _lines(notes),
        _stars(frame) if stars is None else stars,
    )


def _calibration_exposure(header: Mapping[str, Any]) -> str | None:
    """Return the card that says that a frame is a bias, dark or flat exposure, if one does."""
    for key in _KIND_KEYS:
        value = header.get(key)
        if isinstance(value, str) and _NO_SKY.match(value.strip()):
            return f"{key} = {value.strip()!r}"
    return None


def _stars(frame: Frame | LargeImage) -> tuple[str, ...]:
    """Return one line if the stars, of a large image those in its middle, are out of range."""
    seen = frame if isinstance(frame, Frame) else frame.middle()
    note = None if seen is None else star_shape_note(seen)
    return () if note is None else (printable(f"{frame.name}: {note}"),)


def _words(fact: str, fields: Mapping[str, Any]) -> str:
    """Return the value of a fact with its unit and source."""
    value = fields.get(fact)
    if value is None:
        return f"{UNKNOWN}: {_SKY_ONLY}" if fact == "gain" else UNKNOWN
    source = str(fields.get("sources", {}).get(fact, ""))
    unit = "e- per pixel unit" if fact == "gain" else FACT_RULES[fact].unit
    return f"{value:.6g} {unit}" + (f" ({source})" if source else "")


def _lines(lines: Any) -> tuple[str, ...]:
    """Return printable lines, the last one counting those beyond the fortieth."""
    made = [printable(str(line)) for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        made.append(f"and {len(lines) - _MOST_LINES} more")
    return tuple(made)
