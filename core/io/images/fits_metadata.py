"""The facts of a FITS header, under the names observatories give them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from skyduel.core.io.images.wcs_cards import is_wcs_card

__all__ = [
    "FACT_KEYS",
    "IGNORED_KEY",
    "Facts",
    "header_facts",
    "is_structural",
    "plain_header",
]

#: Header keywords of each fact, the most reliable first. EGAIN comes before
#: GAIN because cameras write their gain *setting* there; for ESO, CONAD is
#: electrons per ADU and GAIN its inverse, so that one is not listed.
FACT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "gain": (
        "EGAIN",
        "GAIN",
        "CCDGAIN",
        "GAIN1",
        "GAINEFF",
        "ATODGAIN",
        "CCDSENS",
        "ESO DET OUT1 CONAD",
    ),
    "read_noise": (
        "RDNOISE",
        "READNOIS",
        "READNOISE",
        "RON",
        "RDNOIS",
        "RDNOISE1",
        "READNOI",
        "READNSE",
        "RNOISE",
        "CCDRON",
        "ENOISE",
        "ESO DET OUT1 RON",
    ),
    "saturation": (
        "SATURATE",
        "SATLEVEL",
        "SATURATI",
        "SATURAT",
        "SATUR",
        "MAXLIN",
        "SATADU",
        "LINLIMIT",
    ),
    "exposure_s": ("EXPTIME", "EXPOSURE", "ITIME", "EXP_TIME", "TEXPTIME", "XPOSURE", "INTTIME"),
    "zero_point": (
        "MAGZERO",
        "MAGZPT",
        "MAGZP",
        "ZEROPT",
        "ZEROPNT",
        "ZEROPOIN",
        "ZEROPOINT",
        "PHOTZP",
        "PHOT_ZP",
        "ZPMAG",
        "MAGZEROP",
        "MAG_ZP",
        "ZP",
    ),
    "fwhm": ("FWHM", "PSF_FWHM", "PSFFWHM", "FWHM_PX", "FWHMPIX", "MEDFWHM", "AVGFWHM"),
    "pixel_scale_arcsec": (
        "PIXSCALE",
        "SECPIX",
        "SECPIX1",
        "PIXSCAL1",
        "PIXELSCL",
        "PIXELSC",
        "PSCALE",
        "PIXSCL",
    ),
}
_SEEING_KEYS: Final = ("SEEING", "SSEEING")

#: Where `core.Frame.header` lists what the header said and nobody can use.
IGNORED_KEY: Final = "ignored_facts"

_ARCSEC = re.compile(r"arc\s*-?sec", re.IGNORECASE)
_STRUCTURE = re.compile(
    r"""^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|END
    |CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTLEVEL|INHERIT|COMMENT|HISTORY|CONTINUE|LONGSTRN|MASKEXT
    |Z(IMAGE|SIMPLE|BITPIX|NAXIS\d*|TILE\d*|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|TENSION
      |EXTEND|PCOUNT|GCOUNT|HECKSUM|DATASUM|MASKCMP|SCALE|ZERO)
    |T(FIELDS|TYPE\d+|FORM\d+|UNIT\d+|HEAP))?$""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Facts:
    """What a header says: the values to use and, in words, those that are useless."""

    values: Mapping[str, float]
    ignored: tuple[str, ...] = field(default=())


def header_facts(
    header: fits.Header, *, wcs: WCS | None = None, pixel_scale_arcsec: float | None = None
) -> Facts:
    """Return gain, noise, saturation and the like, named as in `core.Frame`.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Text that reads as a number counts as one.
    wcs : astropy.wcs.WCS, optional
        Gives the pixel scale where no keyword does.
    pixel_scale_arcsec : float, optional
        A pixel scale [arcsec] that stands above the header's.

    Returns
    -------
    Facts
        For each fact the first keyword with a usable value. Values that are
        not finite or, but for zero-point and read noise, not positive are
        left out and listed.

    Notes
    -----
    A full width at half maximum is in pixels unless its comment says arcsec;
    seeing is in arcsec, and of no use without a pixel scale.
    """
    ignored: list[str] = []

    def first(fact: str, keys: tuple[str, ...]) -> tuple[str, float] | None:
        for key in keys:
            if key in header:
                number = _number(header[key])
                if number is not None and _possible(fact, number):
                    return key, number
                ignored.append(f"{key} = {header[key]!r}")
        return None

    found = {fact: hit for fact, keys in FACT_KEYS.items() if (hit := first(fact, keys))}
    values = {fact: number for fact, (_, number) in found.items()}
    if "pixel_scale_arcsec" not in values and wcs is not None:
        scale = 3600.0 * float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs))))
        values["pixel_scale_arcsec"] = scale
    scale_used = pixel_scale_arcsec or values.get("pixel_scale_arcsec")

    in_arcsec = None
    if "fwhm" not in found:
        in_arcsec = first("fwhm", _SEEING_KEYS)
    elif _ARCSEC.search(str(header.comments[found["fwhm"][0]])):
        in_arcsec = found["fwhm"]
        del values["fwhm"]
    if in_arcsec is not None and scale_used:
        values["fwhm"] = in_arcsec[1] / scale_used
    elif in_arcsec is not None:
        ignored.append(f"{in_arcsec[0]} = {in_arcsec[1]!r} (arcsec, and no pixel scale)")
    return Facts(values, tuple(ignored))


def plain_header(header: fits.Header, ignored: tuple[str, ...]) -> dict[str, Any]:
    """Return the scalar values of a header, and the useless ones in words under `IGNORED_KEY`."""
    plain: dict[str, Any] = {
        card.keyword: card.value
        for card in header.cards
        if not is_structural(card.keyword) and isinstance(card.value, bool | int | float | str)
    }
    if ignored:
        plain[IGNORED_KEY] = ignored
    return plain


def is_structural(key: str) -> bool:
    """Return True if a keyword describes the file or the WCS, not the observation."""
    return _STRUCTURE.match(key.upper()) is not None or is_wcs_card(key)


def _possible(fact: str, number: float) -> bool:
    """Return True if a finite number can be the value of a fact."""
    if fact == "zero_point":
        return True
    return number >= 0 if fact == "read_noise" else number > 0


def _number(value: Any) -> float | None:
    """Return a header value as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
