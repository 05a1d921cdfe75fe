"""The sources of a reference catalogue: positions, proper motions and magnitudes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.table import Table

from skyduel.core.errors import ArgumentError, BadInputError, one_line
from skyduel.core.io.column_names import rename_columns
from skyduel.core.io.tabular.given_table import GivenTable, plain_table
from skyduel.core.io.tabular.placement import place_rows
from skyduel.core.reference.bands import choose_magnitude
from skyduel.core.reference.epochs import julian_years

__all__ = ["MOTION_COLUMNS", "ReferenceSources", "reference_sources", "wanted_columns"]

Floats = npt.NDArray[np.float64]

#: Names of `--columns` besides those of the schema.
MOTION_COLUMNS: Final = ("pmra", "pmdec", "epoch")
# Pairs in lower case; that in right ascension times cos(dec), as all of these catalogues have it.
_MOTIONS: Final = (
    ("pmra", "pmdec"), ("pmra", "pmde"), ("pm_ra", "pm_dec"), ("pm_ra", "pm_de"),
    ("pm_ra_cosdec", "pm_dec"), ("mura", "mudec"), ("mura", "mude"),
)  # fmt: skip
_EPOCHS: Final = ("ref_epoch", "refepoch", "epoch")
_NAMES: Final = ("source_id", "source", "objid", "designation", "tyc", "gaia", "id", "name")
# As VizieR's descriptions have it: "Right ascension (ICRS) at Ep=2016.0".
_STATED: Final = re.compile(r"\bEp(?:och)?\s*=?\s*J?((?:18|19|20)\d\d(?:\.\d+)?)\b")


@dataclass(frozen=True, eq=False)
class ReferenceSources:
    """Sources of a reference catalogue, all arrays of shape (n,).

    Parameters
    ----------
    ra, dec : ndarray of float64
        Positions [deg, ICRS].
    pmra, pmdec : ndarray of float64
        Proper motions [mas/yr], that in right ascension times cos(dec); NaN: unknown.
    epoch : ndarray of float64
        Julian years of the positions; NaN: unknown.
    mag : ndarray of float64
        Magnitudes; NaN: none.
    ignore : ndarray of bool
        What the catalogue itself says is to be ignored.
    names : ndarray or None
        Identifiers, text or integers.
    magnitude : str
        Which magnitude, in words; empty if the catalogue has none.
    source : str
        File or service, for messages.
    """

    ra: Floats
    dec: Floats
    pmra: Floats
    pmdec: Floats
    epoch: Floats
    mag: Floats
    ignore: npt.NDArray[np.bool_]
    names: npt.NDArray[Any] | None
    magnitude: str
    source: str

    def __len__(self) -> int:
        return len(self.ra)


def reference_sources(
    given: GivenTable,
    source: str,
    *,
    columns: Mapping[str, str] | None = None,
    filter_name: str = "",
    epoch: float | None = None,
) -> ReferenceSources:
    """Return the sources in a table.

    Parameters
    ----------
    given : GivenTable
        Under the names of its file or service.
    source : str
        Its name, for messages.
    columns : mapping of str to str, optional
        Our names (those of the schema and `MOTION_COLUMNS`) to the table's, above the known ones.
    filter_name : str
        Of the frame, which chooses the magnitude if `columns` does not.
    epoch : float, optional
        Julian year of the positions, where no column states it.

    Raises
    ------
    BadInputError
        If there is no position on the sky, or a column is not what it has to be.
    """
    columns = dict(columns or {})
    table = plain_table(given.table)
    own = {name: name_given for name, name_given in columns.items() if name not in MOTION_COLUMNS}
    magnitude = f"{own['mag']} (as asked for)" if "mag" in own else ""
    if "mag" not in own:
        choice = choose_magnitude(table.colnames, filter_name)
        if choice.column:
            own["mag"], magnitude = choice.column, choice.words
    try:
        renamed = rename_columns(table, columns=own, source=source)
    except (TypeError, ValueError, u.UnitsError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(source, "columns of numbers and words", one_line(error)) from error
    for name in ("ra", "dec"):
        if name not in renamed.colnames:
            raise ArgumentError(
                source, "ra and dec, under these or other usual names, or those that columns gives",
                ", ".join(table.colnames), ("columns",),
            )  # fmt: skip
    n, names = len(renamed), renamed.colnames
    kept = Table({name: renamed[name] for name in ("ra", "dec")})
    placed = place_rows(kept, None, source, table.colnames, on_sky=True)
    if not magnitude and "mag" in renamed.colnames:
        magnitude = "mag (the only one that the table names)"
    pmra, pmdec = _motions(table, columns, source)
    return ReferenceSources(
        ra=np.mod(_floats(placed["ra"]), 360.0),
        dec=_floats(placed["dec"]),
        pmra=pmra,
        pmdec=pmdec,
        epoch=_epochs(table, columns, epoch, source),
        mag=_floats(renamed["mag"]) if "mag" in names else np.full(n, np.nan),
        ignore=_floats(renamed["ignore"]) > 0 if "ignore" in names else np.zeros(n, bool),
        names=_names(table),
        magnitude=magnitude,
        source=source,
    )  # fmt: skip


def wanted_columns(names: Sequence[str], columns: Mapping[str, str], magnitude: str) -> list[str]:
    """Return those of a table's columns that `reference_sources` reads besides positions."""
    here = {name.lower(): name for name in names}
    wanted = [name for name in columns.values() if name in names]
    for first, second in _MOTIONS:
        wanted += [here[one] for one in (first, second) if one in here]
    wanted += [here[one] for one in (*_EPOCHS, *_NAMES, "ignore") if one in here]
    wanted += [magnitude] if magnitude else [here[n] for n in ("mag", "magnitude") if n in here]
    return list(dict.fromkeys(wanted))


def _floats(column: Any) -> Floats:
    """Return the numbers of a column, NaN where none is."""
    try:
        return np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    except (TypeError, ValueError):
        return np.array([_number(value) for value in np.ma.asarray(column).tolist()], np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _column(table: Table, name: str, wanted: str, source: str) -> Any:
    here = {one.lower(): one for one in reversed(table.colnames)}
    actual = name if name in table.colnames else here.get(name.lower())
    if actual is None:
        raise BadInputError(
            source, f"a column {name!r} for {wanted!r}", f"columns {', '.join(table.colnames)}"
        )
    return table[actual]


def _motions(table: Table, columns: Mapping[str, str], source: str) -> tuple[Floats, Floats]:
    """Return proper motions [mas/yr]; without a unit the column is in it."""
    asked = [name for name in ("pmra", "pmdec") if name in columns]
    if len(asked) == 1:
        raise ArgumentError("columns", "pmra and pmdec, both or neither", asked[0])
    here = {name.lower() for name in table.colnames}
    pair = next((p for p in _MOTIONS if set(p) <= here), None)
    if asked:
        pair = (columns["pmra"], columns["pmdec"])
    if pair is None:
        return np.full(len(table), np.nan), np.full(len(table), np.nan)
    made = []
    for name, wanted in zip(pair, ("pmra", "pmdec"), strict=True):
        column = _column(table, name, wanted, source)
        values, unit = _floats(column), column.unit
        if unit is not None and not isinstance(unit, u.UnrecognizedUnit):
            try:
                values = np.asarray((values * unit).to_value(u.mas / u.yr))
            except u.UnitConversionError as error:
                raise BadInputError(
                    source, f"{str(column.name)!r} in mas/yr or another angle per time", str(unit)
                ) from error
        made.append(values)
    return made[0], made[1]


def _epochs(table: Table, columns: Mapping[str, str], given: float | None, source: str) -> Floats:
    """Return the epochs of positions: as told, of a column, or as a description states them."""
    n = len(table)
    if "epoch" in columns:
        return julian_years(_floats(_column(table, columns["epoch"], "epoch", source)))
    if given is not None:
        return np.full(n, float(given))
    here = {one.lower(): one for one in reversed(table.colnames)}
    named = next((here[one] for one in _EPOCHS if one in here), None)
    if named is not None:
        return julian_years(_floats(table[named]))
    for name in table.colnames:
        if re.match(r"_?(ra|alpha)", name, re.IGNORECASE):
            stated = _STATED.search(str(table[name].description or ""))
            if stated is not None:
                return np.full(n, float(stated[1]))
    return np.full(n, np.nan)


def _names(table: Table) -> npt.NDArray[Any] | None:
    """Return identifiers, None without any."""
    here = {one.lower(): one for one in reversed(table.colnames)}
    named = next((here[one] for one in _NAMES if one in here), None)
    if named is None or table[named].ndim != 1 or table[named].dtype.kind not in "iuU":
        return None
    return np.asarray(np.ma.getdata(table[named]))
