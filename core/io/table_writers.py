"""Catalogues to files: one writer for each format, chosen by the ending."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.coco import write_coco
from skyduel.core.io.ds9_regions import write_regions
from skyduel.core.io.safe_csv import to_cell
from skyduel.core.io.sextractor_tables import write_ascii_head, write_ldac

__all__ = ["TABLE_ENDINGS", "UCDS", "write_catalog"]

#: Endings that `write_catalog` knows; reading tells formats by content.
TABLE_ENDINGS: Final[Mapping[str, str]] = {
    ".ecsv": "ECSV",
    ".fits": "FITS",
    ".fit": "FITS",
    ".vot": "VOTable",
    ".votable": "VOTable",
    ".xml": "VOTable",
    ".csv": "CSV",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".cat": "SExtractor ASCII_HEAD",
    ".ldac": "SExtractor FITS_LDAC",
    ".json": "COCO",
    ".reg": "DS9 regions",
}
#: What the columns are in the Virtual Observatory's words (UCD1+).
UCDS: Final[Mapping[str, str]] = {
    "x": "pos.cartesian.x;instr.det",
    "y": "pos.cartesian.y;instr.det",
    "xy_err": "stat.error;pos.cartesian",
    "flux": "phot.count",
    "flux_err": "stat.error;phot.count",
    "mag": "phot.mag",
    "score": "stat.likelihood",
    "kind": "meta.code.class",
    "length": "phys.size",
    "theta": "pos.posAng",
    "flags": "meta.code.qual",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "snr": "stat.snr",
    "ignore": "meta.code",
    "aper_flux": "phot.count",
    "aper_flux_err": "stat.error;phot.count",
    "aper_mag": "phot.mag",
}


def write_catalog(
    catalog: Catalog, path: str | os.PathLike[str], *, overwrite: bool = True
) -> None:
    """Write a catalogue, in the format that the ending names, whole or not at all.

    Parameters
    ----------
    catalog : Catalog
        Positions are written as they are, 0-based, which the description of
        their columns says where the format has descriptions; SExtractor's
        formats and DS9's regions count from 1 and are given them so.
    path : path
        Ending in one of `TABLE_ENDINGS`. All but regions are read back without
        loss (SExtractor's to the rounding of adding 1 and of degrees).
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    BadInputError
        If the ending is unknown, the format cannot hold a column, or the file
        cannot be written.
    """
    target = Path(path)
    kind = TABLE_ENDINGS.get(target.suffix.lower())
    if kind is None:
        raise BadInputError(str(target), f"an ending of {', '.join(TABLE_ENDINGS)}", target.name)
    if kind == "DS9 regions":
        write_regions(catalog, target, overwrite=overwrite)
        return
    with atomic_path(target, overwrite=overwrite) as temporary:
        if kind == "COCO":
            write_coco({target.stem: catalog}, temporary)
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                _WRITERS[kind](catalog.table, temporary)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise BadInputError(
                str(target), f"columns that {kind} can hold", one_line(error)
            ) from error


def _write_fits(table: Table, path: Path) -> None:
    """Write a FITS table; its header holds scalars of the meta only."""
    plain = {k: v for k, v in table.meta.items() if isinstance(v, bool | int | float | str)}
    copy = Table(table, meta=plain, copy=False)
    # The temporary name may lack the ending by which astropy would know.
    copy.write(path, format="fits")


def _write_votable(table: Table, path: Path) -> None:
    """Write a VOTable whose columns say what they are as UCDs."""
    copy = Table(table, copy=False)
    for name, ucd in UCDS.items():
        if name in copy.colnames:
            copy[name].meta["ucd"] = ucd
    copy.write(path, format="votable")


def _write_csv(table: Table, path: Path) -> None:
    """Write CSV, refusing columns that would need more than a cell."""
    for name in table.colnames:
        if table[name].ndim != 1:
            raise ValueError(f"{name} with shape {table[name].shape[1:]} in each row")
    copy = Table(table)  # words that a spreadsheet would calculate are marked as words
    for name in copy.colnames:
        if copy[name].dtype.kind == "U":
            copy[name] = [to_cell(word) for word in copy[name].tolist()]
        if to_cell(name) != name:
            copy.rename_column(name, to_cell(name))
    copy.write(path, format="ascii.csv")


def _write_parquet(table: Table, path: Path) -> None:
    """Write Parquet with units and descriptions as metadata of the fields."""
    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        values = np.asarray(column)
        missing = np.ma.getmaskarray(column) if hasattr(column, "mask") else None
        if values.ndim == 1:
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            array = pa.array(native.tolist() if native.dtype.kind in "SU" else native, mask=missing)
        else:
            array = pa.array(values.tolist())
        facts = {"description": column.description or ""}
        if column.unit is not None:
            facts["unit"] = column.unit.to_string()
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=facts))
    plain = {k: v for k, v in table.meta.items() if isinstance(v, bool | int | float | str)}
    schema = pa.schema(fields, metadata={"skyduel_meta": json.dumps(plain)})
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


_WRITERS: Final[Mapping[str, Callable[[Table, Path], None]]] = {
    "ECSV": lambda table, path: table.write(path, format="ascii.ecsv"),
    "FITS": _write_fits,
    "VOTable": _write_votable,
    "CSV": _write_csv,
    "Parquet": _write_parquet,
    "SExtractor ASCII_HEAD": write_ascii_head,
    "SExtractor FITS_LDAC": write_ldac,
}
