"""Scores at other ignore limits equal those of a run with that limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import Catalog
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.analyses import snr_limit
from skyduel.evaluation.analyses.snr_limit import SNR_LIMITS, ignore_limit_table
from skyduel.evaluation.scoring.table_columns import IGNORE_LIMIT_COLUMNS

EDGES = (14.0, 24.0)
SHAPE = (45, 60)


def frame(seed: int, rules: ScoringRules, n: int, *, reasons: bool = True) -> FrameScore:
    rng = np.random.default_rng(seed)
    m = int(rng.integers(0, 2 * n + 1))
    kind = np.where(rng.random(n) < 0.1, "streak", "point")
    truth = Catalog.build(
        x=rng.uniform(-1, 61, n), y=rng.uniform(0, 45, n), kind=kind,
        length=np.where(kind == "streak", 15.0, 0.0), theta=rng.uniform(-1.5, 1.5, n),
        snr=np.where(rng.random(n) < 0.1, np.nan, 10 ** rng.uniform(-0.5, 1, n)),
        suspect=(rng.random(n) < 0.2).astype(int),
    )  # fmt: skip
    truth = apply_ignore(truth, SHAPE, None, None, rules)
    if not reasons:
        truth = Catalog.build(**{c: truth[c] for c in truth.table.colnames if c != "ignore_reason"})
    found = Catalog.build(
        x=rng.uniform(0, 60, m), y=rng.uniform(0, 45, m), score=rng.exponential(5, m),
        ignore=rng.random(m) < 0.1,
    )  # fmt: skip
    source = FrameInput(frame=f"f{seed}", truth=truth, found=found, shape=SHAPE)
    return score_frame(source, rules, EDGES, threshold=2.0)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 60),
    reasons=st.booleans(),
    pairing=st.sampled_from(["most-pairs", "score-first"]),
)
@settings(max_examples=6, deadline=None)
def test_each_row_is_what_a_run_with_that_limit_counts(
    seed: int, n: int, reasons: bool, pairing: str
) -> None:
    check_rows(seed, (n, 9), reasons, pairing)


@pytest.mark.parametrize("pairing", ["most-pairs", "score-first"])
def test_frames_of_growing_size_stay_apart(pairing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_rows(3, (2, 30, 60), True, pairing)
    # Frames some at a time, and their candidates found again, give the same.
    rules = ScoringRules(edge_px=2.0, pairing=pairing)
    frames = [frame(k, rules, 20) for k in range(5)]
    table = ignore_limit_table(frames, rules, EDGES)
    monkeypatch.setattr(snr_limit, "_TOGETHER", 2)
    pd.testing.assert_frame_equal(ignore_limit_table(frames, rules, EDGES), table)
    again = [replace(f, candidates=None) for f in frames]
    pd.testing.assert_frame_equal(ignore_limit_table(again, rules, EDGES), table)


def check_rows(seed: int, sizes: tuple[int, ...], reasons: bool, pairing: str) -> None:
    rules = ScoringRules(edge_px=2.0, pairing=pairing)
    frames = [frame(seed + k, rules, n, reasons=reasons) for k, n in enumerate(sizes)]
    table = ignore_limit_table(frames, rules, EDGES)
    if not any(np.isfinite(f.source.truth["snr"]).any() for f in frames):
        assert len(table) == 0
        return
    assert list(table.columns) == list(IGNORE_LIMIT_COLUMNS)
    assert tuple(table["min_snr"]) == SNR_LIMITS
    for row in table.itertuples():
        again = rules.model_copy(update={"min_snr": row.min_snr})
        sums = dict.fromkeys(("truths", "truths_found", "truths_ignored", "detections",
                              "detections_right", "detections_ignored"), 0)  # fmt: skip
        for f in frames:
            truth = f.source.truth
            if reasons:
                truth = apply_ignore(truth, SHAPE, None, None, again)
            else:  # what is faint and also ignored for another reason cannot be told
                faint = truth["snr"] < np.array([rules.min_snr, row.min_snr])[:, None]
                ignore = (truth["ignore"] & ~faint[0]) | faint[1] | (truth["suspect"] > 0)
                truth = truth.with_columns(ignore=ignore)
            source = FrameInput(frame="f", truth=truth, found=f.source.found, shape=SHAPE)
            counts = score_frame(source, again, EDGES, threshold=2.0).counts.sums()
            for name in sums:
                sums[name] += counts[name]
        for name, value in sums.items():
            assert getattr(row, name) == value, name
        assert row.completeness == pytest.approx(
            sums["truths_found"] / sums["truths"] if sums["truths"] else np.nan, nan_ok=True
        )


def test_without_sn_there_are_no_rows() -> None:
    rules = ScoringRules()
    source = FrameInput(frame="f", truth=Catalog.build(x=[1.0], y=[2.0]), found=Catalog.empty())
    table = ignore_limit_table([score_frame(source, rules, EDGES)], rules, EDGES)
    assert list(table.columns) == list(IGNORE_LIMIT_COLUMNS)
    assert len(table) == 0
    assert len(ignore_limit_table([], rules, EDGES)) == 0
    unknown = replace(source, truth=Catalog.build(x=[1.0], y=[2.0], snr=[np.nan]))
    assert len(ignore_limit_table([score_frame(unknown, rules, EDGES)], rules, EDGES)) == 0


def test_most_pairs_come_before_small_distances_at_every_limit() -> None:
    # Each detection lies on the next truth: all but one pair at no distance, or all at 9.9 px.
    rules, x = ScoringRules(radius_px=10.0), 9.9 * np.arange(8)
    truth = Catalog.build(x=x, y=np.full(8, 9.0), snr=np.full(8, 9.0))
    found = Catalog.build(x=x + 9.9, y=np.full(8, 9.0))
    source = FrameInput(frame="f", truth=truth, found=found, shape=SHAPE)
    table = ignore_limit_table([score_frame(source, rules, EDGES)], rules, EDGES)
    assert table["truths_found"].tolist() == [8] * 7


def test_the_limits_of_the_table_and_what_lies_on_them() -> None:
    rules = ScoringRules()
    truth = Catalog.build(
        x=[5.0, 15.0, 25.0, 35.0], y=[5.0] * 4, snr=[1.5, 2.0, 2.0, 9.0],
        ignore=[True, True, False, False],
    )  # fmt: skip
    source = FrameInput(frame="f", truth=truth, found=Catalog.empty(), shape=SHAPE)
    table = ignore_limit_table([score_frame(source, rules, EDGES)], rules, EDGES)
    assert table["min_snr"].tolist() == [0, 1, 1.5, 2, 2.5, 3, 4]
    # The second is ignored, and not as faint; as faint as the limit is not faint.
    assert table["truths"].tolist() == [3, 3, 3, 2, 1, 1, 1]
