"""`RunRecord`: the typed content of a run's ``run.json``, written by the runner, read by everybody.

The fields are the keys of the file, in its order (`docs/run-folder.md`). Keys that are not
listed here are ignored when a record is read; keys that an older version did not write have
their default.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from skyduel.core.errors import BadInputError
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.settings import settings_error
from skyduel.run_folder.schema import COMPLETE, RUNNING, SCHEMA_VERSION, WITH_FAILURES

__all__ = [
    "DatasetRecord",
    "DetectorRecord",
    "FailureRecord",
    "FrameRecord",
    "RunRecord",
    "read_record",
    "write_record",
]

_MOST_PX: Final = 1 << 31
_MOST_BINS: Final = 2000
_STRICT: Final = ConfigDict(extra="ignore", strict=True)
#: Keys that are not written where they have no value: an older version did not know them.
_OPTIONAL_KEYS: Final = frozenset(
    {
        "tuning",
        "bins_mag",
        "truth_source",
        "description",
        "provenance",
        "facts",
        "set_aside",
        "notes",
    }
)


def _confidence_is_a_probability(rules: dict[str, Any]) -> dict[str, Any]:
    level = rules.get("confidence")
    if level is not None and not (type(level) in (int, float) and 0 < level < 1):
        raise ValueError(f"confidence between 0 and 1, not {level!r}")
    return rules


def _edges_rise(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(not low < high for low, high in pairwise(edges)):
        raise ValueError("edges that rise")
    return edges


Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Side = Annotated[int, Field(gt=0, le=_MOST_PX)]
Facts = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
Rules = Annotated[Facts, AfterValidator(_confidence_is_a_probability)]
Edges = Annotated[tuple[Number, ...], Field(max_length=_MOST_BINS), AfterValidator(_edges_rise)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class FrameRecord:
    """One frame of the data set: an element of ``dataset.frames``."""

    name: Annotated[str, Field(description="name of the frame")]
    path: Annotated[str | None, Field(description="image file")] = None
    truth: Annotated[str | None, Field(description="file of the truth catalogue")] = None
    split: Annotated[str | None, Field(description="`test` or `calibration`")] = None
    group: Annotated[str | None, Field(description="group of the frame; `all` without one")] = None
    ny: Annotated[Side | None, Field(description="rows [px]")] = None
    nx: Annotated[Side | None, Field(description="columns [px]")] = None
    mpix: Annotated[
        Number | None,
        Field(description="**usable** pixels [10⁶], those not masked; rates are per usable Mpix"),
    ] = None
    fwhm: Annotated[Number | None, Field(description="FWHM of the PSF [px], if it is known")] = None
    n_truth: Annotated[Count | None, Field(description="sources of the truth")] = None
    facts: Annotated[
        dict[str, str],
        Field(
            description="facts of the frame that were used, in words with their source: `gain`, "
            "`read_noise`, `saturation`, `exposure_s`, `zero_point`, `fwhm`, "
            "`pixel_scale_arcsec`, `wcs`, `unit`, `mask`; unknown ones are left out"
        ),
    ] = Field(default_factory=dict)
    set_aside: Annotated[
        tuple[str, ...], Field(description="facts of the header that were not used, and why")
    ] = ()
    notes: Annotated[
        tuple[str, ...],
        Field(description="other decisions on the file, such as images that are not read"),
    ] = ()


@dataclass(frozen=True, slots=True, config=_STRICT)
class DatasetRecord:
    """The data set of a run: ``dataset``."""

    path: Annotated[str | None, Field(description="folder or manifest")] = None
    name: Annotated[str | None, Field(description="name of the set")] = None
    n_frames: Annotated[Count | None, Field(description="number of frames, of all splits")] = None
    frames: Annotated[
        tuple[FrameRecord, ...], Field(description="the frames, see below; empty while running")
    ] = ()
    truth_source: Annotated[
        str | None, Field(description="optional, written by hand: how the truth was made")
    ] = None
    description: Annotated[str | None, Field(description="optional, written by hand")] = None
    provenance: Annotated[str | None, Field(description="optional, written by hand")] = None


@dataclass(frozen=True, slots=True, config=_STRICT)
class DetectorRecord:
    """One detector of the run and what it cost: an element of ``detectors``."""

    name: Annotated[str, Field(description="name in this run")]
    use: Annotated[str | None, Field(description="registered name")] = None
    settings: Annotated[dict[str, Any] | None, Field(description="the resolved settings")] = None
    default_threshold: Annotated[
        Number | None,
        Field(
            description="own `score_threshold`; null: every row counts, or the threshold "
            "differs by frame"
        ),
    ] = None
    calibrated_threshold: Annotated[
        Number | None, Field(description="threshold of the calibration split, if there is one")
    ] = None
    weights_sha256: Annotated[str | None, Field(description="hash of the weights, if any")] = None
    program_version: Annotated[
        str | None, Field(description="version of an external program, if any")
    ] = None
    device: Annotated[str | None, Field(description="such as `cpu` or `cuda:0`")] = None
    seconds: Annotated[
        Number | None,
        Field(description="time from opening a frame to its catalogue, summed over frames [s]"),
    ] = None
    mpix: Annotated[
        Number | None,
        Field(description="**all** pixels of the finished frames [10⁶], masked ones included"),
    ] = None
    mpix_per_s: Annotated[Number | None, Field(description="`mpix` / `seconds`")] = None
    peak_memory_mib: Annotated[
        Number | None, Field(description="largest memory of a worker process [MiB]")
    ] = None
    frames_done: Annotated[Count | None, Field(description="frames with a catalogue")] = None
    frames_failed: Annotated[Count | None, Field(description="frames without a catalogue")] = None


@dataclass(frozen=True, slots=True, config=_STRICT)
class FailureRecord:
    """One failure: an element of ``failures``."""

    frame: Annotated[str, Field(description="name of the frame")]
    detector: Annotated[
        str | None, Field(description="null if the frame itself could not be used")
    ] = None
    reason: Annotated[str | None, Field(description="the error in one line")] = None


@dataclass(frozen=True, slots=True, config=_STRICT)
class RunRecord:
    """The record of a run: ``run.json``."""

    schema: Annotated[int, Field(description="version of the format")] = SCHEMA_VERSION
    name: Annotated[str | None, Field(description="name of the run")] = None
    status: Annotated[
        str | None, Field(description=f"`{RUNNING}`, `{COMPLETE}` or `{WITH_FAILURES}`")
    ] = None
    created_utc: Annotated[str | None, Field(description="start of the run, ISO 8601")] = None
    finished_utc: Annotated[
        str | None, Field(description="end of the run, ISO 8601; null while running")
    ] = None
    configuration_sha256: Annotated[
        str | None,
        Field(
            description="hash of frames, detectors, weights, rules, versions and revision: "
            "only the same configuration completes a run"
        ),
    ] = None
    versions: Annotated[
        Facts,
        Field(description="`python`, `skyduel`, `torch`, `sep`, `numpy`, `astropy`, …"),
    ] = Field(default_factory=dict)
    git_revision: Annotated[str | None, Field(description="revision of the code, or null")] = None
    git_dirty: Annotated[
        bool | None, Field(description="whether the code had uncommitted changes")
    ] = None
    machine: Annotated[
        Facts,
        Field(
            description="`platform`, `cpu`, `cores`, `memory_gib`, `workers`, `scheduler` (address "
            "of a cluster, else null)"
        ),
    ] = Field(default_factory=dict)
    promises: Annotated[
        Facts,
        Field(description="`same_tables`, `not_promised`: when the tables are the same"),
    ] = Field(default_factory=dict)
    command: Annotated[str | None, Field(description="command line")] = None
    seeds: Annotated[
        Facts, Field(description="`dataset` (of the built-in set, else null), `bootstrap`")
    ] = Field(default_factory=dict)
    dataset: Annotated[DatasetRecord, Field(description="the data set, see below")] = (
        DatasetRecord()
    )
    rules: Annotated[Rules, Field(description="the resolved scoring rules")] = Field(
        default_factory=dict
    )
    sections: Annotated[
        Facts,
        Field(
            description="`section_px`, `overlap_px`: frames of more than `section_px` squared were "
            "read in sections (`scale.md`)"
        ),
    ] = Field(default_factory=dict)
    points: Annotated[tuple[str, ...], Field(description="operating points with scores")] = ()
    detectors: Annotated[
        tuple[DetectorRecord, ...], Field(description="the detectors, see below")
    ] = ()
    failures: Annotated[tuple[FailureRecord, ...], Field(description="what failed, see below")] = ()
    tuning: Annotated[
        dict[str, Any] | None,
        Field(
            description="only with `--tune`: `rules` (`trials`, `objective`, `per_group`, `seed`), "
            "`crossfit`, `contestants`: a list of `name`, `tuned_name`, `space`, `trials`, "
            "`seconds`, `chosen` (a list of `fold`, `group`, `trial`, `settings`, `achieved`, "
            "`default_achieved`, `chosen_on`, `applied_to`), `failures`"
        ),
    ] = None
    warnings: Annotated[
        tuple[str, ...],
        Field(description="one line for each kind of catalogue that does not fit its frames"),
    ] = ()
    bins_mag: Annotated[Edges, Field(description="edges of the magnitude bins [mag]")] = ()

    @property
    def confidence(self) -> float:
        """Level of the intervals, such as 0.95."""
        level = self.rules.get("confidence")
        if level is not None:
            return float(level)
        # Rules bring catalogues and images, which take long to load.
        from skyduel.evaluation.rules import ScoringRules

        return ScoringRules().confidence

    def detector(self, name: str) -> DetectorRecord:
        """Return the record of a detector; one without values if the run does not list it."""
        return next((d for d in self.detectors if d.name == name), DetectorRecord(name))


@cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


@cache
def _any() -> TypeAdapter[Any]:
    return TypeAdapter(Any)


def read_record(path: Path) -> RunRecord:
    """Read the record of a run.

    Parameters
    ----------
    path : Path
        ``run.json``.

    Raises
    ------
    BadInputError
        If the file is absent, is no record, is of another version of the format, or holds a
        value that cannot be used; the first field at fault is named.
    """
    source = str(path)
    if not path.is_file():
        raise BadInputError(
            str(path.parent), "a run folder, as `skyduel run` makes it", f"no {path.name} in it"
        )
    try:
        text = path.read_bytes()
        parsed = _any().validate_json(text)
    except (OSError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BadInputError(source, "a readable JSON record", said) from error
    if not isinstance(parsed, dict) or "schema" not in parsed:
        raise BadInputError(source, "the record of a run, with 'schema'", "another file")
    schema = parsed["schema"]
    del parsed  # of 10⁵ frames not beside the record
    if schema != SCHEMA_VERSION:
        newer = isinstance(schema, int) and schema > SCHEMA_VERSION
        raise BadInputError(
            source,
            f"schema {SCHEMA_VERSION}",
            f"schema {schema!r}" + (" of a newer version" if newer else ""),
        )
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise settings_error(source, error) from error


def write_record(record: RunRecord, path: Path) -> None:
    """Write the record of a run, whole or not at all."""

    def document(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        return {k: v for k, v in items if v or k not in _OPTIONAL_KEYS}

    with atomic_path(path) as temporary:
        content = asdict(record, dict_factory=document)
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
