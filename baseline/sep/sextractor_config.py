"""Translate SExtractor's settings to those of SEP, and list those that SEP lacks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from skyduel.baseline.sextractor_files import locate, read_conv, read_param, read_sex
from skyduel.core.errors import BadInputError

__all__ = ["from_sextractor", "with_config"]

_NUMBERS: Final = (
    "DETECT_THRESH",
    "DEBLEND_MINCONT",
    "CLEAN_PARAM",
    "PHOT_APERTURES",
)
_INTEGERS: Final = (
    "DETECT_MINAREA",
    "DEBLEND_NTHRESH",
    "BACK_SIZE",
    "BACK_FILTERSIZE",
    "MEMORY_PIXSTACK",
)
_SWITCHES: Final = ("FILTER", "CLEAN")
# Compiled into the program, used where a file leaves a keyword out.
_COMPILED: Final[Mapping[str, tuple[str, ...]]] = {
    "DETECT_MINAREA": ("5",),
    "DETECT_THRESH": ("1.5",),
    "FILTER": ("Y",),
    "FILTER_NAME": ("default.conv",),
    "MASK_TYPE": ("CORRECT",),
    "PARAMETERS_NAME": ("default.param",),
}
# Keyword, the values that change nothing, and what SEP lacks.
_FIXED: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("DETECT_TYPE", ("CCD",), "photographic density is taken for linear"),
    ("DETECT_MAXAREA", ("0",), "no largest area"),
    ("BACK_TYPE", ("AUTO",), "the background is always estimated"),
    ("BACK_FILTTHRESH", ("0", "0.0"), "no threshold of the background's filter"),
    ("BACKPHOTO_TYPE", ("GLOBAL",), "no local background in photometry"),
    ("WEIGHT_TYPE", ("NONE",), "no weight map: one noise for the frame, masked pixels left out"),
    ("FLAG_IMAGE", ("flag.fits",), "no external flags; hand in a mask with the frame"),
    ("INTERP_TYPE", ("NONE", "ALL"), "no other interpolation over masked pixels than none"),
    ("PHOT_AUTOAPERS", ("0", "0.0"), "no least apertures in FLUX_AUTO"),
    ("PATTERN_TYPE", ("NONE", "RINGS-HARMONIC"), "no detector patterns"),
)
# Fluxes by preference of what a catalogue reports once.
_FLUXES: Final = (("auto", "AUTO"), ("aper", "APER"), ("iso", "ISO"))
# Columns whose content the catalogue has, under this project's names.
_KNOWN_COLUMNS: Final[frozenset[str]] = frozenset(
    """
    NUMBER EXT_NUMBER FLUX_AUTO FLUXERR_AUTO MAG_AUTO MAGERR_AUTO FLUX_ISO FLUXERR_ISO
    MAG_ISO MAGERR_ISO FLUX_APER FLUXERR_APER MAG_APER MAGERR_APER X_IMAGE Y_IMAGE
    X_IMAGE_DBL Y_IMAGE_DBL XWIN_IMAGE YWIN_IMAGE X_WORLD Y_WORLD ALPHA_J2000 DELTA_J2000
    ALPHA_SKY DELTA_SKY ALPHAWIN_J2000 DELTAWIN_J2000 ALPHAWIN_SKY DELTAWIN_SKY FLAGS
    THETA_IMAGE
    """.split()  # noqa: SIM905 - eighty quoted names read worse
)


def from_sextractor(path: str | os.PathLike[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Translate a ``.sex`` file to settings of SEP, and list what they do not reproduce.

    Parameters
    ----------
    path : path
        The filter (FILTER_NAME) and the list of columns (PARAMETERS_NAME) are
        searched for beside it, then in the working folder. If a file with one of the
        program's default names is missing, ``default.conv`` as shipped and FLUX_AUTO
        are used.

    Returns
    -------
    settings : dict
        For `SepSettings`. A keyword that the file leaves out has the
        program's compiled default (DETECT_MINAREA 5).
    not_reproduced : tuple of str
        One line for each thing that the program would do and SEP does not.
        Keywords about output, memory and the star/galaxy network change no
        detection and are not among them; gain, saturation level and zero-point
        are the frame's, as they are in the program where the header has them.

    Raises
    ------
    BadInputError
        If a file cannot be read, a value does not fit its keyword, or the threshold is
        not in units of the noise, which SEP could not reproduce at all.
    """
    file = Path(path)
    given = read_sex(file)
    values = {**_COMPILED, **given}
    source = str(path)
    settings: dict[str, Any] = {"thresholding": "convolved"}
    lacking: list[str] = []

    if _word(values, "THRESH_TYPE", "RELATIVE") != "RELATIVE" or len(values["DETECT_THRESH"]) > 1:
        raise BadInputError(
            f"{source}: DETECT_THRESH",
            "one threshold in units of the noise (THRESH_TYPE RELATIVE)",
            " ".join((*values.get("THRESH_TYPE", ()), *values["DETECT_THRESH"])),
        )
    for key in (*_NUMBERS, *_INTEGERS):
        if key in values:
            numbers = [_number(source, key, text) for text in values[key]]
            settings[key] = int(numbers[0]) if key in _INTEGERS else numbers[0]
            if key in _INTEGERS and numbers[0] != settings[key]:
                raise BadInputError(f"{source}: {key}", "a whole number", values[key][0])
            if any(number != numbers[0] for number in numbers):
                lacking.append(f"{key} {', '.join(values[key])}: only {values[key][0]} is used")
    for key in _SWITCHES:
        if key in values:
            settings[key] = _switch(source, key, values[key][0])
    if "PHOT_AUTOPARAMS" in values:
        if len(values["PHOT_AUTOPARAMS"]) != 2:
            raise BadInputError(
                f"{source}: PHOT_AUTOPARAMS", "two numbers", ", ".join(values["PHOT_AUTOPARAMS"])
            )
        settings["PHOT_AUTOPARAMS"] = tuple(
            _number(source, "PHOT_AUTOPARAMS", text) for text in values["PHOT_AUTOPARAMS"]
        )
    settings["MASK_TYPE"] = _word(values, "MASK_TYPE", "CORRECT")
    if settings["MASK_TYPE"] == "BLANK":
        settings["MASK_TYPE"] = "CORRECT"
        lacking.append("MASK_TYPE BLANK: neighbours' pixels get a mean (CORRECT), not 0")
    lacking += _differences(given, settings["DETECT_THRESH"], source)
    if settings.get("FILTER", True):
        lacking += _filter(settings, values["FILTER_NAME"][0], file, source, given)
    lacking += _columns(settings, values["PARAMETERS_NAME"][0], file, source, given)
    return settings, tuple(lacking)


def with_config(detector: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with those of the file named by ``config``.

    Parameters
    ----------
    detector : str
        For messages.
    settings : mapping
        Values of `SepSettings`. Values given beside ``config`` override the file's.

    Raises
    ------
    BadInputError
        As `from_sextractor`, or if ``config`` is not a path.
    """
    config = settings.get("config")
    if config is None:
        return dict(settings)
    if not isinstance(config, str | os.PathLike):
        raise BadInputError(f"{detector}: config", "a .sex file's path", repr(config))
    read, lacking = from_sextractor(config)
    return {**read, "not_reproduced": lacking, **settings}


def _differences(given: Mapping[str, Sequence[str]], thresh: float, source: str) -> list[str]:
    """List the requests of a file that SEP cannot fulfil, by keyword."""
    lines = []
    for key, neutral, lack in _FIXED:
        words = given.get(key)
        if words is not None and not {word.upper() for word in words} <= {
            word.upper() for word in neutral
        }:
            lines.append(f"{key} {', '.join(words)}: {lack}")
    analysis = given.get("ANALYSIS_THRESH")
    if analysis and (
        len(analysis) > 1 or _number(source, "ANALYSIS_THRESH", analysis[0]) != thresh
    ):
        lines.append(
            f"ANALYSIS_THRESH {', '.join(analysis)}: shapes are measured above DETECT_THRESH"
        )
    if "FILTER_THRESH" in given:
        lines.append(
            f"FILTER_THRESH {', '.join(given['FILTER_THRESH'])}: the whole image is filtered"
        )
    return lines


def _filter(
    settings: dict[str, Any],
    name: str,
    file: Path,
    source: str,
    given: Mapping[str, Sequence[str]],
) -> list[str]:
    """Put the filter into the settings and list what SEP cannot reproduce of it."""
    try:
        found = locate(name, file.parent, f"{source}: FILTER_NAME")
    except BadInputError:
        if name != "default.conv":
            raise
        settings["kernel"] = "default"
        return []
    kernel = read_conv(found)
    settings |= {"kernel": "file", "kernel_values": kernel.values}
    size = sum(abs(value) for row in kernel.values for value in row)
    if kernel.normalised or abs(size - 1.0) < 1e-3:
        return []
    return [f"FILTER_NAME {name}: NONORM; SEP divides a filter by the sum of its values ({size:g})"]


def _columns(
    settings: dict[str, Any],
    name: str,
    file: Path,
    source: str,
    given: Mapping[str, Sequence[str]],
) -> list[str]:
    """Choose the flux by the list of columns and list the columns that are left out."""
    try:
        columns = read_param(locate(name, file.parent, f"{source}: PARAMETERS_NAME"))
    except BadInputError:
        if "PARAMETERS_NAME" in given and name != "default.param":
            raise
        return []
    bare = [column.partition("(")[0] for column in columns]
    for flux, suffix in _FLUXES:
        if f"FLUX_{suffix}" in bare or f"MAG_{suffix}" in bare:
            settings["flux"] = flux
            break
    reported = settings.get("flux", "auto").upper()
    left = [
        column
        for column, plain in zip(columns, bare, strict=True)
        if plain not in _KNOWN_COLUMNS
        or (plain.startswith(("FLUX", "MAG")) and not plain.endswith(f"_{reported}"))
    ]
    return [f"columns {', '.join(left)}: not in the catalogue"] if left else []


def _word(values: Mapping[str, Sequence[str]], key: str, default: str) -> str:
    return values.get(key, (default,))[0].upper()


def _switch(source: str, key: str, text: str) -> bool:
    if text.upper() not in {"Y", "N"}:
        raise BadInputError(f"{source}: {key}", "Y or N", repr(text[:40]))
    return text.upper() == "Y"


def _number(source: str, key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e30:
        raise BadInputError(f"{source}: {key}", "a number", repr(text[:40]))
    return number
