"""What makes a comparison say more than it knows: repeated detections, slivers of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from skyduel.core.native import neighbours
from skyduel.reports.style import point_name, shorten
from skyduel.reports.tables.slivers import slivers
from skyduel.run_folder.match_outcomes import RIGHT, WRONG, column, outcomes_of
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS, EQUAL_PURITY_POINT

__all__ = ["Repeats", "pitfall_sentences", "repeats"]

Floats = npt.NDArray[np.float64]

#: Fewer false detections than this say nothing.
_FEW: Final = 20
#: Frames examined for repeated positions, and how near two count as the same pixel [px].
_MOST_FRAMES: Final = 8
_SAME_PX: Final = 1.0
#: This share of false detections repeats where frames look uncalibrated.
_REPEATED: Final = 0.2
#: This share of right detections repeats where the pointing is the same.
_POINTING: Final = 0.3


@dataclass(frozen=True)
class Repeats:
    """False detections of a detector that stand at the same pixels in most frames.

    `share` of `n` false detections in `frames` frames of one shape repeat;
    `same_pointing` is whether the sources do, too.
    """

    detector: str
    share: float
    n: int
    frames: int
    same_pointing: bool


@lru_cache(maxsize=4)
def repeats(run: Run) -> tuple[Repeats, ...]:
    """Return the detectors whose false detections repeat from frame to frame.

    Up to eight frames of one shape are examined at the run's headline point. A false detection
    repeats if at least half of the other frames have one within 1 px.
    """
    by_shape: dict[tuple[int | None, int | None], list[str]] = {}
    for name in run.scored_frames:
        frame = run.frame(name)
        by_shape.setdefault((frame.ny, frame.nx), []).append(name)
    names = max(by_shape.values(), key=len, default=[])[:_MOST_FRAMES]
    if len(names) < 3:
        return ()
    truths = {name: run.truth(name) for name in names}
    out = []
    for detector in run.detectors:
        false: list[Floats] = []
        right: list[Floats] = []
        for name in names:
            pairs, found = (
                run.pairs(detector, run.headline_point, name),
                run.catalog(detector, name),
            )
            truth = truths[name]
            if pairs is None or found is None or truth is None:
                continue
            got = outcomes_of(pairs, len(truth), len(found), f"pairs of {detector} on {name}")
            at = np.column_stack([column(found, "x"), column(found, "y")])
            false.append(at[(got.found == WRONG) & np.isfinite(at).all(axis=1)])
            right.append(at[(got.found == RIGHT) & np.isfinite(at).all(axis=1)])
        n, share = sum(map(len, false)), _repeated(false)
        if len(false) >= 3 and n >= _FEW and share >= _REPEATED:
            same = _repeated(right) >= _POINTING
            out.append(Repeats(detector, share, n, len(false), same))
    return tuple(out)


def _repeated(frames: Sequence[Floats]) -> float:
    """Return the share of positions that at least half of the other frames have, too."""
    total = again = 0
    needed = max(2, len(frames) // 2)
    for i, at in enumerate(frames):
        hits = np.zeros(len(at), dtype=int)
        for j, other in enumerate(frames):
            if j != i:
                mine, theirs = neighbours(at, other, _SAME_PX)
                near = ((at[mine] - other[theirs]) ** 2).sum(axis=1) < _SAME_PX**2
                hits[np.unique(mine[near])] += 1
        total += len(at)
        again += int((hits >= needed).sum())
    return again / total if total else 0.0


def pitfall_sentences(run: Run) -> tuple[str, ...]:
    """Return the cautions on slivers and on repeated detections."""
    said = []
    for r in repeats(run):
        what = (
            "so do the sources, for the pointing is the same: hot pixels, or sources that the "
            "truth lacks"
            if r.same_pointing
            else "these are hot pixels or other faults of the detector: the frames look "
            "uncalibrated. Subtract the dark (`skyduel calibrate`), or give masks, before you "
            "compare"
        )
        said.append(
            f"{100 * r.share:.0f} % of the false detections of {shorten(r.detector)} ({r.n} in "
            f"{r.frames} frames) stand at the same pixels in most frames; {what}."
        )
    for s in slivers(run):
        if s.group == ALL_GROUPS and s.point == EQUAL_PURITY_POINT:
            said.append(
                f"At {point_name(s.point)} over all frames {shorten(s.detector)} keeps only "
                f"{s.found} of {s.truths} sources, and {s.elsewhere} at "
                f"{point_name(run.headline_point)}: a limit there is that of a sliver of the "
                "catalogue."
            )
    return tuple(said)
