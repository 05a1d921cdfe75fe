"""Other programs' columns under this project's names, in its units and pixel convention."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from astropy import units as u
from astropy.table import Column, Table

from skyduel.core.catalog import SCHEMA
from skyduel.core.errors import ArgumentError, BadInputError
from skyduel.core.io.tabular.column_values import (
    KIND_ALIASES,
    converted_column,
    is_usable,
    with_equatorial,
)

__all__ = [
    "ALIASES",
    "KIND_ALIASES",
    "has_positions",
    "parse_columns",
    "pool_names",
    "rename_columns",
    "sky_columns",
]

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
            ("x_image_dbl", "y_image_dbl"),
            ("xpsf_image_dbl", "ypsf_image_dbl"),
            ("x_px", "y_px"),
            ("x_pix", "y_pix"),
            ("xpos", "ypos"),
            ("xcentroid", "ycentroid"),
            ("x_centroid", "y_centroid"),
            ("x_fit", "y_fit"),
            ("xcenter", "ycenter"),
            ("x_center", "y_center"),
            ("pixel_centroid_x", "pixel_centroid_y"),
            ("slot_centroid_x", "slot_centroid_y"),
            ("base_sdsscentroid_x", "base_sdsscentroid_y"),
            ("ext_photometrykron_x", "ext_photometrykron_y"),
            ("centroid_x", "centroid_y"),
            ("field_x", "field_y"),
            ("bx", "by"),
            ("x_pos", "y_pos"),
            ("x_pixel", "y_pixel"),
            ("xpix", "ypix"),
            ("xc", "yc"),
            ("xinit", "yinit"),
            ("x_init", "y_init"),
            ("xpeak_image", "ypeak_image"),
            ("x_peak", "y_peak"),
            ("xpeak", "ypeak"),
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
            ("rastack", "decstack"),
            ("coord_ra", "coord_dec"),
            ("sky_centroid.ra", "sky_centroid.dec"),
            ("sky_centroid_ra", "sky_centroid_dec"),
            ("field_ra", "field_dec"),
            ("ra", "decl"),
            ("ra", "de"),
            ("radeg", "decdeg"),
            ("radeg", "dedeg"),
            ("ra_d", "dec_d"),
            ("ra_hours", "dec_deg"),
            ("ra_hours", "dec"),
            ("ra_hour", "dec"),
            ("ra_h", "dec_d"),
            ("rahours", "decdeg"),
            ("_ra_icrs", "_de_icrs"),
            ("right_ascension", "declination"),
            ("right ascension", "declination"),
            ("rightascension", "declination"),
            ("alphamodel_j2000", "deltamodel_j2000"),
            ("alphapeak_j2000", "deltapeak_j2000"),
            ("alpha_sky", "delta_sky"),
            ("alphawin_sky", "deltawin_sky"),
            ("alpha", "delta"),
            ("x_world", "y_world"),
            ("xwin_world", "ywin_world"),
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
            ("segment_flux", "segment_flux_err"),
            ("segment_flux", "segment_fluxerr"),
            ("kron_flux", "kron_flux_err"),
            ("aperture_sum", "aperture_sum_err"),
        ),
    ),
)
_ALONE: Final[Mapping[str, tuple[str, ...]]] = {
    "xy_err": ("xy_err", "pos_err", "x_err", "erra_image", "errawin_image"),
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
        "gmag",
        "kron_mag",
        "segment_mag",
    ),
    "score": ("score", "probability", "prob", "confidence", "conf"),
    "kind": ("kind", "class", "type", "label"),
    "length": ("length", "length_px", "streak_length"),
    "theta": ("theta", "theta_rad", "theta_image", "theta_deg", "thetawin_image"),
    "flags": ("flags", "flag"),
    "snr": ("snr", "s/n", "snr_win"),
    "ignore": ("ignore", "ignored"),
    "half_light_px": ("half_light_px",),
    "axis_ratio": ("axis_ratio",),
    "sersic": ("sersic",),
    "extendedness": ("extendedness", "base_classificationextendedness_value"),
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


# A name with its unit behind it: "ra (deg)", "x [pix]".
_WITH_UNIT: Final = re.compile(r"([^\[(]+?)\s*[\[(]([A-Za-z][^\])]*)[\])]\Z")
# At most this number of values of a vector column are taken as columns of their own.
_MOST_VALUES: Final = 64
# What `write_catalog` writes for SCAMP beside the column XY_ERR.
_ELLIPSE: Final = ("ERRA_IMAGE", "ERRB_IMAGE", "ERRTHETA_IMAGE")
# What it writes under SExtractor's names, and columns that tell such a table from SExtractor's.
_WRITTEN: Final = frozenset({"SCORE", "KIND", "LENGTH"})
_APERTURE: Final[Mapping[str, str]] = {
    "aper_flux": "FLUX_APER", "aper_flux_err": "FLUXERR_APER", "aper_mag": "MAG_APER",
}  # fmt: skip
_KINDS: Final = ("_AUTO", "_ISO", "_PSF", "_APER")
_DERIVED: Final = frozenset({"NUMBER", "MAGERR", *(f"MAGERR{kind}" for kind in _KINDS)})


def parse_columns(text: str, source: str = "columns", more: Sequence[str] = ()) -> dict[str, str]:
    """Return a mapping written as ``ra=RAJ2000,mag=rmag``: our name to the file's.

    Commas, semicolons or blanks stand between the pairs. `more` are names besides those of the
    schema.

    Raises
    ------
    BadInputError
        If a pair has no equals sign, a name of the schema stands twice or is unknown.
    """
    columns: dict[str, str] = {}
    for pair in re.split(r"[,;\s]+", text.strip()):
        name, equals, given = pair.partition("=")
        if not (name and equals and given):
            raise ArgumentError(source, "pairs as in ra=RAJ2000,mag=rmag", repr(pair or text))
        if name not in SCHEMA and name not in more:
            known = ", ".join((*SCHEMA, *more))
            raise ArgumentError(source, f"one of the columns {known}", repr(name))
        if name in columns:
            raise ArgumentError(source, "every column once", f"{name!r} twice")
        columns[name] = given
    return columns


def has_positions(names: Sequence[str], columns: Mapping[str, str] | None = None) -> bool:
    """Return True if columns of these names hold pixel or sky positions."""
    here = {str(name).lower() for name in names}
    mapped = {name for name, given in (columns or {}).items() if given.lower() in here}
    if mapped >= {"x", "y"} or mapped >= {"ra", "dec"}:
        return True
    return any(a in here and b in here for own, choices in _TOGETHER[:2] for a, b in choices if own)


def sky_columns(
    names: Sequence[str], columns: Mapping[str, str] | None = None
) -> tuple[str, str] | None:
    """Return the columns of right ascension and declination that `rename_columns` would take.

    Parameters
    ----------
    names : sequence of str
        Of the table.
    columns : mapping of str to str, optional
        Schema name to the table's name; one of the two is enough.
    """
    here = {str(name).lower(): str(name) for name in reversed(list(names))}
    chosen = {name: here[given.lower()] for name, given in (columns or {}).items()
              if name in {"ra", "dec"} and given.lower() in here}  # fmt: skip
    own, choices = _TOGETHER[1]
    if len(chosen) == 1:
        chosen |= _partner(chosen, own, here)
    if not chosen:
        return next(((here[a], here[b]) for a, b in choices if a in here and b in here), None)
    return (chosen["ra"], chosen["dec"]) if len(chosen) == 2 else None


def rename_columns(
    table: Table,
    *,
    columns: Mapping[str, str] | None = None,
    source: str = "catalogue",
    from_one: bool = False,
) -> Table:
    """Return a table with columns named, scaled and counted as in `catalog.SCHEMA`.

    Parameters
    ----------
    table : astropy.table.Table
        Not changed.
    columns : mapping of str to str, optional
        Schema name to the table's name; stands above the aliases. A column
        that SExtractor counts from 1 (``X_IMAGE``) is converted here too.
        ``MAG_APER_1`` is the second value of a vector column ``MAG_APER``.
    source : str
        Where the table came from, for messages.
    from_one : bool
        True if the table's format counts pixels from 1.

    Returns
    -------
    astropy.table.Table
        Positions from 0; ``theta`` in radians; magnitudes that none can be
        (99, -999) as NaN; sexagesimal positions and hours in degrees; kinds as
        ``point``, ``streak`` and ``galaxy``. A column whose unit or values cannot be the
        schema's (a flux in nanomaggies, words in ``flags``) keeps its values
        under its name with ``_given`` added, and so does one pushed aside by
        `columns`; others stay as they are. Of a vector column the first value
        counts, and the vector stays under its name.

    Raises
    ------
    BadInputError
        If `columns` names a column that is not in the schema or the table, or
        that cannot be the schema's.

    Notes
    -----
    Names match without regard to case; where several aliases are there, the
    first in `ALIASES` counts. x and y (ra and dec, flux and its error) are
    always chosen as a pair. RA and Dec that are 0 in every row, as programs
    write for an image without coordinates, count as none beside x and y.
    """
    columns = columns or {}
    pool = _pool(table)
    if not _has_pair(pool, 1) and not {"ra", "dec"} & set(columns):
        pool = _pool(with_equatorial(table))
    here = {name.lower(): name for name in reversed(list(pool))}
    for name in pool:
        match = _WITH_UNIT.match(name)
        if match:
            here.setdefault(match[1].strip().lower(), name)
    chosen = _explicit(table, pool, columns, here, source)
    ours = set(table.colnames) >= _WRITTEN
    if ours:
        chosen = _written_flux(pool) | chosen
    for own, choices in _TOGETHER:
        if sum(name in chosen for name in own) == 1 and (partner := _partner(chosen, own, here)):
            chosen |= partner
        if not any(name in chosen for name in own):
            best = next((c for c in choices if _usable_pair(pool, here, own, c)), None)
            if best is None and own[0] == "flux":  # an error is good to have, not needed
                best = next((c for c in choices if c[0] in here), None)
            for name, alias in zip(own, best or (), strict=False):
                if alias in here:
                    chosen[name] = here[alias]
    for name, aliases in _ALONE.items():
        present = [here[a] for a in aliases if a in here]
        if name not in chosen and present and present[0] not in chosen.values():
            chosen[name] = present[0]
    if ours:
        chosen |= {n: g for n, g in _APERTURE.items() if n not in chosen and g in pool}
    chosen = {n: given for n, given in chosen.items() if is_usable(pool[given], n, _bare(given))}
    if {"x", "y", "ra", "dec"} <= set(chosen) and not {"ra", "dec"} & set(columns):
        sky = [np.ma.asarray(pool[chosen[name]]) for name in ("ra", "dec")]
        if len(table) and all(s.dtype.kind in "iuf" and bool(np.all(s == 0)) for s in sky):
            del chosen["ra"], chosen["dec"]

    renamed = Table(meta=dict(table.meta))
    for name, given in chosen.items():
        column = pool[given]
        if given == "ERRA_IMAGE" and "ERRB_IMAGE" in pool:
            column = Column(np.sqrt((column**2 + pool["ERRB_IMAGE"] ** 2) / 2), unit="pix")
        renamed[name] = converted_column(column, name, _bare(given), source, from_one=from_one)
    used = set(chosen.values())
    if chosen.get("xy_err") == "XY_ERR":
        used.update(_ELLIPSE)
    if ours:
        used.update(_DERIVED)
    for given in table.colnames:
        if given not in used or table[given].ndim != 1:
            renamed[f"{given}_given" if given in SCHEMA else given] = table[given]
    return renamed


def _written_flux(pool: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a table that `write_catalog` wrote that are the flux and magnitude.

    The common aperture stands beside them, and comes before some of them in `ALIASES`.
    """
    for kind in ("", *_KINDS):
        names = (f"FLUX{kind}", f"FLUXERR{kind}" if kind else "FLUX_ERR", f"MAG{kind}")
        if names[0] in pool:
            wanted = zip(("flux", "flux_err", "mag"), names, strict=True)
            return {name: given for name, given in wanted if given in pool}
    return {}


def pool_names(table: Table) -> list[str]:
    """Return the names by which a table's columns may be chosen."""
    return list(_pool(table))


def _bare(name: str) -> str:
    """Return a column's name in lower case, without a unit behind it."""
    match = _WITH_UNIT.match(name)
    return (match[1].strip() if match else name).lower()


def _pool(table: Table) -> dict[str, Any]:
    """Return the columns by name; a vector column as its values, each a column."""
    pool: dict[str, Any] = {}
    for name in table.colnames:
        column = table[name]
        if column.ndim == 2 and column.dtype.kind in "iuf" and column.shape[1]:
            pool[name] = column[:, 0]
            for k in range(1, min(column.shape[1], _MOST_VALUES)):
                if f"{name}_{k}" not in table.colnames:
                    pool[f"{name}_{k}"] = column[:, k]
            continue
        match = _WITH_UNIT.match(name)
        if match and column.unit is None:
            unit = u.Unit(match[2], parse_strict="silent")
            if not isinstance(unit, u.UnrecognizedUnit):
                column = column.copy()
                column.unit = unit
        pool[name] = column
    return pool


def _has_pair(pool: Mapping[str, Any], which: int) -> bool:
    here = {_bare(name) for name in pool}
    return any(a in here and b in here for a, b in _TOGETHER[which][1])


def _usable_pair(
    pool: Mapping[str, Any], here: Mapping[str, str], own: Sequence[str], pair: Sequence[str]
) -> bool:
    """Return True if both columns of a pair are there; of positions also if both can be such."""
    if not (pair[0] in here and pair[1] in here):
        return False
    return own[0] == "flux" or all(
        is_usable(pool[here[alias]], name, alias) for name, alias in zip(own, pair, strict=True)
    )


def _partner(
    chosen: Mapping[str, str], own: Sequence[str], here: Mapping[str, str]
) -> dict[str, str]:
    """Return the other column of a pair of which the caller chose one, if it is there."""
    choices = next(pairs for names, pairs in _TOGETHER if names == tuple(own))
    given, other = (0, 1) if own[0] in chosen else (1, 0)
    name = _bare(chosen[own[given]])
    # The column that goes with the chosen one first, then any known one.
    for choice in (*(c for c in choices if c[given] == name), *choices):
        if choice[other] in here and here[choice[other]] not in chosen.values():
            return {own[other]: here[choice[other]]}
    return {}


def _explicit(
    table: Table,
    pool: Mapping[str, Any],
    columns: Mapping[str, str],
    here: Mapping[str, str],
    source: str,
) -> dict[str, str]:
    """Return the caller's own choice of columns, checked."""
    chosen = {}
    for name, given in columns.items():
        if name not in SCHEMA:
            raise BadInputError(source, f"one of the columns {', '.join(SCHEMA)}", repr(name))
        actual = given if given in pool else here.get(given.lower())
        if actual is None:
            raise BadInputError(
                source, f"a column {given!r} for {name!r}", f"columns {', '.join(table.colnames)}"
            )
        if name not in {"flux", "flux_err", "kind"} and not is_usable(pool[actual], name, actual):
            what = pool[actual]
            got = f"{what.dtype} of shape {what.shape[1:]}" if what.ndim != 1 else str(what.dtype)
            if what.unit is not None:
                got += f" in {what.unit}"
            raise BadInputError(source, f"a column {given!r} that can be {name!r}", got)
        chosen[name] = actual
    return chosen
