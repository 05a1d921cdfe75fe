"""Start a run: check or clear its folder and write the first record."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from skyduel.core import BadInputError, Detector, detector_info
from skyduel.core.errors import ArgumentError, UnwritableError
from skyduel.core.io.atomic_files import is_temporary
from skyduel.run_folder.layout import CSV, FOLDERS, PARQUET, RunPaths
from skyduel.run_folder.provenance import PROMISES, git_state, machine, now_utc, versions
from skyduel.run_folder.record import DatasetRecord, RunRecord, read_record, write_record
from skyduel.run_folder.schema import RUNNING, run_tables
from skyduel.runner.plan import RunPlan

__all__ = ["remove_unfinished", "start_run"]


def start_run(plan: RunPlan, detectors: Mapping[str, Detector]) -> RunRecord:
    """Check the folder of a run and write its first record.

    Parameters
    ----------
    plan : RunPlan
        The plan.
    detectors : mapping of str to Detector
        The detectors of the plan, built, by name.

    Returns
    -------
    RunRecord
        With the status ``running`` and without results.

    Raises
    ------
    BadInputError
        If the folder holds another run or other files, or there is no run to resume.
    """
    paths = plan.paths
    revision, dirty = git_state()
    digest = _configuration_sha256(plan, detectors, revision)
    if plan.resume and not paths.record.exists():
        raise BadInputError(
            str(plan.folder), "an interrupted run to resume", f"no {paths.record.name} in it"
        )
    if plan.fresh and paths.record.is_file():
        _remove_run(paths)
    elif paths.record.exists():
        try:
            same, what = read_record(paths.record).configuration_sha256 == digest, "another run"
        except BadInputError as error:
            same, what = False, f"a run whose {paths.record.name} is damaged ({error.got})"
        if not same:
            raise ArgumentError(
                str(plan.folder),
                "a new folder, or the one of this very run (frames, detectors, rules, versions)",
                f"the folder of {what}; choose another folder, or fresh=True to replace it",
                ("fresh",),
            )
    elif plan.folder.exists() and any(
        p != paths.data and not is_temporary(p) for p in plan.folder.iterdir()
    ):
        raise BadInputError(
            str(plan.folder), "a new or empty folder", "a folder with other files in it"
        )
    remove_unfinished(plan.folder)
    record = RunRecord(
        name=plan.folder.resolve().name,
        status=RUNNING,
        created_utc=now_utc(),
        configuration_sha256=digest,
        versions=versions(),
        git_revision=revision,
        git_dirty=dirty,
        machine=machine() | {"workers": plan.workers, "scheduler": plan.scheduler},
        promises=PROMISES,
        command=plan.command,
        seeds=dict(plan.seeds or {}) | {"bootstrap": plan.rules.seed},
        dataset=DatasetRecord(
            path=str(plan.dataset.path),
            name=plan.dataset.name,
            n_frames=len(plan.dataset.entries),
        ),
        rules=plan.rules.model_dump(mode="json"),
        sections=asdict(plan.sectioning),
    )
    write_record(record, paths.record)
    return record


def remove_unfinished(folder: Path) -> None:
    """Remove the files that killed processes left unfinished; nothing may be writing now.

    Parameters
    ----------
    folder : Path
        The run folder, whose lock is held.
    """
    for path in folder.rglob(".*"):
        if is_temporary(path) and not path.is_dir():
            path.unlink(missing_ok=True)


def _configuration_sha256(
    plan: RunPlan, detectors: Mapping[str, Detector], revision: str | None
) -> str:
    """Return the hash of everything that the tables depend on."""
    infos = {name: detector_info(d) for name, d in detectors.items()}
    identity = {
        # Results of other code or weights must not be mixed with these.
        "versions": versions(),
        "git_revision": revision,
        "weights": {n: info.weights_sha256 for n, info in infos.items()},
        # Settings as resolved: a file that they name may have changed.
        "settings": {n: d.settings.model_dump(mode="json") for n, d in detectors.items()},
        "programs": {n: info.program_version for n, info in infos.items()},
        "dataset": str(Path(plan.dataset.path).resolve()),
        "frames": [[e.name, e.split, e.group] for e in plan.dataset.entries],
        "columns": [e.columns for e in plan.dataset.entries],
        "mask_bits": [e.mask_bits for e in plan.dataset.entries],
        **(
            {"ignore": [str(e.ignore) for e in plan.dataset.entries]}
            if any(e.ignore for e in plan.dataset.entries)
            else {}
        ),
        "contestants": [spec.model_dump(mode="json") for spec in plan.specs],
        "rules": plan.rules.model_dump(mode="json"),
        "suspects": None if plan.suspects is None else plan.suspects.sha256,
        "sections": asdict(plan.sectioning),
        "tuning": None if plan.tuning is None else plan.tuning.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _remove_run(paths: RunPaths) -> None:
    """Remove an earlier run from its folder, and nothing else.

    The record stays until the new one replaces it: a folder without one would be refused after
    a kill.
    """
    tables = [paths.table(t.name, e) for t in run_tables() for e in (PARQUET, CSV)]
    for path in (*(paths.folder / name for name in FOLDERS), *tables):
        try:
            _remove(path)
        except OSError as error:
            raise UnwritableError(
                str(path), "a place that can be written to", error.strerror or str(error)
            ) from error


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
