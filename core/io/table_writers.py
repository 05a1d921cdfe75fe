"""Catalogues to files: one writer for each format, chosen by the ending."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.catalog import Catalog
from skyduel.core.errors import PATH, BadInputError, one_line, takes
from skyduel.core.frame import Plane
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.coco import write_coco
from skyduel.core.io.ds9_regions import write_regions
from skyduel.core.io.sextractor_tables import (
    frame_header,
    with_position_errors,
    write_ascii_head,
    write_ldac,
)
from skyduel.core.io.tabular.ecsv_tables import write_ecsv
from skyduel.core.io.tabular.fits_tables import write_fits
from skyduel.core.io.tabular.parquet_tables import write_parquet
from skyduel.core.io.tabular.text_tables import write_csv
from skyduel.core.io.tabular.unheld_text import check_text
from skyduel.core.io.tabular.votables import write_votable

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
    "half_light_px": "phys.angSize",
    "axis_ratio": "phys.angSize;arith.ratio",
    "sersic": "stat.param",
    "extendedness": "src.class.starGalaxy",
    "ignore": "meta.code",
    "aper_flux": "phot.count",
    "aper_flux_err": "stat.error;phot.count",
    "aper_mag": "phot.mag",
}


@takes(catalog=Catalog, path=PATH, frame=Plane)
def write_catalog(
    catalog: Catalog,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = True,
    frame: Plane | None = None,
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
    frame : Frame or mosaic, optional
        The catalogue's. SExtractor's FITS_LDAC then has its header cards and
        position errors, as SCAMP wants them.

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
                check_text(catalog.table, kind)
                if kind == "SExtractor FITS_LDAC" and frame is not None:
                    table = with_position_errors(catalog.table, getattr(frame, "fwhm", None))
                    write_ldac(table, temporary, frame_header(frame))
                else:
                    _WRITERS[kind](catalog.table, temporary)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise BadInputError(
                str(target), f"columns that {kind} can hold", one_line(error)
            ) from error


_WRITERS: Final[Mapping[str, Callable[[Table, Path], None]]] = {
    "ECSV": write_ecsv,
    "FITS": write_fits,
    "VOTable": lambda table, path: write_votable(table, path, UCDS),
    "CSV": write_csv,
    "Parquet": write_parquet,
    "SExtractor ASCII_HEAD": write_ascii_head,
    "SExtractor FITS_LDAC": write_ldac,
}
