"""The detector ``source-extractor``: runs the SExtractor program."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.table import Table
from pydantic import ConfigDict, Field

from skyduel.baseline.errors import DetectionError
from skyduel.baseline.filters import peak_snr, resolve_fwhm, snr_map
from skyduel.baseline.sextractor_files import KEYWORDS, locate, read_param, read_sex
from skyduel.baseline.shapes import find_streaks, kind_columns
from skyduel.core.catalog import SCHEMA, Catalog
from skyduel.core.errors import BadInputError, one_line
from skyduel.core.frame import Frame
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.measure.background import estimate_background
from skyduel.core.settings import Settings, build_settings, nearest

__all__ = ["PROGRAMS", "SExtractor", "SExtractorSettings", "source_extractor"]

#: Names under which the program is installed, in the order they are looked for.
PROGRAMS: Final = ("source-extractor", "sex", "sextractor")

_SOURCE: Final = "detector source-extractor"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# The ``default.sex`` that the program is shipped with where it differs from the one
# compiled into it, which applies to everything else.
_SHIPPED: Final[Mapping[str, str]] = {"DETECT_MINAREA": "3"}
_DEFAULT_CONV: Final = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"
# Keywords that this module needs and that override the settings.
_OURS: Final[Mapping[str, str]] = {
    "CATALOG_NAME": "found.fits",
    "CATALOG_TYPE": "FITS_LDAC",
    "PARAMETERS_NAME": "used.param",
    "CHECKIMAGE_TYPE": "NONE",
    "VERBOSE_TYPE": "NORMAL",
    "WRITE_XML": "N",
    "HEADER_SUFFIX": ".none",
}
_COLUMNS: Final = (
    "X_IMAGE_DBL",
    "Y_IMAGE_DBL",
    "XWIN_IMAGE",
    "YWIN_IMAGE",
    "FLAGS_WIN",
    "XPEAK_IMAGE",
    "YPEAK_IMAGE",
    "A_IMAGE",
    "B_IMAGE",
    "THETA_IMAGE",
    "FLUX_MAX",
    "THRESHOLD",
    "SNR_WIN",
    "FLAGS",
)
# Keywords that name files for the program to read.
_FILES: Final = ("FILTER_NAME", "STARNNW_NAME", "PSF_NAME", "SOM_NAME", "ASSOC_NAME")
# Keywords that name images of one frame.
_PER_FRAME: Final = ("WEIGHT_IMAGE", "FLAG_IMAGE", "DGEO_IMAGE")
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class SExtractorSettings(Settings):
    """Settings of the detector ``source-extractor``.

    Parameters
    ----------
    executable : str or None
        The program's name or path; None looks for `PROGRAMS`.
    config : Path or None
        A ``.sex`` file; the files that it names are looked for beside it, then
        in the working folder. None: the ``default.sex`` of the program's
        package, which differs from what is compiled in by DETECT_MINAREA 3.
    parameters : dict of str to str
        Every keyword given to the program, that file's and those set by hand;
        the rest has the program's own defaults.
    columns : tuple of str
        Columns kept beside the schema's, from the ``.param`` file.
    files : dict of str to str
        SHA-256 of the files that keywords name.
    flux : {"auto", "iso", "aper"}
        Which flux is reported; ``aper`` the first of PHOT_APERTURES.
    score : {"peak_snr", "snr_win", "flux_max"}
        The confidence. ``peak_snr``: this project's matched-filter
        signal-to-noise at the program's position, the same as for SEP;
        ``snr_win``: SNR_WIN; ``flux_max``: FLUX_MAX over the noise that
        THRESHOLD is DETECT_THRESH times of, the brightest unfiltered pixel.
    kernel_fwhm_px : float or None
        FWHM for ``peak_snr`` [px]; None takes the frame's, or 2.5 px.
    streak_elongation, streak_length_fwhm : float
        As in `skyduel.baseline.sep.settings.SepSettings`.
    timeout_s : float
        Longest time for one frame [s].
    score_threshold : float or None
        The default operating point; None: every row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    executable: Annotated[str, Field(min_length=1)] | None = None
    config: Path | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    columns: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    flux: Literal["auto", "iso", "aper"] = "auto"
    score: Literal["peak_snr", "snr_win", "flux_max"] = "peak_snr"
    kernel_fwhm_px: Positive | None = None
    streak_elongation: Annotated[float, Field(ge=1)] = 3.0
    streak_length_fwhm: Positive = 3.0
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    score_threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class SExtractor:
    """Run the SExtractor program on a frame.

    Parameters
    ----------
    settings : SExtractorSettings
        Everything that can be chosen.
    program : str
        Path of the program.
    program_version : str
        The version that it states.
    name : str
        Name shown in tables and figures.

    Notes
    -----
    The frame goes to the program as a FITS file of float32 with its gain and
    saturation level in the header, where they override the settings, as in any
    frame. Masked pixels, if there are any, have weight 0 in a map of ones
    (WEIGHT_TYPE MAP_WEIGHT), and the program interpolates over them.
    """

    settings: SExtractorSettings
    program: str
    program_version: str
    name: str = "source-extractor"

    def __call__(self, frame: Frame) -> Catalog:
        """Return the detections of the program on one frame.

        Parameters
        ----------
        frame : Frame
            Left unchanged.

        Returns
        -------
        Catalog
            In the program's order. ``x``, ``y`` are XWIN_IMAGE, YWIN_IMAGE for
            points whose window converged within a FWHM, the barycentre
            otherwise and for streaks; 0-based px. ``flags`` are FLAGS.
            ``kind``, ``length`` and ``theta`` follow from A_IMAGE, B_IMAGE and
            THETA_IMAGE as for SEP. Warnings of the program are in the table's
            meta.

        Raises
        ------
        DetectionError
            If the program fails, is stopped by a signal, takes too long, or
            leaves no readable catalogue.
        """
        with TemporaryDirectory(prefix="skyduel-") as place:
            folder = Path(place)
            self._write_input(frame, folder)
            warned = self._run(frame.name, folder)
            rows = _read(frame.name, folder / _OURS["CATALOG_NAME"])
        return self._catalog(frame, rows, warned)

    def _write_input(self, frame: Frame, folder: Path) -> None:
        """Write the frame, its weights and the files of settings."""
        given = self.settings.parameters
        header = fits.Header()
        for key, default, value in (
            ("GAIN_KEY", "GAIN", frame.gain),
            ("SATUR_KEY", "SATURATE", frame.saturation),
        ):
            if value is not None:
                header[given.get(key, default)] = float(value)
        fits.writeto(folder / "image.fits", frame.data, header)
        words = {**given, **_OURS}
        if "FILTER_NAME" not in words:
            (folder / "default.conv").write_text(_DEFAULT_CONV)
            words["FILTER_NAME"] = "default.conv"
        if frame.bad.any():
            fits.writeto(folder / "weight.fits", (~frame.bad).astype(np.float32))
            words |= {"WEIGHT_TYPE": "MAP_WEIGHT", "WEIGHT_IMAGE": "weight.fits"}
            words["WEIGHT_GAIN"] = "N"  # weights say which pixels are dead, not their exposure
        lines = [f"{key} {value}" for key, value in words.items()]
        (folder / "used.sex").write_text("\n".join(lines) + "\n")
        wanted = dict.fromkeys((*_COLUMNS, *_flux_columns(self.settings), *self.settings.columns))
        (folder / "used.param").write_text("\n".join(wanted) + "\n")

    def _run(self, frame: str, folder: Path) -> tuple[str, ...]:
        """Run the program and return its warnings, each once."""
        try:
            done = subprocess.run(
                [self.program, "image.fits", "-c", "used.sex"],
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self.settings.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DetectionError(
                frame, f"{Path(self.program).name} took more than {self.settings.timeout_s:g} s"
            ) from error
        except OSError as error:
            raise DetectionError(frame, f"{self.program} does not start: {error}") from error
        said = _lines(done.stderr)
        if done.returncode < 0:
            raise DetectionError(
                frame, f"{Path(self.program).name} was stopped by signal {-done.returncode}"
            )
        if done.returncode:
            reason = _first_error(said)
            raise DetectionError(
                frame, f"{Path(self.program).name} exit status {done.returncode}: {reason}"
            )
        return tuple(dict.fromkeys(line for line in said if line.startswith("WARNING")))

    def _catalog(self, frame: Frame, rows: Table, warned: tuple[str, ...]) -> Catalog:
        """Convert the program's rows to the catalogue schema."""
        chosen = self.settings
        fwhm = resolve_fwhm(frame, chosen.kernel_fwhm_px)
        meta = {
            "detector": self.name,
            "program_version": self.program_version,
            "warnings": "; ".join(warned[:5]),
        }
        if not len(rows):
            return Catalog.build(source=self.name, meta=meta, x=np.zeros(0), y=np.zeros(0))
        a, b = _floats(rows, "A_IMAGE"), _floats(rows, "B_IMAGE")
        flags = np.asarray(rows["FLAGS"], dtype=np.int64)
        # SExtractor counts pixels from 1.
        x, y = _floats(rows, "X_IMAGE_DBL") - 1.0, _floats(rows, "Y_IMAGE_DBL") - 1.0
        xwin, ywin = _floats(rows, "XWIN_IMAGE") - 1.0, _floats(rows, "YWIN_IMAGE") - 1.0
        peak = _floats(rows, "XPEAK_IMAGE") - 1.0, _floats(rows, "YPEAK_IMAGE") - 1.0
        snr = _peak_snr(frame, fwhm, (x, y), peak)
        streak = find_streaks(a, b, snr, (flags & ~1) == 0, fwhm=fwhm, limits=chosen)
        windowed = (np.asarray(rows["FLAGS_WIN"]) == 0) & (np.hypot(xwin - x, ywin - y) <= fwhm)
        windowed &= ~streak
        flux_name, error_name = _flux_columns(chosen)
        flux = _floats(rows, flux_name)
        found = Catalog.build(
            source=self.name,
            meta=meta,
            x=np.where(windowed, xwin, x),
            y=np.where(windowed, ywin, y),
            flux=flux,
            flux_err=_floats(rows, error_name),
            mag=flux_to_mag(flux, self._zero_point(frame)),
            score=_score(chosen, rows, snr),
            **kind_columns(a, b, np.deg2rad(_floats(rows, "THETA_IMAGE")), streak),
            flags=flags,
        )
        table = found.table
        for name in (column.partition("(")[0] for column in chosen.columns):
            if name in rows.colnames and name.lower() not in SCHEMA:
                values = np.asarray(rows[name])
                table[name] = values.astype(values.dtype.newbyteorder("="))
        return Catalog(table, self.name)

    def _zero_point(self, frame: Frame) -> float | None:
        """Return the frame's zero-point, else the one that was set for the program."""
        if frame.zero_point is not None:
            return frame.zero_point
        given = self.settings.parameters.get("MAG_ZEROPOINT")
        return None if given is None else float(given)


def source_extractor(**settings: Any) -> SExtractor:
    """Return ``source-extractor``: the SExtractor program with its shipped settings.

    Parameters
    ----------
    **settings
        Fields of `SExtractorSettings`, and any keyword of the program
        (``DETECT_THRESH=1.2``), which overrides that of ``config``.

    Raises
    ------
    BadInputError
        If the program is not installed, a setting is unknown or not allowed,
        or a file cannot be read.
    """
    keywords = {k: v for k, v in settings.items() if k.upper() in KEYWORDS}
    rest = {k: v for k, v in settings.items() if k not in keywords}
    for key in rest:
        if key not in SExtractorSettings.model_fields:
            close = nearest(key, [*SExtractorSettings.model_fields, *KEYWORDS])
            hint = f"; did you mean {close}?" if close else ""
            raise BadInputError(
                _SOURCE,
                f"a setting among {', '.join(SExtractorSettings.model_fields)} or one of "
                "SExtractor's keywords",
                f"{key!r}{hint}",
            )
    chosen = build_settings(SExtractorSettings, _SOURCE, rest)
    program = _find(chosen.executable)
    return SExtractor(_resolved(chosen, keywords), program, _version(program))


# -- settings --------------------------------------------------------------------------


def _resolved(chosen: SExtractorSettings, keywords: Mapping[str, Any]) -> SExtractorSettings:
    """Return the settings with the files that they name located and hashed."""
    given: dict[str, str] = {}
    folder = Path()
    if chosen.config is None:
        given |= _SHIPPED
    else:
        folder = chosen.config.parent
        given |= {key: ", ".join(values) for key, values in read_sex(chosen.config).items()}
        # The keywords of the shipped file that name a frame's own images mean nothing here.
        if given.get("WEIGHT_TYPE", "NONE").upper() in {"NONE", "BACKGROUND"}:
            given.pop("WEIGHT_IMAGE", None)
        if given.get("FLAG_IMAGE") == "flag.fits":
            del given["FLAG_IMAGE"]
    given |= {key.upper(): value for key, value in chosen.parameters.items()}
    given |= {key.upper(): _text(key, value) for key, value in keywords.items()}
    for key, value in given.items():
        if key not in KEYWORDS or not value.strip() or "\n" in value:
            raise BadInputError(
                _SOURCE, "SExtractor's keywords, each with a value", f"{key}={value!r}"
            )
    for key in _PER_FRAME:
        if key in given:
            raise BadInputError(
                f"{_SOURCE}: {key}", "a weight or mask handed in with each frame", given[key]
            )
    columns: tuple[str, ...] = ()
    name = given.pop("PARAMETERS_NAME", None)
    if name is not None:
        columns = read_param(locate(name, folder, f"{_SOURCE}: PARAMETERS_NAME"))
    needed = {"FILTER_NAME"} if given.get("FILTER", "Y").upper() != "N" else set()
    if any(column.startswith("CLASS_STAR") for column in columns):
        needed.add("STARNNW_NAME")
    if any("PSF" in column or "MODEL" in column for column in columns):
        needed.add("PSF_NAME")
    if any("ASSOC" in column for column in columns):
        needed.add("ASSOC_NAME")
    files: dict[str, str] = {}
    for key in _FILES:
        if key in given and key in needed:
            found = locate(given[key], folder, f"{_SOURCE}: {key}")
            given[key] = str(found)
            files[key] = hashlib.sha256(found.read_bytes()).hexdigest()
        else:
            given.pop(key, None)
    ours = {k: v for k, v in given.items() if k not in _OURS}
    return chosen.model_copy(update={"parameters": ours, "columns": columns, "files": files})


def _text(key: str, value: Any) -> str:
    """Return a keyword's value as the program reads it."""
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, list | tuple):
        return ", ".join(_text(key, part) for part in value)
    if isinstance(value, int | float | str):
        return str(value)
    raise BadInputError(f"{_SOURCE}: {key}", "a number, a word or a list of them", repr(value))


def _find(executable: str | None) -> str:
    """Return the program's path."""
    for name in PROGRAMS if executable is None else (executable,):
        found = shutil.which(name)
        if found is not None:
            return str(Path(found).absolute())
    raise BadInputError(
        _SOURCE,
        "the SExtractor program (on Debian and Ubuntu: apt install source-extractor)",
        f"no {' or '.join(PROGRAMS) if executable is None else executable} that can be run",
    )


def _version(program: str) -> str:
    """Return the version that the program states."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInputError(_SOURCE, f"{program} to state its version", str(error)) from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    match = re.search(r"version\s+(\d+(?:\.\d+)*)", said, re.IGNORECASE)
    if match is None:
        got = " ".join(said.split())[:80] or "nothing"
        raise BadInputError(_SOURCE, f"{program} to be SExtractor and state its version", got)
    return match[1]


def _flux_columns(chosen: SExtractorSettings) -> tuple[str, str]:
    suffix = chosen.flux.upper()
    return f"FLUX_{suffix}", f"FLUXERR_{suffix}"


# -- the output of the program -------------------------------------------------------------


def _lines(stderr: bytes) -> list[str]:
    """Return the lines of the program's output, without cursor movements and marks."""
    text = _ESCAPES.sub("\n", stderr.decode("utf-8", "replace"))
    return [line for raw in text.splitlines() if (line := raw.strip(" >\t\r"))]


def _first_error(said: list[str]) -> str:
    """Return the first line about an error, or else the last line."""
    for line in said:
        if "error" in line.lower():
            return re.sub(r"^\*?error\*?:?\s*", "", line, flags=re.IGNORECASE)[:200] or line
    return said[-1][:200] if said else "it said nothing"


def _read(frame: str, path: Path) -> Table:
    """Return the objects in the program's catalogue."""
    try:
        with fits.open(path, memmap=False) as hdus:
            return Table.read(hdus["LDAC_OBJECTS"]) if "LDAC_OBJECTS" in hdus else Table()
    except Exception as error:  # astropy raises a dozen types on damaged files
        raise DetectionError(
            frame, f"the program left no readable catalogue: {one_line(error)}"
        ) from error


def _floats(rows: Table, name: str) -> npt.NDArray[np.float64]:
    """Return a column, the first value of a vector, shape (n,)."""
    values = np.asarray(rows[name], dtype=np.float64)
    return values if values.ndim == 1 else values.reshape(len(rows), -1)[:, 0]


def _peak_snr(
    frame: Frame, fwhm: float, *positions: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """Return the largest matched-filter signal-to-noise near any of the positions, shape (n,)."""
    background = estimate_background(frame)
    level = frame.data.astype(np.float64) - background.level
    snr = snr_map(level, background.rms, frame.bad, fwhm)
    return np.asarray(np.maximum.reduce([peak_snr(snr, x, y) for x, y in positions]))


def _score(
    chosen: SExtractorSettings, rows: Table, snr: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    if chosen.score == "snr_win":
        return _floats(rows, "SNR_WIN")
    if chosen.score == "flux_max":
        first = chosen.parameters.get("DETECT_THRESH", "1.5").partition(",")[0]
        return _floats(rows, "FLUX_MAX") * float(first) / _floats(rows, "THRESHOLD")
    return snr
