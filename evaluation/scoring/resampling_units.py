"""Units of the bootstrap: frames, or square blocks of a frame.

Sources of one frame share its seeing and sky, so frames are what is drawn. Inside
one huge frame there are no frames to draw; there it is blocks of sky. A block
stands for a frame in everything that resamples counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import Counts, bin_index, measured_mag, tally
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.ragged import FrameSequence

__all__ = ["ResamplingUnits", "block_grid", "resampling_units", "split_blocks", "truth_blocks"]

Ints = npt.NDArray[np.int64]

#: Blocks along each side of a single frame whose ``block_px`` is not given.
_SIDE: Final = 8


@dataclass(frozen=True, eq=False)
class ResamplingUnits:
    """Units that are drawn with replacement, of one detector at one threshold.

    Parameters
    ----------
    counts : sequence of Counts
        One per unit; their sum is that of the frames.
    truth_unit : sequence of ndarray of int64, one per frame, shape (n_truth,)
        The unit that holds each truth.
    blocks : bool
        Whether the units are blocks; else they are frames.
    """

    counts: Sequence[Counts]
    truth_unit: Sequence[Ints]
    blocks: bool

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def interval(self) -> str:
        """Name of the interval in the tables."""
        return "block bootstrap" if self.blocks else "bootstrap"


def resampling_units(frames: Sequence[FrameScore], rules: ScoringRules) -> ResamplingUnits:
    """Return the units of some frames: blocks if ``block_px`` is set or there is one frame.

    Depends, apart from the counts, on frames and truth alone, so that the units
    of two detectors on the same frames are the same pieces of sky.
    """
    if rules.block_px is None and len(frames) != 1:
        # Made when they are looked at: of 10⁵ frames they would be most of what is held.
        of_truth = FrameSequence(
            lambda k: np.full(len(frames[k].source.truth), k, dtype=np.int64), len(frames)
        )
        return ResamplingUnits(
            FrameSequence(lambda k: frames[k].counts, len(frames)), of_truth, False
        )
    counts: list[Counts] = []
    unit: list[Ints] = []
    for frame in frames:
        unit.append(truth_blocks(frame, rules.block_px) + len(counts))
        counts += split_blocks(frame, rules.block_px)
    return ResamplingUnits(tuple(counts), tuple(unit), True)


def block_grid(score: FrameScore, block_px: float | None) -> tuple[float, float, int, int]:
    """Return height and width of the frame [px], and its blocks along y and x.

    All blocks of a frame are alike, their sides as close to ``block_px`` as whole
    numbers of them allow; None cuts 8 x 8. A frame of unknown shape reaches to
    its farthest truth.
    """
    shape = score.source.shape
    if shape is None:
        truth = score.source.truth
        ny, nx = (float(max(truth[c].max(), 0.0)) + 1 if len(truth) else 1.0 for c in ("y", "x"))
    else:
        ny, nx = map(float, shape)
    if block_px is None:
        return ny, nx, _SIDE, _SIDE
    return ny, nx, max(round(ny / block_px), 1), max(round(nx / block_px), 1)


def _block(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    grid: tuple[float, float, int, int],
) -> Ints:
    """Return each position's block, row by row; what is off the frame joins the nearest."""
    ny, nx, rows, columns = grid
    row = np.clip(np.floor((y + 0.5) / ny * rows), 0, rows - 1)
    column = np.clip(np.floor((x + 0.5) / nx * columns), 0, columns - 1)
    return np.asarray(row * columns + column, dtype=np.int64)


def truth_blocks(score: FrameScore, block_px: float | None) -> Ints:
    """Return the number of each truth's block, shape (n_truth,); see `block_grid`."""
    truth = score.source.truth
    return _block(truth["x"], truth["y"], block_grid(score, block_px))


def split_blocks(score: FrameScore, block_px: float | None) -> list[Counts]:
    """Return the counts of each block of a frame; they add up to the frame's.

    Parameters
    ----------
    score : FrameScore
        One frame.
    block_px : float or None
        Side of the square blocks [px]; see `block_grid`.

    Notes
    -----
    Truths and detections belong to the block of their position. Only the detection
    of a pair belongs to the block of its truth, because a pair that a border cuts
    is one event.
    """
    grid = block_grid(score, block_px)
    n_blocks, truth, found = grid[2] * grid[3], score.source.truth, score.source.found
    edges, pairing = score.counts.edges, score.pairing
    truth_block = _block(truth["x"], truth["y"], grid)
    found_block = _block(found["x"], found["y"], grid)
    for pairs in (pairing.pairs, pairing.ignored_pairs):
        found_block[pairs.found_index] = truth_block[pairs.truth_index]
    true = bin_index(truth["mag"], edges)
    measured = bin_index(measured_mag(found) + score.zero_point.offset_mag, edges)
    width = len(edges) + 2
    arrays = tally(
        pairing, truth_block * width + true, found_block * width + measured, n_blocks * width
    )
    stacked = np.stack(arrays).reshape(len(arrays), n_blocks, width)
    return [Counts(edges, *stacked[:, k]) for k in range(n_blocks)]
