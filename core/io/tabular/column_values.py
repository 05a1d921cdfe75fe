"""Column values in the units and conventions of the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.table import Column, Table

from skyduel.core.catalog import SCHEMA, measured_magnitudes
from skyduel.core.errors import BadInputError
from skyduel.core.io.tabular.text_tables import MISSING

__all__ = ["KIND_ALIASES", "converted_column", "is_usable", "with_equatorial"]

#: What a kind may be called, and what it is.
KIND_ALIASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("point", "star", "source", "psf", "asteroid"), "point"),
    **dict.fromkeys(("streak", "trail", "satellite", "line", "track", "meteor"), "streak"),
    **dict.fromkeys(("galaxy", "extended"), "galaxy"),
}
_DEGREES: Final = frozenset({"theta_image", "theta_deg", "thetawin_image"})
_HOURS: Final = frozenset({"ra_hours", "ra_hour", "ra_h", "rahours"})
# SExtractor counts pixels from 1 (manual, section on positional parameters).
_FROM_ONE: Final = re.compile(r"[xy](?:win|psf|model|peak)?_image(?:_dbl)?\Z")
# Names that may count from 1 if the format of the file says so.
_BARE_POSITIONS: Final = frozenset(
    {"x", "y", "xcenter", "ycenter", "xinit", "yinit", "field_x", "field_y"}
)
# Units as people write them and astropy does not know them.
_UNITS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("px", "pixels", "[pix]", "[pixel]"), u.pix),
    **dict.fromkeys(("degree", "degrees", "[deg]", "d:m:s", '"d:m:s"'), u.deg),
    **dict.fromkeys(("radian", "radians", "[rad]"), u.rad),
    **dict.fromkeys(("hours", "hour", "hr", "hrs", "hourangle", "h:m:s", '"h:m:s"'), u.hourangle),
}
_COUNTS: Final = frozenset({"adu", "dn", "ct", "count", "counts", ""})
_FLUXES: Final = frozenset({"flux", "flux_err", "aper_flux", "aper_flux_err"})
# Columns without which a catalogue is one all the same.
_NUMBERS: Final = frozenset({"flags", "length", "theta", "snr", "xy_err", "score"})
# What follows from other pairs of sky positions: names, frame.
_OTHER_FRAMES: Final[tuple[tuple[str, str, str], ...]] = (
    ("glon", "glat", "galactic"),
    ("gal_lon", "gal_lat", "galactic"),
    ("l", "b", "galactic"),
    ("rab1950", "deb1950", "fk4"),
    ("_rab1950", "_deb1950", "fk4"),
    ("alpha_b1950", "delta_b1950", "fk4"),
    ("elon", "elat", "barycentrictrueecliptic"),
)


def is_usable(column: Any, name: str, given: str) -> bool:
    """Return True if a column can be the schema's; otherwise it keeps its own name."""
    if column.ndim != 1:
        return False
    if name == "kind" and given.lower() != "kind":
        # `type` and `class` may hold anything; a column called kind must not.
        return column.dtype.kind in "USO" and set(_lower(column)) <= set(KIND_ALIASES)
    if name in _FLUXES:
        return str(column.unit or "").lower() in _COUNTS
    if name in _NUMBERS and not _are_numbers(column, whole=name == "flags"):
        return False
    if name in {"x", "y", "length", "theta", "xy_err"}:
        unit = _UNITS.get(str(column.unit).lower(), column.unit)
        known = unit is not None and not isinstance(unit, u.UnrecognizedUnit)
        wanted = u.Unit(SCHEMA[name].unit)
        return not known or unit == u.dimensionless_unscaled or unit.is_equivalent(wanted)
    return True


def _are_numbers(column: Any, *, whole: bool) -> bool:
    """Return True if every value that is there is a number."""
    if column.dtype.kind in "iub":
        return True
    values = np.ma.masked_array(np.ma.getdata(column), np.ma.getmaskarray(column)).compressed()
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        return False
    finite = numbers[~np.isnan(numbers)]
    return not whole or bool((finite == np.rint(finite)).all())


def converted_column(
    column: Any, name: str, alias: str, source: str, *, from_one: bool = False
) -> Any:
    """Return one column in the schema's unit and convention.

    Parameters
    ----------
    column : Column
        As the file has it.
    name : str
        Name in the schema.
    alias : str
        Name in the file, in lower case.
    source : str
        Where the table came from, for messages.
    from_one : bool
        True if the format counts pixels from 1.

    Raises
    ------
    BadInputError
        If text is no position.
    """
    copy = column.copy()
    copy.unit = _UNITS.get(str(copy.unit).lower(), copy.unit)
    if name in {"ra", "dec"}:
        return _degrees(copy, name, alias, source)
    if name == "kind":
        return Column([KIND_ALIASES.get(text, text) for text in _lower(copy)], dtype=str)
    numeric = copy.dtype.kind in "iuf"
    if name in _FLUXES or name in {"mag", "aper_mag"}:
        # Counts are ADU; a magnitude system beside "mag" is not ours to judge.
        copy.unit = None
        if numeric and name in {"mag", "aper_mag"}:
            return _like(copy, measured_magnitudes(np.asarray(copy, dtype=np.float64)))
    if name in {"x", "y"} and numeric:
        if copy.unit == u.dimensionless_unscaled:
            copy.unit = None
        if _FROM_ONE.match(alias) or (from_one and alias in _BARE_POSITIONS):
            return _like(copy, np.asarray(copy, dtype=np.float64) - 1.0)
    if name == "theta" and alias in _DEGREES and numeric:
        copy.unit = None
        return _like(copy, np.deg2rad(np.asarray(copy, dtype=np.float64)))
    return copy


def _degrees(column: Any, name: str, alias: str, source: str) -> Any:
    """Return right ascensions or declinations in degrees, NaN where there is none."""
    unit = column.unit
    if name == "ra" and (unit == u.h or alias in _HOURS):
        unit = u.hourangle
    if column.dtype.kind in "USO":
        words = np.asarray(np.ma.getdata(column))
        if words.dtype.kind == "S":
            words = np.char.decode(words, "utf-8", "replace")
        words = np.char.strip(words.astype(str))
        missing = np.ma.getmaskarray(column) | np.isin(words, MISSING)
        values = np.full(len(words), np.nan)
        values[~missing] = _angles(words[~missing], name, alias, unit, source)
        return Column(values, unit=u.deg)
    if column.dtype.kind not in "iuf":
        return column
    values = np.asarray(column, dtype=np.float64)
    if unit is None and alias in {"coord_ra", "coord_dec"}:
        # The LSST pipelines have radians with their unit; without one only the range tells.
        bound = 2 * np.pi if name == "ra" else np.pi / 2
        finite = values[np.isfinite(values)]
        unit = u.rad if finite.size and np.abs(finite).max() <= bound else u.deg
    if unit is not None and unit != u.deg:
        values = np.asarray((values * unit).to_value(u.deg))
    column.unit = u.deg
    return _like(column, values)


def _angles(
    words: npt.NDArray[Any], name: str, alias: str, unit: Any, source: str
) -> npt.NDArray[np.float64]:
    """Return angles [deg] in text: decimal degrees, or sexagesimal with hours of RA."""
    try:
        values = words.astype(np.float64)
    except ValueError:
        pass
    else:
        return values * 15.0 if unit == u.hourangle else values
    if unit not in {u.deg, u.hourangle}:
        unit = u.hourangle if name == "ra" else u.deg
        if name == "ra":
            starts = (re.match(r"[+-]?(\d+(?:\.\d*)?)", word) for word in words.tolist())
            if any(float(s[1]) >= 25 for s in starts if s):
                unit = u.deg  # no day has so many hours
    from astropy.coordinates import Angle  # takes long to load, and few tables need it

    try:
        return np.asarray(Angle(words, unit=unit).deg, dtype=np.float64)
    except ValueError as error:
        raise BadInputError(
            source, f"sexagesimal or decimal positions in {alias!r}", str(error)
        ) from error


def with_equatorial(table: Table) -> Table:
    """Return a table with ``ra`` and ``dec`` from split or other sky coordinates, if it has those.

    Known are the columns RAh, RAm, RAs, DE-, DEd, DEm, DEs of the CDS and pairs
    of galactic, ecliptic and B1950 coordinates in degrees. The table is not changed.
    """
    here = {name.lower(): name for name in reversed(table.colnames)}
    made: tuple[Any, Any] | None = None
    if {"rah", "ram", "ded", "dem"} <= set(here):
        sign = np.ones(len(table))
        if "de-" in here:
            sign = np.where([w.strip() == "-" for w in _words(table[here["de-"]])], -1.0, 1.0)
        elif (_numbers(table[here["ded"]]) < 0).any():
            sign = np.sign(_numbers(table[here["ded"]]) + 1e-9)
        part = {k: _numbers(table[here[k]]) if k in here else np.zeros(len(table))
                for k in ("rah", "ram", "ras", "ded", "dem", "des")}  # fmt: skip
        made = (
            15.0 * (part["rah"] + part["ram"] / 60 + part["ras"] / 3600),
            sign * (np.abs(part["ded"]) + part["dem"] / 60 + part["des"] / 3600),
        )
    else:
        for lon, lat, frame in _OTHER_FRAMES:
            columns = [table[here[n]] for n in (lon, lat) if n in here]
            if len(columns) == 2 and all(_in_degrees(c, len(lon) > 1) for c in columns):
                a, b = (_numbers(c) for c in columns)
                if np.isfinite(a).all() and (np.abs(b) <= 90).all():
                    from astropy.coordinates import SkyCoord  # as above

                    sky = SkyCoord(a * u.deg, b * u.deg, frame=frame).icrs
                    made = (np.asarray(sky.ra.deg), np.asarray(sky.dec.deg))
                    break
    if made is None:
        return table
    more = Table(table, copy=False)
    for name, values in zip(("ra", "dec"), made, strict=True):
        more[name] = Column(values, unit=u.deg)
    return more


def _in_degrees(column: Any, telling: bool) -> bool:
    """Return True if numbers are in degrees: by their unit, or by a telling name without one."""
    if column.ndim != 1 or column.dtype.kind not in "iuf":
        return False
    unit = _UNITS.get(str(column.unit).lower(), column.unit)
    return unit == u.deg if unit is not None else telling


def _numbers(column: Any) -> npt.NDArray[np.float64]:
    values = np.ma.asarray(column).astype(np.float64)
    return np.asarray(np.ma.filled(values, np.nan))


def _words(column: Any) -> list[str]:
    values = np.asarray(np.ma.getdata(column))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    return [str(value) for value in values.tolist()]


def _like(column: Any, values: npt.NDArray[np.float64]) -> Any:
    """Return values with a column's unit, NaN where it is masked."""
    if hasattr(column, "mask"):
        values = np.ma.array(values, mask=column.mask).filled(np.nan)
    return Column(values, unit=column.unit)


def _lower(column: Any) -> list[str]:
    """Return text values stripped and in lower case; a missing one is a point."""
    values = np.asarray(np.ma.getdata(column))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    # A million rows hold a handful of words.
    words, which = np.unique(values.astype(str), return_inverse=True)
    plain = [word.strip() for word in words]
    none = {word.lower() for word in MISSING}
    lower = np.array(
        ["point" if w.lower() in none else w.lower() for w in plain] or [""], dtype=object
    )[which]
    lower[np.ma.getmaskarray(column)] = "point"
    return [str(word) for word in lower]
