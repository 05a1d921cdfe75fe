"""Pixel values of a FITS image: scaling, asinh pixels, and sections that see no sky."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from astropy.io import fits

from skyduel.core.errors import BadInputError
from skyduel.core.io.images.image_reader import Pixels

__all__ = ["NO_SECTIONS", "PIXEL_CARDS", "Sections", "scaled", "sky_sections"]

#: Cards that describe the pixels as they lie in the file, besides FITS's own.
PIXEL_CARDS: Final = ("BSOFTEN", "BOFFSET", "DATASEC", "TRIMSEC", "BIASSEC")

#: Asinh magnitudes: 2.5 log10(e).
_POGSON: Final = 2.5 * math.log10(math.e)
_SECTION: Final = re.compile(r"\[\s*([^,\]]+?)\s*,\s*([^,\]]+?)\s*\]")
_RANGE: Final = re.compile(r"(\d{1,9})\s*:\s*(\d{1,9})")
#: A data section of less than this part of the image is that of another image, such as one
#: exposure of a mosaic.
_LEAST_PART: Final = 0.5


class _Box(NamedTuple):
    """Rows y0 to y1 and columns x0 to x1, from 0, the last ones not included."""

    y0: int
    y1: int
    x0: int
    x1: int


@dataclass(frozen=True)
class Sections:
    """Where an image sees the sky: in one box of each group of `data`, in none of `bias`."""

    data: tuple[tuple[_Box, ...], ...] = ()
    bias: tuple[_Box, ...] = ()

    def blind(self, rows: slice, columns: slice) -> Pixels:
        """Return True for the pixels of a box that see no sky, shape of the box."""
        y = np.arange(rows.start, rows.stop)[:, np.newaxis]
        x = np.arange(columns.start, columns.stop)[np.newaxis, :]

        def inside(box: _Box) -> Pixels:
            return np.asarray((y >= box.y0) & (y < box.y1) & (x >= box.x0) & (x < box.x1))

        blind = np.zeros((y.size, x.size), dtype=bool)
        for group in self.data:
            blind |= ~np.any([inside(box) for box in group], axis=0)
        for box in self.bias:
            blind |= inside(box)
        return blind

    @property
    def overscan(self) -> tuple[slice, slice] | None:
        """Rows and columns of the overscan, None without one or with several."""
        if len(self.bias) != 1:
            return None
        (box,) = self.bias
        return slice(box.y0, box.y1), slice(box.x0, box.x1)

    def blanked(self, values: Pixels, rows: slice, columns: slice) -> Pixels:
        """Return the pixels of a box with NaN where they see no sky."""
        if not (self.data or self.bias):
            return values
        blind = self.blind(rows, columns)
        return np.where(blind, np.nan, values) if blind.any() else values


NO_SECTIONS: Final = Sections()


def sky_sections(header: fits.Header, shape: tuple[int, int]) -> tuple[Sections, tuple[str, ...]]:
    """Return where an image sees the sky, and in words the cards that are of no use.

    Parameters
    ----------
    header : astropy.io.fits.Header
        The image's own. DATASEC and TRIMSEC, also per amplifier (DATASECA, DATASEC1, ...: their
        union), hold the pixels that see the sky; BIASSEC the overscan. Sections are
        ``[x1:x2,y1:y2]``, counted from 1 with both ends included; an end may come first.
    shape : (ny, nx)
        Of the image [px].

    Notes
    -----
    A section that exceeds the image, or a data section of less than half of the image, is that
    of another image: the raw one before it was trimmed, or one exposure of a mosaic.
    """
    ny, nx = shape
    ignored: list[str] = []

    def boxes(name: str) -> list[_Box]:
        found = {k: b for k in _keys(header, name) if (b := _box(header[k], shape)) is not None}
        outside = {k: b for k, b in found.items() if b.y1 > ny or b.x1 > nx}
        ignored.extend(f"{k} = {header[k]!r} (not within the image)" for k in outside)
        return [b for k, b in found.items() if k not in outside]

    data = []
    for name in ("DATASEC", "TRIMSEC"):
        group = boxes(name)
        if group and sum(map(_area, group)) < _LEAST_PART * ny * nx:
            ignored.append(f"{name} (less than half of the image)")
        elif group and _Box(0, ny, 0, nx) not in group:
            data.append(tuple(group))
    bias = [box for box in boxes("BIASSEC") if _area(box) < _LEAST_PART * ny * nx]
    return Sections(tuple(data), tuple(bias)), tuple(ignored)


def _keys(header: fits.Header, name: str) -> list[str]:
    """Return the card of a section, otherwise those of the amplifiers."""
    if name in header:
        return [name]
    return [key for key in header if re.fullmatch(rf"{name}[A-H1-8]", key)]


def _area(box: _Box) -> int:
    """Return the pixels of a box."""
    return (box.y1 - box.y0) * (box.x1 - box.x0)


def _box(text: object, shape: tuple[int, int]) -> _Box | None:
    """Return a section as a box; None of one that is empty or not understood."""
    found = _SECTION.search(text) if isinstance(text, str) else None
    if found is None:
        return None
    ends = []
    for part, length in ((found[1], shape[1]), (found[2], shape[0])):
        numbers = _RANGE.fullmatch(part)
        if part in ("*", "-*"):
            ends.append((1, length))
        elif numbers is None:
            return None
        else:
            one, other = int(numbers[1]), int(numbers[2])
            ends.append((min(one, other), max(one, other)))
    (x1, x2), (y1, y2) = ends
    return None if min(x1, y1) < 1 else _Box(y1 - 1, y2, x1 - 1, x2)


def scaled(raw: Pixels, header: fits.Header, file: Path, compression: str | None = None) -> Pixels:
    """Return linear pixel values by BSCALE, BZERO, BSOFTEN and BOFFSET, NaN where they are BLANK.

    astropy can scale, but forgets BLANK in unsigned images.

    Parameters
    ----------
    raw : ndarray
        The pixels as they are stored.
    header : astropy.io.fits.Header
        The image's own.
    file : Path
        Named in errors.
    compression : str, optional
        How tiles of the image were compressed, ``ZCMPTYPE``.

    Notes
    -----
    PLIO holds no negative numbers. CFITSIO therefore compresses the values of an unsigned 16-bit
    image themselves, and states BZERO nevertheless.

    Pan-STARRS stores ``x = a * asinh((I - BOFFSET) / (2 BSOFTEN))`` with ``a = 2.5 log10(e)``
    (Waters et al. 2020, ApJS 251, 4), so that ``I = BOFFSET + BSOFTEN (exp(x/a) - exp(-x/a))``.
    """
    scale, zero = _numbers(header, file, "BSCALE", "BZERO", (1.0, 0.0))
    blank = header.get("BLANK", header.get("ZBLANK"))
    values = raw
    if compression == "PLIO_1" and raw.dtype.itemsize == 2 and (scale, zero) == (1.0, 2.0**15):
        values = raw.astype(np.uint16)
    elif raw.dtype.kind == "i" and (scale, zero) == (1.0, 2.0**63):
        # Unsigned 64-bit: double precision would round the small values away.
        values = raw.astype(np.uint64) + np.uint64(2**63)
    elif (scale, zero) != (1.0, 0.0):
        values = raw.astype(np.float64) * scale + zero
    if raw.dtype.kind in "iu" and isinstance(blank, int):
        values = np.where(raw == blank, np.nan, values)
    if "BSOFTEN" in header and "BOFFSET" in header:
        softening, offset = _numbers(header, file, "BSOFTEN", "BOFFSET", (1.0, 0.0))
        if not softening > 0:
            raise BadInputError(str(file), "BSOFTEN > 0 of asinh pixels", f"{softening:g}")
        with np.errstate(over="ignore"):  # infinite pixels are masked by the frame
            values = offset + 2 * softening * np.sinh(values.astype(np.float64) / _POGSON)
    return values


def _numbers(
    header: fits.Header, file: Path, one: str, other: str, usual: tuple[float, float]
) -> tuple[float, float]:
    """Return the values of two cards."""
    try:
        return float(header.get(one, usual[0])), float(header.get(other, usual[1]))
    except (TypeError, ValueError) as error:
        got = f"{header.get(one)!r} and {header.get(other)!r}"
        raise BadInputError(str(file), f"numbers for {one} and {other}", got) from error
