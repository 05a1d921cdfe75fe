"""Compare the metric of Jia et al. (2020) with values by hand and with a plain loop."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.cli import main as cli
from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, evaluate, score_frame
from skyduel.evaluation.analyses.jia2020 import (
    PUBLISHED,
    PUBLISHED_MAP,
    frame_metric,
    jia2020_table,
)
from skyduel.evaluation.scoring.table_columns import JIA2020_COLUMNS

EDGES = (20.0, 21.0, 22.0, 23.0, 24.0)
RULES = ScoringRules(bins="20:24:1", n_bootstrap=20)


def naive(truth: np.ndarray, mag: np.ndarray, found: np.ndarray, edges: tuple) -> np.ndarray:
    """The metric detection by detection, as one would write it without thinking."""
    total = sum(edges[0] <= m < edges[-1] for m in mag)
    columns = []
    for lo, hi in itertools.pairwise(edges):
        members = [t for t, m in zip(truth, mag, strict=True) if lo <= m < hi]
        matches = clamped = 0
        for x, y in found:
            for tx, ty in members:
                if abs(x - tx) <= 1.5 and abs(y - ty) <= 1.5:
                    matches += 1
                    clamped += 1
            clamped = min(clamped, len(members))
        if not members:
            columns.append([1.0] * 4)
            continue
        recall = matches / len(members)
        precision = clamped / len(found) * (total / len(members)) if len(found) else 0.0
        precision = min(precision, 1.0)
        f = [
            (1 + b) * precision * recall / (b * precision + recall) if precision * recall else 0.0
            for b in (1, 4)
        ]
        columns.append([recall, precision, *f])
    return np.array(columns).T


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=60)
def test_agrees_with_a_plain_loop(seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(0, 30, 2)
    truth, found = rng.uniform(0, [20, 11], (n, 2)), rng.uniform(0, [20, 11], (m, 2))
    if whole:  # differences of exactly 1.5
        truth, found = np.rint(truth), np.rint(found) + 0.5
    mag = rng.uniform(19, 25, n)
    got = frame_metric(truth, mag, found, EDGES)
    np.testing.assert_allclose(got, naive(truth, mag, found, EDGES), atol=1e-12)


def test_by_hand() -> None:
    # 20-21: two truths, one found twice and one not. 21-22: two, both by one detection
    # between them. 22-23: none. 23-24: one missed. A truth of 25 counts nowhere.
    truth = [[10, 5], [30, 5], [50, 5], [52, 5], [70, 5], [90, 5]]
    mag = [20.0, 20.9, 21.0, 21.5, 23.2, 25.0]
    found = [[10.0, 5.0], [11.5, 6.5], [51.0, 5.0], [90.0, 5.0]]
    recall, precision, f1, f2 = frame_metric(truth, mag, found, EDGES)
    assert recall.tolist() == [1, 1, 1, 0]
    assert precision.tolist() == [1, 1, 1, 0]  # 2 matches / 4 detections x 5 / 2 truths, clamped
    assert f1.tolist() == f2.tolist() == [1, 1, 1, 0]
    more = [*found, *[[200.0 + k, 5.0] for k in range(16)]]
    recall, precision, f1, f2 = frame_metric(truth, mag, more, EDGES)
    assert precision == pytest.approx([2 / 20 * 5 / 2, 2 / 20 * 5 / 2, 1, 0])
    assert f1 == pytest.approx([2 * 0.25 / 1.25, 0.4, 1, 0])
    assert f2 == pytest.approx([5 * 0.25 / 2, 0.625, 1, 0])


def test_its_faults_are_kept() -> None:
    # Three detections of one star: recall 3. The clamp hides it from the precision.
    recall, precision, *_ = frame_metric([[5, 5]], [20.5], [[5, 5], [5, 6], [6, 5]], EDGES)
    assert recall[0] == 3
    assert precision[0] == pytest.approx(1 / 3)
    # Nothing found and nothing there is perfect.
    assert (frame_metric(np.zeros((0, 2)), [], np.zeros((0, 2)), EDGES) == 1).all()
    assert frame_metric([[5, 5]], [20.5], np.zeros((0, 2)), EDGES)[:, 0].tolist() == [0, 0, 0, 0]
    # The box has corners: 1.5 px in both, 2.1 px away.
    assert frame_metric([[5, 5]], [20.5], [[6.5, 3.5]], EDGES)[0, 0] == 1
    assert frame_metric([[5, 5]], [20.5], [[6.6, 5.0]], EDGES)[0, 0] == 0


def source(name: str, truth: list, mag: list, found: list, **more) -> FrameInput:
    t, f = np.array(truth, float).reshape(-1, 2), np.array(found, float).reshape(-1, 2)
    return FrameInput(
        frame=name,
        truth=Catalog.build(x=t[:, 0], y=t[:, 1], mag=mag, **more),
        found=Catalog.build(x=f[:, 0], y=f[:, 1], score=np.arange(len(f)) / 10),
        mpix=0.1,
    )


def test_the_table_averages_frames_and_draws_at_the_upper_edge() -> None:
    # One frame finds its only star, the other one of its four: averaged, not pooled.
    one = source("a", [[5, 5]], [20.5], [[5, 5]])
    four = source("b", [[10 * k, 9] for k in range(4)], [20.5] * 4, [[90, 9], [0, 9]],
                  ignore=[True, False, False, False])  # fmt: skip
    scores = [score_frame(f, RULES, EDGES) for f in (one, four)]
    table = jia2020_table(scores, RULES, EDGES)
    assert tuple(table.columns) == JIA2020_COLUMNS
    first = table[table["bin"] == 0].set_index("quantity")
    assert first["value"]["recall"] == pytest.approx((1 + 1 / 4) / 2)
    assert first["value"]["precision"] == pytest.approx((1 + 1 / 2 * 4 / 4) / 2)
    assert set(first["mag_plotted"]) == {21.0}
    assert set(first["truths"]) == {5}
    assert (table[table["bin"] > 0]["value"] == 1).all()
    # Cut above the second frame's only right detection.
    cut = [score_frame(f, RULES, EDGES, threshold=t) for f, t in ((one, None), (four, 0.2))]
    again = jia2020_table(cut, RULES, EDGES).set_index(["quantity", "bin"])["value"]
    assert again["recall", 0] == pytest.approx(0.5)
    assert jia2020_table([], RULES, EDGES)["value"].isna().all()


def test_the_published_curves_stand_beside_their_bins() -> None:
    frame = source("a", [[5, 5]], [20.5], [[5, 5]])
    table = evaluate({"net": [frame]}, RULES).analyses["jia2020"]
    rows = table[table["point"] == "default"]
    rows = rows[rows["group"] == "all"].set_index(["quantity", "bin_lo"])
    for (quantity, lo, _), (network, sextractor) in PUBLISHED.items():
        assert rows["network"][quantity, lo] == network
        assert rows["sextractor"][quantity, lo] == sextractor
        assert sextractor < network <= PUBLISHED_MAP + 0.001
    assert rows["network"]["recall"].isna().all()
    half = jia2020_table([], RULES, (20.0, 20.5, 21.0))
    assert half["network"].isna().all()


def test_the_published_values_are_those_of_the_figure() -> None:
    table = jia2020_table([], RULES, EDGES).set_index(["quantity", "bin_hi"])
    for quantity, network, sextractor in (
        ("f1", [0.821, 0.776, 0.638, 0.449], [0.775, 0.644, 0.358, 0.219]),
        ("f2", [0.824, 0.777, 0.639, 0.451], [0.727, 0.603, 0.334, 0.205]),
    ):
        assert table["network"][quantity].tolist() == network
        assert table["sextractor"][quantity].tolist() == sextractor
    assert PUBLISHED_MAP == 0.823


def test_each_bin_has_its_own_truths() -> None:
    mag = [19.0, 20.0, 20.5, 21.0, 23.0, 23.5, 23.9, 24.0, np.nan]
    frame = source("a", [[9 * k, 9] for k in range(9)], mag, [])
    table = jia2020_table([score_frame(frame, RULES, EDGES)] * 2, RULES, EDGES)
    assert table[table["quantity"] == "f1"]["truths"].tolist() == [4, 2, 0, 6]


def test_the_box_ends_at_its_half() -> None:
    for off, recall in ((1.5, 1), (1.5 * (1 + 5e-10), 0)):
        for found in ([off, 0.0], [0.0, -off]):
            assert frame_metric([[0, 0]], [20.5], [found], EDGES)[0, 0] == recall


def test_score_speaks_it_when_asked(tmp_path, capsys) -> None:
    paths = [tmp_path / "found.csv", tmp_path / "truth.csv"]
    Table({"x": [5.0, 6.0], "y": [5.0, 5.0]}).write(paths[0])
    Table({"x": [5.0], "y": [5.0], "mag": [20.5]}).write(paths[1])

    def score(*words: str) -> int:
        with pytest.raises(SystemExit) as stop:
            cli.main(["score", *map(str, paths), "--bins", "20:22:1", *words])
        return int(stop.value.code or 0)

    assert score("--metric", "jia2020") == 0
    out = capsys.readouterr().out
    assert "2.000" in out  # a recall of two
    assert "only for comparison with that paper" in out
    assert score("--metric", "jia2020", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    value = {(r["quantity"], r["bin"]): r["value"] for r in report["scores"]}
    assert (value["recall", 0], value["precision", 0], value["f1", 1]) == (2, 0.5, 1)
    assert score("--metric", "jia") == 2
    assert "skyduel or jia2020; got 'jia'" in capsys.readouterr().err
    assert score("--metric", "jia2020", "--radius-arcsec", "1") == 2
    assert "positions in px" in capsys.readouterr().err
