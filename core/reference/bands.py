"""Filters of frames and magnitudes of catalogues, joined by their wavelengths."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "BANDS",
    "Band",
    "MagnitudeChoice",
    "band_of_column",
    "band_of_filter",
    "choose_magnitude",
    "filter_of",
]

#: Effective wavelengths of bands [nm]: SDSS and Pan-STARRS, Johnson-Cousins, Gaia, Tycho, 2MASS.
#: A camera without a filter is most sensitive near `clear`.
BANDS: Final[Mapping[str, float]] = {
    "u": 355, "g": 480, "r": 620, "i": 755, "z": 868, "y": 963,
    "U": 360, "B": 438, "V": 545, "R": 641, "I": 798, "J": 1235, "H": 1662, "K": 2159,
    "BP": 511, "Gaia G": 622, "RP": 777, "BT": 421, "VT": 534, "Hp": 502,
    "green": 530, "clear": 620,
}  # fmt: skip

#: Cards that name the filter, the likeliest first.
_FILTER_CARDS: Final = (
    "FILTER", "FILTNAM", "FILTERS", "FILTER1", "FILTER2", "FILTNAM1", "FILT", "FILTERID",
    "HIERARCH ESO INS FILT1 NAME", "ESO INS FILT1 NAME", "FPA.FILTER", "BAND",
)  # fmt: skip
_NO_FILTER: Final = frozenset(
    {
        "clear", "c", "l", "cl", "clr", "lum", "luminance", "none", "open", "empty", "air", "w",
        "white", "lp", "no_filter", "nofilter", "uv/ir_cut", "ir_cut", "ircut", "unfiltered",
        "clear1l", "clear2l", "clear1s", "clear2s",
    }
)  # fmt: skip
_COLOURS: Final[Mapping[str, str]] = {
    "red": "R", "green": "green", "blue": "B", "g": "green", "tg": "green", "tr": "R", "tb": "B",
}  # fmt: skip
_SURVEYS: Final = r"(?:sdss|sloan|ps1?|pan-?starrs\d?|decam|hsc|ztf|lsst|megacam|omegacam|atlas)"
_SLOAN: Final = re.compile(rf"(?:{_SURVEYS}[\s_.:-]*)?([ugrizy])(?:['pP2s]|_?s)?\Z")
#: The letter first, then what names the survey or the piece of glass: "r DECam SDSS c0002 6415.0".
_SLOAN_FIRST: Final = re.compile(r"([ugrizy])['p]?[\s_.]+\S.*\Z")
_LOUD_SURVEY: Final = re.compile(rf"{_SURVEYS}[\s_.:-]*([GRIZY])2?\Z", re.IGNORECASE)
_JOHNSON: Final = re.compile(
    r"(?:(?i:bessell?|johnson|cousins|kron-?cousins|harris|jc|kc)[\s_.:-]*)?"
    r"([UBVRI])(?:[cCjJ]|_[cCjJ]|[\s_.]+(?i:bessell?|johnson|cousins|harris)\S*.*)?\Z"
)
_INFRARED: Final = re.compile(r"(?:2mass[\s_-]*)?(Y|J|H|K)s?(?:_?prime|p)?\Z")
#: Narrow filters around emission lines [nm].
_LINES: Final[Mapping[str, float]] = {
    "ha": 656, "halpha": 656, "oiii": 501, "sii": 672, "nii": 658, "hb": 486, "hbeta": 486,
}  # fmt: skip
_WIDE: Final = re.compile(r"F(\d{3})(W|M|N|LP|X)\d?\Z")


@dataclass(frozen=True)
class Band:
    """A pass band.

    Parameters
    ----------
    name : str
        One of `BANDS`, or the filter's own name.
    wavelength_nm : float
        Effective wavelength [nm].
    """

    name: str
    wavelength_nm: float


def _band(name: str) -> Band:
    return Band(name, float(BANDS[name]))


def filter_of(header: Mapping[str, Any]) -> str:
    """Return the filter that a header names, empty without one; wheels at `clear` are passed by."""
    names = [
        value.strip()
        for card in _FILTER_CARDS
        if isinstance(value := header.get(card), str) and value.strip()
    ]
    return next((n for n in names if band_of_filter(n) not in (None, _band("clear"))),
                names[0] if names else "")  # fmt: skip


def band_of_filter(name: str) -> Band | None:
    """Return the band of a filter by the name that headers give it; None for an unknown one.

    Parameters
    ----------
    name : str
        Such as ``r``, ``SDSS r'``, ``r.MP9601``, ``HSC-R``, ``Bessell V``, ``Clear``, ``F606W``.
        Small letters are those of SDSS, capitals those of Johnson and Cousins; ``G`` is a
        camera's green.
    """
    word = name.strip()
    if word.lower().replace(" ", "_") in _NO_FILTER:
        return _band("clear")
    if word in {"BP", "RP"}:
        return _band(word)
    if re.fullmatch(r"gaia[\s_-]*g", word, re.IGNORECASE):
        return _band("Gaia G")
    if word.lower() in _COLOURS and word != "g":
        return _band(_COLOURS[word.lower()])
    for pattern in (_SLOAN, _SLOAN_FIRST):
        sloan = pattern.match(word) or pattern.match(re.sub(r"(?i)^" + _SURVEYS, "", word).strip())
        if sloan is not None:
            return _band(sloan[1])
    loud = _LOUD_SURVEY.match(word)
    if loud is not None:
        return _band(loud[1].lower())
    johnson = _JOHNSON.match(word)
    if johnson is not None:
        return _band(johnson[1])
    infrared = _INFRARED.match(word)
    if infrared is not None:
        return _band(infrared[1].replace("Y", "y"))
    line = _LINES.get(re.sub(r"[^a-z]", "", word.lower()))
    if line is not None:
        return Band(word, line)
    wide = _WIDE.match(word)
    if wide is not None:
        # Hubble's numbers are nm, above 1 µm and for Webb tens of nm.
        number = float(wide[1])
        return Band(word, number * 10 if number < 200 else number)
    return None


#: Names of magnitude columns by band, PSF magnitudes of a survey before others.
_COLUMNS: Final[tuple[tuple[re.Pattern[str], Mapping[str, str]], ...]] = tuple(
    (re.compile(pattern), names)
    for pattern, names in (
        (r"phot_(g|bp|rp)_mean_mag\Z", {"g": "Gaia G", "bp": "BP", "rp": "RP"}),
        (r"(G|BP|RP)mag\Z", {"G": "Gaia G", "BP": "BP", "RP": "RP"}),
        (r"([ugrizy])(?:MeanPSFMag|PSFMag|_?psfmag|_psfMag|_psf|psf)\Z", {}),
        (r"(?:psfmag|psf_mag|psfMag|mag_psf|wavg_mag_psf)_?([ugrizy])\Z", {}),
        (r"([ugrizy])'?_?mag\Z", {}),
        (r"(?:mag|m)_([ugrizy])\Z", {}),
        (r"([ugri])\Z", {}),  # y may be a row of pixels, and z a redshift
        (r"([ugrizy])(?:MeanKronMag|KronMag|_cModelMag|_auto)\Z", {}),
        (r"(?:modelMag|modelmag|cmodelmag|mag_auto|petromag)_?([ugrizy])\Z", {}),
        (r"(BT|VT|Hp)mag\Z", {}),
        (r"(?:johnson_mag_|mag_)?([UBVRI])c?_?(?:mag)?\Z", {}),
        (r"([JHK])s?(?:mag)?\Z", {}),
        (r"([jhk])_m\Z", {"j": "J", "h": "H", "k": "K"}),
    )
)


def band_of_column(name: str) -> Band | None:
    """Return the band of a catalogue's magnitude column; None if the name tells none.

    Case counts: VizieR's ``Gmag`` is Gaia's and ``gmag`` that of SDSS or Pan-STARRS.
    """
    for pattern, names in _COLUMNS:
        match = pattern.match(name)
        if match is not None:
            return _band(names.get(match[1], match[1]))
    return None


@dataclass(frozen=True)
class MagnitudeChoice:
    """The magnitude column of a reference catalogue that fits a frame.

    Parameters
    ----------
    column : str
        Its name in the table; empty if the table tells none.
    words : str
        The choice in words.
    """

    column: str
    words: str


def choose_magnitude(columns: Sequence[str], filter_name: str) -> MagnitudeChoice:
    """Return the magnitude whose band is nearest in wavelength to a frame's filter.

    Parameters
    ----------
    columns : sequence of str
        Of the reference table.
    filter_name : str
        Of the frame; empty if its header names none, which counts as no filter.
    """
    order = [pattern for pattern, _ in _COLUMNS]
    known = [(name, band) for name in columns if (band := band_of_column(name)) is not None]
    wanted = band_of_filter(filter_name) if filter_name else _band("clear")
    if wanted is None:
        wanted, frame = _band("clear"), f"filter {filter_name!r} is not known"
    else:
        frame = f"filter {filter_name}" if filter_name else "the header names no filter"
    if not known:
        return MagnitudeChoice("", frame)
    target = wanted

    def rank(one: tuple[str, Band]) -> tuple[bool, float, int]:
        name, band = one
        kind = next(k for k, pattern in enumerate(order) if pattern.match(name))
        return band.name != target.name, abs(band.wavelength_nm - target.wavelength_nm), kind

    column, band = min(known, key=rank)
    return MagnitudeChoice(column, f"{column} ({band.name} band; {frame})")
