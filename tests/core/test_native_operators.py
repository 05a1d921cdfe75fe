"""ROIAlign and soft-NMS on arrays: the same numbers as their slow counterparts and torch's."""

from collections.abc import Callable

import numpy as np
import pytest

from skyduel.core import native
from skyduel.core.native import operators

BUILT = pytest.mark.skipif(
    not native.is_available(), reason="core/native has not been built in this checkout"
)


def maps_and_boxes(seed: int, k: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Maps of (5, 40, 56) and squares of 14 px around places on them and beyond their edges."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-12, [124, 92], (k, 2))
    boxes = np.concatenate([centres - 7, centres + 7], axis=1)
    return rng.normal(size=(5, 40, 56)).astype(np.float32), boxes.astype(np.float32)


def crowd(seed: int, n: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, side, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(3, 5, (n, 2))], axis=1)
    return boxes.astype(np.float32), rng.random(n).astype(np.float32)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(operators, "library", lambda: None)


@BUILT
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_threads", [1, 3])
def test_crops_are_those_of_the_slow_counterpart(seed: int, n_threads: int, slow) -> None:
    maps, boxes = maps_and_boxes(seed)
    boxes[:3] = [[0, 0, 14, 14], [1, 3, 9.5, 40], [-300, 2, -290, 9]]
    fast = native.roi_align(maps, boxes, 7, 0.5, n_threads)
    slow()
    np.testing.assert_allclose(native.roi_align(maps, boxes, 7, 0.5), fast, rtol=0, atol=2e-6)
    assert fast[3:].any()
    assert not fast[2].any()  # outside the map


@BUILT
def test_threads_and_the_layout_of_the_maps_change_no_bit() -> None:
    maps, boxes = maps_and_boxes(3)
    fast = native.roi_align(maps, boxes, 7, 0.5, 1)
    last = np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert np.array_equal(native.roi_align(last, boxes, 7, 0.5, 2), fast)


@BUILT
@pytest.mark.parametrize(("n", "side"), [(300, 30.0), (1500, 200.0), (1, 5.0)])
@pytest.mark.parametrize("sigma", [0.1, 0.6])
def test_suppression_is_that_of_the_slow_counterpart(n: int, side: float, sigma: float, slow):
    boxes, scores = crowd(7, n, side)
    scores[::10] = 0.5  # ties
    index, left = native.soft_nms(boxes, scores, sigma, 0.01)
    slow()
    index_slow, left_slow = native.soft_nms(boxes, scores, sigma, 0.01)
    assert np.array_equal(index, index_slow)
    np.testing.assert_allclose(left, left_slow, rtol=1e-6)
    assert (np.diff(left) <= 0).all()


@pytest.mark.parametrize("built", [pytest.param(True, marks=BUILT), False])
def test_nothing_in_gives_nothing_out(built: bool, slow) -> None:
    if not built:
        slow()
    none = np.zeros((0, 4), dtype=np.float32)
    assert native.roi_align(np.zeros((5, 8, 8), np.float32), none, 7, 0.5).shape == (0, 5, 7, 7)
    index, left = native.soft_nms(none, np.zeros(0, np.float32), 0.5, 0.01)
    assert index.shape == left.shape == (0,)
    assert (index.dtype, left.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("built", [pytest.param(True, marks=BUILT), False])
def test_what_cannot_be_used_is_refused(built: bool, slow) -> None:
    if not built:
        slow()
    maps, boxes = maps_and_boxes(0, 4)
    boxes[2, 1] = np.nan
    with pytest.raises(ValueError, match="boxes: required finite"):
        native.roi_align(maps, boxes, 7, 0.5)
    with pytest.raises(ValueError, match="required finite"):
        native.soft_nms(boxes, np.ones(4, np.float32), 0.5, 0.01)
    with pytest.raises(ValueError, match="x2 > x1"):
        native.soft_nms(np.zeros((1, 4), np.float32), np.ones(1, np.float32), 0.5, 0.01)


@BUILT
def test_both_bindings_give_the_same_bits() -> None:
    torch = pytest.importorskip("torch")
    from skyduel import cuda_ops

    maps, boxes = maps_and_boxes(11, 2000)
    rows = torch.from_numpy(np.column_stack([np.zeros(2000, np.float32), boxes]))
    ours = native.roi_align(maps, boxes, 7, 0.5)
    theirs = cuda_ops.roi_align(torch.from_numpy(maps[None]), rows, 7, 0.5, 1, True)
    assert np.array_equal(ours, theirs.numpy())
    squares, scores = crowd(12, 3000, 120.0)
    index, left = native.soft_nms(squares, scores, 0.25, 1e-3)
    kept, lowered = cuda_ops.soft_nms(
        torch.from_numpy(squares), torch.from_numpy(scores), sigma=0.25, score_threshold=1e-3
    )
    assert np.array_equal(index, kept.numpy())
    assert np.array_equal(left, lowered.numpy())
