"""Frames from and to FITS files."""

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
from astropy.wcs import WCS

from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.fits_images import Hdu, LoadedImage, Pixels, load_image, split_brackets
from skyduel.core.io.fits_metadata import FACT_KEYS, IGNORED_KEY, header_facts, is_structural

__all__ = [
    "COMPRESSION_ENDINGS",
    "FITS_ENDINGS",
    "facts_of",
    "frame_name",
    "masked_pixels",
    "read_frame",
    "write_frame",
]

#: Endings of FITS files, before and after those of compression.
FITS_ENDINGS: Final = (".fits", ".fit", ".fts")
COMPRESSION_ENDINGS: Final = (".gz", ".bz2", ".xz", ".fz", ".z")

_MASK_EXTENSION: Final = "MASK"
_FACTS: Final = (*FACT_KEYS, "wcs")


def frame_name(path: str | os.PathLike[str]) -> str:
    """Return the file name without FITS and compression endings.

    ``night/a.b.fits.fz`` gives ``a.b``. An HDU in brackets is kept as an
    ending: ``a.fits[SCI,2]`` gives ``a_SCI_2``.
    """
    file, hdu = split_brackets(path)
    name = file.name
    while name.lower().endswith(COMPRESSION_ENDINGS):
        name = name[: name.rindex(".")]
    if name.lower().endswith(FITS_ENDINGS):
        name = name[: name.rindex(".")]
    return (name or file.name) + _suffix(hdu)


def read_frame(
    path: str | os.PathLike[str],
    *,
    hdu: Hdu | None = None,
    mask: str | os.PathLike[str] | npt.NDArray[Any] | None = None,
    mask_bits: int | None = None,
    weight: str | os.PathLike[str] | npt.NDArray[Any] | None = None,
    **overrides: Any,
) -> Frame:
    """Return the image of a FITS file with the facts that its header states.

    Parameters
    ----------
    path : path
        Plain, or compressed by gzip, bzip2, xz or in tiles (``.fz``); told by
        content, not by ending. ``frame.fits[SCI]``, ``frame.fits[SCI,2]`` and
        ``frame.fits[2]`` choose an HDU; otherwise it is the first with a
        two-dimensional image. Leading axes of length 1 are dropped.
    hdu : int, str or (str, int), optional
        The same choice as an argument; it stands above the brackets.
    mask : path or ndarray of shape (ny, nx), optional
        True, non-zero or NaN where a pixel must not be used. Without it, a
        mask that `write_frame` put in the file is used.
    mask_bits : int, optional
        Of a mask whose bits mean different things, those that make a pixel
        unusable, added up (e.g. ``1 + 4``); without it every bit does.
    weight : path or ndarray of shape (ny, nx), optional
        A survey's weight map: pixels of weight 0, below, or NaN are masked
        besides. How large the others are is not used, for every detector
        measures the noise in the frame itself.
    **overrides
        Facts of `Frame` (``name``, ``gain``, ``read_noise``, ``saturation``,
        ``exposure_s``, ``zero_point``, ``fwhm``, ``pixel_scale_arcsec``,
        ``wcs``) that stand above the header's; None removes a fact.

    Returns
    -------
    Frame
        Pixels [ADU] scaled by BSCALE and BZERO, with BLANK, NaN and infinite
        ones masked. ``header`` holds the primary and the image header's
        scalar values, and under ``ignored_facts`` those values that should
        have been a fact and cannot.

    Raises
    ------
    BadInputError
        If the file is missing, damaged, cut short or not FITS; if there is no
        such image; or if the usable pixels do not vary.
    TypeError
        If an override names no fact.
    """
    file, in_brackets = split_brackets(path)
    wanted = in_brackets if hdu is None else hdu
    unknown = set(overrides) - {*_FACTS, "name"}
    if unknown:
        raise TypeError(
            f"read_frame() knows no fact {', '.join(sorted(unknown))}; "
            f"it knows name, {', '.join(_FACTS)}"
        )
    image = load_image(file, wanted)
    frame = Frame(
        data=image.pixels,
        mask=_either(_mask(mask, file, image, mask_bits), _weightless(weight, image)),
        **facts_of(file, wanted, image.header, image.wcs, image.unusable, overrides),
    )
    usable = frame.data[~frame.bad]
    if usable.min() == usable.max():
        raise BadInputError(
            str(path),
            "an image whose pixels vary",
            f"{float(usable[0]):g} in all {usable.size} usable pixels",
        )
    return frame


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
    pixels = _as_written(frame, np.dtype(dtype))
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


def facts_of(
    file: Path,
    hdu: Hdu | None,
    header: fits.Header,
    wcs: WCS | None,
    unusable: tuple[str, ...],
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return every field of a `Frame` but its pixels and mask, from a file's header."""
    given = overrides or {}
    wcs = given.get("wcs", wcs)
    facts = header_facts(header, wcs=wcs, pixel_scale_arcsec=given.get("pixel_scale_arcsec"))
    known = {**facts.values, "wcs": wcs, "name": frame_name(file) + _suffix(hdu), **given}
    return known | {"header": _plain_header(header, (*facts.ignored, *unusable))}


def _suffix(hdu: Hdu | None) -> str:
    """Return what an HDU adds to a frame's name."""
    if hdu is None:
        return ""
    return "_" + "_".join(str(part) for part in (hdu if isinstance(hdu, tuple) else (hdu,)))


def _mask(
    given: str | os.PathLike[str] | npt.NDArray[Any] | None,
    file: Path,
    image: LoadedImage,
    bits: int | None,
) -> Pixels | None:
    """Return True where a pixel is bad, from an array, a file, or the frame's own file."""
    if given is None:
        extension = image.header.get("MASKEXT")
        if not isinstance(extension, str):
            if bits is not None:
                raise BadInputError(str(file), "a mask for mask_bits to choose from", "no mask")
            return None
        pixels = load_image(file, extension).pixels
    elif isinstance(given, np.ndarray):
        pixels = given
    else:
        pixels = load_image(*split_brackets(given)).pixels
    return masked_pixels(pixels, bits, str(file))


def masked_pixels(pixels: Pixels, bits: int | None, source: str) -> Pixels:
    """Return True where a mask's value says that a pixel is bad; see `read_frame`."""
    if bits is None:
        return np.asarray(~(pixels == 0))  # NaN equals nothing, so it is bad
    if bits < 0:
        raise BadInputError("mask_bits", "a sum of powers of two", str(bits))
    bad = ~np.isfinite(pixels)
    whole = np.where(bad, 0, pixels)
    # 2**53: beyond it a float holds no single bits.
    if (whole < 0).any() or (whole != np.rint(whole)).any() or (whole >= 2**53).any():
        raise BadInputError(
            source, "a mask of whole numbers for mask_bits", f"values of type {pixels.dtype}"
        )
    return np.asarray(((whole.astype(np.int64) & bits) != 0) | bad)


def _weightless(
    given: str | os.PathLike[str] | npt.NDArray[Any] | None, image: LoadedImage
) -> Pixels | None:
    """Return True where a pixel has no weight."""
    if given is None:
        return None
    weight = given if isinstance(given, np.ndarray) else load_image(*split_brackets(given)).pixels
    if weight.shape != image.pixels.shape:
        source = "weight" if isinstance(given, np.ndarray) else str(given)
        raise BadInputError(
            source, f"a weight map of the image's shape {image.pixels.shape}", f"{weight.shape}"
        )
    return np.asarray(~(weight > 0))


def _either(one: Pixels | None, other: Pixels | None) -> Pixels | None:
    """Return the pixels that are bad in either mask."""
    if one is None or other is None:
        return other if one is None else one
    # A mask of another shape is refused by the frame, with a message of its own.
    return one | other if one.shape == other.shape else one


# -- headers ---------------------------------------------------------------------------


def _plain_header(header: fits.Header, ignored: tuple[str, ...]) -> dict[str, Any]:
    """Return the scalar values of a header, and the useless ones by their key."""
    plain: dict[str, Any] = {
        card.keyword: card.value
        for card in header.cards
        if not is_structural(card.keyword) and isinstance(card.value, bool | int | float | str)
    }
    if ignored:
        plain[IGNORED_KEY] = ignored
    return plain


def _written_header(frame: Frame) -> fits.Header:
    """Return the header of a frame: facts first, then WCS, then the rest."""
    header = fits.Header()
    comments = {
        "gain": ("GAIN", "[e-/ADU]"),
        "read_noise": ("RDNOISE", "[e-]"),
        "saturation": ("SATURATE", "[ADU]"),
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
        header.update(frame.wcs.to_header(relax=True))
    taken = {key for keys in FACT_KEYS.values() for key in keys} | {"SEEING", "SSEEING"}
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
        if key == IGNORED_KEY or is_structural(key):
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
        raise BadInputError(
            frame.name, "dtype float32, uint8, int16, uint16, int32 or uint32", dtype.name
        )
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
