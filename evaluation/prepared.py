"""A frame with what is reused at every operating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.candidates import Candidates
from evaluation.curves import Curve, frame_events, pool
from evaluation.frames import FrameInput
from evaluation.rules import ScoringRules

__all__ = ["Prepared", "pool_frames", "prepare"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """One detector on one frame, before any threshold is chosen.

    Parameters
    ----------
    source : FrameInput
        The frame.
    candidates : Candidates
        Its candidate pairs.
    events : tuple of ndarray
        How its counts change with the threshold, see `evaluation.curves.frame_events`.
    """

    source: FrameInput
    candidates: Candidates
    events: tuple[Floats, Ints, Ints]


def prepare(source: FrameInput, rules: ScoringRules) -> Prepared:
    """Return a frame with its candidate pairs and its events."""
    candidates = source.candidates(rules)
    return Prepared(source, candidates, frame_events(candidates, source.found["score"]))


def pool_frames(frames: Sequence[Prepared]) -> Curve:
    """Return the pooled counts of several frames at every distinct score."""
    truths = sum(int((~p.candidates.truth_ignore).sum()) for p in frames)
    return pool([p.events for p in frames], truths, float(sum(p.source.mpix for p in frames)))
