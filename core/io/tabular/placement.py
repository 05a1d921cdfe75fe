"""Positions of a table on a frame: from the sky, or checked against the sky."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.table import Table

from skyduel.core.errors import BadInputError
from skyduel.core.frame import Plane
from skyduel.core.wcs import (
    pixel_positions,
    plane_positions,
    sky_centre,
    sky_separation,
)

__all__ = ["NOTES", "add_note", "place_rows"]

#: Key of a table's meta under which stands what was decided about the file, one line each.
NOTES: Final = "notes"
# How far outside the frame a sky position still is of interest [px].
_MARGIN_PX: Final = 10.0
# x, y and the sky may differ by so much, in the median, before x, y are another image's [px].
_TOLERANCE_PX: Final = 3.0
# How near to (1, 1) a difference is told as pixels that count from 1 [px].
_ONE_PX: Final = 0.1


def add_note(table: Table, note: str) -> None:
    """Add one line to what was decided about a table."""
    table.meta[NOTES] = [*table.meta.get(NOTES, ()), note]


def place_rows(
    table: Table, frame: Plane | None, source: str, given: Sequence[str], *, on_sky: bool
) -> Table:
    """Return a table with x and y on the frame.

    Pixel positions that stand in the table are kept, unless the frame has a
    WCS that puts the table's sky positions elsewhere: x and y then belong to
    another image, and the sky counts.

    Parameters
    ----------
    table : astropy.table.Table
        Columns named as in the schema.
    frame : Frame or mosaic, optional
        Where to place the rows.
    source : str
        Where the table came from, for messages.
    given : sequence of str
        The file's own column names, for messages.
    on_sky : bool
        Whether rows without a frame are placed on a plane of their own.

    Returns
    -------
    astropy.table.Table
        If the sky counts, without the rows more than 10 px outside the frame;
        ``meta["outside_frame"]`` is their number and ``meta["notes"]`` says why.

    Raises
    ------
    BadInputError
        If there is neither a pair x, y nor a pair ra, dec that can be placed.
    """
    names = set(table.colnames)
    if {"x", "y"} <= names:
        if frame is None or frame.wcs is None or not {"ra", "dec"} <= names or not len(table):
            return table
        return _checked(table, frame, source)
    if not {"ra", "dec"} <= names:
        raise BadInputError(
            source,
            "columns x and y, or ra and dec, under these or other usual names",
            f"columns {', '.join(given)}" if given else "no columns",
        )
    on_plane = on_sky and frame is None
    if not on_plane and (frame is None or frame.wcs is None):
        raise BadInputError(
            source,
            "a frame with celestial coordinates to place ra and dec on",
            "no frame (read_catalog: frame; `skyduel score`: --frame, or --radius-arcsec to match "
            "on the sky)"
            if frame is None
            else f"frame {frame.name} without a WCS",
        )
    sky = [_sky_column(table, name, source) for name in ("ra", "dec")]
    if frame is None:
        placed = Table(table, copy=False)
        placed["x"], placed["y"] = plane_positions(sky[0], sky[1])
        return placed
    x, y = pixel_positions(sky[0], sky[1], frame)
    return _within(table, x, y, frame)


def _within(
    table: Table, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], frame: Plane
) -> Table:
    ny, nx = frame.shape
    inside = (x > -_MARGIN_PX) & (x < nx - 1 + _MARGIN_PX)
    inside &= (y > -_MARGIN_PX) & (y < ny - 1 + _MARGIN_PX)
    placed = table[inside]
    placed["x"], placed["y"] = x[inside], y[inside]
    placed.meta["outside_frame"] = int((~inside).sum())
    if len(table) and not inside.any() and frame.wcs is not None:
        centre = sky_centre(frame)
        ra, dec = (_numbers(table[name]) for name in ("ra", "dec"))
        away = sky_separation(ra, dec, *(np.asarray(angle) for angle in centre))
        if np.isfinite(away).any():
            placed.meta["nearest_outside_deg"] = float(np.nanmin(away)) / 3600
    return placed


def _checked(table: Table, frame: Plane, source: str) -> Table:
    """Return the table with its own x, y if they are this frame's, else with the sky's."""
    try:
        ra, dec = (_numbers(table[name]) for name in ("ra", "dec"))
        x, y = (_numbers(table[name]) for name in ("x", "y"))
    except (TypeError, ValueError):
        return table  # of what kind the columns have to be is checked later
    known = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    sky_x, sky_y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    sky_x[known], sky_y[known] = pixel_positions(ra[known], dec[known], frame)
    ny, nx = frame.shape
    on_frame = (sky_x > -0.5) & (sky_x < nx - 0.5) & (sky_y > -0.5) & (sky_y < ny - 0.5)
    if not on_frame.any():
        return table
    dx, dy = x[on_frame] - sky_x[on_frame], y[on_frame] - sky_y[on_frame]
    finite = np.isfinite(dx) & np.isfinite(dy)
    if not finite.any():
        return _within(table, sky_x, sky_y, frame)
    away = float(np.median(np.hypot(dx[finite], dy[finite])))
    if away > _TOLERANCE_PX:
        placed = _within(table, sky_x, sky_y, frame)
        where = f"{away:.4g} px from where ra, dec fall on frame {frame.name} (median)"
        add_note(placed, f"x, y lie {where} and belong to another image; ra, dec are used")
        return placed
    middle = float(np.median(dx[finite])), float(np.median(dy[finite]))
    spread = max(
        float(np.median(np.abs(d[finite] - m))) for d, m in zip((dx, dy), middle, strict=True)
    )
    if finite.sum() >= 3 and spread < _ONE_PX and all(abs(m - 1) < _ONE_PX for m in middle):
        noted = Table(table, copy=False)
        add_note(noted, "x, y lie 1 px right of and above ra, dec: "
                        "do they count from 1? They are used as counted from 0")  # fmt: skip
        return noted
    return table


def _numbers(column: Any) -> npt.NDArray[np.float64]:
    values = column.filled(np.nan) if hasattr(column, "filled") else column
    return np.asarray(getattr(values, "value", values), dtype=np.float64)


def _sky_column(table: Table, name: str, source: str) -> npt.NDArray[np.float64]:
    """Return right ascensions or declinations [deg], checked."""
    column = table[name]
    degrees = _numbers(column)
    if column.unit is not None:
        degrees = (degrees * column.unit).to_value(u.deg)
    bad = np.flatnonzero(~np.isfinite(degrees))
    if bad.size:
        raise BadInputError(source, f"a finite {name!r} in every row", f"none in row {bad[0]}")
    low, high = (-360.0, 720.0) if name == "ra" else (-90.0, 90.0)
    bad = np.flatnonzero((degrees < low) | (degrees > high))
    if bad.size:
        raise BadInputError(
            source,
            f"{name!r} from {low:g} to {high:g} deg",
            f"{degrees[bad[0]]:g} in row {bad[0]} ({bad.size} such rows)",
        )
    return degrees
