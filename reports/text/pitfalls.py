"""What makes a comparison say more than it knows: slivers of a catalogue, repeated detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from skyduel.reports.style import point_name, shorten
from skyduel.run_folder.match_outcomes import RIGHT, WRONG, column, outcomes_of
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, EQUAL_PURITY_POINT

__all__ = ["Repeats", "Sliver", "pitfall_sentences", "repeats", "sliver", "slivers"]

Floats = npt.NDArray[np.float64]

#: Below this share of what a detector finds elsewhere, its catalogue is a sliver.
_SLIVER: Final = 0.25
#: Fewer sources than this elsewhere say nothing.
_FEW: Final = 20
#: Frames examined for repeated positions, and how near two count as the same pixel [px].
_MOST_FRAMES: Final = 8
_SAME_PX: Final = 1.0
#: This share of false detections repeats where frames look uncalibrated.
_REPEATED: Final = 0.2
#: This share of right detections repeats where the pointing is the same.
_POINTING: Final = 0.3


@dataclass(frozen=True)
class Sliver:
    """A catalogue cut so far that it keeps few of the sources that the detector finds.

    `found` of `truths` are kept at `point` in `group`; `elsewhere` at the run's headline point.
    """

    detector: str
    group: str
    point: str
    found: int
    truths: int
    elsewhere: int


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
def slivers(run: Run) -> tuple[Sliver, ...]:
    """Return the detectors, groups and operating points that keep a sliver.

    A point keeps a sliver where it finds less than a quarter of the sources that the
    detector finds at the run's headline point.
    """
    s = run.scores
    rows = s[(s["quantity"] == "completeness") & (s["bin"] == ALL_BINS)]
    found = {
        (str(r["detector"]), str(r["group"]), str(r["point"])): (r["k"], r["n"])
        for r in rows[["detector", "group", "point", "k", "n"]].to_dict("records")
    }
    out = []
    for (detector, group, point), (k, n) in found.items():
        usual = found.get((detector, group, run.headline_point), (np.nan, 0))[0]
        kept = 0.0 if not np.isfinite(k) else float(k)
        if point != run.headline_point and usual >= _FEW and kept < _SLIVER * usual:
            truths = 0 if not np.isfinite(n) else int(n)
            out.append(Sliver(detector, group, point, int(kept), truths, int(usual)))
    return tuple(out)


def sliver(run: Run, point: str, group: str, detectors: Sequence[str]) -> Sliver | None:
    """Return the smallest sliver of some detectors at a point in a group, if there is one."""
    there = [
        s for s in slivers(run) if s.point == point and s.group == group and s.detector in detectors
    ]
    return min(there, key=lambda s: s.found, default=None)


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
    trees = [KDTree(at) if len(at) else None for at in frames]
    total = again = 0
    needed = max(2, len(frames) // 2)
    for i, at in enumerate(frames):
        if not len(at):
            continue
        hits = np.zeros(len(at), dtype=int)
        for j, tree in enumerate(trees):
            if j != i and tree is not None:
                hits += np.isfinite(tree.query(at, distance_upper_bound=_SAME_PX)[0])
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
            "uncalibrated. Subtract the dark, or give masks, before you compare"
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
