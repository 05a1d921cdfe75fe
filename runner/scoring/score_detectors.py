"""Score the detectors of a run from its files, several at a time where there are cores for it.

A process for itself scores one detector: it reads the catalogues, writes the pairs, and returns
the tables and the counts, which this process writes in the order of the detectors. So every file
has the same bytes as if one detector were scored after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import pandas as pd

from skyduel.core.catalog import Catalog
from skyduel.core.io.packed_tables import read_packed
from skyduel.evaluation.analyses.suspects import SuspectCollector
from skyduel.evaluation.evaluate_detectors import Evaluation, evaluate_detector, merge
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import TEST, FrameInput, FrameScore, choose_edges
from skyduel.evaluation.scoring.table_columns import SUSPECTS_IGNORED_COLUMNS
from skyduel.evaluation.suspect_list import counted_scores
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.schema import (
    CALIBRATED_POINT,
    DEFAULT_POINT,
    SUSPECTS,
    SUSPECTS_IGNORED,
)
from skyduel.run_folder.write_tables import CountsWriter, write_pairs
from skyduel.runner.execution.process_pool import process_pool

__all__ = ["FrameFacts", "ScoringJob", "ScoringTask", "processes_for", "score_detectors"]

#: What the scoring of one detector holds of a frame and of a source, its truths among them [bytes].
_PER_FRAME: Final = 12_000
_PER_SOURCE: Final = 300
#: What all processes may hold together [bytes]; a single one holds what it needs.
_MOST_TOGETHER: Final = 2 * 1024**3


@dataclass(frozen=True)
class FrameFacts:
    """What scoring needs to know of a frame beside its catalogues, as in `FrameInput`."""

    name: str
    mpix: float
    group: str
    split: str
    fwhm: float | None
    shape: tuple[int, int]


@dataclass(frozen=True)
class ScoringTask:
    """What all detectors of a run have in common.

    Parameters
    ----------
    paths : RunPaths
        The run folder with truths and catalogues.
    frames : tuple of FrameFacts
        The frames, the same for every detector.
    rules : ScoringRules
        How to pair, count and resample.
    suspects_ignored : bool
        Whether suspects in the truth are ignored: then scores are also given with them.
    """

    paths: RunPaths
    frames: tuple[FrameFacts, ...]
    rules: ScoringRules
    suspects_ignored: bool = False


@dataclass(frozen=True)
class ScoringJob:
    """One detector: its name, its own threshold, and thresholds of single frames by point."""

    detector: str
    default_threshold: float | None
    cuts: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, eq=False)
class _Scored:
    """The tables of one detector, and its scores with and without ignored suspects."""

    evaluation: Evaluation
    ignored: pd.DataFrame | None


@dataclass(frozen=True, eq=False)
class _ScoredApart(_Scored):
    """What another process returns: counts and candidates of suspects besides."""

    counts: Sequence[pd.DataFrame]
    suspects: Mapping[str, Any]


class _PairsWriter:
    """Writes pairs and keeps counts (`skyduel.evaluation.evaluate_detectors.Sink`)."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self.tables: list[pd.DataFrame] = []

    def counts(self, table: pd.DataFrame) -> None:
        self.tables.append(table)

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        write_pairs(self._paths, detector, point, frames)


def processes_for(n_detectors: int, n_frames: int, n_sources: int, most: int) -> int:
    """Return how many processes score detectors at a time.

    Parameters
    ----------
    n_detectors, n_frames : int
        Number of detectors and of frames.
    n_sources : int
        True sources and detections of all frames, of the detector that has most.
    most : int
        Number of processes allowed.
    """
    each = _PER_FRAME * n_frames + _PER_SOURCE * n_sources
    return max(1, min(n_detectors, most, _MOST_TOGETHER // max(each, 1)))


def score_detectors(
    task: ScoringTask, jobs: Sequence[ScoringJob], processes: int = 1
) -> Evaluation:
    """Score detectors; write counts and pairs at once, and return all other tables.

    Parameters
    ----------
    task : ScoringTask
        The frames and rules.
    jobs : sequence of ScoringJob
        The detectors, in the order of the tables.
    processes : int
        Detectors that are scored at a time; with 1 this process does it. Every file and table
        is the same for any number.
    """
    parts: list[Evaluation] = []
    ignored: list[pd.DataFrame] = []
    try:
        with CountsWriter(task.paths.folder) as writer:
            suspects = SuspectCollector(writer, task.rules, DEFAULT_POINT)
            for scored in _all_scored(task, jobs, processes, suspects):
                parts.append(scored.evaluation)
                ignored += [] if scored.ignored is None else [scored.ignored]
    finally:
        _truths.cache_clear()
    merged = merge(parts, parts[0].edges)
    without = pd.DataFrame(columns=list(SUSPECTS_IGNORED_COLUMNS))
    more = {
        SUSPECTS.name: suspects.table(),
        SUSPECTS_IGNORED.name: pd.concat(ignored, ignore_index=True) if ignored else without,
    }
    return replace(merged, analyses={**merged.analyses, **more})


def _all_scored(
    task: ScoringTask, jobs: Sequence[ScoringJob], processes: int, suspects: SuspectCollector
) -> Iterator[_Scored]:
    """Return the results in the order of the jobs; the collector takes what grows with frames."""
    with ExitStack() as stack:
        later = []
        if processes > 1:
            pool = stack.enter_context(process_pool(processes, 1))
            later = [pool.submit(_score_apart, task, job) for job in jobs]
        for k, job in enumerate(jobs):
            try:
                apart = later[k].result() if later else None
            except BrokenProcessPool:  # killed twice: this process has the memory, or says so
                apart = None
            if apart is None:
                yield _score(task, job, suspects)
                continue
            for table in apart.counts:
                suspects.counts(table)
            suspects.take(job.detector, apart.suspects)
            yield apart


def _score_apart(task: ScoringTask, job: ScoringJob) -> _ScoredApart:
    pairs = _PairsWriter(task.paths)
    suspects = SuspectCollector(pairs, task.rules, DEFAULT_POINT)
    scored = _score(task, job, suspects)
    found = suspects.candidates[job.detector]
    return _ScoredApart(scored.evaluation, scored.ignored, pairs.tables, found)


def _score(task: ScoringTask, job: ScoringJob, sink: SuspectCollector) -> _Scored:
    """Score one detector."""
    frames = _inputs(task, job)
    # The same for every detector: they follow from the truths.
    edges = choose_edges(frames, task.rules)
    part = evaluate_detector(
        job.detector,
        frames,
        task.rules,
        edges,
        default_threshold=job.default_threshold,
        sink=sink,
    )
    if not task.suspects_ignored:
        return _Scored(part, None)
    points = {DEFAULT_POINT: job.default_threshold}
    if part.calibrated[job.detector] is not None:
        points[CALIBRATED_POINT] = part.calibrated[job.detector]
    test = [f for f in frames if f.split == TEST]
    return _Scored(part, counted_scores(job.detector, test, points, task.rules, edges))


def _inputs(task: ScoringTask, job: ScoringJob) -> list[FrameInput]:
    names = tuple(f.name for f in task.frames)
    truths = _truths(task.paths, names)
    found = read_packed(task.paths.catalog(job.detector, name) for name in names)
    return [
        FrameInput(
            frame=f.name,
            truth=truth,
            found=catalog,
            mpix=f.mpix,
            group=f.group,
            split=f.split,
            fwhm=f.fwhm,
            shape=f.shape,
            cuts=job.cuts.get(f.name, {}),
        )
        for f, truth, catalog in zip(task.frames, truths, found, strict=True)
    ]


@lru_cache(maxsize=1)
def _truths(paths: RunPaths, names: tuple[str, ...]) -> tuple[Catalog, ...]:
    """Return the truths of frames, read once for all detectors that a process scores."""
    return tuple(read_packed(paths.truth(name) for name in names))
