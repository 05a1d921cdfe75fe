"""Catalogues as SExtractor writes them: ASCII_HEAD text and FITS_LDAC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.table import Table

__all__ = ["sextractor_columns", "write_ascii_head", "write_ldac"]

# Our column: SExtractor's name, its unit and what it calls it.
_NAMES: Final[Mapping[str, tuple[str, str, str]]] = {
    "x": ("X_IMAGE", "pixel", "Object position along x"),
    "y": ("Y_IMAGE", "pixel", "Object position along y"),
    "flux": ("FLUX_AUTO", "count", "Flux above the background"),
    "flux_err": ("FLUXERR_AUTO", "count", "RMS error of the flux"),
    "mag": ("MAG_AUTO", "mag", "Magnitude"),
    "theta": ("THETA_IMAGE", "deg", "Position angle (CCW/x)"),
    "flags": ("FLAGS", "", "Extraction flags"),
    "ra": ("ALPHA_J2000", "deg", "Right ascension"),
    "dec": ("DELTA_J2000", "deg", "Declination"),
}
_UNITS: Final[Mapping[str, str]] = {"length": "pixel", "aper_flux": "count", "aper_mag": "mag"}
# SExtractor's magnitude where there is none.
_NO_MAGNITUDE: Final = 99.0


def sextractor_columns(table: Table) -> dict[str, tuple[npt.NDArray[Any], str, str]]:
    """Return a catalogue's columns under SExtractor's names: values, unit, description.

    Positions count from 1, angles are in degrees, a missing magnitude is 99,
    truth values are 0 and 1. What has no name there keeps its own in capitals
    if it is of the schema, as it is otherwise.
    """
    columns: dict[str, tuple[npt.NDArray[Any], str, str]] = {}
    for name in table.colnames:
        values = np.asarray(table[name])
        upper, unit, what = _NAMES.get(name, (name.upper(), _UNITS.get(name, ""), name))
        if name in {"x", "y"}:
            values = values + 1.0
        elif name == "theta":
            values = np.rad2deg(values)
        elif name == "mag":
            values = np.where(np.isnan(values), _NO_MAGNITUDE, values)
        if values.dtype.kind == "b":
            values = values.astype(np.int64)
        # A column of the program's own, kept from its list, gives way to ours.
        columns.setdefault(upper if name in _OWN else name, (values, unit, what))
    return columns


def write_ascii_head(table: Table, path: Path) -> None:
    """Write SExtractor's ASCII_HEAD; every digit of a float is kept.

    Raises
    ------
    ValueError
        If a column is no single number or word a row.
    """
    columns = sextractor_columns(table)
    lines = [
        f"#{number:4d} {name:<22} {what:<58}" + (f" [{unit}]" if unit else "")
        for number, (name, (_, unit, what)) in enumerate(columns.items(), start=1)
    ]
    cells: list[list[str]] = []
    for name, (values, _, _) in columns.items():
        if values.ndim != 1 or values.dtype.kind not in "iufUS" or not re.fullmatch(r"\w+", name):
            raise ValueError(f"{name}, which is no number or word a row")
        words = [str(value) for value in values.tolist()]
        if any(len(word.split()) != 1 or "#" in word for word in words):
            raise ValueError(f"{name} with spaces or empty text")
        cells.append(words)
    lines += [" ".join(row) for row in zip(*cells, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_ldac(table: Table, path: Path) -> None:
    """Write FITS_LDAC: a header's table, as SCAMP wants it, and LDAC_OBJECTS."""
    objects = Table()
    for name, (values, unit, _) in sextractor_columns(table).items():
        objects[name] = values
        objects[name].unit = unit or None
    header = fits.Header({"SEXBKGND": 0.0}).tostring(sep="", endcard=True, padding=True)
    cards = np.array([header], dtype=f"S{len(header)}")
    head = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", f"{len(header)}A", array=cards)], name="LDAC_IMHEAD"
    )
    body = fits.table_to_hdu(objects)
    body.name = "LDAC_OBJECTS"
    fits.HDUList([fits.PrimaryHDU(), head, body]).writeto(path)


_OWN: Final = frozenset(
    (
        *_NAMES, "xy_err", "score", "kind", "length", "snr", "ignore",
        "aper_flux", "aper_flux_err", "aper_mag",
    )
)  # fmt: skip
