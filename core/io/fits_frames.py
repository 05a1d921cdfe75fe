"""Write a frame to a FITS file."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.errors import PATH, BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.images.celestial import wcs_header
from skyduel.core.io.images.fits_metadata import (
    FACT_KEYS,
    IGNORED_KEY,
    PIXEL_UNIT,
    is_structural,
)
from skyduel.core.io.images.fits_pixels import PIXEL_CARDS
from skyduel.core.io.images.image_reader import Pixels

__all__ = ["write_frame"]

_MASK_EXTENSION: Final = "MASK"


_DTYPES: Final = "float32, uint8, int16, uint16, int32 or uint32"


@takes(frame=Frame, path=PATH)
def write_frame(
    frame: Frame, path: str | os.PathLike[str], *, dtype: npt.DTypeLike = np.float32
) -> None:
    """Write a frame so that `read_frame` gives it back.

    Parameters
    ----------
    frame : Frame
        Its facts, its WCS and what else of its header FITS can hold go to the
        header; its mask, if any pixel is masked, to an extension ``MASK``.
    path : path
        ``.fz`` compresses in tiles (Rice for integers, lossless gzip for
        floats), ``.gz`` and ``.bz2`` the whole file. Replaced whole or not at
        all.
    dtype : dtype
        float32, uint8, int16, uint16, int32 or uint32. Integer pixels are
        rounded, halves to even.

    Raises
    ------
    BadInputError
        If the type is another one, a pixel does not fit in it, or the file
        cannot be written.
    """
    name = Path(path).name.lower()
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise BadInputError("write_frame: dtype", f"one of {_DTYPES}", repr(dtype)) from error
    pixels = _as_written(frame, kind)
    header = _written_header(frame)
    hdus: list[Any] = []
    if name.endswith(".fz"):
        rice = pixels.dtype.kind in "iu"
        hdus = [
            fits.PrimaryHDU(),
            fits.CompImageHDU(
                pixels,
                header,
                compression_type="RICE_1" if rice else "GZIP_2",
                quantize_level=0.0,
            ),
        ]
    else:
        hdus = [fits.PrimaryHDU(pixels, header)]
    if frame.bad.any():
        hdus[-1].header["MASKEXT"] = (_MASK_EXTENSION, "extension with the mask")
        masked = frame.bad.astype(np.uint8)
        hdus.append(
            fits.CompImageHDU(masked, name=_MASK_EXTENSION)
            if name.endswith(".fz")
            else fits.ImageHDU(masked, name=_MASK_EXTENSION)
        )
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Long keywords become HIERARCH cards; astropy need not say so each time.
        warnings.simplefilter("ignore", AstropyWarning)
        fits.HDUList(hdus).writeto(buffer)
    content = buffer.getvalue()
    if name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)  # no clock: the same frame, the same bytes
    elif name.endswith(".bz2"):
        content = bz2.compress(content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _written_header(frame: Frame) -> fits.Header:
    """Return the header of a frame: facts first, then WCS, then the rest."""
    header = fits.Header()
    comments = {
        "gain": ("GAIN", f"[e-/{PIXEL_UNIT}]"),
        "read_noise": ("RDNOISE", "[e-]"),
        "saturation": ("SATURATE", f"[{PIXEL_UNIT}]"),
        "exposure_s": ("EXPTIME", "[s]"),
        "zero_point": ("MAGZERO", "[mag] magnitude of 1 ADU in this frame"),
        "fwhm": ("FWHM", "[px]"),
        "pixel_scale_arcsec": ("PIXSCALE", "[arcsec/px]"),
    }
    for fact, (key, comment) in comments.items():
        value = getattr(frame, fact)
        if value is not None:
            header[key] = (float(value), comment)
    if frame.wcs is not None:
        header.update(wcs_header(frame))
    taken = {key for keys in FACT_KEYS.values() for key in keys}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for key, value in _writable(frame.header):
            if key.upper() not in taken and key not in header:
                header[key] = value
    return header


def _writable(header: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return those header entries that a FITS header can hold."""
    kept = []
    for key, value in header.items():
        if key == IGNORED_KEY or key in PIXEL_CARDS or is_structural(key):
            continue
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool | int | float | str):
            try:
                card = fits.Card(key if len(key) <= 8 else f"HIERARCH {key}", value)
                str(card)
            except ValueError:  # not ASCII, not finite, or too long for a card
                continue
            kept.append((key, value))
    return kept


def _as_written(frame: Frame, dtype: np.dtype[Any]) -> Pixels:
    """Return a frame's pixels in the type to be written."""
    if dtype == np.float32:
        return np.array(frame.data)
    if dtype.kind not in "iu" or dtype.name not in {"uint8", "int16", "uint16", "int32", "uint32"}:
        raise BadInputError(frame.name, f"dtype {_DTYPES}", dtype.name)
    rounded = np.rint(frame.data.astype(np.float64))
    limits = np.iinfo(dtype)
    low, high = float(rounded.min()), float(rounded.max())
    if low < limits.min or high > limits.max:
        raise BadInputError(
            frame.name,
            f"pixels between {limits.min} and {limits.max} for {dtype.name}",
            f"{low:g} to {high:g}",
        )
    return np.asarray(rounded.astype(dtype))
