"""Reading a run folder: `docs/run-folder.md` is the format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.errors import BadInputError
from skyduel.core.io.atomic_files import safe_name
from skyduel.evaluation.scoring.metrics import listed
from skyduel.run_folder.previews import read_picture
from skyduel.run_folder.read_counts import COUNT_COLUMNS, NAMES, check_kinds, read_counts
from skyduel.run_folder.record import check_record
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, CALIBRATED_POINT, DEFAULT_POINT

__all__ = ["SCHEMA", "Run", "bin_label", "load_run"]

#: The run folder's format that this code reads.
SCHEMA: Final = 1

_COLUMNS: Final[Mapping[str, str]] = {
    "counts": " ".join(COUNT_COLUMNS),
    "scores": ("detector point group bin bin_lo bin_hi quantity value lo hi n k interval n_frames"),
    "sweep": " ".join(
        (
            "detector group threshold truths truths_found detections detections_right",
            *(m.name for m in listed("swept") if m.in_first_schema),
        )
    ),
    "limits": (
        "detector point group threshold purity completeness false_per_mpix snr50 snr50_lo snr50_hi"
        " m50 m50_lo m50_hi n_truths n_frames"
    ),
}
#: Columns that runs of older versions lack; NaN there.
_LATER: Final[Mapping[str, str]] = {
    "limits": (
        "snr90 snr90_lo snr90_hi m90 m90_lo m90_hi width_mag width_mag_lo width_mag_hi"
        " floor ceiling"
    ),
    "sweep": " ".join(m.name for m in listed("swept") if not m.in_first_schema),
}
_KEYS: Final = {
    "scores": ("detector", "point", "group", "bin", "quantity"),
    "limits": ("detector", "point", "group"),
}
_OPTIONAL_TABLES: Final = ("sweep", "limits")
_PAIR_COLUMNS: Final = ("truth_index", "found_index", "separation_px", "outcome")


@dataclass(frozen=True, eq=False)
class Run:
    """One run, as its folder holds it.

    Parameters
    ----------
    path : Path
        The run folder.
    record : mapping
        `run.json`, as it was parsed.
    counts, scores, sweep, limits : DataFrame
        The tables, the counts summed over magnitude bins (`read_counts`).
        `sweep` and `limits` have no rows where their file is absent; `missing`
        names such files.
    missing : tuple of str
        Files of the format that the folder lacks.
    """

    path: Path
    record: Mapping[str, Any]
    counts: pd.DataFrame
    scores: pd.DataFrame
    sweep: pd.DataFrame
    limits: pd.DataFrame
    missing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.record.get("name", self.path.name))

    @property
    def detectors(self) -> tuple[str, ...]:
        """The detectors' names in the order of the record, then any that only the tables name."""
        named = [str(d.get("name")) for d in self.record.get("detectors", ())]
        return tuple(dict.fromkeys([*named, *self.scores["detector"].astype(str)]))

    @property
    def points(self) -> tuple[str, ...]:
        """The operating points that have scores, in the order of the record."""
        there = [str(p) for p in self.scores["point"].drop_duplicates()]
        named = [str(p) for p in self.record.get("points", ())]
        return tuple(p for p in dict.fromkeys([*named, *there]) if p in there)

    @property
    def headline_point(self) -> str:
        """The point that the verdict rests on: ``calibrated``, else ``default``, else the first."""
        there = self.points
        return next(
            (p for p in (CALIBRATED_POINT, DEFAULT_POINT) if p in there), (*there, DEFAULT_POINT)[0]
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups' names in alphabetical order, without ``all``."""
        return tuple(sorted(set(self.scores["group"].astype(str)) - {ALL_GROUPS}))

    @property
    def frames(self) -> tuple[Mapping[str, Any], ...]:
        """The data set's frames, each a mapping of the record."""
        return tuple(self.record.get("dataset", {}).get("frames", ()))

    @property
    def scored_frames(self) -> tuple[str, ...]:
        """The names of the frames that were counted, in the record's order."""
        there = dict.fromkeys(self.counts["frame"].drop_duplicates().astype(str))
        named = [str(f.get("name")) for f in self.frames]
        return tuple(n for n in dict.fromkeys([*named, *there]) if n in there)

    @property
    def failures(self) -> tuple[Mapping[str, Any], ...]:
        """What failed: mappings of frame, detector (None for the frame itself) and reason."""
        return tuple(self.record.get("failures", ()))

    def frame(self, name: str) -> Mapping[str, Any]:
        """Return the record of a frame; an empty mapping if the run does not list it."""
        return next((f for f in self.frames if str(f.get("name")) == name), {})

    def truth(self, frame: str) -> pd.DataFrame | None:
        """Return a frame's truth as it was scored, or None where the file is absent."""
        return _optional(self.path / "truth" / f"{safe_name(frame)}.parquet")

    def catalog(self, detector: str, frame: str) -> pd.DataFrame | None:
        """Return what a detector returned on a frame, or None where the file is absent."""
        return _optional(
            self.path / "catalogs" / safe_name(detector) / f"{safe_name(frame)}.parquet"
        )

    def pairs(self, detector: str, point: str, frame: str) -> pd.DataFrame | None:
        """Return the pairs at an operating point, or None where the file is absent."""
        path = (
            self.path
            / "pairs"
            / safe_name(detector)
            / safe_name(point)
            / f"{safe_name(frame)}.parquet"
        )
        return _optional(path, _PAIR_COLUMNS)

    def analysis(self, name: str) -> pd.DataFrame:
        """Return one of the run's analyses; no rows and no columns where it has none."""
        table = _optional(self.path / "analyses" / f"{safe_name(name)}.parquet")
        return pd.DataFrame() if table is None else table

    @property
    def comparisons(self) -> pd.DataFrame:
        """The run's detectors compared in pairs; no rows and no columns where it has none."""
        table = _optional(self.path / "comparisons.parquet")
        return pd.DataFrame() if table is None else table

    def preview(self, frame: str) -> npt.NDArray[np.float32] | None:
        """Return a frame's preview in [0, 1], shape (ny, nx), row 0 first; None if absent."""
        picture = read_picture(self.preview_path(frame))
        if picture is None:
            return None
        # The file has the frame's first row at the bottom.
        return np.asarray(picture, dtype=np.float32)[::-1] / np.float32(255)

    def preview_path(self, frame: str) -> Path:
        """Path of a frame's preview, whether or not it is there."""
        return self.path / "previews" / f"{safe_name(frame)}.png"


def load_run(path: str | Path) -> Run:
    """Return the run that a folder holds.

    Parameters
    ----------
    path : str or Path
        A run folder.

    Returns
    -------
    Run
        The record and the tables. Catalogues, pairs and previews are read
        when asked for.

    Raises
    ------
    BadInputError
        If the folder, its `run.json`, its counts or its scores are absent or
        unreadable, if the format is not the one this code reads, or if a table
        lacks a column or holds a row twice.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BadInputError(str(folder), "a run folder", "no such folder")
    record = _record(folder / "run.json")
    missing: list[str] = []
    tables: dict[str, pd.DataFrame] = {}
    for name, named in _COLUMNS.items():
        columns = tuple(named.split())
        file = folder / f"{name}.parquet"
        table = read_counts(file) if name == "counts" else _optional(file, columns)
        if table is None:
            if name not in _OPTIONAL_TABLES:
                raise BadInputError(
                    str(file),
                    f"the run's table of {name}",
                    f"no such file (the run's status is {record.get('status')!r})",
                )
            missing.append(f"{name}.parquet")
            table = pd.DataFrame(
                {c: pd.Series(dtype=object if c in NAMES else float) for c in columns}
            )
        if name != "counts":
            check_kinds(table, columns, file)
        later = [c for c in _LATER.get(name, "").split() if c not in table.columns]
        table = table.assign(**dict.fromkeys(later, np.nan))
        keys = list(_KEYS.get(name, ()))
        twice = table[table.duplicated(keys)] if keys else table.iloc[:0]
        if len(twice):
            raise BadInputError(
                str(file),
                f"one row for each {', '.join(keys)}",
                f"two for {', '.join(str(twice[k].iloc[0]) for k in keys)}",
            )
        tables[name] = table
    return Run(folder, record, missing=tuple(missing), **tables)


def bin_label(number: int, lo: float, hi: float, n_bins: int) -> str:
    """Return what a `bin` of the tables is called.

    Parameters
    ----------
    number : int
        The bin: 0 … `n_bins` − 1, or −2, −1, `n_bins`, `n_bins` + 1.
    lo, hi : float
        Its edges [mag].
    n_bins : int
        How many bins have two edges.
    """
    if number == ALL_BINS:
        return "all"
    if number == -1:
        return "brighter" if not np.isfinite(hi) else f"< {hi:g}"
    if number == n_bins:
        return "fainter" if not np.isfinite(lo) else f"≥ {lo:g}"
    if number > n_bins:
        return "no magnitude"
    return f"{lo:g}–{hi:g}"


def _record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInputError(str(path), "the record of a run", "no such file")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInputError(str(path), "a readable JSON record", str(error)) from error
    if not isinstance(record, dict) or "schema" not in record:
        raise BadInputError(str(path), "the record of a run, with 'schema'", "another file")
    schema = record["schema"]
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        raise BadInputError(
            str(path),
            f"schema {SCHEMA}",
            f"schema {schema!r}" + (" of a newer version" if newer else ""),
        )
    for key, kind in (("detectors", list), ("dataset", dict), ("failures", list)):
        if not isinstance(record.get(key, kind()), kind):
            raise BadInputError(
                str(path), f"{key!r} as a JSON {kind.__name__}", type(record[key]).__name__
            )
    check_record(record, str(path))
    return record


def _optional(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """Return a Parquet table that has at least `columns`, or None where there is no file."""
    if not path.is_file():
        return None
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise BadInputError(str(path), "a readable Parquet table", str(error)) from error
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        raise BadInputError(
            str(path), f"columns {', '.join(lacking)}", f"columns {', '.join(map(str, table))}"
        )
    return table
