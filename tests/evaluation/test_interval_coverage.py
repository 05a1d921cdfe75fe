"""Intervals have their nominal coverage on catalogues with known truth.

The short tests bound coverage by 95 % and four standard errors of the number of
experiments; the long ones, by 93 to 97 %. ``docs/measuring.md`` gives their numbers.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import poisson as poisson_law

from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules, score_table
from skyduel.evaluation.scoring.counts import Counts
from skyduel.evaluation.scoring.depth import fit_curve
from skyduel.evaluation.scoring.metrics import f_from_counts
from skyduel.evaluation.statistics.intervals import (
    bootstrap_interval,
    frame_weights,
    jeffreys,
    percentile,
    poisson,
    proportion,
    tail_for,
    wilson,
)

EDGES = (18.0, 20.0)


# --- Published values -------------------------------------------------------------------


def test_wilson_intervals_are_the_published_ones() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 857, table I, method 3.
    for k, n, lo, hi in (
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):  # fmt: skip
        got = wilson(k, n, 0.95)
        np.testing.assert_allclose([float(v) for v in got], [lo, hi], atol=6e-5)


def test_jeffreys_intervals_are_the_published_ones() -> None:
    # Brown, Cai & DasGupta (2001), Statistical Science 16, 101, table 5; of its modified
    # ends (k of 0 and 1, n - 1 and n) none is here.
    for k, n, lo, hi in ((2, 7, 0.065, 0.648), (3, 7, 0.139, 0.766), (5, 10, 0.224, 0.776)):
        got = jeffreys(k, n, 0.95)
        np.testing.assert_allclose([float(v) for v in got], [lo, hi], atol=6e-4)
    # Their section 4.1.2: nothing found has the lower end 0, all found the upper end 1.
    assert float(jeffreys(0, 9, 0.95)[0]) == 0.0
    assert float(jeffreys(9, 9, 0.95)[1]) == 1.0


def test_the_interval_of_a_proportion_goes_by_name() -> None:
    assert proportion(3, 7, 0.95, "wilson") == wilson(3, 7, 0.95)
    assert proportion([3], [7], 0.9, "jeffreys")[0] == jeffreys([3], [7], 0.9)[0]
    assert np.isnan(jeffreys([0], [0], 0.95)).all()
    with pytest.raises(BadInputError, match="interval: required wilson or jeffreys; got 'wald'"):
        proportion(1, 2, 0.95, "wald")
    with pytest.raises(BadInputError, match="proportion_interval"):
        ScoringRules(proportion_interval="wald")
    counts = [Counts(EDGES, *(np.full(4, v) for v in (9, 4, 7, 4, 0, 0, 0)))] * 2
    table = score_table(counts, [1.0, 1.0], EDGES, ScoringRules(proportion_interval="jeffreys"))
    row = table[(table["quantity"] == "completeness") & (table["bin"] == 0)].iloc[0]
    assert row["interval"] == "jeffreys"
    assert (row["lo"], row["hi"]) == tuple(float(v) for v in jeffreys(8, 18, 0.95))


# --- Coverage, exactly where it can be had ----------------------------------------------


@pytest.mark.parametrize("interval", ["wilson", "jeffreys"])
@pytest.mark.parametrize("n", [20, 50, 200])
def test_proportions_are_covered_on_average_over_p(interval: str, n: int) -> None:
    k = np.arange(n + 1)
    lo, hi = proportion(k, np.full(n + 1, n), 0.95, interval)
    p = np.linspace(0.02, 0.98, 971)[:, None]
    covered = (binom.pmf(k, n, p) * ((lo <= p) & (p <= hi))).sum(axis=1)
    assert 0.94 <= covered.mean() <= 0.96


def test_poisson_intervals_cover_at_least_as_often_as_they_say() -> None:
    k = np.arange(400)
    lo, hi = poisson(k, 0.95)
    mean = np.linspace(0.05, 120, 1500)[:, None]
    covered = (poisson_law.pmf(k, mean) * ((lo <= mean) & (mean <= hi))).sum(axis=1)
    assert covered.min() >= 0.95
    assert 0.95 < covered.mean() < 0.98  # conservative, most so for small means


# --- The bootstrap over frames ----------------------------------------------------------


def frames_of(rng, n_frames: int, spread: float = 20.0):
    """Truths, found and false of frames that differ more than their sources' chance."""
    truths = rng.poisson(rng.lognormal(5, 0.5, n_frames))
    found = rng.binomial(truths, rng.beta(0.6 * spread, 0.4 * spread, n_frames))
    return truths, found, rng.poisson(rng.gamma(2, 10, n_frames))


def true_f(beta: float) -> float:
    mean = float(np.exp(5 + 0.125))
    return float(f_from_counts(0.6 * mean, mean, 0.6 * mean + 20, beta))


def f_coverage(n_frames: int, repeats: int, n_bootstrap: int, seed: int) -> dict[float, float]:
    """How often the intervals of F1 and F2 hold the F of infinitely many frames."""
    rng = np.random.default_rng(seed)
    hits = {1.0: 0, 2.0: 0}
    for k in range(repeats):
        truths, found, false = frames_of(rng, n_frames)
        weights = frame_weights(n_frames, n_bootstrap, seed=k)
        for beta in hits:
            samples = f_from_counts(
                weights @ found, weights @ truths, weights @ (found + false), beta
            )
            value = f_from_counts(found.sum(), truths.sum(), (found + false).sum(), beta)
            lo, hi = bootstrap_interval([value], samples[:, None], 0.95, n_frames)
            hits[beta] += bool(lo[0] <= true_f(beta) <= hi[0])
    return {beta: n / repeats for beta, n in hits.items()}


def within(repeats: int) -> float:
    """Four standard errors of a coverage of 95 %."""
    return 4 * float(np.sqrt(0.95 * 0.05 / repeats))


def test_f_scores_of_20_frames_are_covered() -> None:
    got = f_coverage(20, 400, 400, seed=1)
    for share in got.values():
        assert 0.95 - within(400) <= share <= 0.95 + within(400)


@pytest.mark.parametrize("n_frames", [2, 3, 4])
def test_f_scores_of_few_frames_are_covered(n_frames: int) -> None:
    # Percentiles cannot: they lie between the frames, and cover 45, 76 and 85 %.
    got = f_coverage(n_frames, 400, 200, seed=4)
    for share in got.values():
        assert share >= 0.95 - within(400)


def test_a_score_table_uses_the_tested_interval() -> None:
    truths, found, false = frames_of(np.random.default_rng(5), 20)
    counts = [
        Counts(EDGES, *(np.array([0, v, 0, 0]) for v in (t, f, f + w, f, 0, 0, 0)))
        for t, f, w in zip(truths, found, false, strict=True)
    ]
    rules = ScoringRules(n_bootstrap=200, seed=3)
    row = score_table(counts, [1.0] * 20, EDGES, rules).query("quantity == 'f1' and bin == -2")
    weights = frame_weights(20, 200, seed=3)
    samples = f_from_counts(weights @ found, weights @ truths, weights @ (found + false), 1.0)
    value = f_from_counts(found.sum(), truths.sum(), (found + false).sum(), 1.0)
    want = bootstrap_interval([value], samples[:, None], 0.95, 20)
    assert (row["lo"].iloc[0], row["hi"].iloc[0]) == (want[0][0], want[1][0])


def test_few_frames_widen_the_interval_to_students() -> None:
    assert tail_for(0.95) == pytest.approx(0.025)
    assert tail_for(0.95, 1) == pytest.approx(0.025)
    tails = [tail_for(0.95, n) for n in (2, 5, 10, 20, 1000)]
    assert tails == sorted(tails)
    assert tails[-1] == pytest.approx(0.025, rel=0.02)
    # For a mean it is Student's interval.
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    samples = frame_weights(12, 200_000, 0) @ x / 12
    lo, hi = percentile(samples[:, None], 0.9, 12)
    half = 1.7959 * x.std(ddof=1) / 12**0.5
    assert [lo[0], hi[0]] == pytest.approx([x.mean() - half, x.mean() + half], abs=0.03)


# --- Limits -------------------------------------------------------------------------------


def limits_coverage(n_frames: int, repeats: int, n_bootstrap: int, seed: int) -> dict[str, float]:
    """How often m50 and m90 are covered, frames differing in depth by 0.15 mag."""
    rng = np.random.default_rng(seed)
    floor, ceiling, width = 0.02, 0.97, 0.25
    hits = {"m50": 0, "m90": 0}
    for k in range(repeats):
        frame = np.repeat(np.arange(n_frames), 60)
        x = rng.uniform(-3, 2, frame.size)
        depth = rng.normal(0, 0.15, n_frames)[frame]
        rise = 1 / (1 + np.exp(-(x - depth) / width))
        y = rng.random(x.size) < floor + (1 - floor) * ceiling * rise
        rules = ScoringRules(n_bootstrap=n_bootstrap, seed=k)
        fit = fit_curve(x, y, frame, n_frames, rules)
        for name, level, limit in (("m50", 0.5, fit.half), ("m90", 0.9, fit.ninety)):
            want = expected_crossing(level, floor, ceiling, width)
            lo = -np.inf if np.isnan(limit.lo) else limit.lo
            hi = np.inf if np.isnan(limit.hi) else limit.hi
            hits[name] += bool(lo <= want <= hi)
    return {name: n / repeats for name, n in hits.items()}


def expected_crossing(level: float, floor: float, ceiling: float, width: float) -> float:
    """Where completeness over all frames' depths crosses a level."""
    x = np.linspace(-2, 2, 8001)
    node, weight = np.polynomial.hermite_e.hermegauss(31)
    rise = 1 / (1 + np.exp(-(x[:, None] - 0.15 * node) / width))
    curve = floor + (1 - floor) * ceiling * (rise @ weight) / weight.sum()
    return float(np.interp(level, curve, x))


def test_limits_of_20_frames_are_covered() -> None:
    got = limits_coverage(20, 100, 150, seed=2)
    assert 0.95 - within(100) <= got["m50"] <= 1
    assert 0.95 - within(100) <= got["m90"] <= 1


# --- The long versions ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n_frames", [20, 40])
def test_f_scores_cover_93_to_97_percent(n_frames: int) -> None:
    got = f_coverage(n_frames, 2000, 1000, seed=10)
    assert all(0.93 <= share <= 0.97 for share in got.values()), got


@pytest.mark.slow
@pytest.mark.parametrize("n_frames", [20, 40])
def test_limits_cover_93_to_97_percent(n_frames: int) -> None:
    got = limits_coverage(n_frames, 400, 300, seed=20)
    assert all(0.93 <= share <= 0.97 for share in got.values()), got


if __name__ == "__main__":  # the table of docs/measuring.md
    for n in map(int, os.environ.get("FRAMES", "5,10,20,40").split(",")):
        print(n, f_coverage(n, 2000, 1000, seed=10), limits_coverage(n, 400, 300, seed=20))


@pytest.mark.parametrize("interval", ["wilson", "jeffreys"])
def test_an_interval_holds_its_estimate_exactly(interval: str) -> None:
    n = np.repeat(np.arange(1, 121), 121)
    k = np.tile(np.arange(121), 120)
    k, n = k[k <= n], n[k <= n]
    lo, hi = proportion(k, n, 0.95, interval)
    assert (lo <= k / n).all()
    assert (hi >= k / n).all()
    assert (hi[k == n] == 1.0).all()
    assert (lo[k == 0] == 0.0).all()
