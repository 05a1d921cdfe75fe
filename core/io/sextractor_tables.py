"""Catalogues as SExtractor writes them: ASCII_HEAD text and FITS_LDAC."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.frame import Plane
from skyduel.core.io.images.celestial import wcs_header
from skyduel.core.io.tabular.fits_tables import write_fits_hdus

__all__ = ["sextractor_columns", "write_ascii_head", "write_ldac"]

# Our column: SExtractor's name, its unit and what it calls it.
_NAMES: Final[Mapping[str, tuple[str, str, str]]] = {
    "x": ("X_IMAGE", "pixel", "Object position along x"),
    "y": ("Y_IMAGE", "pixel", "Object position along y"),
    "theta": ("THETA_IMAGE", "deg", "Position angle (CCW/x)"),
    "flags": ("FLAGS", "", "Extraction flags"),
    "ra": ("ALPHA_J2000", "deg", "Right ascension"),
    "dec": ("DELTA_J2000", "deg", "Declination"),
}
# What kind of flux a table states, and SExtractor's word for it.
_FLUX_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "auto": ("AUTO", "within a Kron-like elliptical aperture"),
    "iso": ("ISO", "above the isophotal threshold"),
    "aper": ("APER", "within a fixed circular aperture"),
    "psf": ("PSF", "from PSF-fitting"),
}
_APERTURE: Final = ("aper_flux", "aper_flux_err", "aper_mag")
_UNITS: Final[Mapping[str, str]] = {"length": "pixel", "aper_flux": "count", "aper_mag": "mag"}
# SExtractor's magnitude where there is none.
_NO_MAGNITUDE: Final = 99.0
_FWHM_PER_SIGMA: Final = 2.0 * math.sqrt(2.0 * math.log(2.0))
# A missing integer or word in text, as astropy shows it.
_NONE: Final = "--"


def sextractor_columns(table: Table) -> dict[str, tuple[Any, str, str]]:
    """Return a catalogue's columns under SExtractor's names: values, unit, description.

    Positions count from 1, angles are in degrees, a missing magnitude is 99,
    a missing float NaN, truth values are 0 and 1. What has no name there keeps
    its own in capitals if it is of the schema, as it is otherwise. The standard
    deviation of a position is there a second time as a circle,
    ``ERRA_IMAGE``, ``ERRB_IMAGE`` and ``ERRTHETA_IMAGE``, which SCAMP wants.
    Rows are numbered (``NUMBER``), and magnitudes with a flux error have an error.

    Parameters
    ----------
    table : astropy.table.Table
        Columns as in the schema. ``fluxtype`` in its metadata says what ``flux`` is: ``auto``
        becomes ``FLUX_AUTO``, ``iso`` ``FLUX_ISO``, ``aper`` ``FLUX_APER``; a flux of unknown kind
        is ``FLUX``. The common aperture is ``FLUX_APER`` unless ``flux`` is another aperture's.
    """
    names = {**_NAMES, **_flux_names(table)}
    columns: dict[str, tuple[Any, str, str]] = {}
    if not any(name.upper() == "NUMBER" for name in table.colnames):
        columns["NUMBER"] = (np.arange(1, len(table) + 1), "", "Running object number")
    for name in table.colnames:
        mask = np.ma.getmaskarray(table[name])
        values: Any = np.asarray(np.ma.getdata(table[name]))
        upper, unit, what = names.get(name, (name.upper(), _UNITS.get(name, ""), name))
        if name in {"x", "y"}:
            values = values + 1.0
        elif name == "theta":
            values = np.rad2deg(values)
        elif name in {"mag", "aper_mag"}:
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
        if name in {"mag", "aper_mag"}:
            kind = "" if name == "mag" else "aper_"
            columns.update(_magnitude_errors(table, f"{kind}flux", upper, what))
        if name == "xy_err":
            for axis, which in (("A", "major"), ("B", "minor")):
                ellipse = f"RMS position error along {which} axis"
                columns.setdefault(f"ERR{axis}_IMAGE", (values, "pixel", ellipse))
            angle = "Error ellipse position angle (CCW/x)"
            columns.setdefault("ERRTHETA_IMAGE", (np.zeros(len(values)), "deg", angle))
    return columns


def _flux_names(table: Table) -> dict[str, tuple[str, str, str]]:
    """Return SExtractor's names of the columns of fluxes and magnitudes."""
    stated = str(table.meta.get("fluxtype", table.meta.get("FLUXTYPE", "")))
    word, where = _FLUX_KINDS.get(stated, ("", "above the background"))
    end = f"_{word}" if word else ""
    made = {
        "flux": (f"FLUX{end}", "count", f"Flux {where}"),
        "flux_err": (f"FLUXERR{end}" if word else "FLUX_ERR", "count", f"RMS error of FLUX{end}"),
        "mag": (f"MAG{end}", "mag", f"Magnitude {where}"),
    }
    shared = set(_APERTURE) <= set(table.colnames)
    if shared and (word != "APER" or _same(table["flux"], table["aper_flux"])):
        where = _FLUX_KINDS["aper"][1]
        made["aper_flux"] = ("FLUX_APER", "count", f"Flux {where}")
        made["aper_flux_err"] = ("FLUXERR_APER", "count", "RMS error of FLUX_APER")
        made["aper_mag"] = ("MAG_APER", "mag", f"Magnitude {where}")
    return made


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True))


def _magnitude_errors(
    table: Table, flux: str, name: str, what: str
) -> dict[str, tuple[Any, str, str]]:
    """Return the column of a magnitude's errors, from those of the flux; none without these."""
    if not {flux, f"{flux}_err"} <= set(table.colnames) or not name.startswith("MAG"):
        return {}
    values, errors = (np.ma.filled(table[n].astype(float), np.nan) for n in (flux, f"{flux}_err"))
    with np.errstate(divide="ignore", invalid="ignore"):
        made = 2.5 / np.log(10) * np.asarray(errors) / np.asarray(values)
    made = np.where(np.isfinite(made) & (np.asarray(values) > 0), made, _NO_MAGNITUDE)
    text = f"RMS error of {name}"
    return {name.replace("MAG", "MAGERR", 1): (made, "mag", text)}


def write_ascii_head(table: Table, path: Path) -> None:
    """Write SExtractor's ASCII_HEAD; every digit of a float is kept.

    A missing integer or word is ``--``, a missing float ``nan``. As SExtractor does it, a vector
    (``MAG_APER``, ``VECTOR_ASSOC``) has one line in the header, with the number of its first
    column.

    Raises
    ------
    ValueError
        If a column is no number, word or vector of these a row.
    """
    lines: list[str] = []
    cells: list[list[str]] = []
    for name, (values, unit, what) in sextractor_columns(table).items():
        if (values.ndim not in (1, 2) or values.dtype.kind not in "iufUS"
                or not re.fullmatch(r"\w+", name)):  # fmt: skip
            raise ValueError(f"{name}, which is no number, word or vector of these a row")
        unit = f" [{unit}]" if unit else ""
        lines.append(f"#{len(cells) + 1:4d} {name:<22} {what:<58}{unit}")
        for part in values.T if values.ndim == 2 else (values,):
            plain = np.ma.getdata(part).tolist()
            missing = np.ma.getmaskarray(part).tolist()
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
    objects = Table(meta=dict(table.meta))
    for name, (values, unit, what) in sextractor_columns(table).items():
        objects[name] = MaskedColumn(values) if np.ma.isMaskedArray(values) else values
        objects[name].unit = unit or None
        objects[name].description = what
    frame = header if header is not None else fits.Header({"SEXBKGND": 0.0})
    write_fits_hdus(objects, "LDAC_OBJECTS", _image_header(frame), path)


def frame_header(frame: Plane) -> fits.Header:
    """Return the cards of a frame as SCAMP wants them: its size and its own header.

    Parameters
    ----------
    frame : Frame or mosaic
        Its ``header``, if it has one, are the file's cards; a WCS that is not
        among them is added.
    """
    ny, nx = frame.shape
    cards = fits.Header()
    for key, value in (("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2)):
        cards[key] = value
    cards["NAXIS1"], cards["NAXIS2"] = nx, ny
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for key, value in dict(getattr(frame, "header", {})).items():
            plain = isinstance(value, bool | int | float | str)
            if not plain or key in cards or not re.fullmatch(r"[A-Z0-9_-]{1,8}", key):
                continue
            try:
                cards[key] = value
                str(cards.cards[key])  # what FITS cannot hold shows here
            except (ValueError, TypeError):
                cards.remove(key, ignore_missing=True)
        if frame.wcs is not None and "CTYPE1" not in cards:
            cards.extend(wcs_header(frame), update=True)
    return cards


def with_position_errors(table: Table, fwhm: float | None) -> Table:
    """Return a table with ``xy_err`` [px], estimated from the S/N where no detector states it.

    Parameters
    ----------
    table : astropy.table.Table
        With ``flux`` and ``flux_err``.
    fwhm : float or None
        Of the point-spread function [px]. Without it nothing is added.

    Notes
    -----
    A Gaussian of flux F and standard deviation s, fitted in noise of sigma a pixel, has the
    position's variance 8 pi s^4 sigma^2 / F^2 and the flux's 4 pi s^2 sigma^2: the error is
    sqrt(2) s / (S/N).
    """
    if "xy_err" in table.colnames or fwhm is None or not len(table):
        return table
    flux, error = np.asarray(table["flux"]), np.asarray(table["flux_err"])
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(2) * fwhm / _FWHM_PER_SIGMA * error / flux
    known = np.isfinite(spread) & (spread > 0)
    if not known.any():
        return table
    more = Table(table, copy=False)
    more["xy_err"] = np.where(known, spread, fwhm)
    return more


def _image_header(header: fits.Header) -> bytes:
    """Return the extension LDAC_IMHEAD: a table of one cell with all cards of a header.

    SCAMP 2.10 takes the cell for a FITS header as it stands in a file: cards of 80
    characters padded by blanks, in blocks of 36. astropy pads text with null
    bytes, at which SCAMP crashes, so that the cell is laid out here.
    """
    cell = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
    facts = fits.Header()
    facts["XTENSION"] = ("BINTABLE", "binary table extension")
    facts["BITPIX"] = 8
    facts["NAXIS"] = 2
    facts["NAXIS1"] = len(cell)
    facts["NAXIS2"] = 1
    facts["PCOUNT"] = 0
    facts["GCOUNT"] = 1
    facts["TFIELDS"] = 1
    facts["TTYPE1"] = "Field Header Card"
    facts["TFORM1"] = f"{len(cell)}A"
    facts["TDIM1"] = f"(80, {len(cell) // 80})"
    facts["EXTNAME"] = "LDAC_IMHEAD"
    text: str = facts.tostring(sep="", endcard=True, padding=True)
    return text.encode("ascii") + bytes(cell)


_OWN: Final = frozenset(
    (
        *_NAMES, "flux", "flux_err", "mag", "xy_err", "score", "kind", "length", "snr", "ignore",
        "aper_flux", "aper_flux_err", "aper_mag",
    )
)  # fmt: skip
