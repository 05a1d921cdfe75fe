"""Detect the sources of a frame: overlapping tiles, RoI features, one list for the whole frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.measure.background import Background
from skyduel.detect.inference.context_features import measure_context_features
from skyduel.detect.inference.decode import STREAK_CHANNELS, find_streaks, propose
from skyduel.detect.inference.memory import give_freed_memory_back
from skyduel.detect.inference.runtime import Runtime
from skyduel.detect.inference.streak_fit import refine_streaks
from skyduel.detect.model.inputs import CHANNELS, frame_channels
from skyduel.detect.model.layout import DENSE_CHANNELS, ROI_KINDS, STRIDE

__all__ = ["RawSources", "Tiling", "find_sources", "tile_spans"]

#: Regions classified at a time; bounds the memory in crowded fields.
_REGIONS_AT_ONCE: Final = 4096
#: Side of the squares by which regions are sorted, so that neighbours follow each other [px].
_BLOCK_PX: Final = 32
#: A tile also reports sources this far outside its core [px]. Otherwise two tiles that round
#: differently could both omit a source on their seam.
_SEAM_PX: Final = 1.0
#: Points with a logit above this are stars for the fit of streaks.
_STAR_LOGIT: Final = 2.0
#: Least side of a tile without its margins [px].
_LEAST_CORE_PX: Final = 16
#: On a seam, proposals of two tiles closer than this are one source [px].
_SAME_PX: Final = 0.5


@dataclass(frozen=True)
class Tiling:
    """Tiles of ``size_px``, of which the outer ``margin_px`` is context only.

    A side up to a third longer than a tile is not cut: margins would use most of the memory
    that cutting saves.

    Raises
    ------
    BadInputError
        If the margins leave a core of less than 16 px.
    """

    size_px: int = 1536
    margin_px: int = 96

    @property
    def whole_px(self) -> int:
        """Longest side that is not cut [px]."""
        return self.size_px * 4 // 3

    def __post_init__(self) -> None:
        if self.margin_px < 0 or self.size_px - 2 * self.margin_px < _LEAST_CORE_PX:
            raise BadInputError(
                "tiling",
                f"tiles of at least {_LEAST_CORE_PX} px between margins of 0 px or more",
                f"size_px={self.size_px}, margin_px={self.margin_px}",
            )


@dataclass(frozen=True)
class RawSources:
    """Sources of one frame before thresholds and suppression.

    Attributes
    ----------
    xy : ndarray of float64, shape (k, 2)
        Refined positions of points [px].
    logit : ndarray of float64, shape (k,)
        Mean of the proposal's presence logit and the RoI head's point logit.
    streaks : ndarray of float64, shape (n, 5)
        x, y, length [px], theta [rad], score.
    context_features : ndarray of float32, shape (k, 15)
        Features of each point, columns as in `CONTEXT_FEATURES`.
    """

    xy: npt.NDArray[np.float64]
    logit: npt.NDArray[np.float64]
    streaks: npt.NDArray[np.float64]
    context_features: npt.NDArray[np.float32]


def tile_spans(n: int, tiling: Tiling, multiple: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield start and stop of each tile and of its core, along one axis.

    The cores follow each other without gap or overlap; all starts are multiples of
    ``multiple``.
    """
    step = (tiling.size_px - 2 * tiling.margin_px) // multiple * multiple
    margin = tiling.margin_px // multiple * multiple
    if n <= tiling.whole_px:
        yield 0, n, 0, n
        return
    # All tiles have the same size: a narrow last one would be mostly margin.
    tiles = -(-n // step)
    step = -(-n // (tiles * multiple)) * multiple
    core = 0
    while core < n:
        end = min(core + step, n)
        yield max(0, core - margin), min(n, end + margin), core, end
        core = end


def find_sources(
    frame: Frame,
    background: Background,
    runtime: Runtime,
    *,
    floor: float,
    most_per_mpix: int,
    tiling: Tiling | None = None,
    regions_above: float | None = None,
) -> RawSources:
    """Detect the sources of a frame with the network.

    Parameters
    ----------
    frame : Frame
        Any size.
    background : Background
        Of the frame.
    runtime : Runtime
        The network.
    floor : float
        Lowest presence probability of a proposal.
    most_per_mpix : int
        Most proposals per 10⁶ px, so that noise at a low floor cannot exhaust the memory.
    tiling : Tiling, optional
        How to cut frames larger than a tile.
    regions_above : float, optional
        Proposals with a presence logit below this are not given to the RoI head: they keep
        their logit and position.

    Notes
    -----
    A tile reports the sources in its core only; the margin around it is
    context. Tiles start at multiples of the network's coarsest stride, so the arithmetic at
    a place does not depend on the tile that holds it. A source that two tiles report on their
    seam is kept once, from the tile with the higher logit.
    """
    tiling = tiling or Tiling()
    least = -np.inf if regions_above is None else regions_above
    run = _Run(frame, background, runtime, floor, most_per_mpix, least)
    ny, nx = frame.shape
    tiled = max(ny, nx) > tiling.whole_px
    # Streaks cross tiles, so their channels are kept for the whole frame, in half precision.
    shape = len(DENSE_CHANNELS[STREAK_CHANNELS]), -(-ny // STRIDE), -(-nx // STRIDE)
    cells = np.zeros(shape, dtype=np.float16)
    found: list[_Part] = []
    if tiled:
        give_freed_memory_back()
    for rows in tile_spans(ny, tiling, runtime.multiple):
        for columns in tile_spans(nx, tiling, runtime.multiple):
            box = (*rows[:2], *columns[:2])
            core = (*rows[2:], *columns[2:])
            part, some = _run_tile(run, box, core)
            found.append(part)
            cells[_cells(core)] = some
            del some
            if tiled:
                give_freed_memory_back()
    xy_all, logit_all = _merge_tiles(found)
    on = (
        (xy_all[:, 0] > -0.5) & (xy_all[:, 0] < nx - 0.5)
        & (xy_all[:, 1] > -0.5) & (xy_all[:, 1] < ny - 0.5)
    )  # fmt: skip
    xy_all, logit_all = xy_all[on], logit_all[on]
    sure = logit_all > _STAR_LOGIT
    streaks = refine_streaks(frame, background, find_streaks(cells), xy_all[sure])
    del cells
    context_features = measure_context_features(frame, background, xy_all, logit_all)
    if tiled:
        give_freed_memory_back()
    return RawSources(xy_all, logit_all, streaks, context_features)


class _Part(NamedTuple):
    """Sources of one tile: refined positions, logits, proposed positions, whether on a seam."""

    xy: npt.NDArray[np.float64]
    logit: npt.NDArray[np.float64]
    proposed: npt.NDArray[np.float64]
    seam: npt.NDArray[np.bool_]


class _Run(NamedTuple):
    """Inputs and options that are the same for all tiles of a frame."""

    frame: Frame
    background: Background
    runtime: Runtime
    floor: float
    most_per_mpix: int
    regions_above: float


def _run_tile(
    run: _Run, box: tuple[int, int, int, int], core: tuple[int, int, int, int]
) -> tuple[_Part, npt.NDArray[np.float16]]:
    """Return the sources and the streaks' cells of one tile; boxes are y0, y1, x0, x1 [px]."""
    y0, y1, x0, x1 = box
    runtime = run.runtime
    image = frame_channels(run.frame, run.background, box)
    pad_y, pad_x = -(y1 - y0) % runtime.multiple, -(x1 - x0) % runtime.multiple
    if pad_y or pad_x:
        image = np.pad(image, ((0, 0), (0, pad_y), (0, pad_x)))
        unusable = image[CHANNELS.index("unusable")]
        unusable[y1 - y0 :] = 1.0  # padding is masked
        unusable[:, x1 - x0 :] = 1.0
    maps, features = runtime.dense(image)
    del image  # as large as the maps
    most = max(64, int(run.most_per_mpix * (y1 - y0) * (x1 - x0) / 1e6))
    xy, logit = propose(maps, run.floor, most)
    # In float64: single precision has steps of 0.002 px at 32768 px.
    proposed = xy.astype(np.float64) + np.array([x0, y0])
    inside = _within(proposed, core, _SEAM_PX)
    xy, logit, proposed = xy[inside], logit[inside], proposed[inside]
    placed, logits = proposed.copy(), logit.astype(np.float64)
    # Neighbours follow each other, so their features are in the cache.
    undecided = np.flatnonzero(logit >= run.regions_above)
    cell = np.floor(xy[undecided] / _BLOCK_PX)
    order = undecided[np.argsort(cell[:, 1] * (x1 - x0) + cell[:, 0], kind="stable")]
    point = ROI_KINDS.index("point")
    for first in range(0, len(order), _REGIONS_AT_ONCE):
        rows = order[first : first + _REGIONS_AT_ONCE]
        kinds, shift = runtime.classify(features, xy[rows])
        placed[rows] += shift
        # log of p(point) / (1 - p(point))
        head = kinds[:, point] - np.logaddexp.reduce(np.delete(kinds, point, axis=1), axis=1)
        logits[rows] = (logits[rows] + head) / 2
    seam = ~_within(proposed, core, -_SEAM_PX)
    own = _cells((core[0] - y0, core[1] - y0, core[2] - x0, core[3] - x0))
    part = _Part(placed, logits, proposed, seam)
    return part, maps[STREAK_CHANNELS][own].astype(np.float16)


def _cells(box: tuple[int, int, int, int]) -> tuple[slice, slice, slice]:
    """Return the slices of maps that hold the cells of y0, y1, x0, x1 [px], all channels."""
    y0, y1, x0, x1 = box
    return (
        slice(None),
        slice(y0 // STRIDE, -(-y1 // STRIDE)),
        slice(x0 // STRIDE, -(-x1 // STRIDE)),
    )


def _within(
    xy: npt.NDArray[np.float64], box: tuple[int, int, int, int], more: float
) -> npt.NDArray[np.bool_]:
    """Return a mask of the positions in y0, y1, x0, x1 [px], widened by ``more`` on every side."""
    y0, y1, x0, x1 = box
    x, y = xy[:, 0] + 0.5, xy[:, 1] + 0.5
    return np.asarray((x >= x0 - more) & (x < x1 + more) & (y >= y0 - more) & (y < y1 + more))


def _merge_tiles(parts: list[_Part]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return positions and logits of all tiles, without the duplicates on seams."""
    if not parts:
        return np.zeros((0, 2)), np.zeros(0)
    xy = np.concatenate([part.xy for part in parts])
    logit = np.concatenate([part.logit for part in parts])
    proposed = np.concatenate([part.proposed for part in parts])
    tile = np.repeat(np.arange(len(parts)), [len(part.xy) for part in parts])
    keep = np.ones(len(xy), dtype=bool)
    seam = np.flatnonzero(np.concatenate([part.seam for part in parts]))
    if len(parts) > 1 and seam.size:
        tree = scipy.spatial.KDTree(proposed[seam])
        pairs = seam[tree.query_pairs(_SAME_PX, output_type="ndarray")]
        pairs = pairs[tile[pairs[:, 0]] != tile[pairs[:, 1]]]
        # The higher logit has priority; of equal ones that of the earlier tile.
        order = np.argsort(-logit, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        ranked = np.sort(rank[pairs], axis=1)
        for first, second in order[ranked[np.lexsort((ranked[:, 1], ranked[:, 0]))]]:
            if keep[first]:
                keep[second] = False
    return xy[keep], logit[keep]
