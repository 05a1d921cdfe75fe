"""Tables of FITS files, read and written: FITS_LDAC, astrometry.net and plain binary tables."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.table import MaskedColumn, Table, vstack

from skyduel.core.errors import BadInputError
from skyduel.core.io.images.fits_header_checks import check_headers
from skyduel.core.io.safe_yaml_xml import vet_yaml
from skyduel.core.io.size_limits import check_fields
from skyduel.core.io.tabular.given_table import GivenTable, choose_table

__all__ = ["null_value", "read_fits", "write_fits", "write_fits_hdus"]

_YAML_BEGINS: Final = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"
_YAML_ENDS: Final = "--END-ASTROPY-SERIALIZED-COLUMNS--"
_OBJECTS: Final = "LDAC_OBJECTS"
# What astropy writes for a missing integer.
_ASTROPY_NULL: Final = 999999
# Most letters of a keyword; with more, keyword and text share the card's 80 letters.
_KEYWORD: Final = 8
_LONG_KEY_TEXT: Final = 64
# Length of an empty primary HDU [bytes].
_BLOCK: Final = 2880
# astrometry.net's kinds of file with pixel positions, and what image2xy writes into its header.
_FROM_ONE_KINDS: Final = frozenset({"XYLS", "CORR", "AXY"})
_FROM_ONE_WORDS: Final = "assuming 1,1 is"
_FROM_ONE_NAMES: Final = frozenset({"field_x", "field_y", "index_x", "index_y"})


def read_fits(
    content: bytes, choice: Any, has_positions: Callable[[Sequence[str]], bool]
) -> GivenTable | None:
    """Return the chosen table of a FITS file.

    Several tables ``LDAC_OBJECTS``, one for each chip, are joined with a
    column ``chip``, counted from 1 in the order of the file.

    Parameters
    ----------
    content : bytes
        The file.
    choice : str, int, (str, int) or None
        Name or number of the HDU, or name and ``EXTVER``.
    has_positions : callable
        Whether columns of these names hold positions.

    Returns
    -------
    GivenTable or None
        None if there is no table, or the chosen HDU is none.
    """
    stream = io.BytesIO(content)
    check_headers(stream, "the table")
    with fits.open(stream, memmap=False, logical_as_bytes=True) as hdus:
        tables = [(i, h) for i, h in enumerate(hdus) if _is_table(h)]
        if not tables:
            return None
        if choice is not None:
            try:
                chosen = [hdus[choice]]
            except (KeyError, IndexError):
                found = ", ".join(f"{h.name or 'a table'} [{i}]" for i, h in tables)
                raise BadInputError("", "a table", f"no table {choice!r} among {found}") from None
            if not _is_table(chosen[0]):
                return None
        else:
            objects = [(i, h) for i, h in tables if h.name == _OBJECTS]
            among = objects or tables
            if len(objects) > 1:
                chosen = [h for _, h in objects]
            else:
                index = choose_table(
                    [h.name for _, h in among], [h.columns.names for _, h in among],
                    [i for i, _ in among], None, has_positions,
                )  # fmt: skip
                chosen = [among[index][1]]
        for hdu in chosen:
            _vet(hdu, len(content))
        parts = [_read_hdu(hdu) for hdu in chosen]
        if len(parts) > 1:
            for number, part in enumerate(parts, start=1):
                part["chip"] = np.full(len(part), number)
            numbers = ", ".join(f"[{i}]" for i, h in enumerate(hdus) if h.name == _OBJECTS)
            joined = vstack(parts, join_type="outer", metadata_conflicts="silent")
            return GivenTable(joined, chips=f"{len(parts)} tables {_OBJECTS}: {numbers}")
        return GivenTable(parts[0], from_one=_from_one(hdus[0].header, chosen[0]))


def _is_table(hdu: Any) -> bool:
    return isinstance(hdu, fits.BinTableHDU | fits.TableHDU)


def _from_one(primary: fits.Header, hdu: Any) -> bool:
    """Return True if a file says that its pixels count from 1."""
    headers = (primary, hdu.header)
    if any(str(h.get("AN_FILE", "")).strip().upper() in _FROM_ONE_KINDS for h in headers):
        return True
    words = " ".join(
        str(c) for h in headers for c in (*h.get("COMMENT", ()), *h.get("HISTORY", ()))
    )
    if _FROM_ONE_WORDS in words:
        return True
    return {str(name).lower() for name in hdu.columns.names} >= _FROM_ONE_NAMES


def _read_hdu(hdu: Any) -> Table:
    """Return a table whose logicals are bool, masked where FITS has no value."""
    columns = {c.name: c for c in hdu.columns}
    logical = [n for n, c in columns.items() if str(c.format).lstrip("0123456789") == "L"]
    scaled = [n for n, c in columns.items() if _scaled_with_nulls(hdu, c)]
    # The bytes themselves: astropy before 8.0 reads a missing logical as False.
    raw_rows = hdu.data.view(np.ndarray) if logical or scaled else {}
    stored = {name: np.array(raw_rows[name]) for name in (*logical, *scaled)}
    missing = {name: _is_null(stored[name], columns[name]) for name in scaled}
    for name in scaled:
        columns[name].null = None
    table = Table.read(hdu)
    for name in logical:
        letters = stored[name].view(np.uint8)
        true, false = letters == ord("T"), letters == ord("F")
        _put(table, name, true, ~true & ~false)
    for name, mask in missing.items():
        values = np.ma.getdata(table[name])
        if values.dtype.kind == "f":
            values[mask] = np.nan
        _put(table, name, values, mask)
    return table


def _scaled_with_nulls(hdu: Any, column: Any) -> bool:
    """Return True for stored integers with a null value that are not the values themselves.

    ``TNULL`` is a stored integer (FITS 4.0, section 7.3.2). astropy 8.0 compares it with the
    value behind ``TSCAL`` and ``TZERO``, so that a missing one becomes a number and another
    row goes missing, or raises.
    """
    if not isinstance(hdu, fits.BinTableHDU) or column.null in (None, ""):
        return False
    scale, zero = column.bscale, column.bzero
    kind = str(column.format).lstrip("0123456789")[:1]
    return kind in "BIJK" and (scale not in (None, "", 1) or zero not in (None, "", 0))


def _is_null(stored: npt.NDArray[Any], column: Any) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows without a value, from the stored integers of a scaled column."""
    null, zero = int(column.null), column.bzero
    info = np.iinfo(stored.dtype)
    if zero == -info.min and column.bscale in (None, "", 1):
        # astropy writes the unsigned value itself: 999999, cut to the type's bits. So did
        # this program, with the largest one.
        own = null == _ASTROPY_NULL % (1 << info.bits) or null >= info.max
        null += info.min if own else 0
    return np.asarray(stored == null)


def _put(table: Table, name: str, values: npt.NDArray[Any], missing: npt.NDArray[np.bool_]) -> None:
    """Replace a column in its place, masked where a value is missing."""
    if name not in table.colnames:
        return
    at, unit = table.colnames.index(name), table[name].unit
    new = MaskedColumn(values, mask=missing, name=name) if missing.any() else values
    table.remove_column(name)
    table.add_column(new, index=at, name=name)
    table[name].unit = unit


def _vet(hdu: Any, length: int) -> None:
    """Refuse a table that states more rows than there is data, or more than plain columns."""
    check_fields(hdu.header, "the table")
    if hdu.header.get("ZTABLE"):
        # astropy, fitsio and STILTS read one row of bytes.
        raise BadInputError(
            "", "a table that is not compressed (funpack)", "a table of fpack, ZTABLE"
        )
    width, rows = int(hdu.header["NAXIS1"]), int(hdu.header["NAXIS2"])
    if width < 0 or rows < 0 or width * rows > length or (width == 0 and rows):
        raise ValueError(f"{rows} rows of {width} bytes in a file of {length} bytes")
    # astropy keeps in comments, as YAML, what FITS cannot say of a column.
    lines: list[str] = []
    whole = True
    for card in map(str, hdu.header.get("COMMENT", ())):
        lines, whole = (
            ([*lines, card[:70]] if whole else [*lines[:-1], lines[-1] + card[:70]]),
            (len(card) != 71),
        )
    if _YAML_BEGINS in lines:
        begin = lines.index(_YAML_BEGINS) + 1
        end = lines.index(_YAML_ENDS, begin) if _YAML_ENDS in lines[begin:] else len(lines)
        vet_yaml(lines[begin:end], "the table's comments")


def null_value(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> int | None:
    """Return an integer of the array's type that no unmasked value has, None if there is none.

    The smallest of a signed type and the largest of an unsigned one come first.
    """
    info = np.iinfo(values.dtype)
    used = set(values[~mask].tolist())
    # astropy 8.0 cannot read TNULL of an unsigned column beyond the signed type's range.
    high = int(info.max) if info.bits < 64 else int(np.iinfo(np.int64).max)
    ends = (info.min, high) if info.min else (high, info.min)
    inner = (high - k for k in range(1, len(used) + 2))
    return next((int(v) for v in (*ends, *inner) if v not in used and v >= info.min), None)


def write_fits(table: Table, path: Path) -> None:
    """Write a FITS file of one table that keeps every value and every missing one.

    8-bit signed integers become 16-bit ones, since FITS has none and astropy
    writes them as logicals. A missing integer is ``TNULL`` with a value that
    no row has, a missing logical the null byte (FITS 4.0, section 7.3.3.1), a
    missing float NaN and a missing word empty. The header holds the scalars of
    the metadata, other letters than those of ASCII escaped.

    Parameters
    ----------
    table : astropy.table.Table
        One-dimensional or vector columns of numbers, logicals and ASCII text.
    path : Path
        Must not exist.
    """
    ready, logicals = _ready(table)
    stream = io.BytesIO()
    ready.write(stream, format="fits")
    path.write_bytes(_with_nulls(stream.getvalue(), ready, logicals))


def write_fits_hdus(table: Table, name: str, before: bytes, path: Path) -> None:
    """Write a table as `write_fits` does, as an extension of a name behind other extensions.

    Parameters
    ----------
    table : astropy.table.Table
        As for `write_fits`.
    name : str
        The extension's ``EXTNAME``.
    before : bytes
        The extensions between the primary HDU and the table, as they stand in a file.
    path : Path
        Must not exist.
    """
    ready, logicals = _ready(table)
    hdu = fits.table_to_hdu(ready)
    hdu.name = name
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    content = _with_nulls(stream.getvalue(), ready, logicals)
    path.write_bytes(content[:_BLOCK] + before + content[_BLOCK:])


def _ready(table: Table) -> tuple[Table, dict[str, npt.NDArray[np.bool_]]]:
    """Return a table that astropy writes without loss, and the masks of its logical columns."""
    ready = Table(meta=_cards(table.meta))
    logicals: dict[str, npt.NDArray[np.bool_]] = {}
    for name in table.colnames:
        column = table[name]
        values = np.array(np.ma.getdata(column))
        mask = np.ma.getmaskarray(column)
        if values.dtype == np.int8:
            values = values.astype(np.int16)
        made: Any = values
        if mask.any():
            if values.dtype.kind == "b":
                logicals[name] = mask
            elif values.dtype.kind == "f":
                values[mask] = np.nan
            elif values.dtype.kind in "SU":
                values[mask] = ""
            elif values.dtype.kind in "iu":
                values = _as_signed(values, mask)
                null = null_value(values, mask)
                if null is None:  # every value of a small type is in use
                    values = values.astype(np.int32)
                    null = int(np.iinfo(np.int32).min)
                made = MaskedColumn(values, mask=mask, fill_value=null)
        ready[name] = made
        ready[name].unit = column.unit
        ready[name].description = column.description
    return ready, logicals


def _as_signed(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return unsigned integers of 16 bits and more as signed ones, if one holds them.

    Of an unsigned column with missing values astropy reads only what it wrote itself,
    which is not what the standard has.
    """
    if values.dtype.kind != "u" or values.dtype.itemsize == 1:
        return values
    values[mask] = 0
    for wider in (np.int32, np.int64):
        if int(values.max(initial=0)) <= np.iinfo(wider).max:
            return values.astype(wider)
    return values


def _cards(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of metadata that a FITS header can hold, text under long keys cut."""
    kept: dict[str, Any] = {}
    for key, value in meta.items():
        if isinstance(value, str):
            value = value.encode("ascii", "backslashreplace").decode()
            value = value if len(key) <= _KEYWORD else value[: max(0, _LONG_KEY_TEXT - len(key))]
        elif not (isinstance(value, bool | int | float) and math.isfinite(value)):
            continue
        try:
            str(fits.Card(key if len(key) <= _KEYWORD else f"HIERARCH {key}", value))
        except ValueError:
            continue
        kept[key] = value
    return kept


def _with_nulls(
    content: bytes, table: Table, logicals: Mapping[str, npt.NDArray[np.bool_]]
) -> bytes:
    """Return a FITS file whose last table states what is missing as the standard has it.

    Logicals get null bytes, and ``TNULL`` of an unsigned column becomes the stored integer.
    """
    unsigned = {
        name: int(table[name].fill_value)
        for name in table.colnames
        if table[name].dtype == np.uint64 and isinstance(table[name], MaskedColumn)
    }
    if not logicals and not unsigned:
        return content
    # Only in a file that was just read are the bytes of a logical column within reach.
    with fits.open(io.BytesIO(content), memmap=False) as hdus:
        hdu = hdus[-1]
        raw = hdu.data.view(np.ndarray)
        for name, mask in logicals.items():
            raw[name][mask] = 0
        for name, null in unsigned.items():
            hdu.columns[name].null = null + int(np.iinfo(np.int64).min)
        stream = io.BytesIO()
        hdus.writeto(stream)
    return stream.getvalue()
