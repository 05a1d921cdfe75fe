"""Read SExtractor's files: ``.sex`` settings, ``.conv`` filters and ``.param`` lists."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from skyduel.core.errors import BadInputError
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.settings import nearest

__all__ = ["KEYWORDS", "ConvFilter", "locate", "read_conv", "read_param", "read_sex"]

#: Every keyword of Source Extractor 2.25 (``source-extractor -dd``).
KEYWORDS: Final[frozenset[str]] = frozenset(
    """
    ANALYSIS_THRESH ASSOCCOORD_TYPE ASSOCSELEC_TYPE ASSOC_DATA ASSOC_NAME ASSOC_PARAMS
    ASSOC_RADIUS ASSOC_TYPE BACKPHOTO_THICK BACKPHOTO_TYPE BACK_FILTERSIZE BACK_FILTTHRESH
    BACK_SIZE BACK_TYPE BACK_VALUE CATALOG_NAME CATALOG_TYPE CHECKIMAGE_NAME CHECKIMAGE_TYPE
    CLEAN CLEAN_PARAM DEBLEND_MINCONT DEBLEND_NTHRESH DETECT_MAXAREA DETECT_MINAREA
    DETECT_THRESH DETECT_TYPE DGEO_IMAGE DGEO_TYPE FILTER FILTER_NAME FILTER_THRESH
    FITS_UNSIGNED FLAG_IMAGE FLAG_TYPE GAIN GAIN_KEY HEADER_SUFFIX INTERP_MAXXLAG
    INTERP_MAXYLAG INTERP_TYPE MAG_GAMMA MAG_ZEROPOINT MASK_TYPE MEMORY_BUFSIZE
    MEMORY_OBJSTACK MEMORY_PIXSTACK NTHREADS PARAMETERS_NAME PATTERN_TYPE PHOT_APERTURES
    PHOT_AUTOAPERS PHOT_AUTOPARAMS PHOT_FLUXFRAC PHOT_PETROPARAMS PIXEL_SCALE PSF_NAME
    PSF_NMAX RESCALE_WEIGHTS SATUR_KEY SATUR_LEVEL SEEING_FWHM SOM_NAME STARNNW_NAME
    THRESH_TYPE VERBOSE_TYPE WEIGHT_GAIN WEIGHT_IMAGE WEIGHT_THRESH WEIGHT_TYPE WRITE_XML
    XML_NAME XSL_URL
    """.split()  # noqa: SIM905 - eighty quoted names read worse
)

# A settings file of more is none; a filter of more would take longer than anybody waits.
_MOST_BYTES: Final = 1 << 20
_LARGEST_SIDE: Final = 63
# What separates words in SExtractor's files.
_BETWEEN: Final = re.compile(r"[\s=,\"]+")


@dataclass(frozen=True)
class ConvFilter:
    """A detection filter from its file.

    Parameters
    ----------
    values : tuple of tuple of float
        Rows, the first is the lowest.
    normalised : bool
        True if the program divides it by its sum (``CONV NORM``).
    """

    values: tuple[tuple[float, ...], ...]
    normalised: bool


def read_sex(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Read the settings in a ``.sex`` file: keyword to its values as text.

    Parameters
    ----------
    path : path
        Lines ``KEYWORD value[, value ...]``; ``#`` begins a comment. As in
        the program, keywords are not case-sensitive, the last of two values
        counts, and a value does not continue on the next line.

    Raises
    ------
    BadInputError
        If the file is missing, binary or too large, a keyword is unknown (the
        nearest is suggested), or has no value.
    """
    settings: dict[str, tuple[str, ...]] = {}
    for number, line in _lines(path, "SExtractor settings"):
        key, *values = line
        name = key.upper()
        where = f"{path}, line {number}"
        if name not in KEYWORDS:
            close = nearest(name, KEYWORDS)
            hint = f"; did you mean {close}?" if close else ""
            raise BadInputError(where, "one of SExtractor's keywords", f"{key[:40]!r}{hint}")
        if not values:
            raise BadInputError(where, f"a value of {name}", "none")
        settings[name] = tuple(values)
    return settings


def read_conv(path: str | os.PathLike[str]) -> ConvFilter:
    """Read the filter in a ``.conv`` file.

    Raises
    ------
    BadInputError
        If the file does not begin with ``CONV NORM`` or ``CONV NONORM``, is not
        a rectangle of finite numbers, is larger than 63 by 63, or is 0 all over.
    """
    source = str(path)
    lines = [line for _, line in _lines(path, "a convolution filter")]
    head = tuple(word.upper() for word in lines[0]) if lines else ()
    if head not in {("CONV",), ("CONV", "NORM"), ("CONV", "NONORM")}:
        raise BadInputError(
            source,
            "a first line CONV NORM or CONV NONORM (neural filters are not read)",
            repr(" ".join(lines[0])[:40]) if lines else "no line",
        )
    rows: list[tuple[float, ...]] = []
    for line in lines[1:]:
        try:
            row = tuple(float(word) for word in line)
        except ValueError as error:
            raise BadInputError(source, "rows of numbers", str(error)[:80]) from error
        if not np.isfinite(row).all() or np.abs(row).max() > 1e30:
            raise BadInputError(source, "finite numbers below 1e30", " ".join(line)[:80])
        rows.append(row)
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        got = "no row" if not rows else f"rows of {', '.join(map(str, sorted(widths)))}"
        raise BadInputError(source, "rows of one length", got)
    if len(rows) > _LARGEST_SIDE or max(widths) > _LARGEST_SIDE:
        got = f"{len(rows)} rows of {max(widths)}"
        raise BadInputError(source, f"a filter of at most {_LARGEST_SIDE} px", got)
    if not np.any(rows):
        raise BadInputError(source, "a filter that is not 0 all over", f"{len(rows)} rows of 0")
    return ConvFilter(tuple(rows), normalised=head != ("CONV", "NONORM"))


def read_param(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of the columns in a ``.param`` file, in its order, each once.

    A vector keeps its length: ``FLUX_APER(3)``.

    Raises
    ------
    BadInputError
        If the file is missing or a line is no column's name.
    """
    names: dict[str, None] = {}
    for number, line in _lines(path, "a list of columns"):
        # The two lengths of a vector may have been split: VIGNET(35,35).
        name = ("," if "(" in line[0] else " ").join(line).upper()
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*(\([0-9]{1,6}(,[0-9]{1,6})?\))?", name):
            raise BadInputError(
                f"{path}, line {number}", "one column's name a line", repr(name[:40])
            )
        names[name] = None
    return tuple(names)


def locate(name: str, beside: Path, source: str) -> Path:
    """Find a file that a ``.sex`` file names: beside it, then in the working folder.

    ``$NAME`` is replaced from the environment, as the program does.

    Raises
    ------
    BadInputError
        If there is none.
    """
    expanded = Path(os.path.expandvars(name))
    with suppress(OSError, ValueError):  # a name that no file can have
        for place in (beside / expanded, expanded):
            if place.is_file():
                return place.resolve()
    raise BadInputError(source, f"the file {name[:80]!r} that it names", f"none in {beside}")


def _lines(path: str | os.PathLike[str], what: str) -> list[tuple[int, list[str]]]:
    """Return the numbered lines of a text file in words, without comments and empty ones."""
    file = existing_file(path)
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadInputError(str(path), f"{what} of at most 1 MiB", "a larger file")
    if b"\x00" in content:
        raise BadInputError(str(path), f"{what} as text", "a binary file")
    text = content.decode("utf-8-sig", errors="replace")
    split = (
        (number, [w for w in _BETWEEN.split(line.partition("#")[0]) if w])
        for number, line in enumerate(text.splitlines(), start=1)
    )
    return [(number, words) for number, words in split if words]
