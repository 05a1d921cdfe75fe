"""What a run's record must be for those who read it: `docs/run-folder.md`.

Whatever else stands in it is left alone, and what a run of an older version lacks is absent.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from skyduel.core.errors import BadInputError
from skyduel.core.settings import settings_error

__all__ = ["check_record"]

_MOST_PX: Final = 1 << 31

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Side = Annotated[int, Field(gt=0, le=_MOST_PX)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Frame(_Part):
    name: str
    group: str | None = None
    split: str | None = None
    ny: Side | None = None
    nx: Side | None = None
    mpix: Number | None = None
    fwhm: Number | None = None


class _Dataset(_Part):
    name: str | None = None
    n_frames: Count | None = None
    frames: list[_Frame] = []


class _Detector(_Part):
    name: str
    use: str | None = None
    settings: dict[str, Any] | None = None
    default_threshold: Number | None = None
    calibrated_threshold: Number | None = None
    weights_sha256: str | None = None
    program_version: str | None = None
    device: str | None = None
    seconds: Number | None = None
    mpix: Number | None = None
    mpix_per_s: Number | None = None
    peak_memory_mib: Number | None = None
    frames_done: Count | None = None
    frames_failed: Count | None = None


class _Failure(_Part):
    frame: str
    detector: str | None = None
    reason: str | None = None


class _Rules(_Part):
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None


class _Record(_Part):
    name: str | None = None
    status: str | None = None
    created_utc: str | None = None
    finished_utc: str | None = None
    command: str | None = None
    git_revision: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, Any] | None = None
    machine: dict[str, Any] | None = None
    seeds: dict[str, Any] | None = None
    promises: dict[str, Any] | None = None
    dataset: _Dataset | None = None
    rules: _Rules | None = None
    points: list[str] = []
    bins_mag: list[Number] = Field([], max_length=2000)
    detectors: list[_Detector] = []
    failures: list[_Failure] = []
    warnings: list[str] = []

    @field_validator("bins_mag")
    @classmethod
    def _rise(cls, edges: list[float]) -> list[float]:
        if any(not low < high for low, high in pairwise(edges)):
            raise ValueError("edges that rise")
        return edges


def check_record(record: Any, source: str) -> None:
    """Refuse a record that those who read it could not use.

    Parameters
    ----------
    record : object
        What ``run.json`` holds, parsed.
    source : str
        The file, for the message.

    Raises
    ------
    BadInputError
        Naming the first field at fault.
    """
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        raise settings_error(source, error) from error
    except RecursionError as error:
        raise BadInputError(source, "the record of a run", "one nested without end") from error
