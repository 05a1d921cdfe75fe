"""Catalogues to files: one writer for each format, chosen by the ending."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.catalog import Catalog
from skyduel.core.errors import PATH, BadInputError, one_line, takes
from skyduel.core.frame import Plane
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.tabular.unheld_text import check_text

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
        from skyduel.core.io.ds9_regions import write_regions

        write_regions(catalog, target, overwrite=overwrite)
        return
    with atomic_path(target, overwrite=overwrite) as temporary:
        if kind == "COCO":
            from skyduel.core.io.coco import write_coco

            write_coco({target.stem: catalog}, temporary)
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                check_text(catalog.table, kind)
                if kind == "SExtractor FITS_LDAC" and frame is not None:
                    from skyduel.core.io import sextractor_tables as ldac

                    table = ldac.with_position_errors(catalog.table, getattr(frame, "fwhm", None))
                    ldac.write_ldac(table, temporary, ldac.frame_header(frame))
                else:
                    _writer(kind)(catalog.table, temporary)
        except (TypeError, ValueError) as error:
            raise BadInputError(
                str(target), f"columns that {kind} can hold", one_line(error)
            ) from error


#: Module and function of each writer; only the one that is used is loaded.
_WRITERS: Final[Mapping[str, tuple[str, str]]] = {
    "ECSV": ("tabular.ecsv_tables", "write_ecsv"),
    "FITS": ("tabular.fits_tables", "write_fits"),
    "CSV": ("tabular.text_tables", "write_csv"),
    "Parquet": ("tabular.parquet_tables", "write_parquet"),
    "SExtractor ASCII_HEAD": ("sextractor_tables", "write_ascii_head"),
    "SExtractor FITS_LDAC": ("sextractor_tables", "write_ldac"),
}


def _writer(kind: str) -> Callable[[Table, Path], None]:
    """Return the function that writes a format."""
    if kind == "VOTable":
        from skyduel.core.io.tabular.votables import write_votable

        return lambda table, path: write_votable(table, path, UCDS)
    module, name = _WRITERS[kind]
    writer: Callable[[Table, Path], None] = getattr(
        import_module(f"skyduel.core.io.{module}"), name
    )
    return writer
