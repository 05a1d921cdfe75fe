"""A score map: how much less a detector's scores promise on one telescope, kept as a file."""

from __future__ import annotations

import tomllib
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from skyduel.core.catalog import Catalog
from skyduel.core.errors import PATH, BadInputError, one_line, takes
from skyduel.core.io.atomic_files import atomic_path, existing_file
from skyduel.core.settings import settings_error, toml_value

__all__ = ["ScoreMap", "ScoreMapSetting", "read_score_map", "write_score_map"]

#: Name of the format, in the file.
_FORMAT: Final = "skyduel-score-map-1"
_HEAD: Final = "# Written by skyduel truth-free, for the setting score_map of the detector.\n"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class ScoreMap(BaseModel):
    """A map of one detector's scores on one telescope, with what it was fitted on.

    The log odds of each score become lower by one number, so that the order of detections
    is kept. Scores never rise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["skyduel-score-map-1"] = "skyduel-score-map-1"
    detector: str = Field(description="name of the detector")
    weights_sha256: str | None = Field(None, description="hash of its weights, if it has any")
    log_odds_shift: float = Field(
        le=0, allow_inf_nan=False, description="added to the log odds of each score"
    )
    shift_lo: Finite = Field(description="lower end of its 95 % interval")
    shift_hi: Finite = Field(description="upper end of its 95 % interval")
    least_score: float = Field(gt=0, lt=1, description="detections of lower scores were not used")
    frames: tuple[str, ...] = Field(min_length=1, description="what it was fitted on")
    mpix: float = Field(gt=0, description="usable area of these frames [Mpix]")
    n_found: Count = Field(description="detections on these frames")
    mpix_flipped: float = Field(gt=0, description="area that counts where the noise is flipped")
    n_flipped: Count = Field(description="detections there")
    n_repeats: Count = Field(description="detections in the area common to all exposures, or 0")
    n_recur: Count = Field(description="those of them that recur in another exposure")
    skyduel: str = Field(description="version of the program that fitted it")

    def __call__(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return mapped scores, of the shape given; NaN stays NaN.

        Parameters
        ----------
        scores : array_like
            Scores from 0 to 1.
        """
        score = np.asarray(scores, dtype=np.float64)
        # Each step is monotone in floating point, so that no two scores change places.
        with np.errstate(divide="ignore", over="ignore"):
            against = (1 - score) / (score * np.exp(self.log_odds_shift))
        return np.asarray(1 / (1 + against))

    def on(self, found: Catalog) -> Catalog:
        """Return a catalogue with mapped scores; its rows keep their order."""
        return found.with_columns(score=self(found["score"]))

    def check(self, detector: str, weights_sha256: str | None) -> None:
        """Refuse another detector, or the same with other weights.

        Raises
        ------
        BadInputError
            If the map was fitted for another one.
        """
        if detector != self.detector:
            raise BadInputError(
                f"detector {detector!r}: score_map", f"a map for {detector}", f"for {self.detector}"
            )
        if weights_sha256 != self.weights_sha256:
            raise BadInputError(
                f"detector {detector!r}: score_map", f"a map for weights {_short(weights_sha256)}",
                f"one for {_short(self.weights_sha256)}",
            )  # fmt: skip


def _short(sha256: str | None) -> str:
    return "without a hash" if sha256 is None else f"{sha256[:12]}…"


@takes(path=PATH)
def read_score_map(path: str | PathLike[str]) -> ScoreMap:
    """Read a score map.

    Parameters
    ----------
    path : path
        A file that `write_score_map`, or ``skyduel truth-free --score-map``, has written.

    Raises
    ------
    BadInputError
        If there is no such file, or it is no score map.
    """
    file = existing_file(path)
    wanted = "a score map, as truth-free writes it"
    try:
        with file.open("rb") as stream:
            values = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(str(file), wanted, one_line(error)) from error
    if values.get("format") != _FORMAT:
        raise BadInputError(str(file), wanted, f"format {values.get('format')!r}")
    try:
        return ScoreMap.model_validate(values)
    except ValidationError as error:
        raise settings_error(str(file), error) from error


def write_score_map(score_map: ScoreMap, path: str | PathLike[str]) -> None:
    """Write a score map as a TOML file, which is replaced atomically.

    Parameters
    ----------
    score_map : ScoreMap
        The map.
    path : path
        The file.

    Raises
    ------
    UnwritableError
        If the file cannot be written.
    """
    lines = [
        f"{name} = {toml_value(value)}\n"
        for name, value in score_map.model_dump().items()
        if value is not None  # TOML has no null
    ]
    with atomic_path(path) as temporary:
        temporary.write_text(_HEAD + "".join(lines), encoding="utf-8")


def _of_path(given: Any) -> Any:
    return read_score_map(given) if isinstance(given, (str, Path)) else given


#: The setting of a detector: the path of a file, which is read, or a `ScoreMap`; None: none.
ScoreMapSetting = Annotated[ScoreMap | None, BeforeValidator(_of_path)]
