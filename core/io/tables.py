"""Catalogues from and to files of every common table format."""

from __future__ import annotations

import io
import json
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, one_line
from skyduel.core.frame import Plane
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.coco import coco_table
from skyduel.core.io.column_names import rename_columns
from skyduel.core.io.fits_header_checks import check_headers
from skyduel.core.io.fits_images import split_brackets
from skyduel.core.io.safe_csv import from_cell
from skyduel.core.io.safe_yaml_xml import vet_xml, vet_yaml
from skyduel.core.io.size_limits import check_cells, check_fields, check_unpacked, unpacked
from skyduel.core.io.table_writers import TABLE_ENDINGS, UCDS, write_catalog
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.wcs import pixel_positions, plane_positions

__all__ = ["TABLE_ENDINGS", "UCDS", "read_catalog", "write_catalog"]

_SEXTRACTOR = re.compile(rb"\A#\s*\d+\s+[A-Za-z_]\w*")
# SExtractor numbers its columns, and a gap is filled up.
_MOST_COLUMNS: Final = 10_000
# The time that a header of text takes grows with the square of its words.
_MOST_WORDS: Final = 4096
_YAML_BEGINS: Final = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"
_YAML_ENDS: Final = "--END-ASTROPY-SERIALIZED-COLUMNS--"
# What other programs write where there is no value.
_MISSING: Final = ("", "NA", "N/A", "null", "NULL", "None", "--")
# How far outside the frame a sky position still is of interest [px].
_MARGIN_PX: Final = 10.0


def read_catalog(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    frame: Plane | None = None,
    zero_point: float | None = None,
    on_sky: bool = False,
) -> Catalog:
    """Return the catalogue in a table file.

    Parameters
    ----------
    path : path
        ECSV, CSV and other text tables, SExtractor's ASCII_HEAD, FITS tables
        and FITS_LDAC, VOTable, Parquet or COCO's JSON; told by content, and
        text or FITS may be compressed by gzip, bzip2 or xz.
        ``file.fits[NAME]`` and ``file.fits[2]`` choose a table, and so
        ``file.json[NAME]`` an image, which else is the frame's.
    columns : mapping of str to str, optional
        Schema name to the file's column, above the known aliases
        (`skyduel.core.io.column_names.ALIASES`).
    frame : Frame or mosaic, optional
        Its WCS places tables that have sky positions only; rows that fall
        more than 10 px outside the frame are then left out, and counted under
        ``outside_frame`` in the table's meta.
    zero_point : float, optional
        Magnitude of 1 ADU, by default the frame's. Where it is known, a
        missing magnitude column follows from the flux, and the reverse.
    on_sky : bool
        Lets a table with sky positions only do without a frame, for work on
        the sky: its x and y are then on a plane of its own, 1 px an arcsec
        (`skyduel.core.wcs.plane_positions`), and are not another table's.

    Returns
    -------
    Catalog
        Positions 0-based [px], from whichever convention the file has.

    Raises
    ------
    BadInputError
        If the file cannot be read, or has neither pixel positions nor sky
        positions with a frame to place them on.
    """
    file, hdu = split_brackets(path)
    source = str(path)
    with warnings.catch_warnings():
        # Units and cards that astropy does not know are kept or renamed below.
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        given = _read_table(file, hdu, None if frame is None else frame.name)
        if zero_point is None and frame is not None:
            zero_point = frame.zero_point
        try:
            table = rename_columns(given, columns=columns, source=source)
            if not {"x", "y"} <= set(table.colnames):
                table = _placed(table, frame, source, given.colnames, on_sky)
            return Catalog(_completed(table, zero_point), source)
        except BadInputError:
            raise
        except (TypeError, ValueError, OverflowError, u.UnitsError) as error:
            # A column may hold anything: text where numbers belong, bytes that are no text.
            raise BadInputError(source, "columns of numbers and words", one_line(error)) from error


def _read_table(file: Path, hdu: Any, image: str | None) -> Table:
    """Return the table in a file as it stands there."""
    with existing_file(file).open("rb") as stream:
        parts = unpacked(stream, str(file))
        content = stream.read() if parts is None else b"".join(parts)
    kind = "readable"
    try:
        if content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return coco_table(content, image if hdu is None else hdu, file)
        kind, reader = _format(content, file)
        _vet(kind, content, str(file))
        table = reader(content, hdu) if kind == "FITS" else reader(content)
    except BadInputError as error:
        raise BadInputError(str(file), error.required, error.got) from error
    except Exception as error:  # parsers raise a dozen types on damaged files
        raise BadInputError(str(file), f"a {kind} table", one_line(error)) from error
    if table is None:
        raise BadInputError(str(file), "a table", "none" if hdu is None else f"no table {hdu!r}")
    return table


def _vet(kind: str, content: bytes, source: str) -> None:
    """Refuse a table that would grow as it is read, or do more than hold data."""
    if kind == "VOTable":
        vet_xml(content, source)
    elif kind not in {"FITS", "Parquet"}:
        lines = content.splitlines()
        comments = [line for line in lines if line.startswith(b"#")]
        if kind == "ECSV":
            vet_yaml([line[2:].decode("utf-8", "replace") for line in comments[1:]], source)
        numbers = (re.match(rb"#\s*(\d+)", line) for line in comments)
        most = max((int(n[1][:9]) for n in numbers if n), default=0)
        if kind.startswith("SExtractor") and most > _MOST_COLUMNS:
            raise BadInputError(source, f"at most {_MOST_COLUMNS} columns", f"column {most}")
        first = next((line for line in lines if line.strip() and not line.startswith(b"#")), b"")
        words = max(len(first.split()), *(first.count(mark) + 1 for mark in b",;|\t"))
        if kind in {"CSV", "text"} and words > _MOST_WORDS:
            raise BadInputError(source, f"at most {_MOST_WORDS} columns", f"{words}")
        # Text becomes arrays as wide as their longest word; no word is longer than its line.
        rows = [line for line in lines if not line.startswith(b"#")]
        check_cells(map(len, rows), len(content), source)


def _format(content: bytes, file: Path) -> tuple[str, Callable[..., Table | None]]:
    """Return the name of a format and its reader, from the content first."""
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if content.startswith(b"SIMPLE"):
        return "FITS", _read_fits
    if content.startswith(b"PAR1"):
        return "Parquet", _read_parquet
    if start.startswith(b"<"):
        return "VOTable", lambda c: Table.read(io.BytesIO(c), format="votable")
    if start.startswith(b"# %ECSV"):
        return "ECSV", _text("ascii.ecsv")
    if _SEXTRACTOR.match(start):
        return "SExtractor ASCII_HEAD", _text("ascii.sextractor")
    if b"\x00" in start:
        raise BadInputError(str(file), "a table of a known format", f"binary {content[:8]!r}")
    if ".csv" in (s.lower() for s in file.suffixes):
        return "CSV", _text("ascii.csv")
    return "text", _text(None)


def _text(form: str | None) -> Callable[[bytes], Table]:
    """Return a reader of text in one of astropy's formats, or in whichever fits."""

    def read(content: bytes) -> Table:
        # As lines, so that a one-line table is not taken for a file's name.
        lines = content.decode("utf-8-sig").splitlines()
        if form not in {"ascii.csv", None}:
            return Table.read(lines, format=form)
        options: dict[str, Any] = {"fill_values": [(text, "0") for text in _MISSING]}
        rest = list(dropwhile(lambda line: not line.strip() or line.startswith("#"), lines))
        if rest and ";" in rest[0] and "," not in rest[0]:
            return Table.read(rest, format="ascii.basic", delimiter=";", **options)
        if form == "ascii.csv":
            return _words_as_written(Table.read(rest, format=form, **options))
        return Table.read(lines, format="ascii", **options)

    return read


def _words_as_written(table: Table) -> Table:
    """Return a table without the marks that keep spreadsheets from calculating words."""
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            words = np.ma.getdata(table[name])
            plain = np.array([from_cell(word) for word in words.tolist()], dtype=words.dtype)
            table[name][:] = np.ma.array(plain, mask=np.ma.getmask(table[name]))
        if from_cell(name) != name:
            table.rename_column(name, from_cell(name))
    return table


def _read_fits(content: bytes, hdu: Any) -> Table | None:
    """Return the chosen table of a FITS file; the objects of FITS_LDAC; or the first."""
    stream = io.BytesIO(content)
    check_headers(stream, "the table")
    with fits.open(stream, memmap=False) as hdus:
        tables = [h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)]
        tables.sort(key=lambda h: h.name != "LDAC_OBJECTS")
        chosen = hdus[hdu] if hdu is not None else tables[0] if tables else None
        if not isinstance(chosen, fits.BinTableHDU | fits.TableHDU):
            return None
        _vet_fits(chosen, len(content))
        return Table.read(chosen)


def _vet_fits(hdu: Any, length: int) -> None:
    """Refuse a table that states more rows than there is data, or more than plain columns."""
    check_fields(hdu.header, "the table")
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


def _read_parquet(content: bytes) -> Table:
    """Return a Parquet table, with the units that `write_catalog` left in it."""
    file = pq.ParquetFile(io.BytesIO(content))
    batches, n_bytes = [], 0
    # A page may state any number of equal values in a few bytes.
    for batch in file.iter_batches(batch_size=1 << 16):
        n_bytes += batch.nbytes
        check_unpacked(n_bytes, len(content), "Parquet", "content")
        batches.append(batch)
    arrow = pa.Table.from_batches(batches, schema=file.schema_arrow)
    table = Table(meta=json.loads((arrow.schema.metadata or {}).get(b"skyduel_meta", b"{}")))
    for field, column in zip(arrow.schema, arrow.columns, strict=True):
        facts = field.metadata or {}
        missing = np.asarray(column.is_null())
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            words = column.fill_null("").to_pylist()
            check_cells(map(len, words), len(content), "Parquet")
            values = np.array(words, dtype=str)
        else:
            values = column.to_numpy()
        if missing.any():
            if values.dtype.kind == "O":
                values = np.array([v if v is not None else 0 for v in values])
            table[field.name] = MaskedColumn(values, mask=missing)
        else:
            table[field.name] = Column(values)
        if b"unit" in facts:
            table[field.name].unit = u.Unit(facts[b"unit"].decode(), parse_strict="silent")
    return table


def _placed(
    table: Table, frame: Plane | None, source: str, given: Sequence[str], on_sky: bool
) -> Table:
    """Return the rows within the frame of a table of sky positions, with x and y."""
    names = set(table.colnames)
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
            "no frame" if frame is None else f"frame {frame.name} without a WCS",
        )
    sky = []
    for name in ("ra", "dec"):
        column = table[name]
        values = column.filled(np.nan) if hasattr(column, "filled") else column
        degrees = np.asarray(values, dtype=np.float64)
        if column.unit is not None:
            degrees = (degrees * column.unit).to_value(u.deg)
        if not np.isfinite(degrees).all():
            row = int(np.flatnonzero(~np.isfinite(degrees))[0])
            raise BadInputError(source, f"a finite {name!r} in every row", f"none in row {row}")
        sky.append(degrees)
    if frame is None:
        placed = Table(table, copy=False)
        placed["x"], placed["y"] = plane_positions(sky[0], sky[1])
        return placed
    x, y = pixel_positions(sky[0], sky[1], frame)
    ny, nx = frame.shape
    inside = (x > -_MARGIN_PX) & (x < nx - 1 + _MARGIN_PX)
    inside &= (y > -_MARGIN_PX) & (y < ny - 1 + _MARGIN_PX)
    placed = table[inside]
    placed["x"], placed["y"] = x[inside], y[inside]
    placed.meta["outside_frame"] = int((~inside).sum())
    return placed


def _completed(table: Table, zero_point: float | None) -> Table:
    """Return the table with flux from magnitude or magnitude from flux, if one is missing."""
    has = {"flux", "mag"} & set(table.colnames)
    if zero_point is None or len(has) != 1:
        return table
    given = table[has.pop()]
    values = np.asarray(
        given.filled(np.nan) if hasattr(given, "filled") else given, dtype=np.float64
    )
    if given.name == "mag":
        table["flux"] = 10.0 ** (-0.4 * (values - zero_point))
    else:
        table["mag"] = flux_to_mag(values, zero_point)
    return table
