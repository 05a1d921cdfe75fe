"""Paired statistics against published values, and comparisons against counting by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import (
    FrameInput,
    ScoringRules,
    apply_ignore,
    evaluate,
    mark_ignored_regions,
    score_frame,
)
from skyduel.evaluation.comparison.compare import (
    ComparisonSample,
    compare,
    compare_all,
    comparison_sample,
)
from skyduel.evaluation.comparison.headline import sentence
from skyduel.evaluation.comparison.possible_intervals import within_possible
from skyduel.evaluation.scoring.counts import Counts
from skyduel.evaluation.scoring.depth import Limit, completeness_limits
from skyduel.evaluation.scoring.metrics import f_from_counts
from skyduel.evaluation.scoring.table_columns import COMPARISON_COLUMNS
from skyduel.evaluation.statistics.intervals import frame_weights
from skyduel.evaluation.statistics.paired_tests import frame_interval, holm, mcnemar, newcombe

RULES = ScoringRules(n_bootstrap=200, bins="14:20:2")
EDGES = (14.0, 16.0, 18.0, 20.0)


# --- statistics ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "lo", "hi"),
    [
        # Altman et al. (2000), Statistics with Confidence, p. 52.
        ((14, 5, 0, 22), "0.011", "0.226"),
        # Fagerland, Lydersen & Laake (2017), Statistical Analysis of Contingency
        # Tables, chapter 8: data of Bentur et al. and of Cavo et al.
        ((1, 1, 7, 12), "-0.507", "-0.026"),
        ((59, 6, 16, 80), "-0.1186", "-0.0046"),
    ],
)
def test_newcombe_gives_the_published_intervals(table, lo, hi) -> None:
    for got, published in zip(newcombe(*table, 0.95), (lo, hi), strict=True):
        assert f"{got:.{len(published.split('.')[1])}f}" == published


pairs = st.tuples(*[st.integers(0, 40)] * 4)


@given(table=pairs)
@settings(max_examples=60, deadline=None)
def test_newcombe_holds_the_difference_and_turns_with_the_order(table) -> None:
    e, f, g, h = table
    lo, hi = newcombe(e, f, g, h, 0.95)
    n = sum(table)
    if n == 0:
        assert np.isnan(lo)
        assert np.isnan(hi)
        return
    assert -1 - 1e-9 <= lo <= (f - g) / n <= hi <= 1 + 1e-9
    turned = newcombe(e, g, f, h, 0.95)
    assert [-turned[1], -turned[0]] == pytest.approx([float(lo), float(hi)], abs=1e-12)
    wide = newcombe(e, f, g, h, 0.99)
    assert wide[0] <= lo + 1e-12
    assert hi <= wide[1] + 1e-12


@pytest.mark.parametrize("table", [(30, 6, 3, 11), (100, 20, 20, 60)])
def test_newcombe_covers_what_it_says(table) -> None:
    rng = np.random.default_rng(3)
    p = np.array(table) / sum(table)
    truth = p[1] - p[2]
    lo, hi = newcombe(*rng.multinomial(sum(table), p, 4000).T, 0.95)
    assert 0.93 <= np.mean((lo <= truth) & (truth <= hi)) <= 0.975


@given(b=st.integers(0, 300), c=st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(b, c) -> None:
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)


def test_holm_by_hand() -> None:
    # 0.01*4, 0.02*3, max(0.06, 0.03*2), max(0.06, 0.04*1)
    assert holm([0.02, 0.04, 0.01, np.nan, 0.03]) == pytest.approx(
        [0.06, 0.06, 0.04, np.nan, 0.06], nan_ok=True
    )
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_interval_over_frames_of_a_mean_is_students(n) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(0.4, 1.0, (n, 2)) * [1, 3]
    weights = frame_weights(n, 20000, 0)
    samples = weights @ values / n
    mean = values.mean(axis=0)
    lo, hi, p = frame_interval(mean, samples, [n, n], 0.95)
    for k in range(2):
        exact = ttest_1samp(values[:, k], 0.0)
        interval = exact.confidence_interval(0.95)
        assert (lo[k], hi[k]) == pytest.approx((interval.low, interval.high), rel=0.04, abs=0.02)
        assert p[k] == pytest.approx(exact.pvalue, rel=0.1, abs=0.01)
        assert (lo[k] > 0 or hi[k] < 0) == (p[k] < 0.05)


def test_interval_over_frames_knows_what_it_cannot_tell() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(1, 0.1, (100, 6))
    samples[:60, 1] = np.nan
    samples[:, 2] = 0.3
    samples[:, 3] = 0.0
    samples[:30, 4] = np.nan
    delta = np.array([1.0, 1.0, 0.3, 0.0, 1.0, np.nan])
    lo, hi, p = frame_interval(delta, samples, [1, 9, 9, 9, 9, 9], 0.95)
    told = np.isfinite(p)
    assert told.tolist() == [False, False, False, True, True, False]
    assert (lo[3], hi[3], p[3]) == (0, 0, 1)
    assert lo[4] < 1 < hi[4]
    assert np.array_equal(np.isfinite(lo), told)
    assert np.isnan(frame_interval([0.0], np.zeros((0, 1)), [9], 0.95)[2]).all()


# --- comparisons --------------------------------------------------------------


def frame(k: int, skill: float, *, group: str = "a", noise: int = 9, seed: int = 0) -> FrameInput:
    """Return a frame whose truth depends on ``k`` alone and whose finds on skill and seed too."""
    rng = np.random.default_rng(k)
    n = 70 + 5 * k
    snr = 10 ** rng.uniform(0.4, 2, n)
    mag, xy = 20 - 2.5 * np.log10(snr), rng.uniform(0, [400, 300], (n, 2))
    u = rng.random(n)
    own = np.random.default_rng([k, seed])
    seen = np.flatnonzero(u < 1 / (1 + np.exp(-(snr - 5 + skill))))
    at = np.concatenate([xy[seen], own.uniform(0, [400, 300], (noise, 2))])
    truth = Catalog.build(x=xy[:, 0], y=xy[:, 1], mag=mag, snr=snr, aper_mag=mag - 0.4)
    found = Catalog.build(
        x=at[:, 0],
        y=at[:, 1],
        aper_mag=np.concatenate([mag[seen] - 0.4, own.uniform(16, 20, noise)]),
        score=np.concatenate([snr[seen], own.exponential(3, noise)]),
    )
    return FrameInput(
        frame=f"frame {k}",
        truth=apply_ignore(truth, (300, 400), None, None, RULES),
        found=mark_ignored_regions(found, (300, 400), None, RULES),
        mpix=0.12,
        group=group,
    )


def stand(skill: float, n: int = 5, **changes) -> ComparisonSample:
    scored = [score_frame(frame(k, skill, **changes), RULES, EDGES) for k in range(n)]
    return comparison_sample(scored, EDGES, RULES)


def pick(table: pd.DataFrame, quantity: str, bin_: int = -2, interval: str = "bootstrap"):
    rows = table[
        (table["quantity"] == quantity) & (table["bin"] == bin_) & (table["interval"] == interval)
    ]
    assert len(rows) == 1
    return rows.iloc[0]


def test_outcomes_per_truth_are_those_counted_by_hand() -> None:
    a = [score_frame(frame(k, 1.5), RULES, EDGES) for k in range(3)]
    b = [score_frame(frame(k, 0.0, seed=1), RULES, EDGES) for k in range(3)]
    table = compare(comparison_sample(a, EDGES, RULES), comparison_sample(b, EDGES, RULES), RULES)
    by_hand = {k: [0, 0, 0, 0] for k in (-1, 0, 1, 2, 3, 4)}
    for one, other in zip(a, b, strict=True):
        for i, mag in enumerate(one.source.truth["mag"]):
            if one.pairing.truth_ignored[i]:
                continue
            entry = -1 if mag < 14 else 3 if mag >= 20 else int((mag - 14) // 2)
            x, y = one.pairing.truth_found[i], other.pairing.truth_found[i]
            by_hand[entry][0 if x and y else 1 if x else 2 if y else 3] += 1
    columns = ["n_both", "n_a_only", "n_b_only", "n_neither"]
    total = np.zeros(4)
    for entry, expected in by_hand.items():
        row = pick(table, "completeness", entry, "newcombe")
        assert row[columns].tolist() == expected
        total += expected
        n = sum(expected)
        if n:
            assert row["delta"] == pytest.approx((expected[1] - expected[2]) / n)
            assert row["lo"] <= row["delta"] <= row["hi"]
            assert row["p"] == pytest.approx(mcnemar(expected[1], expected[2]))
        else:
            assert np.isnan([row["delta"], row["lo"], row["p"]]).all()
    overall = pick(table, "completeness", -2, "newcombe")
    assert overall[columns].tolist() == total.tolist()
    assert total[1] > 0
    assert total[3] > 0


def test_the_whole_is_the_difference_of_summed_counts() -> None:
    a, b = stand(1.0), stand(0.0, noise=25, seed=4)
    table = compare(a, b, RULES)

    def f1(s: ComparisonSample) -> float:
        truths, found, detections, _ = s.counts.sum(axis=(0, 2))
        return float(f_from_counts(found, truths, detections, 1.0))

    row = pick(table, "f1")
    assert (row["value_a"], row["value_b"]) == pytest.approx((f1(a), f1(b)))
    assert row["delta"] == pytest.approx(f1(a) - f1(b))
    assert row["n_frames"] == 5
    purity = pick(table, "purity")
    assert purity["delta"] > 0
    assert pick(table, "m50")["delta"] == pytest.approx(a.m50.value - b.m50.value)
    assert pick(table, "snr50")["delta"] < 0 < pick(table, "m50")["delta"]
    assert np.isnan(row["n_both"])


def test_resamples_are_paired() -> None:
    """Frames of unlike difficulty cancel in the difference of versions nearly alike."""
    frames = range(8)
    hard = np.linspace(-3, 3, 8)

    def of(shift: float) -> ComparisonSample:
        scored = [score_frame(frame(k, hard[k] + shift), RULES, EDGES) for k in frames]
        return comparison_sample(scored, EDGES, RULES)

    a, b = of(-1.0), of(0.0)
    row = pick(compare(a, b, RULES), "m50")
    alone = (a.m50.hi - a.m50.lo, b.m50.hi - b.m50.lo)
    assert row["hi"] - row["lo"] < 0.6 * np.hypot(*alone)  # 1 if they were not
    assert row["p"] < 0.05


def test_a_detector_against_itself_differs_in_nothing() -> None:
    a = stand(0.5)
    table = compare(a, a, RULES)
    told = table[table["delta"].notna()]
    assert (told["delta"] == 0).all()
    assert (told["p"] == 1).all()
    boot = told[told["interval"] == "bootstrap"]
    assert (boot[["lo", "hi"]] == 0).all().all()
    assert (told[["n_a_only", "n_b_only"]].dropna() == 0).all().all()


@given(skill=st.floats(-2, 2), noise=st.integers(0, 20))
@settings(max_examples=6, deadline=None)
def test_swapping_turns_every_sign(skill, noise) -> None:
    a, b = stand(skill, 3, noise=noise), stand(0.0, 3)
    one, other = compare(a, b, RULES), compare(b, a, RULES)
    for column, turned in (("delta", "delta"), ("lo", "hi"), ("hi", "lo")):
        assert np.allclose(one[column], -other[turned], equal_nan=True, atol=1e-12)
    for column, same in (("p", "p"), ("p_holm", "p_holm"), ("n_a_only", "n_b_only")):
        assert np.allclose(one[column], other[same], equal_nan=True)


def test_holm_is_over_the_bins_of_a_quantity() -> None:
    table = compare(stand(1.0), stand(0.0, seed=2), RULES)
    rows = table[(table["quantity"] == "completeness") & (table["bin"] != -2)]
    assert rows["p_holm"].tolist() == pytest.approx(holm(rows["p"]).tolist(), nan_ok=True)
    whole = table[table["bin"] == -2]
    assert (whole["p_holm"] == whole["p"]).all()


def test_one_frame_alone_is_resampled_in_blocks() -> None:
    table = compare(stand(1.0, 1), stand(0.0, 1), RULES)
    assert np.isfinite(pick(table, "completeness", interval="newcombe")["p"])
    row = pick(table, "f1", interval="block bootstrap")
    assert row["lo"] < row["delta"] < row["hi"]
    assert row["n_frames"] == 1
    assert not (table["interval"] == "bootstrap").any()


def test_frames_that_hold_nothing_of_a_bin_tell_nothing_of_it() -> None:
    """Resamples of the one frame with bright stars agree; that is no certainty."""
    zero = np.zeros((4, 4, 6), dtype=np.int64)
    a, b = zero.copy(), zero.copy()
    a[0, :, 1], b[0, :, 1] = [10, 9, 9, 9], [10, 4, 4, 4]
    a[:, :, 2], b[:, :, 2] = [10, 8, 9, 8], [10, 8, 9, 8]
    entry = np.repeat([1, 2, 2, 2, 2], 10)
    nowhere = Limit(np.nan, np.nan, np.nan)
    made = [
        ComparisonSample(
            tuple("wxyz"), EDGES, c, entry, np.zeros(50, bool), nowhere, nowhere
        )
        for c in (a, b)
    ]  # fmt: skip
    table = compare(*made, RULES)
    assert pick(table, "f1", 0)["n_frames"] == 1
    assert np.isnan(pick(table, "f1", 0)["lo"])
    assert pick(table, "f1", 1)["n_frames"] == 4
    assert pick(table, "f1", 1)["lo"] == 0
    assert np.isnan(pick(table, "m50")["delta"])


def test_unlike_frames_edges_and_truths_are_refused() -> None:
    a = stand(1.0, 3)
    with pytest.raises(BadInputError, match="the same frames"):
        compare(a, stand(1.0, 2), RULES)
    with pytest.raises(BadInputError, match="edges"):
        compare(a, replace(a, edges=(1.0, 2.0, 3.0, 4.0)), RULES)
    with pytest.raises(BadInputError, match="the same truth"):
        compare(a, replace(a, entry=a.entry[::-1].copy()), RULES)


def test_every_pair_point_and_group_once_and_in_order() -> None:
    frames = {
        name: [frame(k, skill, group="ab"[k % 2], seed=len(name)) for k in range(6)]
        for name, skill in (("zeta", 1.0), ("alpha", 0.0), ("mid", 0.5))
    }
    rules = RULES.model_copy(update={"n_bootstrap": 20})
    result = evaluate(frames, rules)
    table = compare_all(result.comparison_samples, rules)
    assert tuple(table.columns) == COMPARISON_COLUMNS
    pairs_made = table[["detector_a", "detector_b"]].drop_duplicates().to_numpy().tolist()
    assert pairs_made == [["zeta", "alpha"], ["zeta", "mid"], ["alpha", "mid"]]
    assert set(table["group"]) == {"all", "a", "b"}
    keys = ["detector_a", "detector_b", "point", "group", "bin", "quantity", "interval"]
    assert not table.duplicated(keys).any()
    scores = result.scores.query("bin == -2").set_index(["detector", "point", "group", "quantity"])
    limits = result.limits.set_index(["detector", "point", "group"])
    for row in table[table["bin"] == -2].itertuples():
        for name, value in ((row.detector_a, row.value_a), (row.detector_b, row.value_b)):
            place = (name, row.point, row.group)
            if row.quantity in ("m50", "snr50"):
                expected = limits.loc[place, row.quantity]
            else:
                expected = scores.loc[(*place, row.quantity), "value"]
            assert value == pytest.approx(expected, nan_ok=True), row
    whole = table[
        (table["bin"] == -2) & (table["quantity"] == "f1") & (table["point"] == "default")
    ]
    one = whole[(whole["detector_a"] == "zeta") & (whole["detector_b"] == "mid")].set_index("group")
    expected = holm(one.loc[["a", "b"], "p"])
    assert one.loc[["a", "b"], "p_holm"].tolist() == pytest.approx(expected.tolist())
    assert one.loc["all", "p_holm"] == one.loc["all", "p"]
    assert compare_all({}, RULES).columns.tolist() == list(COMPARISON_COLUMNS)


def test_a_point_that_one_never_reaches_leaves_nothing_to_compare() -> None:
    empty = comparison_sample([], EDGES, RULES)
    table = compare_all(
        {("a", "purity95", "all"): empty, ("b", "purity95", "all"): stand(0.0)}, RULES
    )
    assert (table["bin"] == -2).all()
    assert table["delta"].isna().all()
    assert (table["n_frames"] == 0).all()
    assert pick(table, "m50")["value_b"] == pytest.approx(stand(0.0).m50.value)
    assert "no comparison between a and b" in sentence(table, "purity95")


def test_samples_of_limits_are_those_of_their_intervals() -> None:
    scored = [score_frame(frame(k, 0.0), RULES, EDGES) for k in range(6)]
    for limit in completeness_limits(scored, RULES)[:2]:
        assert limit.samples.shape == (RULES.n_bootstrap,)
        assert limit.lo <= np.nanmedian(limit.samples) <= limit.hi
    assert completeness_limits([], RULES)[0].samples.size == 0


def test_counts_over_frames_are_those_of_the_frames() -> None:
    scored = [score_frame(frame(k, 0.0), RULES, EDGES) for k in range(2)]
    made = comparison_sample(scored, EDGES, RULES)
    for k, score in enumerate(scored):
        c: Counts = score.counts
        assert np.array_equal(made.counts[k, 1], c.truths_found)
        assert np.array_equal(made.counts[k, 2], c.detections)
    assert made.found.sum() == made.counts[:, 1].sum()
    assert made.entry.size == made.counts[:, 0].sum()


def test_intervals_of_differences_are_cut_at_the_largest_possible_one() -> None:
    quantities = ["f1", "completeness", "jaccard", "false_per_mpix", "m50", "snr50"]
    wide = pd.DataFrame({"quantity": quantities, "lo": -1.7, "hi": 2.1, "delta": 0.2})
    wide.loc[1, ["lo", "hi"]] = [-0.5, np.nan]
    cut = within_possible(wide)
    np.testing.assert_array_equal(cut["lo"], [-1.0, -0.5, -1.0, -1.7, -1.7, -1.7])
    np.testing.assert_array_equal(cut["hi"], [1.0, np.nan, 1.0, 2.1, 2.1, 2.1])
    assert wide["hi"].max() == 2.1  # what came stays
    assert within_possible(wide[:0]).empty
