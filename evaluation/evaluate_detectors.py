"""Evaluate detectors: from frames to the tables of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from skyduel.core.errors import BadInputError, require_each, require_kind, takes
from skyduel.evaluation.analyses.all_analyses import ANALYSES, STUDIES
from skyduel.evaluation.comparison.compare import ComparisonSample, comparison_sample
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.candidate_store import CandidateFrame, candidate_frames, pool_frames
from skyduel.evaluation.scoring.counts import bin_edges, bin_table
from skyduel.evaluation.scoring.depth import completeness_limits, fit_limits, limits_row
from skyduel.evaluation.scoring.frame_score import (
    CALIBRATION,
    TEST,
    FrameInput,
    FrameScore,
    choose_edges,
)
from skyduel.evaluation.scoring.ragged import FrameSequence
from skyduel.evaluation.scoring.resampling_units import resampling_units
from skyduel.evaluation.scoring.score_store import score_all
from skyduel.evaluation.scoring.scores import score_table
from skyduel.evaluation.scoring.table_columns import (
    ANALYSIS_COLUMNS,
    ANALYSIS_KEYS,
    COUNT_COLUMNS,
    COUNTS_COLUMNS,
    LIMITS_COLUMNS,
    SCORES_COLUMNS,
    sweep_columns,
)
from skyduel.evaluation.scoring.threshold_sweep import (
    Curve,
    best_f1_threshold,
    grid,
    purity_threshold,
    sweep,
)
from skyduel.evaluation.table_keys import (
    ALL_GROUPS,
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
)

__all__ = [
    "Evaluation",
    "Sink",
    "evaluate",
    "evaluate_detector",
    "merge",
]

#: Frames whose counts are handed over at a time.
_TOGETHER: Final = 4096


class Sink(Protocol):
    """Takes the parts of an evaluation that grow with the number of frames."""

    def counts(self, table: pd.DataFrame) -> None:
        """Take rows of the table ``counts``; parts follow each other."""

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        """Take what became of every test frame at one operating point."""


class _Kept:
    """Keeps everything."""

    def __init__(self) -> None:
        self.tables: list[pd.DataFrame] = []
        self.scored: dict[tuple[str, str], Sequence[FrameScore]] = {}

    def counts(self, table: pd.DataFrame) -> None:
        self.tables.append(table)

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        self.scored[detector, point] = frames


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The tables of a run, with the columns of ``docs/run-folder.md``.

    Parameters
    ----------
    counts, scores, sweep, limits : DataFrame
        All of the test split.
    calibrated : dict of str to float or None
        Each detector's threshold from the calibration split; None without one
        (or where the detector found nothing on it).
    frames : dict of (detector, point) to sequence of FrameScore
        What became of every frame of the test split, for the pairs tables. At
        ``purity95`` each frame is cut at its own group's threshold, and frames
        of a group that never gets so pure are absent.
    edges : tuple of float
        Bin edges [mag].
    analyses : dict of str to DataFrame
        The tables of `skyduel.evaluation.analyses.all_analyses`, studies among them, by name.
    comparison_samples : dict of (detector, point, group) to ComparisonSample
        What detectors are compared by, see `skyduel.evaluation.comparison.compare`.
    """

    counts: pd.DataFrame
    scores: pd.DataFrame
    sweep: pd.DataFrame
    limits: pd.DataFrame
    calibrated: Mapping[str, float | None]
    frames: Mapping[tuple[str, str], Sequence[FrameScore]]
    edges: tuple[float, ...]
    analyses: Mapping[str, pd.DataFrame]
    comparison_samples: Mapping[tuple[str, str, str], ComparisonSample]


@takes(detectors=Mapping, rules=ScoringRules, default_thresholds=Mapping)
def evaluate(
    detectors: Mapping[str, Sequence[FrameInput]],
    rules: ScoringRules,
    *,
    default_thresholds: Mapping[str, float | None] | None = None,
) -> Evaluation:
    """Return the tables of several detectors on one set of frames.

    Parameters
    ----------
    detectors : mapping of name to frames
        Each detector's frames, of all splits.
    rules : ScoringRules
        How to pair, count and resample.
    default_thresholds : mapping of name to float, optional
        Each detector's own ``score_threshold``; None or absent: every row.

    Raises
    ------
    BadInputError
        If an argument has another type, or a detector has a frame twice.
    """
    given = default_thresholds or {}
    for name, frames in detectors.items():
        require_each(f"frames of {name}", frames, FrameInput)
    edges = choose_edges((f for frames in detectors.values() for f in frames), rules)
    parts = [
        evaluate_detector(name, frames, rules, edges, default_threshold=given.get(name))
        for name, frames in detectors.items()
    ]
    return merge(parts, edges)


def merge(parts: Sequence[Evaluation], edges: Sequence[float]) -> Evaluation:
    """Return the evaluations of several detectors as one; they share their edges."""
    kept = bin_edges(edges)
    require_each("merge: parts", parts, Evaluation)
    for part in parts:
        if part.edges != kept:
            raise BadInputError("evaluations", f"edges {kept}", f"edges {part.edges}")
    return Evaluation(
        counts=_stack([p.counts for p in parts], COUNTS_COLUMNS),
        scores=_stack([p.scores for p in parts], SCORES_COLUMNS),
        sweep=_stack([p.sweep for p in parts], sweep_columns()),
        limits=_stack([p.limits for p in parts], LIMITS_COLUMNS),
        calibrated={k: v for p in parts for k, v in p.calibrated.items()},
        frames={k: v for p in parts for k, v in p.frames.items()},
        edges=kept,
        analyses={
            name: _stack([p.analyses[name] for p in parts], columns)
            for name, columns in ANALYSIS_COLUMNS.items()
        },
        comparison_samples={k: v for p in parts for k, v in p.comparison_samples.items()},
    )


@takes(name=str, frames=Sequence, rules=ScoringRules, default_threshold=Real)
def evaluate_detector(
    name: str,
    frames: Sequence[FrameInput],
    rules: ScoringRules,
    edges: Sequence[float],
    *,
    default_threshold: float | None = None,
    sink: Sink | None = None,
) -> Evaluation:
    """Return the tables of one detector.

    Parameters
    ----------
    name : str
        The detector's.
    frames : sequence of FrameInput
        Of all splits, each frame once.
    rules : ScoringRules
        How to pair, count and resample.
    edges : sequence of float
        Bin edges [mag], the same for every detector (`choose_edges`).
    default_threshold : float, optional
        The detector's own ``score_threshold``.
    sink : Sink, optional
        Takes what grows with the number of frames, one operating point after the
        other; ``counts`` and ``frames`` of the result are then empty.

    Notes
    -----
    The point ``calibrated`` (only with frames of the split *calibration*) is
    cut at their score of highest pooled F1. At ``purity95`` each group is cut
    at its own threshold and the group ``all`` at that of all frames together:
    there ``counts`` holds each frame for its group and once more for ``all``.
    A group that never gets so pure has no counts there, scores of no frames,
    and a row of NaN in ``limits``.

    Frames with ``cuts`` of their own are cut there at ``default`` and
    ``calibrated``; where these differ, ``limits`` has no threshold.
    """
    keep, kept = _Kept() if sink is None else sink, bin_edges(edges)
    _check_unique(name, frames)
    calibration, test = (
        candidate_frames([f for f in frames if f.split == split], rules)
        for split in (CALIBRATION, TEST)
    )
    own = tuple(f.group for f in frames if f.split == TEST)
    data = _TestSet(name, test, own, _by_group(test, own), rules, kept)
    curves = {group: pool_frames(members) for group, members in data.groups.items()}
    calibrated = _calibrated_threshold(calibration)

    thresholds: dict[str, float | None] = {DEFAULT_POINT: default_threshold}
    if calibrated is not None:
        thresholds[CALIBRATED_POINT] = calibrated
    if test and all(CALIBRATED_POINT in f.source.cuts for f in test):
        thresholds.setdefault(CALIBRATED_POINT, None)

    studies = _study_tables(data, calibration)
    parts: list[_PointTables] = []
    for point, threshold in thresholds.items():
        parts += _at_threshold(data, point, threshold, keep)
    parts += _at_equal_purity(data, curves, keep)
    swept = [
        sweep(c, grid(c, rules.n_thresholds)).assign(detector=name, group=group)
        for group, c in curves.items()
    ]
    tables = {a.name: _labelled(parts, a.name, name) for a in ANALYSES} | studies
    return Evaluation(
        counts=_stack(keep.tables if isinstance(keep, _Kept) else [], COUNTS_COLUMNS),
        scores=_stack([p.scores for p in parts], SCORES_COLUMNS),
        sweep=_stack(swept, sweep_columns()),
        limits=_stack([p.limits for p in parts], LIMITS_COLUMNS),
        calibrated={name: calibrated},
        frames=keep.scored if isinstance(keep, _Kept) else {},
        edges=kept,
        analyses={k: _stack(tables[k], columns) for k, columns in ANALYSIS_COLUMNS.items()},
        comparison_samples={(name, p.point, p.group): p.sample for p in parts},
    )


@dataclass(frozen=True, eq=False)
class _TestSet:
    """One detector's frames of the test split, and what all steps need beside them.

    ``own_group`` holds each frame's group, and ``groups`` the frames of each group, those of
    all groups together first.
    """

    detector: str
    frames: FrameSequence[CandidateFrame]
    own_group: tuple[str, ...]
    groups: Mapping[str, FrameSequence[CandidateFrame]]
    rules: ScoringRules
    edges: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _PointTables:
    """The tables of one detector at one operating point and group; ``analyses`` without keys."""

    point: str
    group: str
    scores: pd.DataFrame
    limits: pd.DataFrame
    sample: ComparisonSample
    analyses: Mapping[str, pd.DataFrame]


def _check_unique(detector: str, frames: Sequence[FrameInput]) -> None:
    """Raise if a frame is given twice, or something else."""
    seen = []
    for k, one in enumerate(frames):  # once: they may be made when they are looked at
        require_kind(f"frames of {detector}[{k}]", one, FrameInput)
        seen.append(one.frame)
    if len(set(seen)) < len(seen):
        twice = next(f for f in seen if seen.count(f) > 1)
        raise BadInputError(f"frames of {detector}", "each frame once", f"{twice!r} twice")


def _by_group(
    test: FrameSequence[CandidateFrame], own: Sequence[str]
) -> dict[str, FrameSequence[CandidateFrame]]:
    """Return the frames of all groups together, and then those of each group by name."""
    groups = {ALL_GROUPS: test}
    for group in sorted(set(own) - {ALL_GROUPS}):
        groups[group] = test.part([k for k, g in enumerate(own) if g == group])
    return groups


def _calibrated_threshold(calibration: Sequence[CandidateFrame]) -> float | None:
    """Return the score of highest pooled F1 on the calibration frames, None without one."""
    best = best_f1_threshold(pool_frames(calibration)) if calibration else np.nan
    return None if np.isnan(best) else float(best)


def _study_tables(
    data: _TestSet, calibration: FrameSequence[CandidateFrame]
) -> dict[str, list[pd.DataFrame]]:
    """Return the tables of every study, one for each group."""
    tables: dict[str, list[pd.DataFrame]] = {study.name: [] for study in STUDIES}
    for group, members in data.groups.items():
        places = [k for k, f in enumerate(calibration) if group in (ALL_GROUPS, f.source.group)]
        for study in STUDIES:
            rows = study.compute(calibration.part(places), members, data.rules, data.edges)
            tables[study.name].append(rows.assign(detector=data.detector, group=group))
    return tables


def _at_threshold(
    data: _TestSet, point: str, threshold: float | None, sink: Sink
) -> list[_PointTables]:
    """Return the tables of each group at a point where all groups share the threshold."""
    cuts = [f.source.cuts.get(point, threshold) for f in data.frames]
    scored = score_all(data.frames, data.rules, data.edges, cuts)
    shared = cuts[0] if len(set(cuts)) == 1 else None
    _count_frames(sink, scored, data.detector, point, None)
    parts = []
    for group in data.groups:
        places = [k for k, g in enumerate(data.own_group) if group in (ALL_GROUPS, g)]
        parts.append(_point_tables(data, scored.part(places), len(places), point, group, shared))
    sink.frames(data.detector, point, scored)
    return parts


def _at_equal_purity(data: _TestSet, curves: Mapping[str, Curve], sink: Sink) -> list[_PointTables]:
    """Return the tables of each group, cut at its own threshold of the nominal purity."""
    parts = []
    pure: dict[str, FrameSequence[FrameScore]] = {}
    members: FrameSequence[FrameScore] | None = None
    for group, candidates in data.groups.items():
        threshold = purity_threshold(curves[group], NOMINAL_PURITY)
        feasible = not np.isnan(threshold)
        cut = [threshold] * len(candidates) if feasible else []
        # A group that is all frames has the scores of all frames.
        if members is None or candidates is not data.frames:
            chosen = candidates if feasible else candidates.part([])
            members = score_all(chosen, data.rules, data.edges, cut)
        _count_frames(sink, members, data.detector, EQUAL_PURITY_POINT, group)
        parts.append(
            _point_tables(data, members, len(candidates), EQUAL_PURITY_POINT, group, threshold)
        )
        if feasible and group in data.own_group:
            pure[group] = members
    sink.frames(data.detector, EQUAL_PURITY_POINT, _joined(pure, data.own_group))
    return parts


def _point_tables(
    data: _TestSet,
    members: Sequence[FrameScore],
    n_frames: int,
    point: str,
    group: str,
    threshold: float | None,
) -> _PointTables:
    """Return the tables of some scored frames at one operating point and group."""
    labels = {"detector": data.detector, "point": point, "group": group}
    fitted = completeness_limits(members, data.rules)
    limits = limits_row(members, n_frames, data.edges, fitted, threshold)
    return _PointTables(
        point,
        group,
        scores=_frame_scores(members, data.edges, data.rules).assign(**labels),
        limits=limits.assign(**fit_limits(members, data.rules).columns(), **labels),
        sample=comparison_sample(members, data.edges, data.rules, limits=fitted[:2]),
        analyses={a.name: a.compute(members, data.rules, data.edges) for a in ANALYSES},
    )


def _joined(
    groups: Mapping[str, FrameSequence[FrameScore]], own: Sequence[str]
) -> FrameSequence[FrameScore]:
    """Return the frames of some groups in the order of the set, given every frame's own group."""
    seen: dict[str, int] = dict.fromkeys(groups, 0)
    places: list[tuple[str, int]] = []
    for k, group in enumerate(own):
        if group in groups:
            places.append((group, k if group == ALL_GROUPS else seen[group]))
            seen[group] += 1
    return FrameSequence(lambda k: groups[places[k][0]][places[k][1]], len(places))


def _count_frames(
    sink: Sink, frames: Sequence[FrameScore], detector: str, point: str, group: str | None
) -> None:
    """Hand over the counts of frames, some thousand at a time."""
    for first in range(0, len(frames), _TOGETHER):
        sink.counts(_frame_counts(frames[first : first + _TOGETHER], detector, point, group))


def _frame_counts(
    frames: Sequence[FrameScore], detector: str, point: str, group: str | None
) -> pd.DataFrame:
    """Return the counts of some frames, under one group or each under its own."""
    if not frames:
        return pd.DataFrame(columns=list(COUNTS_COLUMNS))
    n = len(frames[0].counts.truths)
    bins = bin_table(frames[0].counts.edges)
    integers = np.concatenate([f.counts.array() for f in frames], axis=1)
    groups = [group or f.source.group for f in frames]
    table: dict[str, Any] = {
        "detector": detector,
        "point": point,
        "frame": np.repeat(np.array([f.source.frame for f in frames], dtype=object), n),
        "group": np.repeat(np.array(groups, dtype=object), n),
    }
    table |= {str(name): np.tile(bins[name].to_numpy(), len(frames)) for name in bins}
    table |= dict(zip(COUNT_COLUMNS, integers, strict=True))
    return pd.DataFrame(table)


def _frame_scores(
    frames: Sequence[FrameScore], edges: Sequence[float], rules: ScoringRules
) -> pd.DataFrame:
    """Return the scores of some frames per bin, see `score_table`."""
    units = resampling_units(frames, rules)
    return score_table(
        FrameSequence(lambda k: frames[k].counts, len(frames)),
        [f.source.mpix for f in frames],
        edges,
        rules,
        blocks=units.counts if units.blocks else None,
    )


def _labelled(parts: Sequence[_PointTables], name: str, detector: str) -> list[pd.DataFrame]:
    """Return the tables of an analysis as one with its `KEYS`, in a list; none without rows."""
    filled = [(p, p.analyses[name]) for p in parts if len(p.analyses[name])]
    if not filled:
        return []
    sizes = [len(table) for _, table in filled]
    words = zip(*((detector, p.point, p.group) for p, _ in filled), strict=True)
    keys = {
        key: np.repeat(np.array(word, dtype=object), sizes)
        for key, word in zip(ANALYSIS_KEYS, words, strict=True)
    }
    rows = pd.concat([table for _, table in filled], ignore_index=True)
    return [pd.concat([pd.DataFrame(keys), rows], axis=1)]


def _stack(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [p for p in parts if len(p)]
    if not filled:
        return pd.DataFrame({c: pd.Series(dtype="float64") for c in columns})
    return pd.concat(filled, ignore_index=True)[list(columns)]
