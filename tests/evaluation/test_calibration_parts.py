"""Reliability and chosen thresholds of a few detections, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules
from skyduel.evaluation.analyses.score_calibration import (
    calibration_error,
    calibration_error_table,
    purity_choice_table,
    reliability_table,
)
from skyduel.evaluation.scoring.candidate_store import CandidateFrame, candidate_frame
from skyduel.evaluation.statistics.intervals import wilson

NAN = float("nan")
RULES = ScoringRules()
EDGES = (14.0, 17.0, 20.0)


def frame(score: list, right: list, mag: list | None = None, missed: int = 0) -> CandidateFrame:
    """Detections far apart, right where told, and truths that are missed."""
    n = len(score)
    x = 30.0 * np.arange(n + missed)
    good = np.array([*right, *[1] * missed], dtype=bool)
    shown = np.full(n, 16.0) if mag is None else np.array(mag)
    true = np.array([*shown, *[16.0] * missed])
    truth = Catalog.build(x=x[good], y=np.zeros(good.sum()), mag=true[good])
    found = Catalog.build(x=x[:n], y=np.zeros(n), score=score, aper_mag=shown)
    return candidate_frame(FrameInput(frame="f", truth=truth, found=found), RULES)


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ([0.0, 0.5, 1.0], "probability"),
        ([0.0, 0.5, 1.01], "fitted"),
        ([-0.01, 0.5, 1.0], "fitted"),
        ([NAN, 0.5, 1.0], "probability"),
    ],
)
def test_scores_from_nought_to_one_are_probabilities(scores: list, kind: str) -> None:
    learnt = frame([0.2, 0.3, 0.9], [False, True, True])
    made = frame(scores, [False, True, True])
    for calibration, test in (([learnt], [made]), ([made], [learnt])):
        if kind == "probability" or test == [made]:
            table = calibration_error_table(calibration, test, RULES, EDGES)
            assert set(table["score_is"]) == {kind}
    assert set(purity_choice_table([learnt], [made], RULES, EDGES)["chosen_by"]) == (
        {"calibration", "score"} if kind == "probability" else {"calibration"}
    )


@pytest.mark.parametrize(
    ("right", "kind"),
    [([0, 0, 0], "unknown"), ([1, 0, 0], "fitted"), ([1, 1, 0], "fitted"), ([1, 1, 1], "unknown")],
)
def test_a_fit_needs_right_and_wrong_detections(right: list, kind: str) -> None:
    scores = [5.0, 7.0, 9.0]
    table = reliability_table([frame(scores, right)], [frame(scores, right)], RULES, EDGES)
    assert set(table["score_is"]) == {kind}
    assert table["predicted"].isna().all() == (kind == "unknown")
    assert len(calibration_error_table([frame(scores, right)], [frame(scores, right)], RULES,
                                       EDGES)) == (0 if kind == "unknown" else 2)  # fmt: skip


def test_values_beyond_the_edges_are_in_the_outer_bins() -> None:
    p, right = np.array([0.05, 0.3, 0.9]), np.array([True, False, True])
    error, _ = calibration_error(p, right, np.array([0.1, 0.5, 0.8]))
    assert error == pytest.approx((abs(1 - 0.35) + abs(1 - 0.9)) / 3)


def test_bins_of_equal_width_and_of_equal_count() -> None:
    score = np.arange(100) / 100
    right = np.arange(100) % 3 == 0
    table = reliability_table([], [frame(score.tolist(), right.tolist())], RULES, EDGES)
    assert table.index.tolist() == list(range(len(table)))
    whole = table[table["bin"] == -2]
    for binning, edges in (
        ("equal width", np.linspace(0, 1, 11)),
        # The lower quantile of 99 steps: 0, 9, 19 ... 89, and the highest score closes the last.
        ("equal count", np.array([0, 9, 19, 29, 39, 49, 59, 69, 79, 89, 99]) / 100),
    ):
        rows = whole[whole["binning"] == binning]
        np.testing.assert_array_equal(rows["score_lo"], edges[:-1])
        np.testing.assert_array_equal(rows["score_hi"], edges[1:])
        assert rows["score_bin"].tolist() == list(range(10))
        for row in rows.itertuples():
            last = row.score_bin == 9
            inside = (score >= row.score_lo) & ((score < row.score_hi) | last)
            assert (row.n, row.k) == (inside.sum(), right[inside].sum())
            assert row.right == pytest.approx(right[inside].mean())
            assert row.predicted == pytest.approx(score[inside].mean())


def test_equal_scores_are_one_bin() -> None:
    made = frame([0.5, 0.5, 0.5], [True, True, False])
    table = reliability_table([], [made], RULES, EDGES)
    rows = table[table["binning"] == "equal count"]
    assert rows[["score_bin", "score_lo", "score_hi", "n", "k"]].to_numpy().tolist() == [
        [0, 0.5, 0.5, 3, 2]
    ]
    two = reliability_table([], [frame([0.2, 0.8], [True, False])], RULES, EDGES)
    rows = two[two["binning"] == "equal count"]
    assert rows[["score_lo", "score_hi", "n"]].to_numpy().tolist() == [[0.2, 0.8, 2]]


def test_rows_of_magnitude_bins() -> None:
    # Of the bins before 14, 14-17, 17-20 and beyond, two have detections.
    made = frame([0.25, 0.75, 0.5], [False, True, True], mag=[16.9, 17.0, 18.0])
    table = calibration_error_table([], [made], RULES, EDGES)
    assert table["bin"].tolist() == [-2, 0, 1]
    assert table["bin_lo"].tolist()[1:] == [14.0, 17.0]
    assert table["bin_hi"].tolist()[1:] == [17.0, 20.0]
    assert table["n"].tolist() == [3, 1, 2]
    assert table["k"].tolist() == [2, 0, 2]
    assert table["predicted"].tolist() == [0.5, 0.25, 0.625]
    assert table["right"].tolist() == pytest.approx([2 / 3, 0.0, 1.0])
    assert table["ece"].tolist() == pytest.approx([1 / 3, 0.25, 0.375])
    assert table["brier"].tolist() == pytest.approx([0.375 / 3, 0.0625, 0.3125 / 2])
    rows = reliability_table([], [made], RULES, EDGES)
    assert set(zip(rows["bin"], rows["binning"], strict=True)) == {
        (-2, "equal width"), (-2, "equal count"), (0, "equal width"), (1, "equal width"),
    }  # fmt: skip


def test_measured_magnitudes_are_on_the_scale_of_the_truth() -> None:
    x = 30.0 * np.arange(20)
    truth = Catalog.build(x=x, y=np.zeros(20), mag=np.full(20, 18.0))
    found = Catalog.build(x=x, y=np.zeros(20), score=np.full(20, 0.5), aper_mag=np.full(20, 13.0))
    made = candidate_frame(FrameInput(frame="f", truth=truth, found=found), RULES)
    assert calibration_error_table([], [made], RULES, EDGES)["bin"].tolist() == [-2, 1]


# --- thresholds chosen in advance ---------------------------------------------------------------


def choice(made: list, by: str, wanted: float, learnt: tuple = ()) -> dict:
    table = purity_choice_table(list(learnt), made, RULES, EDGES)
    assert table.index.tolist() == list(range(len(table)))
    return table[(table["chosen_by"] == by) & (table["wanted"] == wanted)].iloc[0].to_dict()


@pytest.mark.parametrize(
    ("scores", "wanted", "threshold", "purity", "n"),
    [
        # Means of the scores down to each: 1, 0.95, 0.9, 0.85.
        ([1.0, 0.9, 0.8, 0.7], 0.9, 0.8, 0.9, 3),
        ([0.7, 0.9, 1.0, 0.8], 0.95, 0.9, 0.95, 2),
        ([1.0, 0.9, 0.8, 0.7], 0.99, 1.0, 1.0, 1),
        ([0.9], 0.9, 0.9, 0.9, 1),  # just as pure as wanted
        ([0.89], 0.9, NAN, NAN, 0),
        # Equal scores come together or not at all: the mean of all three is 0.8.
        ([1.0, 0.7, 0.7], 0.9, 1.0, 1.0, 1),
        ([1.0, 0.86, 0.86], 0.9, 0.86, 2.72 / 3, 3),
        ([1.0, 0.86, 0.86, 0.86], 0.9, 1.0, 1.0, 1),
        ([1.0] * 200, 0.99, 1.0, 1.0, 200),
        ([NAN, 1.0], 0.99, 1.0, 1.0, 1),
        ([], 0.9, NAN, NAN, 0),
    ],
)
def test_the_threshold_that_scores_state(
    scores: list, wanted: float, threshold: float, purity: float, n: int
) -> None:
    made = [frame(scores, [True] * len(scores))] if scores else [frame([0.0], [False])]
    row = choice(made, "score", wanted)
    got = (row["threshold"], row["purity_chosen"])
    assert got == pytest.approx((threshold, purity), nan_ok=True)
    assert row["n_chosen"] == n


def test_the_purity_and_completeness_reached() -> None:
    # Down to 8: four right of five; down to 6: five of six.
    learnt = frame([9.0, 8.0, 7.0, 6.0], [True, True, True, False])
    made = frame([9.5, 9.0, 8.0, 7.5, 7.0, 6.5], [True, True, False, True, True, True], missed=5)
    row = choice([made], "calibration", 0.95, (learnt,))
    lo, hi = wilson(4, 5, 0.95)
    low, high = wilson(4, 10, 0.95)
    assert row == {
        "wanted": 0.95, "chosen_by": "calibration", "threshold": 7.0, "purity_chosen": 1.0,
        "n_chosen": 3, "purity": 0.8, "lo": pytest.approx(float(lo)),
        "hi": pytest.approx(float(hi)), "n": 5, "k": 4, "completeness": 0.4,
        "completeness_lo": pytest.approx(float(low)),
        "completeness_hi": pytest.approx(float(high)), "truths": 10, "truths_found": 4,
    }  # fmt: skip


def test_a_purity_that_calibration_never_has() -> None:
    learnt = frame([9.0, 8.0], [False, True])
    row = choice([frame([9.0], [True], missed=1)], "calibration", 0.9, (learnt,))
    assert (row["n_chosen"], row["n"], row["k"], row["truths"]) == (0, 0, 0, 2)
    for name in ("threshold", "purity_chosen", "purity", "completeness", "completeness_lo",
                 "completeness_hi"):  # fmt: skip
        assert np.isnan(row[name])
