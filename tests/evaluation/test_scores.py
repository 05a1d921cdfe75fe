"""Tests of scores and their intervals, including the coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom
from scipy.stats import poisson as poisson_law

from skyduel.evaluation import ScoringRules, score_table, wilson
from skyduel.evaluation.scoring.counts import Counts
from skyduel.evaluation.scoring.metrics import CountSums, f_beta, f_from_counts, metric
from skyduel.evaluation.statistics.intervals import poisson

EDGES = (15.0, 17.0, 19.0)
RULES = ScoringRules(n_bootstrap=400)


def counts(truths: list[int], found: list[int], detections: list[int], right: list[int]) -> Counts:
    arrays = [np.array(v, dtype=np.int64) for v in (truths, found, detections, right)]
    return Counts(EDGES, *arrays, *(np.zeros(5, dtype=np.int64) for _ in range(3)))


def random_frames(n: int, seed: int = 0) -> list[Counts]:
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        truths = rng.integers(0, 30, 5)
        found = rng.binomial(truths, 0.7)
        right = np.roll(found, 1)
        out.append(counts(truths, found, right + rng.poisson(3, 5), right))
    return out


def cell(table, quantity: str, bin_: int):
    (row,) = table[(table["quantity"] == quantity) & (table["bin"] == bin_)].itertuples()
    return row


def test_a_worked_table() -> None:
    frames = [
        counts([0, 4, 6, 0, 0], [0, 4, 3, 0, 0], [1, 5, 4, 0, 0], [0, 4, 3, 0, 0]),
        counts([0, 4, 0, 0, 0], [0, 2, 0, 0, 0], [0, 1, 2, 0, 1], [0, 1, 1, 0, 0]),
    ]
    table = score_table(frames, [0.5, 1.5], EDGES, RULES)
    assert list(table.columns) == [
        "bin", "bin_lo", "bin_hi", "quantity", "value", "lo", "hi", "n", "k", "interval",
        "n_frames",
    ]  # fmt: skip
    assert sorted(table["bin"].unique()) == [-2, -1, 0, 1, 2, 3]
    first = cell(table, "completeness", 0)
    assert (first.bin_lo, first.bin_hi, first.k, first.n, first.value) == (15, 17, 6, 8, 0.75)
    assert (first.interval, first.n_frames) == ("wilson", 2)
    assert cell(table, "purity", 1).value == 4 / 6
    assert cell(table, "f1", 1).value == pytest.approx(2 * (4 / 6) * 0.5 / (4 / 6 + 0.5))
    every = cell(table, "f2", -2)
    assert every.value == pytest.approx(5 * 9 / (4 * 14 + 14))
    assert (every.n, every.k) == (28, 18)
    rate = cell(table, "false_per_mpix", -2)
    assert (rate.value, rate.k, rate.n) == (2.5, 5, 2.0)
    assert rate.lo < 2.5 < rate.hi


def test_what_is_undefined_is_nan_with_its_numbers_shown() -> None:
    table = score_table([counts([0] * 5, [0] * 5, [0] * 5, [0] * 5)] * 3, [1.0] * 3, EDGES, RULES)
    undefined = table[table["quantity"] != "false_per_mpix"]
    assert undefined[["value", "lo", "hi"]].isna().all(axis=None)
    assert (undefined["n"] == 0).all()
    assert (cell(table, "false_per_mpix", 0).value, cell(table, "false_per_mpix", 0).lo) == (0, 0)
    none = score_table([], [], EDGES, RULES)
    assert none["value"].isna().all()
    assert (none["n_frames"] == 0).all()
    lone = score_table(random_frames(1), [np.nan], EDGES, RULES)
    assert lone.loc[lone["quantity"].isin(["f1", "f2"]), ["lo", "hi"]].isna().all(axis=None)
    assert lone.loc[lone["quantity"] == "false_per_mpix", "value"].isna().all()


def test_the_interval_of_a_bin_rests_on_the_frames_that_hold_its_sources() -> None:
    """Resamples of one frame agree, however many empty frames are drawn with it."""
    none = [0] * 5
    alone = counts([0, 8, 0, 0, 0], [0, 4, 0, 0, 0], [0, 5, 0, 0, 0], [0, 4, 0, 0, 0])
    other = counts([0, 0, 9, 0, 0], [0, 0, 3, 0, 0], [0, 0, 5, 0, 0], [0, 0, 3, 0, 0])
    frames = [alone, other, other, *[counts(none, none, none, none)] * 8]
    table = score_table(frames, [1.0] * 11, EDGES, RULES)
    for quantity in ("f1", "f2", "jaccard"):
        one, alike = cell(table, quantity, 0), cell(table, quantity, 1)
        assert 0 < one.value < 1
        assert np.isnan([one.lo, one.hi, alike.lo, alike.hi]).all()
        every = cell(table, quantity, -2)
        # Student's t of three frames is 4.3, and percentiles of three have no such width.
        assert every.lo < every.value - 0.2
        assert every.hi > every.value + 0.2


def test_the_worse_known_side_tells_how_many_frames_a_joined_score_rests_on() -> None:
    units = CountSums(
        truths=np.array([[3, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0]]),
        found=np.array([[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        detections=np.array([[2, 0, 1], [0, 4, 0], [0, 4, 0], [0, 0, 0]]),
        right=np.array([[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    )
    expected = {
        "completeness": [3, 0, 1, 3],
        "purity": [1, 2, 1, 3],
        "f1": [1, 0, 1, 3],
        "jaccard": [1, 0, 1, 3],
        "false_per_mpix": [0, 0, 0, 0],  # of an unknown area
    }
    assert {q: metric(q).contributing(units).tolist() for q in expected} == expected


def test_a_detector_that_reports_nothing_has_f_zero_but_no_purity() -> None:
    table = score_table([counts([3] * 5, [0] * 5, [0] * 5, [0] * 5)], [1.0], EDGES, RULES)
    assert cell(table, "f1", -2).value == 0
    assert np.isnan(cell(table, "purity", -2).value)
    assert np.isnan(cell(table, "f1", 0).value)


def test_f_scores_agree_with_their_definitions() -> None:
    assert f_beta(0.8, 0.5, 1) == pytest.approx(2 * 0.8 * 0.5 / 1.3)
    assert f_beta(0.8, 0.5, 2) == pytest.approx(5 * 0.8 * 0.5 / (4 * 0.8 + 0.5))
    np.testing.assert_array_equal(f_beta([0.0, np.nan, 1.0], [0.0, 0.5, 1.0], 1), [0, np.nan, 1])
    assert f_from_counts(30, 50, 40, 2) == pytest.approx(f_beta(30 / 40, 30 / 50, 2))
    assert np.isnan(f_from_counts(0, 0, 0, 1))


FRAMES = random_frames(9)
PERMUTED = [FRAMES[k] for k in np.random.default_rng(8).permutation(9)]
MERGED = [FRAMES[0] + FRAMES[1] + FRAMES[2], *FRAMES[3:]]
SWAPPED = [
    Counts(EDGES, f.detections, f.detections_right, f.truths, f.truths_found, *[f.duplicates] * 3)
    for f in FRAMES
]
SWAP = {"completeness": "purity", "purity": "completeness", "f1": "f1"}


@pytest.mark.parametrize(
    ("name", "frames", "same"),
    [
        ("order of frames", PERMUTED, {q: q for q in ("completeness", "purity", "f1", "f2")}),
        ("frames added first", MERGED, {q: q for q in ("completeness", "purity", "f1", "f2")}),
        ("roles swapped", SWAPPED, SWAP),
    ],
)
def test_invariances(name: str, frames: list[Counts], same: dict[str, str]) -> None:
    before = score_table(FRAMES, [1.0] * 9, EDGES, RULES)
    after = score_table(frames, [9 / len(frames)] * len(frames), EDGES, RULES)
    for quantity, other in same.items():
        for bin_ in (-2, -1, 0, 1, 2, 3):
            one, two = cell(before, quantity, bin_), cell(after, other, bin_)
            assert one.value == pytest.approx(two.value, nan_ok=True), (name, quantity, bin_)
            assert (one.n, one.k) == (two.n, two.k)


def test_the_same_seed_gives_the_same_intervals_and_they_hold_the_value() -> None:
    one, two = (score_table(FRAMES, [1.0] * 9, EDGES, RULES) for _ in range(2))
    np.testing.assert_array_equal(one[["lo", "hi"]], two[["lo", "hi"]])
    some = one.dropna(subset=["value", "lo", "hi"])
    assert len(some) > 20
    assert ((some["lo"] <= some["value"]) & (some["value"] <= some["hi"])).all()
    wide = score_table(FRAMES, [1.0] * 9, EDGES, ScoringRules(n_bootstrap=400, confidence=0.99))
    assert (wide["hi"] - wide["lo"]).sum() > (one["hi"] - one["lo"]).sum()


def test_wilson_against_its_formula_and_its_ends() -> None:
    z, k, n = 1.959963984540054, 7, 20
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    lo, hi = wilson([k, 0, 20, 0], [n, 20, 20, 0], 0.95)
    assert (lo[0], hi[0]) == (pytest.approx(centre - half), pytest.approx(centre + half))
    assert lo[1] == pytest.approx(0, abs=1e-12)
    assert 0.1 < hi[1] < 0.2
    assert hi[2] == pytest.approx(1)
    assert np.isnan([lo[3], hi[3]]).all()


def test_poisson_limits_leave_the_tails_they_promise() -> None:
    lo, hi = poisson([0, 1, 9], 0.9)
    assert lo[0] == 0
    np.testing.assert_allclose(poisson_law.cdf([0, 1, 9], hi), 0.05)
    np.testing.assert_allclose(poisson_law.sf([0, 8], lo[1:]), 0.05)


def test_wilson_covers_as_often_as_it_says() -> None:
    # Averaged over p, as Wilson's interval is meant: 93-97 % of the time.
    p = beta(2, 2).rvs(400, random_state=1)
    for n in (10, 60, 400):
        k = np.arange(n + 1)
        lo, hi = wilson(k, np.full(n + 1, n), 0.95)
        inside = (lo[None] <= p[:, None]) & (p[:, None] <= hi[None])
        coverage = (binom.pmf(k[None], n, p[:, None]) * inside).sum(axis=1).mean()
        assert 0.93 < coverage < 0.97


def test_the_frame_bootstrap_covers_as_often_as_it_says() -> None:
    """Frames share a seeing that moves completeness and purity together.

    100 experiments of 40 frames give the coverage to 2.2 %, hence the margins:
    95 % is meant, and an interval blind to the frames' scatter covers about 60 %.
    """
    rng = np.random.default_rng(12)
    rules = ScoringRules(n_bootstrap=200)

    def experiment(n_frames: int) -> tuple[np.ndarray, ...]:
        seeing = rng.normal(0, 1, n_frames)
        truths = rng.poisson(60, n_frames)
        found = rng.binomial(truths, 1 / (1 + np.exp(-(0.8 + 0.6 * seeing))))
        return truths, found, found + rng.poisson(8 * np.exp(-0.3 * seeing))

    many = [v.sum() for v in experiment(400_000)]
    want = 2 * many[1] / (many[0] + many[2])
    hits, z = 0, [0, 0, 0]
    for _ in range(100):
        frames = [
            counts([0, t, *z], [0, f, *z], [0, d, *z], [0, f, *z])
            for t, f, d in zip(*experiment(40), strict=True)
        ]
        row = cell(score_table(frames, [1.0] * 40, EDGES, rules), "f1", -2)
        hits += row.lo <= want <= row.hi
    assert 0.89 <= hits / 100 <= 0.99
