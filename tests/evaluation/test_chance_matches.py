"""Tests of chance pairs measured with shifted catalogues."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers.paths import ROOT

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, evaluate, pair, score_frame
from skyduel.evaluation.analyses import chance_matches as chance
from skyduel.evaluation.analyses.chance_matches import chance_pairs, chance_table, shifts
from skyduel.evaluation.scoring.table_columns import CHANCE_COLUMNS

RULES = ScoringRules(n_bootstrap=20)
EDGES = (0.0, 1.0)
NY, NX = 700, 500


def field(seed: int, n: int = 3000, m: int = 2000, real: float = 0.0, **facts) -> FrameInput:
    """Uniform sources, some of the detections at true places."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-0.5, [NX - 0.5, NY - 0.5], (n, 2))
    found = rng.uniform(-0.5, [NX - 0.5, NY - 0.5], (m, 2))
    k = round(real * m)
    found[:k] = truth[:k]
    return FrameInput(
        frame=f"f{seed}",
        truth=Catalog.build(x=truth[:, 0], y=truth[:, 1], ignore=rng.random(n) < 0.1),
        found=Catalog.build(x=found[:, 0], y=found[:, 1], score=rng.random(m)),
        **facts,
    )


def test_every_shift_breaks_the_pairs_and_stays_inside() -> None:
    for radius, ny, nx in ((2.0, NY, NX), (0.5, 4000, 90), (9.0, 400, 8000)):
        length = np.hypot(*shifts(radius, ny, nx).T)
        assert (length >= 5 * radius).all()
        assert (length <= min(ny, nx) / 4 + 1e-9).all()
    # No two in one line: a lattice of sources never falls on itself twice.
    dx, dy = shifts(2.0, NY, NX).T
    cross = np.abs(dx[:, None] * dy - dy[:, None] * dx)[~np.eye(8, dtype=bool)]
    assert cross.min() > 20
    assert len(shifts(2.0, 700, 40)) == 0


def test_shifting_is_a_torus_with_the_frames_shape() -> None:
    frame = field(1, real=0.5, shape=(NY, NX))
    score = score_frame(frame, RULES, EDGES)
    counted = ~frame.truth["ignore"]
    want = []
    for dx, dy in shifts(2.0, NY, NX):
        moved = np.array(
            [((x + 0.5 + dx) % NX - 0.5, (y + 0.5 + dy) % NY - 0.5) for x, y in frame.found.xy]
        )
        want.append(len(pair(frame.truth.xy[counted], moved, 2.0)))
    assert chance_pairs(score, RULES).tolist() == want


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("real", [0.0, 0.6])
def test_the_expected_number_in_a_uniform_field(known: bool, real: float) -> None:
    facts = {"shape": (NY, NX)} if known else {}
    # Sparse, so that few chance pairs compete: n m pi r^2 / A. Some 1,100 of them: 4 sigma
    # are 12 %.
    frames = [field(k, 900, 600, real, **facts) for k in range(8)]
    row = chance_table([score_frame(f, RULES, EDGES) for f in frames], RULES, EDGES).iloc[0]
    truths = sum(int((~f.truth["ignore"]).sum()) for f in frames)
    want = truths * 600 * np.pi * 4 / (NY * NX)
    assert row["chance_pairs"] == pytest.approx(want, rel=0.12)
    assert row["chance_lo"] < row["chance_pairs"] < row["chance_hi"]
    assert row["truths"] == truths
    assert row["chance_share"] == pytest.approx(row["chance_pairs"] / row["pairs"])
    if real == 0:  # nothing is real: chance explains the pairs, all of them
        assert row["chance_share"] == pytest.approx(1.0, abs=0.35)
    else:
        assert row["share_lo"] < row["chance_share"] < row["share_hi"] < 0.07


def test_only_detections_above_the_threshold_are_shifted() -> None:
    frame = field(3, shape=(NY, NX))
    few = score_frame(frame, RULES, EDGES, threshold=0.9)
    cut = FrameInput(
        frame="cut", truth=frame.truth, found=frame.found.select(few.pairing.used), shape=(NY, NX)
    )
    want = chance_pairs(score_frame(cut, RULES, EDGES), RULES)
    np.testing.assert_array_equal(chance_pairs(few, RULES), want)


def test_many_detections_need_fewer_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    score = score_frame(field(4, shape=(NY, NX)), RULES, EDGES)
    assert chance_table([score], RULES, EDGES)["shifts"].item() == 8
    monkeypatch.setattr(chance, "_ENOUGH", 6000)
    assert chance_table([score], RULES, EDGES)["shifts"].item() == 3
    monkeypatch.setattr(chance, "_ENOUGH", 1)
    assert chance_table([score], RULES, EDGES)["shifts"].item() == 2


def test_nothing_there_is_none_and_a_small_frame_cannot_tell() -> None:
    nothing = FrameInput(frame="n", truth=Catalog.empty(), found=Catalog.empty(), shape=(NY, NX))
    row = chance_table([score_frame(nothing, RULES, EDGES)], RULES, EDGES).iloc[0]
    assert (row["shifts"], row["n_frames"], row["chance_pairs"]) == (8, 1, 0)
    assert np.isnan(row["chance_share"])
    small = field(5, 30, 30, shape=(30, 30))
    for frames in ([], [score_frame(small, RULES, EDGES)]):
        row = chance_table(frames, RULES, EDGES).iloc[0]
        assert (row["shifts"], row["n_frames"], row["pairs"]) == (0, 0, 0)
        assert np.isnan(row["chance_pairs"])
    one = FrameInput(frame="1", truth=Catalog.build(x=[1.0], y=[2.0]), found=Catalog.empty())
    assert chance_table([score_frame(one, RULES, EDGES)], RULES, EDGES)["shifts"].item() == 0


def test_it_stands_in_a_run() -> None:
    frames = [field(k, 300, 200, 0.5, shape=(NY, NX), mpix=0.35) for k in (1, 2)]
    table = evaluate({"sep": frames}, RULES).analyses["chance"]
    assert tuple(table.columns) == ("detector", "point", "group", *CHANCE_COLUMNS)
    default = table[(table["point"] == "default") & (table["group"] == "all")]
    assert default["n_frames"].item() == 2


@pytest.mark.parametrize("name", ["chance", "average_precision", "jia2020"])
def test_the_run_folder_tells_of_every_column(name: str) -> None:
    text = (ROOT / "docs" / "run-folder.md").read_text()
    match = re.search(rf"^`analyses/{name}`: (.*?)(\n\n|\Z)", text, re.S | re.M)
    told = re.findall(r"`([a-z0-9_]+)`", match.group(1))
    frames = [field(1, 30, 20, 0.5, shape=(NY, NX), mpix=0.35)]
    at = [told.index(c) for c in evaluate({"sep": frames}, RULES).analyses[name].columns]
    assert at == sorted(at)
