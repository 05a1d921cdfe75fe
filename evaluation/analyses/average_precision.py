"""Average precision by position from the exact sweep, and the table of average precisions.

By position, the pairs are the same as for all other scores, matched again at each
threshold. Average precision of boxes, as in COCO, is in `skyduel.evaluation.analyses.coco_ap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.catalog import MATCHED_KINDS, Catalog
from skyduel.evaluation.analyses.coco_ap import coco_precision
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.candidate_store import CandidateFrame, pool_frames
from skyduel.evaluation.scoring.frame_score import FrameInput
from skyduel.evaluation.scoring.threshold_sweep import Curve, curve

__all__ = ["average_precision_of", "average_precision_table", "precision_recall"]

Floats = npt.NDArray[np.float64]


def precision_recall(curve: Curve) -> tuple[Floats, Floats]:
    """Return completeness (recall) and interpolated purity (precision), both of shape (n,).

    Completeness ascends over the distinct values of the curve; the purity of
    each is the highest at that completeness *or more*. Thresholds without a
    detection that counts are not on the curve.
    """
    r, p = curve.completeness, curve.purity
    good = np.isfinite(r) & np.isfinite(p)
    order = np.argsort(r[good], kind="stable")
    r, p = r[good][order], p[good][order]
    best = np.maximum.accumulate(p[::-1])[::-1]
    levels, first = np.unique(r, return_index=True)
    return levels, best[first]


def average_precision_of(curve: Curve) -> float:
    """Return the area under the interpolated purity-completeness curve.

    The sum over the steps of the curve of the gain in completeness times the highest
    purity at that completeness or more, from completeness 0 to the last point; every
    point is used (not 11 or 101 of them). NaN without truths that count, 0 if none is
    found.
    """
    if curve.truths == 0:
        return float("nan")
    r, p = precision_recall(curve)
    return float(np.sum(np.diff(r, prepend=0.0) * p))


def average_precision_table(
    calibration: Sequence[CandidateFrame],
    test: Sequence[CandidateFrame],
    rules: ScoringRules,
    edges: Sequence[float],
) -> pd.DataFrame:
    """Return average precision by position and by boxes of one detector and group.

    Parameters
    ----------
    calibration, edges
        Not used; part of the signature of a study.
    test : sequence of CandidateFrame
        Frames with every row of the detector's catalogues.
    rules : ScoringRules
        Rules for pairing positions.

    Returns
    -------
    DataFrame
        ``method``: ``position`` (`average_precision_of`), ``coco50`` and ``coco50_95``
        (`coco_ap.coco_precision`: boxes, at IoU 0.5 and the mean over 0.50,
        0.55 ... 0.95), ``voc07`` (boxes at IoU 0.5 over 11 recalls: its ``mean`` is the mAP
        of Jia, Liu & Sun 2020); ``kind``: ``point``, ``streak``, their ``mean`` (over the kinds
        that have truths) and, by position, ``all`` sources pooled; ``value``, NaN
        where there is no truth; ``truths`` that count, ``detections`` (rows) and
        ``n_frames``.

    Notes
    -----
    The values of one kind use only truths and detections of that kind, as in COCO; galaxies
    are with the points, because a detector that tells them apart must not lose by it. By
    position, ignored truths of the other kind are kept, and excuse detections.
    """
    frames = [p.source for p in test]
    rows: list[dict[str, Any]] = []

    numbers = {kind: _numbers(frames, kind) for kind in MATCHED_KINDS}
    every = tuple(map(sum, zip(*numbers.values(), strict=True)))

    def add(method: str, kind: str, value: float) -> None:
        truths, detections = numbers.get(kind, every)
        rows.append(
            {
                "method": method,
                "kind": kind,
                "value": value,
                "truths": truths,
                "detections": detections,
                "n_frames": len(frames),
            }
        )

    add("position", "all", average_precision_of(pool_frames(test)))
    by_position = {
        # One frame at a time: for 10⁵ frames they would take as much memory as the catalogues.
        kind: average_precision_of(curve((_of_kind(f, kind) for f in frames), rules))
        for kind in MATCHED_KINDS
    }
    boxes = coco_precision([(f.truth, f.found) for f in frames])
    for method, values in (
        ("position", by_position),
        ("coco50", {k: float(boxes.value[k][0]) for k in MATCHED_KINDS}),
        ("coco50_95", {k: float(boxes.value[k].mean()) for k in MATCHED_KINDS}),
        ("voc07", {k: float(boxes.voc07[k][0]) for k in MATCHED_KINDS}),
    ):
        for kind, value in values.items():
            add(method, kind, value)
        some = [v for v in values.values() if not np.isnan(v)]
        add(method, "mean", float(np.mean(some)) if some else float("nan"))
    return pd.DataFrame(rows)


def _numbers(frames: Sequence[FrameInput], kind: str) -> tuple[int, int]:
    """Return the number of truths of a kind that count, and of detections of that kind."""
    streak = kind == "streak"
    truths = sum(int(((f.truth.is_streak == streak) & ~_ignored(f.truth)).sum()) for f in frames)
    return truths, sum(int((f.found.is_streak == streak).sum()) for f in frames)


def _of_kind(frame: FrameInput, kind: str) -> FrameInput:
    truth, found, streak = frame.truth, frame.found, kind == "streak"
    return replace(
        frame,
        truth=truth.select((truth.is_streak == streak) | _ignored(truth)),
        found=found.select(found.is_streak == streak),
    )


def _ignored(catalog: Catalog) -> npt.NDArray[np.bool_]:
    return catalog["ignore"] if "ignore" in catalog else np.zeros(len(catalog), dtype=bool)
