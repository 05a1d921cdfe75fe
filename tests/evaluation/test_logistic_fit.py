"""Compiled fits of the completeness curve: those of the slow fit, but for rounding."""

from collections.abc import Callable

import numpy as np
import pytest

from skyduel.core import native
from skyduel.evaluation.statistics import logistic_fit
from skyduel.evaluation.statistics.logistic_fit import (
    crossing,
    maximise,
    maximise_together,
    probability,
    start,
)

BUILT = pytest.mark.skipif(
    not native.is_available(), reason="core/native has not been built in this checkout"
)


def draws(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of sources found in steps of an abscissa, some steps empty; x, k, n."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-2, 3, 60))
    theta = np.column_stack(
        [
            rng.uniform(0, 1, rows), np.log(rng.uniform(0.05, 0.5, rows)),
            rng.uniform(1, 6, rows), rng.uniform(-6, -2, rows),
        ]
    )  # fmt: skip
    n = rng.poisson(4, (rows, 60)).astype(float)
    return x, rng.binomial(n.astype(int), probability(x, theta)).astype(float), n


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(logistic_fit, "fit_logistic", lambda *_: None)


@BUILT
@pytest.mark.parametrize("gain", [1e-3, 1e-8])
def test_compiled_fits_are_the_slow_ones(gain: float, slow: Callable[[], None]) -> None:
    x, k, n = draws(1, 300)
    first = np.repeat(start(x, k.sum(axis=0), n.sum(axis=0)), 300, axis=0)
    fast = maximise(x, k, n, first, gain)
    slow()
    expected = maximise(x, k, n, first, gain)
    half = [crossing(theta, 0.5, -2.0, 3.0) for theta in (fast, expected)]
    np.testing.assert_allclose(half[0], half[1], rtol=0, atol=1e-10)
    # Ceilings and floors that the sources hardly bound amplify rounding.
    np.testing.assert_allclose(fast, expected, rtol=1e-7, atol=1e-8)
    assert np.isfinite(fast).all()


@BUILT
def test_fits_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x, k, n = draws(2, 400)
    first = np.repeat(start(x, k.sum(axis=0), n.sum(axis=0)), 400, axis=0)
    fits = []
    for number in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", number)
        fits.append(maximise(x, k, n, first, 1e-3))
    np.testing.assert_array_equal(*fits)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("found", [0.0, 1.0])
def test_all_or_none_found_ends_inside_the_bounds(
    found: float, compiled: bool, slow: Callable[[], None]
) -> None:
    if not compiled:
        slow()
    x = np.linspace(0, 1, 30)
    n = np.full((70, 30), 5.0)
    theta = maximise(x, found * n, n, np.tile([0.5, -2.0, 2.0, -4.0], (70, 1)))
    assert np.isfinite(theta).all()
    assert (np.abs(probability(x, theta) - found) < 0.1).all()


def test_given_starts_are_left_as_they_are() -> None:
    x, k, n = draws(4, 70)
    first = np.tile([0.5, -1.0, 2.0, -4.0], (70, 1))
    before = first.copy()
    maximise(x, k, n, first)
    maximise_together(x, k, n, first, (before[0] - 9, before[0] + 9), 1e-8)
    np.testing.assert_array_equal(first, before)


def test_few_rows_are_fitted_in_the_slow_way(slow: Callable[[], None]) -> None:
    x, k, n = draws(5, 3)
    first = np.tile([0.5, -1.0, 2.0, -4.0], (3, 1))
    values = maximise(x, k, n, first)
    slow()
    np.testing.assert_array_equal(maximise(x, k, n, first), values)
