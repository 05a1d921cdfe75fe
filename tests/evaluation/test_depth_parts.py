"""The parts of the limits: when there is a curve, its numbers, and intervals of given resamples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, score_frame
from skyduel.evaluation.scoring import depth
from skyduel.evaluation.scoring.depth import (
    CurveFit,
    Limit,
    Limits,
    completeness_limits,
    fit_curve,
    fit_half,
    fit_limits,
    fit_steps,
    limits_row,
)
from skyduel.evaluation.scoring.ragged import FrameSequence
from skyduel.evaluation.statistics.intervals import frame_weights, tail_for
from skyduel.evaluation.statistics.logistic_fit import crossing, maximise, width_of

NAN, INF = float("nan"), float("inf")
RULES = ScoringRules(n_bootstrap=40)
UNDEFINED = Limit(NAN, NAN, NAN)


def same(got: object, expected: object, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(got, dtype=float), expected, rtol=rtol)


def numbers(limit: Limit) -> list[float]:
    return [limit.value, limit.lo, limit.hi]


def test_limits_are_equal_and_shown_by_their_numbers() -> None:
    limit = Limit(1.0, 0.0, 2.0, np.array([0.5, 1.5]), 7)
    assert limit == Limit(1.0, 0.0, 2.0)
    assert repr(limit) == "Limit(value=1.0, lo=0.0, hi=2.0)"
    assert Limit(1.0, 0.0, 2.0).samples.tolist() == []
    assert Limit(1.0, 0.0, 2.0).n_units == 0


def test_columns_hold_what_the_row_of_one_half_does_not() -> None:
    snr = CurveFit(Limit(1, 2, 3), Limit(4, 5, 6), Limit(7, 8, 9), 0.1, 0.9)
    mag = CurveFit(Limit(11, 12, 13), Limit(14, 15, 16), Limit(17, 18, 19), 0.2, 0.8)
    assert Limits(snr, mag, 5).columns() == {
        "snr90": 4, "snr90_lo": 5, "snr90_hi": 6, "m90": 14, "m90_lo": 15, "m90_hi": 16,
        "width_mag": 17, "width_mag_lo": 18, "width_mag_hi": 19, "floor": 0.2, "ceiling": 0.8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("n", "found", "there"),
    [(20, 3, True), (19, 3, False), (20, 2, False), (20, 17, True), (20, 18, False)],
)
def test_twenty_sources_with_three_found_and_three_missed_make_a_curve(
    n: int, found: int, there: bool
) -> None:
    x, y = np.linspace(0, 1, n), np.arange(n) >= n - found
    fit = fit_curve(x, y, np.zeros(n, int), 1, RULES)
    assert np.isfinite(fit.floor) == there
    for half in (fit.half.value, fit_steps(x, y.astype(float))):
        if there:
            assert x[n - found - 1] <= half <= x[n - found]
        else:
            assert np.isnan(half)


def test_sources_of_one_abscissa_make_no_curve() -> None:
    x, y = np.full(30, 0.3), np.arange(30) < 12
    assert np.isnan(fit_curve(x, y, np.zeros(30, int), 1, RULES).floor)
    assert np.isnan(fit_steps(x, y.astype(float)))


#: x0, w, floor and the ceiling of the rising part.
CURVE = (0.7, 0.1, 0.05, 0.97)


def expected(x: np.ndarray) -> np.ndarray:
    """Return the completeness of `CURVE`; of such data it is the most likely curve itself."""
    x0, w, floor, ceiling = CURVE
    return floor + (1 - floor) * ceiling / (1 + np.exp(-(x - x0) / w))


def test_the_curve_of_expectations_is_given_back() -> None:
    x0, w, floor, ceiling = CURVE
    x = np.random.default_rng(2).uniform(0, 1.5, 800)
    fit = fit_curve(
        np.append(x, [NAN, INF]), np.append(expected(x), [1, 0]), np.zeros(802, int), 1, RULES
    )
    top = floor + (1 - floor) * ceiling
    same([fit.width.value, fit.floor, fit.ceiling], [w, floor, top], rtol=1e-4)
    for level, limit in ((0.5, fit.half), (0.9, fit.ninety)):
        share = (level - floor) / (top - floor)
        same(numbers(limit), [x0 + w * np.log(share / (1 - share)), NAN, NAN], rtol=1e-4)
        assert limit.n_units == 0
    # Of 128 steps of an even abscissa, the last holds two sources.
    x = np.linspace(0, 1.28, 129)
    share = (0.5 - floor) / (top - floor)
    same(fit_steps(x, expected(x)), x0 + w * np.log(share / (1 - share)), rtol=1e-4)


def test_the_order_of_the_sources_changes_no_digit() -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(0, 40, 400) / 40
    y, unit = rng.random(400) < expected(x + 0.2), rng.integers(0, 6, 400)
    order = rng.permutation(400)
    one, other = (fit_curve(x[k], y[k], unit[k], 6, RULES) for k in (np.arange(400), order))
    assert one == other
    assert one.half.samples.tobytes() == other.half.samples.tobytes()


def test_sources_are_gathered_by_step() -> None:
    for edges, x, step, middle in (
        ([0.0, 1, 2], [0.0, 0.5, 1, 2], [0, 0, 1, 1], [0.25, 1.5]),
        ([0.0, 1, 2, 3], [0.2, 2.5, 0.4, 2.0], [0, 1, 0, 1], [0.3, 2.25]),
    ):
        got = depth._steps(np.array(x), np.array(edges))
        assert got[0].tolist() == step
        same(got[1], middle)


@pytest.mark.parametrize(("x0", "w"), [(3.3, 0.02), (0.08, 0.02), (9.93, 0.02), (4.0, 0.6)])
def test_resamples_are_fitted_as_single_sources_would_be(x0: float, w: float) -> None:
    rng = np.random.default_rng(8)
    n_units = 5
    x = np.clip(np.append(rng.normal(x0, 4 * w, 600), rng.uniform(0, 10, 600)), 0, 10)
    y = (rng.random(x.size) < 0.96 / (1 + np.exp(-(x - x0) / w))).astype(float)
    unit = rng.integers(0, n_units, x.size)
    theta = maximise(x, y[None], np.ones((1, x.size)), depth._fit_steps(x, y))
    got = depth._resample(x, y, unit, n_units, RULES, theta)
    weight = frame_weights(n_units, RULES.n_bootstrap, RULES.seed)[:, unit]
    want = maximise(x, weight * y, weight, np.repeat(theta, RULES.n_bootstrap, axis=0))
    assert got.shape == (RULES.n_bootstrap, 4)
    off = crossing(got, 0.5, 0, 10) - crossing(want, 0.5, 0, 10)
    assert np.abs(off).max() < 0.1 * w
    same(width_of(got), width_of(want), rtol=0.1)


#: Resamples whose order, as drawn, tells nothing.
SAMPLES = np.random.default_rng(6).permutation(np.arange(200.0)) / 10


def quantiles(samples: np.ndarray, n_units: int) -> list[float]:
    """Return the smallest resamples up to which a tail, and all but a tail, of them lie."""
    tail, rank = tail_for(0.95, n_units), np.sort(samples)
    return [rank[int(np.ceil(share * samples.size)) - 1] for share in (tail, 1 - tail)]


def beyond(low: int, high: int) -> np.ndarray:
    """Return the resamples with so many of them beyond the hardest and the easiest source."""
    rank = np.argsort(SAMPLES)
    out = SAMPLES.copy()
    out[rank[:low]] = -INF
    out[rank[out.size - high :]] = INF
    return out


def test_percentiles_of_resamples_from_five_units_on() -> None:
    for n_units in (5, 50):
        lo, hi = quantiles(SAMPLES, n_units)
        for value, want in ((9.0, [9, lo, hi]), (-1.0, [-1, -1, hi]), (30.0, [30, lo, 30])):
            limit = depth._limit(np.array([value]), SAMPLES, n_units, RULES)
            same(numbers(limit), want)
            assert limit.n_units == n_units
            assert limit.samples.tolist() == SAMPLES.tolist()


def test_student_for_fewer_units() -> None:
    spread = SAMPLES.std(ddof=1) * np.sqrt([2, 4 / 3])
    for n_units, half in zip((2, 4), [12.7062047, 3.1824463] * spread, strict=True):
        limit = depth._limit(np.array([9.0]), SAMPLES, n_units, RULES)
        same(numbers(limit), [9, 9 - half, 9 + half], rtol=1e-7)


def test_resamples_beyond_the_sources_open_the_interval() -> None:
    lo, hi = quantiles(SAMPLES, 50)
    # A tail of 2.2 % of 200 resamples: the fifth is its last.
    for low, high, want in (
        (4, 4, [lo, hi]), (5, 4, [NAN, hi]), (4, 5, [lo, NAN]), (99, 0, [NAN, hi]),
        (100, 0, [NAN, NAN]), (50, 50, [NAN, NAN]),
    ):  # fmt: skip
        samples = beyond(low, high)
        limit = depth._limit(np.array([9.0]), samples, 50, RULES)
        same([limit.lo, limit.hi], want)
        finite = np.isfinite(samples)
        same(limit.samples, np.where(finite, samples, NAN))


@pytest.mark.parametrize(
    ("value", "samples", "n_units", "want", "told"),
    [
        (INF, SAMPLES, 9, NAN, 0),
        (-INF, SAMPLES, 9, NAN, 0),
        (2.0, SAMPLES[:0], 9, 2.0, 0),
        (2.0, SAMPLES, 1, 2.0, 1),
        (2.0, np.full(9, 2.0), 9, 2.0, 9),
    ],
)
def test_numbers_without_an_interval(
    value: float, samples: np.ndarray, n_units: int, want: float, told: int
) -> None:
    limit = depth._limit(np.array([value]), samples, n_units, RULES)
    same(numbers(limit), [want, NAN, NAN])
    assert limit.n_units == told
    assert limit.samples.size == (samples.size if told else 0)


def test_a_width_is_not_negative() -> None:
    for lo, want in ((-0.5, 0.0), (0.5, 0.5), (NAN, NAN)):
        same(depth._positive(Limit(1.0, lo, 2.0)).lo, want)


def scored(k: int, more: float = 1.0, **columns: object) -> FrameScore:
    """Return the score of a frame of 60 stars, whose S/N is ten times as high when it is bright."""
    rng = np.random.default_rng(k)
    mag = rng.uniform(18, 23, 60)
    x, y = np.arange(60) * 9.0, rng.uniform(0, 5, 60)
    seen = rng.random(60) < expected((22 - mag) / 4)
    truth = Catalog.build(x=x, y=y, mag=mag, ignore=mag < 18.2, **{
        "snr": more * 10 ** ((23 - mag) / 2.5)} | columns)  # fmt: skip
    found = Catalog.build(x=np.append(x[seen], 700.0), y=np.append(y[seen], 2.0))
    source = FrameInput(frame=f"{k}", truth=truth, found=found, mpix=0.25)
    return score_frame(source, RULES, (15.0, 25.0))


def test_limits_of_frames_are_those_of_their_sources() -> None:
    # Six frames, the faint S/N below 1, one without S/N.
    frames = [scored(k, 0.2) for k in range(6)]
    frames.append(scored(6, snr=np.full(60, NAN)))
    keep = [~f.source.truth["ignore"] for f in frames]
    mag, snr = (
        np.concatenate([f.source.truth[c][k] for f, k in zip(frames, keep, strict=True)])
        for c in ("mag", "snr")
    )
    found = np.concatenate([f.pairing.truth_found[k] for f, k in zip(frames, keep, strict=True)])
    unit = np.repeat(np.arange(7), [k.sum() for k in keep])
    got = fit_limits(frames, RULES)
    assert got.n == mag.size == unit.size < 420
    assert completeness_limits(frames, RULES) == (got.snr.half, got.mag.half, got.n)
    assert (snr < 1).sum() > 40
    by_snr = fit_curve(np.log10(snr), found, unit, 7, RULES)
    by_mag = fit_curve(-mag, found, unit, 7, RULES)
    assert np.isfinite(numbers(by_mag.half) + numbers(by_snr.half)).all()
    for got_fit, fit, turn in (
        (got.snr, by_snr, lambda v: 10.0 ** np.array(v)),
        (got.mag, by_mag, lambda v: -np.array(v)),
    ):
        for name in ("half", "ninety"):
            limit, plain = getattr(got_fit, name), getattr(fit, name)
            same(
                [limit.value, *sorted([limit.lo, limit.hi])],
                [turn(plain.value), *sorted(turn([plain.lo, plain.hi]))],
            )
            assert limit.lo < limit.value < limit.hi or np.isnan([limit.lo, limit.hi]).any()
            same(limit.samples, turn(plain.samples))
            assert limit.n_units == plain.n_units
        assert (got_fit.width, got_fit.floor, got_fit.ceiling) == (
            fit.width,
            fit.floor,
            fit.ceiling,
        )


def test_frames_without_an_snr_column_have_no_limit_in_snr() -> None:
    frames, plain, unknown = [scored(k) for k in range(3)], [], []
    for f in frames:
        columns = {c: f.source.truth[c] for c in ("x", "y", "mag", "ignore")}
        for made, more in ((plain, {}), (unknown, {"snr": np.full(60, NAN)})):
            truth = Catalog.build(**columns, **more)
            made.append(replace(f, source=replace(f.source, truth=truth)))
    got = fit_limits(plain, RULES)
    assert np.isnan(got.snr.half.value)
    assert got.mag.half == fit_limits(frames, RULES).mag.half
    assert got.n == fit_limits(frames, RULES).n
    mixed = fit_limits([plain[0], *frames[1:]], RULES).snr.half
    assert np.isfinite(mixed.value)
    assert mixed == fit_limits([unknown[0], *frames[1:]], RULES).snr.half


def test_limits_of_a_sequence_are_computed_once() -> None:
    frames = [scored(k) for k in range(2)]
    sequence = FrameSequence(lambda k: frames[k], 2)
    got = fit_limits(sequence, RULES)
    assert got.mag.half == fit_limits(frames, RULES).mag.half
    assert np.isfinite(numbers(got.mag.half)).all()  # of two frames, Student's
    assert fit_limits(sequence, RULES) is got


def test_no_frames_have_no_limits() -> None:
    got = fit_limits([], RULES)
    assert got.n == 0
    assert np.isnan([got.snr.half.value, got.mag.half.value, got.mag.floor]).all()


def test_the_half_of_a_curve_has_its_own_function() -> None:
    x = np.random.default_rng(2).uniform(0, 1.5, 300)
    frame = np.arange(300) % 6
    assert (
        fit_half(x, expected(x), frame, 6, RULES) == fit_curve(x, expected(x), frame, 6, RULES).half
    )


def test_a_row_of_the_table_of_limits() -> None:
    frames = [scored(k) for k in range(2)]
    truths = sum(int((~f.source.truth["ignore"]).sum()) for f in frames)
    found = sum(int((f.pairing.truth_found & ~f.source.truth["ignore"]).sum()) for f in frames)
    limits = (Limit(5, 4, 6), Limit(21, 20, 22), 77)
    for threshold, told in ((None, NAN), (3, 3.0)):
        row = limits_row(frames, 9, (15.0, 25.0), limits, threshold).iloc[0].to_dict()
        same(list(row.values()), [
            told, found / (found + 2), found / truths, 2 / 0.5, 5, 4, 6, 21, 20, 22, 77, 9,
        ])  # fmt: skip
        assert list(row) == [
            "threshold", "purity", "completeness", "false_per_mpix", "snr50", "snr50_lo",
            "snr50_hi", "m50", "m50_lo", "m50_hi", "n_truths", "n_frames",
        ]  # fmt: skip
