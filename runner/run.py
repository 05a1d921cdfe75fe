"""The main job: every detector over every frame, scored, written and drawn.

Work is per frame and counts add, so a run is a map and a sum. The map goes through
a standard `concurrent.futures.Executor`; processes, for SEP holds the interpreter
lock. Each step leaves files, and a step whose files are there is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from skyduel.core import (
    BadInputError,
    Dataset,
    Entry,
    Sectioning,
    atomic_path,
    detector_info,
    pack_catalogs,
    read_catalog,
    safe_name,
)
from skyduel.evaluation import (
    POINTS,
    Evaluation,
    FrameInput,
    ScoringRules,
    choose_edges,
    evaluate_detector,
    merge,
)
from skyduel.evaluation.comparison.compare import compare_all
from skyduel.run_folder.lock import lock_folder
from skyduel.run_folder.provenance import PROMISES, git_state, machine, now_utc, versions
from skyduel.run_folder.schema import ALL_GROUPS
from skyduel.run_folder.write_tables import Results, write_table
from skyduel.runner.catalog_warnings import catalog_warnings
from skyduel.runner.detect_frame import detect_frame, fingerprint, prepare_truth
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.execution.executors import (
    IN_FLIGHT_CLUSTER,
    IN_FLIGHT_EACH,
    Job,
    executor,
    gather,
)
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.process_pool import threads_each
from skyduel.runner.tune import SUFFIX, Tuned, TuningRules, tune

__all__ = ["RunPlan", "Watcher", "run"]

#: Version of the run folder's format, docs/run-folder.md.
SCHEMA: Final = 1

_FOLDERS: Final = ("truth", "catalogs", "pairs", "previews", "analyses", "tuning", "report")
_TABLES: Final = ("counts", "scores", "sweep", "limits")

#: Called with a stage, what it just finished and how many there are in all.
Watcher = Callable[[str, str, int], None]


@dataclass(frozen=True)
class RunPlan:
    """What to run.

    ``workers`` processes handle frames side by side; results do not depend on
    their number, only the timings do. ``fresh`` replaces an earlier run in the
    folder instead of completing it. With ``tuning`` every contestant that says what may
    be chosen for it takes part once more with settings chosen on other frames.
    ``cutting`` says which frames are read and searched section by section. With
    ``scheduler`` frames are handled by the workers of that Dask cluster, which must see
    the same files; ``workers`` then only says how many processes tuning may use here.
    A frame that takes a detector longer than ``frame_timeout_s`` is one that it failed on.
    With ``resume`` there must be an earlier run to complete.
    """

    dataset: Dataset
    contestants: Sequence[DetectorSpec]
    rules: ScoringRules
    folder: Path
    workers: int = 1
    fresh: bool = False
    command: str = ""
    seeds: Mapping[str, int | None] | None = None
    tuning: TuningRules | None = None
    sectioning: Sectioning = Sectioning()  # noqa: RUF009 - frozen
    scheduler: str | None = None
    frame_timeout_s: float | None = None
    resume: bool = False

    @property
    def in_flight(self) -> int:
        """Frames handed out at a time: enough that no worker waits, however many frames there are.

        The workers of a cluster are not ours to count, and may come and go.
        """
        return IN_FLIGHT_CLUSTER if self.scheduler else IN_FLIGHT_EACH * self.workers


def run(plan: RunPlan, watch: Watcher | None = None) -> dict[str, Any]:
    """Run, or complete, a comparison and write everything but the report.

    Parameters
    ----------
    plan : RunPlan
        What to run.
    watch : callable, optional
        Told of every finished frame.

    Returns
    -------
    dict
        The record, as in ``run.json``.

    Raises
    ------
    BadInputError
        If the folder holds another run, or one that is being written, a contestant cannot
        be built, or no frame could be scored.

    Notes
    -----
    A frame that cannot be read, or on which a detector fails, is recorded with the
    reason. Every contestant is scored on the frames that all of them finished:
    otherwise the scores would be of different skies.
    """
    if not plan.contestants:
        raise BadInputError("--with", "at least one detector", "none")
    with lock_folder(plan.folder):
        return _run(plan, watch or (lambda stage, item, total: None))


def _run(plan: RunPlan, watch: Watcher) -> dict[str, Any]:
    # Built once here, so that a wrong setting is an error before any work is done.
    detectors = {c.name: build(c) for c in plan.contestants}
    record = _open_folder(plan, detectors)
    entries = list(plan.dataset.entries)

    with executor(plan.scheduler, plan.workers, 1) as pool:
        truths = _truth_stage(plan, pool, entries, watch)
    failures = [
        {"frame": o.frame, "detector": None, "reason": o.reason}
        for o in truths.values()
        if o.reason is not None
    ]
    readable = [e for e in entries if truths[e.name].reason is None]

    tuned = _tune_stage(plan, readable, watch, record)
    plan = replace(plan, contestants=_beside(plan.contestants, tuned))
    detectors |= {c.name: build(c) for c in plan.contestants if c.name not in detectors}

    shown: list[dict[str, Any]] = []
    done: dict[str, dict[str, Outcome]] = {}
    for contestant in plan.contestants:
        outcomes = _detect_stage(plan, contestant, readable, watch)
        done[contestant.name] = outcomes
        failures += [
            {"frame": o.frame, "detector": contestant.name, "reason": o.reason}
            for o in outcomes.values()
            if o.reason is not None
        ]
        shown.append(_cost(contestant, detectors[contestant.name], outcomes))

    changed = {e.name for e in readable if _changed(e, truths[e.name])}
    failures += [{"frame": n, "detector": None, "reason": f"{n}: the frame changed during the run"}
                 for n in sorted(changed)]  # fmt: skip
    readable = [e for e in readable if e.name not in changed]
    common = [e for e in readable if all(o[e.name].reason is None for o in done.values())]
    record["dataset"]["frames"] = [_frame_record(e, truths[e.name]) for e in entries]
    record["failures"] = failures
    record["detectors"] = shown
    if not any(e.split == "test" for e in common):
        _write_record(plan.folder, record | {"status": "complete with failures"})
        reasons = "; ".join(f"{f['reason']}" for f in failures[:3])
        raise BadInputError(
            plan.dataset.name,
            "at least one test frame that every detector finished",
            f"{len(failures)} failures: {reasons}" if failures else "no frame of the test split",
        )

    watch("score", "", 1)
    result = _evaluate(plan, common, truths, detectors, tuned)
    _write_tables(plan.folder, result)
    write_table(plan.folder / "comparisons", compare_all(result.comparison_samples, plan.rules))
    for entry in shown:
        entry["calibrated_threshold"] = result.calibrated.get(entry["name"])
    watch("score", "tables", 1)
    record["warnings"] = catalog_warnings(plan.folder, truths, plan.rules)
    record["points"] = [p for p in POINTS if p in set(result.scores["point"])]
    record["bins_mag"] = list(result.edges)
    record["finished_utc"] = now_utc()
    record["status"] = "complete with failures" if failures else "complete"
    _write_record(plan.folder, record)
    return record


def _changed(entry: Entry, truth: Outcome) -> bool:
    """Return whether a frame is another than the one whose truth was prepared."""
    return bool(truth.facts["fingerprint"] != fingerprint(*entry.images))


def _clear(folder: Path) -> None:
    """Remove an earlier run from its folder, and nothing that is not a run's."""
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (*_TABLES, "comparisons"):
        for ending in ("parquet", "csv"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    (folder / "run.json").unlink()


def _open_folder(plan: RunPlan, detectors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a new run, or of the interrupted one that this plan completes."""
    revision, dirty = git_state()
    infos = {name: detector_info(d) for name, d in detectors.items()}
    identity = {
        # What other code or weights found is not to be mixed with what these find.
        "versions": versions(),
        "git_revision": revision,
        "weights": {n: info.weights_sha256 for n, info in infos.items()},
        # Settings as resolved: a file that they name may have changed.
        "settings": {n: d.settings.model_dump(mode="json") for n, d in detectors.items()},
        "programs": {n: info.program_version for n, info in infos.items()},
        "dataset": str(Path(plan.dataset.path).resolve()),
        "frames": [[e.name, e.split, e.group] for e in plan.dataset.entries],
        "contestants": [c.model_dump(mode="json") for c in plan.contestants],
        "rules": plan.rules.model_dump(mode="json"),
        "sections": asdict(plan.sectioning),
        "tuning": None if plan.tuning is None else plan.tuning.model_dump(mode="json"),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    path = plan.folder / "run.json"
    if plan.resume and not path.exists():
        raise BadInputError(str(plan.folder), "an interrupted run to resume", "no run.json in it")
    if plan.fresh and path.exists():
        _clear(plan.folder)
    elif path.exists():
        try:
            before = json.loads(path.read_text())
            same = before["configuration_sha256"] == digest
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise BadInputError(
                str(plan.folder),
                "a new folder, or the one of this very run (frames, detectors, rules, versions)",
                "the folder of another run; choose another --out, or --fresh to replace it",
            )
    elif plan.folder.exists() and any(p.name != "data" for p in plan.folder.iterdir()):
        raise BadInputError(
            str(plan.folder), "a new or empty folder", "a folder with other files in it"
        )
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "name": plan.folder.resolve().name,
        "status": "running",
        "created_utc": now_utc(),
        "finished_utc": None,
        "configuration_sha256": digest,
        "versions": versions(),
        "git_revision": revision,
        "git_dirty": dirty,
        "machine": machine() | {"workers": plan.workers, "scheduler": plan.scheduler},
        "promises": PROMISES,
        "command": plan.command,
        "seeds": dict(plan.seeds or {}) | {"bootstrap": plan.rules.seed},
        "dataset": {
            "path": str(plan.dataset.path),
            "name": plan.dataset.name,
            "n_frames": len(plan.dataset.entries),
            "frames": [],
        },
        "rules": plan.rules.model_dump(mode="json"),
        "sections": asdict(plan.sectioning),
        "points": [],
        "detectors": [],
        "failures": [],
    }
    _write_record(plan.folder, record)
    return record


def _truth_stage(
    plan: RunPlan, pool: Executor, entries: Sequence[Entry], watch: Watcher
) -> dict[str, Outcome]:
    jobs = (
        Job(
            entry.name,
            prepare_truth,
            (
                entry,
                plan.rules,
                plan.folder / "truth" / f"{safe_name(entry.name)}.parquet",
                plan.folder / "previews" / f"{safe_name(entry.name)}.png",
                plan.sectioning,
            ),
        )
        for entry in entries
    )
    return gather("truth", pool, jobs, len(entries), plan.in_flight, watch)


def _tune_stage(
    plan: RunPlan, entries: Sequence[Entry], watch: Watcher, record: dict[str, Any]
) -> list[Tuned]:
    """Return what was chosen for every contestant, and say it in the record and in tables."""
    if plan.tuning is None:
        return []
    place = plan.folder / "tuning"
    tuned = tune(
        entries,
        plan.contestants,
        plan.tuning,
        plan.rules,
        place,
        workers=plan.workers,
        watch=watch,
        sectioning=plan.sectioning,
    )
    write_table(place / "trials", pd.concat([t.table() for t in tuned], ignore_index=True))
    record["tuning"] = {
        "rules": plan.tuning.model_dump(mode="json"),
        "crossfit": all(e.split != "calibration" for e in entries),
        "contestants": [t.record() for t in tuned],
    }
    return tuned


def _beside(contestants: Sequence[DetectorSpec], tuned: Sequence[Tuned]) -> list[DetectorSpec]:
    """Return the contestants, each followed by itself with tuned settings."""
    better = {t.contestant.name: t.tuned() for t in tuned}
    names = {c.name for c in contestants}
    for name, one in better.items():
        if one is not None and one.name in names:
            raise BadInputError("--with", f"no detector called {name}{SUFFIX}", repr(one.name))
    pairs = [(c, better.get(c.name)) for c in contestants]
    return [c for pair in pairs for c in pair if c is not None]


def _detect_stage(
    plan: RunPlan, contestant: DetectorSpec, entries: Sequence[Entry], watch: Watcher
) -> dict[str, Outcome]:
    """Return what became of every frame under one contestant, resuming where files are there."""
    folder = plan.folder / "catalogs" / safe_name(contestant.name)
    outcomes: dict[str, Outcome] = {}
    missing: list[tuple[Entry, Path]] = []
    for entry in entries:
        target = folder / f"{safe_name(entry.name)}.parquet"
        facts = _finished(entry, target, contestant)
        if facts is not None:
            outcomes[entry.name] = Outcome(entry.name, facts)
        else:
            missing.append((entry, target))
    jobs = (
        Job(entry.name, detect_frame, (contestant.on(entry.name), entry, plan.rules, target),
            {"sectioning": plan.sectioning, "time_limit_s": plan.frame_timeout_s})
        for entry, target in missing
    )  # fmt: skip
    # A pool of its own for each contestant: its peak memory is then its own, and
    # what one library does to its process is not done to the next contestant.
    workers = min(plan.workers, max(1, len(missing)))
    threads, limit_s = threads_each(plan.workers), plan.frame_timeout_s
    with executor(plan.scheduler, workers, threads, limit_s) as pool:
        return outcomes | gather(contestant.name, pool, jobs, len(missing), plan.in_flight, watch)


def _finished(entry: Entry, target: Path, contestant: DetectorSpec) -> dict[str, Any] | None:
    """Return the facts of a catalogue written earlier from the same frame, or None."""
    settings = contestant.on(entry.name).model_dump(mode="json")["settings"]
    try:
        facts = json.loads(target.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    same = isinstance(facts, dict) and facts.get("fingerprint") == fingerprint(*entry.images)
    same = same and facts.get("settings") == settings
    if not (same and target.exists()):
        return None
    return {key: value for key, value in facts.items() if key not in ("fingerprint", "settings")}


def _cost(
    contestant: DetectorSpec, detector: Any, outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    facts = [o.facts for o in outcomes.values() if o.reason is None]
    seconds, mpix = sum(f["seconds"] for f in facts), sum(f["mpix"] for f in facts)
    info = detector_info(detector)
    return {
        "name": contestant.name,
        "use": contestant.use,
        "settings": detector.settings.model_dump(mode="json"),
        "default_threshold": None if contestant.per_frame else info.default_threshold,
        "calibrated_threshold": None,
        "weights_sha256": info.weights_sha256,
        "program_version": info.program_version,
        "device": info.device,
        "seconds": round(seconds, 4),
        "mpix": round(mpix, 6),
        "mpix_per_s": round(mpix / seconds, 4) if seconds else None,
        "peak_memory_mib": round(max((f["peak_memory_mib"] for f in facts), default=0.0), 1),
        "frames_done": len(facts),
        "frames_failed": len(outcomes) - len(facts),
    }


def _frame_record(entry: Entry, truth: Outcome) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": str(entry.frame),
        "truth": None if entry.truth is None else str(entry.truth),
        "split": entry.split,
        "group": entry.group or ALL_GROUPS,
        **{key: truth.facts.get(key) for key in ("ny", "nx", "mpix", "fwhm", "n_truth")},
    }


def _evaluate(
    plan: RunPlan,
    entries: Sequence[Entry],
    truths: Mapping[str, Outcome],
    detectors: Mapping[str, Any],
    tuned: Sequence[Tuned],
) -> Evaluation:
    """Return the tables; counts and pairs are written as they come, one detector at a time."""
    folder = plan.folder
    cuts = {t.contestant.name: t.cuts(tuned=False) for t in tuned}
    cuts |= {t.contestant.name + SUFFIX: t.cuts(tuned=True) for t in tuned}
    tables = dict(
        zip(
            (e.name for e in entries),
            pack_catalogs(read_catalog(folder / "truth" / _file(e)) for e in entries),
            strict=True,
        )
    )

    def inputs(contestant: DetectorSpec) -> list[FrameInput]:
        place = folder / "catalogs" / safe_name(contestant.name)
        found = pack_catalogs(read_catalog(place / _file(e)) for e in entries)
        return [
            FrameInput(
                frame=e.name,
                truth=tables[e.name],
                found=catalog,
                mpix=truths[e.name].facts["mpix"],
                group=e.group or ALL_GROUPS,
                split=e.split,
                fwhm=truths[e.name].facts["fwhm"],
                shape=(truths[e.name].facts["ny"], truths[e.name].facts["nx"]),
                cuts=cuts.get(contestant.name, {}).get(e.name, {}),
            )
            for e, catalog in zip(entries, found, strict=True)
        ]

    edges: tuple[float, ...] | None = None
    parts = []
    with Results(folder) as results:
        for contestant in plan.contestants:
            frames = inputs(contestant)
            edges = edges or choose_edges(frames, plan.rules)
            parts.append(
                evaluate_detector(
                    contestant.name,
                    frames,
                    plan.rules,
                    edges,
                    default_threshold=detector_info(detectors[contestant.name]).default_threshold,
                    sink=results,
                )
            )
            del frames
    return merge(parts, edges or ())


def _file(entry: Entry) -> str:
    return f"{safe_name(entry.name)}.parquet"


def _write_tables(folder: Path, result: Evaluation) -> None:
    for name in _TABLES:
        if name != "counts":  # written as they came
            write_table(folder / name, getattr(result, name))
    for name, table in result.analyses.items():
        write_table(folder / "analyses" / name, table)


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with atomic_path(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
