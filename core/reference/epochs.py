"""The epoch of a frame, and positions of stars at another epoch."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

__all__ = ["Epoch", "julian_years", "observation_epoch", "positions_at"]

Floats = npt.NDArray[np.float64]

# The first sky survey on plates began in 1887; a date outside is a sentinel, as MJD 0 is.
_YEARS: Final = (1880.0, 2150.0)
_DATES: Final = ("DATE-AVG", "DATE-OBS", "DATE-BEG", "DATE_OBS", "DATEOBS")
_NUMBERS: Final[tuple[tuple[str, str], ...]] = (
    ("MJD-AVG", "mjd"), ("MJD-OBS", "mjd"), ("MJD_OBS", "mjd"), ("MJD", "mjd"), ("JD", "jd"),
    ("JD-OBS", "jd"), ("TAI", "tai"),
)  # fmt: skip
_TIMES: Final = ("TIME-OBS", "UTC-OBS", "UT", "UTC", "UTSTART", "TIME")
_DAY: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d.*))?\Z")
#: As FITS had it before 1997.
_OLD_DAY: Final = re.compile(r"(\d{2})/(\d{2})/(\d{2})\Z")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d*)?))?")


@dataclass(frozen=True)
class Epoch:
    """When a frame was taken.

    Parameters
    ----------
    year : float
        Julian epoch [yr].
    words : str
        The card it follows from.
    """

    year: float
    words: str


def observation_epoch(header: Mapping[str, Any]) -> Epoch | None:
    """Return the epoch that a frame's header states; None without a usable date.

    Parameters
    ----------
    header : mapping
        Scalar values, as `core.Frame.header`. DATE-AVG and DATE-OBS (with TIME-OBS or UT behind a
        bare day) come first, then MJD-AVG, MJD-OBS, JD, and TAI of SDSS [s]. What lies outside
        the years 1880 to 2150 is no date. DATE, when the file was written, is not read.
    """
    for key in _DATES:
        value = header.get(key)
        year = _year_of_date(value, header) if isinstance(value, str) else None
        if year is not None:
            return Epoch(year, f"{key} = {str(value).strip()}")
    for key, kind in _NUMBERS:
        value = header.get(key)
        if isinstance(value, str) and re.fullmatch(r"\s*\d+\.?\d*\s*", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        days = value - 2400000.5 if kind == "jd" else value / 86400 if kind == "tai" else value
        year = 2000.0 + (days - 51544.5) / 365.25
        if _YEARS[0] <= year <= _YEARS[1]:
            return Epoch(float(year), f"{key} = {value:.6f}")
    return None


def _year_of_date(text: str, header: Mapping[str, Any]) -> float | None:
    """Return the Julian epoch of a date, None of anything else."""
    words = text.strip()
    day, old = _DAY.match(words), _OLD_DAY.match(words)
    if day is not None:
        year, month, number, clock = int(day[1]), int(day[2]), int(day[3]), day[4]
    elif old is not None:
        year, month, number, clock = 1900 + int(old[3]), int(old[2]), int(old[1]), None
    else:
        return None
    if clock is None:
        clock = next((v for k in _TIMES if isinstance(v := header.get(k), str)), "12:00:00")
    found = _CLOCK.match(clock.strip())
    hours = 12.0
    if found is not None:
        hours = int(found[1]) + int(found[2]) / 60 + float(found[3] or 0) / 3600
    if not (_YEARS[0] <= year <= _YEARS[1] and hours < 25):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of leap seconds to come
        try:
            at = Time(f"{year:04d}-{month:02d}-{number:02d}T00:00:00", scale="utc")
        except ValueError:
            return None
        return float(at.jyear) + hours / 24 / 365.25


def julian_years(values: npt.ArrayLike) -> Floats:
    """Return epochs given in years or as MJD or JD as Julian years, NaN for what is neither."""
    given = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        years = np.where((given >= _YEARS[0]) & (given <= _YEARS[1]), given, np.nan)
        days = np.where(given > 2.0e6, given - 2400000.5, given)
        made = 2000.0 + (days - 51544.5) / 365.25
        dated = (days > 10_000) & (made >= _YEARS[0]) & (made <= _YEARS[1])
    return np.where(dated, made, years)


def positions_at(
    ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, epoch: Floats, year: float
) -> tuple[Floats, Floats]:
    """Return positions at another epoch, moved along great circles.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Positions [deg, ICRS] at `epoch`.
    pmra, pmdec : ndarray of float64, shape (n,)
        Proper motions [mas/yr], that in right ascension times cos(dec); NaN: unknown.
    epoch : ndarray of float64, shape (n,)
        Julian years; NaN: unknown.
    year : float
        The epoch wanted, a Julian year.

    Returns
    -------
    ra, dec : ndarray of float64, shape (n,)
        Those with an unknown motion or epoch stay where they are. Parallax and the change of
        the motion with the star's distance are left out.
    """
    known = np.isfinite(pmra) & np.isfinite(pmdec) & np.isfinite(epoch)
    moved_ra, moved_dec = np.array(ra, dtype=np.float64), np.array(dec, dtype=np.float64)
    if not known.any():
        return moved_ra, moved_dec
    with warnings.catch_warnings():
        # ERFA says that stars without a parallax are put far away, which is meant.
        warnings.simplefilter("ignore")
        sky = SkyCoord(
            ra[known] * u.deg,
            dec[known] * u.deg,
            pm_ra_cosdec=pmra[known] * u.mas / u.yr,
            pm_dec=pmdec[known] * u.mas / u.yr,
            obstime=Time(epoch[known], format="jyear", scale="tdb"),
        )
        moved = sky.apply_space_motion(new_obstime=Time(year, format="jyear", scale="tdb"))
    moved_ra[known], moved_dec[known] = moved.ra.deg, moved.dec.deg
    return moved_ra, moved_dec
