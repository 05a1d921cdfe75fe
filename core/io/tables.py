"""Catalogues from and to files of every common table format."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.catalog import Catalog, measured_magnitudes
from skyduel.core.errors import PATH, BadInputError, one_line, takes
from skyduel.core.frame import Plane
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.coco import coco_table
from skyduel.core.io.column_names import has_positions, pool_names, rename_columns
from skyduel.core.io.images.image_reader import split_brackets
from skyduel.core.io.safe_yaml_xml import vet_xml, vet_yaml
from skyduel.core.io.size_limits import check_cells, unpacked
from skyduel.core.io.table_writers import TABLE_ENDINGS, UCDS, write_catalog
from skyduel.core.io.tabular.fits_tables import read_fits
from skyduel.core.io.tabular.given_table import GivenTable, plain_table
from skyduel.core.io.tabular.placement import add_note, place_rows
from skyduel.core.io.tabular.text_tables import read_text, text_format
from skyduel.core.io.tabular.votables import read_votable
from skyduel.core.magnitudes import flux_to_mag

__all__ = [
    "TABLE_ENDINGS",
    "UCDS",
    "read_catalog",
    "read_column_names",
    "read_given_table",
    "write_catalog",
]

# SExtractor numbers its columns, and a gap is filled up.
_MOST_COLUMNS: Final = 10_000
# The time that a header of text takes grows with the square of its words.
_MOST_WORDS: Final = 4096


@takes(path=PATH, columns=Mapping, frame=Plane, zero_point=Real)
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
        ECSV, CSV and other text tables, VizieR's TSV, lists of IRAF and
        DAOPHOT, SExtractor's ASCII_HEAD, FITS tables and FITS_LDAC, VOTable,
        Parquet or COCO's JSON (a data set or a list of results); told by
        content, and text or FITS may be compressed by gzip, bzip2 or xz.
        ``file.fits[NAME]`` and ``file.fits[2]`` choose a table (an HDU; in
        other formats counted from 1), and so ``file.json[NAME]`` an image,
        which else is the frame's.
    columns : mapping of str to str, optional
        Schema name to the file's column, above the known aliases
        (`skyduel.core.io.column_names.ALIASES`).
    frame : Frame or mosaic, optional
        Its WCS places tables that have sky positions only, or whose x and y
        are not where the sky positions fall on the frame; rows that fall
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
        Positions 0-based [px], from whichever convention the file has. What
        was decided about the file stands under ``notes`` in the table's meta,
        a list of lines.

    Raises
    ------
    BadInputError
        If the file cannot be read, holds several tables with positions, or has
        neither pixel positions nor sky positions with a frame to place them on.
    """
    file, hdu = split_brackets(path)
    source = str(path)
    with warnings.catch_warnings():
        # Units and cards that astropy does not know are kept or renamed below.
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        given = _read_table(file, hdu, None if frame is None else frame.name, columns)
        if zero_point is None and frame is not None:
            zero_point = frame.zero_point
        try:
            plain = plain_table(given.table)
            table = rename_columns(plain, columns=columns, source=source, from_one=given.from_one)
            if given.chips:
                table = _on_sky_only(table, given.chips, frame, source, on_sky)
            table = place_rows(table, frame, source, given.table.colnames, on_sky=on_sky)
            return Catalog(_completed(table, zero_point), source)
        except BadInputError:
            raise
        except (TypeError, ValueError, OverflowError, u.UnitsError) as error:
            # A column may hold anything: text where numbers belong, bytes that are no text.
            raise BadInputError(source, "columns of numbers and words", one_line(error)) from error


def read_given_table(
    path: str | os.PathLike[str], columns: Mapping[str, str] | None = None
) -> GivenTable:
    """Return the table in a file under the file's own names, as `plain_table` makes it.

    Parameters
    ----------
    path : path
        As for `read_catalog`.
    columns : mapping of str to str, optional
        Names of positions, which tell the table among several.

    Raises
    ------
    BadInputError
        If the file cannot be read or holds several tables with positions.
    """
    file, hdu = split_brackets(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        given = _read_table(file, hdu, None, columns)
        return replace(given, table=plain_table(given.table))


def read_column_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the column names of a table file as they stand there.

    Parameters
    ----------
    path : path
        As for `read_catalog`. Of several tables without a choice it is the
        only one with positions.

    Raises
    ------
    BadInputError
        If the file cannot be read or holds several tables with positions.
    """
    file, hdu = split_brackets(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        return list(pool_names(plain_table(_read_table(file, hdu, None, None).table)))


def _read_table(
    file: Path, hdu: Any, image: str | None, columns: Mapping[str, str] | None
) -> GivenTable:
    """Return the table in a file as it stands there."""
    with existing_file(file).open("rb") as stream:
        parts = unpacked(stream, str(file))
        content = stream.read() if parts is None else b"".join(parts)

    def positions(names: Sequence[str]) -> bool:
        return has_positions(names, columns)

    kind = "readable"
    try:
        if re.match(rb"\{|\[\s*[\{\]]", content[:512].lstrip(b"\xef\xbb\xbf \t\r\n")):
            return GivenTable(coco_table(content, image if hdu is None else hdu, file))
        kind = _format(content, file)
        _vet(kind, content, str(file))
        table: GivenTable | None
        if kind == "FITS":
            table = read_fits(content, hdu, positions)
        elif kind == "VOTable":
            table = read_votable(content, hdu, positions)
        elif kind == "Parquet":
            from skyduel.core.io.tabular.parquet_tables import read_parquet  # loads Arrow

            table = read_parquet(content)
        else:
            table = read_text(content, kind, hdu, positions)
    except BadInputError as error:
        raise BadInputError(str(file), error.required, error.got) from error
    except ModuleNotFoundError:  # Arrow, which a station does not have
        raise
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
        if kind in {"CSV", "text", "VizieR TSV", "DAOPHOT"} and words > _MOST_WORDS:
            raise BadInputError(source, f"at most {_MOST_WORDS} columns", f"{words}")
        # Text becomes arrays as wide as their longest word; no word is longer than its line.
        rows = [line for line in lines if not line.startswith(b"#")]
        check_cells(map(len, rows), len(content), source)


def _format(content: bytes, file: Path) -> str:
    """Return the name of a format, from the content first."""
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if content.startswith(b"SIMPLE"):
        return "FITS"
    if content.startswith(b"PAR1"):
        return "Parquet"
    if start.startswith(b"<"):
        return "VOTable"
    if b"\x00" in start:
        raise BadInputError(str(file), "a table of a known format", f"binary {content[:8]!r}")
    return text_format(content, file)


def _on_sky_only(table: Table, chips: str, frame: Plane | None, source: str, on_sky: bool) -> Table:
    """Return the joined rows of several chips, whose x and y are those of several images."""
    placeable = on_sky or (frame is not None and frame.wcs is not None)
    if not placeable or not {"ra", "dec"} <= set(table.colnames):
        raise BadInputError(
            source,
            "one chip, chosen by [N] behind the file's name, or sky positions and a frame with "
            "a WCS to place the rows of all chips on",
            chips,
        )
    joined = Table(table, copy=False)
    for name in ("x", "y"):
        if name in joined.colnames:
            joined.rename_column(name, f"{name}_chip")
    add_note(joined, f"the rows of all chips are used, placed by ra and dec: {chips}")
    return joined


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
        table["flux"] = 10.0 ** (-0.4 * (measured_magnitudes(values) - zero_point))
    else:
        table["mag"] = flux_to_mag(values, zero_point)
    return table
