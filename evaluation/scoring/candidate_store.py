"""Candidate pairs and threshold events of frames, reused at every operating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.matching.candidates import Candidates, flag, match_radii
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameInput
from skyduel.evaluation.scoring.ragged import FrameSequence, Ragged
from skyduel.evaluation.scoring.threshold_sweep import Curve, frame_events, pool

__all__ = ["CandidateFrame", "candidate_frame", "candidate_frames", "pool_frames"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CandidateFrame:
    """One detector on one frame, before any threshold is chosen.

    Parameters
    ----------
    source : FrameInput
        The frame.
    candidates : Candidates
        Its candidate pairs.
    events : tuple of ndarray
        How its counts change with the threshold, see `threshold_sweep.frame_events`.
    """

    source: FrameInput
    candidates: Candidates
    events: tuple[Floats, Ints, Ints]


def candidate_frame(source: FrameInput, rules: ScoringRules) -> CandidateFrame:
    """Return a frame with its candidate pairs and its events."""
    candidates = source.candidates(rules)
    return CandidateFrame(source, candidates, frame_events(candidates, source.found["score"]))


def candidate_frames(
    sources: Sequence[FrameInput], rules: ScoringRules
) -> FrameSequence[CandidateFrame]:
    """Return the candidate frames of many frames, stored by column; see `ragged`."""
    store = _CandidateColumns(sources, rules)
    return FrameSequence(lambda k: _StoredCandidateFrame(store, k), len(sources))


def pool_frames(frames: Sequence[CandidateFrame]) -> Curve:
    """Return the pooled counts of several frames at every distinct score."""
    truths = sum(int((~p.candidates.truth_ignore).sum()) for p in frames)
    return pool([p.events for p in frames], truths, float(sum(p.source.mpix for p in frames)))


class _CandidateColumns:
    """Columns of the candidates and events of all frames; catalogues are not copied."""

    def __init__(self, sources: Sequence[FrameInput], rules: ScoringRules) -> None:
        self.sources, self._rules = sources, rules
        self._edges = tuple(Ragged() for _ in range(6))
        self._events = tuple(Ragged() for _ in range(3))
        for source in sources:
            made = candidate_frame(source, rules)
            c = made.candidates
            edges = (
                c.truth_index, c.found_index, c.separation, c.unlike, c.truth_rank, c.found_rank,
            )  # fmt: skip
            for column, values in zip(self._edges, edges, strict=True):
                column.append(values)
            for column, values in zip(self._events, made.events, strict=True):
                column.append(values)

    def candidates(self, k: int) -> Candidates:
        source = self.sources[k]
        i, j, separation, unlike, truth_rank, found_rank = (column[k] for column in self._edges)
        radius = self._rules.radius_for(source.fwhm)
        return Candidates(
            truth_index=i,
            found_index=j,
            separation=separation,
            unlike=unlike,
            truth_rank=truth_rank,
            found_rank=found_rank,
            radius_px=radius,
            truth_ignore=flag(source.truth, "ignore"),
            truth_streak=source.truth.is_streak,
            found_ignore=flag(source.found, "ignore"),
            rule=self._rules.pairing,
            found_score=source.found["score"],
            truth_radius=match_radii(source.truth, radius),
        )

    def events(self, k: int) -> tuple[Floats, Ints, Ints]:
        score, found, detections = (column[k] for column in self._events)
        return score, found, detections


class _StoredCandidateFrame(CandidateFrame):
    """A candidate frame read from columns; each field is built when it is read."""

    def __init__(self, store: _CandidateColumns, k: int) -> None:
        object.__setattr__(self, "source", store.sources[k])
        object.__setattr__(self, "_at", (store, k))

    _at: tuple[_CandidateColumns, int]

    @cached_property
    def candidates(self) -> Candidates:
        store, k = self._at
        return store.candidates(k)

    @cached_property
    def events(self) -> tuple[Floats, Ints, Ints]:
        store, k = self._at
        return store.events(k)
