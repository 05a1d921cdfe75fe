"""Compiled kernels: the results of their slow counterparts, in every digit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sep
from scipy.spatial import KDTree

from skyduel.core import native
from skyduel.core.native import close_pairs as pairs_module
from skyduel.core.native import library as loading
from skyduel.core.native import windowed as windowed_module

BUILT = pytest.mark.skipif(
    not native.is_available(), reason="core/native has not been built in this checkout"
)


def sky(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of Gaussian stars in noise and the stars' rough positions, some near its edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :150]
    image = rng.normal(0, 1, (120, 150))
    cx, cy = rng.uniform(-1, 150, n), rng.uniform(-1, 120, n)
    for k in range(n):
        image += rng.exponential(40) * np.exp(-((x - cx[k]) ** 2 + (y - cy[k]) ** 2) / 4)
    cx[:3], cy[:3] = [10.0, 20.5, 30.0], [40.0, 50.0, 60.5]
    return image.astype(np.float32), cx + rng.normal(0, 0.2, n), cy


def masks(seed: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)
    block = np.zeros((120, 150), dtype=bool)
    block[30:60, 40:80] = True
    return [None, rng.random((120, 150)) < 0.05, block, np.ones((120, 150), dtype=bool)]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make the kernels unavailable from the call on."""

    def without() -> None:
        for module in (loading, pairs_module, windowed_module):
            monkeypatch.setattr(module, "library", lambda: None)

    return without


@BUILT
@pytest.mark.parametrize("seed", range(4))
def test_half_light_radii_are_those_of_sep(seed: int) -> None:
    image, x, y = sky(seed)
    rng = np.random.default_rng(seed)
    # Flux inside few annuli, in many, and never; radii with annuli wider than a pixel.
    flux = np.concatenate([rng.uniform(1, 3000, 56), [np.nan, 1e6, 1e-3, 0.0]])
    reach = np.concatenate([rng.uniform(1, 20, 57), [120.0, 0.05, 300.0]])
    for mask in masks(seed):
        expected, _ = sep.flux_radius(image, x, y, reach, 0.5, normflux=flux, mask=mask, subpix=5)
        got = native.half_light_radius(image, x, y, reach, flux, mask)
        np.testing.assert_array_equal(got, expected)


@BUILT
@pytest.mark.parametrize("seed", range(4))
def test_windowed_positions_are_those_of_sep(seed: int) -> None:
    image, x, y = sky(seed)
    sigma = np.random.default_rng(seed).uniform(0.1, 3.0, len(x))
    sigma[0] = 12.0
    for mask in masks(seed):
        expected = sep.winpos(image, x, y, sigma, mask=mask)
        got = native.windowed_position(image, x, y, sigma, mask)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_objects_have_no_positions() -> None:
    image, _, _ = sky(0)
    none = np.zeros(0)
    assert native.half_light_radius(image, none, none, none, none).shape == (0,)
    assert [a.shape for a in native.windowed_position(image, none, none, none)] == [(0,)] * 3


@BUILT
def test_values_beyond_whole_numbers_are_left_to_sep() -> None:
    image, x, y = sky(1)
    far = np.where(np.arange(len(x)) == 5, 1e12, 2.0)
    assert not windowed_module._ordinary(image, x, y, far)
    assert not windowed_module._ordinary(image, x, y, np.where(far > 2, np.nan, far))
    assert not windowed_module._ordinary(image.astype(np.float64), x, y, np.full(len(x), 2.0))
    assert windowed_module._ordinary(image, x, y, np.full(len(x), 2.0))


def close(a: np.ndarray, b: np.ndarray, radius: float) -> set[tuple[int, int]]:
    near = KDTree(a).sparse_distance_matrix(KDTree(b), radius, output_type="ndarray")
    return set(zip(near["i"].tolist(), near["j"].tolist(), strict=True))


def fields(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 100, (300, 2)), rng.uniform(-20, 130, (200, 2))
    line = np.column_stack([rng.uniform(0, 1e4, 200), np.full(200, 3.0)])
    return {
        "overlapping fields": (a, b, 4.0),
        "a radius of the whole field": (a[:40], b[:30], 500.0),
        "a tiny radius": (np.concatenate([a, b]), b, 1e-9),
        "lattices at exactly the radius": (np.rint(a / 3), np.rint(b / 3), 1.0),
        "a line": (line + np.array([0.3, 0.4]), line, 30.0),
        "one place": (np.zeros((20, 2)), np.zeros((10, 2)), 1.0),
        "far from the origin": (a + 1e7, b + 1e7, 4.0),
        "clusters": (rng.normal(0, 1, (200, 2)) + 1e3 * rng.integers(0, 3, (200, 1)), a, 2.0),
    }


@pytest.mark.parametrize("case", sorted(fields(0)))
def test_neighbours_are_all_pairs_within_the_radius(case: str, slow: Callable[[], None]) -> None:
    a, b, radius = fields(3)[case]
    expected = close(a, b, radius * (1 + 1e-9))
    for _ in range(2):  # compiled, then the slow counterpart
        i, j = native.neighbours(a, b, radius)
        assert (i.dtype, j.dtype) == (np.int64, np.int64)
        assert len(set(zip(i.tolist(), j.tolist(), strict=True))) == len(i)
        assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected
        slow()


@BUILT
def test_neighbours_do_not_depend_on_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0, 400, (50_000, 2)), rng.uniform(0, 400, (30_000, 2))
    results: list[Any] = []
    for number in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", number)
        results.append(np.column_stack(native.neighbours(a, b, 1.5)))
    np.testing.assert_array_equal(*results)


def test_nothing_has_no_neighbours() -> None:
    some, none = np.ones((3, 2)), np.zeros((0, 2))
    for a, b in ((some, none), (none, some), (none, none)):
        assert [r.shape for r in native.neighbours(a, b, 1.0)] == [(0,), (0,)]
