"""The tables of a run: columns, operating points, groups; and the simple scorer."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from helpers.paths import ROOT

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import (
    FrameInput,
    ScoringRules,
    apply_ignore,
    choose_edges,
    evaluate,
    evaluate_detector,
    mark_ignored_regions,
    merge,
    score_catalogs,
    score_frame,
)
from skyduel.evaluation.analyses.all_analyses import ANALYSES, STUDIES
from skyduel.evaluation.scoring.counts import Counts, total
from skyduel.evaluation.scoring.table_columns import ANALYSIS_COLUMNS

RULES = ScoringRules(n_bootstrap=50, bins="14:20:2")
DOCS = ROOT / "docs" / "run-folder.md"


def frame(k: int, split: str, group: str, noise: int = 30) -> FrameInput:
    rng = np.random.default_rng(k)
    n = 120
    snr = 10 ** rng.uniform(0, 2, n)
    mag, xy = 20 - 2.5 * np.log10(snr), rng.uniform(0, [400, 300], (n, 2))
    seen = np.flatnonzero(rng.random(n) < 1 / (1 + np.exp(-(snr - 5))))
    spurious = rng.uniform(0, [400, 300], (noise, 2))
    at = np.concatenate([xy[seen] + rng.normal(0, 0.3, (seen.size, 2)), spurious])
    truth = Catalog.build(x=xy[:, 0], y=xy[:, 1], mag=mag, snr=snr, aper_mag=mag - 0.4)
    found = Catalog.build(
        x=at[:, 0],
        y=at[:, 1],
        aper_mag=np.concatenate([mag[seen] - 0.4, rng.uniform(16, 20, noise)]),
        score=np.concatenate([snr[seen], rng.exponential(3, noise)]),
    )
    return FrameInput(
        frame=f"frame {k}",
        truth=apply_ignore(truth, (300, 400), None, None, RULES),
        found=mark_ignored_regions(found, (300, 400), None, RULES),
        mpix=0.12,
        group=group,
        split=split,
    )


FRAMES = [frame(k, "test", "ab"[k % 2]) for k in range(5)] + [
    frame(k, "calibration", "a") for k in (11, 12)
]
RESULT = evaluate({"sep": FRAMES, "net": FRAMES}, RULES, default_thresholds={"sep": 4.0})


def test_the_columns_are_those_the_run_folder_promises() -> None:
    text = DOCS.read_text()
    for name in ("counts", "scores", "sweep", "limits"):
        paragraph = re.search(rf"^`{name}`: (.*?)(\n\n|\Z)", text, re.S | re.M).group(1)
        told = re.findall(r"`([a-z0-9_]+)`", paragraph)
        columns = list(getattr(RESULT, name).columns)
        at = [told.index(c) for c in columns]
        assert at == sorted(at), name


def test_every_analysis_has_its_columns() -> None:
    # A table without an entry would be computed and thrown away.
    assert [a.name for a in (*ANALYSES, *STUDIES)] == list(ANALYSIS_COLUMNS)


def test_only_the_test_split_is_reported() -> None:
    assert set(RESULT.counts["frame"]) == {f"frame {k}" for k in range(5)}
    assert set(RESULT.limits["n_frames"]) == {5, 3, 2}
    assert [s.source.frame for s in RESULT.frames["net", "calibrated"]] == [
        f"frame {k}" for k in range(5)
    ]


def test_the_calibrated_threshold_is_of_the_calibration_split_alone() -> None:
    best = RESULT.calibrated["sep"]
    f1 = {
        t: _f1([f for f in FRAMES if f.split == "calibration"], t)
        for t in np.concatenate([f.found["score"] for f in FRAMES if f.split == "calibration"])
    }
    assert f1[best] == max(f1.values())
    alone = evaluate({"sep": [f for f in FRAMES if f.split == "test"]}, RULES)
    assert alone.calibrated == {"sep": None}
    assert set(alone.limits["point"]) == {"default", "purity95"}


def _f1(frames: list[FrameInput], threshold: float) -> float:
    sums = total((score_frame(f, RULES, (0, 30), threshold=threshold).counts for f in frames),
                 (0, 30)).sums()  # fmt: skip
    return 2 * sums["truths_found"] / (sums["truths"] + sums["detections"])


def test_each_point_and_group_has_its_scores_and_limits() -> None:
    groups = {"all", "a", "b"}
    for table in (RESULT.scores, RESULT.limits):
        keys = table[["detector", "point", "group"]].drop_duplicates()
        assert len(keys) == 2 * 3 * 3
        assert set(keys["group"]) == groups
    assert not RESULT.scores.duplicated(["detector", "point", "group", "bin", "quantity"]).any()
    assert set(RESULT.sweep["group"]) == groups
    assert RESULT.sweep.groupby(["detector", "group"]).size().max() <= RULES.n_thresholds


def test_scores_follow_from_the_counts_table() -> None:
    counts, scores = RESULT.counts, RESULT.scores
    for point in ("default", "purity95"):
        for group in ("all", "a"):
            rows = counts[(counts["detector"] == "sep") & (counts["point"] == point)]
            if group != "all" or point == "purity95":
                rows = rows[rows["group"] == group]
            sums = Counts.from_table(rows).sums()
            got = scores.query(
                "detector == 'sep' and point == @point and group == @group and bin == -2"
            ).set_index("quantity")
            assert got.loc["completeness", "k"] == sums["truths_found"]
            assert got.loc["completeness", "n"] == sums["truths"]
            assert got.loc["purity", "n"] == sums["detections"]


def test_the_default_point_is_each_detectors_own() -> None:
    rows = RESULT.limits[(RESULT.limits["point"] == "default") & (RESULT.limits["group"] == "all")]
    rows = rows.set_index("detector")
    assert rows.loc["sep", "threshold"] == 4.0
    assert np.isnan(rows.loc["net", "threshold"])
    assert rows.loc["net", "purity"] < rows.loc["sep", "purity"]


def test_purity95_is_the_lowest_threshold_that_keeps_it() -> None:
    for row in RESULT.limits[RESULT.limits["point"] == "purity95"].itertuples():
        assert row.purity >= 0.95
        members = [f for f in FRAMES if f.split == "test" and row.group in ("all", f.group)]
        lower = [s for f in members for s in f.found["score"] if s < row.threshold]
        assert lower
        for threshold in sorted(lower)[::-9]:
            sums = total(
                (score_frame(f, RULES, (0, 30), threshold=threshold).counts for f in members),
                (0, 30),
            ).sums()
            assert sums["detections_right"] / sums["detections"] < 0.95


def test_a_group_that_is_never_pure_is_told_with_nan() -> None:
    frames = [frame(1, "test", "good"), frame(2, "test", "bad")]
    wrong = frames[1].found.with_columns(x=frames[1].found["x"] + 5000, ignore=np.zeros(
        len(frames[1].found), bool))  # fmt: skip
    frames[1] = FrameInput(frame="bad", truth=frames[1].truth, found=wrong, mpix=0.12, group="bad")
    got = evaluate({"sep": frames}, RULES)
    row = got.limits.query("point == 'purity95' and group == 'bad'").iloc[0]
    assert row[["threshold", "purity", "completeness", "snr50", "m50"]].isna().all()
    assert row["n_frames"] == 1
    scores = got.scores.query("point == 'purity95' and group == 'bad'")
    assert scores["value"].isna().all()
    assert [s.source.group for s in got.frames["sep", "purity95"]] == ["good"]


def test_measured_magnitudes_are_brought_to_the_truths() -> None:
    for score in RESULT.frames["net", "default"]:
        assert score.zero_point.offset_mag == pytest.approx(0.4)
        assert score.zero_point.source == "truth"


def test_detectors_evaluated_apart_merge_into_the_same_tables() -> None:
    edges = choose_edges(FRAMES, RULES)
    parts = [
        evaluate_detector("sep", FRAMES, RULES, edges, default_threshold=4.0),
        evaluate_detector("net", FRAMES[::-1], RULES, edges),
    ]
    got = merge(parts, edges)
    for name in ("sweep", "limits"):
        a, b = getattr(got, name), getattr(RESULT, name)
        assert a.drop(columns=[c for c in a if c.endswith(("_lo", "_hi"))]).equals(
            b.drop(columns=[c for c in b if c.endswith(("_lo", "_hi"))])
        )
    with pytest.raises(BadInputError, match="evaluations: required edges"):
        merge(parts, (1.0, 2.0))


def test_no_frames_make_empty_tables_and_a_frame_twice_is_refused() -> None:
    got = evaluate({"sep": []}, RULES)
    assert len(got.counts) == 0
    assert got.limits["value" if "value" in got.limits else "snr50"].isna().all()
    with pytest.raises(BadInputError, match="frames of sep: required each frame once"):
        evaluate({"sep": [FRAMES[0], FRAMES[0]]}, RULES)


def test_bins_are_chosen_from_the_truth_that_counts() -> None:
    edges = choose_edges(FRAMES, ScoringRules())
    assert edges[0] >= 14.5
    assert edges[-1] <= 20.0
    assert choose_edges([], RULES) == (14.0, 16.0, 18.0, 20.0)


def test_two_catalogues_alone() -> None:
    source = FRAMES[0]
    report = score_catalogs(source.truth, source.found, RULES, frame_shape=(300, 400))
    again = score_frame(source, RULES, RULES.edges())
    assert report.counts == again.counts
    told = json.loads(report.to_json())
    assert told["schema"] == 1
    assert told["totals"] == report.counts.sums()
    assert told["rules"]["min_snr"] == 2.0
    assert told["edges"] == [14, 16, 18, 20]
    row = next(r for r in told["scores"] if r["bin"] == -2 and r["quantity"] == "f1")
    assert row["value"] == pytest.approx(float(_f1([source], -np.inf)))
    assert row["lo"] < row["value"] < row["hi"]  # one frame: from blocks of it
    assert row["interval"] == "block bootstrap"
    assert (
        report.to_json()
        == score_catalogs(source.truth, source.found, RULES, frame_shape=(300, 400)).to_json()
    )


def test_a_perfect_catalogue_and_an_empty_one() -> None:
    truth = FRAMES[0].truth
    perfect = score_catalogs(truth, truth.select(~truth["ignore"]), RULES).to_dict()
    values = {r["quantity"]: r["value"] for r in perfect["scores"] if r["bin"] == -2}
    assert values == {
        "completeness": 1, "purity": 1, "f1": 1, "f2": 1, "jaccard": 1,
        "false_per_mpix": None,
    }  # fmt: skip
    for t, f in ((truth, Catalog.empty()), (Catalog.empty(), truth), (Catalog.empty(),) * 2):
        json.loads(score_catalogs(t, f, ScoringRules()).to_json())
