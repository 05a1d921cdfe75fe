"""The parts of the fit of the completeness curve, on data whose maximum is known.

Of data that are just what a curve expects, k = n p(x), no other curve has a higher likelihood
(Gibbs' inequality). So the fit, and the choice of its start, must give that curve back.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from skyduel.evaluation.statistics import logistic_fit
from skyduel.evaluation.statistics.logistic_fit import (
    ceiling_of,
    crossing,
    floor_of,
    maximise,
    maximise_together,
    probability,
    start,
    width_of,
)

X = np.linspace(2.0, 6.0, 81)
CURVES = np.array(
    [
        [3.9, np.log(0.2), 2.0, -3.0],
        [4.4, np.log(0.5), 1.0, -2.0],
        [3.1, np.log(0.1), 3.0, -4.0],
    ]
)
#: Off a curve by so much a fit begins.
ASIDE = np.array([0.3, 0.5, -1.0, 0.5])


def plain(x: float, x0: float, log_w: float, logit_c: float, logit_f: float) -> float:
    """Return the formula at the head of the module, of one number."""
    c, f = 1 / (1 + np.exp(-logit_c)), 1 / (1 + np.exp(-logit_f))
    return f + (1 - f) * c / (1 + np.exp(-(x - x0) / np.exp(log_w)))


def expected(theta: np.ndarray, n: float = 1000.0) -> tuple[np.ndarray, np.ndarray]:
    """Return k and n of the data that curves expect."""
    p = np.array([[plain(x, *t) for x in X] for t in theta])
    return n * p, np.full(p.shape, n)


@pytest.fixture(params=["compiled", "slow"])
def fit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Return `maximise` of one row: by the library, where it is built, or by the slow way."""
    if request.param == "slow":
        monkeypatch.setattr(logistic_fit, "fit_logistic", lambda *_: None)

    def run(k: np.ndarray, n: np.ndarray, theta: np.ndarray, *how: float) -> np.ndarray:
        rows = [np.tile(np.reshape(v, (1, -1)), (64, 1)) for v in (k, n, theta)]
        return maximise(X, *rows, *how)[0]

    return run


def test_probability_floor_ceiling_and_width_are_those_of_the_formula() -> None:
    p = probability(X, CURVES)
    for row, t in zip(p, CURVES, strict=True):
        np.testing.assert_allclose(row, [plain(x, *t) for x in X], rtol=1e-12)
    np.testing.assert_allclose(floor_of(CURVES), [plain(-50.0, *t) for t in CURVES])
    np.testing.assert_allclose(ceiling_of(CURVES), [plain(50.0, *t) for t in CURVES])
    np.testing.assert_allclose(width_of(CURVES), [0.2, 0.5, 0.1])


def test_a_probability_is_never_just_zero_or_one() -> None:
    certain = np.array([[4.0, -3.0, 60.0, -60.0]])
    assert probability(np.array([-99.0, 99.0]), certain).tolist() == [[1e-12, 1 - 1e-12]]


def test_derivatives_are_those_of_differences() -> None:
    n = np.random.default_rng(1).integers(1, 9, (3, 81)).astype(float)
    k = np.floor(n / 2)
    parts = logistic_fit._parts(X, CURVES)
    gradient, fisher = logistic_fit._derivatives(CURVES, *parts, k, n)
    step = 1e-5
    for row, theta in enumerate(CURVES):

        def moved(d: int, by: float, theta: np.ndarray = theta) -> np.ndarray:
            return np.array([plain(x, *(theta + by * np.eye(4)[d])) for x in X])

        p = moved(0, 0.0)
        slopes = np.array([(moved(d, step) - moved(d, -step)) / (2 * step) for d in range(4)])
        score = k[row] / p - (n[row] - k[row]) / (1 - p)
        np.testing.assert_allclose(gradient[row], slopes @ score, rtol=1e-6)
        # Fisher's information: the mean square of a source's score is 1 / (p (1 - p)).
        np.testing.assert_allclose(
            fisher[row], (slopes * (n[row] / (p * (1 - p)))) @ slopes.T, rtol=1e-6
        )


def test_the_start_is_the_best_node_of_its_grid() -> None:
    rng = np.random.default_rng(2)
    grid = ((2.08, 2.24, 4.0, 5.76, 5.92), (0.04, 0.12, 0.4), (-1.0, 0.5, 2.0, 5.0), (-6.0, -3.0))
    nodes = list(product(*grid))
    for at in rng.choice(len(nodes), 40, replace=False):
        place, width, c, f = nodes[at]
        theta = np.array([[place, np.log(width), c, f]])
        k, n = expected(theta)
        np.testing.assert_allclose(start(X, k[0], n[0]), theta, rtol=1e-12)


def test_the_fit_gives_back_the_curve_of_which_the_data_are(fit: Callable) -> None:
    for theta in CURVES:
        k, n = expected(theta[None])
        first = start(X, k[0], n[0])
        np.testing.assert_allclose(fit(k, n, first), theta, rtol=1e-5)
        np.testing.assert_allclose(fit(k, n, theta + ASIDE), theta, rtol=1e-5)


def test_rows_are_fitted_as_each_alone() -> None:
    k, n = expected(CURVES, 10.0)
    k = np.rint(k)
    first = np.tile(start(X, k.sum(axis=0), n.sum(axis=0)), (3, 1))
    together = maximise(X, k, n, first)
    for row in range(3):
        alone = maximise(X, k[[row]], n[[row]], first[[row]])
        np.testing.assert_allclose(together[[row]], alone, rtol=1e-9)


def test_a_fit_stays_at_a_bound_and_the_rest_is_fitted_there(fit: Callable) -> None:
    # A lower floor and a higher ceiling than a fit may have.
    k, n = expected(np.array([[4.0, np.log(0.3), 9.0, -9.0]]), 1e5)
    got = fit(k, n, np.array([3.5, np.log(0.5), 2.0, -3.0]))
    assert got[2:].tolist() == [7.0, -7.0]
    gradient = logistic_fit._derivatives(got[None], *logistic_fit._parts(X, got[None]), k, n)[0][0]
    assert gradient[2] > 1  # both would go on
    assert gradient[3] < -1
    np.testing.assert_allclose(gradient[:2], 0.0, atol=0.1)
    np.testing.assert_allclose(got[:2], [4.0, np.log(0.3)], atol=0.01)


def test_the_bounds_of_a_fit_are_those_of_the_abscissa(fit: Callable) -> None:
    # Without a source nothing moves a fit but its bounds; x is from 2 to 6.
    none = np.zeros(81)
    low = fit(none, none, np.full(4, -1e9))
    np.testing.assert_allclose(low, [-2.0, np.log(0.004), -6.0, -7.0])
    high = fit(none, none, np.full(4, 1e9))
    np.testing.assert_allclose(high, [10.0, np.log(8.0), 7.0, -0.85])


def test_a_fit_ends_where_a_step_gains_too_little(fit: Callable) -> None:
    k, n = expected(CURVES[:1])
    first = CURVES[0] + ASIDE
    one_step, all_steps = fit(k, n, first, 1e9), fit(k, n, first)
    best = logistic_fit._log_likelihood(*(probability(X, CURVES[:1]), k, n))[0]

    def lost(theta: np.ndarray) -> float:
        return float(best - logistic_fit._log_likelihood(probability(X, theta[None]), k, n)[0])

    assert lost(first) > lost(one_step) > 1.0
    assert lost(all_steps) < 1e-6
    assert lost(fit(k, n, first, 0.5)) < 0.5


def test_many_rows_are_fitted_by_the_library_and_few_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    monkeypatch.setattr(logistic_fit, "fit_logistic", lambda *given: calls.append(given))
    k, n = expected(CURVES[:1])
    for rows in (63, 64):
        maximise(X, np.tile(k, (rows, 1)), np.tile(n, (rows, 1)), np.tile(CURVES[0], (rows, 1)))
        assert len(calls) == (rows == 64)


def test_a_crossing_is_where_the_curve_has_that_height() -> None:
    for level in (0.3, 0.5, 0.6):
        at = crossing(CURVES, level, 2.0, 6.0)
        for x, theta in zip(at, CURVES, strict=True):
            assert plain(x, *theta) == pytest.approx(level, abs=1e-12)


def test_there_is_no_crossing_outside_the_range_below_the_floor_or_above_the_ceiling() -> None:
    theta = np.array([[4.0, 0.0, 60.0, -60.0]])  # crosses one half at 4
    assert crossing(theta, 0.5, 4.0, 4.0).tolist() == [4.0]
    assert crossing(theta, 0.5, 1.0, np.nextafter(4.0, 0)).tolist() == [np.inf]
    assert crossing(theta, 0.5, np.nextafter(4.0, 9), 9.0).tolist() == [-np.inf]
    # A ceiling of one half is reached at infinity, and a floor of one half is never left.
    half = np.array([[4.0, 0.0, 0.0, -800.0], [4.0, 0.0, 5.0, 0.0], [4.0, 0.0, 5.0, 1.0]])
    assert crossing(half, 0.5, 1.0, 9.0).tolist() == [np.inf, -np.inf, -np.inf]
    assert crossing(half[:1], 0.6, 1.0, 9.0).tolist() == [np.inf]


def test_a_step_that_loses_is_not_taken() -> None:
    # From so far off the first steps lose; the damping makes them smaller until one gains.
    k, n = expected(CURVES[2:])
    first = np.array([[5.8, np.log(0.02), 5.0, -6.0]])
    bounds = np.full(4, -9.0), np.full(4, 9.0)
    got = maximise_together(X, k, n, first, bounds, 1e-10)
    np.testing.assert_allclose(got, CURVES[2:], rtol=1e-4)
