"""Read a frame: an image of any format with the facts that its file states."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import closing
from numbers import Integral
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.errors import PATH, BadInputError, one_line, takes
from skyduel.core.frame import Frame
from skyduel.core.io.calibration.files import NO_FILES, CalibrationFiles
from skyduel.core.io.calibration.masters import calibrator_of
from skyduel.core.io.images.blind_strips import blind_strips
from skyduel.core.io.images.fits_metadata import FACT_KEYS
from skyduel.core.io.images.image_formats import frame_name, open_image
from skyduel.core.io.images.image_reader import NOTES_KEY, Hdu, ImageReader, Pixels, hdu_suffix
from skyduel.core.io.pixel_checks.check_facts import central_box, check_given, checked_facts
from skyduel.core.preprocess.mosaic import MOSAIC_KEY, balanced, find_mosaic

__all__ = ["frame_facts", "frame_in_memory", "frame_name", "masked_pixels", "read_frame"]

_FACTS: Final = (*FACT_KEYS, "wcs")

#: Of an image in memory without a name, and what such an image may be.
_NAME: Final = "image"
_WANTED: Final = "a Frame, a path, an array (ny, nx), a Quantity, an NDData or an HDU"


@takes(
    path=PATH,
    mask=(*PATH, np.ndarray),
    mask_bits=Integral,
    weight=(*PATH, np.ndarray),
    calibration=CalibrationFiles,
)
def read_frame(
    path: str | os.PathLike[str],
    *,
    hdu: Hdu | None = None,
    mask: str | os.PathLike[str] | npt.NDArray[Any] | None = None,
    mask_bits: int | None = None,
    weight: str | os.PathLike[str] | npt.NDArray[Any] | None = None,
    calibration: CalibrationFiles = NO_FILES,
    balance: bool = False,
    **overrides: Any,
) -> Frame:
    """Read an image with the facts that its file states.

    Parameters
    ----------
    path : path
        Plain, or compressed by gzip, bzip2, xz or in tiles (``.fz``); told by
        content, not by ending. ``frame.fits[SCI]``, ``frame.fits[SCI,2]`` and
        ``frame.fits[2]`` choose an HDU; otherwise it is the first with a
        two-dimensional image of the sky: none that is called a mask, a weight map,
        an error array or the like. ``cube.fits[SCI][0]`` chooses a plane of a cube, counted
        from 0; ``colour.fits[G]`` one of three colours by name, if the file names them.
        Leading axes of length 1 are dropped.
    hdu : int, str, (str, int) or CubePlane, optional
        The same choice as an argument; it stands above the brackets.
    mask : path or ndarray of shape (ny, nx), optional
        True, non-zero or NaN where a pixel must not be used. Without it, a
        mask that `write_frame` or `astropy.nddata.CCDData` put in the file is used.
    mask_bits : int, optional
        Of a mask whose bits mean different things, those that make a pixel
        unusable, added up (e.g. ``1 + 4``); without it every bit does. Without
        `mask`, the file's own mask or data-quality array (``MASK``, ``DQ``, ...) is used.
    weight : path or ndarray of shape (ny, nx), optional
        A survey's weight map: pixels of weight 0, below, or NaN are masked
        besides. How large the others are is not used, for every detector
        measures the noise in the frame itself.
    calibration : CalibrationFiles, optional
        Bias, dark and flat exposures that are applied (`skyduel.core.io.calibration`). Hot pixels
        of the dark are masked.
    balance : bool
        If True, the four filter phases of a raw colour frame get one background and one noise
        (`skyduel.core.preprocess.mosaic`).
    **overrides
        Facts of `Frame` (``name``, ``gain``, ``read_noise``, ``saturation``,
        ``exposure_s``, ``zero_point``, ``fwhm``, ``pixel_scale_arcsec``,
        ``wcs``) that stand above the header's; None removes a fact.

    Returns
    -------
    Frame
        Pixels [ADU] scaled by BSCALE and BZERO, asinh pixels (BSOFTEN, BOFFSET) made
        linear. BLANK, NaN and infinite pixels are masked, and those outside DATASEC and
        TRIMSEC or in BIASSEC, and strips of constant value that see no sky (borders and
        gaps of mosaics). ``header`` holds
        the primary and the image header's scalar values, under ``ignored_facts`` those
        values that should
        have been a fact and cannot, and under ``notes`` other decisions on the file.

    Raises
    ------
    BadInputError
        If the file is missing, damaged, cut short or not FITS; if there is no
        such image; or if the usable pixels do not vary.
    TypeError
        If an override names no fact.
    """
    unknown = set(overrides) - {*_FACTS, "name"}
    if unknown:
        raise TypeError(
            f"read_frame() knows no fact {', '.join(sorted(unknown))}; "
            f"it knows name, {', '.join(_FACTS)}"
        )
    with closing(open_image(path, hdu=hdu)) as image:
        data = image.read()
        unusable = _either(_mask(mask, image, mask_bits), _weightless(weight, image.shape))
        facts = frame_facts(image, overrides)
        check_given(facts["name"], overrides)
        if calibration:
            calibrator = calibrator_of(calibration, image, facts)
            data, bad = calibrator.apply(data, *(slice(0, n) for n in image.shape))
            unusable = _either(bad, unusable)
            facts = calibrator.facts(facts)
        box = central_box(image.shape)
        boxed = None if unusable is None or unusable.shape != data.shape else unusable[box]
        facts = checked_facts(facts, data[box], boxed, overrides)
        frame = Frame(data=data, mask=unusable, **facts)
    mosaic = find_mosaic(frame) if balance else None
    if mosaic is not None:
        frame = _noted(balanced(frame), mosaic.note, {MOSAIC_KEY: mosaic.words})
    usable = frame.data[~frame.bad]
    strips = blind_strips(frame.shape, lambda: [(0, frame.data, ~frame.bad)])
    if strips is not None:
        mask = frame.bad | strips.within(slice(None), slice(None))
        return _noted(frame.with_(mask=mask), strips.note)
    if usable.min() == usable.max():
        raise BadInputError(
            str(path),
            "an image whose pixels vary",
            f"{float(usable[0]):g} in all {usable.size} usable pixels",
        )
    return frame


def _noted(frame: Frame, note: str, more: Mapping[str, Any] | None = None) -> Frame:
    """Return a frame with one more note, and more entries of its header."""
    notes = (*frame.header.get(NOTES_KEY, ()), f"{frame.name}: {note}")
    return frame.with_(header={**frame.header, **(more or {}), NOTES_KEY: notes})


def frame_facts(image: ImageReader, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return every field of a `Frame` but its pixels and mask, its name from the file's."""
    name = frame_name(image.file) + hdu_suffix(image.hdu)
    return {"name": name, **image.facts(overrides)}


def _mask(
    given: str | os.PathLike[str] | npt.NDArray[Any] | None, image: ImageReader, bits: int | None
) -> Pixels | None:
    """Return True where a pixel is bad, from an array, a file, or the frame's own file."""
    if isinstance(given, np.ndarray):
        return masked_pixels(given, bits, str(image.file))
    if given is not None:
        return masked_pixels(_pixels(given), bits, str(image.file))
    own = image.own_mask(bits)
    if own is None:
        if bits is not None:
            raise BadInputError(str(image.file), "a mask for mask_bits to choose from", "no mask")
        return None
    with closing(own):
        return masked_pixels(own.read(), image.mask_bits if bits is None else bits, str(own.file))


def _weightless(
    given: str | os.PathLike[str] | npt.NDArray[Any] | None, shape: tuple[int, int]
) -> Pixels | None:
    """Return True where a pixel has no weight."""
    if given is None:
        return None
    weight = given if isinstance(given, np.ndarray) else _pixels(given)
    if weight.shape != shape:
        source = "weight" if isinstance(given, np.ndarray) else str(given)
        raise BadInputError(source, f"a weight map of the image's shape {shape}", f"{weight.shape}")
    return np.asarray(~(weight > 0))


def _pixels(path: str | os.PathLike[str]) -> Pixels:
    """Read the pixels of an image."""
    with closing(open_image(path, companion=True)) as image:
        return image.read()


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


def _either(one: Pixels | None, other: Pixels | None) -> Pixels | None:
    """Return the pixels that are bad in either mask."""
    if one is None or other is None:
        return other if one is None else one
    # A mask of another shape is refused by the frame, with a message of its own.
    return one | other if one.shape == other.shape else one


def frame_in_memory(image: Any, **facts: Any) -> Frame:
    """Return the frame of an image in memory.

    Parameters
    ----------
    image : array_like, Quantity, NDData, CCDData, HDU or HDUList
        A masked array and an NDData bring their mask. The header, unit and WCS of an NDData, a
        CCDData or an HDU are read as those of a file.
    **facts
        Facts of `Frame` that stand above them: ``name``, ``gain``, ``fwhm``, ...

    Raises
    ------
    BadInputError
        If it is no image, or not of two dimensions.
    """
    facts = {"name": _NAME, **facts}
    hdus = _hdus(image, facts["name"])
    if hdus is not None:
        # As a file, for the rules of files to hold: facts of headers, units, masks, WCS.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.fits"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                hdus.writeto(path)
            return read_frame(path, **facts)
    try:
        mask = np.ma.getmaskarray(image) if np.ma.isMaskedArray(image) else None
        pixels = np.asarray(np.ma.getdata(image))
    except (TypeError, ValueError) as error:
        raise BadInputError(facts["name"], _WANTED, one_line(error)) from error
    if pixels.dtype.kind not in "iufbc":
        raise BadInputError(facts["name"], _WANTED, type(image).__name__)
    return Frame(data=pixels, mask=mask, **facts)


def _hdus(image: Any, name: str) -> fits.HDUList | None:
    """Return what knows more than its pixels as HDUs; None for an array."""
    if isinstance(image, fits.HDUList):
        return image
    if isinstance(image, fits.PrimaryHDU):
        return fits.HDUList([image])
    if isinstance(image, fits.ImageHDU | fits.CompImageHDU):
        return fits.HDUList([fits.PrimaryHDU(), image])
    has_unit = hasattr(image, "unit") and hasattr(image, "value")
    if not has_unit and not (hasattr(image, "meta") and hasattr(image, "uncertainty")):
        return None
    from astropy import units as u  # these take long to load
    from astropy.nddata import CCDData

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        if has_unit:
            ccd = CCDData(np.asarray(image.value), unit=image.unit)
        else:
            mask = None if image.mask is None else np.broadcast_to(image.mask, image.data.shape)
            ccd = CCDData(
                np.asarray(image.data),
                unit=image.unit or u.dimensionless_unscaled,
                mask=None if mask is None else np.array(mask, dtype=bool),
                meta=image.meta,
                wcs=image.wcs,
            )
        if ccd.data.ndim != 2:
            raise BadInputError(
                name, "a two-dimensional image (ny, nx)", f"{ccd.data.ndim}-D, shape {ccd.shape}"
            )
        return ccd.to_hdu()
