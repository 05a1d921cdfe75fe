"""ROIAlign and soft-NMS on arrays: the kernels of `skyduel.cuda_ops` without torch."""

from __future__ import annotations

import ctypes
import heapq

import numpy as np
import numpy.typing as npt
import scipy

from skyduel.core.native.library import library, pointer, threads

__all__ = ["roi_align", "soft_nms"]

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def roi_align(
    maps: Singles, boxes: Singles, size: int, scale: float, n_threads: int | None = None
) -> Singles:
    """Return crops of fixed size from maps, one bilinear sample a bin.

    Parameters
    ----------
    maps : ndarray of float32, shape (channels, height, width)
        Feature maps of one image.
    boxes : ndarray of float32, shape (k, 4)
        Edges x1, y1, x2, y2 [px of the frame]; pixel centres are at halves.
    size : int
        Bins per side of a crop.
    scale : float
        Map pixels per frame pixel.
    n_threads : int, optional
        Threads; those of `skyduel.core.native.library.threads` if not given.

    Returns
    -------
    ndarray of float32, shape (k, channels, size, size)
        `skyduel.cuda_ops.roi_align` with ``sampling_ratio=1`` and ``aligned=True``.

    Raises
    ------
    ValueError
        If a box is not finite or lies too far outside.
    """
    loaded = library()
    if loaded is None:
        return _sampled_crops(maps, boxes, size, scale)
    maps = np.ascontiguousarray(maps, dtype=np.float32)
    rows = np.zeros((len(boxes), 5), dtype=np.float32)
    rows[:, 1:] = boxes
    crops = np.empty((len(boxes), len(maps), size, size), dtype=np.float32)
    done = loaded.skyduel_roi_align(
        pointer(maps), *maps.shape, pointer(rows), len(rows), size, scale, 1,
        n_threads or threads(), pointer(crops),
    )  # fmt: skip
    _check(loaded, done)
    return crops


def soft_nms(
    boxes: Singles, scores: Singles, sigma: float, score_threshold: float
) -> tuple[npt.NDArray[np.int64], Singles]:
    """Apply Gaussian soft-NMS to boxes.

    Parameters
    ----------
    boxes : ndarray of float32, shape (k, 4)
        Edges x1, y1, x2, y2 [px].
    scores : ndarray of float32, shape (k,)
        Score of each box.
    sigma : float
        Width of the Gaussian, in IoU.
    score_threshold : float
        Boxes are dropped once their score is below this.

    Returns
    -------
    index : ndarray of int64, shape (n,)
        Boxes kept, by falling score, equal scores by input order.
    score : ndarray of float32, shape (n,)
        Their lowered scores. `skyduel.cuda_ops.soft_nms` returns the same.

    Raises
    ------
    ValueError
        If a box is empty, or a value is not finite.
    """
    loaded = library()
    if loaded is None:
        return _greedy_soft_nms(boxes, scores, sigma, score_threshold)
    boxes = np.ascontiguousarray(boxes, dtype=np.float32)
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    index, left = np.empty(len(boxes), dtype=np.int64), np.empty(len(boxes), dtype=np.float32)
    kept = loaded.skyduel_soft_nms(
        pointer(boxes), pointer(scores), len(boxes), sigma, score_threshold,
        pointer(index), pointer(left),
    )  # fmt: skip
    _check(loaded, kept)
    return index[:kept], left[:kept]


def _check(loaded: ctypes.CDLL, status: int) -> None:
    """Raise ValueError with the words of the kernel if it refused its arguments."""
    if status < 0:
        words: bytes = loaded.skyduel_refusal()
        raise ValueError(words.decode().removeprefix("skyduel refuses: "))


def _sampled_crops(maps: Singles, boxes: Singles, size: int, scale: float) -> Singles:
    """Return the crops of `roi_align`, all samples of all boxes in one gather per corner."""
    if not np.isfinite(boxes).all():
        raise ValueError("boxes: required finite; got NaN or infinity")
    edges = boxes.astype(np.float32) * np.float32(scale) - np.float32(0.5)
    x = _axis_samples(edges[:, 0], edges[:, 2], size, maps.shape[2])
    y = _axis_samples(edges[:, 1], edges[:, 3], size, maps.shape[1])
    crops = np.zeros((len(maps), len(boxes), size, size), dtype=np.float32)
    for row, of_row in y:
        for column, of_column in x:
            weight = of_row[:, :, None] * of_column[:, None, :]
            crops += weight * maps[:, row[:, :, None], column[:, None, :]]
    return np.ascontiguousarray(crops.transpose(1, 0, 2, 3))


def _axis_samples(
    low: Singles, high: Singles, size: int, n: int
) -> list[tuple[npt.NDArray[np.intp], Singles]]:
    """Return the two map positions that feed each bin along an axis, and their weights."""
    step = ((high - low) / np.float32(size))[:, None]
    # Rounded in the kernel's order.
    at = low[:, None] + np.arange(size, dtype=np.float32) * step + np.float32(0.5) * step
    on = (at >= -1) & (at <= n)
    at = np.maximum(at, 0)
    first = np.minimum(at, n - 1).astype(np.intp)
    fraction = np.where(first >= n - 1, 0, at - first).astype(np.float32)
    return [(first, (1 - fraction) * on), (np.minimum(first + 1, n - 1), fraction * on)]


def _greedy_soft_nms(
    boxes: Singles, scores: Singles, sigma: float, score_threshold: float
) -> tuple[npt.NDArray[np.int64], Singles]:
    """Return the boxes and scores of `soft_nms`: the best box left lowers those it overlaps."""
    edges, now = boxes.astype(np.float64), scores.astype(np.float64)
    corner, size = edges[:, :2], edges[:, 2:] - edges[:, :2]
    if not (np.isfinite(edges).all() and np.isfinite(now).all() and (size > 0).all()):
        raise ValueError("boxes, scores: required finite, and x2 > x1 and y2 > y1")
    index: list[int] = []
    left: list[float] = []
    now[now < score_threshold] = -np.inf
    heap = [(-score, i) for i, score in enumerate(now.tolist()) if score > -np.inf]
    heapq.heapify(heap)
    tree = scipy.spatial.KDTree(corner + size / 2) if heap else None
    reach = float(size.max(initial=0.0))
    while heap and tree is not None:
        score, i = heapq.heappop(heap)
        if -score != now[i]:  # lowered since: it takes its new place
            if now[i] > -np.inf:
                heapq.heappush(heap, (-float(now[i]), i))
            continue
        index.append(i)
        left.append(-score)
        now[i] = -np.inf
        near = np.array(tree.query_ball_point(corner[i] + size[i] / 2, reach, p=np.inf))
        shared = np.minimum(edges[near, 2:], edges[i, 2:]) - np.maximum(corner[near], corner[i])
        over = shared.clip(0).prod(axis=1)
        over /= size[near].prod(axis=1) + size[i].prod() - over
        lowered = now[near] * np.exp(-(over**2) / sigma)
        now[near] = np.where(lowered < score_threshold, -np.inf, lowered)
    return np.array(index, dtype=np.int64), np.array(left, dtype=np.float32)
