"""Read ignore areas: DS9 regions, MOCs and masks, as one mask of the frame."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyduel.core.areas.region_shapes import read_region_area
from skyduel.core.errors import BadInputError, one_line
from skyduel.core.extras import missing_extra
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.dataset import Entry
from skyduel.core.io.frames import masked_pixels
from skyduel.core.io.images.image_formats import holds_image, is_image_name, open_image
from skyduel.core.io.images.image_reader import without_brackets
from skyduel.core.sections.large_image import LargeImage, PackedMask, Section
from skyduel.core.wcs import sky_positions, unit_vectors

__all__ = ["ignore_area_of", "read_ignore_area"]

_Bools = npt.NDArray[np.bool_]
_Band = Callable[[int, int], _Bools]

#: Pixels in memory while an area is drawn.
_BAND_PX: Final = 1 << 21
#: Sky positions are computed at every so many pixels and interpolated [px].
_STEP_PX: Final = 16
#: Keywords of which a table of a MOC has at least one.
_MOC_KEYS: Final = ("MOCORDER", "MOCORD_S", "MOCVERS", "MOCDIM", "MOCTOOL")


def read_ignore_area(path: Path, plane: Frame | LargeImage) -> PackedMask:
    """Return the mask of an ignore area on a frame.

    Parameters
    ----------
    path : Path
        A DS9 region file, a FITS file with a MOC (its order does not matter), or an image of
        the frame's shape in which pixels other than 0 are ignored; told apart by content.
    plane : Frame or LargeImage
        The frame; areas on the sky are placed by its world coordinates.

    Returns
    -------
    PackedMask
        True for pixels whose centre lies in the area, shape (ny, nx). An empty region file
        gives no such pixel.

    Raises
    ------
    BadInputError
        If the file is missing or damaged, holds none of these, or does not fit the frame; or if
        the library that reads it (`regions`, `mocpy`) is not installed.
    """
    file = existing_file(without_brackets(path))
    ny, nx = plane.shape
    if _holds_moc(file):
        draw: _Band = _moc_band(file, plane)
    elif is_image_name(file) and holds_image(file):
        return _from_image(path, plane.shape)
    else:
        header: Mapping[str, Any]
        header = plane.header if isinstance(plane, Frame) else plane.facts.get("header", {})
        area = read_region_area(file, plane, header)
        draw = lambda y0, y1: area.band(y0, y1, nx)  # noqa: E731
    out = PackedMask(plane.shape, False)
    for y0, y1 in _bands(ny, nx):
        out.put(Section(y0, y1, 0, nx, y0, y1, 0, nx), draw(y0, y1))
    return out


def _bands(ny: int, nx: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BAND_PX // nx)
    for y0 in range(0, ny, step):
        yield y0, min(ny, y0 + step)


def _from_image(path: Path, shape: tuple[int, int]) -> PackedMask:
    ny, nx = shape
    out = PackedMask(shape, False)
    with closing(open_image(path, whole=False, companion=True)) as image:
        if image.shape != shape:
            raise BadInputError(
                str(path), f"ignore areas of the image's shape {shape}", f"{image.shape}"
            )
        for y0, y1 in _bands(ny, nx):
            pixels = image.read_box(slice(y0, y1), slice(0, nx))
            out.put(Section(y0, y1, 0, nx, y0, y1, 0, nx), masked_pixels(pixels, None, str(path)))
    return out


def _holds_moc(file: Path) -> bool:
    """Return True for a FITS file with the table of a MOC."""
    try:
        with file.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
            start.seek(0)
            if not packed and start.read(6) != b"SIMPLE":
                return False
        with fits.open(file, memmap=False, ignore_missing_end=True) as hdus:
            return any(
                isinstance(hdu, fits.BinTableHDU) and any(key in hdu.header for key in _MOC_KEYS)
                for hdu in hdus
            )
    except OSError:
        return False


def _moc_band(file: Path, plane: Frame | LargeImage) -> _Band:
    """Return the function that draws rows of a MOC."""
    try:
        from mocpy import MOC
    except ImportError as error:
        raise missing_extra(str(file), error) or error from error
    if plane.wcs is None:
        raise BadInputError(str(file), f"world coordinates in {plane.name} for a MOC", "none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            moc = MOC.load(str(file), format="fits")
    except Exception as error:  # mocpy raises a dozen types on damaged files
        raise BadInputError(str(file), "a readable MOC of the sky", one_line(error)) from error

    from astropy import units

    nx = plane.shape[1]

    def band(y0: int, y1: int) -> _Bools:
        ra, dec = _sky_of_rows(plane, y0, y1)
        known = np.isfinite(ra) & np.isfinite(dec)
        inside = np.zeros(ra.size, dtype=bool)
        if known.any():
            inside[known] = moc.contains_lonlat(ra[known] * units.deg, dec[known] * units.deg)
        return inside.reshape(y1 - y0, nx)

    return band


def _sky_of_rows(
    plane: Frame | LargeImage, y0: int, y1: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return RA and Dec [deg] of all pixels of some rows.

    Directions are interpolated between a grid of pixels, to better than 0.001 px for pixels of
    less than 10 arcsec.
    """
    nx = plane.shape[1]
    at = [_knots(y0, y1), _knots(0, nx)]
    grid_y, grid_x = np.meshgrid(*at, indexing="ij")
    ra, dec = sky_positions(grid_x.ravel(), grid_y.ravel(), plane)
    unit = unit_vectors(ra, dec).reshape(at[0].size, at[1].size, 3)
    for axis, (low, high) in enumerate(((y0, y1), (0, nx))):
        place = np.interp(np.arange(low, high), at[axis], np.arange(at[axis].size))
        first = np.minimum(place.astype(np.int64), max(at[axis].size - 2, 0))
        second = np.minimum(first + 1, at[axis].size - 1)
        part = (place - first).reshape([-1 if a == axis else 1 for a in range(3)])
        unit = (1 - part) * unit.take(first, axis) + part * unit.take(second, axis)
    x, y, z = unit.reshape(-1, 3).T
    return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def _knots(low: int, high: int) -> npt.NDArray[np.float64]:
    """Return every sixteenth pixel and the last one."""
    return np.unique(np.append(np.arange(low, high, _STEP_PX), high - 1)).astype(np.float64)


def ignore_area_of(entry: Entry, plane: Frame | LargeImage) -> PackedMask | None:
    """Return the mask of a data set's ignore areas on a frame, None without any.

    Raises
    ------
    BadInputError
        As `read_ignore_area`.
    """
    return None if entry.ignore is None else read_ignore_area(entry.ignore, plane)
