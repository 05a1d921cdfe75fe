"""Tests of the half-completeness limits on curves with known limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.scoring.depth import completeness_limits, fit_curve, fit_half, fit_steps

RULES = ScoringRules(n_bootstrap=200)


def draw(rng, n: int, x0: float = 0.6, w: float = 0.06, ceiling: float = 0.95):
    x = rng.uniform(0.3, 1.5, n)
    return x, rng.random(n) < ceiling / (1 + np.exp(-(x - x0) / w))


def half(x0: float, w: float, ceiling: float) -> float:
    return x0 - w * np.log(2 * ceiling - 1)


def test_the_limit_is_recovered_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    x, y = draw(rng, 6000)
    got = fit_half(x, y, np.arange(6000) % 25, 25, RULES)
    assert got.value == pytest.approx(half(0.6, 0.06, 0.95), abs=0.01)
    assert got.lo < half(0.6, 0.06, 0.95) < got.hi
    assert got.hi - got.lo < 0.05


@pytest.mark.parametrize("ceiling", [1.0, 0.9, 0.7])
def test_the_fit_reaches_the_maximum_that_a_general_optimiser_finds(ceiling: float) -> None:
    x, y = draw(np.random.default_rng(7), 700, ceiling=ceiling)

    def loss(t: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-t[2])) / (1 + np.exp(-(x - t[0]) / np.exp(t[1])))
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return -float(np.sum(np.where(y, np.log(p), np.log1p(-p))))

    best = min(
        (
            minimize(loss, [x0, lw, g], method="Nelder-Mead", options={"maxiter": 4000})
            for x0 in (0.4, 0.7)
            for lw in (-3.5, -2.0)
            for g in (0.5, 4.0)
        ),
        key=lambda r: r.fun,
    )
    c = 1 / (1 + np.exp(-best.x[2]))
    want = half(best.x[0], np.exp(best.x[1]), c)
    got = fit_half(x, y, np.zeros(700, int), 1, RULES)
    assert got.value == pytest.approx(want, abs=2e-3)
    assert np.isnan([got.lo, got.hi]).all()


def test_the_interval_covers_as_often_as_it_says() -> None:
    # 60 experiments tell the coverage to 3 %.
    rng = np.random.default_rng(3)
    rules = ScoringRules(n_bootstrap=120)
    hits = 0
    for _ in range(60):
        x, y = draw(rng, 1200)
        got = fit_half(x, y, np.arange(1200) % 30, 30, rules)
        hits += got.lo <= half(0.6, 0.06, 0.95) <= got.hi
    assert 0.87 <= hits / 60 <= 0.99


def test_there_is_no_limit_where_the_curve_does_not_cross_one_half() -> None:
    rng = np.random.default_rng(5)
    frame = np.arange(900) % 9
    low = draw(rng, 900, ceiling=0.4)
    assert np.isnan(fit_half(*low, frame, 9, RULES).value)
    assert np.isnan(fit_half(low[0], np.ones(900, bool), frame, 9, RULES).value)
    assert np.isnan(fit_half(low[0], np.zeros(900, bool), frame, 9, RULES).value)
    below = draw(rng, 900, x0=0.1)  # crosses far below the faintest source
    assert np.isnan(fit_half(*below, frame, 9, RULES).value)
    assert np.isnan(fit_half(*(v[:19] for v in draw(rng, 900)), frame[:19], 9, RULES).value)
    assert np.isnan(fit_half(np.ones(900), low[1], frame, 9, RULES).value)
    assert np.isnan(fit_half([], [], [], 0, RULES).value)


def test_floor_ceiling_width_and_nine_tenths_are_recovered() -> None:
    rng = np.random.default_rng(11)
    n, floor, ceiling, x0, w = 12000, 0.06, 0.96, 0.4, 0.08
    x = rng.uniform(-0.5, 1.5, n)
    p = floor + (1 - floor) * ceiling / (1 + np.exp(-(x - x0) / w))
    got = fit_curve(x, rng.random(n) < p, np.arange(n) % 30, 30, RULES)
    top = floor + (1 - floor) * ceiling
    assert got.floor == pytest.approx(floor, abs=0.015)
    assert got.ceiling == pytest.approx(top, abs=0.015)
    assert got.width.lo < w < got.width.hi
    for level, limit in ((0.5, got.half), (0.9, got.ninety)):
        share = (level - floor) / (top - floor)
        want = x0 + w * np.log(share / (1 - share))
        assert limit.lo < want < limit.hi
        assert limit.value == pytest.approx(want, abs=0.03)
        assert limit.samples.shape == (RULES.n_bootstrap,)


def test_nine_tenths_are_not_reached_under_a_low_ceiling() -> None:
    x, y = draw(np.random.default_rng(12), 3000, ceiling=0.8)
    got = fit_curve(x, y, np.arange(3000) % 20, 20, RULES)
    assert got.half.lo < half(0.6, 0.06, 0.8) < got.half.hi
    assert np.isnan([got.ninety.value, got.ninety.lo, got.ninety.hi]).all()
    assert got.ceiling == pytest.approx(0.8, abs=0.03)


def test_an_interval_rests_on_the_frames_that_hold_sources() -> None:
    x, y = draw(np.random.default_rng(3), 2000)
    for n_frames in (1, 2, 3, 9):
        frame = np.arange(2000) % n_frames
        alone, many = (fit_half(x, y, frame, n, RULES) for n in (n_frames, 20))
        assert alone.value == many.value
        assert many.n_units == n_frames
        # Frames without sources add to the spread of resamples, and no certainty.
        told = [np.isfinite([limit.lo, limit.hi]).all() for limit in (alone, many)]
        assert told == [n_frames > 1] * 2
        if n_frames > 1:
            assert many.hi - many.lo > 0.9 * (alone.hi - alone.lo)


def test_an_interval_that_leaves_the_sources_is_open_there() -> None:
    # The ceiling is about nine tenths: in many resamples they are never reached.
    x, y = draw(np.random.default_rng(17), 900, ceiling=0.92)
    ninety = fit_curve(x, y, np.arange(900) % 10, 10, RULES).ninety
    assert np.isfinite(ninety.value)
    assert np.isfinite(ninety.lo)
    assert np.isnan(ninety.hi)


def test_expectations_are_fitted_like_finds() -> None:
    x = np.sort(np.random.default_rng(13).uniform(0, 1.5, 3000))
    p = 1 / (1 + np.exp(-(x - 0.7) / 0.1))
    assert fit_curve(x, p, np.zeros(3000, int), 1, RULES).half.value == pytest.approx(0.7, abs=2e-3)
    assert fit_steps(x, p) == pytest.approx(0.7, abs=2e-3)
    assert np.isnan(fit_steps(x, np.ones(3000)))


def test_a_step_is_found_without_running_away() -> None:
    x = np.linspace(0, 1, 400)
    got = fit_half(x, x > 0.37, np.arange(400) % 8, 8, RULES)
    assert got.value == pytest.approx(0.37, abs=0.01)


def test_limits_use_the_point_sources_that_count() -> None:
    rng = np.random.default_rng(9)
    frames = []
    for k in range(6):
        n = 500
        snr = 10 ** rng.uniform(0, 1.6, n)
        x, y = np.arange(n) * 10.0, rng.uniform(0, 5, n)
        streak = rng.random(n) < 0.2
        # Streaks are found whatever their S/N: they would pull the limit down.
        seen = streak | (snr > 5)
        truth = Catalog.build(
            x=x, y=y, mag=20 - 2.5 * np.log10(snr), snr=snr,
            kind=np.where(streak, "streak", "point"), length=np.where(streak, 4.0, 0.0),
        )  # fmt: skip
        truth = apply_ignore(truth, None, None, None, RULES)
        source = FrameInput(frame=f"{k}", truth=truth, found=Catalog.build(x=x[seen], y=y[seen]))
        frames.append(score_frame(source, RULES, (0.0, 30.0)))
    snr50, m50, n = completeness_limits(frames, RULES)
    assert snr50.value == pytest.approx(5, rel=0.02)
    assert m50.value == pytest.approx(20 - 2.5 * np.log10(5), abs=0.05)
    assert snr50.lo <= snr50.value <= snr50.hi
    assert m50.lo <= m50.value <= m50.hi
    want = sum(
        ((f.source.truth["snr"] >= 2) & (f.source.truth["kind"] == "point")).sum() for f in frames
    )
    assert n == want
    assert np.isnan(completeness_limits([], RULES)[0].value)


@pytest.mark.parametrize("n_frames", [2, 3, 8])
def test_a_limit_lies_in_its_interval(n_frames: int) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-3, 2, 40 * n_frames)
        frame = np.repeat(np.arange(n_frames), 40)
        found = rng.random(x.size) < 0.9 / (1 + np.exp(-(x - rng.normal(0, 1, n_frames)[frame])))
        fit = fit_curve(x, found, frame, n_frames, ScoringRules(n_bootstrap=20, seed=seed))
        for limit in (fit.half, fit.ninety, fit.width):
            assert not limit.lo > limit.value
            assert not limit.hi < limit.value
        assert not fit.width.lo < 0
