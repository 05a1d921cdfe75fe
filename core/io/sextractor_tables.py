"""Catalogues as SExtractor writes them: ASCII_HEAD text and FITS_LDAC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from skyduel.core.io.tabular.fits_tables import write_fits_hdus

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
# A missing integer or word in text, as astropy shows it.
_NONE: Final = "--"


def sextractor_columns(table: Table) -> dict[str, tuple[Any, str, str]]:
    """Return a catalogue's columns under SExtractor's names: values, unit, description.

    Positions count from 1, angles are in degrees, a missing magnitude is 99,
    a missing float NaN, truth values are 0 and 1. What has no name there keeps
    its own in capitals if it is of the schema, as it is otherwise. The standard
    deviation of a position is there a second time as a circle,
    ``ERRA_IMAGE``, ``ERRB_IMAGE`` and ``ERRTHETA_IMAGE``, which SCAMP wants.

    Parameters
    ----------
    table : astropy.table.Table
        Columns as in the schema.
    """
    columns: dict[str, tuple[Any, str, str]] = {}
    for name in table.colnames:
        mask = np.ma.getmaskarray(table[name])
        values: Any = np.asarray(np.ma.getdata(table[name]))
        upper, unit, what = _NAMES.get(name, (name.upper(), _UNITS.get(name, ""), name))
        if name in {"x", "y"}:
            values = values + 1.0
        elif name == "theta":
            values = np.rad2deg(values)
        elif name == "mag":
            values = np.where(np.isnan(values), _NO_MAGNITUDE, values)
        if mask.any() and values.dtype.kind == "f":
            values = np.where(mask, np.nan, values)
            mask = np.zeros(len(values), bool)
        if values.dtype.kind == "b":
            values = values.astype(np.int64)
        if mask.any():
            values = np.ma.array(values, mask=mask)
        # A column of the program's own, kept from its list, gives way to ours.
        columns.setdefault(upper if name in _OWN else name, (values, unit, what))
        if name == "xy_err":
            for axis, which in (("A", "major"), ("B", "minor")):
                ellipse = f"RMS position error along {which} axis"
                columns.setdefault(f"ERR{axis}_IMAGE", (values, "pixel", ellipse))
            angle = "Error ellipse position angle (CCW/x)"
            columns.setdefault("ERRTHETA_IMAGE", (np.zeros(len(values)), "deg", angle))
    return columns


def write_ascii_head(table: Table, path: Path) -> None:
    """Write SExtractor's ASCII_HEAD; every digit of a float is kept.

    A missing integer or word is ``--``, a missing float ``nan``.

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
        plain = np.ma.getdata(values).tolist()
        missing = np.ma.getmaskarray(values).tolist()
        words = [_NONE if none else str(v) for v, none in zip(plain, missing, strict=True)]
        if any(len(word.split()) != 1 or "#" in word for word in words):
            raise ValueError(f"{name} with spaces or empty text")
        cells.append(words)
    lines += [" ".join(row) for row in zip(*cells, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_ldac(table: Table, path: Path, header: fits.Header | None = None) -> None:
    """Write FITS_LDAC: a frame's header cards, as SCAMP wants them, and LDAC_OBJECTS.

    Parameters
    ----------
    table : astropy.table.Table
        Columns as in the schema.
    path : Path
        Must not exist.
    header : Header, optional
        The frame's own; without it the header says nothing of the frame.
    """
    objects = Table()
    for name, (values, unit, what) in sextractor_columns(table).items():
        objects[name] = MaskedColumn(values) if np.ma.isMaskedArray(values) else values
        objects[name].unit = unit or None
        objects[name].description = what
    cards = [str(card) for card in (header or fits.Header({"SEXBKGND": 0.0})).cards]
    cards = [card[:80] for card in cards if len(card) == 80] + ["END".ljust(80)]
    width = 80 * len(cards)
    column = fits.Column(
        "Field Header Card", f"{width}A", dim=f"(80, {len(cards)})", array=np.array([cards])
    )
    head = fits.BinTableHDU.from_columns([column], name="LDAC_IMHEAD")
    write_fits_hdus(objects, "LDAC_OBJECTS", [head], path)


_OWN: Final = frozenset(
    (
        *_NAMES, "xy_err", "score", "kind", "length", "snr", "ignore",
        "aper_flux", "aper_flux_err", "aper_mag",
    )
)  # fmt: skip
