"""Read images too large for memory as overlapping sections, one at a time.

A section is responsible for its core; cores cover the image without gap or overlap, and the
margin around a core is context. All starts are multiples of the background's mesh, so
that meshes are the same pixels as in the whole frame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import ArgumentError, BadInputError, require_fields, takes
from skyduel.core.frame import Frame
from skyduel.core.io.calibration.masters import Calibrator, calibrator_of
from skyduel.core.io.dataset import Entry
from skyduel.core.io.frames import frame_facts, frame_name, masked_pixels
from skyduel.core.io.images.blind_strips import Band, BlindStrips, blind_strips
from skyduel.core.io.images.image_formats import open_image
from skyduel.core.io.images.image_reader import NOTES_KEY, ImageReader, split_brackets
from skyduel.core.io.pixel_checks.check_facts import central_box, check_given, checked_facts
from skyduel.core.preprocess.mosaic import MOSAIC_KEY, Mosaic, balanced, find_mosaic

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["LargeImage", "PackedMask", "Section", "Sectioning", "open_large_image"]

#: Starts of sections are multiples of this: SExtractor's usual background mesh [px].
_ALIGNED_PX: Final = 64
#: Rows and columns that are looked at first for strips of constant value.
_PROBED: Final = 24
#: Pixels in memory where the whole image is looked through.
_BAND_PX: Final = 1 << 21
# Largest number of pixels of a real image per byte of its file, for any compression.
_PX_PER_BYTE: Final = 16


@dataclass(frozen=True)
class Sectioning:
    """Parameters for cutting images of more than ``section_px`` squared pixels into sections.

    Parameters
    ----------
    section_px : int
        Largest side of a section, its margins included [px].
    overlap_px : int
        Margin around a core [px], rounded up to whole meshes of 64. Only sources larger
        than this may differ between two sections.

    Raises
    ------
    BadInputError
        If the margins leave a core of less than one mesh of 64 px.
    """

    section_px: int = 4096
    overlap_px: int = 128

    def __post_init__(self) -> None:
        require_fields(self, section_px=Integral, overlap_px=Integral)
        if self.overlap_px < 0:
            raise BadInputError("overlap_px", "a margin of at least 0 px", str(self.overlap_px))
        if self.section_px - 2 * self.margin_px < _ALIGNED_PX:
            raise ArgumentError(
                "section_px",
                f"at least {2 * self.margin_px + _ALIGNED_PX} px with margins of {self.margin_px}",
                str(self.section_px),
            )

    @property
    def margin_px(self) -> int:
        """Margin, rounded up to whole meshes [px]."""
        return -(-self.overlap_px // _ALIGNED_PX) * _ALIGNED_PX

    def cuts(self, shape: tuple[int, int]) -> bool:
        """Return True if an image of this shape is cut into several sections."""
        return shape[0] * shape[1] > self.section_px**2

    def sections(self, shape: tuple[int, int]) -> tuple[Section, ...]:
        """Return the sections of a frame, row after row."""
        ny, nx = shape
        return tuple(
            Section(y0, y1, x0, x1, core_y0, core_y1, core_x0, core_x1)
            for y0, y1, core_y0, core_y1 in self._spans(ny)
            for x0, x1, core_x0, core_x1 in self._spans(nx)
        )

    def _spans(self, n: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield start and stop of each section and of its core along one axis."""
        if n <= self.section_px:
            yield 0, n, 0, n
            return
        most = (self.section_px - 2 * self.margin_px) // _ALIGNED_PX * _ALIGNED_PX
        # All sections have the same size: a narrow last one would be mostly margin.
        step = -(-n // (-(-n // most) * _ALIGNED_PX)) * _ALIGNED_PX
        for core in range(0, n, step):
            end = min(core + step, n)
            yield max(0, core - self.margin_px), min(n, end + self.margin_px), core, end


@dataclass(frozen=True)
class Section:
    """One section of an image [px]: the box that is read, and its core."""

    y0: int
    y1: int
    x0: int
    x1: int
    core_y0: int
    core_y1: int
    core_x0: int
    core_x1: int

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the core in pixels of the section."""
        return (
            slice(self.core_y0 - self.y0, self.core_y1 - self.y0),
            slice(self.core_x0 - self.x0, self.core_x1 - self.x0),
        )

    def holds(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], more: float = 0.0
    ) -> npt.NDArray[np.bool_]:
        """Return True for positions of the image in the core, widened by ``more`` px."""
        return np.asarray(
            (x >= self.core_x0 - 0.5 - more)
            & (x < self.core_x1 - 0.5 + more)
            & (y >= self.core_y0 - 0.5 - more)
            & (y < self.core_y1 - 0.5 + more)
        )

    def reads(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Return True for positions of the image in the section, its margin included."""
        return np.asarray(
            (x >= self.x0 - 0.5) & (x < self.x1 - 0.5) & (y >= self.y0 - 0.5) & (y < self.y1 - 0.5)
        )


class PackedMask:
    """A mask of a whole frame with one bit per pixel, indexed by arrays of rows and columns.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the frame.
    value : bool
        Initial value of every pixel.
    """

    def __init__(self, shape: tuple[int, int], value: bool) -> None:
        self.shape = shape
        fill = 255 if value else 0
        self._bits = np.full((shape[0], -(-shape[1] // 8)), fill, dtype=np.uint8)

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> PackedMask:
        """Pack a mask of shape (ny, nx)."""
        packed = cls((mask.shape[0], mask.shape[1]), False)
        packed._bits[:] = np.packbits(mask, axis=1)
        return packed

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """The mask as `numpy.packbits` along the rows gives it, shape (ny, ceil(nx / 8))."""
        return self._bits

    def count(self, other: PackedMask | None = None) -> int:
        """Return the number of pixels that are True here, or in another mask of this shape."""
        bits = self._bits if other is None else self._bits | other._bits
        beyond = -self.shape[1] % 8  # bits of the last byte that are no pixels
        last = np.uint8((0xFF << beyond) & 0xFF)
        n = int(np.bitwise_count(bits[:, :-1]).sum(dtype=np.int64))
        return n + int(np.bitwise_count(bits[:, -1] & last).sum(dtype=np.int64))

    def put(self, section: Section, mask: npt.NDArray[np.bool_]) -> None:
        """Set the mask in the core of a section; its columns start at a multiple of 64."""
        bits = np.packbits(mask[section.core], axis=1)
        first = section.core_x0 // 8
        self._bits[section.core_y0 : section.core_y1, first : first + bits.shape[1]] = bits

    def __getitem__(
        self, at: tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.integer[Any]]]
    ) -> npt.NDArray[np.bool_]:
        """Return the mask at rows and columns, both of shape (n,)."""
        row, column = at
        return np.asarray((self._bits[row, column >> 3] >> (7 - (column & 7))) & 1, dtype=bool)


@dataclass(frozen=True, eq=False)
class LargeImage:
    """An image that is read section by section.

    Parameters
    ----------
    facts : dict
        The fields of `Frame` except its pixels and mask.
    shape : (ny, nx)
        Shape of the whole image.
    sections : tuple of Section
        The sections, row after row.
    image : ImageReader
        Reader of the pixels.
    mask, weight : ImageReader, optional
        Readers of images of the same shape, used as by `skyduel.core.read_frame`.
    mask_bits : int, optional
        Which bits of the mask make a pixel unusable.
    blind : BlindStrips, optional
        Strips of constant value, which are masked.
    calibrator : Calibrator, optional
        Bias, dark and flat.
    mosaic : Mosaic, optional
        Filter mosaic whose phases are balanced in each section.
    """

    facts: dict[str, Any]
    shape: tuple[int, int]
    sections: tuple[Section, ...]
    image: ImageReader
    mask: ImageReader | None = None
    weight: ImageReader | None = None
    mask_bits: int | None = None
    blind: BlindStrips | None = None
    calibrator: Calibrator | None = None
    mosaic: Mosaic | None = None

    @property
    def name(self) -> str:
        """Name of the frame."""
        return str(self.facts["name"])

    @property
    def wcs(self) -> WCS | None:
        """Celestial coordinates of the whole image."""
        wcs: WCS | None = self.facts["wcs"]
        return wcs

    @property
    def zero_point(self) -> float | None:
        """Magnitude of a source of 1 ADU."""
        return self.facts.get("zero_point")

    @property
    def fwhm(self) -> float | None:
        """Full width at half maximum of the point-spread function [px]."""
        return self.facts.get("fwhm")

    def read(self, section: Section) -> Frame | None:
        """Read one section as a frame whose pixel (0, 0) is the section's corner.

        None if it has no usable pixel: mosaics have empty corners.

        Raises
        ------
        BadInputError
            If this part of the file is damaged.
        """
        rows, columns = slice(section.y0, section.y1), slice(section.x0, section.x1)
        pixels, bad = self._box(rows, columns)
        if bad.all():
            return None
        facts = self.facts
        if self.wcs is not None:
            facts = facts | {"wcs": self.wcs.slice((rows, columns))}
        frame = Frame(data=pixels, mask=bad, **facts)
        return frame if self.mosaic is None else balanced(frame)

    def _box(self, rows: slice, columns: slice) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return pixels and mask of a box."""
        pixels = self.image.read_box(rows, columns)
        bad = ~np.isfinite(pixels)
        if self.calibrator is not None:
            pixels, useless = self.calibrator.apply(pixels, rows, columns)
            bad |= useless
        if self.mask is not None:
            source = str(self.mask.file)
            bad |= masked_pixels(self.mask.read_box(rows, columns), self.mask_bits, source)
        if self.weight is not None:
            bad |= ~(self.weight.read_box(rows, columns) > 0)
        if self.blind is not None:
            bad |= self.blind.within(rows, columns)
        return pixels, bad

    def band(self, rows: slice, columns: slice) -> Band:
        """Return a box as `blind_strips` wants whole rows: float32 as in frames."""
        pixels, bad = self._box(rows, columns)
        with np.errstate(over="ignore"):
            data = np.asarray(pixels, dtype=np.float32)
        return rows.start, data, ~bad & np.isfinite(data)

    def middle(self) -> Frame | None:
        """Read the box in the image's middle that facts are checked on; None if it is masked."""
        rows, columns = central_box(self.shape)
        spans = (rows.start, rows.stop, columns.start, columns.stop)
        return self.read(Section(*spans, *spans))

    def frames(self) -> Iterator[tuple[Section, Frame]]:
        """Yield every section that has a usable pixel, one in memory at a time.

        Raises
        ------
        BadInputError
            If no section has a usable pixel, or all usable pixels have the same value.
        """
        low, high = np.inf, -np.inf
        for section in self.sections:
            frame = self.read(section)
            if frame is None:
                continue
            usable = frame.data[~frame.bad]
            low, high = min(low, float(usable.min())), max(high, float(usable.max()))
            del usable
            yield section, frame
            del frame  # free the memory before the next section is read
        if low == np.inf:
            raise BadInputError(self.name, "at least one usable pixel", "only masked pixels")
        if low == high:
            raise BadInputError(
                self.name, "an image whose pixels vary", f"{low:g} in all usable pixels"
            )

    def owner(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Return the index of the section whose core holds each position, or is nearest to it."""
        ny, nx = self.shape
        x, y = np.clip(x, -0.5, nx - 0.75), np.clip(y, -0.5, ny - 0.75)
        owner = np.zeros(len(x), dtype=np.int64)
        for number, section in enumerate(self.sections):
            owner[section.holds(x, y)] = number
        return owner


@takes(entry=Entry, sectioning=Sectioning)
def open_large_image(entry: Entry, sectioning: Sectioning) -> LargeImage | None:
    """Open an image that has to be read by sections; return None if it is small enough.

    Parameters
    ----------
    entry : Entry
        The frame, its mask and its weight.
    sectioning : Sectioning
        Largest size of a section, and its margins.

    Raises
    ------
    BadInputError
        If a file is missing or damaged, or mask or weight have another shape.
    """
    file, _ = split_brackets(entry.frame)
    # Most data sets have small files: skip them without reading the header.
    if file.is_file() and file.stat().st_size * _PX_PER_BYTE < sectioning.section_px**2:
        return None
    image = open_image(entry.frame, whole=False)
    if not sectioning.cuts(image.shape):
        image.close()
        return None
    bits = entry.mask_bits
    mask = None if entry.mask is None else open_image(entry.mask, whole=False, companion=True)
    if mask is None:
        mask = image.own_mask(bits)
        bits = image.mask_bits if bits is None else bits
    if mask is None and entry.mask_bits is not None:
        raise BadInputError(str(file), "a mask for mask_bits to choose from", "no mask")
    weight = None if entry.weight is None else open_image(entry.weight, whole=False, companion=True)
    for what, one in (("mask", mask), ("weight map", weight)):
        if one is not None and one.shape != image.shape:
            raise BadInputError(
                str(one.file), f"a {what} of the image's shape {image.shape}", f"{one.shape}"
            )
    check_given(frame_name(file), entry.given)
    facts, calibrator = frame_facts(image, entry.given), None
    if entry.used_calibration:
        calibrator = calibrator_of(entry.used_calibration, image, facts)
        facts = calibrator.facts(facts)
    opened = _checked(
        LargeImage(
            facts=facts,
            shape=image.shape,
            sections=sectioning.sections(image.shape),
            image=image,
            mask=mask,
            weight=weight,
            mask_bits=bits,
            calibrator=calibrator,
        ),
        entry.given,
    )
    middle = None if entry.raw else opened.middle()
    mosaic = None if middle is None else find_mosaic(middle)
    opened = _without_strips(opened)
    if mosaic is None:
        return opened
    noted = _noted(opened, mosaic.note, {MOSAIC_KEY: mosaic.words})
    return replace(noted, mosaic=mosaic)


def _checked(image: LargeImage, given: Collection[str]) -> LargeImage:
    """Return an image without those facts that the pixels in its middle contradict."""
    facts: dict[str, Any] = {"name": image.name, "wcs": image.wcs}
    box = replace(image, facts=facts).middle()
    if box is None:
        return image
    return replace(image, facts=checked_facts(image.facts, box.data, box.bad, given))


def _without_strips(image: LargeImage) -> LargeImage:
    """Return an image whose strips of constant value are masked, with a note."""

    def bands() -> Iterator[Band]:
        ny, nx = image.shape
        n_rows = max(1, _BAND_PX // nx)
        for first in range(0, ny, n_rows):
            yield image.band(slice(first, min(first + n_rows, ny)), slice(0, nx))

    strips = blind_strips(image.shape, bands) if _may_have_strips(image) else None
    if strips is None:
        return image
    return replace(_noted(image, strips.note), blind=strips)


def _noted(image: LargeImage, note: str, more: Mapping[str, Any] | None = None) -> LargeImage:
    """Return an image with one more note, and more entries of its header."""
    header = {**image.facts.get("header", {}), **(more or {})}
    notes = (*header.get(NOTES_KEY, ()), f"{image.name}: {note}")
    return replace(image, facts=image.facts | {"header": header | {NOTES_KEY: notes}})


def _may_have_strips(image: LargeImage) -> bool:
    """Return False if a few rows and columns rule out constant ones; the whole takes longer."""
    ny, nx = image.shape
    rows = np.unique(np.linspace(0, ny - 1, _PROBED).astype(int)).tolist()
    along = [image.band(slice(row, row + 1), slice(0, nx)) for row in rows]
    if _often_equal(*(np.concatenate(part) for part in list(zip(*along, strict=True))[1:])):
        return True
    first = max(0, (nx - _PROBED) // 2)
    _, data, usable = image.band(slice(0, ny), slice(first, min(nx, first + _PROBED)))
    return _often_equal(data.T, usable.T)


def _often_equal(data: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_]) -> bool:
    """Return True if half of the usable values of any column, or two of a few, are equal."""
    ordered = np.sort(np.where(usable, data, np.nan), axis=0)
    half = max(1, len(ordered) // 2 - 1)
    many = (ordered[half:] == ordered[:-half]).any(axis=0)
    few = (ordered[1:] == ordered[:-1]).any(axis=0) & (usable.sum(axis=0) < len(ordered))
    return bool((many | few | (usable.sum(axis=0) == 1)).any())
