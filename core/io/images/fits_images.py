"""Read one image of a FITS file, however it is packed; every fault of the file in one line."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.images.celestial import celestial_wcs
from skyduel.core.io.images.fits_header_checks import check_headers
from skyduel.core.io.images.fits_metadata import (
    header_facts,
    is_structural,
    plain_header,
)
from skyduel.core.io.images.image_reader import Hdu, ImageFormat, ImageReader, Pixels
from skyduel.core.io.size_limits import check_fields, check_unpacked, unpacked

__all__ = ["FITS", "FitsImage", "LoadedFitsImage"]

# 32 GiB of float32: larger than any real frame.
_MOST_PIXELS: Final = 2**33
_PACKED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


def _holds_image(file: Path) -> bool:
    """Return False for a FITS file of tables only, True for any other."""
    try:
        with file.open("rb") as stream:
            if not stream.read(6).startswith(b"SIMPLE"):
                return True
            check_headers(stream, str(file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(file, memmap=False, disable_image_compression=True) as hdus:
                shapes = [_image_shape(hdu) for hdu in hdus]
                return any(shapes) or all(not isinstance(h, fits.BinTableHDU) for h in hdus)
    except Exception:  # astropy raises a dozen types on damaged files
        return True


class _FitsFacts:
    """The header of a FITS image, as `ImageReader` gives it."""

    file: Path
    hdu: Hdu | None
    shape: tuple[int, int]
    header: fits.Header
    wcs: WCS | None
    #: What of the header is of no use, in words.
    unusable: tuple[str, ...]
    mask_bits: int | None = None

    def facts(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return every field of a `Frame` but its pixels and mask, overrides first."""
        given = overrides or {}
        wcs = given.get("wcs", self.wcs)
        scale = given.get("pixel_scale_arcsec")
        facts = header_facts(self.header, wcs=wcs, pixel_scale_arcsec=scale)
        header = plain_header(self.header, (*facts.ignored, *self.unusable))
        return {**facts.values, "wcs": wcs, **given, "header": header}

    def _mask_extension(self) -> str | None:
        """Return the name of the extension that holds the mask, None without one."""
        extension = self.header.get("MASKEXT")
        return extension if isinstance(extension, str) else None


class LoadedFitsImage(_FitsFacts):
    """One image of a FITS file in memory, an `ImageReader`.

    Parameters
    ----------
    file : Path
        Plain, or packed by gzip, bzip2, xz or in tiles.
    hdu : Hdu, optional
        Which image; the first by default.

    Raises
    ------
    BadInputError
        For every fault of the file.
    """

    def __init__(self, file: Path, hdu: Hdu | None = None) -> None:
        self.file, self.hdu = file, hdu
        stream = _open(file)
        with stream, warnings.catch_warnings():
            # Completeness is checked below, by the bytes themselves.
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                index = _choose(stream, file, hdu)
                stream.seek(0)
                with fits.open(stream, memmap=False, do_not_scale_image_data=True) as hdus:
                    self.header, unreadable = _joined_header(hdus, index)
                    self._pixels = _scaled(np.asarray(hdus[index].data), self.header, file)
                    self.wcs, trouble = celestial_wcs(hdus[index].header, hdus)
            except BadInputError:
                raise
            except Exception as error:  # astropy raises a dozen types on damaged files
                raise BadInputError(str(file), "a readable FITS image", one_line(error)) from error
        self.unusable = (*unreadable, *filter(None, [trouble]))
        ny, nx = self._pixels.shape
        self.shape = (ny, nx)

    def own_mask(self) -> LoadedFitsImage | None:
        """Open the mask that `core.write_frame` put beside the image, None without one."""
        extension = self._mask_extension()
        return None if extension is None else LoadedFitsImage(self.file, extension)

    def read(self) -> Pixels:
        """Return all pixels, scaled, NaN where they are BLANK."""
        return self._pixels

    def read_box(self, rows: slice, columns: slice) -> Pixels:
        """Return the pixels of a box."""
        return self._pixels[rows, columns]

    def close(self) -> None:
        """Do nothing: the file is closed already."""


class FitsImage(_FitsFacts):
    """One image of a FITS file whose pixels are read box by box, an `ImageReader`.

    Parameters
    ----------
    file : Path
        Plain or compressed in tiles: a box is read through a memory map of the file.
        One packed as a whole (gzip, bzip2, xz) is first unpacked to a temporary file.
    hdu : Hdu, optional
        Which image; the first by default.

    Raises
    ------
    BadInputError
        For every fault of the file.
    """

    def __init__(self, file: Path, hdu: Hdu | None = None) -> None:
        self.file, self.hdu = file, hdu
        self._plain: Any = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                with _open_packed(file) as (stream, plain):
                    self._plain = plain
                    self._index = _choose(stream, file, hdu, whole=False)
                    stream.seek(0)
                    with fits.open(stream, memmap=False, do_not_scale_image_data=True) as hdus:
                        self.header, unreadable = _joined_header(hdus, self._index)
                        one = hdus[self._index]
                        self._axes = len(one.shape)
                        ny, nx = one.shape[-2:]
                        self.shape = (int(ny), int(nx))
                        self.wcs, trouble = celestial_wcs(one.header, hdus)
                self.unusable = (*unreadable, *filter(None, [trouble]))
            except BadInputError:
                raise
            except Exception as error:  # astropy raises a dozen types on damaged files
                raise BadInputError(str(file), "a readable FITS image", one_line(error)) from error

    def own_mask(self) -> FitsImage | None:
        """Open the mask that `core.write_frame` put beside the image, None without one."""
        extension = self._mask_extension()
        return None if extension is None else FitsImage(self.file, extension)

    def read(self) -> Pixels:
        """Read all pixels, scaled, NaN where they are BLANK."""
        return self.read_box(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def close(self) -> None:
        """Remove the temporary file, where there is one."""
        if self._plain is not None:
            self._plain.close()

    def read_box(self, rows: slice, columns: slice) -> Pixels:
        """Read the scaled pixels of a box, NaN where they are BLANK.

        The map lives as long as the call, so that pages once read are not counted
        as this process's memory for ever.
        """
        path = self.file if self._plain is None else Path(self._plain.name)
        box = (*(0,) * (self._axes - 2), rows, columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                with fits.open(path, memmap=True, do_not_scale_image_data=True) as hdus:
                    raw = np.array(hdus[self._index].section[box])
                return _scaled(raw, self.header, self.file)
            except BadInputError:
                raise
            except Exception as error:
                raise BadInputError(
                    str(self.file), "a readable FITS image", one_line(error)
                ) from error


@contextmanager
def _open_packed(file: Path) -> Iterator[tuple[BinaryIO, Any]]:
    """Give a file's plain FITS bytes, and the temporary file that holds them if there is one."""
    existing_file(file)
    with file.open("rb") as packed:
        parts = unpacked(packed, str(file), in_memory=False)
        if parts is None:
            with _open(file) as stream:
                yield stream, None
            return
        plain = tempfile.NamedTemporaryFile(suffix=".fits")  # noqa: SIM115 - outlives this
        for part in parts:
            plain.write(part)
        plain.flush()
    with _open(Path(plain.name)) as stream:
        yield stream, plain


def _open(file: Path) -> BinaryIO:
    """Return the file as a stream of plain FITS bytes."""
    existing_file(file)
    stream = file.open("rb")
    try:
        parts = unpacked(stream, str(file))
        plain = None if parts is None else b"".join(parts)
        magic = stream.read(6) if plain is None else b""
        stream.seek(0)
    except BaseException:
        stream.close()
        raise
    if plain is not None:
        stream.close()
        return io.BytesIO(plain)
    if not magic.startswith(b"SIMPLE"):
        stream.close()
        raise BadInputError(str(file), "a FITS file", f"a file that starts with {magic!r}")
    return stream


def _choose(stream: BinaryIO, file: Path, hdu: Hdu | None, *, whole: bool = True) -> int:
    """Return the number of the HDU to read, having checked that all of it is there.

    With ``whole`` memory has to hold all of it.
    """
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    seen: list[str] = []
    check_headers(stream, str(file))
    # Without decompression, sizes are those of the bytes in the file.
    hdus = fits.open(stream, memmap=False, disable_image_compression=True)
    try:
        for index, one in enumerate(hdus):
            shape = _image_shape(one)
            label = f"{index} {_hdu_name(index, one)}".strip()
            seen.append(f"{label} {shape or 'no image'}")
            if not _matches(hdu, index, one) or (hdu is None and len(shape) != 2):
                continue
            if len(shape) != 2:
                raise BadInputError(
                    str(file),
                    f"a two-dimensional image in HDU {label}",
                    f"shape {shape}" if shape else "no image",
                )
            if shape[0] * shape[1] > _MOST_PIXELS:
                raise BadInputError(
                    str(file), f"at most {_MOST_PIXELS} pixels", f"{shape[0]} x {shape[1]}"
                )
            ends = one.fileinfo()["datLoc"] + one.size
            if ends > length:
                raise BadInputError(
                    str(file),
                    f"a complete image of shape {shape} ({ends} bytes)",
                    f"a file cut short at {length} bytes",
                )
            check_fields(one.header, str(file))
            check_unpacked(
                _pixel_bytes(one) * shape[0] * shape[1],
                one.size,
                str(file),
                f"an image of {shape[0]} x {shape[1]} pixels",
                in_memory=whole,
            )
            return index
    finally:
        hdus.close(closed=False)  # the stream is read once more
    wanted = "a two-dimensional image" if hdu is None else f"an HDU {hdu!r}"
    raise BadInputError(str(file), wanted, f"HDUs {'; '.join(seen)}")


def _image_shape(hdu: Any) -> tuple[int, ...]:
    """Return the shape of an image HDU without leading axes of 1; empty if it is none."""
    header = hdu.header
    prefix = "Z" if header.get("ZIMAGE", False) is True else ""
    if not prefix and not hdu.is_image:
        return ()
    n_axes = int(header.get(f"{prefix}NAXIS", 0))
    shape = [int(header[f"{prefix}NAXIS{axis}"]) for axis in range(n_axes, 0, -1)]
    while len(shape) > 2 and shape[0] == 1:
        shape.pop(0)
    return tuple(shape) if all(n > 0 for n in shape) else ()


def _pixel_bytes(hdu: Any) -> int:
    """Return the size of one pixel [bytes], tiles unpacked."""
    return abs(int(hdu.header.get("ZBITPIX", hdu.header["BITPIX"]))) // 8


def _matches(wanted: Hdu | None, index: int, hdu: Any) -> bool:
    """Return True if an HDU is the one asked for."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return index == wanted
    name, version = wanted if isinstance(wanted, tuple) else (wanted, None)
    same = _hdu_name(index, hdu).upper() == name.upper()
    return same and (version is None or bool(hdu.ver == version))


def _hdu_name(index: int, hdu: Any) -> str:
    """Return EXTNAME, PRIMARY for the first HDU without one, empty for others."""
    return str(hdu.header.get("EXTNAME", "")) or ("PRIMARY" if index == 0 else "")


def _joined_header(hdus: fits.HDUList, index: int) -> tuple[fits.Header, tuple[str, ...]]:
    """Return the image's header over the primary one's, and what of it cannot be read."""
    joined, unreadable = fits.Header(), []
    for number in dict.fromkeys((index, 0)):
        for card in hdus[number].header.cards:
            try:
                keyword, value, comment = card.keyword, card.value, card.comment
            except (fits.VerifyError, ValueError):
                unreadable.append(f"an unreadable card {card.keyword}")
                continue
            if number == index or not (keyword in joined or is_structural(keyword)):
                joined.append((keyword, value, comment), end=True)
    return joined, tuple(unreadable)


def _scaled(raw: Pixels, header: fits.Header, file: Path) -> Pixels:
    """Return pixel values by BSCALE and BZERO, NaN where they are BLANK.

    astropy can do this, but forgets BLANK in unsigned images.
    """
    raw = raw.reshape(raw.shape[-2:])
    try:
        scale, zero = float(header.get("BSCALE", 1.0)), float(header.get("BZERO", 0.0))
    except (TypeError, ValueError) as error:
        got = f"{header.get('BSCALE')!r} and {header.get('BZERO')!r}"
        raise BadInputError(str(file), "numbers for BSCALE and BZERO", got) from error
    blank = header.get("BLANK", header.get("ZBLANK"))
    values = raw
    if raw.dtype.kind == "i" and (scale, zero) == (1.0, 2.0**63):
        # Unsigned 64-bit: double precision would round the small values away.
        values = raw.astype(np.uint64) + np.uint64(2**63)
    elif (scale, zero) != (1.0, 0.0):
        values = raw.astype(np.float64) * scale + zero
    if raw.dtype.kind in "iu" and isinstance(blank, int):
        values = np.where(raw == blank, np.nan, values)
    return values


def _starts(start: bytes) -> bool:
    """Return True for the first bytes of a FITS file, or of a packed one."""
    return start.startswith((b"SIMPLE", *_PACKED))


def _opened(file: Path, hdu: Hdu | None, whole: bool) -> ImageReader:
    """Open one image, in memory or box by box."""
    return LoadedFitsImage(file, hdu) if whole else FitsImage(file, hdu)


#: FITS 4.0 (Pence et al. 2010, A&A 524, A42).
FITS: Final = ImageFormat("FITS", (".fits", ".fit", ".fts"), _starts, _holds_image, _opened)
