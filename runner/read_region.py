"""Read whole frames or regions of frames, up to a size that fits in memory."""

from __future__ import annotations

import re
from typing import Any

from skyduel.core import (
    BadInputError,
    Frame,
    Section,
    Sectioning,
    entry_of,
    open_large_image,
)
from skyduel.core.errors import ArgumentError

__all__ = ["read_region"]


def read_region(
    path: str,
    cutout: str | None = None,
    *,
    mask_bits: int | None = None,
    raw: bool = False,
    **facts: Any,
) -> Frame:
    """Read a frame or a region of it.

    Parameters
    ----------
    path : str
        Path of an image, as for `skyduel.core.read_frame`; a mask or weight map in the same
        folder is used.
    cutout : str, optional
        ``X0:X1,Y0:Y1``: columns and rows [px] from 0, the last ones not included. Only
        this region of the file is read. Its corner is appended to the name of the frame.
    mask_bits : int, optional
        As for `skyduel.core.read_frame`.
    raw : bool
        As for `skyduel.core.Entry`.
    **facts
        Metadata of the frame that override its header.

    Raises
    ------
    BadInputError
        If the frame or the region has more than 4096² pixels, or the region does not lie
        in the frame or has no usable pixel.
    """
    sectioning = Sectioning()
    most = f"{sectioning.section_px} x {sectioning.section_px} px"
    entry = entry_of(path, mask_bits=mask_bits, raw=raw)
    mosaic = open_large_image(entry, sectioning)
    if mosaic is not None and cutout is None:
        raise ArgumentError(
            path, f"a frame of at most {most}, or a cutout X0:X1,Y0:Y1 of a larger one",
            f"{mosaic.shape[1]} x {mosaic.shape[0]} px", ("cutout",),
        )  # fmt: skip
    whole = entry.read(**facts) if mosaic is None else None
    if whole is not None and cutout is None:
        return whole
    shape = whole.shape if whole is not None else mosaic.shape if mosaic is not None else (0, 0)
    x0, x1, y0, y1 = _limits(cutout or "", shape)
    if sectioning.cuts((y1 - y0, x1 - x0)):
        raise ArgumentError("cutout", f"at most {most}", f"{x1 - x0} x {y1 - y0} px")
    if whole is not None:
        rows, columns = slice(y0, y1), slice(x0, x1)
        wcs = None if whole.wcs is None else whole.wcs.slice((rows, columns))
        mask = None if whole.mask is None else whole.mask[rows, columns]
        piece: Frame | None = whole.with_(data=whole.data[rows, columns], mask=mask, wcs=wcs)
    elif mosaic is not None:
        piece = mosaic.read(Section(y0, y1, x0, x1, y0, y1, x0, x1))
        piece = piece if piece is None or not facts else piece.with_(**facts)
    if piece is None:
        raise BadInputError(path, "a cutout with usable pixels", f"none in {cutout}")
    return piece.with_(name=f"{piece.name}_{x0}_{y0}")


def _limits(text: str, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Parse the first and last column and row of a cutout, the last not included."""
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9}),(\d{1,9}):(\d{1,9})", text)
    ny, nx = shape
    x0, x1, y0, y1 = (int(part) for part in found.groups()) if found else (0, 0, 0, 0)
    if not (0 <= x0 < x1 <= nx and 0 <= y0 < y1 <= ny):
        raise ArgumentError("cutout", f"X0:X1,Y0:Y1 within 0:{nx},0:{ny}", repr(text))
    return x0, x1, y0, y1
