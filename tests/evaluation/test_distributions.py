"""Quantiles and tails: the same bits as `scipy.stats`."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from skyduel.evaluation.statistics.distributions import (
    chi2_quantile,
    fair_coin_tail,
    normal_tail,
    poisson_tail,
    student_quantile,
    student_tail,
)

RNG = np.random.default_rng(0)
P = np.concatenate([RNG.random(500), [1e-300, 1e-12, 0.025, 0.5, 0.975, 1 - 1e-12]])
FREEDOM = np.array([1, 2, 3, 4, 5, 7, 19, 23, 99, 1000, 10**5])
X = np.concatenate([RNG.normal(0, 4, 500), [0.0, 1e10, -1e10, np.inf, -np.inf, np.nan]])


def test_quantiles_have_the_bits_of_scipy() -> None:
    p, freedom = P[:, None], FREEDOM[None]
    np.testing.assert_array_equal(student_quantile(p, freedom), stats.t.ppf(p, freedom))
    np.testing.assert_array_equal(chi2_quantile(p, freedom), stats.chi2.ppf(p, freedom))


def test_tails_have_the_bits_of_scipy() -> None:
    x, freedom = X[:, None], FREEDOM[None]
    np.testing.assert_array_equal(student_tail(x, freedom), stats.t.sf(x, freedom))
    np.testing.assert_array_equal(normal_tail(X), stats.norm.sf(X))


@pytest.mark.parametrize("mean", [1e-6, 0.3, 4.0, 77.7, 1e4])
def test_tails_of_counts_have_the_bits_of_scipy(mean: float) -> None:
    k = np.arange(200)
    np.testing.assert_array_equal(poisson_tail(k, mean), stats.poisson.sf(k, mean))


def test_tosses_of_a_coin_have_the_bits_of_scipy_but_for_the_middle() -> None:
    n = np.repeat(np.arange(301), 301)
    k = np.minimum(np.tile(np.arange(301), 301), n)
    far = (2 * k + 1 != n) & (k <= n // 2)
    np.testing.assert_array_equal(fair_coin_tail(k, n)[far], stats.binom.cdf(k[far], n[far], 0.5))
    np.testing.assert_allclose(fair_coin_tail(k, n), stats.binom.cdf(k, n, 0.5), rtol=1e-14)
    assert fair_coin_tail([0, 0, 4], [0, 2, 4]).tolist() == [1.0, 0.25, 1.0]


def test_scoring_does_not_load_scipy_stats() -> None:
    code = (
        "import sys, skyduel.evaluation.evaluate_detectors, skyduel.run_folder.read_run;"
        "from skyduel.evaluation.statistics.paired_tests import mcnemar; assert mcnemar(2, 3) == 1;"
        "print([m for m in ('scipy.signal', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
