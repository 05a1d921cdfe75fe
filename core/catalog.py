"""`Catalog`: one schema for the truth and for what every detector found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.table import Table

from skyduel.core.errors import BadInputError, one_line, require_kind
from skyduel.core.html_tables import html_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "MATCHED_KINDS", "SCHEMA", "Catalog", "Column", "measured_magnitudes"]

# No source is that bright or faint on any zero-point in use; 99, -99, 999, -999, 9999 and -9999
# mark what was not measured (SExtractor, Pan-STARRS, IRAF, SDSS), and so does 37.5 (DES).
_MAGNITUDES: Final = (-30.0, 40.0)
_NO_MAGNITUDE: Final = 37.5
# A notebook shows so many rows.
_SHOWN_ROWS: Final = 10


@dataclass(frozen=True)
class Column:
    """One column of the schema: its dtype, unit, default and meaning."""

    dtype: str
    unit: str | None
    default: Any
    description: str


#: Every column a catalogue may hold. Those of `Catalog.REQUIRED` are always
#: there; the rest are filled with their default unless listed as optional.
SCHEMA: Final[Mapping[str, Column]] = {
    "x": Column("f8", "pix", None, "column of the centre; 0-based, integer at the pixel's centre"),
    "y": Column("f8", "pix", None, "row of the centre; 0-based, integer at the pixel's centre"),
    "xy_err": Column("f8", "pix", None, "standard deviation of x, and of y, where it is stated"),
    "flux": Column("f8", "adu", np.nan, "flux above the background"),
    "flux_err": Column("f8", "adu", np.nan, "standard deviation of flux"),
    "mag": Column("f8", "mag", np.nan, "magnitude on the frame's zero-point"),
    "score": Column("f8", None, np.nan, "the detector's confidence; larger is surer"),
    "kind": Column("U6", None, "point", "point, streak or galaxy"),
    "length": Column("f8", "pix", 0.0, "length of a streak; 0 for a point"),
    "theta": Column(
        "f8",
        "rad",
        0.0,
        "angle of a streak or of a galaxy's major axis from +x towards +y, in [-pi/2, pi/2)",
    ),
    "flags": Column("i8", None, 0, "the detector's own flags; 0 is clean"),
    "ra": Column("f8", "deg", None, "right ascension (ICRS)"),
    "dec": Column("f8", "deg", None, "declination (ICRS)"),
    "snr": Column("f8", None, None, "truth only: S/N of an ideal isolated measurement"),
    "ignore": Column(
        "bool",
        None,
        None,
        "truth: counts neither as found nor as missed; found: unless paired, counts neither way",
    ),
    "half_light_px": Column(
        "f8", "pix", None, "half-light radius of a galaxy along its major axis, without the PSF"
    ),
    "axis_ratio": Column("f8", None, None, "minor over major axis of a galaxy"),
    "sersic": Column("f8", None, None, "Sérsic index of a galaxy"),
    "extendedness": Column(
        "f8", None, None, "found: 0 like a point, 1 extended; NaN where the detector cannot tell"
    ),
    "aper_flux": Column("f8", "adu", None, "flux in the common forced aperture"),
    "aper_flux_err": Column("f8", "adu", None, "standard deviation of aper_flux"),
    "aper_mag": Column("f8", "mag", None, "magnitude from aper_flux on the frame's zero-point"),
}

KINDS: Final = ("point", "streak", "galaxy")
#: What matching tells apart: a galaxy has a position, as a point has, and is matched as one.
MATCHED_KINDS: Final = ("point", "streak")


def measured_magnitudes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return magnitudes with NaN for every value that marks an unmeasured one.

    Parameters
    ----------
    values : ndarray of float64
        Magnitudes. Outside -30 to 40, and at exactly 37.5, none is measured.
    """
    low, high = _MAGNITUDES
    with np.errstate(invalid="ignore"):
        measured = (values >= low) & (values <= high) & (values != _NO_MAGNITUDE)
    return np.where(measured, values, np.nan)


@dataclass(frozen=True, eq=False)
class Catalog:
    """Sources of one frame, true or found.

    Parameters
    ----------
    table : astropy.table.Table
        Columns named as in `SCHEMA`; ``x`` and ``y`` are required, other
        missing columns get their defaults, and columns outside the schema are
        kept as they are. No rows is a legal catalogue. The table is copied.
    source : str
        Where it came from, for messages.

    Raises
    ------
    BadInputError
        If ``x`` or ``y`` is missing, a position is not finite, a column cannot
        be converted to its type and unit, or a kind is unknown.
    """

    table: Table
    source: str = "catalogue"

    REQUIRED: ClassVar[tuple[str, ...]] = ("x", "y")
    #: Present only when somebody supplied them.
    OPTIONAL: ClassVar[tuple[str, ...]] = (
        "xy_err",
        "ra",
        "dec",
        "snr",
        "ignore",
        "half_light_px",
        "axis_ratio",
        "sersic",
        "extendedness",
        "aper_flux",
        "aper_flux_err",
        "aper_mag",
    )

    def __post_init__(self) -> None:
        given = self.table
        require_kind("Catalog: table", given, Table)
        require_kind("Catalog: source", self.source, str)
        for name in self.REQUIRED:
            if name not in given.colnames:
                raise BadInputError(
                    self.source, f"a column {name!r}", f"columns {', '.join(given.colnames)}"
                )
        n = len(given)
        table = Table(meta=dict(given.meta))
        for name, column in SCHEMA.items():
            if name in given.colnames:
                values = _convert(given[name], name, column, self.source)
            elif name in self.OPTIONAL:
                continue
            else:
                values = np.full(n, column.default, dtype=column.dtype)
            values.flags.writeable = False
            table[name] = values
            table[name].unit = None if column.unit is None else u.Unit(column.unit)
            table[name].description = column.description
        for name in given.colnames:
            if name not in SCHEMA:
                table[name] = given[name]
        for name in self.REQUIRED:
            bad = np.flatnonzero(~np.isfinite(np.asarray(table[name])))
            if bad.size:
                raise BadInputError(
                    self.source,
                    f"a finite {name!r} in every row",
                    f"{float(table[name][bad[0]])} in row {bad[0]} ({bad.size} such rows)",
                )
        unknown = set(np.unique(np.asarray(table["kind"]))) - set(KINDS)
        if unknown:
            raise BadInputError(
                self.source,
                "kind 'point', 'streak' or 'galaxy'",
                ", ".join(repr(str(k)) for k in sorted(unknown)),
            )
        object.__setattr__(self, "table", table)

    @classmethod
    def build(
        cls,
        *,
        source: str = "catalogue",
        meta: Mapping[str, Any] | None = None,
        **columns: npt.ArrayLike,
    ) -> Catalog:
        """Return a catalogue from arrays named as in `SCHEMA`, all of shape (n,)."""
        arrays = {name: np.atleast_1d(np.asarray(values)) for name, values in columns.items()}
        lengths = {name: a.shape for name, a in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise BadInputError(source, "columns of one length", str(lengths))
        return cls(Table(arrays, meta=dict(meta or {})), source)

    @classmethod
    def empty(cls, source: str = "catalogue") -> Catalog:
        """Return a catalogue with no rows."""
        return cls.build(source=source, x=np.zeros(0), y=np.zeros(0))

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, name: str) -> bool:
        return name in self.table.colnames

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.table.colnames)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return one column as a plain read-only array, shape (n,), in the schema's unit.

        A missing value of a column outside the schema is NaN, 0, False or empty
        text; which ones are missing says the mask of that column of `table`.
        """
        if name not in self.table.colnames:
            raise BadInputError(
                self.source, f"a column {name!r}", f"columns {', '.join(self.table.colnames)}"
            )
        column = self.table[name]
        values = np.asarray(np.ma.getdata(column))
        mask = getattr(column, "mask", None)
        if mask is not None and np.any(mask):
            values = values.copy()
            fill = {"f": np.nan, "c": np.nan, "U": "", "O": ""}.get(values.dtype.kind, 0)
            values[np.asarray(mask)] = fill
        values.flags.writeable = False
        return values

    @property
    def xy(self) -> npt.NDArray[np.float64]:
        """Positions, shape (n, 2): x, y [px]."""
        return np.column_stack([self["x"], self["y"]]).astype(np.float64, copy=False)

    @property
    def is_streak(self) -> npt.NDArray[np.bool_]:
        """Which rows are streaks, shape (n,)."""
        return np.asarray(self["kind"] == "streak")

    @property
    def is_point(self) -> npt.NDArray[np.bool_]:
        """Which rows are neither streaks nor galaxies, shape (n,)."""
        return ~(self.is_streak | self.is_galaxy)

    @property
    def is_galaxy(self) -> npt.NDArray[np.bool_]:
        """Which rows are galaxies, shape (n,)."""
        return np.asarray(self["kind"] == "galaxy")

    def select(self, rows: npt.NDArray[Any]) -> Catalog:
        """Return the given rows: a bool mask of shape (n,) or integer indices, in their order."""
        rows = np.asarray(rows)
        if rows.size == 0 and rows.dtype.kind != "b":
            rows = rows.astype(np.intp)  # an empty list is floats to numpy
        if rows.dtype.kind not in "biu" or rows.ndim != 1:
            required = "a mask of bool or whole numbers, shape (n,)"
            raise BadInputError("Catalog.select: rows", required, f"{rows.dtype} {rows.shape}")
        try:
            return Catalog(self.table[rows], self.source)
        except IndexError as error:
            required = f"rows of {len(self)}"
            raise BadInputError("Catalog.select: rows", required, one_line(error)) from error

    def with_columns(self, **columns: npt.ArrayLike) -> Catalog:
        """Return a copy with columns added or replaced, each of shape (n,)."""
        table = self.table.copy()
        for name, values in columns.items():
            values = np.asarray(values)
            if values.shape != (len(self),):
                raise BadInputError(
                    self.source, f"{name!r} of shape ({len(self)},)", f"shape {values.shape}"
                )
            table[name] = values
        return Catalog(table, self.source)

    def with_meta(self, **meta: Any) -> Catalog:
        """Return a copy whose table has further metadata."""
        return Catalog(Table(self.table, meta={**self.table.meta, **meta}, copy=False), self.source)

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame of the columns; their units stand in ``attrs["units"]``.

        Raises
        ------
        BadInputError
            If a column has more than one value a row.
        """
        for name in self.table.colnames:
            if self.table[name].ndim != 1:
                raise BadInputError(
                    self.source,
                    "one value a row in every column, for pandas",
                    f"{name} with {self.table[name].shape[1:]}",
                )
        frame: pd.DataFrame = self.table.to_pandas(index=False)
        units = {name: self.table[name].unit for name in self.table.colnames}
        frame.attrs["units"] = {name: str(unit) for name, unit in units.items() if unit is not None}
        return frame

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, source: str = "data frame") -> Catalog:
        """Return the catalogue in a pandas frame with columns named as in `SCHEMA`.

        What `to_pandas` gave comes back unchanged. The index is left out.

        Raises
        ------
        BadInputError
            As for the catalogue itself, or if two columns have one name.
        """
        import pandas as pd

        require_kind("Catalog.from_pandas: frame", frame, pd.DataFrame)
        if not frame.columns.is_unique:
            twice = sorted({str(c) for c in frame.columns[frame.columns.duplicated()]})
            raise BadInputError(source, "columns of different names", f"two of {', '.join(twice)}")
        table = Table.from_pandas(frame)
        for name, unit in frame.attrs.get("units", {}).items():
            if name in table.colnames:
                table[name].unit = u.Unit(unit, parse_strict="silent")
        return cls(table, source)

    def _repr_html_(self) -> str:
        """Return the first rows as a table, for notebooks."""
        shown = [n for n in self.table.colnames if self.table[n].ndim == 1]
        rows = zip(*(self[n][:_SHOWN_ROWS].tolist() for n in shown), strict=True)
        n = len(self)
        caption = f"{self.source}: {n:,} row{'' if n == 1 else 's'}"
        if n > _SHOWN_ROWS:
            caption += f", the first {_SHOWN_ROWS}"
        return html_table(caption, shown, rows)

    def __repr__(self) -> str:
        return (
            f"Catalog({self.source!r}, n={len(self)}, streaks={int(self.is_streak.sum())}, "
            f"columns={self.table.colnames})"
        )


def _convert(given: Any, name: str, column: Column, source: str) -> npt.NDArray[Any]:
    """Return one column in the schema's dtype and unit, masked values as the default."""
    unit = getattr(given, "unit", None)
    values = given
    if hasattr(values, "filled"):
        fill = column.default
        if fill is None:
            fill = np.nan if column.dtype.startswith("f") else 0
        try:
            values = values.filled(fill)
        except (TypeError, ValueError):
            values = np.where(np.ma.getmaskarray(given), fill, np.ma.getdata(given))
    if unit is not None and column.unit is not None and unit != u.Unit(column.unit):
        try:
            values = u.Quantity(np.asarray(values), unit).to_value(column.unit)
        except (u.UnitConversionError, ValueError, TypeError) as error:  # ValueError: unknown unit
            raise BadInputError(
                source, f"column {name!r} in a unit convertible to {column.unit}", str(unit)
            ) from error
    array = np.asarray(getattr(values, "value", values))
    if array.ndim != 1:
        raise BadInputError(source, f"one value a row in column {name!r}", f"shape {array.shape}")
    try:
        if column.dtype.startswith("U"):
            if array.dtype.kind == "S":
                array = np.char.decode(array, "utf-8", "replace")
            text = np.char.strip(array.astype(str))
            return np.array(text, dtype="U6" if text.size == 0 else None)
        if column.dtype == "bool" and array.dtype.kind in "USO":
            return np.array([_as_bool(v) for v in array], dtype=bool)
        if array.dtype.kind == "f" and not column.dtype.startswith("f"):
            # A missing integer or bool often arrives as NaN, which has no value in either.
            array = np.where(np.isnan(array), column.default or 0, array)
            if (array != np.rint(array)).any() or (np.abs(array) >= 2.0**63).any():
                raise ValueError("fractions, or more than 64 bits hold")
        if array.dtype.kind == "c":
            raise ValueError("complex numbers")
        made = np.array(array, dtype=column.dtype)
        return measured_magnitudes(made) if column.unit == "mag" else made
    except (TypeError, ValueError) as error:
        raise BadInputError(
            source, f"column {name!r} of type {column.dtype}", f"{array.dtype}: {error}"
        ) from error


def _as_bool(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in {"true", "t", "1", "yes"}:
        return True
    if text in {"false", "f", "0", "no", ""}:
        return False
    raise ValueError(f"{str(value)!r} is neither true nor false")
