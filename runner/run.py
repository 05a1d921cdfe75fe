"""Run detectors on frames: detect, score, write the run folder (all but the report).

The work is per frame and counts are summed, so frames are handled in parallel by a
`concurrent.futures.Executor`: by processes, for SEP holds the interpreter lock. Every step
writes files; a step whose files exist already is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from skyduel.core import BadInputError, Detector, Entry, detector_info
from skyduel.core.errors import ArgumentError
from skyduel.core.io.dataset_listing import require_truth
from skyduel.evaluation import POINTS, Evaluation
from skyduel.evaluation.comparison.compare import compare_all
from skyduel.evaluation.comparison.possible_intervals import within_possible
from skyduel.evaluation.suspect_list import ignored_lines
from skyduel.run_folder.lock import lock_folder
from skyduel.run_folder.provenance import now_utc
from skyduel.run_folder.record import (
    DetectorRecord,
    FailureRecord,
    FrameRecord,
    RunRecord,
    write_record,
)
from skyduel.run_folder.schema import (
    ALL_GROUPS,
    COMPARISONS,
    COMPLETE,
    LIMITS,
    SCORES,
    SUSPECTS_IGNORED,
    WITH_FAILURES,
    sweep_table,
)
from skyduel.run_folder.write_tables import write_table
from skyduel.runner.catalog_warnings import catalog_warnings, detector_notes
from skyduel.runner.detect_frame import (
    content_sha256,
    detect_frame,
    frame_fingerprint,
    prepare_truth,
)
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.execution.executors import Job, executor, gather
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.process_pool import threads_each
from skyduel.runner.execution.worker_start import leave_starting_worker
from skyduel.runner.plan import ProgressCallback, RunPlan
from skyduel.runner.scoring.score_detectors import (
    FrameFacts,
    ScoringJob,
    ScoringTask,
    processes_for,
    score_detectors,
)
from skyduel.runner.start_run import remove_unfinished, start_run
from skyduel.runner.tune import SUFFIX, Tuned, tune

__all__ = ["ProgressCallback", "RunPlan", "run"]


def run(plan: RunPlan, progress: ProgressCallback | None = None) -> RunRecord:
    """Run, or complete, a comparison and write everything but the report.

    Parameters
    ----------
    plan : RunPlan
        What to run.
    progress : callable, optional
        Called with every finished frame.

    Returns
    -------
    RunRecord
        The record, as in ``run.json``.

    Raises
    ------
    BadInputError
        If no frame has a truth, the folder holds another run, or one that is being written, a
        detector cannot be built, or no frame could be scored.

    Notes
    -----
    A frame that cannot be read, or on which a detector fails, is recorded with the
    reason. Every detector is scored on the frames that all of them finished:
    otherwise the scores would be of different frames.
    """
    leave_starting_worker()
    if not plan.specs:
        raise ArgumentError("detectors", "at least one detector", "none")
    require_truth(plan.dataset)
    with lock_folder(plan.folder):
        return _run(plan, progress or (lambda stage, item, total: None))


def _run(plan: RunPlan, progress: ProgressCallback) -> RunRecord:
    # Built once here, so that a wrong setting is an error before any work is done.
    detectors = {spec.name: build(spec) for spec in plan.specs}
    record = start_run(plan, detectors)
    entries = list(plan.dataset.entries)

    with executor(plan.scheduler, plan.truth_workers or plan.workers, 1) as pool:
        truths = _truth_stage(plan, pool, entries, progress)
    failures = _failures(truths, None)
    readable = [e for e in entries if truths[e.name].reason is None]

    tuned, tuning = _tune_stage(plan, readable, progress)
    plan = replace(plan, specs=_with_tuned(plan.specs, tuned))
    detectors |= {spec.name: build(spec) for spec in plan.specs if spec.name not in detectors}

    costs: list[DetectorRecord] = []
    done: dict[str, dict[str, Outcome]] = {}
    for spec in plan.specs:
        outcomes = _detect_stage(plan, spec, readable, truths, progress)
        done[spec.name] = outcomes
        failures += _failures(outcomes, spec.name)
        costs.append(_detector_record(spec, detectors[spec.name], outcomes))

    changed = {e.name for e in readable if _changed(e, truths[e.name])}
    failures += [
        FailureRecord(n, None, f"{n}: the frame changed during the run") for n in sorted(changed)
    ]
    readable = [e for e in readable if e.name not in changed]
    common = [e for e in readable if all(o[e.name].reason is None for o in done.values())]
    frames = tuple(_frame_record(e, truths[e.name]) for e in entries)
    record = replace(
        record,
        dataset=replace(record.dataset, frames=frames),
        failures=tuple(dict.fromkeys(failures)),  # a frame may be unreadable for each detector
        detectors=tuple(costs),
        tuning=tuning,
    )
    if not any(e.split == "test" for e in common):
        write_record(replace(record, status=WITH_FAILURES), plan.paths.record)
        reasons = "; ".join(f"{f.reason}" for f in failures[:3])
        raise BadInputError(
            plan.dataset.name,
            "at least one test frame that every detector finished",
            f"{len(failures)} failures: {reasons}" if failures else "no frame of the test split",
        )

    progress("score", "", 1)
    result = _evaluate(plan, common, truths, done, detectors, tuned)
    _write_tables(plan, result)
    remove_unfinished(plan.folder)  # of workers that were killed; their frames were tried again
    progress("score", "tables", 1)
    points = set(result.scores["point"])
    record = replace(
        record,
        detectors=tuple(
            replace(d, calibrated_threshold=result.calibrated.get(d.name)) for d in costs
        ),
        points=tuple(p for p in POINTS if p in points),
        warnings=(
            *catalog_warnings(plan.paths, truths, plan.rules),
            *(line for outcomes in done.values() for line in detector_notes(outcomes.values())),
            *ignored_lines(plan.suspects, result.analyses[SUSPECTS_IGNORED.name]),
        ),
        bins_mag=result.edges,
        finished_utc=now_utc(),
        status=WITH_FAILURES if failures else COMPLETE,
    )
    write_record(record, plan.paths.record)
    return record


def _failures(outcomes: Mapping[str, Outcome], detector: str | None) -> list[FailureRecord]:
    """Return the failures of a stage; a frame that cannot be read is no detector's failure."""
    return [
        FailureRecord(o.frame, None if o.about_frame else detector, o.reason)
        for o in outcomes.values()
        if o.reason is not None
    ]


def _changed(entry: Entry, truth: Outcome) -> bool:
    """Return True if the files of a frame changed after its truth was prepared."""
    return bool(truth.facts["fingerprint"] != frame_fingerprint(entry))


def _truth_stage(
    plan: RunPlan, pool: Executor, entries: Sequence[Entry], progress: ProgressCallback
) -> dict[str, Outcome]:
    """Prepare the truth and the preview of every frame."""
    paths = plan.paths
    jobs = (
        Job(
            entry.name,
            prepare_truth,
            (
                entry,
                plan.rules,
                paths,
                plan.sectioning,
                None if plan.suspects is None else plan.suspects.of(entry.name),
            ),
        )
        for entry in entries
    )
    in_flight = plan.in_flight(plan.truth_workers or plan.workers)
    return gather("truth", pool, jobs, len(entries), in_flight, progress)


def _tune_stage(
    plan: RunPlan, entries: Sequence[Entry], progress: ProgressCallback
) -> tuple[list[Tuned], dict[str, Any] | None]:
    """Tune every detector, write the table of trials and return what the record says of it."""
    if plan.tuning is None:
        return [], None
    tuned = tune(
        entries,
        plan.specs,
        plan.tuning,
        plan.rules,
        plan.paths.tuning,
        workers=plan.workers,
        progress=progress,
        sectioning=plan.sectioning,
    )
    write_table(plan.paths.trials(), pd.concat([t.table() for t in tuned], ignore_index=True))
    return tuned, {
        "rules": plan.tuning.model_dump(mode="json"),
        "crossfit": all(e.split != "calibration" for e in entries),
        "contestants": [t.record() for t in tuned],
    }


def _with_tuned(specs: Sequence[DetectorSpec], tuned: Sequence[Tuned]) -> list[DetectorSpec]:
    """Return every detector, followed by itself with tuned settings."""
    better = {t.spec.name: t.tuned() for t in tuned}
    names = {spec.name for spec in specs}
    for name, one in better.items():
        if one is not None and one.name in names:
            raise ArgumentError("detectors", f"no detector called {name}{SUFFIX}", repr(one.name))
    pairs = [(spec, better.get(spec.name)) for spec in specs]
    return [spec for pair in pairs for spec in pair if spec is not None]


def _detect_stage(
    plan: RunPlan,
    spec: DetectorSpec,
    entries: Sequence[Entry],
    truths: Mapping[str, Outcome],
    progress: ProgressCallback,
) -> dict[str, Outcome]:
    """Run one detector on every frame that has no catalogue of it yet."""
    outcomes: dict[str, Outcome] = {}
    missing: list[tuple[Entry, Path]] = []
    for entry in entries:
        target = plan.paths.catalog(spec.name, entry.name)
        facts = _finished(entry, target, spec)
        if facts is not None:
            outcomes[entry.name] = Outcome(entry.name, facts)
        else:
            missing.append((entry, target))
    jobs = (
        Job(entry.name, detect_frame, (spec.on(entry.name), entry, plan.rules, target),
            {"sectioning": plan.sectioning, "time_limit_s": plan.frame_timeout_s,
             "stars": truths[entry.name].facts["star_notes"]})
        for entry, target in missing
    )  # fmt: skip
    # A pool for each detector: its peak memory is then its own, and a library that changes
    # the state of its process does not affect the next detector.
    workers = min(plan.workers, max(1, len(missing)))
    threads, limit_s = threads_each(plan.workers), plan.frame_timeout_s
    with executor(plan.scheduler, workers, threads, limit_s) as pool:
        in_flight = plan.in_flight(plan.workers)
        return outcomes | gather(spec.name, pool, jobs, len(missing), in_flight, progress)


#: Facts beside a catalogue that tell whether it can be kept.
_CHECKED: Final = ("fingerprint", "settings", "catalog_sha256")


def _finished(entry: Entry, target: Path, spec: DetectorSpec) -> dict[str, Any] | None:
    """Return the facts of a catalogue written earlier from the same frame, or None."""
    settings = spec.on(entry.name).model_dump(mode="json")["settings"]
    try:
        facts = json.loads(target.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    same = isinstance(facts, dict) and facts.get("fingerprint") == frame_fingerprint(entry)
    same = same and facts.get("settings") == settings
    # A catalogue that was damaged or replaced is not of this detector: the frame is run again.
    digest = content_sha256(target) if same else None
    if digest is None or facts.get("catalog_sha256") != digest:
        return None
    return {key: value for key, value in facts.items() if key not in _CHECKED}


def _detector_record(
    spec: DetectorSpec, detector: Detector, outcomes: Mapping[str, Outcome]
) -> DetectorRecord:
    """Return settings and cost of a detector."""
    facts = [o.facts for o in outcomes.values() if o.reason is None]
    seconds, mpix = sum(f["seconds"] for f in facts), sum(f["mpix"] for f in facts)
    info = detector_info(detector)
    return DetectorRecord(
        name=spec.name,
        use=spec.use,
        settings=detector.settings.model_dump(mode="json"),
        default_threshold=None if spec.per_frame else info.default_threshold,
        weights_sha256=info.weights_sha256,
        program_version=info.program_version,
        device=info.device,
        seconds=round(seconds, 4),
        mpix=round(mpix, 6),
        mpix_per_s=round(mpix / seconds, 4) if seconds else None,
        peak_memory_mib=round(max((f["peak_memory_mib"] for f in facts), default=0.0), 1),
        frames_done=len(facts),
        frames_failed=len(outcomes) - len(facts),
    )


def _frame_record(entry: Entry, truth: Outcome) -> FrameRecord:
    """Return the record of a frame, with every field of it that the worker's facts hold."""
    keys = {field.name for field in fields(FrameRecord)}
    facts = {key: value for key, value in truth.facts.items() if key in keys}
    return FrameRecord(
        name=entry.name,
        path=str(entry.frame),
        truth=None if entry.truth is None else str(entry.truth),
        split=entry.split,
        group=entry.group or ALL_GROUPS,
        **facts,
    )


def _evaluate(
    plan: RunPlan,
    entries: Sequence[Entry],
    truths: Mapping[str, Outcome],
    done: Mapping[str, Mapping[str, Outcome]],
    detectors: Mapping[str, Detector],
    tuned: Sequence[Tuned],
) -> Evaluation:
    """Score the detectors; counts and pairs are written at once."""
    cuts = {t.spec.name: t.cuts(tuned=False) for t in tuned}
    cuts |= {t.spec.name + SUFFIX: t.cuts(tuned=True) for t in tuned}
    of = [(e, truths[e.name].facts) for e in entries]
    frames = tuple(
        FrameFacts(
            name=e.name,
            mpix=facts["mpix"],
            group=e.group or ALL_GROUPS,
            split=e.split,
            fwhm=facts["fwhm"],
            shape=(facts["ny"], facts["nx"]),
        )
        for e, facts in of
    )
    jobs = [
        ScoringJob(
            detector=spec.name,
            default_threshold=detector_info(detectors[spec.name]).default_threshold,
            cuts=cuts.get(spec.name, {}),
        )
        for spec in plan.specs
    ]
    most_found = max(sum(o[e.name].facts.get("n_found", 0) for e in entries) for o in done.values())
    n_sources = most_found + sum(facts["n_truth"] for _, facts in of)
    processes = processes_for(len(jobs), len(frames), n_sources, plan.truth_workers or plan.workers)
    task = ScoringTask(plan.paths, frames, plan.rules, plan.suspects is not None)
    return score_detectors(task, jobs, processes)


def _write_tables(plan: RunPlan, result: Evaluation) -> None:
    """Write every table but the counts, which are written already."""
    paths = plan.paths
    for schema in (SCORES, sweep_table(), LIMITS):
        write_table(paths.table(schema.name), getattr(result, schema.name))
    for name, table in result.analyses.items():
        write_table(paths.analysis(name), table)
    comparisons = compare_all(result.comparison_samples, plan.rules)
    write_table(paths.table(COMPARISONS.name), within_possible(comparisons))
