"""Values of intervals and tests, each computed once more here from its definition.

Quick and exact: `fuzz/mutate.py` judges its mutants of ``evaluation/statistics`` by them first.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest, chi2, norm, t

from skyduel.core.errors import BadInputError
from skyduel.evaluation.statistics import intervals
from skyduel.evaluation.statistics.anytime import ANYTIME_VARIANCE, anytime_radius, widening
from skyduel.evaluation.statistics.intervals import (
    bootstrap_interval,
    check_confidence,
    frame_weights,
    jeffreys,
    percentile,
    poisson,
    proportion,
    resampled,
    tail_for,
    wilson,
)
from skyduel.evaluation.statistics.paired_tests import frame_interval, holm, mcnemar, newcombe

# --- intervals that may be looked at again and again --------------------------------------


def e_value(radius: float, n: int) -> float:
    """Return the Bayes factor of a t-statistic, as the docstring of `anytime_radius` has it."""
    g = 1 + n * 0.8
    return g**-0.5 * ((1 + radius**2 / (n - 1)) / (1 + radius**2 / ((n - 1) * g))) ** (n / 2)


def test_the_variance_of_the_prior_is_the_documented_one() -> None:
    assert ANYTIME_VARIANCE == 0.8


@pytest.mark.parametrize(
    ("n", "confidence"), [(2, 0.1), (5, 0.95), (8, 0.9), (20, 0.95), (60, 0.99)]
)
def test_the_anytime_radius_has_its_e_value(n: int, confidence: float) -> None:
    want = brentq(lambda r: e_value(r, n) - 1 / (1 - confidence), 1e-9, 1e4)
    assert float(anytime_radius(n, confidence)) == pytest.approx(want, rel=1e-9)
    student = float(t.ppf(1 - (1 - confidence) / 2, n - 1))
    assert widening(n, confidence) == pytest.approx(want / student, rel=1e-9)


def test_too_few_values_have_no_anytime_interval() -> None:
    radius = anytime_radius([0, 1, 2, 3, 4, 5], 0.95)
    assert radius.shape == (6,)
    assert np.isinf(radius).tolist() == [True] * 5 + [False]
    assert [widening(n, 0.95) for n in (1, 2, 4)] == [math.inf] * 3


# --- paired tests ---------------------------------------------------------------------------


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs() -> None:
    for b, c in ((0, 0), (1, 0), (0, 2), (0, 5), (3, 3), (3, 5), (4, 5), (2, 9), (30, 17)):
        want = binomtest(b, b + c).pvalue if b + c else 1.0
        assert float(mcnemar(b, c)) == pytest.approx(want)
        assert float(mcnemar(c, b)) == pytest.approx(want)
    assert mcnemar([0, 1], [6, 6]).tolist() == pytest.approx([2 / 64, 2 * 8 / 128])
    n = np.arange(3000)
    for least in (0, 1):  # as even as can be: never more likely by a rounding, nor less
        assert (mcnemar(n, n + least) == 1.0).all()
    assert mcnemar(n, n + 2).max() < 1.0


def wilson_of(k: int, n: int, z: float) -> tuple[float, float]:
    p = k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    below = 1 + z * z / n
    return max((middle - half) / below, 0.0), min((middle + half) / below, 1.0)


def newcombe_of(e: int, f: int, g: int, h: int, z: float) -> tuple[float, float]:
    """Return the interval by method 10 of Newcombe (1998), one number after the other."""
    n = e + f + g + h
    p, q = (e + f) / n, (e + g) / n
    (p_lo, p_hi), (q_lo, q_hi) = wilson_of(e + f, n, z), wilson_of(e + g, n, z)
    below = (e + f) * (g + h) * (e + g) * (f + h)
    top = e * h - f * g
    if top > 0:
        top = max(top - n / 2, 0)
    phi = top / math.sqrt(below) if below else 0.0

    def width(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0))

    return (
        p - q - width(p - p_lo, q_hi - q),
        p - q + width(p_hi - p, q - q_lo),
    )


CELLS = [
    (0, 0, 0, 9), (9, 0, 0, 0), (5, 3, 1, 7), (1, 7, 5, 3), (2, 1, 1, 2), (40, 12, 3, 60),
    (3, 12, 40, 2), (0, 4, 0, 0), (0, 0, 4, 0), (1, 0, 0, 1), (6, 1, 0, 1), (1, 1, 0, 0),
    (2, 1, 1, 1), (0, 1, 1, 0),
]  # fmt: skip


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_newcombe_is_his_method_10(confidence: float) -> None:
    z = float(norm.ppf(0.5 + confidence / 2))
    lo, hi = newcombe(*np.transpose(CELLS), confidence)
    want = np.array([newcombe_of(*cells, z) for cells in CELLS])
    np.testing.assert_allclose(np.stack([lo, hi], axis=1), want, atol=1e-12)


def test_newcombe_of_the_published_example() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 2635, table II: 36, 12, 2, 0.
    lo, hi = newcombe(36, 12, 2, 0, 0.95)
    assert (float(lo), float(hi)) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_no_pairs_have_no_interval() -> None:
    lo, hi = newcombe([0, 1], [0, 0], [0, 0], [0, 0], 0.95)
    assert np.isnan([lo[0], hi[0]]).all()
    assert np.isfinite([lo[1], hi[1]]).all()


def test_holm_multiplies_by_the_rank() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]).tolist() == pytest.approx([1.0, 1.0])
    got = holm([np.nan, 0.02, np.nan, 0.01, 0.6])
    assert got.tolist() == pytest.approx([np.nan, 0.04, np.nan, 0.03, 0.6], nan_ok=True)
    assert holm([0.9, 0.95]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


def test_a_frame_interval_is_students_around_the_difference() -> None:
    rng = np.random.default_rng(1)
    samples, delta, n = (
        rng.normal(1, [2, 0.2, 2], (41, 3)),
        np.array([0.5, -0.3, 4.0]),
        np.array([2, 5, 30]),
    )
    samples[3, 1] = np.nan
    lo, hi, p = frame_interval(delta, samples, n, 0.9)
    for k in range(3):
        s = np.nanstd(samples[:, k], ddof=1) * math.sqrt(n[k] / (n[k] - 1))
        half = t.ppf(0.95, n[k] - 1) * s
        assert (lo[k], hi[k]) == pytest.approx((delta[k] - half, delta[k] + half))
        assert p[k] == pytest.approx(2 * t.sf(abs(delta[k]) / s, n[k] - 1))


def test_where_a_frame_interval_is_not_defined() -> None:
    nan = np.nan
    cases = {  # difference, samples, frames: whether there is an interval
        "two frames": (1.0, [1.0, 2.0, 3.0, 4.0], 2, True),
        "one frame": (1.0, [1.0, 2.0, 3.0, 4.0], 1, False),
        "no frame": (1.0, [1.0, 2.0, 3.0, 4.0], 0, False),
        "no difference": (nan, [1.0, 2.0, 3.0, 4.0], 9, False),
        "half the samples": (1.0, [nan, nan, 3.0, 4.0], 9, False),
        "more than half": (1.0, [nan, 2.0, 3.0, 4.0], 9, True),
        "none": (1.0, [nan] * 4, 9, False),
        "all agree on a difference": (1.0, [1.0] * 4, 9, False),
        "all agree on none": (0.0, [0.0] * 4, 9, True),
        "all agree on a gain": (-1.0, [-1.0] * 4, 9, False),
        "equal in spite of rounding": (0.1, [0.1] * 4, 9, False),
        "equal, and one undefined": (0.1, [nan, 0.1, 0.1, 0.1], 9, False),
    }
    d, s, n, want = zip(*cases.values(), strict=True)
    found = frame_interval(d, np.array(s).T, n, 0.95)
    for values in found:
        assert dict(zip(cases, np.isfinite(values).tolist(), strict=True)) == dict(
            zip(cases, want, strict=True)
        )
    at = list(cases).index("all agree on none")
    assert [float(v[at]) for v in found] == [0.0, 0.0, 1.0]
    # One sample has no scatter, and no sample has nothing.
    assert np.isnan(frame_interval([0.0], np.array([[0.0]]), [9], 0.95)).all()
    assert np.isnan(frame_interval([0.0], np.zeros((0, 1)), [9], 0.95)).all()
    two = frame_interval([1.0], np.array([[1.0], [2.0]]), [9], 0.95)
    half = float(t.ppf(0.975, 8)) * math.sqrt(0.5 * 9 / 8)
    assert [float(v[0]) for v in two[:2]] == pytest.approx([1 - half, 1 + half])


# --- proportions and rates --------------------------------------------------------------------


def test_wilson_is_its_formula() -> None:
    z = float(norm.ppf(0.95))
    for k, n in ((0, 1), (1, 1), (3, 7), (99, 100), (500, 1000)):
        got = [float(v) for v in wilson(k, n, 0.9)]
        assert got == pytest.approx(wilson_of(k, n, z), abs=1e-12)
    lo, hi = wilson([[0, 1], [0, 2]], [[0, 2], [3, 2]], 0.95)
    assert lo.shape == hi.shape == (2, 2)
    assert np.isnan([lo[0, 0], hi[0, 0]]).all()
    assert np.isfinite(lo).sum() == np.isfinite(hi).sum() == 3
    assert (lo[1, 0], hi[1, 1]) == (0.0, 1.0)
    assert (lo[0, 1], hi[0, 1]) == pytest.approx(wilson_of(1, 2, float(norm.ppf(0.975))))
    n = np.arange(1, 2000)  # not by a rounding either
    assert (wilson(0, n, 0.95)[0] == 0).all()
    assert (wilson(n, n, 0.95)[1] == 1).all()


def test_a_proportion_has_wilsons_interval_unless_another_is_named() -> None:
    assert proportion(3, 7, 0.95) == wilson(3, 7, 0.95)
    assert proportion(3, 7, 0.95, "jeffreys") == jeffreys(3, 7, 0.95)
    assert jeffreys(3, 7, 0.95) != wilson(3, 7, 0.95)
    with pytest.raises(BadInputError, match="required wilson or jeffreys; got 'normal'"):
        proportion(3, 7, 0.95, "normal")
    none = proportion([0, 0], [0, 0], 0.95)
    assert np.isnan(none).all()


def test_poisson_intervals_are_garwoods() -> None:
    # Garwood (1936), Biometrika 28, 437: 95 % limits.
    lo, hi = poisson([0, 1, 2, 10], 0.95)
    assert lo.tolist() == pytest.approx([0.0, 0.0253, 0.2422, 4.7954], abs=6e-5)
    assert hi.tolist() == pytest.approx([3.6889, 5.5716, 7.2247, 18.3904], abs=6e-5)
    assert lo[0] == 0.0
    half, _ = poisson(0.5, 0.9)  # fractions of events, as means have
    assert float(half) == pytest.approx(chi2.ppf(0.05, 1.0) / 2)


# --- resamples ----------------------------------------------------------------------------------


def test_weights_are_draws_of_frames() -> None:
    weights = frame_weights(7, 300, seed=4)
    assert weights.shape == (300, 7)
    assert weights.dtype == np.float64
    assert (weights.sum(axis=1) == 7).all()
    assert (weights == np.random.default_rng(4).multinomial(7, [1 / 7] * 7, 300)).all()


@pytest.mark.parametrize(("at_a_time", "kept"), [(10**6, 10**6), (7, 10**6), (21, 0), (1, 0)])
def test_sums_of_resamples_do_not_depend_on_how_many_are_drawn_at_a_time(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int, kept: int
) -> None:
    monkeypatch.setattr(intervals, "_DRAWS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(intervals, "_DRAWS_KEPT", kept)
    intervals._kept_draws.cache_clear()
    weights = np.random.default_rng(9).multinomial(7, [1 / 7] * 7, 20).astype(float)
    assert (frame_weights(7, 20, seed=9) == weights).all()
    one = np.arange(7) * 3
    three = np.arange(7 * 6, dtype=np.uint8).reshape(7, 2, 3)
    of_one, of_three = resampled(20, 9, one, three)
    assert (of_one == weights @ one).all()
    assert (resampled(20, 9, one)[0] == of_one).all()
    assert of_three.shape == (20, 2, 3)
    assert (of_three == np.einsum("bn,nij->bij", weights, three)).all()


def test_the_tail_of_few_units_is_students() -> None:
    assert tail_for(0.95) == pytest.approx(0.025)
    assert tail_for(0.95, 1) == pytest.approx(0.025)
    for n in (2, 3, 20):
        z = math.sqrt(n / (n - 1)) * t.ppf(0.95, n - 1)
        assert tail_for(0.9, n) == pytest.approx(norm.sf(z))


def test_percentiles_leave_out_what_is_undefined() -> None:
    samples = np.tile(np.arange(101.0)[:, None], (1, 4))
    samples[:50, 1] = np.nan  # 51 of 101 are defined
    samples[:51, 2] = np.nan  # 50 of 101
    samples[:, 3] = np.inf
    lo, hi = percentile(samples, 0.9)
    assert lo.tolist() == pytest.approx([5.0, 52.5, np.nan, np.nan], nan_ok=True)
    assert hi.tolist() == pytest.approx([95.0, 97.5, np.nan, np.nan], nan_ok=True)
    lo, hi = percentile(samples[:, :1], 0.9, 5)
    assert (lo[0], hi[0]) == pytest.approx((100 * tail_for(0.9, 5), 100 - 100 * tail_for(0.9, 5)))
    even = np.array([[np.nan], [1.0]])
    assert np.isnan(percentile(even, 0.9)).all()  # exactly half


@pytest.mark.parametrize("n_units", [2, 4, 5, 30])
def test_a_bootstrapped_interval_holds_its_value(n_units: int) -> None:
    # Values far from their resamples too, as the limit of a few bright sources may be.
    rng = np.random.default_rng(n_units)
    samples = rng.normal(0, 1, (60, 200))
    samples[rng.random(samples.shape) < 0.2] = np.nan
    value = rng.normal(0, 3, 200)
    value[:10] = np.nan
    lo, hi = bootstrap_interval(value, samples, 0.95, n_units)
    assert np.isnan(lo[:10]).all()
    assert np.isnan(hi[:10]).all()
    assert (lo[10:] <= value[10:]).all()
    assert (value[10:] <= hi[10:]).all()


def test_few_units_have_students_interval_and_many_percentiles() -> None:
    rng = np.random.default_rng(1)
    samples, value = rng.normal(1, 2, (80, 1)), np.array([1.1])
    for n in (2, 3, 4):
        lo, hi = bootstrap_interval(value, samples, 0.9, n)
        half = float(t.ppf(0.95, n - 1)) * np.std(samples, ddof=1) * math.sqrt(n / (n - 1))
        assert (lo[0], hi[0]) == pytest.approx((1.1 - half, 1.1 + half))
    many = bootstrap_interval(value, samples, 0.9, 5)
    assert many == percentile(samples, 0.9, 5)
    # One unit has none, nor have resamples that all agree: that is too few sources.
    assert np.isnan(bootstrap_interval(value, samples, 0.9, 1)).all()
    some = np.where(np.arange(80)[:, None] % 3 == 0, np.nan, 0.458)
    for n_units in (3, 5, 40):
        assert np.isnan(bootstrap_interval(value, np.ones((80, 1)), 0.9, n_units)).all()
        assert np.isnan(bootstrap_interval([0.0], np.zeros((80, 1)), 0.9, n_units)).all()
        assert np.isnan(bootstrap_interval([0.458], some, 0.9, n_units)).all()


def test_each_value_has_the_interval_of_the_units_that_it_rests_on() -> None:
    rng = np.random.default_rng(2)
    samples, value = rng.normal(1, 2, (80, 6)), np.array([1.0, 1.1, 1.2, 1.3, 1.4, np.nan])
    samples[::4, 3] = np.nan
    units = np.array([1, 4, 5, 20, 5, 20])
    lo, hi = bootstrap_interval(value, samples, 0.9, units)
    for k, n in enumerate(units):
        one = bootstrap_interval(value[k : k + 1], samples[:, k : k + 1], 0.9, int(n))
        np.testing.assert_array_equal(one, ([lo[k]], [hi[k]]))
    assert np.isfinite(lo).tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    ("k", "n", "confidence", "says"),
    [
        ([2, -1, 9], [5, 5, 5], 0.95, "k and n: required 0 <= k <= n; got k -1 of n 5"),
        ([2, 6, -1], [5, 5, 5], 0.95, "got k 6 of n 5"),
        (0, -1, 0.95, "got k 0 of n -1"),
        ([1, 2], [3, 4, 5], 0.95, r"k and n: required equal shapes; got \(2,\) and \(3,\)"),
        (1.5, 3, 0.95, "k: required whole numbers"),
        ([1.0, np.inf], 3, 0.95, "k: required whole numbers"),
        (1, [3.0, 3.25], 0.95, "n: required whole numbers"),
        (1, 3, 0.0, "confidence: required a number between 0 and 1; got 0.0"),
        (1, 3, 1.0, "got 1.0"),
        (1, 3, 95, "got 95"),
        (1, 3, "0.95", "confidence: required a number; got str '0.95'"),
    ],
)
def test_what_is_no_proportion_is_refused(k, n, confidence, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        proportion(k, n, confidence)


def test_any_confidence_between_zero_and_one_has_an_interval() -> None:
    for confidence in (1e-9, 1 - 1e-9):
        lo, hi = proportion(3, 7, confidence)
        assert 0 < lo <= 3 / 7 <= hi < 1
        check_confidence(confidence)
