"""Merge the catalogues of overlapping sections; each source at a seam is kept once."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy
from astropy.table import vstack

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, require_kind, takes
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.sections.large_image import Section

__all__ = ["merge_sections"]

_Floats = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]

#: A section also keeps points this far beyond its core: if two sections round differently,
#: neither might keep a source on the seam [px] ...
_SEAM_PX: Final = 2.0
#: ... and there, points of two sections closer than this are the same source [px].
_SAME_PX: Final = 1.5
#: Pieces of a streak lie on one line within this [px] ...
_ASIDE_PX: Final = 4.0
#: ... plus this fraction of the distance from the middle of the longer piece,
_ASIDE_PART: Final = 0.02
#: with no larger gap than this between them [px].
_GAP_PX: Final = 5.0
#: A streak that reaches beyond its longest piece by no more is that piece [px].
_REACH_PX: Final = 8.0
#: A point of another section closer than this to a streak is the end of that streak [px].
_END_PX: Final = 3.0


@takes(parts=Sequence, zero_point=Real)
def merge_sections(
    parts: Sequence[tuple[Section, Catalog]], *, zero_point: float | None = None
) -> Catalog:
    """Merge the catalogues of the sections of an image into one.

    Parameters
    ----------
    parts : sequence of (Section, Catalog)
        All detections of each section, including its margin; positions in pixels of the
        *section*. Catalogues have the same columns, or no rows.
    zero_point : float, optional
        Zero-point of the frame, for the magnitudes of joined streaks.

    Returns
    -------
    Catalog
        The merged catalogue with positions in pixels of the frame, section after section.

    Notes
    -----
    *Points.* A section keeps the points in its core. Within 2 px of a seam the points of
    both sections are compared, and two points closer than 1.5 px are one source. The point
    whose section's core holds it is kept (if both do: that of the earlier section).

    *Streaks.* Each section reports the piece in its box. Pieces of different
    sections on one line (within 4 px, or 2 % of the distance) with no gap beyond
    5 px are one streak: the longest piece if the others extend no more than 8 px
    beyond it, otherwise the segment between the farthest ends, with the other columns of
    the longest piece, the highest score, all flags, and the flux scaled to the whole
    length. A piece that does not touch the core of its section and has no partner is
    dropped, since another section's core holds it. A point of one section on a streak of
    another section is the end of that streak if the streak leaves the other section, unless
    that section also reports the point.
    """
    given: Sequence[object] = parts
    for k, part in enumerate(given):
        if not isinstance(part, Sequence) or len(part) != 2:
            required = "a pair of a Section and a Catalog"
            raise BadInputError(f"merge_sections: parts[{k}]", required, type(part).__name__)
        require_kind(f"merge_sections: parts[{k}][0]", part[0], Section)
        require_kind(f"merge_sections: parts[{k}][1]", part[1], Catalog)
    moved = [
        (k, section, c.with_columns(x=c["x"] + section.x0, y=c["y"] + section.y0))
        for k, (section, c) in enumerate(parts)
        if len(c)
    ]
    if not moved:
        return parts[0][1] if parts else Catalog.empty()
    sections = [section for _, section, _ in moved]
    table = vstack([c.table for _, _, c in moved], metadata_conflicts="silent")
    table.meta = dict(moved[0][2].table.meta)
    whole = Catalog(table, moved[0][2].source)
    of = np.repeat(np.arange(len(moved)), [len(c) for _, _, c in moved])
    x, y, streak = whole["x"], whole["y"], whole.is_streak

    near, own = np.zeros(len(whole), bool), np.zeros(len(whole), bool)
    for k, section in enumerate(sections):
        rows = of == k
        near[rows] = section.holds(x[rows], y[rows], _SEAM_PX)
        own[rows] = section.holds(x[rows], y[rows])
    points = near & ~streak
    points &= ~_doubled(x, y, of, own, points & _on_seam(sections, of, x, y))

    ends = _ends(whole)
    pieces = np.flatnonzero(streak)
    if not pieces.size:
        return whole.select(points)
    points &= ~_streak_ends(sections, of, whole, ends, np.flatnonzero(points), pieces)
    joined = _join_streaks(sections, of[pieces], whole, pieces, ends, zero_point)
    keep = points.copy()
    keep[list(joined)] = True
    changed = {name: np.array(whole[name]) for name in _JOINED if name in whole}
    for row, values in joined.items():
        for name, value in values.items():
            if name in changed:
                changed[name][row] = value
    return whole.with_columns(**changed).select(keep)


#: Columns in which a joined streak differs from its longest piece.
_JOINED: Final = ("x", "y", "length", "theta", "score", "flags", "flux", "flux_err", "mag")


def _on_seam(sections: Sequence[Section], of: _Ints, x: _Floats, y: _Floats) -> _Bools:
    """Return True for positions within reach of the border of their section's core."""
    out = np.zeros(len(x), dtype=bool)
    for k, section in enumerate(sections):
        rows = of == k
        out[rows] = ~section.holds(x[rows], y[rows], -_SEAM_PX - _SAME_PX)
    return out


def _doubled(x: _Floats, y: _Floats, of: _Ints, own: _Bools, seam: _Bools) -> _Bools:
    """Return True for the points on seams that another section keeps."""
    drop = np.zeros(len(x), dtype=bool)
    rows = np.flatnonzero(seam)
    if rows.size < 2:
        return drop
    at = np.column_stack([x[rows], y[rows]])
    tree = scipy.spatial.KDTree(at)
    pairs = rows[tree.query_pairs(_SAME_PX, output_type="ndarray")].reshape(-1, 2)
    pairs = pairs[of[pairs[:, 0]] != of[pairs[:, 1]]]
    rank = np.empty(len(x), dtype=np.int64)
    rank[np.lexsort((np.arange(len(x)), of, ~own))] = np.arange(len(x))
    better = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    worse = pairs.sum(axis=1) - better
    apart = np.hypot(x[better] - x[worse], y[better] - y[worse])
    taken: set[tuple[int, int]] = set()
    for k in np.lexsort((apart, rank[better])):
        first, second = int(better[k]), int(worse[k])
        # At most one point of each section: the next nearest is another source.
        if not drop[first] and not drop[second] and (first, int(of[second])) not in taken:
            drop[second] = True
            taken.add((first, int(of[second])))
    return drop


def _ends(catalog: Catalog) -> _Floats:
    """Return both ends of each source, shape (n, 2, 2); those of a point are its position."""
    theta = np.nan_to_num(catalog["theta"])
    half = 0.5 * np.nan_to_num(catalog["length"])[:, None]
    half = half * np.column_stack([np.cos(theta), np.sin(theta)])
    return np.stack([catalog.xy - half, catalog.xy + half], axis=1)


def _along(ends: _Floats, at: _Floats) -> tuple[_Floats, _Floats]:
    """Return offsets of positions (n, 2) along and across a segment, from its middle."""
    middle, step = ends.mean(axis=0), ends[1] - ends[0]
    length = float(np.hypot(*step))
    direction = step / length if length > 0 else np.array([1.0, 0.0])
    offset = at - middle
    return offset @ direction, np.abs(offset @ np.array([-direction[1], direction[0]]))


def _streak_ends(
    sections: Sequence[Section],
    of: _Ints,
    whole: Catalog,
    ends: _Floats,
    points: _Ints,
    pieces: _Ints,
) -> _Bools:
    """Return True for points that are the end of a streak of another section."""
    drop = np.zeros(len(whole), dtype=bool)
    x, y = whole["x"], whole["y"]
    everything = whole.xy
    plain = ~whole.is_streak
    for row in pieces:
        section = sections[of[row]]
        if section.holds(*ends[row].T).all():
            continue
        others = points[of[points] != of[row]]
        others = others[section.reads(x[others], y[others])]
        along, aside = _along(ends[row], everything[others])
        half = 0.5 * float(np.hypot(*(ends[row][1] - ends[row][0])))
        hit = others[(aside <= _END_PX) & (np.abs(along) <= half + _END_PX)]
        same = np.flatnonzero(plain & (of == of[row]))
        if hit.size and same.size:
            apart, _ = scipy.spatial.KDTree(everything[same]).query(everything[hit])
            hit = hit[apart > _SAME_PX]
        drop[hit] = True
    return drop


def _one_line(one: _Floats, other: _Floats) -> bool:
    """Return True if two segments are pieces of one streak."""
    lengths = [float(np.hypot(*(e[1] - e[0]))) for e in (one, other)]
    longer, shorter = (one, other) if lengths[0] >= lengths[1] else (other, one)
    along, aside = _along(longer, shorter)
    if (aside > _ASIDE_PX + _ASIDE_PART * np.abs(along)).any():
        return False
    half = 0.5 * max(lengths)
    gap = max(float(along.min()) - half, -half - float(along.max()))
    return gap <= _GAP_PX


def _join_streaks(
    sections: Sequence[Section],
    of: _Ints,
    whole: Catalog,
    pieces: _Ints,
    ends: _Floats,
    zero_point: float | None,
) -> dict[int, dict[str, float]]:
    """Return the row of the longest piece of each streak, and its changed values."""
    n = len(pieces)
    low, high = ends[pieces].min(axis=1) - _GAP_PX, ends[pieces].max(axis=1) + _GAP_PX
    first, second = [], []
    for i in range(n):
        # Compare bounding boxes first: few of thousands of streaks can be pieces of one.
        meet = (low[i + 1 :] <= high[i]).all(axis=1) & (high[i + 1 :] >= low[i]).all(axis=1)
        for j in np.flatnonzero(meet & (of[i + 1 :] != of[i])) + i + 1:
            if _one_line(ends[pieces[i]], ends[pieces[j]]):
                first.append(i)
                second.append(int(j))
    at = np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)
    graph = scipy.sparse.coo_matrix((np.ones(len(first)), at), shape=(n, n))
    label = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    out: dict[int, dict[str, float]] = {}
    for group in range(label.max() + 1):
        members = np.flatnonzero(label == group)
        rows = pieces[members]
        lengths = np.hypot(*(ends[rows][:, 1] - ends[rows][:, 0]).T)
        best = int(np.argmax(lengths))
        row = int(rows[best])
        if len(rows) == 1 and not _touches(sections[of[members[0]]], ends[row]):
            continue
        out[row] = {}
        tips = ends[rows].reshape(-1, 2)
        along, _ = _along(ends[row], tips)
        if np.abs(along).max() <= lengths[best] / 2 + _REACH_PX:
            continue
        out[row] = _drawn_out(whole, rows, row, tips, float(lengths[best]), zero_point)
    return out


def _touches(section: Section, ends: _Floats) -> bool:
    """Return True if any part of a segment lies in the section's core."""
    steps = np.linspace(0, 1, 2 + int(np.hypot(*(ends[1] - ends[0]))))[:, None]
    along = ends[0] + steps * (ends[1] - ends[0])
    return bool(section.holds(*along.T).any())


def _drawn_out(
    whole: Catalog,
    rows: _Ints,
    row: int,
    tips: _Floats,
    longest: float,
    zero_point: float | None,
) -> dict[str, float]:
    """Return the values of a joined streak that replace those of its longest piece."""
    apart = np.hypot(*(tips[:, None] - tips[None]).T)
    i, j = np.unravel_index(int(apart.argmax()), apart.shape)
    (x0, y0), (x1, y1) = tips[i], tips[j]
    length = float(apart[i, j])
    theta = float(np.arctan2(y1 - y0, x1 - x0))
    theta = (theta + np.pi / 2) % np.pi - np.pi / 2
    more = length / longest if longest > 0 else 1.0
    flux = float(whole["flux"][row]) * more
    mag = float(whole["mag"][row])
    if zero_point is not None and flux > 0:
        mag = float(flux_to_mag(np.asarray(flux), zero_point))
    scores = whole["score"][rows]
    return {
        "x": (x0 + x1) / 2,
        "y": (y0 + y1) / 2,
        "length": length,
        "theta": theta,
        "score": float(np.nanmax(scores)) if np.isfinite(scores).any() else np.nan,
        "flags": float(np.bitwise_or.reduce(whole["flags"][rows])),
        "flux": flux,
        "flux_err": float(whole["flux_err"][row]) * float(np.sqrt(more)),
        "mag": mag,
    }
