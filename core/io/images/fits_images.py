"""Read one image of a FITS file, however it is packed; every fault of the file in one line."""

from __future__ import annotations

import io
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.images.celestial import celestial_wcs
from skyduel.core.io.images.fits_choice import (
    FitsChoice,
    choose_image,
    image_shape,
    sky_images,
)
from skyduel.core.io.images.fits_header_checks import check_headers
from skyduel.core.io.images.fits_metadata import (
    header_facts,
    is_structural,
    plain_header,
)
from skyduel.core.io.images.fits_pixels import NO_SECTIONS, Sections, scaled, sky_sections
from skyduel.core.io.images.image_reader import (
    NOTES_KEY,
    Hdu,
    ImageFormat,
    ImageReader,
    Pixels,
)
from skyduel.core.io.size_limits import unpacked

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["FITS", "FitsImage", "LoadedFitsImage", "chips"]

_UNPRINTABLE: Final = re.compile(r"[^ -~]")
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
                shapes = [image_shape(hdu) for hdu in hdus]
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
    _choice: FitsChoice
    _mask_name: str | None = None
    _sections: Sections = NO_SECTIONS

    def facts(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return every field of a `Frame` but its pixels and mask, overrides first."""
        given = overrides or {}
        wcs = given.get("wcs", self.wcs)
        scale = given.get("pixel_scale_arcsec")
        facts = header_facts(
            self.header,
            wcs=wcs,
            pixel_scale_arcsec=scale,
            exposure_s=given.get("exposure_s"),
            shape=self.shape,
        )
        header = plain_header(self.header, (*facts.ignored, *self.unusable))
        if self._choice.notes:
            header[NOTES_KEY] = self._choice.notes
        return {**facts.values, "wcs": wcs, **given, "header": header, "sources": facts.sources}

    def _mask_hdu(self, bits: int | None) -> Hdu | None:
        """Return the HDU of the mask in the same file, None without one."""
        if self._mask_name is not None:
            return self._mask_name
        return self._choice.mask if bits is None else self._choice.bits

    def _set_header(self, hdus: fits.HDUList) -> None:
        """Read the header of the chosen image, its coordinates and its sections."""
        own = hdus[self._choice.index].header
        self.header, unreadable = _readable(own)
        self._sections, outside = sky_sections(self.header, self.shape)
        if self._choice.index:
            primary, more = _readable(hdus[0].header)
            unreadable += more
            for card in primary.cards:
                if not (card.keyword in self.header or is_structural(card.keyword)):
                    self.header.append(card, end=True)
        named = self.header.get("MASKEXT")
        if isinstance(named, str) and named.strip() and named in hdus:
            self._mask_name = named
        elif named is not None:
            unreadable += (f"MASKEXT = {named!r}: no such extension",)
        self.wcs, trouble = celestial_wcs(own, hdus)
        self.unusable = (*unreadable, *filter(None, [trouble]), *outside)


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

    def __init__(self, file: Path, hdu: Hdu | None = None, *, companion: bool = False) -> None:
        self.file, self.hdu = file, hdu
        stream = _open(file)
        with stream, warnings.catch_warnings():
            # Completeness is checked below, by the bytes themselves.
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                self._choice = choose_image(stream, file, hdu, companion=companion)
                self.shape = self._choice.shape
                rows, columns = (slice(0, n) for n in self.shape)
                stream.seek(0)
                with fits.open(stream, memmap=False, do_not_scale_image_data=True) as hdus:
                    self._set_header(hdus)
                    one, box = hdus[self._choice.index], self._choice.box(rows, columns)
                    # Of a cube only the plane is read.
                    cube = max((1, *one.shape[:-2])) > 1
                    raw = one.section[box] if cube else np.asarray(one.data)[box]
                    values = scaled(np.asarray(raw), self.header, file, _compression(one))
                    self._pixels = self._sections.blanked(values, rows, columns)
                    bias = self._sections.overscan
                    self._overscan = None if bias is None else float(np.nanmedian(values[bias]))
            except BadInputError:
                raise
            except Exception as error:  # astropy raises a dozen types on damaged files
                raise BadInputError(str(file), "a readable FITS image", one_line(error)) from error

    def own_mask(self, bits: int | None = None) -> LoadedFitsImage | None:
        """Open the mask in the same file, None without one; with bits also a quality array."""
        hdu = self._mask_hdu(bits)
        return None if hdu is None else LoadedFitsImage(self.file, hdu, companion=True)

    def read(self) -> Pixels:
        """Return all pixels, scaled, NaN where they are BLANK."""
        return self._pixels

    def read_box(self, rows: slice, columns: slice) -> Pixels:
        """Return the pixels of a box."""
        return self._pixels[rows, columns]

    def overscan(self) -> float | None:
        """Return the median of the overscan, None without one."""
        return self._overscan

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

    def __init__(self, file: Path, hdu: Hdu | None = None, *, companion: bool = False) -> None:
        self.file, self.hdu = file, hdu
        self._plain: Any = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                with _open_packed(file) as (stream, plain):
                    self._plain = plain
                    self._choice = choose_image(stream, file, hdu, whole=False, companion=companion)
                    self.shape = self._choice.shape
                    stream.seek(0)
                    with fits.open(stream, memmap=False, do_not_scale_image_data=True) as hdus:
                        self._set_header(hdus)
            except BadInputError:
                raise
            except Exception as error:  # astropy raises a dozen types on damaged files
                raise BadInputError(str(file), "a readable FITS image", one_line(error)) from error

    def own_mask(self, bits: int | None = None) -> FitsImage | None:
        """Open the mask in the same file, None without one; with bits also a quality array."""
        hdu = self._mask_hdu(bits)
        return None if hdu is None else FitsImage(self.file, hdu, companion=True)

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
        return self._sections.blanked(self._values(rows, columns), rows, columns)

    def overscan(self) -> float | None:
        """Read the median of the overscan, None without one."""
        box = self._sections.overscan
        return None if box is None else float(np.nanmedian(self._values(*box)))

    def _values(self, rows: slice, columns: slice) -> Pixels:
        """Read the scaled pixels of a box, also those that see no sky."""
        path = self.file if self._plain is None else Path(self._plain.name)
        box = self._choice.box(rows, columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                with fits.open(path, memmap=True, do_not_scale_image_data=True) as hdus:
                    one = hdus[self._choice.index]
                    raw, compression = np.array(one.section[box]), _compression(one)
                return scaled(raw, self.header, self.file, compression)
            except BadInputError:
                raise
            except Exception as error:
                raise BadInputError(
                    str(self.file), "a readable FITS image", one_line(error)
                ) from error


def _compression(hdu: Any) -> str | None:
    """Return how tiles of an image were compressed, None of one that is not."""
    return getattr(hdu, "compression_type", None)


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


def _readable(header: fits.Header) -> tuple[fits.Header, tuple[str, ...]]:
    """Return a header without the cards that FITS does not allow, and these in words.

    Control characters, such as the tabs of some cameras' programs, become question marks.
    """
    readable, unreadable = fits.Header(), []
    for card in header.cards:
        try:
            keyword, value, comment = card.keyword, card.value, _UNPRINTABLE.sub("?", card.comment)
            value = _UNPRINTABLE.sub("?", value) if isinstance(value, str) else value
            readable.append((keyword, value, comment), end=True)
        except (fits.VerifyError, ValueError):
            unreadable.append(f"an unreadable card {card.keyword}")
    return readable, tuple(unreadable)


def chips(file: Path) -> list[tuple[str, str]]:
    """Return the two-dimensional images of the sky in a FITS file, in order.

    Returns
    -------
    list of (str, str)
        The name, and what chooses it in brackets, such as ``SCI,2``.

    Raises
    ------
    BadInputError
        If the file is missing or no FITS file.
    """
    with _open(file) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            return sky_images(file, stream)
        except BadInputError:
            raise
        except Exception as error:  # astropy raises a dozen types on damaged files
            raise BadInputError(str(file), "a readable FITS image", one_line(error)) from error


def _starts(start: bytes) -> bool:
    """Return True for the first bytes of a FITS file, or of a packed one."""
    return start.startswith((b"SIMPLE", *_PACKED))


def _opened(file: Path, hdu: Hdu | None, whole: bool, companion: bool) -> ImageReader:
    """Open one image, in memory or box by box."""
    kind = LoadedFitsImage if whole else FitsImage
    return kind(file, hdu, companion=companion)


#: FITS 4.0 (Pence et al. 2010, A&A 524, A42).
FITS: Final = ImageFormat("FITS", (".fits", ".fit", ".fts"), _starts, _holds_image, _opened)
