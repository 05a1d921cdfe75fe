"""Tests of the table of metrics, and of the outputs that an additional row reaches."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.paths import ROOT
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import jaccard_score

from skyduel.cli.terminal_summary import run_summary
from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules, score_table
from skyduel.evaluation.comparison.compare import ComparisonSample, compare
from skyduel.evaluation.comparison.gate import gated, parse_allowances
from skyduel.evaluation.scoring import metrics
from skyduel.evaluation.scoring.counts import Counts
from skyduel.evaluation.scoring.depth import Limit
from skyduel.evaluation.scoring.metrics import (
    METRICS,
    CountSums,
    Metric,
    f_beta,
    f_from_counts,
    jaccard,
    jaccard_from_counts,
    listed,
    metric,
)
from skyduel.evaluation.scoring.threshold_sweep import Curve, sweep
from skyduel.evaluation.table_keys import ALL_BINS
from skyduel.reports.tables.run_tables import bins_table, scores_table
from skyduel.reports.tables.summary_table import summary_table
from skyduel.reports.text.glossary import glossary
from skyduel.reports.text.paired_sentences import differences_table
from skyduel.run_folder.read_run import load_run

EDGES = (14.0, 16.0, 18.0)
RULES = ScoringRules(n_bootstrap=100, bins="14:18:2")
counts = st.integers(0, 30)


def frame(truths, found, detections, right) -> Counts:
    """Counts of two bins; the entries outside them are empty."""
    rows = [np.array([0, *v, 0, 0], dtype=np.int64) for v in (truths, found, detections, right)]
    none = np.zeros(5, dtype=np.int64)
    return Counts(EDGES, *rows, none, none, none)


@given(tp=counts, fp=counts, fn=counts)
def test_the_jaccard_index_is_that_of_sets_and_of_f1(tp: int, fp: int, fn: int) -> None:
    got = float(jaccard_from_counts(tp, tp + fn, tp + fp))
    if tp + fp + fn == 0:
        assert np.isnan(got)
        return
    is_true = np.repeat([True, False, True], [tp, fp, fn])
    is_found = np.repeat([True, True, False], [tp, fp, fn])
    assert got == pytest.approx(jaccard_score(is_true, is_found), abs=1e-15)
    f1 = float(f_from_counts(tp, tp + fn, tp + fp, 1.0))
    assert got == pytest.approx(f1 / (2 - f1), abs=1e-15)


@given(tp=counts, fp=counts, fn=counts)
def test_of_equal_bins_the_two_forms_of_the_jaccard_index_agree(tp: int, fp: int, fn: int) -> None:
    if tp + fp == 0 or tp + fn == 0:
        return
    by_ratios = float(jaccard(tp / (tp + fp), tp / (tp + fn)))
    assert by_ratios == pytest.approx(float(jaccard_from_counts(tp, tp + fn, tp + fp)), abs=1e-12)


def test_a_bin_of_the_jaccard_index_joins_both_axes_and_all_bins_come_from_counts() -> None:
    # A found source of the first true bin was measured in the second bin.
    one = frame(truths=(4, 6), found=(2, 3), detections=(2, 5), right=(1, 4))
    table = score_table([one, one], [1.0, 1.0], EDGES, RULES)
    rows = table[table["quantity"] == "jaccard"].set_index("bin")
    # 1/J = 1/P + 1/R - 1 with P = 1/2 and R = 2/4, then with P = 4/5 and R = 3/6.
    assert rows["value"][0] == pytest.approx(1 / 3)
    assert rows["value"][1] == pytest.approx(4 / 9)
    # TP = 5, FN = 10 - 5, FP = 7 - 5 of one frame.
    assert rows["value"][ALL_BINS] == pytest.approx(5 / 12)
    assert (rows["k"][ALL_BINS], rows["n"][ALL_BINS]) == (10, 24)
    assert np.isnan(rows["value"][-1])
    assert set(rows["interval"]) == {"bootstrap"}


def test_the_interval_of_the_jaccard_index_is_that_of_resampled_frames() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(30):
        found = rng.binomial(20, rng.uniform(0.4, 0.9), 2)
        frames.append(frame((20, 20), found, found + rng.poisson(4, 2), found))
    table = score_table(frames, [1.0] * 30, EDGES, RULES)
    rows = table[table["bin"] == ALL_BINS].set_index("quantity")
    f1, got = rows.loc["f1"], rows.loc["jaccard"]
    assert got["lo"] < got["value"] < got["hi"]
    # F1 and the index rise together and the draws are shared, so their percentiles correspond.
    for end in ("lo", "hi"):
        assert got[end] == pytest.approx(f1[end] / (2 - f1[end]), abs=2e-3)


def test_names_are_unique_and_joined_metrics_have_a_formula_for_bins() -> None:
    assert len({m.name for m in METRICS}) == len(METRICS)
    assert all((m.of_ratios is not None) == (m.axis == "joined") for m in METRICS)
    assert [m.name for m in METRICS if not m.in_first_schema] == ["jaccard"]


def test_an_unknown_metric_is_refused_and_the_nearest_is_suggested() -> None:
    with pytest.raises(BadInputError, match="did you mean purity"):
        metric("puriti")


HALF = Metric(
    name="f_half",
    label="F0.5 of the test",
    short="F0.5",
    uses=frozenset(
        {"swept", "compared", "gated", "overall", "by_magnitude", "terminal", "overview"}
    ),
    axis="joined",
    numerator=lambda s: s.found + s.right,
    denominator=lambda s: s.truths + s.detections,
    counted="truths + detections",
    interval="bootstrap",
    glossary=("F0.5 of the test", "Purity counts more."),
    formula=lambda s: f_from_counts(s.found, s.truths, s.detections, 0.5),
    of_ratios=lambda purity, completeness: f_beta(purity, completeness, 0.5),
)


@pytest.fixture
def one_row_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, HALF))


def sample(found: tuple[int, int]) -> ComparisonSample:
    """Three equal frames with four truths in each bin, of which some are found."""
    one = np.array([[0, 4, 4, 0, 0], [0, *found, 0, 0], [0, 4, 5, 0, 0], [0, *found, 0, 0]])
    entry = np.tile(np.repeat([1, 2], 4), 3)
    hits = np.tile(np.concatenate([np.arange(4) < n for n in found]), 3)
    nothing = Limit(np.nan, np.nan, np.nan)
    frames = ("a", "b", "c")
    return ComparisonSample(frames, EDGES, np.stack([one] * 3), entry, hits, nothing, nothing)


@pytest.mark.usefixtures("one_row_more")
def test_one_row_more_reaches_scores_sweep_comparison_and_gate() -> None:
    one = frame(truths=(4, 6), found=(2, 3), detections=(2, 5), right=(2, 3))
    table = score_table([one, one], [1.0, 1.0], EDGES, RULES)
    overall = table[table["bin"] == ALL_BINS].set_index("quantity")["value"]
    assert overall["f_half"] == pytest.approx(1.25 * 5 / (0.25 * 10 + 7))
    others = table[table["quantity"] != "f_half"].reset_index(drop=True)
    assert set(others["quantity"]) == {m.name for m in METRICS}

    curve = Curve(np.array([2.0, 1.0]), np.array([1, 2]), np.array([1, 3]), 4, 1.0)
    assert sweep(curve, curve.threshold)["f_half"].tolist() == pytest.approx([0.625, 0.625])

    compared = compare(sample((3, 2)), sample((2, 2)), RULES)
    rows = compared[compared["quantity"] == "f_half"]
    assert rows.loc[rows["bin"] == ALL_BINS, "delta"].item() > 0

    assert gated()["f_half"] == 1
    assert parse_allowances("f_half=0.1")[0].point == "default"


def test_one_row_more_leaves_the_other_rows_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    hits = [rng.integers(1, 4, 2) for _ in range(5)]
    frames = [frame(h + rng.integers(0, 5, 2), h, h + rng.integers(0, 5, 2), h) for h in hits]
    before = score_table(frames, [1.0] * 5, EDGES, RULES)
    compared = compare(sample((3, 2)), sample((2, 2)), RULES)
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, HALF))
    for old, new in (
        (before, score_table(frames, [1.0] * 5, EDGES, RULES)),
        (compared, compare(sample((3, 2)), sample((2, 2)), RULES)),
    ):
        kept = new[new["quantity"] != "f_half"].reset_index(drop=True)
        pd.testing.assert_frame_equal(old, kept, check_exact=True)


@pytest.mark.usefixtures("one_row_more")
def test_one_row_more_reaches_the_page_and_the_terminal() -> None:
    run = load_run(ROOT / "tests" / "data" / "run_schema_1")
    assert HALF.label not in scores_table(run, ["all"], "x").columns  # the run is older

    extra = run.scores[run.scores["quantity"] == "f1"].assign(quantity="f_half")
    newer = replace(run, scores=pd.concat([run.scores, extra], ignore_index=True))
    assert HALF.label in scores_table(newer, ["all"], "x").columns
    by_bin = bins_table(newer, "default")
    assert HALF.label in by_bin.columns
    assert HALF.label in by_bin.note
    summary = summary_table(newer)
    np.testing.assert_array_equal(summary["f_half"], summary["f1"])
    assert HALF.glossary in glossary()
    assert HALF in listed("overview")
    for printed, there in ((run, False), (newer, True)):
        console = Console(file=io.StringIO(), width=200)
        console.print(run_summary(printed))
        assert ("F0.5" in console.file.getvalue()) is there

    f1 = run.comparisons[run.comparisons["quantity"] == "f1"].assign(quantity="f_half")

    class Newer(type(run)):
        comparisons = pd.concat([run.comparisons, f1], ignore_index=True)

    fields = {k: getattr(newer, k) for k in newer.__dataclass_fields__}
    assert f"Δ {HALF.label}" in differences_table(Newer(**fields), "default").columns


def test_sums_keep_the_total_of_each_count() -> None:
    stack = np.arange(24).reshape(2, 4, 3)
    sums = CountSums.from_stack(stack).with_total()
    assert sums.truths[..., -1].tolist() == stack[:, 0].sum(axis=-1).tolist()
    assert sums.right.shape == (2, 4)
