"""Estimate chance pairs by matching with shifted catalogues.

In a crowded frame, or with a truth catalogue much deeper than the frame, any position
has a truth near it. A shift far beyond the radius breaks every real pair and
keeps the crowding, so the remaining pairs are chance pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.catalog import Catalog
from skyduel.core.columnar_catalogs import packed
from skyduel.evaluation.matching.candidates import find_candidates, match_radii, within
from skyduel.evaluation.matching.matching import pair_candidates
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameInput, FrameScore
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.ragged import for_each
from skyduel.evaluation.statistics.intervals import poisson

__all__ = ["MOST_SHIFTS", "chance_pairs", "chance_table", "shifts"]

Floats = npt.NDArray[np.float64]


MOST_SHIFTS: Final = 8
_LEAST_SHIFTS: Final = 2
#: Number of detections to pair again in total; above it fewer shifts are precise enough.
_ENOUGH: Final = 1_000_000
#: Below this number of detections, shifts without a possible pair are skipped in advance.
_FEW: Final = 64
#: The shortest shift, in radii; shorter shifts would be affected by real pairs.
_LEAST_RADII: Final = 5.0
#: The longest shift, as a fraction of the frame's shorter side.
_MOST_SIDES: Final = 0.25
_GOLDEN_ANGLE: Final = np.pi * (3 - np.sqrt(5))


def shifts(radius_px: float, ny: float, nx: float, n: int = MOST_SHIFTS) -> Floats:
    """Return the shifts [px], shape (n, 2): dx, dy; none if the frame is too small.

    Their directions differ by the golden angle, and their lengths grow from the geometric
    mean of the radius and the shorter side to one and a half times it, so that
    no lattice of sources coincides with itself; at least 5 radii, at most a quarter
    of the shorter side.

    Parameters
    ----------
    radius_px : float
        Pairing radius [px].
    ny, nx : float
        Size of the frame [px].
    n : int
        Number of shifts.
    """
    side = min(ny, nx)
    least, most = _LEAST_RADII * radius_px, _MOST_SIDES * side
    if not least < most:
        return np.zeros((0, 2))
    k = np.arange(n)
    length = np.clip(np.sqrt(radius_px * side) * (1 + k / (2 * n)), least, most)
    angle = 0.4 + k * _GOLDEN_ANGLE
    return np.column_stack([length * np.cos(angle), length * np.sin(angle)])


def chance_pairs(
    score: FrameScore, rules: ScoringRules, n: int = MOST_SHIFTS
) -> npt.NDArray[np.int64]:
    """Return the number of pairs of one frame at each shift, int64 of shape (n_shifts,).

    Parameters
    ----------
    score : FrameScore
        The scored frame. Its detections that were paired are shifted and paired
        again with the truth, ignored truths last, and the pairs with truths that
        count are counted.
    rules : ScoringRules
        Rules for pairing.
    n : int
        Number of shifts.

    Notes
    -----
    Positions that are shifted out of the frame wrap to the other side. Without
    the shape of the frame, the bounding box of all truths and detections is used.
    The result is empty if the frame is too small to shift (`shifts`).
    """
    source = score.source
    truth, found = source.truth, packed(source.found).select(score.pairing.used)
    y0, x0, ny, nx = _box(source.shape, truth, found)
    steps = shifts(rules.radius_for(source.fwhm), ny, nx, n)
    everyone = np.ones(len(found), dtype=bool)
    x = x0 + np.mod(found["x"] - x0 + steps[:, :1], nx)
    y = y0 + np.mod(found["y"] - y0 + steps[:, 1:], ny)
    counts = np.zeros(len(steps), dtype=np.int64)
    many = len(found) > _FEW
    for k in range(len(steps)) if many else _near_any(truth, found, x, y, rules, source):
        moved = found.with_columns(x=x[k], y=y[k])
        candidates = find_candidates(truth, moved, rules, fwhm=source.fwhm)
        counts[k] = len(pair_candidates(candidates, everyone).pairs)
    return counts


def _near_any(
    truth: Catalog, found: Catalog, x: Floats, y: Floats, rules: ScoringRules, source: FrameInput
) -> Sequence[int]:
    """Return a mask of the shifts that bring any detection near a truth."""
    if truth.is_streak.any():  # else pairs are of centres, also of streaks found
        return range(len(x))
    moved = np.column_stack([x.ravel(), y.ravel()])
    radius = rules.radius_for(source.fwhm)
    own = match_radii(truth, radius)
    _, j, _ = within(truth.xy, moved, radius if own is None else float(own.max()))
    return [int(k) for k in np.unique(j // x.shape[1])]


def chance_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return one row with the number of chance pairs in some frames.

    Parameters
    ----------
    frames : sequence of FrameScore
        Frames of one operating point and group.
    rules : ScoringRules
        Rules for pairing, and the ``confidence`` of the intervals.
    edges : sequence of float
        Not used; part of the signature of an analysis.

    Returns
    -------
    DataFrame
        ``shifts`` (of each frame; 8, fewer for more than 125,000 detections),
        ``n_frames`` (frames large enough to shift; the counts are of these),
        ``truths``, ``pairs``, ``chance_pairs`` (the mean over the shifts, summed
        over frames) with ``chance_lo``, ``chance_hi``, and
        ``chance_share`` of the pairs with ``share_lo``, ``share_hi``.

    Notes
    -----
    Intervals are exact Poisson intervals of the pairs counted over all shifts; they are
    too wide in fields so crowded that pairs compete. The share is an upper
    bound for the wrong pairs: a truth with its real detection close by
    is rarely paired with another.
    """
    detections = sum(int(f.pairing.used.sum()) for f in frames)
    n = min(max(_ENOUGH // max(detections, 1), _LEAST_SHIFTS), MOST_SHIFTS)
    # The same frame is used for its group and for all groups together.
    tried = for_each(frames, ("chance", rules, n), lambda f: (chance_pairs(f, rules, n),))
    total = pairs = truths = n_frames = 0
    for f, (by_chance,) in zip(frames, tried, strict=True):
        if by_chance.size:
            total += int(by_chance.sum())
            pairs += len(f.pairing.pairs)
            truths += int((~f.pairing.truth_ignored).sum())
            n_frames += 1
    n = n if n_frames else 0
    lo, hi = poisson(total, rules.confidence)
    mean, low, high = (float(ratio(v, n)) for v in (total, lo, hi))
    row = {
        "shifts": n,
        "n_frames": n_frames,
        "truths": truths,
        "pairs": pairs,
        "chance_pairs": mean,
        "chance_lo": low,
        "chance_hi": high,
        "chance_share": float(ratio(mean, pairs)),
        "share_lo": float(ratio(low, pairs)),
        "share_hi": float(ratio(high, pairs)),
    }
    return pd.DataFrame([row])


def _box(
    shape: tuple[int, int] | None, truth: Catalog, found: Catalog
) -> tuple[float, float, float, float]:
    """Return y0, x0, ny, nx [px] of the area in which catalogues are shifted."""
    if shape is not None:
        return -0.5, -0.5, float(shape[0]), float(shape[1])
    xy = np.concatenate([truth.xy, found.xy])
    if not len(xy):
        return 0.0, 0.0, 0.0, 0.0
    (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
    return float(y0), float(x0), float(y1 - y0), float(x1 - x0)
