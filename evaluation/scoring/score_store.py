"""Scored frames of one operating point, stored by column; see `ragged`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.matching.candidates import Candidates, flag
from skyduel.evaluation.matching.matching import Pairing, Pairs
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.candidate_store import CandidateFrame
from skyduel.evaluation.scoring.counts import Counts, ZeroPoint
from skyduel.evaluation.scoring.frame_score import FrameInput, FrameScore, score_frame
from skyduel.evaluation.scoring.ragged import FrameSequence, Ragged
from skyduel.evaluation.scoring.table_columns import COUNT_COLUMNS

__all__ = ["score_all"]

Bools = npt.NDArray[np.bool_]

#: Of a zero-point.
_SOURCES: Final = ("none", "pairs", "truth")


def score_all(
    frames: Sequence[CandidateFrame],
    rules: ScoringRules,
    edges: Sequence[float],
    thresholds: Sequence[float | None],
) -> FrameSequence[FrameScore]:
    """Score each frame at its threshold, as `score_frame`, and return the results."""
    store = _ScoreColumns(frames, rules, edges, thresholds)
    return FrameSequence(lambda k: _StoredFrameScore(store, k), len(frames))


class _ScoreColumns:
    """Columns of the scores of all frames; catalogues and candidates are not copied."""

    def __init__(
        self,
        frames: Sequence[CandidateFrame],
        rules: ScoringRules,
        edges: Sequence[float],
        thresholds: Sequence[float | None],
    ) -> None:
        self.frames, self.thresholds = frames, thresholds
        self._edges = tuple(map(float, edges))
        self._pairs = tuple(Ragged() for _ in range(6))
        self._flags = tuple(Ragged() for _ in range(3))
        self._counts = Ragged()
        self._offset = np.zeros(len(frames))
        self._bright = np.zeros(len(frames), dtype=np.int64)
        self._zero_point_source = np.zeros(len(frames), dtype=np.uint8)
        for k, (frame, threshold) in enumerate(zip(frames, thresholds, strict=True)):
            score = score_frame(
                frame.source, rules, edges, threshold=threshold, candidates=frame.candidates
            )
            self._add(k, score)

    def _add(self, k: int, score: FrameScore) -> None:
        p, zero = score.pairing, score.zero_point
        for q, columns in ((p.pairs, self._pairs[:3]), (p.ignored_pairs, self._pairs[3:])):
            columns[0].append(q.truth_index)
            columns[1].append(q.found_index)
            columns[2].append(q.separation)
        for column, flags in zip(self._flags, (p.found_ignored, p.duplicate, p.used), strict=True):
            column.append(flags)
        self._counts.append(score.counts.array().ravel())
        self._offset[k], self._bright[k] = zero.offset_mag, zero.n
        self._zero_point_source[k] = _SOURCES.index(zero.source)

    def counts(self, k: int) -> Counts:
        return Counts(self._edges, *self._counts[k].reshape(len(COUNT_COLUMNS), -1))

    def zero_point(self, k: int) -> ZeroPoint:
        source = _SOURCES[self._zero_point_source[k]]
        return ZeroPoint(float(self._offset[k]), int(self._bright[k]), source)

    def pairs(self, k: int, ignored: bool) -> Pairs:
        first = 3 * ignored
        truth, found, separation = (column[k] for column in self._pairs[first : first + 3])
        return Pairs(truth, found, separation)

    def flag(self, k: int, which: int) -> Bools:
        return self._flags[which][k]


class _StoredFrameScore(FrameScore):
    """A scored frame read from columns; each field is built when it is read."""

    def __init__(self, store: _ScoreColumns, k: int) -> None:
        object.__setattr__(self, "_at", (store, k))

    _at: tuple[_ScoreColumns, int]

    @cached_property
    def _frame(self) -> CandidateFrame:
        store, k = self._at
        return store.frames[k]

    @cached_property
    def source(self) -> FrameInput:
        return self._frame.source

    @property
    def threshold(self) -> float | None:
        store, k = self._at
        return store.thresholds[k]

    @cached_property
    def pairing(self) -> Pairing:
        store, k = self._at
        return _StoredPairing(store, k, flag(self.source.truth, "ignore"))

    @cached_property
    def counts(self) -> Counts:
        store, k = self._at
        return store.counts(k)

    @cached_property
    def zero_point(self) -> ZeroPoint:
        store, k = self._at
        return store.zero_point(k)

    @cached_property
    def candidates(self) -> Candidates:
        return self._frame.candidates


class _StoredPairing(Pairing):
    """The pairing of a frame, read from columns."""

    unit = "px"

    def __init__(self, store: _ScoreColumns, k: int, truth_ignored: Bools) -> None:
        object.__setattr__(self, "_at", (store, k))
        object.__setattr__(self, "truth_ignored", truth_ignored)

    _at: tuple[_ScoreColumns, int]

    @cached_property
    def pairs(self) -> Pairs:
        store, k = self._at
        return store.pairs(k, ignored=False)

    @cached_property
    def ignored_pairs(self) -> Pairs:
        store, k = self._at
        return store.pairs(k, ignored=True)

    @cached_property
    def found_ignored(self) -> Bools:
        store, k = self._at
        return store.flag(k, 0)

    @cached_property
    def duplicate(self) -> Bools:
        store, k = self._at
        return store.flag(k, 1)

    @cached_property
    def used(self) -> Bools:
        store, k = self._at
        return store.flag(k, 2)
