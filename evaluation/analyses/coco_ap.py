"""COCO's average precision of boxes of fixed size, for comparison with detection papers.

Sources have no boxes. The paper that this project is based on (Jia, Liu & Sun
2020, AJ 159, 212) drew a box of fixed size around every source and scored the boxes.
This module does the same, and gives the values of pycocotools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from skyduel.core.catalog import MATCHED_KINDS, Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation.matching.assignment_rules import greedy

__all__ = ["BOX_PX", "COCO_IOU", "CocoPrecision", "coco_precision"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Sides of the boxes [px], by kind.
BOX_PX: Final[Mapping[str, float]] = MappingProxyType({"point": 10.0, "streak": 12.0})
#: COCO's IoU thresholds: 0.50, 0.55 ... 0.95.
COCO_IOU: Final = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
#: Recalls at which precision is averaged, by COCO and by PASCAL VOC 2007.
_COCO_RECALLS: Final = np.linspace(0.0, 1.0, 101)
_VOC_RECALLS: Final = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, eq=False)
class CocoPrecision:
    """Average precision of boxes.

    Parameters
    ----------
    iou : ndarray of float64, shape (t,)
        The IoU thresholds.
    value : mapping of kind to ndarray of float64, shape (t,)
        Average precision at each threshold; NaN for a kind without truths that count.
    voc07 : mapping of kind to ndarray of float64, shape (t,)
        Likewise, but averaged over the 11 recalls of PASCAL VOC 2007, as in Jia, Liu & Sun
        (2020). (Their code also widens the boxes of detections by 1 px, and so needs a larger
        overlap; here all boxes are alike.)
    """

    iou: Floats
    value: Mapping[str, Floats]
    voc07: Mapping[str, Floats]

    @property
    def mean(self) -> float:
        """Mean over thresholds and over the kinds that have truths (mAP); NaN if none has."""
        some = [v for v in self.value.values() if not np.isnan(v).any()]
        return float(np.mean(some)) if some else float("nan")


def coco_precision(
    frames: Sequence[tuple[Catalog, Catalog]],
    *,
    iou: Sequence[float] = COCO_IOU,
    box_px: Mapping[str, float] = BOX_PX,
    max_detections: int | None = None,
) -> CocoPrecision:
    """Return COCO's average precision per kind and IoU threshold.

    Parameters
    ----------
    frames : sequence of (truth, found)
        The catalogues of each frame. Ignored truths are crowd regions in the sense of COCO:
        they count neither way, any number of detections may match one, and the
        overlap is then relative to the area of the detection only. Detections with
        ``ignore`` count neither way unless they are matched.
    iou : sequence of float
        Minimum overlap (intersection over union) of matching boxes, in (0, 1].
    box_px : mapping of kind to float
        Side of the square box around each source's centre [px]; for streaks it does not
        depend on the length.
    max_detections : int, optional
        Largest number of detections per kind and frame; those of highest score are used.
        COCO's evaluation uses 100, fewer than the sources of a star field. By default all
        are used.

    Raises
    ------
    BadInputError
        If a threshold is not in (0, 1], or a kind has no box.

    Notes
    -----
    Within a frame and kind, the detections in order of falling score (NaN last; of equal
    scores the first row first) are each matched to the free truth of largest overlap (of
    equal overlaps the last row). Precision is interpolated as the highest at that recall
    or more and averaged over the 101 recalls 0, 0.01 ... 1 (Lin et al. 2014 and its
    evaluation code).
    """
    levels = np.array(iou, dtype=np.float64)
    if not ((levels > 0) & (levels <= 1)).all():
        raise BadInputError("iou", "thresholds in (0, 1]", str(list(iou)))
    missing = [kind for kind in MATCHED_KINDS if not box_px.get(kind, 0) > 0]
    if missing:
        raise BadInputError("box_px", f"a side > 0 for {', '.join(missing)}", str(dict(box_px)))
    value, voc07 = {}, {}
    for kind in MATCHED_KINDS:
        truth = _gather([t for t, _ in frames], kind)
        found = _gather([f for _, f in frames], kind)
        value[kind], voc07[kind] = _one_kind(
            truth, found, levels, float(box_px[kind]), max_detections
        )
    return CocoPrecision(levels, value, voc07)


@dataclass(frozen=True, eq=False)
class _Boxes:
    """All boxes of a kind: their frames, centres, scores and flags."""

    frame: Ints
    centre: Floats
    score: Floats
    ignore: Bools

    def select(self, rows: Ints) -> _Boxes:
        return _Boxes(self.frame[rows], self.centre[rows], self.score[rows], self.ignore[rows])


def _gather(catalogs: Sequence[Catalog], kind: str) -> _Boxes:
    frame, xy, score, ignore = [], [np.zeros((0, 2))], [np.zeros(0)], [np.zeros(0, dtype=bool)]
    for catalog in catalogs:
        rows = catalog.is_streak == (kind == "streak")  # galaxies are with the points
        frame.append(int(rows.sum()))
        xy.append(catalog.xy[rows])
        score.append(catalog["score"][rows])
        flags = catalog["ignore"][rows] if "ignore" in catalog else np.zeros(frame[-1], dtype=bool)
        ignore.append(flags)
    number = np.repeat(np.arange(len(frame)), frame).astype(np.int64)
    return _Boxes(number, np.concatenate(xy), np.concatenate(score), np.concatenate(ignore))


def _one_kind(
    truth: _Boxes, found: _Boxes, iou: Floats, side: float, max_detections: int | None
) -> tuple[Floats, Floats]:
    """Return the average precision at each threshold, over COCO's recalls and over VOC's."""
    n_truths = int((~truth.ignore).sum())
    if n_truths == 0:
        return np.full(iou.size, np.nan), np.full(iou.size, np.nan)
    falling = np.where(np.isnan(found.score), np.inf, -found.score)
    found = found.select(np.lexsort((found.frame, falling)))  # highest score first
    if max_detections is not None:
        found = found.select(np.flatnonzero(_place_in_frame(found.frame) < max_detections))
    i, j, overlap = _overlaps(truth, found, side, float(iou.min()))
    # Order of preference: the detection of higher score, the larger overlap, the later truth.
    order = np.lexsort((-i, -overlap, j))
    i, j, overlap = i[order], j[order], overlap[order]
    crowd = truth.ignore[i]
    coco, voc = np.zeros(iou.size), np.zeros(iou.size)
    for k, level in enumerate(np.minimum(iou, 1 - 1e-10)):
        near = overlap >= level
        at = np.flatnonzero(near & ~crowd)
        right = np.zeros(found.frame.size, dtype=bool)
        right[j[at[greedy(i[at], j[at])]]] = True
        excused = found.ignore.copy()
        excused[j[near & crowd]] = True
        counted = right[right | ~excused]
        coco[k] = _area(counted, n_truths, _COCO_RECALLS)
        voc[k] = _area(counted, n_truths, _VOC_RECALLS)
    return coco, voc


def _area(right: Bools, n_truths: int, recalls: Floats) -> float:
    """Return the mean of the interpolated precision over recalls."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, right.size + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / n_truths, recalls, side="left")
    return float(np.append(best, 0.0)[at].mean())


def _overlaps(truth: _Boxes, found: _Boxes, side: float, least: float) -> tuple[Ints, Ints, Floats]:
    """Return the boxes of one frame that overlap by ``least`` or more, and their overlaps."""
    none = np.zeros(0, dtype=np.int64)
    if truth.frame.size == 0 or found.frame.size == 0:
        return none, none, np.zeros(0)
    # Place the frames side by side, so far apart that boxes of different frames do not overlap.
    x = np.concatenate([truth.centre[:, 0], found.centre[:, 0]])
    step = float(np.ptp(x)) + 4 * side
    trees = [
        KDTree(b.centre + np.column_stack([b.frame * step, np.zeros(b.frame.size)]))
        for b in (truth, found)
    ]
    # Equal squares that overlap by t of one's area lie within (1 - t) sides; the slack
    # is for frames that the offset has moved far to the right.
    reach = side * (1 - least) * (1 + 1e-6) + 1e-12 * step * (1 + int(truth.frame.max()))
    near = trees[0].sparse_distance_matrix(trees[1], reach, p=np.inf, output_type="ndarray")
    i, j = near["i"].astype(np.int64), near["j"].astype(np.int64)
    a, b = truth.centre[i], found.centre[j]
    # Computed from edges as in COCO, so that overlaps at a threshold round equally.
    a0, b0 = a - side / 2, b - side / 2
    shared = np.prod(np.maximum(np.minimum(a0 + side, b0 + side) - np.maximum(a0, b0), 0), axis=1)
    area = side * side
    overlap = shared / np.where(truth.ignore[i], area, area + area - shared)
    keep = overlap >= least - 1e-9
    return i[keep], j[keep], overlap[keep]


def _place_in_frame(frame: Ints) -> Ints:
    """Return each row's place among the rows of its frame, in the order given."""
    order = np.argsort(frame, kind="stable")
    sizes = np.bincount(frame)
    place = np.empty(frame.size, dtype=np.int64)
    place[order] = np.arange(frame.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place
