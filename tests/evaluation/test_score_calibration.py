"""Tests of the reliability of scores, and of thresholds chosen in advance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from skyduel.core import Catalog
from skyduel.evaluation import FrameInput, ScoringRules
from skyduel.evaluation.analyses.score_calibration import (
    _isotonic,
    calibration_error,
    calibration_error_table,
    purity_choice_table,
    reliability_table,
)
from skyduel.evaluation.scoring.candidate_store import CandidateFrame, candidate_frame
from skyduel.evaluation.scoring.table_columns import (
    CALIBRATION_ERROR_COLUMNS,
    PURITY_CHOICE_COLUMNS,
    RELIABILITY_COLUMNS,
)
from skyduel.evaluation.statistics.intervals import wilson

RULES = ScoringRules()
EDGES = (14.0, 17.0, 20.0)


def frame(
    seed: int,
    n: int = 900,
    *,
    score: object = None,
    split: str = "test",
) -> CandidateFrame:
    """Return detections far apart, right with probability p; ``score`` maps p to a score."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 0.7, n)
    right = rng.random(n) < p
    x, y = 30.0 * np.arange(n), rng.uniform(0, 9, n)
    given = p if score is None else score(p)
    truth = Catalog.build(x=x[right] + 0.5, y=y[right], mag=rng.uniform(13, 22, right.sum()))
    found = Catalog.build(x=x, y=y, score=given, aper_mag=rng.uniform(13, 22, n))
    source = FrameInput(frame=f"{split} {seed}", truth=truth, found=found, split=split)
    return candidate_frame(source, RULES)


def all_bins(table: object) -> object:
    return table[table["bin"] == -2]


def test_true_probabilities_err_by_chance_alone_and_distorted_ones_by_more() -> None:
    errors, chances = [], []
    for seed in range(12):
        row = all_bins(calibration_error_table([], [frame(seed)], RULES, EDGES)).iloc[0]
        assert row["score_is"] == "probability"
        errors.append(row["ece"])
        chances.append(row["ece_chance"])
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.2)
    wrong = all_bins(
        calibration_error_table([], [frame(1, score=lambda p: p**2)], RULES, EDGES)
    ).iloc[0]
    # The mean of p - p^2 over the beta distribution of p.
    a = 0.7
    expected = 0.5 - a * (a + 1) / (2 * a * (2 * a + 1))
    assert wrong["ece"] == pytest.approx(expected, abs=0.03)
    assert wrong["ece"] > 4 * wrong["ece_chance"]
    assert wrong["ece_equal_count"] == pytest.approx(expected, abs=0.03)


def test_the_error_of_a_hand_made_table() -> None:
    p = np.array([0.1, 0.3, 0.5, 0.8, 1.0])
    right = np.array([False, True, False, True, True])
    error, chance = calibration_error(p, right, np.array([0.0, 0.5, 1.0]))
    # Bins: (0.1, 0.3) 1 right of 2, mean 0.2; (0.5, 0.8, 1.0) 2 of 3, mean 2.3/3.
    assert error == pytest.approx((abs(1 - 0.4) + abs(2 - 2.3)) / 5)
    spread = np.sqrt(0.09 + 0.21) + np.sqrt(0.25 + 0.16 + 0.0)
    assert chance == pytest.approx(np.sqrt(2 / np.pi) * spread / 5)
    assert np.isnan(calibration_error(p[:0], right[:0], np.array([0.0, 1.0]))).all()


@given(
    p=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.999, 1.0]), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_the_error_lies_between_the_overall_difference_and_one(p: list[float], seed: int) -> None:
    q = np.array(p)
    right = np.random.default_rng(seed).random(q.size) < 0.5
    error, _ = calibration_error(q, right, np.linspace(0, 1, 11))
    assert abs(q.mean() - right.mean()) <= error + 1e-12
    assert error <= 1.0


def test_rows_of_the_table_are_counts_of_their_bins() -> None:
    made = frame(3)
    table = reliability_table([], [made], RULES, EDGES)
    assert list(table.columns) == list(RELIABILITY_COLUMNS)
    score = made.source.found["score"]
    whole = all_bins(table)
    for binning in ("equal width", "equal count"):
        rows = whole[whole["binning"] == binning]
        assert rows["n"].sum() == score.size
        for row in rows.itertuples():
            last = row.score_bin == rows["score_bin"].max()
            inside = (score >= row.score_lo) & ((score < row.score_hi) | last)
            assert row.n == inside.sum()
            assert row.predicted == pytest.approx(score[inside].mean())
            assert (row.lo, row.hi) == pytest.approx(
                tuple(float(v) for v in wilson(row.k, row.n, 0.95))
            )
    per_bin = table[table["bin"] != -2]
    assert set(per_bin["binning"]) == {"equal width"}
    assert per_bin["n"].sum() == score.size
    assert per_bin["k"].sum() == whole[whole["binning"] == "equal width"]["k"].sum()


def test_a_fainter_duplicate_does_not_make_a_sure_detection_wrong() -> None:
    # Most pairs first would give the truth at 0 to the duplicate, and the sure one to no other.
    truth = Catalog.build(x=[0.0, 3.0], y=[0.0, 0.0])
    found = Catalog.build(x=[1.5, -1.0, 3.2], y=[0.0] * 3, score=[0.99, 0.3, 0.2])
    made = candidate_frame(FrameInput(frame="f", truth=truth, found=found), RULES)
    rows = all_bins(reliability_table([], [made], RULES, EDGES))
    rows = rows[rows["binning"] == "equal width"].set_index("score_bin")
    assert rows.loc[9, "k"] == 1


def test_what_counts_neither_way_is_left_out_and_what_has_no_score_is_told() -> None:
    truth = Catalog.build(x=[0.0, 50.0], y=[0.0, 0.0], ignore=[False, True])
    found = Catalog.build(x=[0.0, 50.0, 90.0, 99.0], y=[0.0] * 4, score=[0.9, 0.8, 0.1, np.nan])
    made = candidate_frame(FrameInput(frame="f", truth=truth, found=found), RULES)
    row = all_bins(calibration_error_table([], [made], RULES, EDGES)).iloc[0]
    assert (row["n"], row["k"], row["n_unscored"]) == (2, 1, 1)
    assert row["brier"] == pytest.approx((0.1**2 + 0.1**2) / 2)


@pytest.mark.parametrize("n", [2, 9, 400])
def test_the_isotonic_regression_is_that_of_scikit_learn(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(10, 4, n).round(1)  # with ties
    right = rng.random(n) < 1 / (1 + np.exp(10 - x))
    right[:2] = True, False
    at = np.concatenate([x, rng.uniform(-10, 30, 50)])
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, right)
    np.testing.assert_allclose(_isotonic(x, right, at), theirs.predict(at), rtol=0, atol=1e-12)


def test_a_score_that_is_no_probability_is_fitted_on_the_calibration_frames() -> None:
    snr = lambda p: 3 + 20 * p**3  # noqa: E731
    test = [frame(k, score=snr) for k in (1, 2)]
    learnt = [frame(k, 3000, score=snr, split="calibration") for k in (8, 9)]
    row = all_bins(calibration_error_table(learnt, test, RULES, EDGES)).iloc[0]
    assert row["score_is"] == "fitted"
    assert row["ece"] < 3 * row["ece_chance"]
    rows = all_bins(reliability_table(learnt, test, RULES, EDGES))
    assert (rows["score_hi"] <= 1).all()
    # Without them there is nothing to hold it to.
    assert len(calibration_error_table([], test, RULES, EDGES)) == 0
    raw = reliability_table([], test, RULES, EDGES)
    assert set(raw["score_is"]) == {"unknown"}
    assert set(all_bins(raw)["binning"]) == {"equal count"}
    assert raw["predicted"].isna().all()
    assert all_bins(raw)["n"].sum() == sum(len(t.source.found) for t in test)
    # Nor with calibration frames on which every detection is right.
    only = FrameInput(frame="c", split="calibration", truth=Catalog.build(x=[1.0], y=[1.0]),
                      found=Catalog.build(x=[1.0], y=[1.0], score=[9.0]))  # fmt: skip
    assert len(calibration_error_table([candidate_frame(only, RULES)], test, RULES, EDGES)) == 0


def test_a_purity_chosen_on_the_calibration_frames_is_met_on_others() -> None:
    learnt = [frame(k, 4000, split="calibration") for k in (8, 9)]
    table = purity_choice_table(learnt, [frame(k, 4000) for k in (1, 2)], RULES, EDGES)
    assert list(table.columns) == list(PURITY_CHOICE_COLUMNS)
    assert list(zip(table["wanted"], table["chosen_by"], strict=True)) == [
        (w, by) for w in (0.9, 0.95, 0.99) for by in ("calibration", "score")
    ]
    assert (table["purity_chosen"] >= table["wanted"]).all()
    np.testing.assert_allclose(table["purity"], table["wanted"], atol=0.02)
    assert (table["lo"] <= table["purity"]).all()
    assert (table["k"] == table["truths_found"]).all()
    np.testing.assert_allclose(table["completeness"], table["truths_found"] / table["truths"])


def test_a_score_states_a_purity_only_if_it_is_a_probability() -> None:
    made = [frame(1, score=lambda p: 9 * p)]
    assert len(purity_choice_table([], made, RULES, EDGES)) == 0
    assert set(purity_choice_table([], [frame(1)], RULES, EDGES)["chosen_by"]) == {"score"}


def test_a_purity_out_of_reach_is_told_with_nan() -> None:
    low = frame(1, score=lambda p: 0.5 * p)
    rows = purity_choice_table([], [low], RULES, EDGES)
    assert rows["threshold"].isna().all()
    assert rows["purity"].isna().all()
    assert rows["completeness"].isna().all()
    assert (rows["n"] == 0).all()


def test_nothing_at_all_is_normal() -> None:
    for table, columns in (
        (reliability_table([], [], RULES, EDGES), RELIABILITY_COLUMNS),
        (calibration_error_table([], [], RULES, EDGES), CALIBRATION_ERROR_COLUMNS),
        (purity_choice_table([], [], RULES, EDGES), PURITY_CHOICE_COLUMNS),
    ):
        assert list(table.columns) == list(columns)
        assert len(table) == 0
    empty = candidate_frame(
        FrameInput(frame="f", truth=Catalog.empty(), found=Catalog.empty()), RULES
    )
    assert len(reliability_table([], [empty], RULES, EDGES)) == 0
