"""Other programs' columns under this project's names, in its units and pixel convention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import Angle
from astropy.table import Column, Table

from skyduel.core.catalog import SCHEMA
from skyduel.core.errors import BadInputError

__all__ = ["ALIASES", "KIND_ALIASES", "rename_columns"]

# Columns that belong together are chosen together: no x of one kind with the
# y of another. The project's own names come first, then the likeliest.
_TOGETHER: Final[tuple[tuple[tuple[str, str], tuple[tuple[str, str], ...]], ...]] = (
    (
        ("x", "y"),
        (
            ("x", "y"),
            ("x_image", "y_image"),
            ("xwin_image", "ywin_image"),
            ("xpsf_image", "ypsf_image"),
            ("xmodel_image", "ymodel_image"),
            ("x_px", "y_px"),
            ("x_pix", "y_pix"),
            ("xpos", "ypos"),
            ("xcentroid", "ycentroid"),
            ("x_centroid", "y_centroid"),
            ("x_fit", "y_fit"),
            ("xcenter", "ycenter"),
        ),
    ),
    (
        ("ra", "dec"),
        (
            ("ra", "dec"),
            ("ra_deg", "dec_deg"),
            ("alpha_j2000", "delta_j2000"),
            ("alphawin_j2000", "deltawin_j2000"),
            ("alphapsf_j2000", "deltapsf_j2000"),
            ("ra_icrs", "de_icrs"),
            ("ra_icrs", "dec_icrs"),
            ("raj2000", "dej2000"),
            ("raj2000", "decj2000"),
            ("ra_j2000", "dec_j2000"),
            ("_raj2000", "_dej2000"),
            ("_ra", "_de"),
            ("ramean", "decmean"),
        ),
    ),
    (
        ("flux", "flux_err"),
        (
            ("flux", "flux_err"),
            ("flux", "fluxerr"),
            ("flux", "e_flux"),
            ("flux_auto", "fluxerr_auto"),
            ("flux_best", "fluxerr_best"),
            ("flux_psf", "fluxerr_psf"),
            ("flux_model", "fluxerr_model"),
            ("flux_fit", "flux_unc"),
            ("flux_fit", "flux_err"),
            ("flux_aper", "fluxerr_aper"),
            ("flux_iso", "fluxerr_iso"),
            ("segment_flux", "segment_fluxerr"),
            ("aperture_sum", "aperture_sum_err"),
        ),
    ),
)
_ALONE: Final[Mapping[str, tuple[str, ...]]] = {
    "xy_err": ("xy_err", "pos_err", "x_err"),
    "mag": (
        "mag",
        "magnitude",
        "mag_auto",
        "mag_best",
        "mag_psf",
        "mag_model",
        "mag_aper",
        "mag_iso",
        "phot_g_mean_mag",
    ),
    "score": ("score", "probability", "prob", "confidence", "conf"),
    "kind": ("kind", "class", "type", "label"),
    "length": ("length", "length_px", "streak_length"),
    "theta": ("theta", "theta_rad", "theta_image", "theta_deg"),
    "flags": ("flags", "flag"),
    "snr": ("snr", "s/n", "snr_win"),
    "ignore": ("ignore", "ignored"),
    "aper_flux": ("aper_flux",),
    "aper_flux_err": ("aper_flux_err",),
    "aper_mag": ("aper_mag",),
}

#: For each column of the schema, the names (in lower case) it is known by.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    **{
        own[i]: tuple(dict.fromkeys(names[i] for names in choices))
        for own, choices in _TOGETHER
        for i in (0, 1)
    },
    **_ALONE,
}
#: What a kind may be called, and what it is.
KIND_ALIASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("point", "star", "galaxy", "source", "psf", "asteroid"), "point"),
    **dict.fromkeys(("streak", "trail", "satellite", "line", "track", "meteor"), "streak"),
}
# SExtractor counts pixels from 1 (manual, section on positional parameters).
_FROM_ONE: Final = frozenset(
    name for names in _TOGETHER[0][1] for name in names if name.endswith("_image")
)
_DEGREES: Final = frozenset({"theta_image", "theta_deg"})
# Units as people write them and astropy does not know them.
_UNITS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("px", "pixels", "[pix]", "[pixel]"), u.pix),
    **dict.fromkeys(("degree", "degrees", "[deg]"), u.deg),
    **dict.fromkeys(("radian", "radians", "[rad]"), u.rad),
}
_COUNTS: Final = frozenset({"adu", "dn", "ct", "count", "counts", ""})


def rename_columns(
    table: Table, *, columns: Mapping[str, str] | None = None, source: str = "catalogue"
) -> Table:
    """Return a table with columns named, scaled and counted as in `catalog.SCHEMA`.

    Parameters
    ----------
    table : astropy.table.Table
        Not changed.
    columns : mapping of str to str, optional
        Schema name to the table's name; stands above the aliases. A column
        that SExtractor counts from 1 (``X_IMAGE``) is converted here too.
    source : str
        Where the table came from, for messages.

    Returns
    -------
    astropy.table.Table
        Positions from 0; ``theta`` in radians; SExtractor's magnitude 99 as
        NaN; sexagesimal positions in degrees; kinds as ``point`` and
        ``streak``. A column whose unit cannot be the schema's (a flux in
        nanomaggies) keeps its values under its name with ``_given`` added,
        and so does one pushed aside by `columns`; others stay as they are.

    Raises
    ------
    BadInputError
        If `columns` names a column that is not in the schema or the table.

    Notes
    -----
    Names match without regard to case; where several aliases are there, the
    first in `ALIASES` counts. x and y (ra and dec, flux and its error) are
    always chosen as a pair.
    """
    here = {name.lower(): name for name in reversed(table.colnames)}
    chosen = _explicit(table, columns or {}, here, source)
    for own, choices in _TOGETHER:
        if not any(name in chosen for name in own):
            best = next((c for c in choices if c[0] in here and c[1] in here), None)
            if best is None and own[0] == "flux":  # an error is good to have, not needed
                best = next((c for c in choices if c[0] in here), None)
            for name, alias in zip(own, best or (), strict=False):
                if alias in here:
                    chosen[name] = here[alias]
    for name, aliases in _ALONE.items():
        present = [here[a] for a in aliases if a in here]
        if name not in chosen and present and present[0] not in chosen.values():
            chosen[name] = present[0]
    chosen = {name: given for name, given in chosen.items() if _usable(table[given], name, given)}

    renamed = Table(meta=dict(table.meta))
    for name, given in chosen.items():
        renamed[name] = _converted(table[given], name, given.lower(), source)
    used = set(chosen.values())
    for given in table.colnames:
        if given not in used:
            renamed[f"{given}_given" if given in SCHEMA else given] = table[given]
    return renamed


def _explicit(
    table: Table, columns: Mapping[str, str], here: Mapping[str, str], source: str
) -> dict[str, str]:
    """Return the caller's own choice of columns, checked."""
    chosen = {}
    for name, given in columns.items():
        if name not in SCHEMA:
            raise BadInputError(source, f"one of the columns {', '.join(SCHEMA)}", repr(name))
        actual = given if given in table.colnames else here.get(given.lower())
        if actual is None:
            raise BadInputError(
                source, f"a column {given!r} for {name!r}", f"columns {', '.join(table.colnames)}"
            )
        chosen[name] = actual
    return chosen


def _usable(column: Any, name: str, given: str) -> bool:
    """Return whether a column can be the schema's; if not, it keeps its own name."""
    if column.ndim != 1:
        return False
    if name == "kind" and given.lower() != "kind":
        # `type` and `class` may hold anything; a column called kind must not.
        return column.dtype.kind in "USO" and set(_lower(column)) <= set(KIND_ALIASES)
    if name in {"flux", "flux_err", "aper_flux", "aper_flux_err"}:
        unit = str(column.unit or "").lower()
        return unit in _COUNTS
    return True


def _converted(column: Any, name: str, alias: str, source: str) -> Any:
    """Return one column in the schema's unit and convention."""
    copy = column.copy()
    copy.unit = _UNITS.get(str(copy.unit).lower(), copy.unit)
    if name in {"ra", "dec"} and copy.dtype.kind in "USO":
        unit = u.hourangle if name == "ra" else u.deg
        try:
            return Column(Angle(np.asarray(copy).astype(str), unit=unit).deg, unit=u.deg)
        except ValueError as error:
            raise BadInputError(
                source, f"sexagesimal or decimal positions in {alias!r}", str(error)
            ) from error
    if name == "kind":
        return Column([KIND_ALIASES.get(text, text) for text in _lower(copy)], dtype=str)
    if name in {"flux", "flux_err", "aper_flux", "aper_flux_err", "mag", "aper_mag"}:
        # Counts are ADU; a magnitude system beside "mag" is not ours to judge.
        copy.unit = None
    numeric = copy.dtype.kind in "iuf"
    if name in {"x", "y"} and alias in _FROM_ONE and numeric:
        return _like(copy, np.asarray(copy, dtype=np.float64) - 1.0)
    if name == "theta" and alias in _DEGREES and numeric:
        copy.unit = None
        return _like(copy, np.deg2rad(np.asarray(copy, dtype=np.float64)))
    if name == "mag" and alias.startswith("mag_") and numeric:
        values = np.asarray(copy, dtype=np.float64)
        return _like(copy, np.where(values == 99.0, np.nan, values))
    return copy


def _like(column: Any, values: npt.NDArray[np.float64]) -> Any:
    """Return values with a column's unit and, if it has one, its mask."""
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
    lower = np.array([word.strip().lower() or "point" for word in words], dtype=object)[which]
    lower[np.ma.getmaskarray(column)] = "point"
    return [str(word) for word in lower]
