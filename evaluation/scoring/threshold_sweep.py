"""Scores against the score threshold, with exact matching at every threshold.

When the threshold passes one detection's score, only the connected component
of candidates that holds the detection can change. So each component is paired
once for every detection in it, and the changes are added up in order of score:
the counts at *all* thresholds for little more than the price of one pairing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.matching.assignment import component_labels
from skyduel.evaluation.matching.candidates import Candidates
from skyduel.evaluation.matching.matching import resolve
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameInput
from skyduel.evaluation.scoring.metrics import CountSums, listed, metric, ratio
from skyduel.evaluation.table_keys import NOMINAL_PURITY

__all__ = [
    "Curve",
    "best_f1_threshold",
    "best_threshold",
    "curve",
    "grid",
    "purity_threshold",
    "sweep",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Candidates paired at a time, to bound memory.
_CHUNK: Final = 2_000_000


@dataclass(frozen=True, eq=False)
class Curve:
    """Pooled counts at every threshold that makes a difference.

    Parameters
    ----------
    threshold : ndarray of float64, shape (n,)
        The distinct scores, descending; the counts are those of the catalogues
        cut at ``score >= threshold``. Rows without a score join last, at
        minus infinity.
    truths_found, detections : ndarray of int64, shape (n,)
        Truths found (as many detections are right), and detections that count.
    truths : int
        Truths that count.
    mpix : float
        Usable area [Mpix].
    """

    threshold: Floats
    truths_found: Ints
    detections: Ints
    truths: int
    mpix: float

    @property
    def completeness(self) -> Floats:
        """Truths found / truths, shape (n,)."""
        return ratio(self.truths_found, self.truths)

    @property
    def purity(self) -> Floats:
        """Right detections / detections, shape (n,)."""
        return ratio(self.truths_found, self.detections)

    def score(self, name: str) -> Floats:
        """Return a metric of `skyduel.evaluation.scoring.metrics` from counts, shape (n,)."""
        found = self.truths_found
        sums = CountSums(np.full_like(found, self.truths), found, self.detections, found, self.mpix)
        return metric(name).pooled(sums)

    def at(self, thresholds: npt.ArrayLike) -> Curve:
        """Return the counts at the given thresholds, in their order."""
        t = np.asarray(thresholds, dtype=np.float64)
        # Entries of the ascending negated scores up to -t are kept by the cut.
        n = np.searchsorted(-self.threshold, -t, side="right")
        found = np.concatenate([[0], self.truths_found])
        detections = np.concatenate([[0], self.detections])
        return Curve(t, found[n], detections[n], self.truths, self.mpix)


def curve(frames: Iterable[FrameInput], rules: ScoringRules) -> Curve:
    """Return the pooled counts of frames at every distinct score.

    Detections are matched again at every threshold, ignored truths included. So the
    counts equal those of `score_frame` at the same threshold.
    """
    parts, truths, mpix = [], 0, []
    for f in frames:
        parts.append(frame_events(f.candidates(rules), f.found["score"]))
        truths += int((~_ignored(f)).sum())
        mpix.append(f.mpix)
    return pool(parts, truths, float(np.sum(mpix)))


def pool(parts: Sequence[tuple[Floats, Ints, Ints]], truths: int, mpix: float) -> Curve:
    """Return the curve of several frames' events (see `frame_events`)."""
    score = np.concatenate([np.zeros(0), *(p[0] for p in parts)])
    levels, at = np.unique(-score, return_inverse=True)
    sums = []
    for k in (1, 2):
        step = np.concatenate([np.zeros(0, dtype=np.int64), *(p[k] for p in parts)])
        change = np.zeros(levels.size, dtype=np.int64)
        np.add.at(change, at, step)
        sums.append(np.cumsum(change))
    return Curve(-levels, sums[0], sums[1], truths, mpix)


def frame_events(c: Candidates, score: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the changes of one frame's counts as the threshold falls.

    Three arrays of shape (n_events,): the score at which the change happens,
    the change in truths found and in detections that count.
    """
    score = np.where(np.isnan(score), -np.inf, score)
    single = np.ones(c.n_found, dtype=bool)
    single[c.found_index] = False
    counted = (single & ~c.found_ignore)[single].astype(np.int64)
    lone = (score[single], np.zeros_like(counted), counted)
    if c.found_index.size == 0:
        return lone
    edges, tasks = _tasks(c, score)
    found = np.zeros(tasks.level.size, dtype=np.int64)
    detections = np.zeros(tasks.level.size, dtype=np.int64)
    size = tasks.stop - tasks.start
    chunk = np.cumsum(size) // _CHUNK
    for part in np.split(np.arange(size.size), np.flatnonzero(np.diff(chunk)) + 1):
        found[part], detections[part] = _pair_tasks(c, edges, tasks.start[part], tasks.stop[part])
    first = np.concatenate([[True], np.diff(tasks.component) != 0])
    changes = []
    for values in (found, detections):
        before = np.concatenate([[0], values[:-1]])
        changes.append(values - np.where(first, 0, before))
    return (
        np.concatenate([lone[0], tasks.level]),
        np.concatenate([lone[1], changes[0]]),
        np.concatenate([lone[2], changes[1]]),
    )


@dataclass(frozen=True, eq=False)
class _Tasks:
    """Pairings to make: a component with its detections down to a score.

    Edges sorted by component and descending score make each one a slice.
    """

    component: Ints
    level: Floats
    start: Ints
    stop: Ints


def _tasks(c: Candidates, score: Floats) -> tuple[Ints, _Tasks]:
    component = component_labels(c.truth_rank, c.found_rank)
    level = score[c.found_index]
    edges = np.lexsort((-level, component))
    component, level = component[edges], level[edges]
    last = np.concatenate([(np.diff(component) != 0) | (level[1:] != level[:-1]), [True]])
    stop = np.flatnonzero(last) + 1
    head = np.concatenate([[0], np.flatnonzero(np.diff(component)) + 1])
    label = component[stop - 1]
    start = head[np.searchsorted(component[head], label)]
    return edges, _Tasks(label, level[stop - 1], start, stop)


def _pair_tasks(c: Candidates, edges: Ints, start: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Return truths found and detections that count, of each task."""
    size = stop - start
    task = np.repeat(np.arange(size.size), size)
    offset = np.arange(task.size) - np.repeat(np.cumsum(size) - size, size)
    e = edges[start[task] + offset]
    order = np.lexsort((e, task))  # candidates are stored in canonical order
    task, e = task[order], e[order]
    i, j = c.truth_index[e], c.found_index[e]
    left = task * c.n_truth + c.truth_rank[e]
    right = task * c.n_found + c.found_rank[e]
    counted, ignored, absorbed = resolve(
        left=left,
        right=right,
        separation=c.compared(e),
        unlike=c.unlike[e],
        ignored=c.truth_ignore[i],
        streak=c.truth_streak[i],
        radius_px=c.radius_px,
        rule=c.rule,
        score=None if c.found_score is None else c.found_score[j],
    )
    nodes, head, node = np.unique(right, return_index=True, return_inverse=True)
    is_right = np.zeros(nodes.size, dtype=bool)
    is_right[node[counted]] = True
    excused = c.found_ignore[j[head]].copy()
    excused[node[ignored | absorbed]] = True
    n = size.size
    found = np.bincount(task[counted], minlength=n)
    detections = np.bincount(task[head][is_right | ~excused], minlength=n)
    return found.astype(np.int64), detections.astype(np.int64)


def grid(curve: Curve, n_thresholds: int) -> Floats:
    """Return at most ``n_thresholds`` quantiles of the distinct scores, ascending."""
    t = np.sort(curve.threshold)
    if t.size <= n_thresholds:
        return t
    return t[np.unique(np.round(np.linspace(0, t.size - 1, n_thresholds)).astype(np.int64))]


def sweep(curve: Curve, thresholds: npt.ArrayLike) -> pd.DataFrame:
    """Return scores against the threshold, one row each.

    Columns ``threshold``, ``truths``, ``truths_found``, ``detections``,
    ``detections_right`` and the metrics that are swept.
    """
    c = curve.at(thresholds)
    return pd.DataFrame(
        {
            "threshold": c.threshold,
            "truths": np.full(c.threshold.size, c.truths, dtype=np.int64),
            "truths_found": c.truths_found,
            "detections": c.detections,
            "detections_right": c.truths_found,
        }
        | {m.name: c.score(m.name) for m in listed("swept")}
    )


def best_threshold(curve: Curve, name: str) -> float:
    """Return the score threshold at which a pooled metric is highest, NaN if there is none.

    Of equal ones the highest threshold, so the fewest detections.
    """
    values = curve.score(name)
    if np.isnan(values).all():  # as of no threshold
        return float("nan")
    return float(curve.threshold[int(np.nanargmax(values))])


def best_f1_threshold(curve: Curve) -> float:
    """Return the score threshold of highest pooled F1, as `best_threshold`."""
    return best_threshold(curve, "f1")


def purity_threshold(curve: Curve, purity: float = NOMINAL_PURITY) -> float:
    """Return the lowest score at which pooled purity is at least ``purity``, NaN if none is.

    Exact over all distinct scores. Purity need not rise with the threshold:
    the lowest qualifying one is taken wherever it lies, which keeps the most
    detections; some higher thresholds may then fall short.
    """
    good = np.flatnonzero(curve.purity >= purity)
    return float(curve.threshold[good[-1]]) if good.size else float("nan")


def _ignored(frame: FrameInput) -> npt.NDArray[np.bool_]:
    truth = frame.truth
    return truth["ignore"] if "ignore" in truth else np.zeros(len(truth), dtype=bool)
